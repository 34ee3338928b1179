/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of an IOAS, and where its addresses may lie: the required list or else the aperture, as
 * far as the units reach whose devices are attached, without what those devices cannot translate.
 */
#include "hv/ioas.h"

#include <string.h>

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/log.h"

#define HANDLE_SERIAL  (1u << IDMAP_BITS) /* handles: serial 31:20, number 19:0 */
#define LEVELS_DEFAULT 4u
#define ADDRESS_BITS   57u

static_assert(sizeof(struct ioas) <= PAGE_SIZE);

struct ioas *ioas_find(const struct vm *vm, uint64_t handle)
{
    struct ioas *ioas = idmap_get(&vm->sva->ioases, (uint32_t)handle & (IDMAP_SIZE - 1));

    return ioas && ioas->handle == handle ? ioas : NULL;
}

uint64_t ioas_end_wanted(const struct ioas *ioas)
{
    return ioas->nrequired ? ioas->required[ioas->nrequired - 1].last : ioas->aperture.last;
}

/* --- Where addresses may lie: `next` is made, checked, and becomes `allowed` ------------------ */

/* Take @gone out. False: there is no room for what is left. */
static bool subtract(struct ioas *ioas, struct iova_range gone)
{
    for (unsigned i = 0; i < ioas->nnext; i++) {
        struct iova_range *r = &ioas->next[i], had = *r;
        if (gone.last < had.first || gone.first > had.last)
            continue;
        bool low = had.first<gone.first, high = had.last> gone.last;
        if (low && high && ioas->nnext == IOVA_ALLOWED_MAX)
            return false;
        unsigned behind = ioas->nnext - i - 1, stay = (unsigned)low + high;
        memmove(r + stay, r + 1, behind * sizeof(*r));
        ioas->nnext += stay - 1;
        if (low)
            *r++ = (struct iova_range){ had.first, gone.first - 1 };
        if (high)
            *r = (struct iova_range){ gone.last + 1, had.last };
        i += stay - 1; /* -1 wraps, and comes back */
    }
    return true;
}

static bool subtract_reserved(struct ioas *ioas, const struct device *d)
{
    for (unsigned i = 0; i < d->io.nreserved; i++) {
        if (!subtract(ioas, (struct iova_range){ d->io.reserved[i].first, d->io.reserved[i].last }))
            return false;
    }
    return true;
}

static uint64_t narrower(const struct ioas *ioas, const struct device *d, uint64_t limit)
{
    uint64_t own = ioas_table_limit(ioas, d->caps);

    return own < limit ? own : limit;
}

/* Fill `next` as it would be with @also attached (NULL: nobody else). False: no room. */
static bool make_next(struct ioas *ioas, const struct device *also)
{
    const struct vm *vm = ioas->vm;
    uint64_t limit = UINT64_MAX;

    if (ioas->nrequired)
        memcpy(ioas->next, ioas->required, ioas->nrequired * sizeof(ioas->next[0]));
    else
        ioas->next[0] = ioas->aperture;
    ioas->nnext = ioas->nrequired ? ioas->nrequired : 1;
    for (unsigned i = 0; i < vm->ndirect; i++) {
        if (!subtract(ioas, (struct iova_range){ vm->direct[i].first, vm->direct[i].last }))
            return false;
    }
    for (unsigned i = 0; i < vm->ndevices; i++) {
        const struct device *d = vm->device[i];
        if (!d || (!ioas->attached[i] && d != also))
            continue;
        limit = narrower(ioas, d, limit);
        if (!subtract_reserved(ioas, d))
            return false;
    }
    return limit == UINT64_MAX || subtract(ioas, (struct iova_range){ limit + 1, UINT64_MAX });
}

static uint64_t bytes_in(const struct iova_range *range, unsigned n)
{
    uint64_t bytes = 0;

    while (n--)
        bytes += range[n].last - range[n].first + 1;
    return bytes;
}

/* Would anything that there is lie outside `next`? */
static bool next_cuts(const struct ioas *ioas)
{
    uint64_t at = 0;

    for (unsigned i = 0; i < ioas->nnext; i++) {
        const struct iova_range *r = &ioas->next[i];
        if (r->first > at && iova_in_use(&ioas->iova, (struct iova_range){ at, r->first - 1 }))
            return true;
        at = r->last + 1;
    }
    return iova_in_use(&ioas->iova, (struct iova_range){ at, UINT64_MAX });
}

static enum hv_status check_next(const struct ioas *ioas)
{
    if (ioas->nrequired &&
        bytes_in(ioas->next, ioas->nnext) != bytes_in(ioas->required, ioas->nrequired))
        return HV_EREQUIRED;
    return next_cuts(ioas) ? HV_EBUSY : HV_OK;
}

static void take_next(struct ioas *ioas, uint32_t listed)
{
    ioas->listed = listed;
    ioas->iova.nallowed = ioas->nnext;
    memcpy(ioas->iova.allowed, ioas->next, ioas->nnext * sizeof(ioas->next[0]));
}

/* When a device goes the list is left as it is: it mostly comes back, and then the list is right.
 */
void ioas_relist(struct ioas *ioas)
{
    /* Without room for the new list the old one, which is narrower, does as well. */
    if (make_next(ioas, NULL))
        take_next(ioas, ioas->now);
}

/* --- Attachments ------------------------------------------------------------------------------ */

enum hv_status ioas_attach(struct ioas *ioas, const struct device *d, struct ioas_unit **out)
{
    const uint32_t now = ioas->now | 1u << d->handle;
    const bool more = ioas->listed != now;
    enum hv_status status;

    static_assert(BOOT_VM_PCI <= 32);
    if (ioas->demand && (status = demand_check(d)) != HV_OK)
        return status;
    if (more) {
        if (!ioas_table_limit(ioas, d->caps))
            return HV_ENOTSUP;
        status = make_next(ioas, d) && ioas->nnext ? check_next(ioas) : HV_ENOTSUP;
        if (status != HV_OK)
            return status;
    }
    status = ioas_table_get(ioas, d->io.unit, out);
    if (status != HV_OK)
        return status;
    if (more)
        take_next(ioas, now);
    ioas->now = now;
    (*out)->users++;
    ioas->attached[d->handle]++;
    return HV_OK;
}

void ioas_detach(struct ioas *ioas, const struct device *d, struct ioas_unit *unit, bool undo)
{
    if (--unit->users == 0) {
        if (!undo && !unit->kept) /* what is wanted never grows */
            unit->kept = ioas_table_limit(ioas, d->caps) >= ioas_end_wanted(ioas);
        if (!unit->kept)
            ioas_table_drop(ioas, unit);
    }
    if (--ioas->attached[d->handle] == 0)
        ioas->now &= ~(1u << d->handle);
}

bool ioas_give_up(struct vm *vm, const struct iommu_unit *unit)
{
    for (uint32_t id = 0; (id = idmap_next(&vm->sva->ioases, id)) < IDMAP_SIZE; id++) {
        struct ioas *ioas = idmap_get(&vm->sva->ioases, id);
        for (struct ioas_unit *u = ioas->units; u; u = u->next) {
            if (u->hw.unit != unit || u->users)
                continue;
            ioas_table_drop(ioas, u);
            return true;
        }
    }
    return false;
}

/* --- Life ------------------------------------------------------------------------------------- */

static bool is_page_range(uint64_t first, uint64_t last)
{
    return !((first | (last + 1)) & PAGE_MASK);
}

enum hv_status ioas_hc_create(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_ioas_create *in = arg;
    struct sva *sva = vm->sva;
    struct iova_range aperture = { in->first, in->last };
    uint32_t number;
    void *page;

    if (in->flags || in->reserved || (in->levels && (in->first | in->last)))
        return HV_EINVAL;
    if (in->levels && (in->levels < 3 || in->levels > 5))
        return HV_ERANGE;
    if (!(in->first | in->last))
        aperture.last = (1ull << (12 + 9 * (in->levels ? in->levels : LEVELS_DEFAULT))) - 1;
    if (!is_page_range(aperture.first, aperture.last))
        return HV_EALIGN;
    if (aperture.first > aperture.last || aperture.last >> ADDRESS_BITS)
        return HV_ERANGE;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);
    if (status != HV_OK)
        return status;
    struct ioas *ioas = page;
    ioas->vm = vm;
    ioas->aperture = aperture;
    ioas->iova.segments = &sva->objects;
    bool room = make_next(ioas, NULL);
    hv_assert(room); /* an aperture, and few ranges out of it */
    take_next(ioas, 0);
    status = idmap_add(&sva->ioases, 0, IOAS_MAX, ioas, &number);
    if (status != HV_OK) {
        pages_free(&vm->quota, 0, ioas);
        return status == HV_ERANGE ? HV_EQUOTA : status;
    }
    ioas->handle = number | sva->serial++ * HANDLE_SERIAL;
    *value = ioas->handle;
    return HV_OK;
}

/* Empty it, a bounded part at a time. */
static enum hv_status empty(struct ioas *ioas)
{
    const struct iova_range all = { 0, UINT64_MAX };
    struct iova_change c;
    uint64_t bytes;

    enum hv_status status = iova_prepare_remove(&ioas->iova, all, false, &c);
    if (status == HV_OK) {
        iova_remove(&ioas->iova, &c);
        ioas->demand -= c.demand;
    } else if (status != HV_ENOENT) {
        return status;
    }
    if (status == HV_OK && c.more)
        return HV_EAGAIN;
    status = iova_unreserve(&ioas->iova, all, &bytes);
    return status == HV_ENOENT ? HV_OK : status;
}

static void destroy(struct ioas *ioas)
{
    struct vm *vm = ioas->vm;

    idmap_clear(&vm->sva->ioases, ioas->handle & (IDMAP_SIZE - 1));
    pages_free(&vm->quota, 0, ioas);
}

enum hv_status ioas_hc_destroy(struct vm *vm, const void *arg, uint64_t *)
{
    const uint64_t *reg = arg;
    struct ioas *ioas = ioas_find(vm, reg[0]);

    if (!ioas)
        return HV_ENOENT;
    if (ioas->now)
        return HV_EBUSY;
    ioas_table_drop_all(ioas);
    enum hv_status status = empty(ioas);
    if (status == HV_OK)
        destroy(ioas);
    return status;
}

void ioas_end(struct vm *vm)
{
    for (uint32_t id = 0; (id = idmap_next(&vm->sva->ioases, id)) < IDMAP_SIZE; id++) {
        struct ioas *ioas = idmap_get(&vm->sva->ioases, id);
        hv_assert(!ioas->now);
        ioas_table_drop_all(ioas);
        iova_clear(&ioas->iova);
        destroy(ioas);
    }
}

/* --- Ranges ----------------------------------------------------------------------------------- */

/* Copy in and check; ranges that touch become one. */
static enum hv_status read_list(struct ioas *ioas, const struct hc_iova_range *list, uint32_t count)
{
    ioas->nnext = 0;
    for (uint32_t i = 0; i < count; i++) {
        const volatile struct hc_iova_range *from = &list[i];
        struct iova_range r = { from->first, from->last };
        struct iova_range *before = ioas->nnext ? &ioas->next[ioas->nnext - 1] : NULL;
        if (!is_page_range(r.first, r.last))
            return HV_EALIGN;
        if (r.first > r.last || (before && r.first <= before->last))
            return HV_EINVAL;
        if (!iova_is_allowed(&ioas->iova, r))
            return HV_EREQUIRED;
        if (before && r.first == before->last + 1)
            before->last = r.last;
        else
            ioas->next[ioas->nnext++] = r;
    }
    return HV_OK;
}

enum hv_status ioas_hc_require_iova(struct vm *vm, const void *arg, uint64_t *)
{
    const struct hc_ioas_ranges *in = arg;
    struct ioas *ioas = ioas_find(vm, in->ioas);

    if (in->flags)
        return HV_EINVAL;
    if (!ioas)
        return HV_ENOENT;
    if (!in->count || in->count > HC_IOAS_REQUIRED_MAX)
        return HV_ERANGE;
    if (in->ranges & 7)
        return HV_EALIGN;
    const void *list = vm_ram(vm, GPADDR(in->ranges), in->count * sizeof(struct hc_iova_range));
    if (!list)
        return HV_EFAULT;
    if (ioas->nrequired)
        return HV_EEXIST;
    ioas_refresh(ioas);
    enum hv_status status = read_list(ioas, list, in->count);
    if (status != HV_OK)
        return status;
    if (next_cuts(ioas))
        return HV_EBUSY;
    memcpy(ioas->required, ioas->next, ioas->nnext * sizeof(ioas->next[0]));
    ioas->nrequired = ioas->nnext;
    take_next(ioas, ioas->now);
    return HV_OK;
}

enum hv_status ioas_hc_ranges(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_ioas_ranges *in = arg;
    struct ioas *ioas = ioas_find(vm, in->ioas);

    if (in->flags)
        return HV_EINVAL;
    if (!ioas)
        return HV_ENOENT;
    ioas_refresh(ioas);
    if (in->ranges & 7)
        return HV_EALIGN;
    const struct iova *iova = &ioas->iova;
    size_t bytes = iova->nallowed * sizeof(iova->allowed[0]);
    *value = iova->nallowed | PAGE_SIZE << 32;
    if (in->count < iova->nallowed)
        return HV_E2SMALL;
    void *out = vm_ram(vm, GPADDR(in->ranges), bytes);
    if (!out)
        return HV_EFAULT;
    static_assert(sizeof(struct hc_iova_range) == sizeof(struct iova_range));
    memcpy(out, iova->allowed, bytes);
    return HV_OK;
}
