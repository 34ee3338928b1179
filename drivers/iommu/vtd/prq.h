/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page requests of a unit (7.4 to 7.11): from hardware's queue to the core, and answers that the
 * driver gives by itself: INVALID to unknown devices, to devices with page requests off, and to
 * what is still queued when a PASID is blocked.
 */
#ifndef DRIVERS_IOMMU_VTD_PRQ_H
#define DRIVERS_IOMMU_VTD_PRQ_H

#include "drivers/iommu/iommu.h"
#include "hv/lock.h"

#define PRQ_ORDER   4u /* 16 pages: 2048 requests */
#define PRQ_ENTRIES (128u << PRQ_ORDER)

struct vtd_prq_raw {
    uint64_t q0, q1;
};

struct vtd_prq {
    struct lock lock; /* RANK_DEVICE; everything here, and the lookup of a request's device */
    uint64_t *ring;   /* four qwords an entry; always snooped. NULL: no page requests here */
    uint32_t head;    /* entries consumed, modulo the ring; PQH may lag */
    struct vtd_prq_raw *backlog; /* taken off the ring by a drain, not yet delivered; same size */
    uint32_t backlog_head, backlog_tail; /* free running */
    uint32_t promised;                   /* to devices */
    bool busy, again;                    /* someone delivers; it shall look once more */
};

struct vtd_device;

/* Memory and registers. The event is programmed by the caller. */
enum hv_status vtd_prq_start(struct iommu_unit *unit);
/* Deliver what is there (7.11.1 order). No lock held. */
void vtd_prq_process(struct iommu_unit *unit);
/* After the wait behind a device's invalidations (7.10): take its requests (@pasid: with that
 * PASID, PASID_RID: those without; -1: all) off the queue, answering INVALID. HV_ETIMEDOUT, HV_EIO:
 * the invalidation queue's; a queue that others keep full is no error. */
enum hv_status vtd_prq_drain(struct vtd_device *v, int32_t pasid);

#endif
