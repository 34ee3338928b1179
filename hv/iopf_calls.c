/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's calls: page requests of a device on and off, and the answer to a group. Lock: the
 * VM's. */
#include "hv/iopf.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/hypercall.h"
#include "hv/invalidate.h"
#include "hv/iopf_drop.h"
#include "hv/iopf_group.h"
#include "hv/rings.h"
#include "hv/shadow.h"

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
    iopf_drop_unwatch(f);
    if (iopf_drop(d, NULL, !d->io.failed))
        (void)iommu->flush();
    iommu->page_requests_off(&d->io);
    d->generation = iopf_group_generation(f);
    publish(d, NULL, 0);
    iopf_group_free(f);
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
    enum hv_status status = iopf_group_make(d, slots, &f);
    if (status != HV_OK)
        return status;
    publish(d, f, (uint32_t)reg[1]);
    iopf_drop_watch(f);
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

static enum hv_status take_cookie(struct vm *vm, uint64_t cookie, struct device **device,
                                  struct iommu_page_request *last)
{
    struct iopf *f;
    struct iopf_group *g;

    enum hv_status status = iopf_group_by_cookie(vm, cookie, &f, &g);
    if (status != HV_OK)
        return status;
    *device = f->device;
    *last = g->last;
    iopf_group_close(f, g);
    return HV_OK;
}

/* One request of the group that is not in the shadow yet, and which shadow that is. */
static bool next_pending(struct vm *vm, uint64_t cookie, struct iopf_pending *out,
                         struct shadow **shadow)
{
    struct iopf *f;
    struct iopf_group *g;

    lock_take(&vm->rings->events);
    bool any = iopf_group_by_cookie(vm, cookie, &f, &g) == HV_OK && iopf_group_pending(f, g, out);
    if (any)
        *shadow = g->bond->domain->shadow;
    lock_drop(&vm->rings->events);
    return any;
}

/* The guest has supplied the pages: put them where the device looks. If one cannot be had, the
 * device asks again, and is told then. */
static void fill_pending(struct vm *vm, uint64_t cookie)
{
    struct iopf_pending p;
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
