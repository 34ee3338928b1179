/* SPDX-License-Identifier: BSD-2-Clause */
/* Explicit mappings: map, unmap, free places, and what replacing a domain costs. */
#include "guest/lib/ioas.h"

#include "guest/bench/bench.h"
#include "guest/lib/cpu.h"
#include "guest/lib/runtime.h"

#define PASID  5u
#define IOVA   0x100000000ull
#define ACCESS (HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_FIXED)
#define BATCH  16u /* commands of one doorbell where each does much */

static uint32_t first, second; /* two IOASes, attached in turn */
static uint8_t *memory;

static void attach(uint32_t ioas)
{
    must(sluice_attach(device.device, PASID, HC_DOMAIN_PAGING, ioas, 0), "attach an IOAS");
}

static void replace_twice(void)
{
    attach(second);
    attach(first);
}

static void put_map(uint64_t iova, uint64_t pages)
{
    struct hc_ioas_map args = {
        .size = sizeof(args),
        .flags = ACCESS,
        .ioas = first,
        .iova = iova,
        .gpa = (uint64_t)memory,
        .bytes = pages * PAGE,
    };

    if (!command_ring_put(&commands, HC_IOAS_MAP, &args, sizeof(args)))
        fail("ring full");
}

static void put_unmap(uint64_t iova, uint64_t pages)
{
    struct hc_ioas_unmap args = {
        .size = sizeof(args),
        .ioas = first,
        .iova = iova,
        .bytes = pages * PAGE,
    };

    if (!command_ring_put(&commands, HC_IOAS_UNMAP, &args, sizeof(args)))
        fail("ring full");
}

/* One exit for @count commands; each of them has this share of it. */
static uint64_t run(uint32_t count)
{
    uint64_t own = clock_cost(), done = 0, begin = rdtsc();
    enum hv_status status = sluice_call(HC_DOORBELL, 0, 0, 0, &done);
    uint64_t took = rdtsc() - begin - own;

    must(status, "doorbell");
    if (done != count)
        fail("%lu commands ran", done);
    check_statuses(commands.header->consumer - count, count);
    return (took + count - 1) / count;
}

/* @count mappings of @pages each by ring, then away with them. */
static void by_ring(uint32_t count, uint64_t pages, uint64_t *map, uint64_t *unmap)
{
    *map = *unmap = ~0ull;
    for (unsigned round = 0; round < 4; round++) {
        uint64_t took;

        for (unsigned i = 0; i < count; i++)
            put_map(IOVA + i * pages * PAGE, pages);
        took = run(count);
        *map = took < *map ? took : *map;
        for (unsigned i = 0; i < count; i++)
            put_unmap(IOVA + i * pages * PAGE, pages);
        took = run(count);
        *unmap = took < *unmap ? took : *unmap;
    }
}

static void by_call(uint64_t pages, uint64_t *map, uint64_t *unmap)
{
    uint64_t own = clock_cost(), iova = IOVA;

    *map = *unmap = ~0ull;
    for (unsigned round = 0; round < 8; round++) {
        uint64_t begin = rdtsc(), took;

        must(ioas_map(first, ACCESS, &iova, (uint64_t)memory, pages * PAGE), "map");
        took = rdtsc() - begin - own;
        *map = took < *map ? took : *map;
        begin = rdtsc();
        must(ioas_unmap(first, 0, iova, pages * PAGE, NULL), "unmap");
        took = rdtsc() - begin - own;
        *unmap = took < *unmap ? took : *unmap;
    }
}

/* A free place of two pages among @there mappings with a hole of one page behind each. */
static void alloc_among(const char *name, uint32_t *there, uint32_t wanted)
{
    uint64_t best = ~0ull, own = clock_cost(), iova;

    while (*there < wanted) {
        uint32_t n = wanted - *there < COMMANDS ? wanted - *there : COMMANDS;

        for (uint32_t i = 0; i < n; i++)
            put_map(2 * (uint64_t)(*there + i) * PAGE, 1);
        run(n);
        *there += n;
    }
    for (unsigned round = 0; round < 8; round++) {
        uint64_t begin = rdtsc(), took;

        iova = 0;
        must(ioas_map(first, ACCESS & ~HC_IOAS_FIXED, &iova, (uint64_t)memory, 2 * PAGE), "map");
        took = rdtsc() - begin - own;
        best = took < best ? took : best;
        if (iova != (2 * (uint64_t)wanted - 1) * PAGE)
            fail("not the lowest place: %lx", iova);
        must(ioas_unmap(first, 0, iova, 2 * PAGE, NULL), "unmap");
    }
    report(name, best);
}

void bench_ioas(void)
{
    uint64_t map, unmap, iova = IOVA;
    uint32_t there = 0;

    memory = pages_new(256);
    must(ioas_create(0, 0, &first), "create");
    must(ioas_create(0, 0, &second), "create");
    must(ioas_map(second, ACCESS, &iova, (uint64_t)memory, PAGE), "map");
    replace_twice();
    report("attach_replace", (least(replace_twice) + 1) / 2);

    by_call(1, &map, &unmap);
    report("ioas_map_4k_call", map);
    report("ioas_unmap_4k_call", unmap);
    by_call(255, &map, &unmap);
    report("ioas_map_255x4k_call", map);
    by_call(256, &map, &unmap);
    report("ioas_unmap_256x4k_call", unmap);
    by_ring(COMMANDS, 1, &map, &unmap);
    report("ioas_map_4k", map);
    report("ioas_unmap_4k", unmap);
    by_ring(BATCH, 255, &map, &unmap);
    report("ioas_map_255x4k", map);
    by_ring(BATCH, 256, &map, &unmap);
    report("ioas_unmap_256x4k", unmap);

    must(sluice_attach(device.device, PASID, HC_DOMAIN_BLOCKED, 0, 0), "attach BLOCKED");
    must(ioas_destroy(first), "destroy");
    must(ioas_create(0, 0, &first), "create");
    alloc_among("iova_alloc_10", &there, 10);
    alloc_among("iova_alloc_1000", &there, 1000);
    alloc_among("iova_alloc_100000", &there, 100000);
    must(ioas_destroy(first), "destroy");
    must(ioas_destroy(second), "destroy");
}
