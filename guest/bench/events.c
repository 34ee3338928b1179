/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From hardware's queue to the guest: one page request, one fault. Both come by the unit's
 * interrupt while the guest does nothing but read the clock; what passes between its last reading
 * and that in the handler of its own interrupt is theirs: both world switches, the event, the
 * interrupt.
 */
#include "guest/bench/bench.h"
#include "guest/lib/cpu.h"
#include "guest/lib/runtime.h"

#define ROUNDS  16u         /* more than faults have lines in the log at once */
#define PATIENT 1000000000u /* ticks */
#define RECORD  (BENCH_VA - 2 * PAGE)

static volatile uint64_t handled;

static void stamp(struct interrupt_frame *frame)
{
    (void)frame;
    handled = rdtsc();
}

/* A descriptor that meets the absent page at @address. */
static uint64_t disturb(uint64_t address, uint8_t flags, volatile struct accel_completion *record)
{
    struct accel_descriptor d = {
        .pasid = pasid | ACCEL_PASID,
        .operation = ACCEL_FILL,
        .flags = flags,
        .destination = address,
        .size = PAGE,
        .completion = RECORD,
    };
    uint64_t own = clock_cost(), start, last;

    record->status = 0;
    handled = 0;
    accel_hold(&accel, true);
    accel_submit(&accel, &d);
    start = last = rdtsc();
    interrupts_on();
    accel_hold(&accel, false);
    while (!handled) {
        last = rdtsc();
        if (last - start > PATIENT)
            fail("no interrupt came");
    }
    interrupts_off();
    return handled - last - own;
}

static struct hc_event take(uint32_t type)
{
    struct hc_event e;

    if (!event_ring_take(&events, &e) || e.type != type)
        fail("not event %u", type);
    return e;
}

static void wait_for(volatile struct accel_completion *record, uint8_t status)
{
    uint64_t start = rdtsc();

    while (!record->status)
        if (rdtsc() - start > PATIENT)
            fail("a descriptor does not end");
    if (record->status != status)
        fail("a descriptor ended with %u", record->status);
}

static uint64_t page_request(uint64_t address, volatile struct accel_completion *record)
{
    uint64_t took = disturb(address, ACCEL_ATS | ACCEL_PAGE_REQUESTS, record);
    struct hc_event e = take(HC_EVENT_PAGE_REQUEST);

    space_map(&space, e.address, (uint64_t)pages_new(1), true);
    must(sluice_page_response(e.cookie, HC_RESPONSE_SUCCESS), "page response");
    wait_for(record, ACCEL_DONE);
    return took;
}

static uint64_t fault(uint64_t address, volatile struct accel_completion *record)
{
    uint64_t took = disturb(address, 0, record);

    (void)take(HC_EVENT_FAULT);
    wait_for(record, ACCEL_REFUSED);
    return took;
}

static void measure(const char *name, uint64_t address,
                    uint64_t (*once)(uint64_t, volatile struct accel_completion *),
                    volatile struct accel_completion *record)
{
    uint64_t best = ~0ull;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t took = once(address + i * PAGE, record);
        best = took < best ? took : best;
    }
    report(name, best);
}

void bench_events(void)
{
    volatile struct accel_completion *record = pages_new(1);

    space_map(&space, RECORD, (uint64_t)record, true);
    interrupt_handler(BENCH_EVENT_VECTOR, stamp);
    interrupts_on(); /* what pends from before */
    pause_once();    /* not before the instruction behind the one that lets them in */
    interrupts_off();
    measure("page_request_to_guest", BENCH_VA + (16ull << 20), page_request, record);
    measure("fault_to_guest", BENCH_VA + (32ull << 20), fault, record);
}
