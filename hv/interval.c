/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An AVL tree without parent links: a change notes the way down and mends it on the way up. Each
 * node knows the gap before itself. A node is linked and unlinked at the bottom, so the one behind
 * it, whose gap changes as well, lies on that way.
 */
#include "hv/interval.h"

#include "hv/log.h"

static uint32_t height(const struct interval *n)
{
    return n ? n->height : 0;
}

static uint64_t bytes_of(const struct interval *n)
{
    return n->last - n->first + 1;
}

/* What a node has to know of the tree at one of its links. */
struct side {
    uint32_t height;
    uint64_t gap;
};

static struct side side(const struct interval *n)
{
    return n ? (struct side){ n->height, n->gap } : (struct side){ 0, 0 };
}

static void set(struct interval *n, struct side l, struct side r)
{
    uint64_t most = l.gap > n->before ? l.gap : n->before;

    n->gap = r.gap > most ? r.gap : most;
    n->height = (l.height > r.height ? l.height : r.height) + 1;
}

static void update(struct interval *n)
{
    set(n, side(n->left), side(n->right));
}

static struct interval *rotate_right(struct interval *n)
{
    struct interval *up = n->left;

    hv_assert(up);
    n->left = up->right;
    up->right = n;
    update(n);
    return up;
}

static struct interval *rotate_left(struct interval *n)
{
    struct interval *up = n->right;

    hv_assert(up);
    n->right = up->left;
    up->left = n;
    update(n);
    return up;
}

static bool rebalance(struct interval **link)
{
    struct interval *n = *link;
    const uint32_t was = n->height;
    const uint64_t gap_was = n->gap;

    if (height(n->left) > height(n->right)) {
        if (height(n->left->left) < height(n->left->right))
            n->left = rotate_left(n->left);
        *link = rotate_right(n);
    } else {
        if (height(n->right->right) < height(n->right->left))
            n->right = rotate_right(n->right);
        *link = rotate_left(n);
    }
    update(*link);
    return (*link)->height != was || (*link)->gap != gap_was;
}

/* Put the tree at @link right, whose children are. @return whether those above have to know. */
static bool mend(struct interval **link)
{
    struct interval *n = *link;
    const struct side l = side(n->left), r = side(n->right);
    const uint32_t was = n->height;
    const uint64_t gap_was = n->gap;

    if (l.height - r.height + 1 > 2) /* they differ by two */
        return rebalance(link);
    set(n, l, r);
    return n->height != was || n->gap != gap_was;
}

/* From the bottom up: as far as something changes, and at least to way[@to]. */
static void mend_all(struct interval **const *way, unsigned depth, unsigned to)
{
    while (depth--) {
        if (!mend(way[depth]) && depth <= to)
            return;
    }
}

bool interval_slot(struct interval_set *set, uint64_t first, uint64_t last,
                   struct interval_slot *slot)
{
    struct interval **link = &set->root, *above = NULL, *below = NULL;
    struct interval ***way = slot->way, ***to = slot->way + INTERVAL_DEPTH;

    for (struct interval *n; (n = *link) != NULL; way++) {
        *way = link;
        if (first < n->first) {
            above = n;
            to = way;
            link = &n->left;
        } else {
            below = n;
            link = &n->right;
        }
    }
    slot->link = link;
    slot->above = above;
    slot->below = below;
    slot->depth = (unsigned)(way - slot->way);
    slot->to = (unsigned)(to - slot->way);
    return !(below && below->last >= first) && !(above && above->first <= last);
}

void interval_put(struct interval_set *set, struct interval_slot *slot, struct interval *node)
{
    node->before = node->first - (slot->below ? slot->below->last + 1 : 0);
    if (slot->above)
        slot->above->before = slot->above->first - node->last - 1;
    node->left = node->right = NULL;
    node->gap = node->before;
    node->height = 1;
    *slot->link = node;
    set->count++;
    mend_all(slot->way, slot->depth, slot->to);
}

void interval_insert(struct interval_set *set, struct interval *node)
{
    struct interval_slot slot;

    hv_assert(interval_slot(set, node->first, node->last, &slot));
    interval_put(set, &slot, node);
}

void interval_remove(struct interval_set *set, struct interval *node)
{
    struct interval **way[INTERVAL_DEPTH], **link = &set->root, *above = NULL;
    unsigned depth = 0, to = INTERVAL_DEPTH;

    while (*link != node) {
        struct interval *n = *link;
        way[depth] = link;
        if (node->first < n->first) {
            above = n;
            to = depth;
            link = &n->left;
        } else {
            link = &n->right;
        }
        depth++;
    }
    if (!node->right) {
        *link = node->left;
        if (above)
            above->before += node->before + bytes_of(node);
    } else {
        /* The next one takes its place. */
        struct interval **low = &node->right;
        to = depth;
        way[depth++] = link;
        while ((*low)->left) {
            way[depth++] = low;
            low = &(*low)->left;
        }
        struct interval *next = *low;
        next->before += node->before + bytes_of(node);
        *low = next->right;
        next->left = node->left;
        next->right = node->right;
        next->height = node->height; /* what those above know */
        next->gap = node->gap;
        *link = next;
        if (depth > to + 1)
            way[to + 1] = &next->right;
    }
    set->count--;
    mend_all(way, depth, to);
}

struct interval *interval_from(const struct interval_set *set, uint64_t address)
{
    struct interval *n = set->root, *best = NULL;

    while (n) {
        if (n->last >= address) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct interval *interval_next(const struct interval_set *set, const struct interval *node)
{
    return node->last == UINT64_MAX ? NULL : interval_from(set, node->last + 1);
}

/* The lowest one that begins behind @address with @bytes free before it. Below a node that lies
 * behind @address as a whole, `gap` tells the truth; so only the way to @address is walked in
 * vain. */
static const struct interval *with_gap(const struct interval *n, uint64_t address, uint64_t bytes)
{
    while (n && n->gap >= bytes) {
        if (n->first > address) {
            const struct interval *found = with_gap(n->left, address, bytes);
            if (found)
                return found;
            if (n->before >= bytes)
                return n;
        }
        n = n->right;
    }
    return NULL;
}

static bool fits(uint64_t first, uint64_t last, uint64_t bytes)
{
    return first <= last && last - first >= bytes - 1;
}

bool interval_gap(const struct interval_set *set, uint64_t first, uint64_t last, uint64_t bytes,
                  uint64_t *start)
{
    const struct interval *n = interval_from(set, first);

    if (n && n->first > first) { /* the gap that holds @first counts from there */
        *start = first;
        if (fits(first, n->first - 1 < last ? n->first - 1 : last, bytes))
            return true;
    }
    if (!n) {
        *start = first;
        return fits(first, last, bytes);
    }
    n = with_gap(set->root, n->first, bytes);
    if (n) {
        *start = n->first - n->before;
        return fits(*start, n->first - 1 < last ? n->first - 1 : last, bytes);
    }
    for (n = set->root; n->right;)
        n = n->right;
    *start = n->last + 1;
    return n->last != UINT64_MAX && fits(*start, last, bytes);
}
