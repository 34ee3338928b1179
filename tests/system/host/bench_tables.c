/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hv/pt.c on the format of VT-d's second stage, four levels, 2M and 1G leaves. A neighbour just
 * behind the range keeps the last table from coming and going; the rows "new" and "last" have none.
 */
#include "tests/system/host/bench_tables.h"

#include <stdio.h>

#include "arch/x86/asm.h"
#include "hv/log.h"
#include "hv/pt.h"

#define ROUNDS 8u
#define IN     (5ull << 39 | 1ull << 30)
#define OUT    (1ull << 32)
#define BASE   4096ull
#define LARGE  (2ull << 20)

static const struct row {
    const char *map, *unmap; /* NULL: not reported */
    uint64_t leaf, leaves;
    bool neighbour;
} rows[] = {
    { "ss_map_4k", "ss_unmap_4k", BASE, 1, true },
    { "ss_map_4k_new", "ss_unmap_4k_last", BASE, 1, false },
    { "ss_map_255x4k", NULL, BASE, 255, true },
    { NULL, "ss_unmap_256x4k", BASE, 256, true },
    { "ss_map_256x2m", "ss_unmap_256x2m", LARGE, 256, true },
};

static void report(const char *name, uint64_t value)
{
    char text[80];
    int n = snprintf(text, sizeof(text), "@bench %s %lu", name, value);

    log_guest("host", text, (unsigned)n);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void measure(struct pt *pt, const struct row *r)
{
    const uint64_t size = r->leaf * r->leaves;
    uint64_t map = UINT64_MAX, unmap = UINT64_MAX;
    struct pt_leaf leaf;

    if (r->neighbour)
        hv_assert(pt_map(pt, PTADDR(IN + size), PADDR(OUT + size), r->leaf, PT_R | PT_W) == HV_OK);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct pt_freed freed = { 0 };
        uint64_t own = rdtsc();
        own = rdtsc() - own;
        uint64_t begin = rdtsc();
        enum hv_status status = pt_map(pt, PTADDR(IN), PADDR(OUT), size, PT_R | PT_W);
        map = less(map, rdtsc() - begin - own);
        hv_assert(status == HV_OK && pt_lookup(pt, PTADDR(IN + size - 1), &leaf) &&
                  leaf.size == r->leaf && leaf.out.v == OUT + size - 1);
        begin = rdtsc();
        status = pt_unmap(pt, PTADDR(IN), size, &freed);
        pt_release(pt, &freed);
        unmap = less(unmap, rdtsc() - begin - own);
        hv_assert(status == HV_OK && !pt_lookup(pt, PTADDR(IN), &leaf));
    }
    if (r->map)
        report(r->map, map);
    if (r->unmap)
        report(r->unmap, unmap);
    if (r->neighbour) {
        struct pt_freed freed = { 0 };
        hv_assert(pt_unmap(pt, PTADDR(IN + size), r->leaf, &freed) == HV_OK);
        pt_release(pt, &freed);
    }
}

void bench_tables(void)
{
    struct pt pt;

    hv_assert(pt_create(&pt, &pt_format_vtd2, NULL, 4, 3, false) == HV_OK);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        measure(&pt, &rows[i]);
    pt_destroy(&pt);
}
