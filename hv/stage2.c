/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/stage2.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/ioas.h"

/* VMs that have second stages on a unit. All come before the first one runs, and go when they end.
 */
static _Atomic uint32_t sharers[IOMMU_UNITS_MAX];

static uint32_t own_devices(const struct vm *vm, const struct iommu_unit *unit)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < vm->ndevices; i++)
        n += vm->device[i]->io.unit == unit && vm->device[i]->caps->nested;
    return n;
}

static bool may_have_more(const struct vm *vm, const struct iommu_unit *unit)
{
    const struct iommu_caps *caps = iommu->caps(unit);
    uint32_t has = vm->sva->stage2s[caps->index];

    return !has || !caps->domains ||
           has + own_devices(vm, unit) < caps->domains / sharers[caps->index];
}

enum hv_status stage2_make(struct vm *vm, struct iommu_unit *unit, const struct pt *table,
                           struct iommu_stage2 *out)
{
    unsigned index = iommu->caps(unit)->index;
    uint32_t *has = &vm->sva->stage2s[index];

    while (!may_have_more(vm, unit)) {
        if (!ioas_give_up(vm, unit))
            return HV_EQUOTA;
    }
    enum hv_status status = iommu->stage2_create(unit, table, out);
    if (status == HV_OK && !(*has)++)
        sharers[index]++;
    return status;
}

enum hv_status stage2_end(struct vm *vm, struct iommu_stage2 *stage2)
{
    unsigned index = iommu->caps(stage2->unit)->index;
    enum hv_status status = iommu->stage2_destroy(stage2);

    if (status == HV_OK && !--vm->sva->stage2s[index])
        sharers[index]--;
    return status;
}

void stage2_leave(struct vm *vm)
{
    for (unsigned i = 0; i < IOMMU_UNITS_MAX; i++) {
        if (vm->sva->stage2s[i])
            sharers[i]--;
        vm->sva->stage2s[i] = 0;
    }
}
