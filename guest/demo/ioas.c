/* SPDX-License-Identifier: BSD-2-Clause */
/* Explicit mappings: the scenes that need no page request and no bind. */
#include "guest/lib/ioas.h"

#include <string.h>

#include "guest/demo/demo.h"

#define RW     (HC_IOAS_READ | HC_IOAS_WRITE)
#define FIXED  (RW | HC_IOAS_FIXED)
#define PINNED 77u /* a PASID that nobody binds */
#define PAGES  16u /* of the region, that move about; behind them the completion records */
#define ROUNDS 6u

/* Not a process of the demonstration: memory mapped at the addresses at which its owner sees it. */
static struct process classic;
static uint32_t main_ioas;

static void ok(enum hv_status status, const char *what)
{
    expect(status == HV_OK, what, (uint64_t)-(int64_t)status);
}

static void refused(enum hv_status status, enum hv_status wanted, const char *what)
{
    expect(status == wanted, what, (uint64_t)-(int64_t)status);
}

static enum hv_status replace(enum hc_domain domain, uint64_t root, enum hc_attach_how *how)
{
    return sluice_replace(demo.device.device, PINNED, domain, root,
                          domain == HC_DOMAIN_NESTED ? 4 : 0, how);
}

static enum hv_status attach(enum hc_domain domain, uint64_t root)
{
    enum hc_attach_how how;

    return replace(domain, root, &how);
}

static uint32_t new_ioas(void)
{
    uint32_t ioas = 0;

    ok(ioas_create(0, 0, &ioas), "IOAS");
    return ioas;
}

static void map_at(uint32_t ioas, uint64_t iova, const void *memory, uint64_t pages)
{
    ok(ioas_map(ioas, FIXED, &iova, (uint64_t)memory, pages * PAGE), "map");
}

/* Can the device fill @pages at @address? */
static bool fill(uint64_t address, uint64_t pages, uint8_t flags, uint64_t pattern)
{
    struct work w = {
        .process = &classic,
        .operation = ACCEL_FILL,
        .flags = flags,
        .destination = address,
        .size = pages * PAGE,
        .pattern = pattern,
    };

    return work_run(&w).status == ACCEL_DONE;
}

static bool holds(const uint8_t *memory, uint64_t pages, uint64_t pattern)
{
    const uint64_t *word = (const uint64_t *)memory;

    for (uint64_t i = 0; i < pages * PAGE / 8; i++)
        if (word[i] != pattern)
            return false;
    return true;
}

void scene_classic(void)
{
    struct process *bound = &demo.process[0];

    classic = (struct process){ .space = space_new(), .pasid = PINNED };
    classic.base = SPACE_USER_BASE + 0x40000000;
    classic.frames = pages_new(REGION_PAGES);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        space_map(&classic.space, process_address(&classic, i),
                  (uint64_t)process_frame(&classic, i), true);
    main_ioas = new_ioas();
    map_at(main_ioas, classic.base, classic.frames, REGION_PAGES);
    ok(attach(HC_DOMAIN_PAGING, main_ioas), "attach an IOAS to a PASID");
    expect(fill(classic.base, PAGES, 0, 0x1111), "DMA at the addresses of the process", 0);
    expect(fill(process_address(&classic, PAGES), PAGES, ACCEL_ATS, 0x2222), "the same by ATS", 0);

    /* The process finds it where it sees it itself. */
    space_enter(&classic.space);
    bool good = holds((const uint8_t *)classic.base, PAGES, 0x1111) &&
                holds((const uint8_t *)process_address(&classic, PAGES), PAGES, 0x2222);
    space_leave();
    demo.count.mismatches += !good;

    struct work copy = { bound,
                         ACCEL_COMPARE,
                         0,
                         process_address(bound, SOURCE),
                         process_address(bound, SOURCE),
                         PAGE,
                         0,
                         0 };
    expect(work_run(&copy).status == ACCEL_DONE, "a bound process beside it", 0);
    print("mapped %u pages at their own addresses for PASID %u: no bind, no page request\n",
          REGION_PAGES, PINNED);
}

void scene_require(void)
{
    uint32_t picky = new_ioas(), holding = new_ioas();
    struct hc_iova_range list[2] = { { 0x100000, 0x1fffff }, { 0xfe000000, 0xffffffff } };
    struct hc_iova_range range[8];
    uint32_t n = 8;
    uint64_t iova = 0x400000;
    uint8_t *page = pages_new(1);

    ok(ioas_require(picky, list, 2), "require");
    refused(ioas_map(picky, FIXED, &iova, (uint64_t)page, PAGE), HV_ERANGE, "map outside the list");
    ok(ioas_map(picky, RW, &iova, (uint64_t)page, PAGE), "free map");
    expect(iova == 0xfe000000, "a free map lies in the list", iova);
    refused(attach(HC_DOMAIN_PAGING, picky), HV_EREQUIRED, "interrupts take a required range");
    map_at(holding, 0xfee00000, page, 1);
    refused(attach(HC_DOMAIN_PAGING, holding), HV_EBUSY, "interrupts take a mapping's place");
    expect(fill(classic.base, 1, 0, 0x3333), "a refused attach changes nothing", 0);
    ok(ioas_ranges(main_ioas, range, &n), "ranges");
    expect(n == 2 && range[0].last == 0xfedfffff && range[1].first == 0xfef00000,
           "what is allowed with the device attached", n);
    ok(ioas_destroy(picky), "destroy");
    ok(ioas_destroy(holding), "destroy");
    print(
        "required addresses: a map outside, and two attaches that would take some, were refused\n");
}

void scene_reserve(void)
{
    uint64_t window = process_address(&classic, REGION_PAGES), first = window, iova = window;
    uint8_t *memory = pages_new(PAGES);

    ok(ioas_map(main_ioas, HC_IOAS_RESERVE | HC_IOAS_FIXED, &first, 0, PAGES * PAGE), "reserve");
    ok(ioas_map(main_ioas, RW, &iova, (uint64_t)memory, PAGE), "free map");
    expect(iova == window + PAGES * PAGE, "a free map stays out of it", iova);
    expect(!fill(window, 1, 0, 0x4444), "nothing is mapped there", 0);
    map_at(main_ioas, window + PAGE, memory, 2);
    expect(fill(window + PAGE, 2, ACCEL_ATS, 0x4444) && holds(memory, 2, 0x4444), "overmap", 0);
    ok(ioas_unmap(main_ioas, HC_IOAS_EXACT, window + PAGE, 2 * PAGE, NULL), "unmap");
    expect(!fill(window + PAGE, 2, ACCEL_ATS, 0x5555) && holds(memory, 2, 0x4444),
           "unmapped, and nothing of it is cached", 0);
    first = window;
    ok(ioas_map(main_ioas, RW, &first, (uint64_t)memory, PAGE), "free map");
    expect(first == window + (PAGES + 1) * PAGE, "it is reserved again", first);
    print("reserved %u pages, mapped over two of them, and gave them back\n", PAGES);
}

/* --- One PASID, one address, a domain after the other ----------------------------------------- */

static struct station {
    const char *name;
    enum hc_domain domain;
    uint64_t root;
    uint8_t *frames; /* what the address means; NULL: nothing */
} station[ROUNDS];
static unsigned hitless;

/* Start a fill, replace the domain while it runs, and see that nothing but the two saw it. */
static void pass(const struct station *from, const struct station *to, uint64_t pattern)
{
    struct work w = {
        .process = &classic,
        .operation = ACCEL_FILL,
        .flags = pattern & 1 ? ACCEL_ATS : 0,
        .destination = classic.base,
        .size = PAGES * PAGE,
        .pattern = pattern,
    };
    bool by_shadow = demo.device.flags & HC_DEVICE_SHADOW;
    bool shadow = to->domain == HC_DOMAIN_NESTED && by_shadow;
    bool empty = shadow || (from->domain == HC_DOMAIN_NESTED && by_shadow); /* at first */
    enum hc_attach_how how;
    struct accel_completion c;

    work_start(&w);
    ok(replace(to->domain, to->root, &how), to->name);
    c = work_finish();
    hitless += how == HC_ATTACH_HITLESS;
    expect((how == HC_ATTACH_SAME) == (from == to), "how it was replaced", how);
    /* Both have the address, and nothing lay between them. */
    if (how != HC_ATTACH_BLOCKED_WINDOW && from->frames && to->frames && !empty)
        expect(c.status == ACCEL_DONE, "a fill met a window that was not told of", c.status);
    expect(c.status != ACCEL_DONE || (from->frames && holds(from->frames, PAGES, pattern)) ||
               to->frames,
           "a fill under way went astray", c.status);

    /* By a shadow a device reaches what it asked for. */
    if (shadow)
        (void)fill(classic.base, PAGES, ACCEL_ATS | ACCEL_PAGE_REQUESTS, pattern);

    /* From here on it means the new one alone. */
    for (unsigned i = 0; i < ROUNDS; i++)
        if (station[i].frames)
            memset(station[i].frames, 0, PAGES * PAGE);
    bool through = fill(classic.base, PAGES, w.flags, pattern + 0x100);
    expect(through == (to->frames != NULL), to->name, through);
    for (unsigned i = 0; i < ROUNDS; i++)
        if (station[i].frames)
            demo.count.mismatches +=
                !holds(station[i].frames, PAGES, &station[i] == to ? pattern + 0x100 : 0);
}

void scene_replace(void)
{
    uint8_t *other = pages_new(PAGES), *third[2] = { pages_new(PAGES), pages_new(PAGES) };
    const void *records = process_frame(&classic, RECORDS);
    uint32_t second = new_ioas();
    struct space nested[2] = { space_new(), space_new() };
    unsigned passes = 0;

    map_at(second, classic.base, other, PAGES);
    map_at(second, process_address(&classic, RECORDS), records, 1);
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < PAGES; i++)
            space_map(&nested[k], process_address(&classic, i), (uint64_t)third[k] + i * PAGE,
                      true);
        space_map(&nested[k], process_address(&classic, RECORDS), (uint64_t)records, true);
    }
    station[0] = (struct station){ "PAGING", HC_DOMAIN_PAGING, main_ioas, classic.frames };
    station[1] = (struct station){ "BLOCKED", HC_DOMAIN_BLOCKED, 0, NULL };
    station[2] = (struct station){ "PAGING, another", HC_DOMAIN_PAGING, second, other };
    station[3] = (struct station){ "NESTED", HC_DOMAIN_NESTED, (uint64_t)nested[0].root, third[0] };
    station[4] = (struct station){ "IDENTITY", HC_DOMAIN_IDENTITY, 0, NULL };
    station[5] =
        (struct station){ "NESTED, another", HC_DOMAIN_NESTED, (uint64_t)nested[1].root, third[1] };
    for (unsigned from = 0; from < ROUNDS; from++) {
        for (unsigned to = 0; to < ROUNDS; to++) {
            ok(attach(station[from].domain, station[from].root), station[from].name);
            pass(&station[from], &station[to], 0xab0000 + 2 * passes + passes / 5 % 2);
            passes++;
        }
    }
    ok(attach(HC_DOMAIN_BLOCKED, 0), "BLOCKED");
    ok(ioas_destroy(second), "destroy");
    ok(ioas_destroy(main_ioas), "destroy");
    print("%u times one domain replaced another while the device wrote, %u of them hitless: each "
          "byte "
          "went where it was meant to, %lu mismatches\n",
          passes, hitless, demo.count.mismatches);
}
