/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors of the invalidation queue (6.5.2.11), and the parts of the queue that handling them needs.
 * All with queue.lock held.
 */
#ifndef DRIVERS_IOMMU_VTD_QUEUE_ERROR_H
#define DRIVERS_IOMMU_VTD_QUEUE_ERROR_H

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/queue.h"

/* Look at FSTS and handle IQE, ITE, ICE. */
void vtd_queue_errors_locked(struct iommu_unit *unit);
/* Time is up: cut off the device that the oldest wait waits for, if it can be but one; @last: all
 * that it can be, and log what hardware says. @return whether it waits for device TLBs. */
bool vtd_queue_blame(struct iommu_unit *unit, bool last);

void vtd_queue_reclaim(struct vtd_queue *q);
void vtd_queue_write(struct vtd_queue *q, uint64_t position, struct vtd_desc desc);
/* Is there room, of that kept back for errors, for a device's flush and a wait? */
bool vtd_queue_reserve(const struct vtd_queue *q);
uint64_t vtd_queue_write_wait(struct vtd_queue *q, bool drain);
void vtd_queue_publish(struct iommu_unit *unit);

#endif
