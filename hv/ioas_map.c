/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Map, unmap, copy. Each change is prepared in the addresses, done in the tables, which may fail,
 * and then entered, which cannot.
 */
#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/hypercall.h"
#include "hv/ioas.h"
#include "hv/vm.h"

static_assert(HC_IOAS_READ == (int)IOVA_READ && HC_IOAS_WRITE == (int)IOVA_WRITE &&
              HC_IOAS_UNCACHED == (int)IOVA_UNCACHED && HC_IOAS_STEP == IOVA_STEP);

/* Before a change: keep page requests away, which look at what is on demand. @kind: of what comes.
 * @return what end() wants. */
static struct lock *begin(const struct ioas *ioas, uint32_t kind)
{
    struct lock *lock = ioas->demand || (kind & IOVA_DEMAND) ? &ioas->vm->sva->fill_lock : NULL;

    if (lock)
        lock_take(lock);
    return lock;
}

static void end(struct lock *lock)
{
    if (lock)
        lock_drop(lock);
}

/* Could all devices there ask for what is on demand? */
static enum hv_status check_demand(const struct ioas *ioas)
{
    enum hv_status status = HV_OK;

    for (uint32_t left = ioas->now; left && status == HV_OK; left &= left - 1)
        status = demand_check(ioas->vm->device[__builtin_ctz(left)]);
    return status;
}

static enum hv_status do_map(struct ioas *ioas, struct iova_range range, uint64_t gpa,
                             uint32_t kind, uint64_t *done)
{
    struct iova_change c;
    enum hv_status status = iova_prepare_add(&ioas->iova, range, &c);

    if (status != HV_OK)
        return status;
    if (ioas->tables)
        status = ioas_table_map(ioas, c.range, gpa, kind);
    if (status != HV_OK) {
        iova_forget(&ioas->iova, &c);
        return status;
    }
    iova_add(&ioas->iova, &c, gpa, kind);
    *done = c.range.last - c.range.first + 1;
    ioas->demand += kind & IOVA_DEMAND ? *done : 0;
    return c.more ? HV_EAGAIN : HV_OK;
}

/* Lay @gpa, @kind at @range, of which no more than a part may come about: @done bytes. */
static enum hv_status map_at(struct ioas *ioas, struct iova_range range, uint64_t gpa,
                             uint32_t kind, uint64_t *done)
{
    enum hv_status status = kind & IOVA_DEMAND ? check_demand(ioas) : HV_OK;

    if (status != HV_OK)
        return status;
    struct lock *lock = begin(ioas, kind);
    status = do_map(ioas, range, gpa, kind, done);
    end(lock);
    return status;
}

static enum hv_status do_unmap(struct ioas *ioas, struct iova_range range, bool exact,
                               uint64_t *bytes)
{
    struct iova_change c;
    enum hv_status status = iova_prepare_remove(&ioas->iova, range, exact, &c);
    bool done;

    if (status != HV_OK)
        return status;
    status = ioas_table_unmap(ioas, c.range, &done);
    if (!done) {
        iova_forget(&ioas->iova, &c);
        return status;
    }
    iova_remove(&ioas->iova, &c);
    ioas->demand -= c.demand;
    *bytes = c.mapped;
    return status != HV_OK ? status : c.more ? HV_EAGAIN : HV_OK;
}

static enum hv_status unmap_at(struct ioas *ioas, struct iova_range range, bool exact,
                               uint64_t *bytes)
{
    struct lock *lock = begin(ioas, 0);
    enum hv_status status = do_unmap(ioas, range, exact, bytes);

    end(lock);
    return status;
}

static enum hv_status reserve_at(struct ioas *ioas, struct iova_range range)
{
    struct lock *lock = begin(ioas, 0);
    enum hv_status status = iova_reserve(&ioas->iova, range);

    end(lock);
    return status;
}

static enum hv_status unreserve_at(struct ioas *ioas, struct iova_range range, uint64_t *bytes)
{
    struct lock *lock = begin(ioas, 0);
    enum hv_status status = iova_unreserve(&ioas->iova, range, bytes);

    end(lock);
    return status;
}

/* --- Calls ------------------------------------------------------------------------------------ */

static enum hv_status check_map(const struct hc_ioas_map *in)
{
    const uint32_t access = HC_IOAS_READ | HC_IOAS_WRITE,
                   kind = access | HC_IOAS_UNCACHED | HC_IOAS_ON_DEMAND,
                   known = kind | HC_IOAS_FIXED | HC_IOAS_RESERVE;
    bool reserve = in->flags & HC_IOAS_RESERVE;

    if ((in->flags & ~known) | in->reserved)
        return HV_EINVAL;
    if (reserve ? (in->flags & kind) || in->gpa : !(in->flags & access))
        return HV_EINVAL;
    return HV_OK;
}

/* [first, first + bytes) as a range. */
static enum hv_status range_of(uint64_t first, uint64_t bytes, struct iova_range *out)
{
    if ((first | bytes) & PAGE_MASK)
        return HV_EALIGN;
    if (!bytes)
        return HV_EINVAL;
    *out = (struct iova_range){ first, first + (bytes - 1) };
    return out->last < first ? HV_ERANGE : HV_OK;
}

/* A place for @bytes: the one asked for, or a free one. One call reaches @most bytes. */
static enum hv_status place(struct ioas *ioas, bool fixed, uint64_t most, uint64_t gpa,
                            struct iova_range *range, bool *more)
{
    uint64_t bytes = range->last - range->first + 1;

    *more = false;
    ioas_refresh(ioas);
    if (!fixed) {
        if (bytes > most)
            return HV_ERANGE;
        enum hv_status status = iova_find(&ioas->iova, range->first, bytes, gpa, &range->first);
        range->last = range->first + bytes - 1;
        return status;
    }
    if (!iova_is_allowed(&ioas->iova, *range))
        return HV_ERANGE;
    if (bytes > most) {
        *more = true;
        range->last = range->first + most - 1;
    }
    return HV_OK;
}

enum hv_status ioas_map_hc(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_ioas_map *in = arg;
    bool fixed = in->flags & HC_IOAS_FIXED, reserve = in->flags & HC_IOAS_RESERVE, more;
    struct ioas *ioas = ioas_find(vm, in->ioas);
    struct iova_range range;
    uint64_t done = in->bytes;

    enum hv_status status = check_map(in);
    if (status != HV_OK)
        return status;
    if (!ioas)
        return HV_ENOENT;
    status = range_of(in->iova, in->bytes, &range);
    if (status != HV_OK)
        return status;
    if (in->gpa & PAGE_MASK)
        return HV_EALIGN;
    if (!reserve && !vm_ram(vm, GPADDR(in->gpa), in->bytes))
        return HV_EFAULT;
    status = place(ioas, fixed, reserve ? UINT64_MAX : IOVA_STEP, in->gpa, &range, &more);
    if (status != HV_OK)
        return status;
    uint32_t kind = (in->flags & IOVA_ACCESS) | (in->flags & HC_IOAS_ON_DEMAND ? IOVA_DEMAND : 0);
    status = reserve ? reserve_at(ioas, range) : map_at(ioas, range, in->gpa, kind, &done);
    if (status != HV_OK && status != HV_EAGAIN)
        return status;
    *value = fixed ? done : range.first;
    return more ? HV_EAGAIN : status;
}

enum hv_status ioas_map_hc_unmap(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_ioas_unmap *in = arg;
    const uint32_t known = HC_IOAS_EXACT | HC_IOAS_ALL | HC_IOAS_UNRESERVE;
    struct iova_range range = { 0, UINT64_MAX };

    if ((in->flags & ~known) | in->reserved)
        return HV_EINVAL;
    if (in->flags & HC_IOAS_EXACT && in->flags != HC_IOAS_EXACT)
        return HV_EINVAL;
    if (in->flags & HC_IOAS_ALL && (in->iova | in->bytes))
        return HV_EINVAL;
    struct ioas *ioas = ioas_find(vm, in->ioas);
    if (!ioas)
        return HV_ENOENT;
    if (!(in->flags & HC_IOAS_ALL)) {
        enum hv_status status = range_of(in->iova, in->bytes, &range);
        if (status != HV_OK)
            return status;
    }
    if (in->flags & HC_IOAS_UNRESERVE)
        return unreserve_at(ioas, range, value);
    return unmap_at(ioas, range, in->flags & HC_IOAS_EXACT, value);
}

/* --- Copy ------------------------------------------------------------------------------------- */

/* What lies at @at of @from, up to @last: the rest of one mapping, or reservation and nothing else.
 */
struct piece {
    uint64_t bytes, gpa;
    uint32_t flags;
};

static bool continues(const struct interval *n, const struct interval *next)
{
    if (!next || next->first != n->last + 1)
        return false;
    return n->flags & IOVA_MAPPED ? !(n->flags & IOVA_END) : next->flags == IOVA_RESERVED;
}

static bool piece_at(const struct iova *from, uint64_t at, uint64_t last, struct piece *out)
{
    const struct interval *n = interval_from(&from->set, at), *next;

    if (!n || n->first > at)
        return false;
    *out = (struct piece){
        .gpa = n->flags & IOVA_MAPPED ? n->value + (at - n->first) : 0,
        .flags = n->flags,
    };
    while (n->last < last && continues(n, next = interval_next(&from->set, n)))
        n = next;
    out->bytes = (n->last < last ? n->last : last) - at + 1;
    return true;
}

/* Is @range mapped or reserved throughout? */
static bool is_full(const struct iova *from, struct iova_range range)
{
    for (uint64_t at = range.first;;) {
        const struct interval *n = interval_from(&from->set, at);
        if (!n || n->first > at)
            return false;
        if (n->last >= range.last)
            return true;
        at = n->last + 1;
    }
}

static enum hv_status copy_piece(struct ioas *to, uint64_t at, const struct piece *p,
                                 uint64_t *done)
{
    struct iova_range range = { at, at + p->bytes - 1 };

    if (p->flags & IOVA_MAPPED)
        return map_at(to, range, p->gpa, p->flags & IOVA_KIND, done);
    *done = p->bytes;
    return reserve_at(to, range);
}

/* Piece by piece. @done: bytes, also on error. */
static enum hv_status copy(struct ioas *to, uint64_t at, const struct ioas *from,
                           struct iova_range range, uint64_t *done)
{
    const uint64_t bytes = range.last - range.first + 1;
    struct piece p;

    *done = 0;
    for (unsigned n = 0; *done < bytes; n++) {
        uint64_t step = 0;
        if (n == IOVA_SEGMENTS_MAX)
            return HV_EAGAIN;
        if (!piece_at(&from->iova, range.first + *done, range.last, &p))
            return HV_ENOENT;
        enum hv_status status = copy_piece(to, at + *done, &p, &step);
        *done += status == HV_OK || status == HV_EAGAIN ? step : 0;
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

/* Take out what a copy to a free place had done. */
static void undo_copy(struct ioas *to, uint64_t at, uint64_t done)
{
    struct iova_range range = { at, at + done - 1 };
    uint64_t bytes;

    if (!done)
        return;
    (void)unmap_at(to, range, false, &bytes);
    (void)unreserve_at(to, range, &bytes);
}

enum hv_status ioas_map_hc_copy(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_ioas_copy *in = arg;
    bool fixed = in->flags & HC_IOAS_FIXED, more;
    struct ioas *to = ioas_find(vm, in->to), *from = ioas_find(vm, in->from);
    struct iova_range source, target;
    struct piece first;
    uint64_t done;

    if (in->flags & ~(uint32_t)HC_IOAS_FIXED)
        return HV_EINVAL;
    if (!to || !from)
        return HV_ENOENT;
    enum hv_status status = range_of(in->from_iova, in->bytes, &source);
    if (status == HV_OK)
        status = range_of(in->to_iova, in->bytes, &target);
    if (status != HV_OK)
        return status;
    if (!piece_at(&from->iova, source.first, source.last, &first))
        return HV_ENOENT;
    status = place(to, fixed, IOVA_STEP, first.gpa, &target, &more);
    if (status != HV_OK)
        return status;
    source.last = source.first + (target.last - target.first);
    if (!is_full(&from->iova, source))
        return HV_ENOENT;
    status = copy(to, target.first, from, source, &done);
    if (!fixed && status != HV_OK) {
        undo_copy(to, target.first, done);
        return status == HV_EAGAIN ? HV_ERANGE : status;
    }
    *value = fixed ? done : target.first;
    return more && status == HV_OK ? HV_EAGAIN : status;
}
