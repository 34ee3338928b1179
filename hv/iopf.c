/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups of page requests, per device: as many slots as requests were promised to it, so that an
 * honest device always finds one. A slot is found by group index, then PASID; the oldest group is
 * first on a list for the deadline. A cookie is generation, device and slot: a slot's generation
 * rises with each group, so an old cookie never answers a new group.
 *
 * The driver's functions are never called with the event lock held (they may come back with an
 * upcall): groups are taken out under the lock, answered without it.
 */
#include "hv/iopf.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/invalidate.h"
#include "hv/pages.h"
#include "hv/platform.h"
#include "hv/rings.h"
#include "hv/shadow.h"

#define GROUP_INDICES 512u /* 9 bits in a request */
#define NO_SLOT       0xffffu
#define DROP_BATCH    16u /* groups taken out at a time */

#define COOKIE_DEVICE     16u
#define COOKIE_GENERATION 24u

struct group {
    struct bond *bond;
    struct iommu_page_request last; /* the last one that came; only its key until then */
    uint64_t generation;
    uint64_t started;  /* time_now() of the first request */
    uint16_t requests; /* delivered */
    uint16_t next;     /* same group index, or free list */
    uint16_t older, newer;
    bool live, complete; /* complete: has its last request, wants an answer */
    bool refused;        /* part of it could not be delivered: INVALID when complete */
    uint16_t pending;    /* its requests, where the device is to find their pages in a shadow */
};
static_assert(sizeof(struct group) <= 64);

/* A request that the guest has, on a unit that does not nest. */
struct pending {
    iova_t page;
    uint16_t next; /* of the group, or free */
    bool write;
};

struct iopf {
    struct device *device;
    struct iopf *next;         /* of iopf_list */
    _Atomic uint32_t expiring; /* CPUs that answer what expired: it stays until they are done */
    uint16_t slots, free, oldest, newest;
    uint32_t requests;       /* delivered and not answered; at most slots */
    unsigned order;          /* pages of all this */
    struct pending *pending; /* one for each request; NULL: the unit nests */
    uint16_t free_pending;
    uint16_t head[GROUP_INDICES];
    struct group group[];
};

/* RANK_IOPF: guards the list of those that are on. */
static struct lock list_lock = LOCK(RANK_IOPF);
static struct iopf *iopf_list;
static uint64_t deadline_us = 1000000;

void iopf_set_deadline(uint32_t milliseconds)
{
    if (milliseconds) /* 0: as it is */
        deadline_us = milliseconds * 1000ull;
}

/* --- Groups; lock: events ------------------------------------------------------------------------
 */

static uint64_t cookie_of(const struct iopf *f, const struct group *g)
{
    return g->generation << COOKIE_GENERATION | (uint64_t)f->device->handle << COOKIE_DEVICE |
           (uint64_t)(g - f->group);
}

static struct group *group_find(struct iopf *f, const struct iommu_page_request *req)
{
    uint16_t slot = f->head[req->group % GROUP_INDICES];

    while (slot != NO_SLOT) {
        struct group *g = &f->group[slot];
        if (g->last.pasid == req->pasid && g->last.pasid_present == req->pasid_present)
            return g;
        slot = g->next;
    }
    return NULL;
}

static struct group *group_open(struct iopf *f, const struct iommu_page_request *req,
                                struct bond *bond)
{
    uint16_t slot = f->free, *head = &f->head[req->group % GROUP_INDICES];

    if (slot == NO_SLOT)
        return NULL;
    struct group *g = &f->group[slot];
    f->free = g->next;
    *g = (struct group){
        .bond = bond,
        .last = *req,
        .generation = g->generation + 1,
        .started = time_now(),
        .next = *head,
        .older = f->newest,
        .newer = NO_SLOT,
        .pending = NO_SLOT,
        .live = true,
    };
    *head = slot;
    if (f->newest == NO_SLOT)
        f->oldest = slot;
    else
        f->group[f->newest].newer = slot;
    f->newest = slot;
    bond->groups++;
    return g;
}

static void pending_add(struct iopf *f, struct group *g, const struct iommu_page_request *req)
{
    if (!f->pending)
        return;
    uint16_t slot = f->free_pending; /* there are as many as requests */
    struct pending *p = &f->pending[slot];
    f->free_pending = p->next;
    *p = (struct pending){ .page = req->address, .write = req->write, .next = g->pending };
    g->pending = slot;
}

static bool pending_take(struct iopf *f, struct group *g, struct pending *out)
{
    uint16_t slot = g->pending;

    if (slot == NO_SLOT)
        return false;
    *out = f->pending[slot];
    g->pending = out->next;
    f->pending[slot].next = f->free_pending;
    f->free_pending = slot;
    return true;
}

static void group_close(struct iopf *f, struct group *g)
{
    uint16_t slot = (uint16_t)(g - f->group), *link = &f->head[g->last.group % GROUP_INDICES];
    struct pending unanswered;

    while (pending_take(f, g, &unanswered))
        ;
    while (*link != slot)
        link = &f->group[*link].next;
    *link = g->next;
    if (g->older == NO_SLOT)
        f->oldest = g->newer;
    else
        f->group[g->older].newer = g->newer;
    if (g->newer == NO_SLOT)
        f->newest = g->older;
    else
        f->group[g->newer].older = g->older;
    g->next = f->free;
    f->free = slot;
    g->live = false;
    g->bond->groups--;
    f->requests -= g->requests;
    f->device->vm->rings->open -= g->requests;
}

/* --- Requests ------------------------------------------------------------------------------------
 */

/* Does the guest serve what Sluice does not? Lock: events. */
static bool is_guests(const struct bond *bond)
{
    return bond->faults && bond->space->kind == HC_DOMAIN_NESTED &&
           (bond->device->iopf & HC_IOPF_BIND) && rings_delivers(bond->device->vm->rings);
}

/* The bond whose requests are served; NULL: nobody's. Lock: events. */
static struct bond *served_by(const struct device *d, const struct iommu_page_request *req)
{
    if (!d->iopf)
        return NULL;
    struct bond *bond = bond_find(d, req->pasid_present ? req->pasid : HC_PASID_NONE);
    if (!bond || !bond->attached || !((d->iopf & HC_IOPF_MAP) || is_guests(bond)))
        return NULL;
    return bond;
}

static struct hc_event request_event(const struct iopf *f, const struct group *g,
                                     const struct iommu_page_request *req, uint32_t category)
{
    return (struct hc_event){
        .type = HC_EVENT_PAGE_REQUEST,
        .device = f->device->handle,
        .pasid = req->pasid_present ? req->pasid : HC_PASID_NONE,
        .flags = (req->read ? HC_PRQ_READ : 0) | (req->write ? HC_PRQ_WRITE : 0) |
                 (req->privileged ? HC_PRQ_PRIVILEGED : 0) | (req->last ? HC_PRQ_LAST : 0) |
                 (req->pasid_present ? HC_PRQ_PASID : 0),
        .address = req->address.v,
        .cookie = cookie_of(f, g),
        .group = req->group,
        .category = category,
    };
}

/* Nobody can serve it: the guest's own table leads outside its memory, the unit cannot translate
 * the address, or there is no room for a shadow. */
static enum hv_status report_refused(const struct device *d, const struct iommu_page_request *req,
                                     enum hc_fault_reason reason)
{
    return rings_push_other(
        d->vm->rings, &(struct hc_event){
                          .type = HC_EVENT_FAULT,
                          .device = d->handle,
                          .pasid = req->pasid_present ? req->pasid : HC_PASID_NONE,
                          .flags = (req->read ? HC_PRQ_READ : 0) | (req->write ? HC_PRQ_WRITE : 0) |
                                   (req->pasid_present ? HC_PRQ_PASID : 0),
                          .address = req->address.v,
                          .reason = reason,
                      });
}

static enum hv_status try_to_serve(struct device *d, const struct iommu_page_request *req,
                                   bool *filled)
{
    struct vm *vm = d->vm;
    struct sva *sva = vm->sva;
    struct space space;
    struct domain domain;

    lock_take(&sva->fill_lock); /* keeps what the bond translates through, once found */
    const uint64_t before = sva->filled;
    lock_take(&vm->rings->events);
    const struct bond *bond = served_by(d, req);
    if (bond) {
        space = *bond->space;
        domain = *bond->domain;
    }
    lock_drop(&vm->rings->events);
    enum hv_status status = bond ? demand_serve(d, &space, &domain, req) : HV_ENOENT;
    *filled = sva->filled != before;
    lock_drop(&sva->fill_lock);
    return status;
}

/* Can Sluice serve it from what is on demand or, on a unit that does not nest, from the guest's
 * table? As demand_serve(); HV_ENOENT: it is the guest's. Lock: none of the VM's. */
static enum hv_status serve(struct device *d, const struct iommu_page_request *req, bool *filled)
{
    bool room = false;

    /* Where there is nothing on demand, units that nest have found what there is to be found. */
    if (d->caps->nested && !(__atomic_load_n(&d->iopf, __ATOMIC_RELAXED) & HC_IOPF_MAP))
        return HV_ENOENT;
    enum hv_status status = try_to_serve(d, req, filled);
    if (status != HV_EQUOTA && status != HV_ENOMEM)
        return status;
    return shadow_drop_vm(d->vm, NULL, &room) == HV_OK && room ? try_to_serve(d, req, filled)
                                                               : status;
}

/* Where the unit nests and nothing is on demand: no more than rule out what nobody can serve. */
static enum hv_status judge(const struct space *space, const struct iommu_page_request *req)
{
    return guest_walk(space->vm, space->root, space->levels, req->address, req->write,
                      req->privileged) == GUEST_WALK_OUTSIDE
               ? HV_EFAULT
               : HV_ENOENT;
}

static enum hc_fault_reason reason_of(enum hv_status found)
{
    switch (found) {
    case HV_EFAULT: return HC_FAULT_SECOND_STAGE;
    case HV_ERANGE: return HC_FAULT_ADDRESS;
    case HV_ENOENT: return HC_FAULT_FIRST_STAGE;
    default: return HC_FAULT_OTHER;
    }
}

/* Give one request of @g to the guest. HV_OK: delivered; else the group is to be refused. */
static enum hv_status deliver(struct iopf *f, struct group *g, const struct iommu_page_request *req,
                              enum hv_status found)
{
    struct vm *vm = f->device->vm;

    const bool guests = is_guests(g->bond);
    if (guests && !f->pending && !(f->device->iopf & HC_IOPF_MAP))
        found = judge(g->bond->space, req);
    if (!guests && found == HV_OK) /* no fault, but the guest answers for it no longer */
        return HV_ENOENT;
    if (!guests || (found != HV_OK && found != HV_ENOENT)) {
        enum hv_status status = report_refused(f->device, req, reason_of(found));
        return status == HV_OK ? found : status;
    }
    if (f->requests == f->slots) {
        vm->stats.page_requests_lost++; /* more than it was promised: nobody else pays for it */
        return HV_EQUOTA;
    }
    const bool served = found == HV_OK && (f->device->iopf & HC_IOPF_MAP);
    struct hc_event event = request_event(f, g, req, served ? HC_IOPF_MAP : HC_IOPF_BIND);
    enum hv_status status = rings_push(vm->rings, &event, 0);
    if (status != HV_OK) {
        vm->stats.page_requests_lost++;
        return status;
    }
    g->requests++;
    f->requests++;
    vm->rings->open++;
    vm->stats.page_requests++;
    if (found == HV_ENOENT)
        pending_add(f, g, req);
    return HV_OK;
}

enum answer { LATER, INVALID, SUCCESS };

/* Enter one request. @found: what serve() said. @return what Sluice answers to it. */
static enum answer receive(struct device *d, const struct iommu_page_request *req,
                           enum hv_status found, enum hv_status *status)
{
    const enum answer refuse = req->last ? INVALID : LATER;
    struct iopf *f = d->groups;

    if (!f)
        return refuse;
    struct bond *bond = served_by(d, req);
    struct group *g = group_find(f, req);

    if (g && g->complete)
        return refuse; /* its index is still in use: the device breaks the rules */
    if (!g && bond && found == HV_OK)
        return req->last ? SUCCESS : LATER; /* the guest has none of the group */
    if (!g && bond) {
        g = group_open(f, req, bond);
        d->vm->stats.page_requests_lost += !g; /* more groups than it was promised requests */
    }
    if (!g)
        return refuse;
    /* The guest answers a group for its last request, so it gets that one in any case. */
    if (!bond || (!g->refused && (found != HV_OK || req->last) &&
                  (*status = deliver(f, g, req, found)) != HV_OK))
        g->refused = true;
    if (!req->last)
        return LATER;
    if (g->refused) {
        group_close(f, g);
        return INVALID;
    }
    g->last = *req;
    g->complete = true;
    return LATER;
}

void iopf_page_request(struct iommu_device *, const struct iommu_page_request *req)
{
    enum hv_status status = HV_OK;

    if (!req->read && !req->write) /* a stop marker (VT-d 7.10) wants no answer */
        return;
    struct device *d = device_hold(req->rid);
    if (!d)
        return;
    struct rings *r = d->vm->rings;
    bool filled = false;
    enum hv_status found = serve(d, req, &filled);

    lock_take(&r->events);
    enum answer answer = receive(d, req, found, &status);
    d->vm->stats.map_faults_served += filled;
    d->vm->stats.responses_by_sluice += answer == INVALID;
    lock_drop(&r->events);
    if (status == HV_ERING)
        rings_broken(r);
    if (answer != LATER)
        iommu->respond(&d->io, req, answer == SUCCESS);
    device_release(d);
}

void iopf_page_requests_done(void)
{
    (void)iommu->flush(); /* refusals; an error of a device is told by its upcall */
    rings_notify_all();
}

/* --- Letting go ----------------------------------------------------------------------------------
 */

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
        uint16_t slot = f && (!bond || bond->groups) ? f->oldest : NO_SLOT;
        while (slot != NO_SLOT && n < DROP_BATCH) {
            struct group *g = &f->group[slot];
            slot = g->newer;
            if (bond && g->bond != bond)
                continue;
            if (g->complete && answer)
                due[n++] = g->last;
            group_close(f, g);
        }
        vm->stats.responses_by_sluice += n;
        lock_drop(&vm->rings->events);
        for (unsigned i = 0; i < n; i++)
            iommu->respond(&d->io, &due[i], false);
        queued |= n > 0;
    } while (n == DROP_BATCH);
    return queued;
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
    for (; n < DROP_BATCH && f->oldest != NO_SLOT; n++) {
        struct group *g = &f->group[f->oldest];
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
                .cookie = cookie_of(f, g),
                .group = g->last.group,
                .category = HC_IOPF_BIND,
            },
        };
        vm->stats.responses_by_sluice += g->complete;
        group_close(f, g);
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

/* --- Calls; lock: the VM's -----------------------------------------------------------------------
 */

static void list_add(struct iopf *f)
{
    lock_take(&list_lock);
    f->next = iopf_list;
    iopf_list = f;
    lock_drop(&list_lock);
}

static void list_remove(struct iopf *f)
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

static enum hv_status groups_make(struct device *d, uint32_t slots, struct iopf **out)
{
    const bool shadow = !d->caps->nested;
    size_t groups = sizeof(struct iopf) + slots * sizeof(struct group);
    size_t bytes = groups + (shadow ? slots * sizeof(struct pending) : 0);
    unsigned order = pages_order(bytes);
    void *memory;
    enum hv_status status = pages_alloc(&d->vm->quota, order, &memory);
    if (status != HV_OK)
        return status;
    struct iopf *f = memory;
    f->device = d;
    f->order = order;
    f->slots = (uint16_t)slots;
    f->oldest = f->newest = f->free = f->free_pending = NO_SLOT;
    f->pending = shadow ? (struct pending *)((char *)memory + groups) : NULL;
    for (unsigned i = 0; i < GROUP_INDICES; i++)
        f->head[i] = NO_SLOT;
    for (unsigned i = slots; i--;) {
        f->group[i].generation = d->generation;
        f->group[i].next = f->free;
        f->free = (uint16_t)i;
        if (shadow) {
            f->pending[i].next = f->free_pending;
            f->free_pending = (uint16_t)i;
        }
    }
    *out = f;
    return HV_OK;
}

/* Its own limit, its share of its unit's queue, its share of the VM's ring, what is left of both.
 */
uint32_t iopf_allowance(const struct device *d)
{
    const struct rings *r = d->vm->rings;
    uint32_t least = device_page_requests(d), sharers = 1;

    if (d->groups)
        return d->groups->slots;
    if (!d->io.pri || !r->event.header)
        return least;
    for (unsigned i = 0; i < d->vm->ndevices; i++)
        sharers += d->vm->device[i] != d && d->vm->device[i]->io.pri;
    uint32_t room = rings_room(r->event.entries);
    const uint32_t limits[] = {
        room / sharers,
        room > r->promised ? room - r->promised : 0,
        iommu->page_requests_free(d->io.unit),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
        least = limits[i] < least ? limits[i] : least;
    return least;
}

/* From here on requests find their groups (@f), or nobody (NULL). */
static void publish(struct device *d, struct iopf *f, uint32_t categories)
{
    struct rings *r = d->vm->rings;

    lock_take(&r->events);
    __atomic_store_n(&d->iopf, categories, __ATOMIC_RELAXED); /* serve() looks without the lock */
    if (f && !d->groups)
        r->promised += f->slots;
    else if (!f && d->groups)
        r->promised -= d->groups->slots;
    d->groups = f;
    lock_drop(&r->events);
}

void iopf_off(struct device *d)
{
    struct iopf *f = d->groups;

    if (!f)
        return;
    publish(d, f, 0); /* what still comes is refused */
    list_remove(f);
    if (iopf_drop(d, NULL, !d->io.failed))
        (void)iommu->flush();
    iommu->page_requests_off(&d->io);
    for (unsigned i = 0; i < f->slots; i++) {
        if (f->group[i].generation > d->generation)
            d->generation = f->group[i].generation;
    }
    publish(d, NULL, 0);
    pages_free(&d->vm->quota, f->order, f);
}

enum hv_status iopf_hc_enable(struct vm *vm, const void *arg, uint64_t *value)
{
    const uint64_t *reg = arg;
    struct device *d = device_get(vm, reg[0]);
    const struct ring *ring = &vm->rings->event;
    struct iopf *f;

    if (!reg[1] || (reg[1] & ~(uint64_t)(HC_IOPF_BIND | HC_IOPF_MAP)))
        return HV_EINVAL;
    if (!d)
        return HV_ENODEV;
    if (!d->io.pri)
        return HV_ENOTSUP;
    if (d->io.failed)
        return HV_EIO;
    if (d->iopf)
        return HV_EEXIST;
    if (!ring->header || d->bonds)
        return HV_EORDER;
    if (ring->stopped)
        return HV_ERING;
    uint32_t slots = iopf_allowance(d);
    if (!slots)
        return HV_EQUOTA;
    enum hv_status status = groups_make(d, slots, &f);
    if (status != HV_OK)
        return status;
    publish(d, f, (uint32_t)reg[1]);
    list_add(f);
    status = iommu->page_requests_on(&d->io, (uint16_t)slots);
    if (status != HV_OK) {
        iopf_off(d);
        return status;
    }
    *value = slots;
    return HV_OK;
}

enum hv_status iopf_hc_disable(struct vm *vm, const void *arg, uint64_t *)
{
    const uint64_t *reg = arg;
    struct device *d = device_get(vm, reg[0]);

    if (!d)
        return HV_ENODEV;
    if (!d->iopf)
        return HV_EORDER;
    if (d->iopf_bonds || demand_in_use(d))
        return HV_EBUSY;
    iopf_off(d);
    return HV_OK;
}

/* What a cookie stands for. HV_EALREADY: it was given out, and its group was answered since. */
static enum hv_status find_cookie(struct vm *vm, uint64_t cookie, struct iopf **iopf,
                                  struct group **group)
{
    struct device *d = device_get(vm, cookie >> COOKIE_DEVICE & 0xff);
    uint64_t generation = cookie >> COOKIE_GENERATION;
    uint16_t slot = (uint16_t)cookie;
    struct iopf *f = d ? d->groups : NULL;

    if (!d || !generation || (f && slot >= f->slots))
        return HV_ENOENT;
    struct group *g = f ? &f->group[slot] : NULL;
    if (!g || !g->live || g->generation != generation)
        return generation <= (g ? g->generation : d->generation) ? HV_EALREADY : HV_ENOENT;
    if (!g->complete)
        return HV_EORDER; /* more requests of it are to come */
    *iopf = f;
    *group = g;
    return HV_OK;
}

static enum hv_status take_cookie(struct vm *vm, uint64_t cookie, struct device **device,
                                  struct iommu_page_request *last)
{
    struct iopf *f;
    struct group *g;

    enum hv_status status = find_cookie(vm, cookie, &f, &g);
    if (status != HV_OK)
        return status;
    *device = f->device;
    *last = g->last;
    group_close(f, g);
    return HV_OK;
}

/* One request of the group that is not in the shadow yet, and which shadow that is. */
static bool next_pending(struct vm *vm, uint64_t cookie, struct pending *out,
                         struct shadow **shadow)
{
    struct iopf *f;
    struct group *g;

    lock_take(&vm->rings->events);
    bool any = find_cookie(vm, cookie, &f, &g) == HV_OK && pending_take(f, g, out);
    if (any)
        *shadow = g->bond->domain->shadow;
    lock_drop(&vm->rings->events);
    return any;
}

/* The guest has supplied the pages: put them where the device looks. If one cannot be had, the
 * device asks again, and is told then. */
static void fill_pending(struct vm *vm, uint64_t cookie)
{
    struct pending p;
    struct shadow *shadow;

    while (next_pending(vm, cookie, &p, &shadow)) {
        lock_take(&vm->sva->fill_lock);
        (void)shadow_fill(shadow, p.page, p.write);
        lock_drop(&vm->sva->fill_lock);
    }
}

enum hv_status iopf_hc_response(struct vm *vm, const void *arg, uint64_t *)
{
    const struct hc_page_response *in = arg;
    struct rings *r = vm->rings;
    struct iommu_page_request last;
    struct device *d;

    if (in->code > HC_RESPONSE_INVALID)
        return HV_EINVAL;
    invalidate_send(&vm->sva->run); /* ordered before the device translates again */
    if (in->code == HC_RESPONSE_SUCCESS)
        fill_pending(vm, in->cookie);
    lock_take(&r->events);
    enum hv_status status = r->event.stopped ? HV_ERING : take_cookie(vm, in->cookie, &d, &last);
    vm->stats.page_responses += status == HV_OK;
    lock_drop(&r->events);
    if (status == HV_OK)
        iommu->respond(&d->io, &last, in->code == HC_RESPONSE_SUCCESS);
    return status;
}
