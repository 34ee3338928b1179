/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "guest/demo/demo.h"

#define WITH_PAGE_REQUESTS (ACCEL_ATS | ACCEL_PAGE_REQUESTS)
#define RUN_BYTES          (15 * PAGE + 123) /* ends inside a page */

/* CRC-32C, bit by bit (reflected polynomial 0x82f63b78), to check the device with something else.
 */
static uint32_t crc32c(const uint8_t *data, uint64_t size)
{
    uint32_t crc = 0xffffffff;

    while (size--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

void scene_blocked(void)
{
    uint8_t *page = pages_new(2);
    struct work w = { NULL, ACCEL_FILL, 0, 0, (uint64_t)page, PAGE, ~0ull };
    struct accel_completion c = work_run(&w);

    expect(c.status == 0 && page[0] == 0, "a device without a domain reached memory", c.status);
    print("nothing attached yet: a DMA was refused\n");
}

/* The four operations on memory that no page table maps yet. */
static void share(struct process *p, unsigned index)
{
    uint64_t source = process_address(p, SOURCE) + 45, target = process_address(p, TARGET);
    struct work copy = { p, ACCEL_COPY, WITH_PAGE_REQUESTS, source, target, RUN_BYTES, 0 };
    struct accel_completion c = work_run(&copy);

    expect(c.status == ACCEL_DONE && c.bytes == RUN_BYTES, "copy", c.status);
    demo.count.mismatches +=
        memcmp(process_frame(p, SOURCE) + 45, process_frame(p, TARGET), RUN_BYTES) != 0;

    struct work rest[] = {
        { p, ACCEL_COMPARE, WITH_PAGE_REQUESTS, source, target, RUN_BYTES, 0 },
        { p, ACCEL_COMPARE, WITH_PAGE_REQUESTS, source + 1, target, RUN_BYTES, 0 },
        { p, ACCEL_CRC, WITH_PAGE_REQUESTS, source, 0, RUN_BYTES, 0 },
        { p, ACCEL_FILL, WITH_PAGE_REQUESTS, 0, process_address(p, MOVING), 16 * PAGE,
          0x0123456789abcdefull + index },
    };
    struct accel_completion out[4];
    work_run_all(rest, 4, out);
    for (unsigned i = 0; i < 4; i++)
        expect(out[i].status == ACCEL_DONE, "operation", i);
    demo.count.mismatches += out[0].result != 0;
    demo.count.mismatches += out[1].result != 1;
    demo.count.mismatches += out[2].crc != crc32c(process_frame(p, SOURCE) + 45, RUN_BYTES);

    /* The process itself, at its own addresses, sees what the device wrote. */
    space_enter(&p->space);
    const volatile uint64_t *filled = (const volatile uint64_t *)process_address(p, MOVING);
    for (unsigned i = 0; i < 16 * PAGE / 8; i += 64)
        demo.count.mismatches += filled[i] != 0x0123456789abcdefull + index;
    space_leave();
}

void scene_share(void)
{
    for (unsigned i = 0; i < PROCESSES; i++) {
        uint64_t before = demo.count.page_requests;

        share(&demo.process[i], i);
        print(
            "process %u (PASID %u): copy, compare, CRC and fill on absent pages, %lu page requests "
            "served\n",
            i, demo.process[i].pasid, demo.count.page_requests - before);
        expect(demo.count.page_requests > before, "no page request came", i);
    }
    print("both processes use address %#lx; %lu mismatches\n",
          process_address(&demo.process[0], SOURCE), demo.count.mismatches);
}

/* Does the device see @frame's contents at @page? */
static void check_page(struct process *p, unsigned page, const uint8_t *frame)
{
    struct work crc = { p, ACCEL_CRC, WITH_PAGE_REQUESTS, process_address(p, page), 0, PAGE, 0 };
    struct accel_completion c = work_run(&crc);

    expect(c.status == ACCEL_DONE, "CRC", c.status);
    demo.count.mismatches += c.crc != crc32c(frame, PAGE);
}

#define MOVED_PAGES 16

void scene_remap(void)
{
    struct process *p = &demo.process[0];
    uint8_t *other = pages_new(MOVED_PAGES);
    uint32_t done, failed;

    for (uint64_t i = 0; i < MOVED_PAGES * PAGE; i++)
        other[i] = (uint8_t)(i * 7 + (i >> 12));
    check_page(p, MOVING, process_frame(p, MOVING));
    space_map(&p->space, process_address(p, MOVING), (uint64_t)other, true);
    enum hv_status status =
        sluice_invalidate_range(p->pasid, process_address(p, MOVING), PAGE, true);
    expect(status == HV_OK, "invalidate", (uint64_t)-(int64_t)status);
    check_page(p, MOVING, other);

    for (unsigned i = 1; i < MOVED_PAGES; i++) {
        struct hc_invalidate args = {
            .size = sizeof(args),
            .flags = HC_INVALIDATE_LEAF,
            .kind = HC_INVALIDATE_RANGE,
            .pasid = p->pasid,
            .address = process_address(p, MOVING + i),
            .bytes = PAGE,
        };
        space_map(&p->space, process_address(p, MOVING + i), (uint64_t)(other + i * PAGE), true);
        expect(command_ring_put(&demo.commands, HC_INVALIDATE, &args, sizeof(args)), "ring full",
               i);
    }
    status = command_ring_run(&demo.commands, &done, &failed);
    expect(status == HV_OK && done == MOVED_PAGES - 1 && !failed, "command ring", failed);
    for (unsigned i = 1; i < MOVED_PAGES; i++)
        check_page(p, MOVING + i, other + i * PAGE);
    print("moved %u pages, invalidated 1 by call and %u by ring with one exit; the device follows, "
          "%lu mismatches\n",
          MOVED_PAGES, done, demo.count.mismatches);

    /* Taken away: the device has to ask again. */
    uint64_t before = demo.count.page_requests;
    space_unmap(&p->space, process_address(p, MOVING));
    status = sluice_invalidate_range(p->pasid, process_address(p, MOVING), PAGE, true);
    expect(status == HV_OK, "invalidate", (uint64_t)-(int64_t)status);
    check_page(p, MOVING, process_frame(p, MOVING));
    expect(demo.count.page_requests > before, "an unmapped page was still reached", 0);
    print("unmapped a page: the device asked for it again\n");
}

void scene_identity(void)
{
    uint8_t *page = pages_new(2);
    struct work w = { NULL, ACCEL_FILL, 0, 0, (uint64_t)page + PAGE, PAGE, 0x5555aaaa5555aaaaull };
    enum hv_status status =
        sluice_attach(demo.device.device, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0, 0);

    expect(status == HV_OK, "attach IDENTITY", (uint64_t)-(int64_t)status);
    struct accel_completion c = work_run(&w);
    expect(c.status == ACCEL_DONE, "fill by requester id", c.status);
    demo.count.mismatches += *(uint64_t *)(page + PAGE) != w.pattern || page[PAGE - 1] != 0;
    print("requester id attached to guest-physical memory: DMA without PASID works\n");
}

/* One try to reach memory that is not ours, in one direction, with one kind of request. */
static void try_escape(const struct work *w)
{
    struct accel_completion c = work_run(w);

    if (c.status == ACCEL_DONE)
        demo.count.escapes_succeeded++;
    else
        demo.count.escapes_refused++;
}

/* What the unit said about the last one, in words. */
static void show_fault(void)
{
    static const char *const words[] = {
        [HC_FAULT_OTHER] = "refused",
        [HC_FAULT_BLOCKED] = "nothing attached",
        [HC_FAULT_FIRST_STAGE] = "our own table forbids it",
        [HC_FAULT_SECOND_STAGE] = "outside our memory",
        [HC_FAULT_ADDRESS] = "no valid address",
        [HC_FAULT_INTERRUPT] = "no interrupt of ours",
    };
    const struct hc_event *e = &demo.last_fault;

    if (e->type != HC_EVENT_FAULT)
        return;
    print("    the last fault: %s of %#lx%s: %s (unit's code %#x)\n",
          e->flags & HC_PRQ_WRITE ? "write" : "read", e->address,
          e->flags & HC_PRQ_PASID ? " with PASID" : " by requester id",
          e->reason < sizeof(words) / sizeof(words[0]) ? words[e->reason] : "?", e->detail);
}

static void escape_to(uint64_t gpa)
{
    static const uint8_t kinds[] = { 0, ACCEL_ATS, WITH_PAGE_REQUESTS };
    struct process *p = &demo.process[1];
    uint64_t va = process_address(p, REGION_PAGES + 1), own = process_address(p, TARGET);

    /* A first-stage entry of ours that points out of our memory. */
    space_map(&p->space, va, gpa, true);
    for (unsigned k = 0; k < sizeof(kinds); k++) {
        try_escape(&(struct work){ p, ACCEL_COPY, kinds[k], va, own, PAGE, 0 });
        try_escape(&(struct work){ p, ACCEL_FILL, kinds[k], 0, va, PAGE, ~0ull });
    }
    space_unmap(&p->space, va);
    expect(sluice_invalidate_range(p->pasid, va, PAGE, true) == HV_OK, "invalidate", 0);

    /* The same by requester id, which is attached to guest-physical memory. */
    uint64_t mine = (uint64_t)process_frame(p, TARGET);
    try_escape(&(struct work){ NULL, ACCEL_COPY, 0, gpa, mine, PAGE, 0 });
    try_escape(&(struct work){ NULL, ACCEL_FILL, 0, 0, gpa, PAGE, ~0ull });
}

void scene_escape(void)
{
    static const char *const names[] = { "other-guest", "hypervisor", "device-space" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t gpa = option(names[i], 0), refused = demo.count.escapes_refused;

        if (!gpa)
            continue;
        escape_to(gpa & ~(PAGE - 1));
        print("%s at %#lx: %lu tries refused, %lu got through\n", names[i], gpa,
              demo.count.escapes_refused - refused, demo.count.escapes_succeeded);
        events_serve();
        show_fault();
    }

    /* A PASID that nobody bound. */
    struct process stranger = demo.process[0];
    stranger.pasid += 4711;
    try_escape(&(struct work){ &stranger, ACCEL_FILL, 0, 0, process_address(&stranger, TARGET),
                               PAGE, ~0ull });
    /* Kernel pages of our own process: present, but not for user requests. */
    try_escape(&(struct work){ &demo.process[0], ACCEL_FILL, 0, 0, (uint64_t)&demo, 8, ~0ull });
    print("the unit reported %lu faults to us\n", demo.count.faults);
}

void scene_unbind(void)
{
    for (unsigned i = 0; i < PROCESSES; i++) {
        struct process *p = &demo.process[i];
        uint8_t before = process_frame(p, TARGET)[0];
        uint64_t left = 1;
        enum hv_status status = sluice_unbind(p->bond, &left);

        expect(status == HV_OK && left == 0, "unbind", (uint64_t)-(int64_t)status);
        for (unsigned ats = 0; ats < 2; ats++) {
            struct work w = {
                p,    ACCEL_FILL,       ats ? WITH_PAGE_REQUESTS : 0, 0, process_address(p, TARGET),
                PAGE, ~(uint64_t)before
            };
            struct accel_completion c = work_run(&w);

            expect(c.status == 0 && process_frame(p, TARGET)[0] == before, "DMA after unbind", i);
            demo.count.blocked_after_unbind += c.status == 0;
        }
    }
    print("unbound: %lu DMAs after that were refused\n", demo.count.blocked_after_unbind);
    expect(sluice_attach(demo.device.device, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0, 0) == HV_OK,
           "attach BLOCKED", 0);
    struct accel_completion c = work_run(&(struct work){
        NULL, ACCEL_FILL, 0, 0, (uint64_t)process_frame(&demo.process[0], 0), PAGE, 0 });
    expect(c.status == 0, "DMA with BLOCKED attached", c.status);
}
