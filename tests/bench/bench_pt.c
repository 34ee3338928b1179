/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hv/pt.c on this machine, in time, beside a plain walk of four levels written out here. Both have
 * coherent tables in VT-d's second-stage format, the last of which are there, and the same contract
 * for what is asked here: what is not aligned, not in reach or mapped already is refused before
 * anything is stored, and no table is taken for a leaf. The plain walk knows one format, and
 * neither makes, splits nor frees tables; each range has a neighbour just behind it, so hv/pt.c has
 * none to free.
 *
 * Prints "@bench NAME PERCENT PICOSECONDS": hv/pt.c's time as a share of the walk's, the median of
 * many pairs, each measured one right after the other; and its time for one call, the median, too.
 */
#include <stdio.h>
#include <time.h>

#include "hv/log.h"
#include "hv/platform.h"
#include "hv/pt.h"

#define SAMPLES 301u
#define PLACES  4096u
#define POOL    2048u
#define RW      3ull         /* R, W */
#define LARGE   (1ull << 7)  /* page size */
#define LEAF    (RW | 0x330) /* write-back, accessed, dirty */
#define TABLE   (RW | 0x100) /* accessed */
#define ADDRESS 0x000ffffffffff000ull
#define REACH   (1ull << 48)
#define OUT     (1ull << 40)

/* --- What hv/pt.c needs ----------------------------------------------------------------------- */

uintptr_t phys_offset;

static uint64_t pool[POOL][512] __attribute__((aligned(4096)));
static unsigned pool_used;

enum hv_status pages_alloc(struct page_quota *quota, unsigned order, void **out)
{
    (void)quota;
    if (order || pool_used == POOL)
        return HV_ENOMEM;
    *out = pool[pool_used++];
    return HV_OK;
}

void pages_free(struct page_quota *quota, unsigned order, void *pages)
{
    (void)quota, (void)order, (void)pages; /* seldom enough */
}

void panic(const char *format, ...)
{
    puts(format);
    __builtin_trap();
}

/* --- The plain walk --------------------------------------------------------------------------- */

/* The entry for @in in the table of @level, all above being there; NULL: they are not. */
static inline uint64_t *walk(uint64_t *table, uint64_t in, unsigned level)
{
    for (unsigned l = 4; l > level; l--) {
        uint64_t entry = table[in >> (12 + 9 * (l - 1)) & 511];
        if (!(entry & RW) || (entry & LARGE))
            return NULL;
        table = (uint64_t *)(entry & ADDRESS);
    }
    return &table[in >> (12 + 9 * (level - 1)) & 511];
}

/* False: refused. @n entries in one table. */
static inline bool plain_map(uint64_t *root, uint64_t in, uint64_t out, unsigned n, unsigned level)
{
    const uint64_t leaf = 1ull << (12 + 9 * (level - 1)), size = n * leaf;

    if (((in | out) & (leaf - 1)) || in + size < in || in + size > REACH || out + size < out ||
        (out + size - 1) & ~(ADDRESS | 0xfff))
        return false;
    volatile uint64_t *entry = walk(root, in, level);
    if (!entry)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (entry[i] & RW)
            return false;
    }
    for (unsigned i = 0; i < n; i++)
        entry[i] = (out + i * leaf) | LEAF | (level > 1 ? LARGE : 0);
    return true;
}

static inline bool plain_unmap(uint64_t *root, uint64_t in, unsigned n, unsigned level)
{
    const uint64_t leaf = 1ull << (12 + 9 * (level - 1)), size = n * leaf;

    if ((in & (leaf - 1)) || in + size < in || in + size > REACH)
        return false;
    volatile uint64_t *entry = walk(root, in, level);
    if (!entry)
        return false;
    for (unsigned i = 0; level > 1 && i < n; i++) {
        if ((entry[i] & RW) && !(entry[i] & LARGE)) /* a table */
            return false;
    }
    for (unsigned i = 0; i < n; i++)
        entry[i] = 0;
    return true;
}

/* --- Measuring -------------------------------------------------------------------------------- */

static const struct shape {
    const char *map, *unmap; /* NULL: not reported */
    unsigned level, leaves, places;
    uint64_t stride; /* from one place to the next */
} shapes[] = {
    { "host_map_4k", "host_unmap_4k", 1, 1, PLACES, 2ull << 12 },
    { "host_map_255x4k", NULL, 1, 255, 64, 2ull << 20 },
    { NULL, "host_unmap_256x4k", 1, 256, 64, 2ull << 20 },
    { "host_map_256x2m", "host_unmap_256x2m", 2, 256, 64, 1ull << 30 },
};

/* Not called directly, or they would be made into versions for these arguments alone. */
static enum hv_status (*volatile map)(struct pt *, ptaddr_t, paddr_t, uint64_t, unsigned) = pt_map;
static enum hv_status (*volatile unmap)(struct pt *, ptaddr_t, uint64_t,
                                        struct pt_freed *) = pt_unmap;

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* The places in no order that a cache would guess. */
static uint64_t place(const struct shape *s, unsigned i)
{
    return (1ull << 39) + (i * 2654435761u % s->places) * s->stride;
}

static uint64_t time_map(const struct shape *s, struct pt *pt, uint64_t *root)
{
    const uint64_t size = (uint64_t)s->leaves << (12 + 9 * (s->level - 1));
    bool good = true;
    uint64_t begin = now();

    if (root) {
        for (unsigned i = 0; i < s->places; i++)
            good &= plain_map(root, place(s, i), OUT + place(s, i), s->leaves, s->level);
    } else {
        for (unsigned i = 0; i < s->places; i++)
            good &=
                map(pt, PTADDR(place(s, i)), PADDR(OUT + place(s, i)), size, PT_R | PT_W) == HV_OK;
    }
    uint64_t took = now() - begin;
    hv_assert(good);
    return took;
}

static uint64_t time_unmap(const struct shape *s, struct pt *pt, uint64_t *root)
{
    const uint64_t size = (uint64_t)s->leaves << (12 + 9 * (s->level - 1));
    struct pt_freed freed = { 0 };
    bool good = true;
    uint64_t begin = now();

    if (root) {
        for (unsigned i = 0; i < s->places; i++)
            good &= plain_unmap(root, place(s, i), s->leaves, s->level);
    } else {
        for (unsigned i = 0; i < s->places; i++)
            good &= unmap(pt, PTADDR(place(s, i)), size, &freed) == HV_OK;
    }
    uint64_t took = now() - begin;
    hv_assert(good && !freed.head);
    return took;
}

struct samples {
    uint64_t percent[SAMPLES], ps[SAMPLES];
};

static void add(struct samples *to, unsigned i, uint64_t ours, uint64_t plain, unsigned places)
{
    hv_assert(places > 0);
    to->percent[i] = plain ? (ours * 100 + plain / 2) / plain : 0;
    to->ps[i] = ours * 1000 / places;
}

static uint64_t median(uint64_t v[SAMPLES])
{
    for (unsigned i = 1; i < SAMPLES; i++) {
        uint64_t x = v[i];
        unsigned at = i;
        for (; at && v[at - 1] > x; at--)
            v[at] = v[at - 1];
        v[at] = x;
    }
    return v[SAMPLES / 2];
}

static void print_row(const char *name, struct samples *s)
{
    if (name)
        printf("@bench %s %lu %lu\n", name, median(s->percent), median(s->ps));
}

/* The same in both, with a neighbour just behind each place, so that tables stay. */
static void measure(const struct shape *s)
{
    static struct samples maps, unmaps;
    struct pt pt, other;

    pool_used = 0;
    __builtin_memset(pool, 0, sizeof(pool));
    hv_assert(pt_create(&pt, &pt_format_vtd2, NULL, 4, 3, false) == HV_OK &&
              pt_create(&other, &pt_format_vtd2, NULL, 4, 3, false) == HV_OK);
    for (unsigned i = 0; i < s->places; i++) {
        const uint64_t leaf = 1ull << (12 + 9 * (s->level - 1)),
                       at = place(s, i) + s->leaves * leaf;
        hv_assert(pt_map(&pt, PTADDR(at), PADDR(OUT), leaf, PT_R) == HV_OK &&
                  pt_map(&other, PTADDR(at), PADDR(OUT), leaf, PT_R) == HV_OK);
    }
    for (unsigned i = 0; i < SAMPLES; i++) { /* who is first takes turns */
        uint64_t m[2], u[2];
        for (unsigned turn = 0; turn < 2; turn++) {
            unsigned plain = (i + turn) & 1;
            m[plain] = time_map(s, &pt, plain ? other.root : NULL);
            u[plain] = time_unmap(s, &pt, plain ? other.root : NULL);
        }
        add(&maps, i, m[0], m[1], s->places);
        add(&unmaps, i, u[0], u[1], s->places);
    }
    print_row(s->map, &maps);
    print_row(s->unmap, &unmaps);
}

int main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
        measure(&shapes[i]);
    return 0;
}
