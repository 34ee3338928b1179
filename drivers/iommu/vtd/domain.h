/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Domain ids, and second stages as a unit knows them (6.2.3.1).
 *
 * Caches are tagged with the domain id, so: one id names one second-stage table for its life; the
 * nested entries over it share it, but for PASID_RID, where every device nests with an id of its
 * own (else two devices would have different first stages under one (id, PASID)). Id 0 is
 * hardware's, for what it could not translate. An id is flushed before it is given back.
 */
#ifndef DRIVERS_IOMMU_VTD_DOMAIN_H
#define DRIVERS_IOMMU_VTD_DOMAIN_H

#include "drivers/iommu/iommu.h"

struct vtd_dids {
    uint64_t *used; /* one bit each; guarded by queue.lock */
    uint32_t count, hint;
};

enum hv_status vtd_dids_start(struct iommu_unit *unit);
/* HV_ENOMEM: all in use. */
enum hv_status vtd_did_alloc(struct iommu_unit *unit, uint32_t *did);
/* Flush, then give back. An id that cannot be flushed is never used again: HV_ETIMEDOUT, HV_EIO. */
enum hv_status vtd_did_free(struct iommu_unit *unit, uint32_t did);

enum hv_status vtd_stage2_create(struct iommu_unit *unit, const struct pt *table,
                                 struct iommu_stage2 *out);
enum hv_status vtd_stage2_destroy(struct iommu_stage2 *stage2);
enum hv_status vtd_stage2_changed(struct iommu_stage2 *stage2, gpaddr_t base, uint64_t bytes);

#endif
