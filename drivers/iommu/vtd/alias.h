/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requester ids that a function's requests carry in place of its own (3.12): that of the bridge to
 * conventional PCI above it, and those of the other functions there, which hardware cannot tell
 * apart. One struct vtd_device stands for all of them; their context entries say the same.
 */
#ifndef DRIVERS_IOMMU_VTD_ALIAS_H
#define DRIVERS_IOMMU_VTD_ALIAS_H

#include "drivers/iommu/vtd/device.h"

/* Requests with @rid are of @v, too, which is BLOCKED. HV_EEXIST: they are another's; HV_ERANGE:
 * too many; HV_ENOMEM. */
enum hv_status vtd_alias_add(struct vtd_device *v, rid_t rid);
/* See iommu.h. */
enum hv_status vtd_device_join(struct iommu_device *dev, struct iommu_device *first);
/* One that joined goes. */
void vtd_device_leave(struct iommu_device *dev);

#endif
