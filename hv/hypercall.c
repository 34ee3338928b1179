/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of calls, and what happens before a handler runs: number, permission for the command ring,
 * address, size, copy, tail. A call by ring and a call by instruction differ only in where the copy
 * comes from and who flushes.
 */
#include "hv/hypercall.h"

#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/guest_memory.h"

#define STRUCT_MAX 64u /* of the table below */

static enum hv_status shutdown(struct vm *vm, const void *arg, uint64_t *)
{
    vm_end(vm, VM_END_SHUTDOWN, *(const uint64_t *)arg);
    return HV_OK;
}

static enum hv_status not_yet(struct vm *, const void *, uint64_t *)
{
    return HV_ENOTSUP;
}

enum hc_property {
    LOCKED = 1,  /* the VM's lock is held */
    RING = 2,    /* allowed in the command ring */
    BATCHED = 4, /* complete only after iommu->flush() */
};

/* known 0: arguments in registers. Else a structure: bytes of this version, and of its first. */
static const struct hc_entry {
    hc_handler *handler;
    uint16_t known, first;
    uint8_t properties;
} calls[HC_NUMBERS] = {
#define REGISTERS 0, 0
#define STRUCT(type, first) sizeof(struct type), first
    [HC_VM_INFO] = { stats_hc_vm_info, REGISTERS, LOCKED },
    [HC_SHUTDOWN] = { shutdown, REGISTERS, 0 },
    [HC_STATS] = { stats_hc_stats, REGISTERS, LOCKED },
    [HC_DEVICE_INFO] = { device_hc_info, REGISTERS, LOCKED },
    [HC_ATTACH] = { attach_hc, STRUCT(hc_attach, 32), LOCKED | RING },
    [HC_SVA_BIND] = { sva_hc_bind, STRUCT(hc_sva_bind, 32), LOCKED | RING },
    [HC_SVA_UNBIND] = { sva_hc_unbind, REGISTERS, LOCKED | RING },
    [HC_IOPF_ENABLE] = { iopf_hc_enable, REGISTERS, LOCKED },
    [HC_IOPF_DISABLE] = { iopf_hc_disable, REGISTERS, LOCKED },
    [HC_PAGE_RESPONSE] = { iopf_hc_response, STRUCT(hc_page_response, 16), LOCKED | RING | BATCHED },
    [HC_INVALIDATE] = { invalidate_hc, STRUCT(hc_invalidate, HC_INVALIDATE_MIN),
                        LOCKED | RING | BATCHED },
    [HC_INVALIDATE_ARRAY] = { invalidate_hc_array, STRUCT(hc_invalidate_array, 24),
                              LOCKED | BATCHED },
    [HC_EVENT_RING] = { rings_hc_event, STRUCT(hc_ring_setup, 32), LOCKED },
    [HC_COMMAND_RING] = { rings_hc_command, STRUCT(hc_ring_setup, 32), LOCKED },
    [HC_DOORBELL] = { rings_hc_doorbell, REGISTERS, LOCKED },
    [HC_IOAS_CREATE] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_DESTROY] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_MAP] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_UNMAP] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_COPY] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_REQUIRE_IOVA] = { not_yet, REGISTERS, 0 },
    [HC_IOAS_RANGES] = { not_yet, REGISTERS, 0 },
#undef STRUCT
#undef REGISTERS
};

static const struct hc_entry *entry_of(uint64_t number)
{
    return number < HC_NUMBERS && calls[number].handler ? &calls[number] : NULL;
}

static enum hv_status run_locked(struct vm *vm, const struct hc_entry *entry, const void *in,
                                 uint64_t *value)
{
    lock_take(&vm->lock);
    enum hv_status status = entry->handler(vm, in, value);
    if (entry->properties & BATCHED) {
        /* What came before an error in an array is done as well. */
        enum hv_status flushed = iommu->flush();
        if (status == HV_OK)
            status = flushed;
    }
    lock_drop(&vm->lock);
    return status;
}

enum hv_status hypercall(struct vcpu *v, const struct hypercall_regs *regs, uint64_t *value)
{
    uint64_t copy[STRUCT_MAX / 8];
    const void *in = regs->arg;
    struct vm *vm = v->vm;

    if (regs->number == HC_NULL) {
        *value = SLUICE_ABI_VERSION;
        return HV_OK;
    }
    *value = 0;
    __atomic_fetch_add(&vm->stats.hypercalls, 1, __ATOMIC_RELAXED);
    const struct hc_entry *entry = entry_of(regs->number);
    if (!entry)
        return HV_ENOSYS;
    if (entry->known) {
        enum hv_status status =
            guest_copy_struct(vm, GPADDR(regs->arg[0]), entry->first, entry->known, copy);
        if (status != HV_OK)
            return status;
        in = copy;
    }
    return entry->properties & LOCKED ? run_locked(vm, entry, in, value)
                                      : entry->handler(vm, in, value);
}

bool hypercall_is_batched(uint32_t call)
{
    return call < HC_NUMBERS && (calls[call].properties & (RING | BATCHED)) == (RING | BATCHED);
}

enum hv_status hypercall_command(struct vm *vm, uint32_t call, const uint64_t args[6],
                                 uint64_t *value)
{
    uint64_t copy[STRUCT_MAX / 8];
    const struct hc_entry *entry = entry_of(call);

    if (!entry)
        return HV_ENOSYS;
    if (!(entry->properties & RING))
        return HV_ENOTSUP;
    if (!entry->known || (uint32_t)args[0] == entry->known)
        return entry->handler(vm, args, value); /* whole, without a tail */
    enum hv_status status =
        guest_check_struct(args, 6 * sizeof(args[0]), entry->first, entry->known, copy);
    return status == HV_OK ? entry->handler(vm, copy, value) : status;
}
