/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that misbehaves, and whose device does, to be started beside one that must not notice.
 * "mode=" on the command line says how. It ends with code 0 if Sluice did to it what it should.
 */
#include <string.h>

#include "guest/lib/accel.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/pci.h"
#include "guest/lib/rings.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"
#include "guest/lib/space.h"

#define EVENT_VECTOR               0x40
#define WANTED_VECTOR              0x41
#define PAGES                      32u
#define VA                         (SPACE_USER_BASE + 0x200000)
#define MISCHIEF_NO_INVALIDATION   1u
#define MISCHIEF_BEYOND_ALLOCATION 2u
#define MISCHIEF_WRONG_PASID       4u
#define MISCHIEF_NEVER_LAST        32u
#define MISCHIEF_VANISH            64u
#define LIMIT_US                   30000000ull

static struct accel accel;
static uint32_t device, pasid, bond;
static struct space space;
static struct event_ring events;
static uint8_t *frames;
static volatile struct accel_completion *records;
static uint64_t count[8]; /* events, by type */
static uint64_t refused;  /* interrupt messages, of the faults */
static bool serve = true; /* answer page requests */

static void must(enum hv_status status, enum hv_status wanted, const char *what)
{
    if (status != wanted)
        fail("%s: %s, not %s", what, sluice_status_name(status), sluice_status_name(wanted));
}

static void quiet(struct interrupt_frame *frame)
{
    (void)frame;
}

static uint32_t state_of(void)
{
    struct hc_device_info info;

    must(sluice_device_info(0, &info), HV_OK, "device info");
    return info.state;
}

/* What a device has to be given again after a reset. */
static void enable(void)
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

static void submit(unsigned record, uint64_t va, uint64_t size)
{
    struct accel_descriptor d = {
        .pasid = pasid | ACCEL_PASID,
        .operation = ACCEL_FILL,
        .flags = ACCEL_ATS | ACCEL_PAGE_REQUESTS,
        .destination = va,
        .size = size,
        .pattern = 0x1111111111111111ull,
        .completion = VA - PAGE + record * sizeof(struct accel_completion),
    };

    records[record].status = 0;
    accel_submit(&accel, &d);
}

static void take_events(void)
{
    struct hc_event e;

    interrupts_on();
    pause_once();
    interrupts_off();
    while (event_ring_take(&events, &e)) {
        count[e.type & 7]++;
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
static void wait(bool (*done)(void), bool taking, const char *what)
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

static bool idle(void)
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
    uint64_t x = option("seed", 1) * 0x9e3779b97f4a7c15ull;
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
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
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
    }
    if (!wanted || unwanted || !refused)
        fail("%lu interrupts of its own, %lu others, %lu reported", wanted, unwanted, refused);
}

static bool device_gone(void)
{
    return count[HC_EVENT_DEVICE_GONE] != 0;
}

/* Reset with page requests open and work in flight, again and again: each time it is as new. */
static void resets(void)
{
    for (unsigned round = 0; round < 5; round++) {
        uint32_t page = round * 4;
        serve = false;
        submit(0, VA + page * PAGE, 4 * PAGE);
        for (uint64_t begin = rdtsc(); rdtsc() - begin < round * 1000 * ticks_per_us();)
            take_events();
        must(sluice_device_reset(device), HV_OK, "reset");
        if (records[0].status == ACCEL_DONE || frames[(uint64_t)page * PAGE])
            fail("work went on");
        must(sluice_unbind(bond, NULL), HV_ENOENT, "unbind after the reset");
        if (state_of() != HC_DEVICE_OK || !accel_open(&accel, accel.rid))
            fail("not as new");
        enable();
        serve = true;
        submit(1, VA + page * PAGE, PAGE);
        wait(idle, true, "the device");
        if (records[1].status != ACCEL_DONE || !frames[(uint64_t)page * PAGE])
            fail("status %u after the reset", records[1].status);
    }
    if (count[HC_EVENT_DEVICE_FAILED] || count[HC_EVENT_DEVICE_GONE])
        fail("a reset was told as a failure");
}

/* The device is pulled out with work in flight: told once, and nothing waits for it. */
static void vanishes(void)
{
    serve = false;
    submit(0, VA, 4 * PAGE);
    accel_mischief(&accel, MISCHIEF_VANISH);
    wait(device_gone, true, "the event that the device is gone");
    if (state_of() != HC_DEVICE_GONE || pci_find(ACCEL_PCI_ID, -1) >= 0)
        fail("the device is still there");
    must(sluice_invalidate_range(pasid, VA, PAGE, true), HV_OK, "invalidation");
    must(sluice_device_reset(device), HV_EIO, "reset");
    uint32_t none[2];
    must(sluice_bind(device, (uint64_t)space.root, HC_PASID_ANY, 0, &none[0], &none[1]), HV_EIO,
         "bind");
    must(sluice_unbind(bond, NULL), HV_OK, "unbind");
    must(sluice_iopf_disable(device), HV_OK, "IOPF off");
    take_events();
    if (count[HC_EVENT_DEVICE_GONE] != 1 || count[HC_EVENT_DEVICE_FAILED])
        fail("told %lu times", count[HC_EVENT_DEVICE_GONE] + count[HC_EVENT_DEVICE_FAILED]);
}

/* Calls with numbers and arguments of chance. */
static void calls(void)
{
    uint64_t x = option("seed", 1) * 0x9e3779b97f4a7c15ull;

    for (unsigned i = 0; i < 20000; i++) {
        uint64_t a[4];

        for (unsigned k = 0; k < 4; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            a[k] = x >> (x & 63);
        }
        if (a[0] % HC_NUMBERS == HC_SHUTDOWN)
            continue;
        (void)!sluice_call(a[0] % HC_NUMBERS, a[1], a[2], a[3], NULL);
        if (i % 256 == 0)
            take_events();
    }
}

static const struct mode {
    const char *name;
    void (*run)(void);
} modes[] = {
    { "silent", silent },
    { "broken-ring", broken_ring },
    { "no-invalidation", no_invalidation },
    { "flood", flood },
    { "wrong-pasid", wrong_pasid },
    { "never-last", never_last },
    { "calls", calls },
    { "interrupts", interrupts },
    { "resets", resets },
    { "vanishes", vanishes },
};

int guest_main(void)
{
    const char *mode = option_text("mode");

    for (unsigned i = 0; mode && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strncmp(mode, modes[i].name, strlen(modes[i].name)))
            continue;
        print("misbehaving: %s\n", modes[i].name);
        set_up();
        modes[i].run();
        print("@test hostile_%s ok\n", modes[i].name);
        return 0;
    }
    fail("no such mode");
}
