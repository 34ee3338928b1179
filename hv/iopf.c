/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page requests as they arrive: who serves each, what the guest is given of it, and what Sluice
 * answers itself.
 *
 * The driver's functions are never called with the event lock held (they may come back with an
 * upcall): what is to be answered is decided under the lock, and answered without it.
 */
#include "hv/iopf.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/iopf_group.h"
#include "hv/rings.h"
#include "hv/shadow.h"

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

static struct hc_event request_event(const struct iopf *f, const struct iopf_group *g,
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
        .cookie = iopf_group_cookie(f, g),
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
static enum hv_status deliver(struct iopf *f, struct iopf_group *g,
                              const struct iommu_page_request *req, enum hv_status found)
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
        iopf_group_note(f, g, req);
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
    struct iopf_group *g = iopf_group_find(f, req);

    if (g && g->complete)
        return refuse; /* its index is still in use: the device breaks the rules */
    if (!g && bond && found == HV_OK)
        return req->last ? SUCCESS : LATER; /* the guest has none of the group */
    if (!g && bond) {
        g = iopf_group_open(f, req, bond);
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
        iopf_group_close(f, g);
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
