/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups that Sluice ends: because what they belong to goes, or because the guest's time is over.
 * They are taken out under the event lock, some at a time, and answered without it: the driver may
 * come back with an upcall.
 */
#include "hv/iopf_drop.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/iopf.h"
#include "hv/iopf_group.h"
#include "hv/platform.h"
#include "hv/rings.h"

#define DROP_BATCH 16u /* groups taken out at a time */

bool iopf_drop(struct device *d, const struct bond *bond, bool answer)
{
    struct vm *vm = d->vm;
    struct iommu_page_request due[DROP_BATCH];
    bool queued = false;
    unsigned n;

    do {
        n = 0;
        lock_take(&vm->rings->events);
        struct iopf *f = d->groups;
        uint16_t slot = f && (!bond || bond->groups) ? f->oldest : IOPF_NO_SLOT;
        while (slot != IOPF_NO_SLOT && n < DROP_BATCH) {
            struct iopf_group *g = &f->group[slot];
            slot = g->newer;
            if (bond && g->bond != bond)
                continue;
            if (g->complete && answer)
                due[n++] = g->last;
            iopf_group_close(f, g);
        }
        vm->stats.responses_by_sluice += n;
        lock_drop(&vm->rings->events);
        for (unsigned i = 0; i < n; i++)
            iommu->respond(&d->io, &due[i], false);
        queued |= n > 0;
    } while (n == DROP_BATCH);
    return queued;
}

/* --- The deadline ----------------------------------------------------------------------------- */

/* RANK_IOPF: guards the list of those that are on. */
static struct lock list_lock = LOCK(RANK_IOPF);
static struct iopf *iopf_list;
static uint64_t deadline_us = 1000000;

void iopf_set_deadline(uint32_t milliseconds)
{
    if (milliseconds) /* 0: as it is */
        deadline_us = milliseconds * 1000ull;
}

void iopf_drop_watch(struct iopf *f)
{
    lock_take(&list_lock);
    f->next = iopf_list;
    iopf_list = f;
    lock_drop(&list_lock);
}

void iopf_drop_unwatch(struct iopf *f)
{
    struct iopf **link = &iopf_list;

    lock_take(&list_lock);
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    lock_drop(&list_lock);
    while (atomic_load(&f->expiring))
        cpu_relax();
}

struct expired {
    struct iommu_page_request last;
    struct hc_event event;
    bool complete;
};

/* Take out at most DROP_BATCH groups whose time is over, the oldest first. */
static unsigned take_expired(struct iopf *f, uint64_t now, struct expired out[DROP_BATCH])
{
    struct vm *vm = f->device->vm;
    unsigned n = 0;

    lock_take(&vm->rings->events);
    for (; n < DROP_BATCH && f->oldest != IOPF_NO_SLOT; n++) {
        struct iopf_group *g = &f->group[f->oldest];
        if (now - g->started <= deadline_us * time_ticks_per_us())
            break;
        out[n] = (struct expired){
            .last = g->last,
            .complete = g->complete,
            .event = {
                .type = HC_EVENT_GROUP_EXPIRED,
                .device = f->device->handle,
                .pasid = g->last.pasid_present ? g->last.pasid : HC_PASID_NONE,
                .flags = g->last.pasid_present ? HC_PRQ_PASID : 0,
                .cookie = iopf_group_cookie(f, g),
                .group = g->last.group,
                .category = HC_IOPF_BIND,
            },
        };
        vm->stats.responses_by_sluice += g->complete;
        iopf_group_close(f, g);
    }
    lock_drop(&vm->rings->events);
    return n;
}

/* The first one of the list that has expired groups, held; NULL: none. */
static struct iopf *next_expired(uint64_t now, struct expired out[DROP_BATCH], unsigned *n)
{
    lock_take(&list_lock);
    struct iopf *f = iopf_list;
    while (f && !(*n = take_expired(f, now, out)))
        f = f->next;
    if (f)
        f->expiring++;
    lock_drop(&list_lock);
    return f;
}

void iopf_tick(void)
{
    struct expired due[DROP_BATCH];
    struct iopf *f;
    unsigned n;

    iommu->poll(); /* a device that is cut off after a time-out raises no interrupt */
    /* No lock is held while the hardware of one is told: nobody else's calls wait for that. */
    for (uint64_t now = time_now(); (f = next_expired(now, due, &n));) {
        for (unsigned i = 0; i < n; i++) {
            if (due[i].complete)
                iommu->respond(&f->device->io, &due[i].last, false);
            rings_event(f->device->vm, &due[i].event);
        }
        (void)iommu->flush();
        f->expiring--;
    }
}
