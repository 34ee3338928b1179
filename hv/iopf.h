/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IO page faults: page requests of devices, forwarded to the guest that owns the first stage, and
 * answered by group. Every request with `last` gets exactly one answer: the guest's, or INVALID from
 * Sluice when the guest cannot or did not answer.
 *
 * Requests arrive on any CPU as upcalls of the IOMMU driver, also while a vCPU of the same VM waits in
 * the driver with the VM's lock held (drain). So this side takes the event lock only (hv/rings.h).
 */
#ifndef HV_IOPF_H
#define HV_IOPF_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

struct vm;
struct device;
struct bond;

enum hv_status iopf_create(struct vm *vm);
void iopf_destroy(struct vm *vm);

/* How long a guest may take to answer a group. Boot. */
void iopf_set_deadline(uint32_t milliseconds);
/* Answer INVALID to every group whose deadline passed. Called every few milliseconds, from any CPU. */
void iopf_tick(void);

/* Upcalls of the driver; see struct iommu_events. */
void iopf_page_request(struct iommu_device *dev, const struct iommu_page_request *req);
void iopf_page_requests_done(void);

/* Turn page requests off if they are on, whatever is bound. Lock: the VM's. */
void iopf_off(struct device *d);

/* Let go of all groups (of @bond, or of @device, or NULL, NULL: of the VM), answering INVALID where an
 * answer is due and @answer. Queues answers; the caller flushes. Lock: not the event lock. */
void iopf_drop(struct vm *vm, const struct bond *bond, const struct device *device, bool answer);

/* Requests that may still come: what was promised to devices less what is open. Lock: events. */
uint32_t iopf_may_come(const struct vm *vm);
/* Ring slots that page requests were promised in all. Lock: the VM's or events. */
uint32_t iopf_promised(const struct vm *vm);

#endif
