/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IO page faults: page requests of devices, forwarded to the guest that owns the first stage, and
 * answered by group. Every request with `last` gets exactly one answer: the guest's, or INVALID
 * from Sluice when the guest cannot or did not answer.
 *
 * Requests arrive on any CPU as upcalls of the IOMMU driver, also while a vCPU of the same VM waits
 * in the driver with the VM's lock held (drain). So this side takes the event lock only
 * (hv/rings.h).
 */
#ifndef HV_IOPF_H
#define HV_IOPF_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

struct device;
struct bond;

/* How long a guest may take to answer a group. Boot. */
void iopf_set_deadline(uint32_t milliseconds);
/* Answer INVALID to every group whose deadline passed. Called every few milliseconds; any CPU, no
 * lock held. */
void iopf_tick(void);

/* Upcalls of the driver; see struct iommu_events. */
void iopf_page_request(struct iommu_device *, const struct iommu_page_request *req);
void iopf_page_requests_done(void);

/* Turn page requests off if they are on, whatever is bound; answers what is open. Lock: the VM's.
 */
void iopf_off(struct device *d);

/* Page requests the device has been, or would be, allowed outstanding. Lock: the VM's. */
uint32_t iopf_allowance(const struct device *d);

/* Let go of the groups of @d (of @bond alone, if not NULL), answering INVALID where an answer is
 * due and
 * @answer. True: answers were queued, the caller flushes. Lock: no event lock. */
bool iopf_drop(struct device *d, const struct bond *bond, bool answer);

#endif
