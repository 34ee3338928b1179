/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Second-stage tables as units know them: each takes one of the unit's domain ids, of which older
 * units have 16 or 256. So that no VM can take them from another, each that has devices behind a
 * unit has an equal share of them. Of its share it keeps one for each of its devices there, which
 * nest their requester ids with it.
 */
#ifndef HV_STAGE2_H
#define HV_STAGE2_H

#include "drivers/iommu/iommu.h"

struct vm;

/* As iommu->stage2_create, and HV_EQUOTA: the VM's share is used up, also when what it has kept for
 * nobody is given up. Lock: the VM's. */
enum hv_status stage2_make(struct vm *vm, struct iommu_unit *unit, const struct pt *table,
                           struct iommu_stage2 *out);
/* As iommu->stage2_destroy. What cannot be confirmed stays on the VM's account. Lock: the VM's. */
enum hv_status stage2_end(struct vm *vm, struct iommu_stage2 *stage2);
/* The VM ends: what is left on its account counts no more. */
void stage2_leave(struct vm *vm);

#endif
