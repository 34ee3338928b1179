/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots by index and by age: two lists through one array, which never grows while it is on. */
#include "hv/iopf_group.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/pages.h"
#include "hv/platform.h"
#include "hv/rings.h"

#define COOKIE_DEVICE     16u
#define COOKIE_GENERATION 24u

enum hv_status iopf_group_make(struct device *d, uint32_t slots, struct iopf **out)
{
    const bool shadow = !d->caps->nested;
    size_t groups = sizeof(struct iopf) + slots * sizeof(struct iopf_group);
    size_t bytes = groups + (shadow ? slots * sizeof(struct iopf_pending) : 0);
    unsigned order = pages_order(bytes);
    void *memory;
    enum hv_status status = pages_alloc(&d->vm->quota, order, &memory);
    if (status != HV_OK)
        return status;
    struct iopf *f = memory;
    f->device = d;
    f->order = order;
    f->slots = (uint16_t)slots;
    f->oldest = f->newest = f->free = f->free_pending = IOPF_NO_SLOT;
    f->pending = shadow ? (struct iopf_pending *)((char *)memory + groups) : NULL;
    for (unsigned i = 0; i < IOPF_INDICES; i++)
        f->head[i] = IOPF_NO_SLOT;
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

void iopf_group_free(struct iopf *f)
{
    pages_free(&f->device->vm->quota, f->order, f);
}

uint64_t iopf_group_generation(const struct iopf *f)
{
    uint64_t most = f->device->generation;

    for (unsigned i = 0; i < f->slots; i++) {
        if (f->group[i].generation > most)
            most = f->group[i].generation;
    }
    return most;
}

uint64_t iopf_group_cookie(const struct iopf *f, const struct iopf_group *g)
{
    return g->generation << COOKIE_GENERATION | (uint64_t)f->device->handle << COOKIE_DEVICE |
           (uint64_t)(g - f->group);
}

struct iopf_group *iopf_group_find(struct iopf *f, const struct iommu_page_request *req)
{
    uint16_t slot = f->head[req->group % IOPF_INDICES];

    while (slot != IOPF_NO_SLOT) {
        struct iopf_group *g = &f->group[slot];
        if (g->last.pasid == req->pasid && g->last.pasid_present == req->pasid_present)
            return g;
        slot = g->next;
    }
    return NULL;
}

struct iopf_group *iopf_group_open(struct iopf *f, const struct iommu_page_request *req,
                                   struct bond *bond)
{
    uint16_t slot = f->free, *head = &f->head[req->group % IOPF_INDICES];

    if (slot == IOPF_NO_SLOT)
        return NULL;
    struct iopf_group *g = &f->group[slot];
    f->free = g->next;
    *g = (struct iopf_group){
        .bond = bond,
        .last = *req,
        .generation = g->generation + 1,
        .started = time_now(),
        .next = *head,
        .older = f->newest,
        .newer = IOPF_NO_SLOT,
        .pending = IOPF_NO_SLOT,
        .live = true,
    };
    *head = slot;
    if (f->newest == IOPF_NO_SLOT)
        f->oldest = slot;
    else
        f->group[f->newest].newer = slot;
    f->newest = slot;
    bond->groups++;
    return g;
}

void iopf_group_note(struct iopf *f, struct iopf_group *g, const struct iommu_page_request *req)
{
    if (!f->pending)
        return;
    uint16_t slot = f->free_pending; /* there are as many as requests */
    struct iopf_pending *p = &f->pending[slot];
    f->free_pending = p->next;
    *p = (struct iopf_pending){ .page = req->address, .write = req->write, .next = g->pending };
    g->pending = slot;
}

bool iopf_group_pending(struct iopf *f, struct iopf_group *g, struct iopf_pending *out)
{
    uint16_t slot = g->pending;

    if (slot == IOPF_NO_SLOT)
        return false;
    *out = f->pending[slot];
    g->pending = out->next;
    f->pending[slot].next = f->free_pending;
    f->free_pending = slot;
    return true;
}

void iopf_group_close(struct iopf *f, struct iopf_group *g)
{
    uint16_t slot = (uint16_t)(g - f->group), *link = &f->head[g->last.group % IOPF_INDICES];
    struct iopf_pending unanswered;

    while (iopf_group_pending(f, g, &unanswered))
        ;
    while (*link != slot)
        link = &f->group[*link].next;
    *link = g->next;
    if (g->older == IOPF_NO_SLOT)
        f->oldest = g->newer;
    else
        f->group[g->older].newer = g->newer;
    if (g->newer == IOPF_NO_SLOT)
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

enum hv_status iopf_group_by_cookie(struct vm *vm, uint64_t cookie, struct iopf **iopf,
                                    struct iopf_group **group)
{
    struct device *d = device_get(vm, cookie >> COOKIE_DEVICE & 0xff);
    uint64_t generation = cookie >> COOKIE_GENERATION;
    uint16_t slot = (uint16_t)cookie;
    struct iopf *f = d ? d->groups : NULL;

    if (!d || !generation || (f && slot >= f->slots))
        return HV_ENOENT;
    struct iopf_group *g = f ? &f->group[slot] : NULL;
    if (!g || !g->live || g->generation != generation)
        return generation <= (g ? g->generation : d->generation) ? HV_EALREADY : HV_ENOENT;
    if (!g->complete)
        return HV_EORDER; /* more requests of it are to come */
    *iopf = f;
    *group = g;
    return HV_OK;
}
