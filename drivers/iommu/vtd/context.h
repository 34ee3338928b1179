/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Root table and scalable-mode context entries (9.2, 9.4). A root entry, once set, stays; the
 * tables it points to are Sluice's own. A context entry exists for a device from device_add to
 * device_remove.
 */
#ifndef DRIVERS_IOMMU_VTD_CONTEXT_H
#define DRIVERS_IOMMU_VTD_CONTEXT_H

#include "drivers/iommu/vtd/device.h"

/* The entry of @rid, its table made if need be. HV_ENOMEM. */
enum hv_status vtd_context_entry(struct iommu_unit *unit, rid_t rid, uint64_t **entry);
/* Make the device's entry present. HV_ETIMEDOUT, HV_EIO: it is not. */
enum hv_status vtd_context_set(struct vtd_device *v);
/* Accept page requests from the device or not (PRE), and invalidate. */
enum hv_status vtd_context_page_requests(struct vtd_device *v, bool on);
/* Not present, one store; nothing is invalidated. */
void vtd_context_clear(struct vtd_device *v);
/* Invalidate all that hardware keeps of the device through its context entry. */
enum hv_status vtd_context_invalidate(struct vtd_device *v, bool drain);

#endif
