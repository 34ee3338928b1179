/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that misbehaves, and whose device does, to be started beside one that must not notice.
 * "mode=" on the command line says how. It ends with code 0 if Sluice did to it what it should.
 */
#include <string.h>

#include "guest/hostile/hostile.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/pci.h"

#define EVENT_VECTOR               0x40
#define WANTED_VECTOR              0x41
#define MISCHIEF_NO_INVALIDATION   1u
#define MISCHIEF_BEYOND_ALLOCATION 2u
#define MISCHIEF_WRONG_PASID       4u
#define MISCHIEF_NEVER_LAST        32u
#define LIMIT_US                   30000000ull

struct accel accel;
uint32_t device, pasid, bond;
struct space space;
uint8_t *frames;
uint64_t count[8];
static struct event_ring events;
volatile struct accel_completion *records;
static uint64_t refused, last_told; /* of the faults: interrupt messages; those with LAST set */
bool serve = true;

void must(enum hv_status status, enum hv_status wanted, const char *what)
{
    if (status != wanted)
        fail("%s: %s, not %s", what, sluice_status_name(status), sluice_status_name(wanted));
}

static void quiet(struct interrupt_frame *frame)
{
    (void)frame;
}

void enable(void)
{
    uint64_t outstanding;

    must(sluice_iopf_enable(device, HC_IOPF_BIND, &outstanding), HV_OK, "IOPF");
    must(sluice_bind(device, (uint64_t)space.root, HC_PASID_ANY, 0, &bond, &pasid), HV_OK, "bind");
}

static void set_up(void)
{
    struct hc_device_info info;
    int32_t rid = pci_find(ACCEL_PCI_ID, -1);

    if (rid < 0 || !accel_open(&accel, (uint32_t)rid))
        fail("no accelerator");
    must(sluice_device_info(0, &info), HV_OK, "device info");
    device = info.device;
    interrupt_handler(EVENT_VECTOR, quiet);
    must(event_ring_open(&events, 256, EVENT_VECTOR, 0), HV_OK, "event ring");
    space = space_new();
    frames = pages_new(PAGES);
    records = pages_new(1);
    enable();
    space_map(&space, VA - PAGE, (uint64_t)records, true);
}

static void submit_with(unsigned record, uint64_t va, uint64_t size, uint8_t flags)
{
    struct accel_descriptor d = {
        .pasid = pasid | ACCEL_PASID,
        .operation = ACCEL_FILL,
        .flags = flags,
        .destination = va,
        .size = size,
        .pattern = 0x1111111111111111ull,
        .completion = VA - PAGE + record * sizeof(struct accel_completion),
    };

    records[record].status = 0;
    accel_submit(&accel, &d);
}

void submit(unsigned record, uint64_t va, uint64_t size)
{
    submit_with(record, va, size, ACCEL_ATS | ACCEL_PAGE_REQUESTS);
}

void take_events(void)
{
    struct hc_event e;

    interrupts_on();
    pause_once();
    interrupts_off();
    while (event_ring_take(&events, &e)) {
        count[e.type & 7]++;
        last_told += e.type == HC_EVENT_FAULT && e.flags & HC_FAULT_LAST;
        refused += e.type == HC_EVENT_FAULT && e.reason == HC_FAULT_INTERRUPT;
        if (e.type != HC_EVENT_PAGE_REQUEST || !serve)
            continue;
        if (e.address >= VA && e.address < VA + PAGES * PAGE)
            space_map(&space, e.address, (uint64_t)frames + (e.address - VA), true);
        if (e.flags & HC_PRQ_LAST)
            (void)!sluice_page_response(e.cookie, HC_RESPONSE_SUCCESS);
    }
}

/* Wait until @done says so, taking events if @taking. */
void wait(bool (*done)(void), bool taking, const char *what)
{
    uint64_t begin = rdtsc();

    while (!done()) {
        if (taking)
            take_events();
        if (rdtsc() - begin > LIMIT_US * ticks_per_us())
            fail("waited in vain for %s", what);
    }
}

static bool first_record(void)
{
    return records[0].status != 0;
}

bool idle(void)
{
    return !accel_busy(&accel);
}

static bool group_expired(void)
{
    return count[HC_EVENT_GROUP_EXPIRED] != 0;
}

static bool device_failed(void)
{
    return count[HC_EVENT_DEVICE_FAILED] != 0;
}

/* Never answers a page request: the deadline does, for this guest alone. */
static void silent(void)
{
    serve = false;
    submit(0, VA, PAGE);
    wait(group_expired, true, "the deadline");
    wait(first_record, true, "the device");
    if (records[0].status != ACCEL_PAGE_INVALID)
        fail("status %u", records[0].status);
}

/* Breaks the indices of its event ring: its own page requests are refused. */
static void broken_ring(void)
{
    events.header->consumer = events.header->producer + 1000;
    submit(0, VA, PAGE);
    wait(first_record, false, "the device");
    if (records[0].status != ACCEL_PAGE_INVALID)
        fail("status %u", records[0].status);
}

/* The device does not answer invalidations: it alone is blocked. */
static void no_invalidation(void)
{
    submit(0, VA, 4 * PAGE);
    wait(first_record, true, "the device");
    if (records[0].status != ACCEL_DONE)
        fail("status %u", records[0].status);
    accel_mischief(&accel, MISCHIEF_NO_INVALIDATION);
    /* Nothing stale is left, as the device is cut off: the call holds, the event tells the price.
     */
    must(sluice_invalidate_range(pasid, VA, PAGE, true), HV_OK, "invalidation");
    wait(device_failed, true, "the event that the device failed");
    accel_mischief(&accel, 0);
    submit(1, VA + 8 * PAGE, PAGE);
    wait(idle, true, "the device");
    if (records[1].status == ACCEL_DONE || frames[8 * PAGE])
        fail("a failed device still reaches memory");
}

/* More page requests than it was allowed. */
static void flood(void)
{
    accel_mischief(&accel, MISCHIEF_BEYOND_ALLOCATION);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < PAGES; i++)
            (void)space_unmap(&space, VA + i * PAGE);
        (void)!sluice_invalidate_range(pasid, VA, PAGES * PAGE, true);
        for (unsigned i = 0; i < PAGES; i++)
            submit(i, VA + i * PAGE, PAGE);
        wait(idle, true, "the device");
    }
}

/* Page requests for a PASID that is not bound. */
static void wrong_pasid(void)
{
    accel_mischief(&accel, MISCHIEF_WRONG_PASID);
    submit(0, VA, PAGE);
    wait(idle, true, "the device");
    if (records[0].status == ACCEL_DONE)
        fail("served under a PASID that is not bound");
}

/* A group that never ends is dropped, not kept for ever. */
static void never_last(void)
{
    accel_mischief(&accel, MISCHIEF_NEVER_LAST);
    for (unsigned i = 0; i < 8; i++)
        submit(i, VA + i * PAGE, PAGE);
    for (uint64_t begin = rdtsc(); rdtsc() - begin < 200000 * ticks_per_us();)
        take_events();
}

static volatile uint64_t wanted, unwanted; /* interrupts */

static void on_wanted(struct interrupt_frame *frame)
{
    (void)frame;
    wanted++;
}

static void on_unwanted(struct interrupt_frame *frame)
{
    (void)frame;
    unwanted++;
}

/* All its messages aim at what is not its own: other handles, other formats, any CPU and vector; in
 * between it floods itself with the one that is. */
static void interrupts(void)
{
    uint32_t address, data;

    for (unsigned v = 32; v < 255; v++)
        if (v != EVENT_VECTOR)
            interrupt_handler((uint8_t)v, v == WANTED_VECTOR ? on_wanted : on_unwanted);
    must(sluice_device_irq(device, 0, 0, WANTED_VECTOR, &address, &data), HV_OK, "interrupt");
    accel_message(&accel, 0, address, data);
    submit(0, VA, PAGES * PAGE); /* the records' page, and all others, are there from here on */
    wait(first_record, true, "the device");
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned n = 1; n < 16; n++) {
            uint64_t x = chance();
            uint32_t handle = x & 0x10 ? (uint32_t)(x >> 8) & 0xf : (uint32_t)(x >> 8) & 0x7fff;
            uint32_t raw = 0xfee00000u | (x & 0x10 ? 0x10 | handle << 5 : x >> 8 & 0xfffec);
            accel_message(&accel, n, raw == address ? raw + 32 : raw, (uint32_t)(x >> 40));
        }
        for (unsigned n = 0; n < 32; n++) {
            struct accel_descriptor nop = {
                .pasid = pasid | ACCEL_PASID,
                .operation = ACCEL_NOP,
                .flags = ACCEL_ATS | ACCEL_PAGE_REQUESTS | ACCEL_INTERRUPT,
                .interrupt = (uint16_t)(n % 16),
                .completion = VA - PAGE + n * sizeof(struct accel_completion),
            };
            accel_submit(&accel, &nop);
        }
        wait(idle, true, "the device");
        take_events(); /* at least once, however quick the device was */
    }
    if (!wanted || unwanted || !refused)
        fail("%lu interrupts of its own, %lu others, %lu reported", wanted, unwanted, refused);
}

#define SECOND_LIMIT 256u /* of faults of a device that are told (docs/abi.md) */
#define ROUNDS       200u

/* Refused DMAs without end. The unit loses those that it has no place to record; of those that it
 * has, so many are told in a second, and then no more. */
static void faults(void)
{
    uint64_t begin, most = 0, sent = 0, told = 0;

    submit(0, VA, PAGE); /* the records' page is there from here on */
    wait(first_record, true, "the device");
    for (unsigned round = 0; round < ROUNDS && !last_told; round++) {
        count[HC_EVENT_FAULT] = 0;
        for (begin = rdtsc(); rdtsc() - begin < 1000000 * ticks_per_us() && !last_told;) {
            for (unsigned i = 0; i < PAGES; i++) {
                submit_with(i, VA + (PAGES + i) * PAGE, PAGE, 0);
                take_events();
            }
            sent += PAGES;
            wait(idle, true, "the device");
            if (++round >= ROUNDS)
                break;
        }
        told += count[HC_EVENT_FAULT];
        most = count[HC_EVENT_FAULT] > most ? count[HC_EVENT_FAULT] : most;
    }
    print("%lu faults, %lu told, at most %lu in a second%s\n", sent, told, most,
          last_told ? ", then no more" : "");
    if (!told || told > sent || most > 2 * SECOND_LIMIT || (most > SECOND_LIMIT && !last_told))
        fail("not as it should be");
    count[HC_EVENT_FAULT] = 0;
    submit_with(0, VA + PAGES * PAGE, PAGE, 0);
    for (begin = rdtsc(); rdtsc() - begin < 100000 * ticks_per_us();)
        take_events();
    if (last_told && count[HC_EVENT_FAULT])
        fail("a fault was told after the last");
}

static const struct mode {
    const char *name;
    void (*run)(void);
} modes[] = {
    { "silent", silent }, { "broken-ring", broken_ring }, { "no-invalidation", no_invalidation },
    { "flood", flood },   { "wrong-pasid", wrong_pasid }, { "never-last", never_last },
    { "calls", calls },   { "interrupts", interrupts },   { "commands", commands },
    { "faults", faults }, { "tables", tables },           { "race", race },
    { "resets", resets }, { "vanishes", vanishes },
};

int guest_main(void)
{
    const char *mode = option_text("mode");

    for (unsigned i = 0; mode && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strncmp(mode, modes[i].name, strlen(modes[i].name)))
            continue;
        print("misbehaving: %s, seed %lu\n", modes[i].name, option("seed", 1));
        set_up();
        modes[i].run();
        print("@test hostile_%s ok\n", modes[i].name);
        return 0;
    }
    fail("no such mode");
}
