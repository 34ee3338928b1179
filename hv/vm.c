/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a VM. It is built before anything runs, on the boot CPU. It ends when all its vCPUs
 * have left the guest; the CPU of the last one takes it apart while other VMs go on.
 */
#include "hv/vm.h"

#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/pvh.h"
#include "hv/report.h"
#include "hv/rings.h"
#include "hv/sva.h"
#include "hv/vpci.h"

struct vm *vms[BOOT_VMS_MAX];
unsigned nvms;

static _Atomic unsigned running; /* created and not ended */

/* --- Creation: a table of steps, each with its way back --------------------------------------- */

static enum hv_status create_ram(struct vm *vm, const struct boot_vm *config)
{
    uint64_t low = config->ram.size < VM_RAM_LOW_END ? config->ram.size : VM_RAM_LOW_END;

    enum hv_status status =
        pt_create(&vm->npt, vcpu_ops->second_stage, &vm->quota, vcpu_ops->second_stage_levels,
                  vcpu_ops->second_stage_large(), false);
    if (status != HV_OK)
        return status;
    vm->ram_bytes = config->ram.size;
    vm->ram[vm->nram++] = (struct vm_ram){ GPADDR(0), PADDR(config->ram.base), low };
    if (config->ram.size > low)
        vm->ram[vm->nram++] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), PADDR(config->ram.base + low),
                                               config->ram.size - low };
    for (unsigned i = 0; i < vm->nram && status == HV_OK; i++)
        status = pt_map(&vm->npt, PTADDR(vm->ram[i].gpa.v), vm->ram[i].hpa, vm->ram[i].size,
                        PT_R | PT_W | PT_X);
    return status;
}

static void destroy_ram(struct vm *vm)
{
    pt_destroy(&vm->npt);
}

static bool cpu_in_use(unsigned cpu)
{
    for (unsigned i = 0; i < nvms; i++) {
        for (unsigned k = 0; k < vms[i]->nvcpus; k++) {
            if (vms[i]->vcpu[k] && vms[i]->vcpu[k]->cpu == cpu)
                return true;
        }
    }
    return false;
}

static enum hv_status create_vcpus(struct vm *vm, const struct boot_vm *config)
{
    for (unsigned i = 0; i < config->cpus; i++) {
        unsigned cpu = config->cpu[i];
        bool twice = cpu_in_use(cpu);
        for (unsigned k = 0; k < i; k++)
            twice = twice || config->cpu[k] == cpu;
        if (cpu >= cpu_count() || twice) {
            log_error("vm", "vm %s, line %u: CPU %u %s", vm->name, config->line, cpu,
                      twice ? "is in use" : "is absent");
            return HV_EINVAL;
        }
        enum hv_status status = vcpu_create(vm, i, cpu, &vm->vcpu[i]);
        if (status != HV_OK)
            return status;
        vm->nvcpus++;
    }
    return HV_OK;
}

static void destroy_vcpus(struct vm *vm)
{
    for (; vm->nvcpus; vm->nvcpus--) {
        vcpu_destroy(vm->vcpu[vm->nvcpus - 1]);
        vm->vcpu[vm->nvcpus - 1] = NULL;
    }
}

static enum hv_status create_devices(struct vm *vm, const struct boot_vm *config)
{
    enum hv_status status = rings_create(vm);

    if (status == HV_OK)
        status = sva_create(vm);
    for (unsigned i = 0; i < config->npci && status == HV_OK; i++) {
        status = device_add(vm, &config->pci[i]);
        if (status == HV_ENOTSUP)
            log_error("vm", "vm %s, line %u: no IOMMU unit is in charge of this function", vm->name,
                      config->pci[i].line);
    }
    return status;
}

static enum hv_status create_image(struct vm *vm, const struct boot_vm *config)
{
    return pvh_load(vm, config, &vm->entry);
}

/* In this order; back from the step that failed, which has to bear a half of itself. */
static const struct step {
    const char *what;
    enum hv_status (*create)(struct vm *vm, const struct boot_vm *config);
    void (*destroy)(struct vm *vm);
} steps[] = {
    { "memory", create_ram, destroy_ram },
    { "vCPUs", create_vcpus, destroy_vcpus },
    { "PCI functions", vpci_create, vpci_destroy },
    { "devices", create_devices, device_end },
    { "kernel", create_image, NULL },
};

static void destroy(struct vm *vm, unsigned nsteps)
{
    while (nsteps--) {
        if (steps[nsteps].destroy)
            steps[nsteps].destroy(vm);
    }
}

enum hv_status vm_create(const struct boot_vm *config, struct vm **out)
{
    void *page;
    enum hv_status status = nvms < BOOT_VMS_MAX ? pages_alloc(NULL, 0, &page) : HV_ERANGE;

    if (status != HV_OK)
        return status;
    static_assert(sizeof(struct vm) <= PAGE_SIZE);
    struct vm *vm = page;
    vm->id = (uint16_t)nvms;
    vm->lock.rank = RANK_VM;
    vm->quota.limit = config->table_quota;
    memcpy(vm->name, config->name, sizeof(vm->name) - 1);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        status = steps[i].create(vm, config);
        if (status == HV_OK)
            continue;
        log_error("vm", "vm %s, line %u: %s: cannot be made (status %d)%s", vm->name, config->line,
                  steps[i].what, status, status == HV_EQUOTA ? ": table-quota is too small" : "");
        destroy(vm, i + 1);
        pages_free(NULL, 0, vm);
        return status;
    }
    vms[nvms++] = vm;
    running++; /* counted before any runs: one that ends at once is not the last */
    *out = vm;
    return HV_OK;
}

void vm_run(struct vm *vm)
{
    const struct vcpu_start start = { .rip = vm->entry, .rbx = PVH_INFO };

    vm->state = VM_RUNNING;
    vcpu_begin(vm->vcpu[0], &start);
}

/* --- End -------------------------------------------------------------------------------------- */

void vm_end(struct vm *vm, enum vm_end how, uint64_t code)
{
    enum vm_state expected = VM_RUNNING;

    if (!atomic_compare_exchange_strong(&vm->state, &expected, VM_ENDING))
        return;
    vm->end = how;
    vm->end_code = code;
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vcpu_stop(vm->vcpu[i]);
}

void vm_vcpu_stopped(struct vm *vm)
{
    if (atomic_fetch_add(&vm->vcpus_stopped, 1) + 1 < vm->nvcpus)
        return;
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vm->stats.exits += vm->vcpu[i]->exits;
    destroy(vm, ARRAY_SIZE(steps));
    vm->state = VM_ENDED;
    report_vm(vm);
    if (atomic_fetch_sub(&running, 1) == 1)
        vm_last_ended();
}
