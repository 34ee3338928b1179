/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two rings of a VM: events from Sluice to the guest, commands from the guest to Sluice. Both
 * lie in the guest's RAM, so what Sluice knows of them is kept here; from the guest's side it reads
 * one index, once, and believes it only if it moved forward and not past the other. A ring whose
 * index is not believed is stopped until the guest sets it again.
 */
#ifndef HV_RINGS_H
#define HV_RINGS_H

#include "hv/lock.h"
#include "hv/log.h"
#include "hv/types.h"
#include "sluice/hypercall.h"

#define RING_ENTRIES_MIN 16u
#define RING_ENTRIES_MAX 4096u
#define DOORBELL_MAX     256u /* commands of one doorbell */

struct vm;
struct vcpu;

/* One ring in guest memory. @header NULL: not set. */
struct ring {
    struct hc_ring *header;
    void *slots;
    uint32_t entries;
    uint32_t producer, consumer; /* ours is the truth; the other's as last believed */
    bool stopped;                /* the guest's index was broken */
};

struct rings {
    /* RANK_EVENTS: the event ring, the groups (hv/iopf_group.h) and, for readers without the VM's
     * lock, which space a PASID means and which bonds it has. Never held across a call of the IOMMU
     * driver. */
    struct lock events;
    struct ring event;
    uint32_t notified; /* producer when the guest was last interrupted */
    struct vcpu *vcpu; /* whom to interrupt, with what */
    uint8_t vector;
    bool ended;            /* the VM is going: nothing is delivered any more */
    _Atomic bool dirty;    /* pushed since the last notification; on the list of next_dirty */
    _Atomic uint32_t busy; /* CPUs that use the VM without a lock: interrupting, or rings_broken */
    struct rings *next_dirty;
    uint32_t lost;     /* as in the header */
    uint32_t promised; /* slots for page requests that devices may send; the VM's lock as well */
    uint32_t open;     /* of those, requests sent and not answered */
    struct vm *vm;
    struct ring command;         /* guarded by the VM's lock */
    struct log_limit complaints; /* about its event ring */
};

/* Of a ring's entries, those for page requests; the rest is for other events. */
static inline uint32_t rings_room(uint32_t entries)
{
    return entries - entries / 4;
}

enum hv_status rings_create(struct vm *vm);
void rings_destroy(struct vm *vm);

/* A ring that takes events: set, not stopped, VM not ending. Lock: events. */
static inline bool rings_delivers(const struct rings *r)
{
    return r->event.header && !r->event.stopped && !r->ended;
}

/** Put one event into the ring, if at least @keep slots stay free after it. The guest is told by
 *  rings_notify_all, which must follow on the same CPU.
 *  Lock: events. The ring delivers.
 *  @return HV_OK; HV_EBUSY no room; HV_ERING the guest's index is broken and the ring is stopped
 * now: the caller must call rings_broken once it holds no event lock. */
enum hv_status rings_push(struct rings *r, const struct hc_event *event, uint32_t keep);
/* Let go of what only a working ring can end: exactly once after HV_ERING. Lock: no event lock. */
void rings_broken(struct rings *r);
/* Interrupt each guest that was sent something by this CPU, if it was told of nothing since it last
 * caught up. Lock: no event lock. */
void rings_notify_all(void);
/* Push what is not a page request, never into room that page requests may need, and notify. Counted
 * as lost if there is no room. Lock: no event lock. */
void rings_event(struct vm *vm, const struct hc_event *event);
/* The same for a caller that holds the event lock and notifies later. */
enum hv_status rings_push_other(struct rings *r, const struct hc_event *event);
/* The VM is going: deliver nothing from here on. On return no CPU is at its devices from here. */
void rings_end(struct vm *vm);

#endif
