/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Rings: set-up, indices that lie, interrupts, room; commands by doorbell. */
#include <string.h>

#include "tests/unit/abi_vm.h"

#pragma clang diagnostic ignored "-Winitializer-overrides" /* cases are a good call with a fault   \
                                                            */

static struct hc_ring *events(void)
{
    return ram(vm_a, RING_BASE);
}

static struct hc_ring *commands(void)
{
    return ram(vm_a, COMMANDS);
}

static void request(uint16_t group)
{
    fake_request(DEV0, &(struct iommu_page_request){ .rid = DEV0,
                                                     .pasid_present = true,
                                                     .pasid = 1,
                                                     .read = true,
                                                     .last = true,
                                                     .group = group,
                                                     .address = IOVA(0x5000) });
}

static void fault(uint64_t address)
{
    device_events.fault(fake.device[0], &(struct iommu_fault){ .rid = DEV0,
                                                               .address = IOVA(address),
                                                               .class = IOMMU_FAULT_BLOCKED,
                                                               .code = 0x58,
                                                               .text = "test" });
}

/* --- Set-up ----------------------------------------------------------------------------------- */

static void wrong_rings_are_refused(void **state)
{
    static const struct {
        enum hv_status event, command;
        struct hc_ring_setup in;
    } cases[] = {
#define RING(...) { .base = RING_BASE, .entries = 64, .vector = 0x40, __VA_ARGS__ }
        { HV_EINVAL, HV_EINVAL, RING(.flags = 1) },
        { HV_EINVAL, HV_EINVAL, RING(.reserved = 1) },
        { HV_EINVAL, HV_EINVAL, RING(.entries = 17) },
        { HV_EINVAL, HV_EINVAL, RING(.entries = 4097) },
        { HV_ERANGE, HV_ERANGE, RING(.entries = 0) },
        { HV_ERANGE, HV_ERANGE, RING(.entries = 8) },
        { HV_ERANGE, HV_ERANGE, RING(.entries = 8192) },
        { HV_ERANGE, HV_ERANGE, RING(.entries = 1u << 31) },
        { HV_EALIGN, HV_EALIGN, RING(.base = RING_BASE + 64) },
        { HV_EFAULT, HV_EFAULT, RING(.base = OUTSIDE) },
        { HV_EFAULT, HV_EFAULT, RING(.base = RAM_SIZE - 4096) }, /* only the header is inside */
        { HV_EFAULT, HV_EFAULT, RING(.base = RAM_SIZE - 4096, .entries = 16) },
        { HV_EFAULT, HV_EFAULT, RING(.base = ~0xfffull) },
        { HV_ERANGE, HV_EINVAL, RING(.vector = 31) },
        { HV_ERANGE, HV_EINVAL, RING(.vector = 256) },
        { HV_ERANGE, HV_EINVAL, RING(.vcpu = 2) },
        { HV_ERANGE, HV_EINVAL, RING(.vcpu = 0xffffffff) },
        { HV_EINVAL, HV_EINVAL, { .entries = 64 } }, /* removing takes nothing else */
        { HV_ENOENT, HV_ENOENT, { 0 } },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_refused(call_with(vm_a, HC_EVENT_RING, cases[i].in), cases[i].event);
        assert_refused(call_with(vm_a, HC_COMMAND_RING, cases[i].in), cases[i].command);
    }
    /* The last page that a small ring needs is the last of RAM. */
    struct hc_ring_setup last = {
        .base = RAM_SIZE - 8192, .entries = 64, .vector = 255, .vcpu = 1
    };
    assert_int_equal(call_with(vm_a, HC_EVENT_RING, last), HV_OK);
}

static void a_ring_is_set_once_and_kept_while_in_use(void **state)
{
    struct hc_ring_setup in = RING(), none = { 0 };

    (void)state;
    event_ring(vm_a, 64);
    command_ring(vm_a, 64);
    assert_refused(call_with(vm_a, HC_EVENT_RING, in), HV_EEXIST);
    struct hc_ring_setup command = { .base = COMMANDS, .entries = 64 };
    assert_refused(call_with(vm_a, HC_COMMAND_RING, command), HV_EEXIST);
    assert_int_equal(call_with(vm_a, HC_COMMAND_RING, none), HV_OK);
    assert_int_equal(call_with(vm_a, HC_COMMAND_RING, command), HV_OK);
    iopf_on(vm_a, 0);
    assert_refused(call_with(vm_a, HC_EVENT_RING, none), HV_EBUSY);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    assert_int_equal(call_with(vm_a, HC_EVENT_RING, none), HV_OK);
    assert_int_equal(call_with(vm_a, HC_EVENT_RING, in), HV_OK);
}

/* --- Events ----------------------------------------------------------------------------------- */

/* One interrupt when there was nothing, none while the guest has not caught up, one a batch. */
static void interrupts_come_when_the_guest_could_sleep(void **state)
{
    struct hc_event e;

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    for (unsigned i = 0; i < 5; i++)
        request((uint16_t)i);
    assert_int_equal(abi_calls.interrupts, 0);
    device_events.page_requests_done();
    assert_int_equal(abi_calls.interrupts, 1);
    device_events.page_requests_done(); /* nothing new */
    assert_int_equal(abi_calls.interrupts, 1);
    request(5); /* it was told of five and has taken none: it will look again before it sleeps */
    device_events.page_requests_done();
    assert_int_equal(abi_calls.interrupts, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_true(take_event(vm_a, &e));
    request(6); /* all that it was told of is taken: it may sleep by now */
    device_events.page_requests_done();
    assert_int_equal(abi_calls.interrupts, 2);
    while (take_event(vm_a, &e))
        continue;
    fault(0x1000);
    assert_int_equal(abi_calls.interrupts, 3);
    assert_true(take_event(vm_a, &e));
    request(7);
    while (take_event(vm_a, &e)) /* it polls: nothing is left to tell */
        continue;
    device_events.page_requests_done();
    assert_int_equal(abi_calls.interrupts, 3);
}

static void indices_wrap(void **state)
{
    struct hc_event e;

    (void)state;
    event_ring(vm_a, 16);
    for (unsigned i = 0; i < 1000; i++) {
        fault(i * 0x1000ull);
        fault(i * 0x1000ull + 0x800);
        for (unsigned n = 0; n < 2; n++) {
            assert_true(take_event(vm_a, &e));
            assert_int_equal(e.type, HC_EVENT_FAULT);
            assert_int_equal(e.address, i * 0x1000ull);
            assert_int_equal(e.reason, HC_FAULT_BLOCKED);
            assert_int_equal(e.detail, 0x58);
            assert_int_equal(e.pasid, HC_PASID_NONE);
        }
    }
    assert_int_equal(events()->producer, 2000);
    /* And at 2^32, where a free running index starts over. */
    vm_a->rings->event.producer = vm_a->rings->event.consumer = vm_a->rings->notified = 0xfffffffeu;
    events()->producer = events()->consumer = 0xfffffffeu;
    unsigned interrupts = abi_calls.interrupts;
    for (unsigned i = 0; i < 4; i++) {
        fault(0);
        assert_true(take_event(vm_a, &e));
    }
    assert_int_equal(events()->producer, 2);
    assert_int_equal(abi_calls.interrupts, interrupts + 4);
}

/* Faults never take the room that page requests were promised. */
static void other_events_are_lost_before_page_requests_are(void **state)
{
    unsigned promised, faults = 0;
    struct hc_event e;

    (void)state;
    event_ring(vm_a, 32);
    promised = (unsigned)iopf_on(vm_a, 0);
    bind(vm_a, 0, ROOT(1), NULL);
    request(0);
    for (unsigned i = 0; i < 100; i++)
        fault(0x1000);
    assert_int_equal(events_waiting(vm_a), 32 - (promised - 1));
    assert_int_equal(events()->lost, 100 - (events_waiting(vm_a) - 1));
    assert_int_equal(vm_a->stats.events_lost, events()->lost);
    assert_int_equal(vm_a->stats.faults, 100);
    for (unsigned i = 1; i < promised; i++)
        request((uint16_t)i);
    device_events.page_requests_done();
    assert_int_equal(events_waiting(vm_a), 32);
    assert_int_equal(vm_a->stats.page_requests_lost, 0);
    assert_int_equal(fake.answers, 0);
    while (take_event(vm_a, &e))
        faults += e.type == HC_EVENT_FAULT;
    assert_int_equal(faults, 32 - promised);
    fault(0x2000); /* there is room again */
    assert_int_equal(events_waiting(vm_a), 1);
}

static void without_a_ring_events_are_counted(void **state)
{
    (void)state;
    fault(0x1000);
    assert_int_equal(vm_a->stats.events_lost, 1);
    assert_int_equal(vm_a->stats.faults, 1);
    device_events.fault(NULL, &(struct iommu_fault){ .rid = 0x999, .text = "of nobody" });
    assert_true(platform_logged("of nobody"));
    assert_int_equal(vm_a->stats.events_lost + vm_b->stats.events_lost, 1);
}

/* Backwards, past the end: the ring stops, what waited is answered INVALID, once; the next ring
 * works. */
static void a_broken_consumer_index_stops_the_ring(void **state)
{
    struct hc_ring_setup again = { .base = RING_BASE, .entries = 256, .vector = 0x41 };
    struct hc_ring_setup small = { .base = RING_BASE, .entries = 16, .vector = 0x41 };
    static const uint32_t lies[] = { 5, 0xffffffff, 0x80000000, 1 }; /* true: 2 to 4 */
    struct hc_event e;

    (void)state;
    uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        unsigned answers = fake.answers;
        uint64_t cookie = 0;
        for (unsigned n = 0; n < 3; n++)
            request((uint16_t)n);
        for (unsigned n = 0; n < 2; n++) {
            assert_true(take_event(vm_a, &e));
            cookie = e.cookie;
        }
        device_events.page_requests_done(); /* believed: 2 */
        events()->consumer = lies[i];
        request(9);
        device_events.page_requests_done();
        assert_true(vm_a->rings->event.stopped);
        assert_int_equal(fake.answers - answers, 4);
        for (unsigned n = answers; n < fake.answers; n++)
            assert_true(!fake.answer[n].success && fake.answer[n].flushed);
        request(10);
        device_events.page_requests_done();
        assert_int_equal(fake.answers - answers, 5);
        struct hc_page_response response = { .cookie = cookie };
        assert_refused(call_with(vm_a, HC_PAGE_RESPONSE, response), HV_ERING);
        assert_refused(call(vm_a, HC_IOPF_ENABLE, 1, HC_IOPF_BIND, 0, NULL), HV_ERING);
        assert_refused(call_with(vm_a, HC_EVENT_RING, small), HV_EBUSY); /* less than promised */
        fault(0);
        assert_int_equal(events()->producer, 4);
        assert_int_equal(call_with(vm_a, HC_EVENT_RING, again), HV_OK);
        assert_int_equal(events()->producer, 0);
        assert_int_equal(events()->consumer, 0);
        request(0);
        device_events.page_requests_done();
        assert_true(take_event(vm_a, &e));
        assert_int_equal(abi_calls.vector, 0x41);
        response.cookie = e.cookie;
        assert_int_equal(call_with(vm_a, HC_PAGE_RESPONSE, response), HV_OK);
        struct hc_ring_setup none = { 0 };
        assert_refused(call_with(vm_a, HC_EVENT_RING, none), HV_EBUSY);
        vm_a->rings->event.stopped = true; /* start over from an empty ring */
        again.vector = 0x40;
        assert_int_equal(call_with(vm_a, HC_EVENT_RING, again), HV_OK);
        again.vector = 0x41;
    }
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
}

static unsigned lines_with(const char *text)
{
    unsigned n = 0;

    for (const char *at = platform_log(); (at = strstr(at, text)); at += strlen(text))
        n++;
    return n;
}

/* The log is slow, and a guest can break its ring as often as it likes. */
static void broken_rings_do_not_flood_the_log(void **state)
{
    struct hc_ring_setup again = { .base = RING_BASE, .entries = 256, .vector = 0x41 };

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    for (unsigned i = 0; i < 100; i++) {
        events()->consumer = 5;
        request(0);
        device_events.page_requests_done();
        assert_true(vm_a->rings->event.stopped);
        assert_int_equal(call_with(vm_a, HC_EVENT_RING, again), HV_OK);
    }
    assert_in_range(lines_with("consumer index is broken"), 1, 4);
}

static void busy_for_a_while(void *ctx)
{
    unsigned *turns = ctx;

    platform_pass_us(100000);
    if (--*turns == 0)
        vm_a->rings->busy--;
}

/* Whoever is at the rings of a VM that ends may be waiting for a device that does not answer. */
static void the_end_waits_for_who_is_busy(void **state)
{
    unsigned turns = 50;

    (void)state;
    platform_set_hooks(&(struct platform_hooks){ .ctx = &turns, .relax = busy_for_a_while });
    vm_a->rings->busy++;
    rings_end(vm_a);
    assert_int_equal(turns, 0);
    platform_set_hooks(NULL);
}

/* The same, found out when a request needs room: whoever waited in that batch is answered as well.
 */
static void a_broken_index_is_found_when_room_is_needed(void **state)
{
    const struct hc_event *slots = ram(vm_a, RING_BASE + HC_RING_ENTRIES);

    (void)state;
    event_ring(vm_a, 16);
    unsigned promised = (unsigned)iopf_on(vm_a, 0);
    bind(vm_a, 0, ROOT(1), NULL);
    for (unsigned i = 0; i < 16; i++)
        fault(0x1000);
    for (unsigned i = 0; i < promised; i++)
        request((uint16_t)i);
    device_events.page_requests_done();
    assert_int_equal(events_waiting(vm_a), 16);
    struct hc_page_response response = { .cookie = slots[15].cookie };
    assert_int_equal(call_with(vm_a, HC_PAGE_RESPONSE, response), HV_OK);
    events()->consumer = 17;
    request(100);
    device_events.page_requests_done();
    assert_true(vm_a->rings->event.stopped);
    assert_int_equal(fake.answers, promised + 1);
    assert_int_equal(vm_a->rings->open, 0);
    assert_int_equal(fake.unflushed, 0);
    assert_int_equal(atomic_load(&vm_a->rings->busy), 0);
}

/* Sluice's own index in the guest's memory is written, never read. */
static void what_the_guest_writes_over_our_index_is_not_believed(void **state)
{
    (void)state;
    event_ring(vm_a, 16);
    fault(0x1000);
    events()->producer = 0x12345;
    events()->lost = 99;
    fault(0x2000);
    assert_int_equal(events()->producer, 2);
    command_ring(vm_a, 16);
    commands()->consumer = 0x777;
    commands()->producer = 1;
    uint64_t done;
    assert_int_equal(call(vm_a, HC_DOORBELL, 0, 0, 0, &done), HV_OK);
    assert_int_equal(done, 1);
    assert_int_equal(commands()->consumer, 1);
}

/* --- Commands --------------------------------------------------------------------------------- */

static struct hc_command *put(uint32_t call_number, const void *args, size_t size)
{
    struct hc_command *slots = ram(vm_a, COMMANDS + HC_RING_ENTRIES);
    struct hc_command *slot = &slots[commands()->producer & (vm_a->rings->command.entries - 1)];

    memset(slot, 0, sizeof(*slot));
    slot->call = call_number;
    slot->status = HC_COMMAND_PENDING;
    slot->value = 0x5555;
    memcpy(slot->args, args, size);
    commands()->producer++;
    return slot;
}
#define put_with(number, ...) put(number, &(__VA_ARGS__), sizeof(__VA_ARGS__))

static uint64_t doorbell(void)
{
    uint64_t done;

    assert_int_equal(call(vm_a, HC_DOORBELL, 0, 0, 0, &done), HV_OK);
    return done;
}

static void commands_do_what_calls_do(void **state)
{
    (void)state;
    command_ring(vm_a, 16);
    struct hc_sva_bind in = {
        .size = sizeof(in), .device = 2, .pasid = HC_PASID_ANY, .levels = 4, .root = ROOT(1)
    };
    struct hc_command *slot = put_with(HC_SVA_BIND, in);
    assert_int_equal(doorbell(), 1);
    assert_int_equal(slot->status, HV_OK);
    uint32_t pasid = (uint32_t)(slot->value >> 32);
    uint64_t bond = (uint32_t)slot->value;
    assert_int_equal(fake_target(DEV2, pasid).root, ROOT(1));
    struct hc_invalidate inval = { .size = sizeof(inval),
                                   .kind = HC_INVALIDATE_PASID,
                                   .pasid = pasid };
    struct hc_attach identity = {
        .size = sizeof(identity), .device = 0, .pasid = 500, .domain = HC_DOMAIN_IDENTITY
    };
    struct hc_page_response response = { .size = sizeof(response), .cookie = 5 };
    struct hc_command *slots[] = {
        put_with(HC_SVA_BIND, in),     put_with(HC_INVALIDATE, inval),
        put_with(HC_ATTACH, identity), put_with(HC_PAGE_RESPONSE, response),
        put_with(HC_SVA_UNBIND, bond), put_with(HC_SVA_UNBIND, bond),
        put_with(HC_SVA_UNBIND, bond),
    };
    static const enum hv_status expected[] = { HV_OK, HV_OK, HV_OK,    HV_ENOENT,
                                               HV_OK, HV_OK, HV_ENOENT };
    assert_int_equal(doorbell(), ARRAY_SIZE(slots));
    for (unsigned i = 0; i < ARRAY_SIZE(slots); i++)
        assert_int_equal(slots[i]->status, expected[i]);
    assert_int_equal(slots[4]->value, 1);
    assert_int_equal(slots[5]->value, 0);
    assert_int_equal(fake.invals, 1);
    assert_int_equal(fake_target(DEV0, 500).kind, IOMMU_SECOND_STAGE);
    assert_int_equal(fake_target(DEV2, pasid).kind, IOMMU_BLOCKED);
    assert_int_equal(vm_a->stats.commands, 1 + ARRAY_SIZE(slots));
    assert_int_equal(commands()->consumer, commands()->producer);
}

static void wrong_commands_have_the_status_of_wrong_calls(void **state)
{
    struct {
        uint32_t size, flags;
        uint64_t word[5];
    } raw = { 0 };
    static const struct {
        uint32_t call, size;
        unsigned tail; /* word of args that is not zero */
        enum hv_status status;
    } cases[] = {
        { HC_NUMBERS, 16, 0, HV_ENOSYS },
        { 4, 16, 0, HV_ENOSYS },
        { 0xffffffff, 16, 0, HV_ENOSYS },
        { HC_NULL, 16, 0, HV_ENOSYS }, /* only as a call */
        { HC_SHUTDOWN, 16, 0, HV_ENOTSUP },
        { HC_DOORBELL, 16, 0, HV_ENOTSUP }, /* no doorbell within a doorbell */
        { HC_EVENT_RING, 32, 0, HV_ENOTSUP },
        { HC_COMMAND_RING, 32, 0, HV_ENOTSUP },
        { HC_VM_INFO, 16, 0, HV_ENOTSUP },
        { HC_IOAS_MAP, 39, 0, HV_E2SMALL },
        { HC_PAGE_RESPONSE, 0, 0, HV_E2SMALL },
        { HC_PAGE_RESPONSE, 15, 0, HV_E2SMALL },
        { HC_ATTACH, 31, 0, HV_E2SMALL },
        { HC_INVALIDATE, 39, 0, HV_E2SMALL },
        { HC_PAGE_RESPONSE, 48, 4, HV_E2BIG },
        { HC_PAGE_RESPONSE, 49, 0, HV_E2BIG }, /* more than a slot holds */
        { HC_PAGE_RESPONSE, 0xffffffff, 0, HV_E2BIG },
        { HC_PAGE_RESPONSE, 48, 0, HV_ENOENT }, /* a longer version, the rest zero: cookie 0 */
        { HC_INVALIDATE, 48, 0, HV_EINVAL },
    };

    (void)state;
    command_ring(vm_a, 16);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        raw.size = cases[i].size;
        raw.flags = cases[i].call == HC_INVALIDATE ? 0x80 : 0;
        memset(raw.word, 0, sizeof(raw.word));
        if (cases[i].tail)
            raw.word[cases[i].tail] = 1ull << 56;
        struct hc_command *slot = put_with(cases[i].call, raw);
        assert_int_equal(doorbell(), 1);
        if (slot->status != (int32_t)cases[i].status)
            fail_msg("case %u: %d", i, slot->status);
        assert_int_equal(slot->value, 0);
    }
    assert_int_equal(abi_calls.ends, 0);
    assert_int_equal(fake.answers + fake.invals, 0);
}

/* A thousand cost four doorbells with one flush each; no status is there before the flush. */
static struct hc_command *watched;

static void at_most_256_a_doorbell_and_one_flush(void **state)
{
    uint32_t pasid;
    struct hc_ring_setup in = { .base = COMMANDS, .entries = 1024 };

    (void)state;
    bind(vm_a, 2, ROOT(1), &pasid);
    assert_int_equal(call_with(vm_a, HC_COMMAND_RING, in), HV_OK);
    struct hc_invalidate inval = {
        .size = sizeof(inval), .kind = HC_INVALIDATE_RANGE, .pasid = pasid, .bytes = 4096
    };
    struct hc_command *first = NULL, *last = NULL;
    for (unsigned i = 0; i < 1000; i++) {
        inval.address = i * 4096ull;
        last = put_with(HC_INVALIDATE, inval);
        first = first ? first : last;
    }
    unsigned flushes = fake.flushes;
    assert_int_equal(doorbell(), 256);
    assert_int_equal(first->status, HV_OK);
    assert_int_equal(first[255].status, HV_OK);
    assert_int_equal(first[256].status, HC_COMMAND_PENDING);
    assert_int_equal(doorbell(), 256);
    assert_int_equal(doorbell(), 256);
    assert_int_equal(doorbell(), 1000 - 768);
    assert_int_equal(doorbell(), 0);
    assert_int_equal(last->status, HV_OK);
    assert_int_equal(fake.flushes - flushes, 4);
    assert_int_equal(fake.invals, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(fake.inval[i].what.address.v, i * 4096ull);
}

static struct iommu_ops watching;
static int32_t status_at_flush;

static enum hv_status watch_flush(void)
{
    status_at_flush = watched->status;
    return fake_iommu.flush();
}

/* 256 times everything: each unit is told once a doorbell, and again with the next. */
static void everything_is_forgotten_once_a_doorbell(void **state)
{
    struct hc_invalidate all = { .size = sizeof(all), .kind = HC_INVALIDATE_DOMAIN };

    (void)state;
    command_ring(vm_a, 256);
    for (unsigned n = 1; n <= 2; n++) {
        for (unsigned i = 0; i < 254; i++)
            put_with(HC_INVALIDATE, all);
        all.device = 2;
        struct hc_command *last = put_with(HC_INVALIDATE, all);
        all.device = 0;
        assert_int_equal(doorbell(), 255);
        assert_int_equal(last->status, HV_OK);
        assert_int_equal(fake.invals, 3 * n); /* two devices on the one unit, one on the other */
        assert_int_equal(vm_a->stats.invalidations, 255 * n);
    }
}

static void completion_is_told_after_the_flush(void **state)
{
    uint32_t pasid;

    (void)state;
    bind(vm_a, 2, ROOT(1), &pasid);
    command_ring(vm_a, 16);
    watching = fake_iommu;
    watching.flush = watch_flush;
    iommu = &watching;
    struct hc_invalidate inval = { .size = sizeof(inval),
                                   .kind = HC_INVALIDATE_PASID,
                                   .pasid = pasid };
    watched = put_with(HC_INVALIDATE, inval);
    status_at_flush = 99;
    doorbell();
    assert_int_equal(status_at_flush, HC_COMMAND_PENDING);
    assert_int_equal(watched->status, HV_OK);
    /* If it went wrong, those it was about hear of it; the others do not. */
    fake.fail_flush = HV_ETIMEDOUT;
    uint64_t nobody = 77;
    struct hc_command *other = put_with(HC_SVA_UNBIND, nobody);
    watched = put_with(HC_INVALIDATE, inval);
    struct hc_command *wrong = put_with(HC_INVALIDATE, nobody);
    doorbell();
    assert_int_equal(watched->status, HV_ETIMEDOUT);
    assert_int_equal(other->status, HV_ENOENT);
    assert_int_equal(wrong->status, HV_E2BIG);
    /* A command between that flushes for itself (here: it answers an open group) hides nothing. */
    uint64_t bond = bind(vm_a, 0, ROOT(1), NULL);
    request(1);
    device_events.page_requests_done();
    fake.fail_flush = HV_ETIMEDOUT;
    watched = put_with(HC_INVALIDATE, inval);
    other = put_with(HC_SVA_UNBIND, bond);
    wrong = put_with(HC_INVALIDATE, inval);
    doorbell();
    assert_int_equal(watched->status, HV_ETIMEDOUT);
    assert_int_equal(other->status, HV_OK);
    assert_int_equal(wrong->status, HV_OK);
    /* Nor does it inherit what went wrong after it. */
    bond = bind(vm_a, 0, ROOT(1), NULL);
    fake.fail_flush = HV_ETIMEDOUT;
    other = put_with(HC_SVA_UNBIND, bond);
    watched = put_with(HC_INVALIDATE, inval);
    doorbell();
    assert_int_equal(other->status, HV_OK);
    assert_int_equal(watched->status, HV_ETIMEDOUT);
    iommu = &fake_iommu;
}

/* Commands that differ from the one before in the address alone are not checked twice; all others
 * are. */
static void a_command_like_the_last_one_but_not_quite(void **state)
{
    static const struct {
        enum hv_status status;
        struct hc_invalidate in;
    } cases[] = {
#define PAGE_OF(...) { .size = 40, .pasid = 1, .address = 0x5000, .bytes = 0x1000, __VA_ARGS__ }
        { HV_OK, PAGE_OF() },
        { HV_OK, PAGE_OF(.flags = HC_INVALIDATE_LEAF) },
        { HV_OK, PAGE_OF(.bytes = 0x2000) },
        { HV_OK, PAGE_OF(.size = 48) },
        { HV_OK, PAGE_OF(.address = 0xfffffffffffff000) },
        { HV_E2SMALL, PAGE_OF(.size = 32) },
        { HV_EINVAL, PAGE_OF(.flags = 2) },
        { HV_EINVAL, PAGE_OF(.kind = HC_INVALIDATE_PASID) },
        { HV_EINVAL, PAGE_OF(.device = 1) },
        { HV_EINVAL, PAGE_OF(.reserved = 1) },
        { HV_EALIGN, PAGE_OF(.address = 0x5001) },
        { HV_EINVAL, PAGE_OF(.bytes = 0) },
        { HV_EALIGN, PAGE_OF(.bytes = 0x1001) },
        { HV_ENOENT, PAGE_OF(.pasid = 2) },
        { HV_ERANGE, PAGE_OF(.pasid = HC_PASID_ANY) },
    };
    static const struct hc_invalidate good = PAGE_OF(.address = 0x9000);

    (void)state;
    bind(vm_a, 2, ROOT(1), NULL);
    command_ring(vm_a, 16);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        fake.invals = 0;
        uint64_t counted = vm_a->stats.invalidations;
        struct hc_command *before = put_with(HC_INVALIDATE, good);
        struct hc_command *slot = put_with(HC_INVALIDATE, cases[i].in);
        struct hc_command *other = put_with(HC_SVA_UNBIND, good);
        doorbell();
        assert_int_equal(before->status, HV_OK);
        assert_int_equal(other->status, HV_ENOENT);
        if (slot->status != (int32_t)cases[i].status)
            fail_msg("case %u: %d", i, slot->status);
        bool done = cases[i].status == HV_OK;
        assert_int_equal(fake.invals, 1 + done);
        assert_int_equal(vm_a->stats.invalidations - counted, 1 + done);
        unsigned seen = 0;
        for (unsigned n = 0; done && n < fake.invals; n++)
            seen += fake.inval[n].what.address.v == cases[i].in.address &&
                    fake.inval[n].what.bytes == cases[i].in.bytes &&
                    fake.inval[n].what.leaf == cases[i].in.flags;
        assert_int_equal(seen, done);
    }
}

/* Right behind a flush, and before the first order of all, there is no last one to be like. */
static void no_command_is_like_none(void **state)
{
    static const struct hc_invalidate good = PAGE_OF(), empty = PAGE_OF(.size = 0),
                                      nothing = { .bytes = 0x1000 };

    (void)state;
    command_ring(vm_a, 16);
    struct hc_command *slot = put_with(HC_INVALIDATE, nothing);
    doorbell();
    assert_int_equal(slot->status, HV_E2SMALL);
    bind(vm_a, 2, ROOT(1), NULL);
    slot = put_with(HC_INVALIDATE, good);
    doorbell();
    assert_int_equal(slot->status, HV_OK);
    slot = put_with(HC_INVALIDATE, empty);
    doorbell();
    assert_int_equal(slot->status, HV_E2SMALL);
}

/* What was invalidated before an answer is forgotten before the device translates again. */
static void answers_stay_behind_invalidations(void **state)
{
    struct hc_event e;

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    command_ring(vm_a, 16);
    for (unsigned pages = 1; pages < 4; pages++) {
        request(1);
        device_events.page_requests_done();
        assert_true(take_event(vm_a, &e));
        fake.invals = fake.answers = 0;
        struct hc_invalidate inval = {
            .size = sizeof(inval), .kind = HC_INVALIDATE_RANGE, .pasid = 1, .bytes = 4096
        };
        struct hc_page_response response = { .size = sizeof(response), .cookie = e.cookie };
        for (unsigned i = 0; i < pages; i++)
            put_with(HC_INVALIDATE, inval);
        put_with(HC_PAGE_RESPONSE, response);
        put_with(HC_INVALIDATE, inval);
        doorbell();
        assert_int_equal(fake.answers, 1);
        assert_int_equal(fake.answer[0].after, pages);
        assert_int_equal(fake.invals, pages + 1);
    }
}

static void a_broken_producer_index_stops_the_command_ring(void **state)
{
    static const uint32_t lies[] = { 17 + 3, 0xffffffff, 2, 0x80000000 }; /* true: 3 to 19 */
    struct hc_ring_setup again = { .base = COMMANDS, .entries = 16 };
    uint64_t nobody = 77;

    (void)state;
    assert_refused(call(vm_a, HC_DOORBELL, 0, 0, 0, NULL), HV_EORDER);
    command_ring(vm_a, 16);
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        for (unsigned n = 0; n < 3; n++)
            put_with(HC_SVA_UNBIND, nobody);
        assert_int_equal(doorbell(), 3);
        commands()->producer = lies[i];
        uint64_t done = 1;
        assert_int_equal(call(vm_a, HC_DOORBELL, 0, 0, 0, &done), HV_ERING);
        assert_int_equal(done, 0);
        commands()->producer = 4; /* too late to be honest */
        assert_refused(call(vm_a, HC_DOORBELL, 0, 0, 0, NULL), HV_ERING);
        assert_int_equal(call_with(vm_a, HC_COMMAND_RING, again), HV_OK);
        assert_int_equal(doorbell(), 0);
    }
    /* Exactly full is no lie. */
    for (unsigned n = 0; n < 16; n++)
        put_with(HC_SVA_UNBIND, nobody);
    assert_int_equal(doorbell(), 16);
}

/* The slot changes while it is worked on (here: when the driver is called): the copy counts. */
static void change_slot(void *ctx)
{
    struct hc_command *slots = ram(vm_a, COMMANDS + HC_RING_ENTRIES);

    (void)ctx;
    for (unsigned i = 0; i < 16; i++)
        memset(slots[i].args, 0xff, sizeof(slots[i].args));
}

static void a_slot_is_read_once(void **state)
{
    uint32_t pasid;
    uint64_t bond = bind(vm_a, 2, ROOT(1), &pasid);

    (void)state;
    command_ring(vm_a, 16);
    fake.drain = change_slot;
    struct hc_command *slot = put_with(HC_SVA_UNBIND, bond);
    assert_int_equal(doorbell(), 1);
    fake.drain = NULL;
    assert_int_equal(slot->status, HV_OK);
    assert_int_equal(fake_attached(), 0);
}

static struct hc_command *changing;

static void change_address(void *ctx)
{
    (void)ctx;
    changing->args[3] += 0x100000; /* hc_invalidate.address */
}

/* The guest changes a command between one device that it reaches and the next. */
static void a_command_that_changes_is_done_as_it_was(void **state)
{
    uint32_t pasid;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        bind(vm_a, i, ROOT(1), &pasid);
    command_ring(vm_a, 16);
    struct hc_invalidate in = {
        .size = sizeof(in), .pasid = pasid, .address = 0x5000, .bytes = 0x2000
    };
    changing = put_with(HC_INVALIDATE, in);
    fake.on_invalidate = change_address;
    doorbell();
    fake.on_invalidate = NULL;
    assert_int_equal(changing->status, HV_OK);
    assert_int_equal(fake.invals, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fake.inval[i].what.address.v, 0x5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(wrong_rings_are_refused),
        abi_test(a_ring_is_set_once_and_kept_while_in_use),
        abi_test(interrupts_come_when_the_guest_could_sleep),
        abi_test(indices_wrap),
        abi_test(other_events_are_lost_before_page_requests_are),
        abi_test(without_a_ring_events_are_counted),
        abi_test(a_broken_consumer_index_stops_the_ring),
        abi_test(broken_rings_do_not_flood_the_log),
        abi_test(the_end_waits_for_who_is_busy),
        abi_test(a_broken_index_is_found_when_room_is_needed),
        abi_test(what_the_guest_writes_over_our_index_is_not_believed),
        abi_test(commands_do_what_calls_do),
        abi_test(wrong_commands_have_the_status_of_wrong_calls),
        abi_test(at_most_256_a_doorbell_and_one_flush),
        abi_test(everything_is_forgotten_once_a_doorbell),
        abi_test(completion_is_told_after_the_flush),
        abi_test(a_command_like_the_last_one_but_not_quite),
        abi_test(no_command_is_like_none),
        abi_test(answers_stay_behind_invalidations),
        abi_test(a_broken_producer_index_stops_the_command_ring),
        abi_test(a_slot_is_read_once),
        abi_test(a_command_that_changes_is_done_as_it_was),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
