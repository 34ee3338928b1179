/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attach and block on units in legacy mode (9.3): the context entry itself holds second stage and
 * domain id, and there are no PASIDs. Callers have checked device and target.
 */
#ifndef DRIVERS_IOMMU_VTD_LEGACY_H
#define DRIVERS_IOMMU_VTD_LEGACY_H

#include "drivers/iommu/vtd/device.h"

enum hv_status vtd_legacy_attach(struct vtd_device *v, const struct iommu_stage2 *stage2);
enum hv_status vtd_legacy_block(struct vtd_device *v);

#endif
