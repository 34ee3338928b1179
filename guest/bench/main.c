/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the calls cost, from the guest and back, in TSC ticks. Started with one tick per instruction
 * (QEMU -icount shift=0) these are instructions, the same in every run. Prints "@bench NAME VALUE".
 */
#include "guest/bench/bench.h"
#include "guest/lib/cpu.h"
#include "guest/lib/pci.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"

#define VA       BENCH_VA
#define ROUNDS   32u
#define REQUESTS 64u

struct accel accel;
struct hc_device_info device;
struct space space;
struct event_ring events;
struct command_ring commands;
uint32_t pasid;

void must(enum hv_status status, const char *what)
{
    if (status != HV_OK)
        fail("%s: %s", what, sluice_status_name(status));
}

static void quiet(struct interrupt_frame *frame)
{
    (void)frame;
}

void report(const char *name, uint64_t value)
{
    print("@bench %s %lu\n", name, value);
}

uint64_t clock_cost(void)
{
    uint64_t begin = rdtsc();

    return rdtsc() - begin;
}

uint64_t least(void (*once)(void))
{
    uint64_t best = ~0ull, own = clock_cost();

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t begin = rdtsc(), took;

        once();
        took = rdtsc() - begin - own;
        if (took < best)
            best = took;
    }
    return best;
}

static void set_up(void)
{
    uint32_t bond;
    uint64_t outstanding;
    int32_t rid = pci_find(ACCEL_PCI_ID, -1);

    if (rid < 0 || !accel_open(&accel, (uint32_t)rid))
        fail("no accelerator");
    must(sluice_device_info(0, &device), "device info");
    interrupt_handler(BENCH_EVENT_VECTOR, quiet);
    must(event_ring_open(&events, 512, BENCH_EVENT_VECTOR, 0), "event ring");
    must(command_ring_open(&commands, COMMANDS), "command ring");
    must(sluice_iopf_enable(device.device, HC_IOPF_BIND, &outstanding), "IOPF");
    if (outstanding < REQUESTS)
        fail("only %lu page requests at once", outstanding);
    space = space_new();
    must(sluice_bind(device.device, (uint64_t)space.root, HC_PASID_ANY, 0, &bond, &pasid), "bind");
}

static void null_call(void)
{
    /* Not sluice_call: its choice of the instruction is the caller's cost, not the call's. */
    uint64_t number = HC_NULL, value;

    __asm__ volatile("vmmcall" : "+a"(number), "=d"(value) : : "memory");
}

static void bind_unbind(void)
{
    static struct space other;
    uint32_t bond, id;

    if (!other.root)
        other = space_new();
    must(sluice_bind(device.device, (uint64_t)other.root, HC_PASID_ANY, 0, &bond, &id), "bind");
    must(sluice_unbind(bond, NULL), "unbind");
}

static void invalidate_call(void)
{
    must(sluice_invalidate_range(pasid, VA, PAGE, true), "invalidate");
}

static void ring_doorbell(void)
{
    uint64_t done = 0;

    must(sluice_call(HC_DOORBELL, 0, 0, 0, &done), "doorbell");
    if (done != COMMANDS && done != REQUESTS)
        fail("%lu commands ran", done);
}

void check_statuses(uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (commands.slot[(from + i) % COMMANDS].status != HV_OK)
            fail("command %u: status %d", i, commands.slot[(from + i) % COMMANDS].status);
}

static void invalidate_ring(void)
{
    uint64_t begin, took, best = ~0ull, own = clock_cost();

    for (unsigned round = 0; round < 4; round++) {
        uint32_t from = commands.header->producer;

        for (unsigned i = 0; i < COMMANDS; i++) {
            struct hc_invalidate args = {
                .size = sizeof(args),
                .flags = HC_INVALIDATE_LEAF,
                .kind = HC_INVALIDATE_RANGE,
                .pasid = pasid,
                .address = VA + 2 * i * PAGE, /* never neighbours */
                .bytes = PAGE,
            };
            if (!command_ring_put(&commands, HC_INVALIDATE, &args, sizeof(args)))
                fail("ring full");
        }
        begin = rdtsc();
        ring_doorbell();
        took = rdtsc() - begin - own;
        check_statuses(from, COMMANDS);
        if (took < best)
            best = took;
    }
    report("invalidate_page_ring", (best + COMMANDS - 1) / COMMANDS);
}

/*
 * 64 descriptors, an absent page each, started together: the device sends all its page requests
 * during one register write. Their interrupt comes when the emulator passes it on, while the guest
 * looks at its ring; the gap in the clock around that look is what forwarding took, both world
 * switches included.
 */
static uint64_t forward(uint64_t base, volatile struct accel_completion *records)
{
    uint64_t begin, took, own = clock_cost();

    accel_hold(&accel, true);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct accel_descriptor d = {
            .pasid = pasid | ACCEL_PASID,
            .operation = ACCEL_FILL,
            .flags = ACCEL_ATS | ACCEL_PAGE_REQUESTS,
            .destination = base + 2 * i * PAGE,
            .size = PAGE,
            .pattern = base,
            .completion = VA - PAGE + i * sizeof(struct accel_completion),
        };
        records[i].status = 0;
        accel_submit(&accel, &d);
    }
    begin = rdtsc(); /* it may come before the next instruction */
    accel_hold(&accel, false);
    for (uint64_t start = begin, before = 0;; begin += took, before = took) {
        uint32_t waiting = events.header->producer - events.header->consumer;

        took = rdtsc() - begin;
        /* It came before this look, or between the last one and the clock. */
        if (waiting == REQUESTS)
            return (took > before ? took : before) - own;
        if (waiting || begin - start > 1000000000)
            fail("%u page requests came at once, not %u", waiting, REQUESTS);
    }
}

/* Take the requests, map their pages, queue the answers. */
static void serve(uint8_t *frames, uint64_t base)
{
    struct hc_event e;
    uint64_t begin = rdtsc();

    for (unsigned n = 0; n < REQUESTS;) {
        if (!event_ring_take(&events, &e)) {
            if (rdtsc() - begin > 1000000000)
                fail("only %u page requests came", n);
            continue;
        }
        struct hc_page_response r = { .size = sizeof(r), .cookie = e.cookie };

        if (e.type != HC_EVENT_PAGE_REQUEST || !(e.flags & HC_PRQ_LAST))
            fail("event %u, flags %x", e.type, e.flags);
        space_map(&space, e.address, (uint64_t)frames + (e.address - base) / 2, true);
        if (!command_ring_put(&commands, HC_PAGE_RESPONSE, &r, sizeof(r)))
            fail("ring full");
        n++;
    }
}

static void page_requests(void)
{
    uint64_t best_forward = ~0ull, best_response = ~0ull, own = clock_cost();
    uint8_t *frames = pages_new(REQUESTS);
    volatile struct accel_completion *records = pages_new(1);

    space_map(&space, VA - PAGE, (uint64_t)records, true);
    for (unsigned round = 0; round < 4; round++) {
        uint64_t base = VA + 2 * round * REQUESTS * PAGE, begin, took;
        uint32_t from = commands.header->producer;

        took = forward(base, records);
        best_forward = took < best_forward ? took : best_forward;
        serve(frames, base);
        begin = rdtsc();
        must(sluice_call(HC_DOORBELL, 0, 0, 0, NULL), "doorbell");
        took = rdtsc() - begin - own;
        best_response = took < best_response ? took : best_response;
        check_statuses(from, REQUESTS);
        begin = rdtsc();
        for (unsigned i = 0; i < REQUESTS; i++)
            while (records[i].status != ACCEL_DONE)
                if (records[i].status || rdtsc() - begin > 1000000000)
                    fail("descriptor %u ended with %u", i, records[i].status);
    }
    report("page_request_forward", (best_forward + REQUESTS - 1) / REQUESTS);
    report("page_response_ring", (best_response + REQUESTS - 1) / REQUESTS);
}

int guest_main(void)
{
    report("null_hypercall", least(null_call));
    set_up();
    if (device.flags & HC_DEVICE_SHADOW) {
        report("shadow_bind_unbind", least(bind_unbind));
        bench_shadow();
        return 0;
    }
    report("bind_unbind", least(bind_unbind));
    report("invalidate_page_call", least(invalidate_call));
    invalidate_ring();
    page_requests();
    bench_events();
    bench_ioas();
    return 0;
}
