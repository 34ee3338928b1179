/* SPDX-License-Identifier: BSD-2-Clause */
/* Non-recoverable faults: recording registers and what the reasons mean (7.1.3, 7.2, 7.3). */
#ifndef DRIVERS_IOMMU_VTD_FAULT_H
#define DRIVERS_IOMMU_VTD_FAULT_H

#include "drivers/iommu/iommu.h"
#include "hv/lock.h"
#include "hv/log.h"

/* How many faults of one function within a second; functions that share a place take turns. */
#define FLOOD_FAULTS 256u
#define FLOOD_PLACES 64u
struct vtd_flood {
    rid_t rid;
    uint32_t count;
    uint64_t since;
};

struct vtd_fault_log {
    struct lock lock; /* RANK_DEVICE; the recording registers */
    uint32_t next;    /* record to look at next */
    struct log_limit limit, hidden;
    struct vtd_flood flood[FLOOD_PLACES]; /* guarded by lock */
};

/* Take and report what is recorded, then clear the overflow. No lock held. */
void vtd_fault_process(struct iommu_unit *unit);
/* Clear all records unseen, at start. */
void vtd_fault_clear(struct iommu_unit *unit);
/* The class and words of a reason. */
enum iommu_fault_class vtd_fault_class(uint8_t reason, const char **text);

#endif
