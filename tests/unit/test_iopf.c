/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Page requests: enabling in order, forwarding, exactly one answer per group, whoever fails. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/abi_vm.h"

/* A request of VM a's device 0, PASID 1, unless changed. */
#define REQUEST(...)                                                                               \
    ((struct iommu_page_request){ .rid = DEV0,                                                     \
                                  .pasid_present = true,                                           \
                                  .pasid = 1,                                                      \
                                  .read = true,                                                    \
                                  .address = IOVA(0x5000),                                         \
                                  __VA_ARGS__ })
#pragma clang diagnostic ignored "-Winitializer-overrides"

static void request(struct iommu_page_request req)
{
    fake_request(req.rid, &req);
    device_events.page_requests_done();
}

static enum hv_status respond(struct vm *vm, uint64_t cookie, uint32_t code)
{
    struct hc_page_response in = { .code = code, .cookie = cookie };

    return call_with(vm, HC_PAGE_RESPONSE, in);
}

static struct hc_event next_event(struct vm *vm)
{
    struct hc_event e;

    assert_true(take_event(vm, &e));
    return e;
}

/* --- Enabling and disabling ------------------------------------------------------------------- */

static void enabling_has_an_order(void **state)
{
    uint64_t outstanding;

    (void)state;
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EORDER); /* no ring */
    event_ring(vm_a, 256);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 3, HC_IOPF_BIND, 0, NULL), HV_ENODEV);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, 0, 0, NULL), HV_EINVAL);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, 4 | HC_IOPF_BIND, 0, NULL), HV_EINVAL);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, 1ull << 32 | HC_IOPF_BIND, 0, NULL), HV_EINVAL);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 2, HC_IOPF_BIND, 0, NULL), HV_ENOTSUP); /* no PRI */
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 2, HC_IOPF_MAP, 0, NULL), HV_ENOTSUP);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EORDER);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 3, 0, 0, NULL), HV_ENODEV);
    assert_int_equal(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, &outstanding), HV_OK);
    assert_int_equal(outstanding, fake.promised[0]);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EEXIST);
    uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EBUSY);
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    assert_int_equal(fake.promised[0], 0);
    iopf_on(vm_a, 0);
}

/* A bond that handles its own faults does not hold IOPF; a plain bind on top of it does. */
static void only_bonds_that_use_it_hold_it(void **state)
{
    uint64_t value;

    (void)state;
    event_ring(vm_a, 256);
    iopf_on(vm_a, 0);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EORDER); /* bound */
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, (uint32_t)value, 0, 0, NULL), HV_OK);
    iopf_on(vm_a, 0);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    request(REQUEST(.last = true));
    assert_int_equal(fake.answers, 1); /* not wanted: INVALID at once */
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, &value), HV_OK);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EBUSY);
    request(REQUEST(.last = true));
    assert_int_equal(fake.answers, 1);
    assert_int_equal(events_waiting(vm_a), 1);
}

/* What devices may send fits the unit's queue and the ring, whatever their number. */
static void promises_fit_queue_and_ring(void **state)
{
    static const struct {
        uint32_t entries, capacity, expected; /* of each of a's two devices with PRI */
    } cases[] = {
        { 16, 64, 6 }, /* (16 - 4) / 2 */
        { 64, 64, 24 },     { 256, 64, 64 },
        { 4096, 64, 64 },   { 4096, 10000, 85 }, /* 256 entries of the queue for 3 devices */
        { 256, 10000, 85 },
    };

    (void)state;
    assert_int_equal(fake.queue, 256);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned d = 0; d < FAKE_DEVICES; d++) {
            if (fake.device[d] && fake.device[d]->pri)
                fake.device[d]->pri_capacity = (uint16_t)cases[i].capacity;
        }
        event_ring(vm_a, cases[i].entries);
        struct hc_ring_setup in = { .base = RING_BASE, .entries = 4096, .vector = 0x40 };
        if (i == 0)
            assert_int_equal(call_with(vm_b, HC_EVENT_RING, in), HV_OK);
        uint64_t all = iopf_on(vm_a, 0) + iopf_on(vm_a, 1);
        assert_int_equal(all, 2 * cases[i].expected);
        assert_true(all <= cases[i].entries - cases[i].entries / 4);
        all += iopf_on(vm_b, 0);
        assert_true(all <= fake.queue);
        for (unsigned d = 0; d < 2; d++)
            assert_int_equal(call(vm_a, HC_IOPF_DISABLE, d, 0, 0, NULL), HV_OK);
        assert_int_equal(call(vm_b, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
        struct hc_ring_setup none = { 0 };
        assert_int_equal(call_with(vm_a, HC_EVENT_RING, none), HV_OK);
    }
}

/* A ring that broke may be replaced by a smaller one: later devices get what is left there. */
static void promises_fit_the_next_ring(void **state)
{
    struct hc_ring_setup smaller = { .base = RING_BASE, .entries = 128, .vector = 0x40 };

    (void)state;
    event_ring(vm_a, 256);
    uint64_t first = iopf_on(vm_a, 0);
    vm_a->rings->event.stopped = true;
    assert_int_equal(call_with(vm_a, HC_EVENT_RING, smaller), HV_OK);
    assert_int_equal(first + iopf_on(vm_a, 1), 128 - 128 / 4);
}

static void errors_change_nothing(void **state)
{
    (void)state;
    event_ring(vm_a, 256);
    pages_fail_after(0);
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_ENOMEM);
    pages_fail_after(-1);
    vm_a->quota.limit = vm_a->quota.used;
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EQUOTA);
    vm_a->quota.limit = 1000;
    fake.fail_requests_on = HV_ENOMEM;
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_ENOMEM);
    iopf_on(vm_a, 0);
}

/* --- Forwarding ------------------------------------------------------------------------------- */

static void a_request_reaches_the_guest_and_its_answer_the_device(void **state)
{
    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true, .write = true, .group = 511, .privileged = true));
    assert_int_equal(abi_calls.interrupts, 1);
    assert_int_equal(abi_calls.vcpu, 1);
    assert_int_equal(abi_calls.vector, 0x40);
    struct hc_event e = next_event(vm_a);
    assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
    assert_int_equal(e.device, 0);
    assert_int_equal(e.pasid, 1);
    assert_int_equal(e.flags,
                     HC_PRQ_READ | HC_PRQ_WRITE | HC_PRQ_PRIVILEGED | HC_PRQ_LAST | HC_PRQ_PASID);
    assert_int_equal(e.address, 0x5000);
    assert_int_equal(e.group, 511);
    assert_int_equal(e.category, HC_IOPF_BIND);
    assert_int_equal(fake.answers, 0);
    assert_int_equal(respond(vm_a, e.cookie, HC_RESPONSE_SUCCESS), HV_OK);
    assert_int_equal(fake.answers, 1);
    assert_true(fake.answer[0].success && fake.answer[0].flushed);
    assert_ptr_equal(fake.answer[0].dev, fake.device[0]);
    assert_int_equal(fake.answer[0].last.group, 511);
    assert_int_equal(fake.answer[0].last.pasid, 1);
    assert_true(fake.answer[0].last.pasid_present && fake.answer[0].last.last);
    request(REQUEST(.last = true));
    assert_int_equal(respond(vm_a, next_event(vm_a).cookie, HC_RESPONSE_INVALID), HV_OK);
    assert_false(fake.answer[1].success);
    assert_int_equal(vm_a->stats.page_requests, 2);
    assert_int_equal(vm_a->stats.page_responses, 2);
    assert_int_equal(vm_a->stats.responses_by_sluice, 0);
    assert_int_equal(vm_a->stats.page_requests_lost, 0);
}

/* Device, PASID and group index make a group; none of them alone. */
static void groups_are_keyed_by_all_of_their_names(void **state)
{
    static const struct iommu_page_request first[] = {
        { .rid = DEV0, .pasid_present = true, .pasid = 1, .group = 3 },
        { .rid = DEV0, .pasid_present = true, .pasid = 2, .group = 3 },
        { .rid = DEV0, .pasid_present = true, .pasid = 1, .group = 4 },
        { .rid = DEV0, .pasid_present = false, .pasid = 0, .group = 3 },
        { .rid = DEV1, .pasid_present = true, .pasid = 1, .group = 3 },
    };
    uint64_t cookie[ARRAY_SIZE(first)];

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    bind(vm_a, 0, ROOT(2), NULL);
    bind(vm_a, 1, ROOT(1), NULL);
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(3)), HV_OK);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
            struct iommu_page_request req = first[i];
            req.read = true;
            req.last = round == 2;
            req.address = IOVA(0x1000 * (round + 1));
            request(req);
            struct hc_event e = next_event(vm_a);
            assert_int_equal(e.address, req.address.v);
            assert_int_equal(e.pasid, req.pasid_present ? req.pasid : HC_PASID_NONE);
            if (round)
                assert_true(e.cookie == cookie[i]);
            for (unsigned j = 0; !round && j < i; j++)
                assert_true(e.cookie != cookie[j]);
            cookie[i] = e.cookie;
            if (round < 2) /* not complete: nothing to answer yet */
                assert_refused(respond(vm_a, e.cookie, 0), HV_EORDER);
        }
    }
    for (unsigned i = ARRAY_SIZE(first); i--;) {
        assert_int_equal(respond(vm_a, cookie[i], HC_RESPONSE_SUCCESS), HV_OK);
        const struct fake_answer *a = &fake.answer[fake.answers - 1];
        assert_int_equal(a->last.rid, first[i].rid);
        assert_int_equal(a->last.pasid, first[i].pasid);
        assert_int_equal(a->last.pasid_present, first[i].pasid_present);
        assert_int_equal(a->last.group, first[i].group);
    }
    assert_int_equal(fake.answers, ARRAY_SIZE(first));
    assert_int_equal(vm_a->rings->open, 0);
}

/* PASID 0 in a request is not the RID, which has none. */
static void a_request_with_pasid_0_is_not_of_the_rid(void **state)
{
    struct iommu_page_request rid = REQUEST(.pasid_present = false, .pasid = 0, .group = 3);
    struct iommu_page_request zero = REQUEST(.pasid = 0, .group = 3, .last = true);

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(3)), HV_OK);
    request(rid);
    request(zero);
    assert_int_equal(fake.answers, 1);
    assert_true(fake.answer[0].last.pasid_present && !fake.answer[0].success);
    rid.last = true;
    request(rid);
    uint64_t cookie = next_event(vm_a).cookie;
    assert_true(next_event(vm_a).cookie == cookie);
    assert_int_equal(respond(vm_a, cookie, HC_RESPONSE_SUCCESS), HV_OK);
    assert_true(fake.answers == 2 && fake.answer[1].success);
}

static void wrong_answers_are_refused(void **state)
{
    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    bind(vm_b, 0, ROOT(1), NULL);
    static const uint64_t never[] = {
        0, 1, 0xffff, 1ull << 24, 1ull << 24 | 1, ~0ull, 7ull << 24 | 9ull << 16
    };
    for (unsigned i = 0; i < ARRAY_SIZE(never); i++)
        assert_refused(respond(vm_a, never[i], HC_RESPONSE_SUCCESS), HV_ENOENT);
    request(REQUEST(.last = true));
    uint64_t cookie = next_event(vm_a).cookie;
    assert_refused(respond(vm_a, cookie, 2), HV_EINVAL);
    assert_refused(respond(vm_a, cookie, 0xf), HV_EINVAL);
    assert_refused(respond(vm_a, cookie, 0xffffffff), HV_EINVAL);
    assert_refused(respond(vm_b, cookie, HC_RESPONSE_SUCCESS), HV_ENOENT); /* not delivered to b */
    assert_refused(respond(vm_a, cookie + (1 << 24), HC_RESPONSE_SUCCESS), HV_ENOENT);
    assert_int_equal(respond(vm_a, cookie, HC_RESPONSE_SUCCESS), HV_OK);
    assert_refused(respond(vm_a, cookie, HC_RESPONSE_SUCCESS), HV_EALREADY);
    assert_refused(respond(vm_a, cookie, HC_RESPONSE_INVALID), HV_EALREADY);
    /* The slot is used again: the old cookie still means the old group. */
    request(REQUEST(.last = true));
    assert_refused(respond(vm_a, cookie, HC_RESPONSE_SUCCESS), HV_EALREADY);
    /* Also after IOPF was off and on. */
    uint64_t newer = next_event(vm_a).cookie;
    iopf_off(vm_a->device[0]);
    assert_refused(respond(vm_a, newer, HC_RESPONSE_SUCCESS), HV_EALREADY);
    iopf_on(vm_a, 1);
    uint64_t value;
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bind(vm_a, 1, ROOT(5), NULL), 0, 0, &value), HV_OK);
    assert_int_equal(fake.answers, 2);
}

static void off_and_on_again_keeps_old_cookies_dead(void **state)
{
    (void)state;
    uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true));
    uint64_t old = next_event(vm_a).cookie;
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true));
    assert_true(next_event(vm_a).cookie != old);
    assert_refused(respond(vm_a, old, HC_RESPONSE_SUCCESS), HV_EALREADY);
}

/* --- Who is answered by Sluice ---------------------------------------------------------------- */

/* The newest answer is INVALID and was sent; there are @n by now. */
static void expect_invalid(unsigned n)
{
    assert_int_equal(fake.answers, n);
    assert_false(fake.answer[n - 1].success);
    assert_true(fake.answer[n - 1].flushed);
}

static void what_nobody_serves_is_answered_invalid(void **state)
{
    unsigned n = 0;

    (void)state;
    request(REQUEST(.last = true)); /* nothing is on */
    expect_invalid(++n);
    event_ring(vm_a, 256);
    request(REQUEST(.last = true));
    expect_invalid(++n);
    iopf_on(vm_a, 0);
    request(REQUEST(.last = true)); /* no such PASID */
    expect_invalid(++n);
    uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true, .pasid = 2));
    expect_invalid(++n);
    request(REQUEST(.last = true, .pasid = 0xfffff));
    expect_invalid(++n);
    request(REQUEST(.last = true, .pasid_present = false, .pasid = 0)); /* the RID is BLOCKED */
    expect_invalid(++n);
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    request(REQUEST(.last = true, .pasid_present = false, .pasid = 0)); /* no first stage there */
    expect_invalid(++n);
    request(REQUEST(.rid = DEV1, .last = true)); /* bound on 0, not on 1; IOPF is off on 1 */
    expect_invalid(++n);
    iopf_on(vm_a, 1);
    request(REQUEST(.rid = DEV1, .last = true));
    expect_invalid(++n);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_BLOCKED, 0), HV_OK);
    request(REQUEST(.last = true)); /* BLOCKED over the bond */
    expect_invalid(++n);
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    request(REQUEST(.last = true));
    expect_invalid(++n);
    assert_int_equal(vm_a->stats.responses_by_sluice, n);
    assert_int_equal(events_waiting(vm_a), 0);
    /* Without `last` nobody waits; a stop marker is no request; nobody's device has nobody. */
    request(REQUEST(.last = false));
    request(REQUEST(.last = true, .read = false));
    device_events.page_request(NULL, &REQUEST(.rid = 0x999, .last = true));
    assert_int_equal(fake.answers, n);
    assert_int_equal(vm_b->stats.responses_by_sluice, 0);
}

static void a_device_cannot_name_the_pasid_of_another_vm(void **state)
{
    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    event_ring(vm_b, 64);
    iopf_on(vm_b, 0);
    request(REQUEST(.rid = DEVB, .last = true));
    expect_invalid(1);
    assert_int_equal(events_waiting(vm_a), 0);
}

static void the_deadline_passes(void **state)
{
    struct hc_event e;

    (void)state;
    iopf_set_deadline(10);
    bind(vm_a, 0, ROOT(1), NULL);
    bind(vm_b, 0, ROOT(1), NULL);
    request(REQUEST(.last = true, .group = 1));
    platform_pass_us(6000);
    request(REQUEST(.last = true, .group = 2));
    request(REQUEST(.last = false, .group = 3)); /* never completed: no answer is due */
    request(REQUEST(.rid = DEVB, .last = true, .group = 1));
    uint64_t first = next_event(vm_a).cookie;
    assert_true(take_event(vm_a, &e) && take_event(vm_a, &e));
    iopf_tick();
    assert_int_equal(fake.answers, 0);
    platform_pass_us(5000);
    iopf_tick();
    expect_invalid(1);
    assert_int_equal(fake.answer[0].last.group, 1);
    e = next_event(vm_a);
    assert_int_equal(e.type, HC_EVENT_GROUP_EXPIRED);
    assert_true(e.cookie == first);
    assert_int_equal(e.device, 0);
    assert_int_equal(e.pasid, 1);
    assert_refused(respond(vm_a, first, HC_RESPONSE_SUCCESS), HV_EALREADY);
    platform_pass_us(6000);
    iopf_tick();
    assert_int_equal(fake.answers, 3); /* group 2, and b's; not 3 */
    assert_int_equal(next_event(vm_a).group, 2);
    assert_int_equal(next_event(vm_a).group, 3);
    iopf_tick();
    assert_int_equal(fake.answers, 3);
    assert_int_equal(vm_a->rings->open, 0);
    assert_int_equal(vm_a->stats.responses_by_sluice, 2);
}

static void a_group_of_a_blocked_or_replaced_attachment_is_answered(void **state)
{
    (void)state;
    event_ring(vm_a, 256);
    iopf_on(vm_a, 0);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    request(REQUEST(.last = true));
    request(REQUEST(.last = false, .group = 9));
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_NESTED, ROOT(2)), HV_OK);
    expect_invalid(1);
    request(REQUEST(.last = true));
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_BLOCKED, 0), HV_OK);
    expect_invalid(2);
    assert_int_equal(vm_a->rings->open, 0);
}

static void a_failed_device_has_nobody_to_answer(void **state)
{
    struct hc_event e;

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true));
    uint64_t cookie = next_event(vm_a).cookie;
    fake_fail(fake.device[0], HV_EIO);
    assert_int_equal(fake.answers, 0);
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_DEVICE_FAILED);
    assert_refused(respond(vm_a, cookie, HC_RESPONSE_SUCCESS), HV_EALREADY);
}

/* A device that is cut off after a time-out raises no interrupt: it is found by looking. */
static void a_failure_without_an_interrupt_is_told(void **state)
{
    struct hc_event e;

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    fake.fail_poll = HV_ETIMEDOUT;
    iopf_tick();
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_DEVICE_FAILED);
    assert_int_equal((int32_t)e.reason, HV_ETIMEDOUT);
}

/* A device keeps its index while the group waits: each last request still gets one answer. */
static void a_device_that_reuses_an_open_index_harms_itself(void **state)
{
    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    request(REQUEST(.last = true));
    request(REQUEST(.last = true));
    expect_invalid(1);
    request(REQUEST(.last = false));
    assert_int_equal(fake.answers, 1);
    assert_int_equal(respond(vm_a, next_event(vm_a).cookie, HC_RESPONSE_SUCCESS), HV_OK);
    assert_int_equal(fake.answers, 2);
    assert_int_equal(events_waiting(vm_a), 0);
}

/* More than it was promised, in few groups or in many: the others find their room untouched. */
static void a_flood_harms_only_the_device(void **state)
{
    unsigned promised;

    (void)state;
    event_ring(vm_a, 64);
    promised = (unsigned)iopf_on(vm_a, 0);
    assert_int_equal(promised, iopf_on(vm_a, 1));
    bind(vm_a, 0, ROOT(1), NULL);
    bind(vm_a, 1, ROOT(1), NULL);
    for (unsigned round = 0; round < 2; round++) {
        unsigned answers = fake.answers;
        for (unsigned i = 0; i < 400; i++)
            request(REQUEST(.last = round == 0, .group = (uint16_t)(round ? 5 : i)));
        assert_int_equal(events_waiting(vm_a), promised);
        assert_int_equal(fake.answers - answers, round ? 0 : 400 - promised);
        assert_int_equal(vm_a->stats.page_requests_lost > 0, true);
        for (unsigned i = 0; i < promised; i++)
            request(REQUEST(.rid = DEV1, .last = true, .group = (uint16_t)i));
        assert_int_equal(events_waiting(vm_a), 2 * promised);
        for (unsigned i = 0; i < 2 * promised; i++) {
            struct hc_event e = next_event(vm_a);
            if (e.flags & HC_PRQ_LAST)
                assert_int_equal(respond(vm_a, e.cookie, HC_RESPONSE_SUCCESS), HV_OK);
        }
    }
    /* The group without end, at last complete: it was refused in part, so it is INVALID. */
    unsigned answers = fake.answers;
    request(REQUEST(.last = true, .group = 5));
    expect_invalid(answers + 1);
    assert_int_equal(vm_a->rings->open, 0);
}

/* Whatever comes, in whatever order: each last request is answered exactly once. */
static void every_last_request_gets_exactly_one_answer(void **state)
{
    static unsigned wanted, delivered;
    struct hc_event e;

    (void)state;
    wanted = delivered = 0;
    iopf_set_deadline(3);
    event_ring(vm_a, 32);
    iopf_on(vm_a, 0);
    srand(4);
    uint32_t bond;
    bool bound = false;
    for (unsigned turn = 0; turn < 6000 && fake.answers < FAKE_LOG; turn++) {
        switch (rand() % 8) {
        case 0:
            if (!bound) {
                bond = bind(vm_a, 0, ROOT(1), NULL);
                bound = true;
            } else if (rand() % 4 == 0) {
                assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
                bound = false;
            }
            break;
        case 1:
            platform_pass_us(500);
            iopf_tick();
            break;
        case 2:
        case 3:
            if (take_event(vm_a, &e) && e.type == HC_EVENT_PAGE_REQUEST &&
                (e.flags & HC_PRQ_LAST)) {
                delivered++;
                enum hv_status status = respond(vm_a, e.cookie, (uint32_t)rand() & 1);
                assert_true(status == HV_OK || status == HV_EALREADY);
            }
            break;
        default: {
            bool last = rand() & 1;
            request(REQUEST(.last = last, .group = (uint16_t)(rand() % 40)));
            wanted += last;
        }
        }
    }
    platform_pass_us(10000);
    iopf_tick();
    assert_int_equal(fake.answers, wanted);
    assert_true(wanted > 500 && delivered > 100);
    assert_int_equal(vm_a->stats.page_responses + vm_a->stats.responses_by_sluice, wanted);
    assert_int_equal(vm_a->rings->open, 0);
}

/* --- The guest's own table leads outside its memory ------------------------------------------- */

static void a_walk_that_leaves_the_vms_memory_is_a_fault_not_a_request(void **state)
{
    uint64_t *table = ram(vm_a, ROOT(1));
    struct hc_event e;

    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    memset(table, 0, 4096);
    table[0] = OUTSIDE | 7;
    request(REQUEST(.last = true, .write = true));
    expect_invalid(1);
    e = next_event(vm_a);
    assert_int_equal(e.type, HC_EVENT_FAULT);
    assert_int_equal(e.reason, HC_FAULT_SECOND_STAGE);
    assert_int_equal(e.address, 0x5000);
    assert_int_equal(e.pasid, 1);
    assert_int_equal(e.flags, HC_PRQ_READ | HC_PRQ_WRITE | HC_PRQ_PASID);
    assert_false(take_event(vm_a, &e));
    assert_int_equal(vm_a->stats.faults, 1);
    assert_int_equal(vm_a->stats.page_requests, 0);
    /* Part of a group is enough; the rest of it is not delivered. */
    table[0] = 0;
    request(REQUEST(.group = 1));
    table[0] = OUTSIDE | 7;
    request(REQUEST(.group = 1, .address = IOVA(0x6000)));
    table[0] = 0;
    request(REQUEST(.group = 1, .last = true, .address = IOVA(0x7000)));
    expect_invalid(2);
    assert_int_equal(next_event(vm_a).type, HC_EVENT_PAGE_REQUEST);
    assert_int_equal(next_event(vm_a).type, HC_EVENT_FAULT);
    assert_false(take_event(vm_a, &e));
    /* A page that is there by now is the guest's to answer. */
    uint64_t *next = ram(vm_a, ROOT(2));
    memset(next, 0, 4096);
    table[0] = ROOT(2) | 7;
    request(REQUEST(.group = 2, .last = true));
    assert_int_equal(next_event(vm_a).type, HC_EVENT_PAGE_REQUEST);
    assert_int_equal(fake.answers, 2);
}

static unsigned calls_meanwhile;

/* Hardware may take its time over an answer. */
static void others_call_meanwhile(void *)
{
    if (calls_meanwhile++ == 0)
        iopf_on(vm_b, 0); /* takes the lock of its VM, and of the list of deadlines */
}

static void while_one_is_told_that_time_is_up_nobody_else_waits(void **state)
{
    (void)state;
    iopf_set_deadline(10);
    bind(vm_a, 0, ROOT(1), NULL);
    for (uint16_t i = 0; i < 40; i++) /* more than are taken out at a time */
        request(REQUEST(.last = true, .group = i));
    event_ring(vm_b, 64);
    platform_pass_us(11000);
    calls_meanwhile = 0;
    fake.on_respond = others_call_meanwhile;
    iopf_tick();
    fake.on_respond = NULL;
    assert_int_equal(calls_meanwhile, 40);
    assert_int_equal(fake.answers, 40);
    assert_int_equal(fake.unflushed, 0);
    assert_int_equal(vm_a->rings->open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(enabling_has_an_order),
        abi_test(only_bonds_that_use_it_hold_it),
        abi_test(promises_fit_queue_and_ring),
        abi_test(promises_fit_the_next_ring),
        abi_test(errors_change_nothing),
        abi_test(a_request_reaches_the_guest_and_its_answer_the_device),
        abi_test(groups_are_keyed_by_all_of_their_names),
        abi_test(a_request_with_pasid_0_is_not_of_the_rid),
        abi_test(wrong_answers_are_refused),
        abi_test(off_and_on_again_keeps_old_cookies_dead),
        abi_test(what_nobody_serves_is_answered_invalid),
        abi_test(a_device_cannot_name_the_pasid_of_another_vm),
        abi_test(the_deadline_passes),
        abi_test(while_one_is_told_that_time_is_up_nobody_else_waits),
        abi_test(a_group_of_a_blocked_or_replaced_attachment_is_answered),
        abi_test(a_failed_device_has_nobody_to_answer),
        abi_test(a_failure_without_an_interrupt_is_told),
        abi_test(a_device_that_reuses_an_open_index_harms_itself),
        abi_test(a_flood_harms_only_the_device),
        abi_test(every_last_request_gets_exactly_one_answer),
        abi_test(a_walk_that_leaves_the_vms_memory_is_a_fault_not_a_request),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
