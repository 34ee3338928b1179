/* SPDX-License-Identifier: BSD-2-Clause */
/* Non-recoverable faults: recording registers and what the reasons mean (7.1.3, 7.2, 7.3). */
#ifndef DRIVERS_IOMMU_VTD_FAULT_H
#define DRIVERS_IOMMU_VTD_FAULT_H

#include "drivers/iommu/iommu.h"
#include "hv/lock.h"
#include "hv/log.h"

struct vtd_fault_log {
    struct lock lock; /* RANK_DEVICE; the recording registers */
    uint32_t next;    /* record to look at next */
    struct log_limit limit;
};

/* Take and report what is recorded, then clear the overflow. No lock held. */
void vtd_fault_process(struct iommu_unit *unit);
/* Clear all records unseen, at start. */
void vtd_fault_clear(struct iommu_unit *unit);
/* The class and words of a reason. */
enum iommu_fault_class vtd_fault_class(uint8_t reason, const char **text);

#endif
