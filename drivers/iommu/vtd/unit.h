/* SPDX-License-Identifier: BSD-2-Clause */
/* One remapping unit: its state, take-over from firmware, global commands (chapters 9, 11). */
#ifndef DRIVERS_IOMMU_VTD_UNIT_H
#define DRIVERS_IOMMU_VTD_UNIT_H

#include "drivers/iommu/vtd/caps.h"
#include "drivers/iommu/vtd/domain.h"
#include "drivers/iommu/vtd/fault.h"
#include "drivers/iommu/vtd/intremap.h"
#include "drivers/iommu/vtd/prq.h"
#include "drivers/iommu/vtd/queue.h"
#include "drivers/iommu/vtd/regs.h"

#define UNIT_COMMAND_US 1000000u /* for a global command */

struct vtd_device;

struct iommu_unit {
    struct iommu_caps caps;
    struct vtd_caps hw;
    char name[8];
    paddr_t base;
    volatile void *regs;
    const struct iommu_events *events;
    uint64_t *root; /* root table; entries are set once and stay */
    struct vtd_queue queue;
    struct vtd_prq prq;
    struct vtd_fault_log faults;
    struct vtd_intremap interrupts;
    struct vtd_dids dids;
    struct lock devices_lock; /* RANK_DEVICE: the list of devices */
    struct vtd_device *devices;
    struct vtd_device **by_bus[256]; /* requester id to device in two steps; pages stay */
    struct vtd_device *failures;     /* cut off, not yet reported; guarded by queue.lock */
    /* Cuts that somebody has yet to flush, numbered, and the last one known to be flushed: until
     * they are the same, no domain id is given back. Likewise. */
    uint32_t cuts, cuts_flushed;
};

/* Map the registers and decode. Changes nothing. HV_EINVAL: no unit there; HV_ENOTSUP; HV_ENOMEM.
 */
enum hv_status vtd_unit_probe(struct iommu_unit *unit, unsigned index, paddr_t base, uint64_t size,
                              const struct iommu_events *events);
/* Take over from firmware; ends with translation on and all BLOCKED, or with an error. */
enum hv_status vtd_unit_start(struct iommu_unit *unit);
/* Everything that an interrupt would tell. */
void vtd_unit_poll(struct iommu_unit *unit);

/* Set or clear one bit of GCMD and wait for GSTS (11.4.4.1). HV_ETIMEDOUT. */
enum hv_status vtd_unit_command(struct iommu_unit *unit, uint32_t bit, bool on);
/* Structures that ECAP.C tells about. */
void vtd_unit_flush(const struct iommu_unit *unit, const void *p, size_t size);

/* Wait until (register & mask) == value. */
enum hv_status vtd_wait32(volatile void *regs, struct reg32 reg, uint32_t mask, uint32_t value);

static inline struct vtd_device *vtd_unit_device(const struct iommu_unit *unit, rid_t rid)
{
    struct vtd_device **bus = unit->by_bus[rid >> 8];
    return bus ? bus[rid & 0xff] : NULL;
}

#endif
