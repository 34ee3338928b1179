/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ordered set of intervals that do not overlap, and the gaps between them: the addresses of an
 * IOAS (hv/iova.h). Every operation costs the logarithm of their number. Nodes are the caller's, 64
 * bytes each, so that a VM pays for its own. Lock: the owner's.
 */
#ifndef HV_INTERVAL_H
#define HV_INTERVAL_H

#include "hv/types.h"

struct interval {
    struct interval *left, *right;
    uint64_t first, last; /* inclusive; fixed while it is in a set */
    uint64_t before;      /* free bytes between the one before it (or 0) and itself */
    uint64_t gap;         /* the largest `before` of this one and all below it in the tree */
    uint64_t value;       /* the caller's, these two */
    uint32_t flags;
    uint32_t height;
};
static_assert(sizeof(struct interval) == 64);

struct interval_set {
    struct interval *root;
    uint32_t count;
};

/* Where [@first, @last] would go: found once, used for interval_put if nothing changed since. */
#define INTERVAL_DEPTH 48u /* of 2^32 nodes: 1.44 * 32, and one below */
struct interval_slot {
    struct interval **link, *above, *below;
    unsigned depth, to;
    struct interval **way[INTERVAL_DEPTH];
};
/* False: something overlaps. */
bool interval_slot(struct interval_set *set, uint64_t first, uint64_t last,
                   struct interval_slot *slot);
/* @node: first and last are those of the slot. */
void interval_put(struct interval_set *set, struct interval_slot *slot, struct interval *node);
/* Both. @node: first and last are set, and overlap none of the set. */
void interval_insert(struct interval_set *set, struct interval *node);
/* @node is in the set. */
void interval_remove(struct interval_set *set, struct interval *node);
/* The lowest one that ends at or behind @address: it holds it, or is the next. NULL: none. */
struct interval *interval_from(const struct interval_set *set, uint64_t address);
/* The one behind @node. NULL: none. */
struct interval *interval_next(const struct interval_set *set, const struct interval *node);
/* The lowest run of at least @bytes free ones within [@first, @last]. False: there is none.
 * @bytes is not 0. */
bool interval_gap(const struct interval_set *set, uint64_t first, uint64_t last, uint64_t bytes,
                  uint64_t *start);

#endif
