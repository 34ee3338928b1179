/* SPDX-License-Identifier: BSD-2-Clause */
/* What a VM may know of itself: its shape, and what it used. */
#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/domain.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/rings.h"
#include "hv/shadow.h"

#include <string.h>

static_assert(offsetof(struct hc_stats, map_faults_served) == HC_STATS_MIN);

uint64_t stats_features(const struct vm *vm)
{
    uint64_t features = vm->ndevices ? HC_FEATURE_IOMMU : 0;

    for (unsigned i = 0; i < vm->ndevices; i++) {
        const struct device *d = vm->device[i];
        features |= d->caps->interrupts ? HC_FEATURE_INTERRUPTS : 0;
        features |= d->caps->nested ? HC_FEATURE_NESTED : 0;
        features |= d->caps->second_stage ? HC_FEATURE_PAGING : 0;
        features |= shadow_end(d->caps, 4) ? HC_FEATURE_SHADOW : 0;
        features |= domain_walks(d->caps, 4) && d->io.pri ? HC_FEATURE_IOPF : 0;
        features |= d->io.pri ? HC_FEATURE_ON_DEMAND : 0;
    }
    return features;
}

enum hv_status stats_hc_vm_info(struct vm *vm, const void *arg, uint64_t *value)
{
    const uint64_t *reg = arg;
    struct hc_vm_info info = {
        .version = SLUICE_ABI_VERSION,
        .features = stats_features(vm),
        .memory = vm->ram_bytes,
        .vm = vm->id,
        .vcpus = vm->nvcpus,
        .devices = vm->ndevices,
        .table_quota = vm->quota.limit,
        .table_used = vm->quota.used,
    };

    strncpy(info.name, vm->name, sizeof(info.name) - 1);
    return guest_copy_out(vm, GPADDR(reg[0]), reg[1], sizeof(info), sizeof(info), &info, value);
}

enum hv_status stats_hc_stats(struct vm *vm, const void *arg, uint64_t *value)
{
    const uint64_t *reg = arg;

    lock_take(&vm->rings->events); /* half of the counters are under this one */
    struct hc_stats stats = vm->stats;
    lock_drop(&vm->rings->events);
    stats.exits = 0;
    for (unsigned i = 0; i < vm->nvcpus; i++)
        stats.exits += vm->vcpu[i]->exits;
    return guest_copy_out(vm, GPADDR(reg[0]), reg[1], HC_STATS_MIN, sizeof(stats), &stats, value);
}
