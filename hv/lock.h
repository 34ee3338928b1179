/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ticket lock: first come, first served. Sluice runs with interrupts off, so no lock is taken in an
 * interrupt that interrupted its holder. Ranks rise: while holding one, take only higher ones.
 */
#ifndef HV_LOCK_H
#define HV_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* Rank order, lowest first. A lock's declaration names its rank and says what it guards. */
enum lock_rank {
    RANK_VM,     /* struct vm: spaces, bonds, rings, groups */
    RANK_DEVICE, /* struct iommu_device: its tables */
    RANK_QUEUE,  /* struct iommu_unit: invalidation queue, domain ids */
    RANK_PAGES,  /* page pool */
    RANK_LOG,
};

struct lock {
    _Atomic uint16_t next, owner;
};

void lock_take(struct lock *l);
void lock_drop(struct lock *l);

#endif
