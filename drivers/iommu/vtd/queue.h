/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The invalidation queue of a unit (6.5.2): 256-bit descriptors, 128-bit ones in legacy mode,
 * written by all CPUs under one lock.
 *
 * Positions count descriptors since start and never wrap; a ring index is a position modulo the
 * size. Completion is known only from the status word that a wait descriptor writes. Waits are
 * numbered; a ticket names the waits that together cover what its owner put in, for hardware
 * promises with one wait no more than what lies behind the previous one (6.5.2.12).
 */
#ifndef DRIVERS_IOMMU_VTD_QUEUE_H
#define DRIVERS_IOMMU_VTD_QUEUE_H

#include "hv/lock.h"
#include "hv/types.h"

#define QUEUE_ORDER       4u /* 16 pages: 2048 descriptors; of 128 bits: half of it */
#define QUEUE_ENTRIES     (128u << QUEUE_ORDER)
#define QUEUE_WAITS       256u
/* For one wait. If it waits for device TLBs, the one device that can be meant is cut off then; for
 * as long again twice, hardware has time to say itself who does not answer, and nobody else pays.
 */
#define QUEUE_WAIT_US     1000000u
#define QUEUE_PATIENCE_US 3000000u
/* For room in the ring, whoever is found out meanwhile: the lock is held, and ten seconds of that
 * are taken for a deadlock. */
#define QUEUE_ROOM_US     5000000u
#define QUEUE_SUSPECTS    8u
#define QUEUE_PROBES      8u /* rounds of questions; each ends with a device that is cut off */

/* The upper half of every descriptor the driver uses is zero. */
struct vtd_desc {
    uint64_t q0, q1;
};

struct vtd_queue {
    struct lock lock;          /* RANK_QUEUE; guards everything here but the status words */
    uint64_t *ring;            /* always snooped */
    uint8_t shift;             /* 2^shift qwords an entry: 2, in legacy mode 1 */
    volatile uint32_t *status; /* written by hardware: low half of a wait's number */
    uint64_t status_pa;
    uint64_t tail;             /* position to be written next */
    uint64_t published;        /* tail that hardware knows */
    uint64_t done;             /* everything before is complete */
    uint64_t limit;            /* the tail may go so far, else make room first */
    uint64_t next;             /* number of the next wait */
    _Atomic uint64_t oldest;   /* first wait not known to be complete */
    uint64_t end[QUEUE_WAITS]; /* by wait: `done` once it and all older ones are complete */
    _Atomic uint64_t lost;     /* last wait that covers a descriptor hardware refused (IQE) */
    /* Hardware that gave up on a device without a name: who is asked, alone, before all else. */
    rid_t suspect[QUEUE_SUSPECTS];
    unsigned suspects, probes; /* probes: rounds since the last device was cut off */
    uint32_t question;         /* what the status words behind the waits' have once answered */
    _Atomic uint32_t rounds;   /* hardware gave up on something, and goes on */
    struct vtd_desc *scratch;  /* QUEUE_ENTRIES of them, for what a failed device TLB has lost */
    _Atomic bool stuck;        /* hardware failed to finish in time; no long waits until it does */
};

struct vtd_ticket {
    uint64_t first, last; /* wait numbers; first > last: nothing to wait for */
};

struct iommu_unit;

/* Queue memory and registers; the unit's queue is off. HV_ENOMEM, HV_EQUOTA, HV_ETIMEDOUT. */
enum hv_status vtd_queue_start(struct iommu_unit *unit);

/* Append @n (at most 32) descriptors, not yet published. @first: set to the number of the next wait
 * if it is 0, as it is at the start. HV_ETIMEDOUT: no room, nothing was appended. The one for hot
 * paths is in queue_put.h. */
enum hv_status vtd_queue_put(struct iommu_unit *unit, const struct vtd_desc *desc, unsigned n,
                             uint64_t *first);
/* Lock held, ring at its limit: wait until @n descriptors and a wait fit. */
SELDOM enum hv_status vtd_queue_make_room(struct iommu_unit *unit, unsigned n);
/* Close what was put since @first with a wait and publish all. @drain: also behind it are the page
 * requests received before (PD). */
enum hv_status vtd_queue_submit(struct iommu_unit *unit, uint64_t first, bool drain,
                                struct vtd_ticket *ticket);
/* HV_ETIMEDOUT; HV_EIO: hardware refused a descriptor. Devices that did not answer were cut off. */
enum hv_status vtd_queue_wait(struct iommu_unit *unit, struct vtd_ticket ticket);
/* All three for one list. */
enum hv_status vtd_queue_execute(struct iommu_unit *unit, const struct vtd_desc *desc, unsigned n,
                                 bool drain);

/* Handle what FSTS tells of the queue. Takes the lock. @return whether there was something that
 * hardware stood still for. */
bool vtd_queue_errors(struct iommu_unit *unit);

#endif
