/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that devices have only once they ask for it: of a bound process, where what is absent in
 * its own tables is ours to serve and the rest Sluice's, and of an IOAS, which is all Sluice's.
 */
#include <string.h>

#include "guest/demo/demo.h"
#include "guest/lib/ioas.h"

#define ASKING (ACCEL_ATS | ACCEL_PAGE_REQUESTS)
#define RW     (HC_IOAS_READ | HC_IOAS_WRITE)
#define PAGES  12u
#define OWN    78u /* a PASID that nobody binds */

static void ok(enum hv_status status, const char *what)
{
    expect(status == HV_OK, what, (uint64_t)-(int64_t)status);
}

/* Page requests that Sluice served. */
static uint64_t served(void)
{
    struct hc_stats stats = { 0 };

    ok(sluice_stats(&stats), "statistics");
    return stats.map_faults_served;
}

/* The source is absent from the process, the target from the second stage; so are the tables and a
 * half of the source, which is then asked for twice. */
static void bound(struct process *p)
{
    const uint64_t source = process_address(p, SOURCE), target = process_address(p, TARGET);
    const uint64_t asked = demo.count.page_requests, before = served();
    const struct {
        uint64_t gpa, pages;
    } absent[] = {
        { (uint64_t)process_frame(p, TARGET), PAGES },
        { (uint64_t)process_frame(p, SOURCE), PAGES / 2 },
        { (uint64_t)p->space.root, 1 },
    };

    process_fill(p, SOURCE, PAGES, 99);
    memset(process_frame(p, TARGET), 0, PAGES * PAGE);
    for (unsigned i = 0; i < PAGES; i++)
        (void)space_unmap(&p->space, process_address(p, SOURCE + i));
    ok(sluice_invalidate_range(p->pasid, source, PAGES * PAGE, true), "invalidate");
    for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        ok(sluice_memory_on_demand(0, absent[i].gpa, absent[i].pages * PAGE), "give up memory");

    struct work copy = { p, ACCEL_COPY, ASKING, source, target, PAGES * PAGE, 0, 0 };
    struct accel_completion c = work_run(&copy);
    expect(c.status == ACCEL_DONE, "copy of what is absent here and there", c.status);
    demo.count.mismatches +=
        memcmp(process_frame(p, SOURCE), process_frame(p, TARGET), PAGES * PAGE) != 0;
    expect(demo.count.page_requests - asked >= PAGES, "page requests of ours",
           demo.count.page_requests - asked);
    expect(served() - before >= 2, "page requests of Sluice's", served() - before);
    print(
        "copied %u pages, absent here or in the second stage: we served %lu page requests, Sluice "
        "%lu; %lu mismatches\n",
        PAGES, demo.count.page_requests - asked, served() - before, demo.count.mismatches);
    for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        ok(sluice_memory_on_demand(HC_MEMORY_PRESENT, absent[i].gpa, absent[i].pages * PAGE),
           "have memory again");
}

static void mapped(void)
{
    struct process owner = { .pasid = OWN, .base = SPACE_USER_BASE + 0x60000000 };
    const uint64_t asked = demo.count.page_requests, before = served();
    uint64_t iova = owner.base, fixed = owner.base + REGION_PAGES * PAGE;
    uint8_t *constant = pages_new(1);
    uint32_t ioas = 0;

    owner.frames = pages_new(REGION_PAGES);
    ok(ioas_create(0, 0, &ioas), "IOAS");
    ok(ioas_map(ioas, RW | HC_IOAS_FIXED | HC_IOAS_ON_DEMAND, &iova, (uint64_t)owner.frames,
                REGION_PAGES * PAGE),
       "map on demand");
    ok(ioas_map(ioas, HC_IOAS_READ | HC_IOAS_FIXED | HC_IOAS_ON_DEMAND, &fixed, (uint64_t)constant,
                PAGE),
       "map on demand");
    ok(sluice_attach(demo.device.device, OWN, HC_DOMAIN_PAGING, ioas, 0), "attach");
    struct work fill = { .process = &owner,
                         .operation = ACCEL_FILL,
                         .flags = ASKING,
                         .destination = owner.base,
                         .size = PAGES * PAGE,
                         .pattern = 0x7777 };
    struct accel_completion c = work_run(&fill);
    expect(c.status == ACCEL_DONE, "fill what is mapped on demand", c.status);
    for (unsigned i = 0; i < PAGES * PAGE / 8; i++)
        demo.count.mismatches += ((const uint64_t *)owner.frames)[i] != 0x7777;
    expect(served() > before && demo.count.page_requests == asked, "all of it was Sluice's", 0);
    fill.destination = fixed;
    fill.size = PAGE;
    c = work_run(&fill);
    expect(c.status == ACCEL_PAGE_INVALID && constant[0] == 0, "a write that is not allowed",
           c.status);
    ok(ioas_unmap(ioas, 0, owner.base, PAGES * PAGE, NULL), "unmap");
    fill.destination = owner.base;
    c = work_run(&fill);
    expect(c.status == ACCEL_PAGE_INVALID, "a write to what is unmapped", c.status);
    ok(sluice_attach(demo.device.device, OWN, HC_DOMAIN_BLOCKED, 0, 0), "BLOCKED");
    ok(ioas_destroy(ioas), "destroy");
    print("mapped %u pages on demand: %lu page requests brought what the device touched\n",
          REGION_PAGES, served() - before);
}

void scene_demand(void)
{
    if (!demo.on_demand) {
        print("no page requests: nothing can be on demand\n");
        return;
    }
    bound(&demo.process[0]);
    mapped();
}
