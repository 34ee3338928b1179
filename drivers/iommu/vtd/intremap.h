/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt remapping (chapter 5). A message of a device is believed only if it names an entry that
 * was made for this device (its requester id is checked); messages in compatibility format are
 * refused, and so are entries that are not present: nobody raises a vector that was not given to
 * him. Events of the units are never remapped.
 */
#ifndef DRIVERS_IOMMU_VTD_INTREMAP_H
#define DRIVERS_IOMMU_VTD_INTREMAP_H

#include "drivers/iommu/iommu.h"
#include "hv/lock.h"

struct vtd_intremap {
    struct lock lock;  /* RANK_DEVICE: which entries are taken; one that is, is its owner's */
    uint64_t *table;   /* two qwords an entry; NULL: no remapping */
    uint64_t *used;    /* a bit each */
    uint32_t entries;  /* power of two */
    _Atomic bool told; /* that there is no remapping */
};

/* Everything refused. The queue is on, and all CPUs are known: each can have as many interrupts as
 * it has vectors. HV_ENOMEM, HV_ETIMEDOUT, HV_EIO. */
enum hv_status vtd_intremap_start(struct iommu_unit *unit);

enum hv_status vtd_irq_map(struct iommu_device *dev, struct iommu_irq *irq,
                           const struct irq_target *to);
enum hv_status vtd_irq_unmap(struct iommu_device *dev, struct iommu_irq *irq);

/* Address of the message that a fault tells of, from its reason and the index in its record. */
uint64_t vtd_intremap_blamed(uint8_t reason, uint64_t index);

#endif
