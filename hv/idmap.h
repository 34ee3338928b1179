/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 20-bit numbers to pointers: PASIDs, bond handles, roots. A radix tree of pages with a bitmap of
 * what is used in each, so that finding a free number, setting, reading and clearing all cost the
 * same at one entry and at a million. Pages are taken as used, charged to a quota, and given back
 * when empty. Lock: the owner's.
 */
#ifndef HV_IDMAP_H
#define HV_IDMAP_H

#include "hv/pages.h"
#include "hv/types.h"

#define IDMAP_BITS 20u
#define IDMAP_SIZE (1u << IDMAP_BITS)

struct idmap_node {
    uint64_t full[4]; /* bit n: slot n is used (leaf) or has no free number below (middle) */
    uint32_t used;    /* slots that are not NULL */
    void *slot[256];
};
static_assert(sizeof(struct idmap_node) <= PAGE_SIZE);

struct idmap {
    struct page_quota *quota;
    struct idmap_node *top[IDMAP_SIZE >> 16];
};

static inline void *idmap_get(const struct idmap *map, uint32_t id)
{
    if (id >= IDMAP_SIZE)
        return NULL;
    const struct idmap_node *middle = map->top[id >> 16];
    if (!middle)
        return NULL;
    const struct idmap_node *leaf = middle->slot[id >> 8 & 255];
    return leaf ? leaf->slot[id & 255] : NULL;
}

/* Set @id to @p (not NULL); replaces. HV_ERANGE; HV_EQUOTA, HV_ENOMEM (unchanged; not when
 * replacing). */
enum hv_status idmap_set(struct idmap *map, uint32_t id, void *p);
/* Set the lowest free number in [from, to) to @p. HV_ERANGE: none free; else as idmap_set. */
enum hv_status idmap_add(struct idmap *map, uint32_t from, uint32_t to, void *p, uint32_t *id);
/* Clear; gives back pages that became empty. Clearing what is clear is fine. */
void idmap_clear(struct idmap *map, uint32_t id);
/* The first used number at or after @from, or IDMAP_SIZE. */
uint32_t idmap_next(const struct idmap *map, uint32_t from);

#endif
