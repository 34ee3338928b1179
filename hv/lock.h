/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ticket lock: first come, first served. Sluice runs with interrupts off, so no lock is taken in an
 * interrupt that interrupted its holder. Ranks rise: while holding one, take only higher ones.
 */
#ifndef HV_LOCK_H
#define HV_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Rank order, lowest first. A lock's declaration names its rank and says what it guards. */
enum lock_rank {
    RANK_NONE,   /* not initialised: order not checked */
    RANK_VM,     /* struct vm: spaces, bonds, command ring; held across calls of the IOMMU driver */
    RANK_IOPF,   /* hv/iopf_drop.c: the list of devices whose groups have a deadline */
    RANK_UPCALL, /* hv/device.c: which devices there are */
    RANK_FILL,   /* struct sva: what page requests fill; held across calls of the IOMMU driver */
    RANK_EVENTS, /* struct rings: event ring, groups; never held across a call of the IOMMU driver
                  */
    RANK_DEVICE, /* struct iommu_device: its tables */
    RANK_QUEUE,  /* struct iommu_unit: invalidation queue, domain ids */
    RANK_PAGES,  /* page pool */
    RANK_PCI,    /* configuration ports of the host */
    RANK_CONSOLE, /* whose guest's line is next */
    RANK_LOG,
};

struct lock {
    _Atomic uint16_t next, owner;
    uint16_t rank; /* enum lock_rank; the host tests check the order */
};

#define LOCK(r) { .rank = (r) }

/* Panics when one holder keeps it for ten seconds (but not those of a VM): a deadlock is a broken
 * invariant, and a silent one helps nobody. */
void lock_take(struct lock *l);
/* Take it only if it is free now. */
bool lock_try(struct lock *l);
void lock_drop(struct lock *l);

#endif
