/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Root table and context entries (9.1 to 9.4). A root entry, once set, stays; the tables it points
 * to are Sluice's own. A scalable context entry is present from device_add to device_remove; a
 * legacy one while something is attached (legacy.h).
 */
#ifndef DRIVERS_IOMMU_VTD_CONTEXT_H
#define DRIVERS_IOMMU_VTD_CONTEXT_H

#include "drivers/iommu/vtd/device.h"

/* Faults of a function can be hidden by any CPU at any time: all that changes a root or a context
 * entry has the queue's lock. The functions here take it, unless they say so. */

/* The entry of @rid, its table made if need be. HV_ENOMEM. */
enum hv_status vtd_context_entry(struct iommu_unit *unit, rid_t rid, uint64_t **entry);
/* Of the device's ids the own one (0) or alias n - 1: its entry, which there is. */
uint64_t *vtd_context_nth(const struct vtd_device *v, unsigned n);
/* Make the device's scalable entries present. HV_ETIMEDOUT, HV_EIO: it is not. */
enum hv_status vtd_context_set(struct vtd_device *v);
/* There is one more alias: its entry is as the others are, scalable ones present. */
enum hv_status vtd_context_follow(struct vtd_device *v);
/* Accept page requests from the device or not (PRE), and invalidate. */
enum hv_status vtd_context_page_requests(struct vtd_device *v, bool on);
/* Record no more faults of a function, whether it is in or not, until its entry is set anew. */
enum hv_status vtd_context_hide_faults(struct iommu_unit *unit, rid_t rid);
/* Not present, one store; nothing is invalidated. Lock: the queue's. */
void vtd_context_clear(struct vtd_device *v);
void vtd_context_clear_one(struct vtd_device *v, unsigned n);
/* The domain id in a legacy entry, which stays when it is cleared; 0 in scalable mode. */
uint32_t vtd_context_did(const struct vtd_device *v);
/* Invalidate all that hardware keeps of the device through its context entry. */
enum hv_status vtd_context_invalidate(struct vtd_device *v, bool drain);

#endif
