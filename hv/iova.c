/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes come in two steps: the first finds out whether the change is possible and takes the nodes
 * that it needs, the second cannot fail. Between them the tables are changed, which can.
 */
#include "hv/iova.h"

#include "hv/log.h"

#define LARGE (2ull << 20)
#define HUGE  (1ull << 30)
#define MOST  (1ull << 57) /* no table reaches further */

/* --- Nodes ------------------------------------------------------------------------------------ */

static void spare_push(struct iova_change *c, struct interval *n)
{
    n->right = c->spare;
    c->spare = n;
}

static struct interval *spare_pop(struct iova_change *c)
{
    struct interval *n = c->spare;

    hv_assert(n); /* the first step has counted them */
    c->spare = n->right;
    return n;
}

void iova_forget(struct iova *iova, struct iova_change *c)
{
    while (c->spare)
        slab_free(iova->segments, spare_pop(c));
}

static enum hv_status spare_fill(struct iova *iova, struct iova_change *c, unsigned n)
{
    while (n--) {
        void *object;
        enum hv_status status = slab_alloc(iova->segments, &object);
        if (status != HV_OK) {
            iova_forget(iova, c);
            return status;
        }
        spare_push(c, object);
    }
    return HV_OK;
}

static void insert(struct iova *iova, struct iova_change *c, struct iova_range range,
                   uint64_t value, uint32_t flags)
{
    struct interval *n = spare_pop(c);

    n->first = range.first;
    n->last = range.last;
    n->value = value;
    n->flags = flags;
    interval_insert(&iova->set, n);
}

static void drop(struct iova *iova, struct interval *n)
{
    interval_remove(&iova->set, n);
    slab_free(iova->segments, n);
}

/* Make @at, inside @n, a border: @n keeps what is below. @return what is above. */
static struct interval *cut(struct iova *iova, struct iova_change *c, struct interval *n,
                            uint64_t at)
{
    struct iova_range above = { at, n->last };
    uint32_t flags = n->flags;

    interval_remove(&iova->set, n);
    n->last = at - 1;
    if (flags & IOVA_MAPPED)
        n->flags = flags & ~(uint32_t)IOVA_END;
    interval_insert(&iova->set, n);
    insert(iova, c, above, flags & IOVA_MAPPED ? n->value + (at - n->first) : 0,
           flags & ~(uint32_t)IOVA_BEGIN);
    return interval_from(&iova->set, at);
}

/* --- What there is ---------------------------------------------------------------------------- */

bool iova_is_allowed(const struct iova *iova, struct iova_range range)
{
    for (unsigned i = 0; i < iova->nallowed; i++) {
        if (range.first >= iova->allowed[i].first && range.last <= iova->allowed[i].last)
            return true;
    }
    return false;
}

/* The lowest segment in @range, NULL: none. */
static struct interval *segment_in(const struct iova *iova, uint64_t first, uint64_t last)
{
    struct interval *n = interval_from(&iova->set, first);

    return n && n->first <= last ? n : NULL;
}

bool iova_in_use(const struct iova *iova, struct iova_range range)
{
    return segment_in(iova, range.first, range.last) != NULL;
}

static struct interval *mapped_in(const struct iova *iova, uint64_t first, uint64_t last)
{
    struct interval *n = segment_in(iova, first, last);

    while (n && !(n->flags & IOVA_MAPPED)) {
        if (n->last >= last)
            return NULL;
        n = segment_in(iova, n->last + 1, last);
    }
    return n;
}

bool iova_is_mapped(const struct iova *iova, struct iova_range range)
{
    return mapped_in(iova, range.first, range.last) != NULL;
}

/* --- A place ---------------------------------------------------------------------------------- */

/* In the allowed ranges from @from on. @align: to which @gpa is to be congruent. */
static bool find_from(const struct iova *iova, uint64_t from, uint64_t bytes, uint64_t gpa,
                      uint64_t align, uint64_t *first)
{
    for (unsigned i = 0; i < iova->nallowed; i++) {
        const struct iova_range *a = &iova->allowed[i];
        if (a->last < from)
            continue;
        uint64_t start, low = a->first > from ? a->first : from;
        if (interval_gap(&iova->set, low, a->last, bytes + (align - PAGE_SIZE), &start)) {
            *first = start + ((gpa - start) & (align - 1));
            return true;
        }
    }
    return false;
}

enum hv_status iova_find(const struct iova *iova, uint64_t hint, uint64_t bytes, uint64_t gpa,
                         uint64_t *first)
{
    if (bytes > MOST)
        return HV_ENOSPC;
    uint64_t align = bytes >= HUGE ? HUGE : bytes >= LARGE ? LARGE : PAGE_SIZE;

    for (;; align = PAGE_SIZE) {
        if (find_from(iova, hint, bytes, gpa, align, first) ||
            (hint && find_from(iova, 0, bytes, gpa, align, first)))
            return HV_OK;
        if (align == PAGE_SIZE)
            return HV_ENOSPC;
    }
}

/* --- Mapping ---------------------------------------------------------------------------------- */

/* Something is in the way; reservations may be. */
SELDOM static enum hv_status prepare_over(struct iova *iova, struct iova_change *c)
{
    const struct iova_range range = c->range;
    unsigned segments = 0, nodes = 1;
    struct interval *n = segment_in(iova, range.first, range.last);

    if (mapped_in(iova, range.first, range.last))
        return HV_EEXIST;
    for (uint64_t at = range.first; n; n = segment_in(iova, at, range.last)) {
        nodes += (n->first > at) + (n->first < range.first) + (n->last > range.last);
        if (n->last >= range.last)
            break;
        at = n->last + 1;
        if (++segments == IOVA_SEGMENTS_MAX) {
            c->more = true;
            c->range.last = n->last;
            break;
        }
    }
    return spare_fill(iova, c, nodes);
}

enum hv_status iova_prepare_add(struct iova *iova, struct iova_range range, struct iova_change *c)
{
    c->range = range;
    c->mapped = 0;
    c->more = false;
    c->spare = NULL;
    c->clear = interval_slot(&iova->set, range.first, range.last, &c->slot);
    if (!c->clear)
        return prepare_over(iova, c);
    void *object;
    enum hv_status status = slab_alloc(iova->segments, &object);
    if (status == HV_OK)
        c->spare = object; /* zeroed: the only one */
    return status;
}

/* Over reservations, in pieces. */
SELDOM static void add_over(struct iova *iova, struct iova_change *c, uint64_t gpa, uint32_t kind)
{
    const uint64_t first = c->range.first, last = c->range.last;

    for (uint64_t at = first;;) {
        uint32_t flags = kind | IOVA_MAPPED | (at == first ? IOVA_BEGIN : 0);
        struct interval *n = segment_in(iova, at, last);
        uint64_t end;

        if (n && n->first <= at) {
            if (n->first < at)
                n = cut(iova, c, n, at);
            if (n->last > last)
                (void)cut(iova, c, n, last + 1);
            end = n->last;
            n->value = gpa + (at - first);
            n->flags = flags | IOVA_RESERVED | (end == last ? IOVA_END : 0);
        } else {
            end = n ? n->first - 1 : last;
            insert(iova, c, (struct iova_range){ at, end }, gpa + (at - first),
                   flags | (end == last ? IOVA_END : 0));
        }
        if (end == last)
            break;
        at = end + 1;
    }
    iova_forget(iova, c);
}

void iova_add(struct iova *iova, struct iova_change *c, uint64_t gpa, uint32_t kind)
{
    if (!c->clear) {
        add_over(iova, c, gpa, kind);
        return;
    }
    struct interval *n = spare_pop(c);
    n->first = c->range.first;
    n->last = c->range.last;
    n->value = gpa;
    n->flags = kind | IOVA_MAPPED | IOVA_BEGIN | IOVA_END;
    interval_put(&iova->set, &c->slot, n);
}

/* --- Unmapping -------------------------------------------------------------------------------- */

/* Would an edge between @at - 1 and @at divide a mapping? */
static bool divides(const struct iova *iova, uint64_t at)
{
    const struct interval *n = at ? interval_from(&iova->set, at) : NULL;

    return n && n->first <= at && (n->flags & IOVA_MAPPED) &&
           (n->first < at || !(n->flags & IOVA_BEGIN));
}

enum hv_status iova_prepare_remove(struct iova *iova, struct iova_range range, bool exact,
                                   struct iova_change *c)
{
    unsigned segments = 0, nodes = 0;

    c->range = range;
    c->mapped = c->demand = 0;
    c->more = false;
    c->spare = NULL;
    if (exact &&
        (divides(iova, range.first) || (range.last != UINT64_MAX && divides(iova, range.last + 1))))
        return HV_EINVAL;
    struct interval *n = mapped_in(iova, range.first, range.last);
    if (!n)
        return HV_ENOENT;
    if (n->first > range.first)
        c->range.first = n->first;
    nodes += n->first < range.first;
    for (;;) {
        uint64_t from = n->first > range.first ? n->first : range.first;
        uint64_t to = n->last < range.last ? n->last : range.last;
        if (to - from >= IOVA_STEP - c->mapped)
            to = from + (IOVA_STEP - c->mapped) - 1;
        c->mapped += to - from + 1;
        c->demand += n->flags & IOVA_DEMAND ? to - from + 1 : 0;
        c->range.last = to;
        nodes += n->last > to;
        if (to == range.last)
            break;
        n = mapped_in(iova, to + 1, range.last);
        if (!n)
            break;
        if (++segments == IOVA_SEGMENTS_MAX || c->mapped == IOVA_STEP) {
            c->more = true;
            break;
        }
    }
    return spare_fill(iova, c, nodes);
}

static bool merges(const struct interval *a, const struct interval *b)
{
    return a && b && a->last + 1 == b->first && a->flags == IOVA_RESERVED &&
           b->flags == IOVA_RESERVED;
}

/* Join @n, reserved, with reserved neighbours. */
static void merge(struct iova *iova, struct interval *n)
{
    struct interval *next = interval_next(&iova->set, n);
    struct interval *before = n->first ? interval_from(&iova->set, n->first - 1) : NULL;

    if (before == n)
        before = NULL;
    if (merges(n, next)) {
        uint64_t last = next->last;
        drop(iova, next);
        interval_remove(&iova->set, n);
        n->last = last;
        interval_insert(&iova->set, n);
    }
    if (merges(before, n)) {
        uint64_t last = n->last;
        drop(iova, n);
        interval_remove(&iova->set, before);
        before->last = last;
        interval_insert(&iova->set, before);
    }
}

/* A mapping ends, or another begins, at @at. */
static void mark_edges(struct iova *iova, uint64_t at)
{
    struct interval *n = at ? interval_from(&iova->set, at - 1) : NULL;

    if (!n)
        return;
    if (n->first < at) { /* it ends there: the caller has cut */
        if (n->flags & IOVA_MAPPED)
            n->flags |= IOVA_END;
        n = interval_next(&iova->set, n);
    }
    if (n && n->first == at && (n->flags & IOVA_MAPPED))
        n->flags |= IOVA_BEGIN;
}

void iova_remove(struct iova *iova, struct iova_change *c)
{
    const uint64_t first = c->range.first, last = c->range.last;
    struct interval *n;

    for (uint64_t at = first; (n = mapped_in(iova, at, last)) != NULL;) {
        if (n->first < at)
            n = cut(iova, c, n, at);
        if (n->last > last)
            (void)cut(iova, c, n, last + 1);
        uint64_t end = n->last;
        if (n->flags & IOVA_RESERVED) {
            n->flags = IOVA_RESERVED;
            n->value = 0;
            merge(iova, n);
        } else {
            drop(iova, n);
        }
        if (end == last)
            break;
        at = end + 1;
    }
    mark_edges(iova, first);
    if (last != UINT64_MAX)
        mark_edges(iova, last + 1);
    iova_forget(iova, c);
}

/* --- Reserving -------------------------------------------------------------------------------- */

enum hv_status iova_reserve(struct iova *iova, struct iova_range range)
{
    struct iova_change c = { .range = range };

    if (iova_in_use(iova, range))
        return HV_EEXIST;
    enum hv_status status = spare_fill(iova, &c, 1);
    if (status == HV_OK)
        insert(iova, &c, range, 0, IOVA_RESERVED);
    return status;
}

static struct interval *reserved_in(const struct iova *iova, uint64_t first, uint64_t last)
{
    struct interval *n = segment_in(iova, first, last);

    while (n && !(n->flags & IOVA_RESERVED)) {
        if (n->last >= last)
            return NULL;
        n = segment_in(iova, n->last + 1, last);
    }
    return n;
}

enum hv_status iova_unreserve(struct iova *iova, struct iova_range range, uint64_t *bytes)
{
    struct iova_change c = { .range = range };
    struct interval *n = reserved_in(iova, range.first, range.last);
    unsigned segments = 0;

    *bytes = 0;
    if (!n)
        return HV_ENOENT;
    const struct interval *end_of = interval_from(&iova->set, range.last);
    enum hv_status status =
        spare_fill(iova, &c,
                   (n->first < range.first) +
                       (end_of && end_of->first <= range.last && end_of->last > range.last));
    if (status != HV_OK)
        return status;
    for (; n; n = reserved_in(iova, c.range.first, range.last)) {
        if (segments++ == IOVA_SEGMENTS_MAX) {
            status = HV_EAGAIN;
            break;
        }
        if (n->first < range.first)
            n = cut(iova, &c, n, range.first);
        if (n->last > range.last)
            (void)cut(iova, &c, n, range.last + 1);
        uint64_t end = n->last;
        *bytes += end - n->first + 1;
        if (n->flags & IOVA_MAPPED)
            n->flags &= ~(uint32_t)IOVA_RESERVED;
        else
            drop(iova, n);
        if (end == range.last)
            break;
        c.range.first = end + 1;
    }
    iova_forget(iova, &c);
    return status;
}

void iova_clear(struct iova *iova)
{
    while (iova->set.root)
        drop(iova, iova->set.root);
}
