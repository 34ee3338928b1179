/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: page requests: delivery, answers, automatic answers, overflow, drain. */
#include "tests/unit/vtd_bed.h"

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/unit.h"

static struct iommu_device a, b;
static struct pt pt;
static struct iommu_stage2 s2;
static gpaddr_t root;

static void start(void)
{
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    bed_stage2(&pt, &s2, a.unit);
    root = bed_root();
    struct iommu_target t = bed_nested(&s2, root);
    for (uint32_t pasid = 5; pasid < 8; pasid++) {
        assert_int_equal(iommu_vtd.attach(&a, pasid, &t), HV_OK);
        assert_int_equal(iommu_vtd.attach(&b, pasid, &t), HV_OK);
    }
    assert_int_equal(iommu_vtd.page_requests_on(&a, 64), HV_OK);
    assert_int_equal(iommu_vtd.page_requests_on(&b, 64), HV_OK);
}

static void stop(void)
{
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
}

static unsigned responses(rid_t rid, int32_t pasid, unsigned group, unsigned code)
{
    unsigned n = 0;
    for (unsigned i = 0; i < bed.nresponses; i++) {
        const struct bed_response *r = &bed.response[i];
        n += r->rid == rid && r->pasid == pasid && r->prgi == group && r->code == code;
    }
    return n;
}

static void requests_arrive_and_are_answered(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_A, 5, 0x7f0000012000, 3, false);
    bed_page_request(BED_A, 5, 0x7f0000013000, 3, true);
    bed_page_request(BED_B, 6, 0x1000, 0x1ff, true);
    assert_int_equal(bed.nrequests, 0);
    bed_interrupts(); /* by the unit's own event */
    assert_int_equal(bed.nrequests, 3);
    assert_int_equal(bed.nrequests_done, 1);
    const struct iommu_page_request *r = bed.request;
    assert_int_equal(r[0].rid, BED_A);
    assert_true(r[0].pasid_present && r[0].read && !r[0].write && !r[0].last && !r[0].privileged);
    assert_int_equal(r[0].pasid, 5);
    assert_int_equal(r[0].group, 3);
    assert_int_equal(r[0].address.v, 0x7f0000012000);
    assert_true(r[1].last);
    assert_int_equal(r[2].rid, BED_B);
    assert_int_equal(r[2].group, 0x1ff);
    iommu_vtd.respond(&a, &r[1], true);
    iommu_vtd.respond(&b, &r[2], false);
    assert_int_equal(bed.nresponses, 0);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed.nresponses, 2);
    assert_int_equal(responses(BED_A, 5, 3, 0), 1);
    assert_int_equal(responses(BED_B, 6, 0x1ff, 1), 1);
    /* The event comes again. */
    bed_page_request(BED_A, 5, 0x1000, 4, true);
    bed_interrupts();
    assert_int_equal(bed.nrequests, 4);
    iommu_vtd.respond(&a, &bed.request[3], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    stop();
}

static void without_pasid(void **state)
{
    (void)state;
    start();
    struct iommu_target t = bed_second(&s2);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    bed_page_request(BED_A, BED_NO_PASID, 0x5000, 9, true);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 1);
    assert_false(bed.request[0].pasid_present);
    assert_int_equal(bed.request[0].pasid, PASID_RID);
    iommu_vtd.respond(&a, &bed.request[0], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(responses(BED_A, BED_NO_PASID, 9, 0), 1);
    stop();
}

static void off_means_invalid(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_A, 5, 0x1000, 1, true); /* still queued when they go off */
    bed_page_request(BED_A, 6, 0x1000, 2, false);
    bed_page_request(BED_B, 5, 0x1000, 3, true);
    iommu_vtd.page_requests_off(&a);
    assert_int_equal(responses(BED_A, 5, 1, 1), 1);
    assert_int_equal(bed.nresponses, 1);
    bed_page_request(BED_A, 5, 0x1000, 4, true);
    iommu_vtd.poll();
    assert_int_equal(responses(BED_A, 5, 4, 1), 1); /* by hardware: PRE = 0 */
    assert_int_equal(bed.nrequests, 1);
    assert_int_equal(bed.request[0].rid, BED_B);
    assert_int_equal(bed.nfaults, 1);
    assert_int_equal(bed.fault[0].code, 0x47);
    assert_int_equal(bed.fault[0].class, IOMMU_FAULT_BLOCKED);
    iommu_vtd.respond(&b, &bed.request[0], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 1), HV_OK);
    bed_page_request(BED_A, 5, 0x1000, 5, true);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 2);
    iommu_vtd.respond(&a, &bed.request[1], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    stop();
}

/* What a failed or closed device has in the ring is answered by the driver itself. */
static void closed_devices_are_answered(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_A, 5, 0x1000, 1, true);
    bed_page_request(BED_A, 5, 0x1000, 2, false);
    bed_page_request(BED_B, 5, 0x1000, 3, true);
    bed.silent[BED_A] = true;
    iommu_vtd.invalidate(&(struct iommu_inval){ .dev = &a, .pasid = 5, .kind = IOMMU_INVAL_PASID });
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(a.failed);
    iommu_vtd.poll();
    assert_int_equal(responses(BED_A, 5, 1, 1), 1);
    assert_int_equal(bed.nresponses, 1);
    assert_int_equal(bed.nrequests, 1);
    iommu_vtd.respond(&b, &bed.request[0], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    bed.silent[BED_A] = false;
    stop();
}

/* Hardware hangs, the queue has no room, and there are a thousand to refuse: others wait for the
 * lock meanwhile. */
static void a_queue_without_room_is_waited_for_once(void **state)
{
    (void)state;
    start();
    struct vtd_device *v = a.driver;
    struct vtd_queue *q = &a.unit->queue;
    for (unsigned i = 0; i < 1000; i++)
        bed_page_request(BED_A, 5, 0x1000ull * i, i & 0x1ff, true);
    bed.dead = true;
    while (q->tail + 3 <= q->limit)
        iommu_vtd.invalidate(&(struct iommu_inval){
            .dev = &b, .pasid = 5, .kind = IOMMU_INVAL_RANGE, .bytes = PAGE_SIZE });
    v->pri = false;
    uint64_t before = time_now();
    iommu_vtd.poll();
    assert_true((time_now() - before) / 1000000000 <= 6); /* a nanosecond each */
    v->pri = true;
    bed.dead = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->tail % QUEUE_ENTRIES * 32);
    vtd_model_run(bed.model[0]);
    stop();
}

/* Between page requests being on in the unit and off for the core there is a moment. */
static void a_request_in_that_moment(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_A, 5, 0x1000, 1, true);
    ((struct vtd_device *)a.driver)->pri = false;
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 0);
    assert_int_equal(responses(BED_A, 5, 1, 1), 1);
    ((struct vtd_device *)a.driver)->pri = true;
    stop();
}

static void promises_fit_the_ring(void **state)
{
    (void)state;
    start();
    uint32_t all = PRQ_ENTRIES - 1;
    assert_int_equal(iommu_vtd.page_requests_free(a.unit), all - 128);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 1), HV_EEXIST);
    iommu_vtd.page_requests_off(&a);
    assert_int_equal(iommu_vtd.page_requests_free(a.unit), all - 64);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 0), HV_ERANGE);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 1025), HV_ERANGE);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 1024), HV_OK);
    assert_int_equal(pci_config_read(BED_A, 0x12c, 4), 1024);
    assert_int_equal(pci_config_read(BED_A, 0x124, 2), 1);
    struct iommu_device c;
    bed_add(&c, BED_C);
    assert_int_equal(iommu_vtd.page_requests_on(&c, 1000), HV_EBUSY);
    assert_int_equal(iommu_vtd.page_requests_on(&c, (uint16_t)(all - 64 - 1024)), HV_OK);
    assert_int_equal(iommu_vtd.page_requests_free(a.unit), 0);
    iommu_vtd.device_remove(&c);
    assert_int_equal(iommu_vtd.page_requests_free(a.unit), all - 64 - 1024);
    stop();
    assert_int_equal(pci_config_read(BED_A, 0x124, 2), 0);
}

/* Blocking one PASID answers what it has queued; nobody else's is lost, doubled or reordered. */
static void drain_takes_its_own(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 20; i++) {
        bed_page_request(BED_A, 5, 0x1000, (uint16_t)(2 * i), false);
        bed_page_request(BED_A, 5, 0x2000, (uint16_t)(2 * i), true);
        bed_page_request(BED_A, 6, 0x3000, (uint16_t)(2 * i), true);
        bed_page_request(BED_B, 5, 0x4000, (uint16_t)(2 * i), true);
    }
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    assert_int_equal(bed.nresponses, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(responses(BED_A, 5, 2 * i, 1), 1);
    assert_int_equal(bed.nrequests, 0); /* no upcall from within a call */
    bed_page_request(BED_B, 7, 0x5000, 100, true);
    assert_int_equal(iommu_vtd.block(&a, 6), HV_OK); /* out of the backlog, too */
    assert_int_equal(bed.nresponses, 40);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(responses(BED_A, 6, 2 * i, 1), 1);
    bed_interrupts();
    assert_int_equal(bed.nrequests, 21);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(bed.request[i].rid, BED_B);
        assert_int_equal(bed.request[i].group, 2 * i);
        iommu_vtd.respond(&b, &bed.request[i], true);
    }
    assert_int_equal(bed.request[20].group, 100);
    iommu_vtd.respond(&b, &bed.request[20], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed.nresponses, 61);
    stop();
}

static void removal_answers_all(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 10; i++) {
        bed_page_request(BED_A, 5 + (int32_t)i % 3, 0x1000, (uint16_t)i, true);
        bed_page_request(BED_B, 5, 0x4000, (uint16_t)i, true);
    }
    iommu_vtd.device_remove(&a);
    assert_int_equal(bed.nresponses, 10);
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK); /* of nothing */
    bed_add(&a, BED_A);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 10);
    for (unsigned i = 0; i < 10; i++)
        iommu_vtd.respond(&b, &bed.request[i], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed.nresponses, 20);
    stop();
}

static void stop_markers_want_no_answer(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_A, 5, 0x1000, 1, true);
    bed_page_message(BED_A, 5, 0, 0, true, false);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 1);
    assert_int_equal(bed.nresponses, 0);
    bed_page_message(BED_A, 6, 0, 0, true, false);
    assert_int_equal(iommu_vtd.block(&a, 6), HV_OK);
    assert_int_equal(bed.nresponses, 0);
    iommu_vtd.respond(&a, &bed.request[0], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    stop();
}

/* A device asks more than the ring holds. Hardware answers what it drops; the rest arrives once. */
static void overflow_is_survived(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < PRQ_ENTRIES + 100; i++)
        bed_page_request(BED_A, 5, 0x1000ull * i, (uint16_t)(i & 0x1ff), false);
    bed_page_request(BED_A, 5, 0, 0x42, true);
    assert_int_equal(responses(BED_A, 5, 0x42, 0), 1); /* Table 31 */
    bed_interrupts();
    assert_int_equal(bed.nrequests, PRQ_ENTRIES - 1);
    for (unsigned i = 0; i < bed.nrequests; i++)
        assert_int_equal(bed.request[i].address.v, 0x1000ull * i);
    assert_true(platform_logged("overflow"));
    bed_page_request(BED_B, 5, 0x9000, 1, true);
    bed_interrupts();
    assert_int_equal(bed.nrequests, PRQ_ENTRIES);
    iommu_vtd.respond(&b, &bed.request[PRQ_ENTRIES - 1], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    stop();
}

static void overflow_while_draining(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_B, 5, 0x9000, 1, true);
    for (unsigned i = 0; i < PRQ_ENTRIES + 100; i++)
        bed_page_request(BED_A, 5, 0x1000ull * i, (uint16_t)(i & 0x1ff), false);
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    bed_page_request(BED_B, 5, 0xa000, 2, true);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 2);
    for (unsigned i = 0; i < 2; i++)
        iommu_vtd.respond(&b, &bed.request[i], true);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    stop();
}

/* One that never stops does not cost another device its attachments. */
static void a_flood_costs_nobody_else_a_device(void **state)
{
    (void)state;
    start();
    bed_page_request(BED_B, 5, 0x9000, 1, true);
    bed_interrupts();
    bed.flood = BED_A;
    assert_int_equal(iommu_vtd.block(&b, 5), HV_OK);
    bed.flood = 0;
    assert_false(b.failed);
    assert_true(platform_logged("keep overflowing"));
    uint64_t value;
    bed_map(root, 0x5000, 0x3000);
    assert_int_equal(bed_read(BED_B, 6, 0x5000, &value), 0);
    assert_int_not_equal(bed_read(BED_B, 5, 0x5000, &value), 0);
    iommu_vtd.poll();
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(requests_arrive_and_are_answered),
        bed_test(without_pasid),
        bed_test(off_means_invalid),
        bed_test(closed_devices_are_answered),
        bed_test(a_queue_without_room_is_waited_for_once),
        bed_test(a_request_in_that_moment),
        bed_test(promises_fit_the_ring),
        bed_test(drain_takes_its_own),
        bed_test(removal_answers_all),
        bed_test(stop_markers_want_no_answer),
        bed_test(overflow_is_survived),
        bed_test(overflow_while_draining),
        bed_test(a_flood_costs_nobody_else_a_device),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
