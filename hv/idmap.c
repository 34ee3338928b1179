/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three levels: 16 middle nodes in the map, 256 leaves in each, 256 numbers in each leaf. A middle
 * slot is "full" when its leaf has no free number, so the lowest free one is found by counting
 * bits.
 */
#include "hv/idmap.h"

static_assert(sizeof(struct idmap_node) <= PAGE_SIZE);

static bool is_full(const struct idmap_node *n)
{
    return (n->full[0] & n->full[1] & n->full[2] & n->full[3]) == ~0ull;
}

static void mark(struct idmap_node *n, unsigned slot, bool on)
{
    uint64_t bit = 1ull << (slot & 63);

    n->full[slot >> 6] = on ? n->full[slot >> 6] | bit : n->full[slot >> 6] & ~bit;
}

/* The first slot at or after @from whose bit is @wanted, 256: none. */
static unsigned scan(const struct idmap_node *n, unsigned from, bool wanted)
{
    for (unsigned word = from >> 6; word < 4; word++) {
        uint64_t bits = wanted ? n->full[word] : ~n->full[word];
        if (word == from >> 6)
            bits &= ~0ull << (from & 63);
        if (bits)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return 256;
}

static enum hv_status make_node(struct idmap *map, void **node)
{
    return *node ? HV_OK : pages_alloc(map->quota, 0, node);
}

static void free_if_empty(struct idmap *map, void **node)
{
    struct idmap_node *n = *node;

    if (n && n->used == 0) {
        *node = NULL;
        pages_free(map->quota, 0, n);
    }
}

enum hv_status idmap_set(struct idmap *map, uint32_t id, void *p)
{
    if (id >= IDMAP_SIZE)
        return HV_ERANGE;
    void **top = (void **)&map->top[id >> 16];
    unsigned m = id >> 8 & 255, l = id & 255;

    enum hv_status status = make_node(map, top);
    if (status != HV_OK)
        return status;
    struct idmap_node *middle = *top;
    bool new_leaf = !middle->slot[m];
    status = make_node(map, &middle->slot[m]);
    if (status != HV_OK) {
        free_if_empty(map, top);
        return status;
    }
    struct idmap_node *leaf = middle->slot[m];
    middle->used += new_leaf;
    leaf->used += !leaf->slot[l];
    leaf->slot[l] = p;
    mark(leaf, l, true);
    if (is_full(leaf))
        mark(middle, m, true);
    return HV_OK;
}

void idmap_clear(struct idmap *map, uint32_t id)
{
    if (!idmap_get(map, id))
        return;
    void **top = (void **)&map->top[id >> 16];
    struct idmap_node *middle = *top;
    unsigned m = id >> 8 & 255, l = id & 255;
    struct idmap_node *leaf = middle->slot[m];

    leaf->slot[l] = NULL;
    leaf->used--;
    mark(leaf, l, false);
    mark(middle, m, false);
    free_if_empty(map, &middle->slot[m]);
    middle->used -= !middle->slot[m];
    free_if_empty(map, top);
}

/* The first number at or after @from that is free (or used), looking at one leaf a turn. */
static uint32_t find_free(const struct idmap *map, uint32_t from)
{
    while (from < IDMAP_SIZE) {
        const struct idmap_node *middle = map->top[from >> 16];
        if (!middle)
            return from;
        unsigned m = scan(middle, from >> 8 & 255, false);
        if (m > (from >> 8 & 255))
            from = (from & ~0xffffu) + m * 256; /* the leaf after next, or the next middle */
        if (m == 256)
            continue;
        const struct idmap_node *leaf = middle->slot[m];
        unsigned l = leaf ? scan(leaf, from & 255, false) : from & 255;
        if (l < 256)
            return (from & ~255u) + l;
        from = (from & ~255u) + 256;
    }
    return IDMAP_SIZE;
}

enum hv_status idmap_add(struct idmap *map, uint32_t from, uint32_t to, void *p, uint32_t *id)
{
    uint32_t free = find_free(map, from);

    if (free >= to)
        return HV_ERANGE;
    *id = free;
    return idmap_set(map, free, p);
}

uint32_t idmap_next(const struct idmap *map, uint32_t from)
{
    while (from < IDMAP_SIZE) {
        const struct idmap_node *middle = map->top[from >> 16];
        if (!middle) {
            from = (from | 0xffff) + 1;
            continue;
        }
        const struct idmap_node *leaf = middle->slot[from >> 8 & 255];
        unsigned l = leaf ? scan(leaf, from & 255, true) : 256;
        if (l < 256)
            return (from & ~255u) + l;
        from = (from | 255) + 1;
    }
    return IDMAP_SIZE;
}
