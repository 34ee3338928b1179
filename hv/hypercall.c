/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of calls, and what happens before a handler runs: number, permission for the command
 * ring, address, size, copy, tail. A call by ring and a call by instruction differ only in where
 * the copy comes from and who flushes.
 */
#include "hv/hypercall.h"

#include "arch/x86/vcpu.h"
#include "hv/bond.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/shadow.h"

static_assert(sizeof(struct hc_invalidate) <= HC_STRUCT_MAX &&
              sizeof(struct hc_ring_setup) <= HC_STRUCT_MAX);

static enum hv_status shutdown(struct vm *vm, const void *arg, uint64_t *)
{
    vm_end(vm, VM_END_SHUTDOWN, *(const uint64_t *)arg);
    return HV_OK;
}

const struct hc_entry hypercall_table[HC_NUMBERS] = {
#define REGISTERS           0, 0
#define STRUCT(type, first) sizeof(struct type), first
    [HC_VM_INFO] = { stats_hc_vm_info, REGISTERS, HC_LOCKED },
    [HC_SHUTDOWN] = { shutdown, REGISTERS, 0 },
    [HC_STATS] = { stats_hc_stats, REGISTERS, HC_LOCKED },
    [HC_DEVICE_INFO] = { device_hc_info, REGISTERS, HC_LOCKED },
    [HC_ATTACH] = { attach_hc, STRUCT(hc_attach, 32), HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_SVA_BIND] = { sva_hc_bind, STRUCT(hc_sva_bind, 32), HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_SVA_UNBIND] = { sva_hc_unbind, REGISTERS, HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOPF_ENABLE] = { iopf_hc_enable, REGISTERS, HC_LOCKED | HC_IOMMU },
    [HC_IOPF_DISABLE] = { iopf_hc_disable, REGISTERS, HC_LOCKED | HC_IOMMU },
    [HC_PAGE_RESPONSE] = { iopf_hc_response, STRUCT(hc_page_response, 16),
                           HC_LOCKED | HC_IOMMU | HC_RING | HC_BATCHED },
    [HC_INVALIDATE] = { invalidate_hc, STRUCT(hc_invalidate, HC_INVALIDATE_MIN),
                        HC_LOCKED | HC_IOMMU | HC_RING | HC_BATCHED },
    [HC_INVALIDATE_ARRAY] = { invalidate_hc_array, STRUCT(hc_invalidate_array, 24),
                              HC_LOCKED | HC_IOMMU | HC_BATCHED },
    [HC_DEVICE_IRQ] = { interrupt_hc, STRUCT(hc_device_irq, 24), HC_LOCKED | HC_IOMMU },
    [HC_DEVICE_RESET] = { reset_hc, REGISTERS, 0 }, /* waits long, without the lock */
    [HC_MEMORY_ON_DEMAND] = { demand_hc_memory, STRUCT(hc_memory_on_demand, 24),
                              HC_LOCKED | HC_IOMMU },
    [HC_EVENT_RING] = { rings_hc_event, STRUCT(hc_ring_setup, 32), HC_LOCKED },
    [HC_COMMAND_RING] = { rings_hc_command, STRUCT(hc_ring_setup, 32), HC_LOCKED },
    [HC_DOORBELL] = { rings_hc_doorbell, REGISTERS, HC_LOCKED },
    [HC_IOAS_CREATE] = { ioas_hc_create, STRUCT(hc_ioas_create, 32),
                         HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_DESTROY] = { ioas_hc_destroy, REGISTERS, HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_MAP] = { ioas_map_hc, STRUCT(hc_ioas_map, 40), HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_UNMAP] = { ioas_map_hc_unmap, STRUCT(hc_ioas_unmap, 32),
                        HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_COPY] = { ioas_map_hc_copy, STRUCT(hc_ioas_copy, 40), HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_REQUIRE_IOVA] = { ioas_hc_require_iova, STRUCT(hc_ioas_ranges, 24),
                               HC_LOCKED | HC_IOMMU | HC_RING },
    [HC_IOAS_RANGES] = { ioas_hc_ranges, STRUCT(hc_ioas_ranges, 24),
                         HC_LOCKED | HC_IOMMU | HC_RING },
#undef STRUCT
#undef REGISTERS
};

enum hv_status hypercall_flush(struct vm *vm)
{
    struct invalidate_run *run = &vm->sva->run;

    invalidate_send(run);
    enum hv_status flushed = iommu->flush(), of_shadows = run->status;
    run->units = 0;
    run->status = HV_OK;
    return flushed == HV_OK ? of_shadows : flushed;
}

/* Shadow tables are no more than a cache: they make room for what was asked for. */
enum hv_status hypercall_run(struct vm *vm, const struct hc_entry *entry, const void *in,
                             uint64_t *value)
{
    bool room = false;

    if ((entry->properties & HC_IOMMU) && iommu == &iommu_none)
        return HV_ENOTSUP;
    enum hv_status status = entry->handler(vm, in, value);

    if (__builtin_expect(status != HV_EQUOTA && status != HV_ENOMEM, 1) || !vm->sva->shadows)
        return status;
    enum hv_status dropped = shadow_drop_vm(vm, NULL, &room);
    return dropped == HV_OK && room ? entry->handler(vm, in, value) : status;
}

static enum hv_status run_locked(struct vm *vm, const struct hc_entry *entry, const void *in,
                                 uint64_t *value)
{
    lock_take(&vm->lock);
    enum hv_status status = hypercall_run(vm, entry, in, value);
    if (entry->properties & HC_BATCHED) {
        /* What came before an error in an array is done as well. */
        enum hv_status flushed = hypercall_flush(vm);
        if (status == HV_OK)
            status = flushed;
    }
    lock_drop(&vm->lock);
    return status;
}

static enum hv_status run(struct vm *vm, const struct hc_entry *entry, const void *in,
                          uint64_t *value)
{
    return entry->properties & HC_LOCKED ? run_locked(vm, entry, in, value)
                                         : entry->handler(vm, in, value);
}

static enum hv_status run_with_structure(struct vm *vm, const struct hc_entry *entry, uint64_t at,
                                         uint64_t *value)
{
    uint64_t copy[HC_STRUCT_MAX / 8];
    enum hv_status status = guest_copy_struct(vm, GPADDR(at), entry->first, entry->known, copy);

    return status == HV_OK ? run(vm, entry, copy, value) : status;
}

/* Any call but HC_NULL, which has nothing to save registers for. */
__attribute__((noinline)) static enum hv_status
dispatch(struct vm *vm, const struct hypercall_regs *regs, uint64_t *value)
{
    __atomic_fetch_add(&vm->stats.hypercalls, 1, __ATOMIC_RELAXED);
    if (regs->number >= HC_NUMBERS || !hypercall_table[regs->number].handler)
        return HV_ENOSYS;
    const struct hc_entry *entry = &hypercall_table[regs->number];
    return entry->known ? run_with_structure(vm, entry, regs->arg[0], value)
                        : run(vm, entry, regs->arg, value);
}

enum hv_status hypercall(struct vcpu *v, const struct hypercall_regs *regs, uint64_t *value)
{
    *value = 0;
    if (regs->number != HC_NULL)
        return dispatch(v->vm, regs, value);
    *value = hypercall_null();
    return HV_OK;
}
