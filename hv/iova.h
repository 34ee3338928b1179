/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The addresses of one IOAS: what is mapped, what is reserved, where something may lie. No tables
 * and no devices here. A mapping is one segment, or several where it overmaps reservations in part;
 * a reserved segment that is overmapped stays reserved. Lock: the VM's.
 */
#ifndef HV_IOVA_H
#define HV_IOVA_H

#include "hv/interval.h"
#include "hv/slab.h"
#include "hv/types.h"

#define IOVA_ALLOWED_MAX  96u
#define IOVA_SEGMENTS_MAX 256u         /* of one call */
#define IOVA_STEP         (1ull << 30) /* bytes of one call */

struct iova_range {
    uint64_t first, last;
}; /* pages, inclusive */

/* flags of a segment; value is what it maps to, guest physical. */
enum {
    IOVA_READ = 1,
    IOVA_WRITE = 2,
    IOVA_UNCACHED = 4,
    IOVA_RESERVED = 8,
    IOVA_MAPPED = 16,
    IOVA_BEGIN = 32, /* of a mapping */
    IOVA_END = 64,
    IOVA_DEMAND = 128, /* mapped, but in a table only as far as devices asked for it */
};
#define IOVA_ACCESS (IOVA_READ | IOVA_WRITE | IOVA_UNCACHED)
#define IOVA_KIND   (IOVA_ACCESS | IOVA_DEMAND) /* what a part or a copy has of a mapping */

struct iova {
    struct interval_set set;
    struct slab *segments;                       /* where nodes come from */
    struct iova_range allowed[IOVA_ALLOWED_MAX]; /* ascending, not adjacent */
    unsigned nallowed;
};

/* A change that is known to be possible and has what it takes. */
struct iova_change {
    struct iova_range range; /* of this call: it may end before what was asked for */
    uint64_t mapped;         /* removal: bytes in it that are mapped */
    uint64_t demand;         /* of them, those on demand */
    bool clear;              /* addition: not even reservations are in the way */
    bool more;               /* something is left to do behind it */
    struct interval *spare;
    struct interval_slot slot; /* if clear */
};

/* Does all of @range lie inside one allowed range? */
bool iova_is_allowed(const struct iova *iova, struct iova_range range);
/* Is anything mapped or reserved in @range? */
bool iova_in_use(const struct iova *iova, struct iova_range range);
/* Is anything mapped in it? Of 2^n segments n are looked at, and those reserved. */
bool iova_is_mapped(const struct iova *iova, struct iova_range range);

/** A free place of @bytes for something at guest-physical @gpa: the lowest at or above @hint, else
 * the lowest of all; from 2 MiB on, first one congruent to @gpa, that large leaves fit.
 *  @return HV_ENOSPC: there is none. */
enum hv_status iova_find(const struct iova *iova, uint64_t hint, uint64_t bytes, uint64_t gpa,
                         uint64_t *first);

/** Before mapping @range, which is allowed, over nothing but reservations. Then one of iova_add,
 * iova_forget.
 *  @return HV_EEXIST something is mapped; HV_EQUOTA, HV_ENOMEM. */
enum hv_status iova_prepare_add(struct iova *iova, struct iova_range range, struct iova_change *c);
void iova_add(struct iova *iova, struct iova_change *c, uint64_t gpa, uint32_t kind);

/** Before unmapping @range. @exact: refuse to split a mapping. Then one of iova_remove,
 * iova_forget.
 *  @return HV_ENOENT nothing is mapped; HV_EINVAL @exact, and an edge lies inside a mapping;
 * HV_EQUOTA, HV_ENOMEM. */
enum hv_status iova_prepare_remove(struct iova *iova, struct iova_range range, bool exact,
                                   struct iova_change *c);
void iova_remove(struct iova *iova, struct iova_change *c);
/* Nothing came of it. */
void iova_forget(struct iova *iova, struct iova_change *c);

/* Reserve @range, which is allowed, as a segment of its own. HV_EEXIST in use; HV_EQUOTA,
 * HV_ENOMEM. */
enum hv_status iova_reserve(struct iova *iova, struct iova_range range);
/* Give up what is reserved in @range, up to IOVA_SEGMENTS_MAX segments; what is mapped stays.
 * @bytes: how many. HV_ENOENT: none; HV_EAGAIN: more is left; HV_EQUOTA, HV_ENOMEM (unchanged; not
 * if its edges are those of segments). */
enum hv_status iova_unreserve(struct iova *iova, struct iova_range range, uint64_t *bytes);
/* Forget everything at once. */
void iova_clear(struct iova *iova);

#endif
