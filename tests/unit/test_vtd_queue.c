/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: the invalidation queue: batches, a full ring, devices that do not answer, hardware that
 * hangs. */
#include "tests/unit/vtd_bed.h"

#include <string.h>

#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

static struct iommu_device a, b, c;
static struct pt pt;
static struct iommu_stage2 s2;
static gpaddr_t root;

static void start(void)
{
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    bed_add(&c, BED_C);
    bed_stage2(&pt, &s2, a.unit);
    root = bed_root();
    struct iommu_target t = bed_nested(&s2, root);
    struct iommu_device *const all[] = { &a, &b, &c };
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(iommu_vtd.attach(all[i], 5, &t), HV_OK);
}

/* Types of the descriptors put since @from, as a number: 0x7285 is 7, 2, 8, 5. */
static uint64_t types(uint64_t from)
{
    const struct vtd_queue *q = &a.unit->queue;
    uint64_t n = 0;
    for (; from != q->tail; from++)
        n = n << 4 | (q->ring[4 * (from % QUEUE_ENTRIES)] & 15);
    return n;
}

static void stop(void)
{
    /* Whatever happened: all that was put in has been taken back. */
    assert_int_equal(iommu_vtd.block(&c, 0x5555), HV_OK);
    struct vtd_ticket ticket;
    assert_int_equal(vtd_queue_submit(a.unit, 0, false, &ticket), HV_OK);
    assert_int_equal(vtd_queue_wait(a.unit, ticket), HV_OK);
    assert_int_equal(vtd_queue_submit(a.unit, 0, false, &ticket), HV_OK);
    assert_int_equal(a.unit->queue.done, a.unit->queue.tail - 1);
    for (unsigned i = 0; i < 65536; i++)
        bed.silent[i] = false;
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    iommu_vtd.device_remove(&c);
    bed_stage2_gone(&pt, &s2);
}

static void invalidate(struct iommu_device *dev, uint64_t address, uint64_t bytes)
{
    iommu_vtd.invalidate(&(struct iommu_inval){
        .dev = dev,
        .pasid = 5,
        .kind = IOMMU_INVAL_RANGE,
        .leaf = true,
        .address = IOVA(address),
        .bytes = bytes,
    });
}

/* Everyone has read va through its TLB; then the guest moves the page. */
static void move_page(uint64_t va, uint64_t from, uint64_t to)
{
    static const rid_t rids[] = { BED_A, BED_B, BED_C };
    uint64_t value;
    bed_map(root, va, from);
    for (unsigned i = 0; i < 3; i++)
        if (!bed.silent[rids[i]])
            assert_true(bed_ats_read(rids[i], 5, va, &value) && value == from + 1);
    bed_map(root, va, to);
}

static void a_batch_waits_once(void **state)
{
    (void)state;
    start();
    for (uint64_t i = 0; i < 100; i++)
        move_page(0x100000 + i * PAGE_SIZE, 0x10000, 0x20000);
    uint64_t tails = bed.tail_writes;
    for (uint64_t i = 0; i < 100; i++) {
        invalidate(&a, 0x100000 + i * PAGE_SIZE, PAGE_SIZE);
        invalidate(&b, 0x100000 + i * PAGE_SIZE, PAGE_SIZE);
    }
    assert_int_equal(bed.tail_writes, tails);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed.tail_writes, tails + 1);
    uint64_t value;
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(bed_ats_read(BED_A, 5, 0x100000 + i * PAGE_SIZE, &value));
        assert_int_equal(value, 0x20001);
        assert_true(bed_ats_read(BED_B, 5, 0x100000 + i * PAGE_SIZE, &value));
        assert_int_equal(value, 0x20001);
    }
    assert_int_equal(iommu_vtd.flush(), HV_OK); /* nothing to do */
    assert_int_equal(bed.tail_writes, tails + 1);
    stop();
}

static struct vtd_ticket submit(void)
{
    struct vtd_ticket ticket;
    assert_int_equal(vtd_queue_submit(a.unit, 0, false, &ticket), HV_OK);
    return ticket;
}

/* Hardware stands at a wait, not behind it (it "does not increment the head"): what was lost before
 * that wait has to come before it again, or the wait would complete without. */
static void lost_work_comes_before_its_wait(void **state)
{
    (void)state;
    start();
    struct vtd_queue *q = &a.unit->queue;
    uint64_t from = q->tail, head = from + 4;
    bed.frozen = true;
    invalidate(&a, 0x1000, PAGE_SIZE); /* 6 8 */
    invalidate(&b, 0x1000, PAGE_SIZE); /* 6 8 */
    struct vtd_ticket one = submit();
    invalidate(&c, 0x1000, PAGE_SIZE);
    struct vtd_ticket two = submit();
    invalidate(&b, 0x2000, PAGE_SIZE);
    struct vtd_ticket three = submit();
    assert_int_equal(types(from), 0x68685685685);
    bed.frozen_fsts = FSTS_ITE;
    bed.frozen_head = head % QUEUE_ENTRIES * 32;
    bed.frozen_record = (uint64_t)BED_B << 32;
    assert_true(vtd_queue_errors(a.unit));
    assert_int_equal(bed.frozen_fsts, 0);
    assert_true(b.failed && !a.failed && !c.failed);
    /* B's flush, A's 6 8, B's 6; wait one; C's 6 8; wait two; B's 6, nothing for its 8; wait three.
     */
    assert_int_equal(types(head), 0x1726865685655);
    assert_int_equal(q->ring[4 * ((head + 11) % QUEUE_ENTRIES)], 0x45);
    assert_int_equal(q->done, head);
    assert_int_equal(q->end[one.last % QUEUE_WAITS], head + 7);
    assert_int_equal(q->end[two.last % QUEUE_WAITS], head + 10);
    assert_int_equal(q->end[three.last % QUEUE_WAITS], q->tail);
    /* Then A, with wait two done before wait one: what two covered is not repeated. */
    q->status[two.last % QUEUE_WAITS] = (uint32_t)two.last;
    bed.frozen_fsts = FSTS_ITE;
    bed.frozen_head = (head + 12) % QUEUE_ENTRIES * 32; /* at wait three */
    bed.frozen_record = (uint64_t)BED_A << 32;
    assert_true(vtd_queue_errors(a.unit));
    /* Two flushes, A's 6, B's 6, wait one; B's 6 and nothing; wait three. */
    assert_int_equal(types(head + 12), 0x172172665655);
    assert_false(vtd_queue_errors(a.unit)); /* no error: nothing to do */
    bed.frozen = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->tail % QUEUE_ENTRIES * 32);
    assert_int_equal(vtd_queue_wait(a.unit, three), HV_OK);
    assert_int_equal(vtd_queue_wait(a.unit, one), HV_OK);
    stop();
}

/* More than the ring holds, without a flush in between; several times round. */
static void a_full_ring_makes_room(void **state)
{
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    invalidate(&a, 0x100000, PAGE_SIZE);
    for (unsigned i = 0; i < 5 * QUEUE_ENTRIES; i++)
        invalidate(&b, 0x200000, PAGE_SIZE);
    uint64_t value;
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    for (unsigned i = 0; i < 600; i++) { /* more waits than there are status words */
        invalidate(&b, 0x200000, PAGE_SIZE);
        assert_int_equal(iommu_vtd.flush(), HV_OK);
    }
    stop();
}

static unsigned relaxed;

/* Every two seconds hardware gives up on a device whose name it does not know. */
static void give_up_now_and_then(void)
{
    platform_pass_us(10000);
    if (++relaxed % 200 == 0)
        bed.frozen_fsts |= FSTS_ITE;
}

/* Round after round of questions, with the lock held: others would take that for a deadlock. */
static void room_is_waited_for_a_few_seconds(void **state)
{
    const struct vtd_desc desc = vtd_desc_fence;
    (void)state;
    start();
    struct vtd_queue *q = &a.unit->queue;
    bed.frozen = true;
    bed.frozen_record = 0;
    invalidate(&a, 0x1000, PAGE_SIZE); /* 6 8 */
    invalidate(&b, 0x1000, PAGE_SIZE);
    invalidate(&c, 0x1000, PAGE_SIZE);
    bed.frozen_head = (q->tail - 1) % QUEUE_ENTRIES * 32;
    while (q->tail + 3 <= q->limit)
        invalidate(&a, 0x1000, PAGE_SIZE);
    relaxed = 0;
    bed.on_relax = give_up_now_and_then;
    uint64_t first = 0, before = time_now();
    enum hv_status status = HV_OK;
    for (unsigned i = 0; i < 8 && status == HV_OK; i++)
        status = vtd_queue_put(a.unit, &desc, 1, &first);
    assert_int_equal(status, HV_ETIMEDOUT);
    assert_in_range((time_now() - before) / 1000000000, 3, 6); /* a nanosecond each */
    before = time_now();
    assert_int_equal(vtd_queue_put(a.unit, &desc, 1, &first), HV_ETIMEDOUT);
    assert_in_range((time_now() - before) / 1000000000, 0, 1);
    bed.on_relax = NULL;
    bed.frozen = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->tail % QUEUE_ENTRIES * 32);
    stop();
}

/* One CPU's wait lies between another's descriptors and its wait: 6.5.2.12 then promises less. */
static void cpus_share_the_queue(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    platform_set_cpus(2, 0);
    invalidate(&a, 0x100000, PAGE_SIZE);
    uint64_t first_of_a = a.unit->queue.next;
    platform_set_cpus(2, 1);
    invalidate(&b, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_B, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    platform_set_cpus(2, 0);
    /* The wait of the other CPU covers what this one put in: it must be part of the ticket. */
    struct vtd_ticket ticket;
    assert_int_equal(vtd_queue_submit(a.unit, first_of_a, false, &ticket), HV_OK);
    assert_int_equal(ticket.first, first_of_a);
    assert_int_equal(ticket.last, first_of_a + 1);
    assert_int_equal(vtd_queue_wait(a.unit, ticket), HV_OK);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    platform_set_cpus(1, 0);
    stop();
}

static void a_silent_device_loses_itself_alone(void **state)
{
    uint64_t value;
    (void)state;
    start();
    for (uint64_t i = 0; i < 4; i++)
        move_page(0x100000 + i * PAGE_SIZE, 0x10000, 0x20000);
    bed.silent[BED_B] = true;
    /* Around it in one batch: work for others, and answers to page requests. */
    assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
    bed_page_request(BED_A, 5, 0x100000, 1, true);
    bed_page_request(BED_A, 5, 0x100000, 2, true);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 2);
    iommu_vtd.respond(&a, &bed.request[0], true);
    invalidate(&a, 0x100000, PAGE_SIZE);
    invalidate(&b, 0x100000, PAGE_SIZE);
    invalidate(&c, 0x100000, PAGE_SIZE);
    invalidate(&b, 0x101000, PAGE_SIZE);
    invalidate(&a, 0x101000, PAGE_SIZE);
    iommu_vtd.respond(&a, &bed.request[1], false);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    static const rid_t alive[] = { BED_A, BED_C, BED_A };
    for (unsigned i = 0; i < 3; i++) {
        assert_true(bed_ats_read(alive[i], 5, 0x100000 + (i == 2) * PAGE_SIZE, &value));
        assert_int_equal(value, 0x20001);
    }
    assert_int_equal(bed.nresponses, 2); /* each once */
    /* The silent one: nothing passes, not by stale TLB either. */
    assert_int_equal(bed_read(BED_B, 5, 0x100000, &value), 0x41);
    assert_false(bed_ats_read(BED_B, 5, 0x100000, &value));
    assert_true(b.failed && !a.failed && !c.failed);
    assert_int_equal(bed.unanswered, 1); /* asked once, not for each descriptor */
    assert_int_equal(bed.nfailed, 0);    /* not from within a call */
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 1);
    assert_ptr_equal(bed.failed[0], &b);
    assert_int_equal(bed.failed_why[0], HV_EIO);
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 1);
    struct iommu_target t = bed_nested(&s2, root);
    assert_int_equal(iommu_vtd.attach(&b, 6, &t), HV_EIO);
    /* Nobody talks to it any more. */
    invalidate(&b, 0x102000, PAGE_SIZE);
    invalidate(&a, 0x102000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(iommu_vtd.block(&b, 5), HV_EIO);
    iommu_vtd.device_remove(&b);
    /* After a reset it may come back. */
    bed.silent[BED_B] = false;
    bed_add(&b, BED_B);
    assert_int_equal(iommu_vtd.attach(&b, 5, &t), HV_OK);
    assert_int_equal(bed_read(BED_B, 5, 0x100000, &value), 0);
    stop();
}

static void two_silent_devices(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    bed.silent[BED_B] = bed.silent[BED_C] = true;
    invalidate(&b, 0x100000, PAGE_SIZE);
    invalidate(&c, 0x100000, PAGE_SIZE);
    invalidate(&a, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 2);
    assert_true(b.failed && c.failed && !a.failed);
    stop();
}

static void silent_while_blocked(void **state)
{
    uint64_t value;
    (void)state;
    start();
    bed.silent[BED_A] = true;
    assert_int_equal(iommu_vtd.block(&a, 5), HV_EIO);
    assert_true(a.failed);
    assert_int_equal(bed_read(BED_A, 5, 0x100000, &value), 0x41);
    struct iommu_target t = bed_second(&s2);
    bed.silent[BED_B] = true;
    assert_int_equal(iommu_vtd.attach(&b, 5, &t), HV_EIO);
    assert_int_equal(bed_read(BED_B, 5, 0, &value), 0x41);
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0), PAGE_SIZE), HV_OK);
    bed.silent[BED_C] = true;
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0), PAGE_SIZE), HV_OK);
    assert_int_equal(bed_read(BED_C, 5, 0x100000, &value), 0x41);
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 3);
    stop();
}

/* The queue is full of unfinished work when the device falls silent: the copies need all room there
 * is. */
static void silent_with_a_full_ring(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    bed.silent[BED_B] = true;
    invalidate(&b, 0x100000, PAGE_SIZE);
    for (unsigned i = 0; i < 3 * QUEUE_ENTRIES; i++)
        invalidate(i % 2 ? &a : &b, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    assert_true(b.failed && !a.failed);
    stop();
}

/* Hardware that does not tell who was silent: whoever it can have been is asked, alone. */
static void a_silent_device_without_a_name_is_found(void **state)
{
    static const rid_t rids[] = { BED_A, BED_B, BED_C };
    struct iommu_device *const all[] = { &a, &b, &c };
    uint64_t value;
    (void)state;
    for (unsigned silent = 1; silent < 7; silent++) { /* which of them, a bit each */
        if (silent > 1) {
            assert_int_equal(bed_check(NULL), 0);
            assert_int_equal(bed_fresh(NULL), 0);
        }
        start();
        bed.anonymous = true;
        for (uint64_t i = 0; i < 3; i++)
            move_page(0x100000 + i * PAGE_SIZE, 0x10000, 0x20000);
        assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
        bed_page_request(BED_A, 5, 0x100000, 1, true);
        iommu_vtd.poll();
        for (unsigned i = 0; i < 3; i++)
            bed.silent[rids[i]] = silent >> i & 1;
        iommu_vtd.respond(&a, &bed.request[0], true);
        for (uint64_t page = 0; page < 3; page++)
            for (unsigned i = 0; i < 3; i++)
                invalidate(all[(i + silent) % 3], 0x100000 + page * PAGE_SIZE, PAGE_SIZE);
        assert_int_equal(iommu_vtd.flush(), HV_OK);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(all[i]->failed, silent >> i & 1);
            for (uint64_t page = 0; page < 3; page++) {
                bool reaches = bed_ats_read(rids[i], 5, 0x100000 + page * PAGE_SIZE, &value);
                assert_int_equal(reaches, !(silent >> i & 1));
                if (reaches)
                    assert_int_equal(value, 0x20001);
            }
        }
        if (!(silent & 1))
            assert_int_equal(bed.nresponses, 1); /* each once */
        stop();
    }
}

static uint64_t slow_until, slow_again;

/* The unit waits for a device TLB, for longer than we would; then says whose. */
static void slow_unit(void)
{
    struct vtd_queue *q = &c.unit->queue;
    if (!bed.dead || time_now() < slow_until)
        return;
    bed.dead = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->published % QUEUE_ENTRIES * 32);
    vtd_model_run(bed.model[0]);
    if (!slow_again)
        return;
    /* Another CPU sees it first; then hardware is slow once more. */
    slow_until = slow_again;
    slow_again = 0;
    bed.dead = true;
    assert_true(vtd_queue_errors(c.unit));
}

static uint64_t us(uint64_t n)
{
    return n * time_ticks_per_us();
}

static void neighbours_of_a_silent_device_are_not_blamed(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    bed.silent[BED_B] = true;
    bed.dead = true;
    slow_until = time_now() + us(2 * QUEUE_WAIT_US);
    bed.on_relax = slow_unit;
    invalidate(&a, 0x100000, PAGE_SIZE);
    invalidate(&b, 0x100000, PAGE_SIZE);
    invalidate(&c, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(time_now() >= slow_until);
    assert_true(b.failed && !a.failed && !c.failed);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value) && value == 0x20001);
    assert_true(bed_ats_read(BED_C, 5, 0x100000, &value) && value == 0x20001);
    /* One that it can be but one is cut off at once; who waits behind it goes on. */
    bed.silent[BED_C] = true;
    bed.dead = true;
    slow_until = time_now() + us(2 * QUEUE_WAIT_US);
    invalidate(&c, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(c.failed && !a.failed);
    bed.on_relax = NULL;
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 2);
    stop();
}

static void who_waits_sees_what_others_found_out(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    bed.silent[BED_B] = true;
    bed.dead = true;
    slow_until = time_now() + us(QUEUE_WAIT_US * 9 / 10);
    slow_again = time_now() + us(QUEUE_WAIT_US * 17 / 10);
    bed.on_relax = slow_unit;
    invalidate(&b, 0x100000, PAGE_SIZE);
    invalidate(&a, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    bed.on_relax = NULL;
    assert_true(b.failed && !a.failed && !c.failed);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value) && value == 0x20001);
    stop();
}

/* Completions that nobody asked for: a device sends them as fast as it likes. */
static void unexpected_completions_do_not_flood_the_log(void **state)
{
    unsigned lines = 0;
    (void)state;
    start();
    bed.frozen = true;
    for (unsigned i = 0; i < 100; i++) {
        bed.frozen_fsts = FSTS_ICE;
        bed.frozen_record = (uint64_t)BED_B << 48;
        iommu_vtd.poll();
        assert_int_equal(bed.frozen_fsts, 0);
    }
    bed.frozen = false;
    for (const char *at = platform_log(); (at = strstr(at, "unexpected TLB")); at++)
        lines++;
    assert_in_range(lines, 1, 4);
    assert_false(b.failed);
    stop();
}

static void a_hanging_unit_is_left(void **state)
{
    (void)state;
    start();
    bed.dead = true;
    uint64_t before = time_now();
    assert_int_equal(iommu_vtd.block(&a, 5), HV_ETIMEDOUT);
    assert_in_range((time_now() - before) / time_ticks_per_us(), 1, 4000000);
    assert_true(platform_logged("queue stuck"));
    assert_true(a.failed);
    before = time_now();
    invalidate(&b, 0, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_ETIMEDOUT);
    assert_in_range((time_now() - before) / time_ticks_per_us(), 1,
                    100000);                         /* not a second again */
    for (unsigned i = 0; i < 2 * QUEUE_ENTRIES; i++) /* no room: said, not waited for */
        invalidate(&b, 0, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_ETIMEDOUT);
    struct iommu_stage2 more;
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &pt, &more), HV_OK);
    assert_int_equal(iommu_vtd.stage2_destroy(&more), HV_ETIMEDOUT); /* its table is to be kept */
    iommu_vtd.poll();
    assert_true(bed.nfailed >= 1);
    for (unsigned i = 0; i < 300; i++) { /* more waits than status words: refused */
        struct vtd_ticket ticket;
        enum hv_status s = vtd_queue_submit(a.unit, 0, false, &ticket);
        assert_true(s == HV_OK || s == HV_ETIMEDOUT);
        assert_true(a.unit->queue.next - a.unit->queue.oldest <= QUEUE_WAITS);
    }
    /* It comes to life again. */
    bed.dead = false;
    struct vtd_queue *q = &c.unit->queue;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->published % QUEUE_ENTRIES * 32);
    vtd_model_run(bed.model[0]);
    invalidate(&c, 0, PAGE_SIZE);
    enum hv_status status = iommu_vtd.flush();
    assert_true(status == HV_OK || status == HV_ETIMEDOUT);
    invalidate(&c, 0, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_false(q->stuck);
    stop();
}

/* A device is cut off while nothing more fits: until the unit has forgotten it, nothing that it
 * translated through is given back, and then it reaches nothing. */
static void a_cut_without_room_is_flushed_before_ids_are_free(void **state)
{
    struct iommu_stage2 lost, more;
    uint64_t first = 0, value;
    (void)state;
    start();
    bed_map(root, 0x100000, 0x10000);
    assert_int_equal(bed_read(BED_B, 5, 0x100000, &value), 0); /* its context is cached */
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &pt, &lost), HV_OK);
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &pt, &more), HV_OK);
    bed.dead = true;
    while (vtd_queue_put(a.unit, &vtd_desc_fence, 1, &first) == HV_OK)
        ;
    iommu_vtd.device_fail(&b, HV_ENODEV);
    assert_true(platform_logged("caches not flushed"));
    assert_int_equal(iommu_vtd.stage2_destroy(&lost), HV_ETIMEDOUT);
    bed.dead = false;
    struct vtd_queue *q = &a.unit->queue;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->published % QUEUE_ENTRIES * 32);
    vtd_model_run(bed.model[0]);
    assert_int_equal(iommu_vtd.stage2_destroy(&more), HV_OK);
    assert_int_not_equal(bed_read(BED_B, 5, 0x100000, &value), 0);
    uint64_t before = q->tail; /* and that was all: PASID cache, IOTLB, wait */
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &pt, &more), HV_OK);
    assert_int_equal(iommu_vtd.stage2_destroy(&more), HV_OK);
    assert_int_equal(types(before), 0x725);
    stop();
}

/* Found gone by another CPU while it is let in again: the cut stands. */
static void who_is_cut_off_is_not_let_in(void **state)
{
    (void)state;
    start();
    struct vtd_device *v = b.driver;
    assert_true(v->context[0] & 1);
    iommu_vtd.device_fail(&b, HV_ENODEV);
    assert_int_equal(vtd_context_set(v), HV_EIO);
    assert_false(v->context[0] & 1);
    stop();
}

/* A descriptor that hardware refuses is our bug: told to its owner, and the queue goes on. */
static void a_refused_descriptor(void **state)
{
    uint64_t value;
    (void)state;
    start();
    move_page(0x100000, 0x10000, 0x20000);
    struct vtd_desc wrong = { 0xf, 0 }; /* no such type */
    bed.complaints_wanted = vtd_model_complaints(bed.model[0], &(const char *){ 0 }) + 1;
    assert_int_equal(vtd_queue_execute(a.unit, &wrong, 1, false), HV_EIO);
    assert_true(platform_logged("descriptor refused"));
    invalidate(&a, 0x100000, PAGE_SIZE);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x100000, &value));
    assert_int_equal(value, 0x20001);
    stop();
}

/* Each change asks for what Table 28 says, in an order that 6.5.2.12 keeps. */
static void order_of_descriptors(void **state)
{
    (void)state;
    start();
    struct vtd_queue *q = &a.unit->queue;
    struct iommu_target second = bed_second(&s2), nested = bed_nested(&s2, root);
    uint64_t at = q->tail;
    invalidate(&a, 0x1000, PAGE_SIZE);
    assert_int_equal(types(at), 0x68);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    at = q->tail;
    iommu_vtd.invalidate(&(struct iommu_inval){ .dev = &a, .pasid = 5, .kind = IOMMU_INVAL_PASID });
    assert_int_equal(types(at), 0x68);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    at = q->tail; /* single pages: two each, no more */
    iommu_vtd.invalidate(&(struct iommu_inval){
        .dev = &a,
        .pasid = 5,
        .kind = IOMMU_INVAL_PAGES,
        .page = (const iova_t[]){ { 0x5000 }, { 0x9000 }, { 0x1000 } },
        .pages = 3,
    });
    assert_int_equal(types(at), 0x686868);
    assert_int_equal(q->ring[4 * ((at + 2) % QUEUE_ENTRIES) + 1], 0x9000);
    assert_int_equal(q->ring[4 * ((at + 5) % QUEUE_ENTRIES) + 1], 0x1000);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    at = q->tail; /* set: nothing, for nothing of it can be cached */
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &nested), HV_OK);
    assert_int_equal(types(at), 0);
    at = q->tail; /* type 3 waits for type 2, not for 6: a fence */
    iommu_vtd.invalidate(&(struct iommu_inval){
        .dev = &a, .pasid = PASID_RID, .kind = IOMMU_INVAL_RANGE, .bytes = PAGE_SIZE });
    assert_int_equal(types(at), 0x653);
    assert_int_equal(q->ring[4 * ((at + 1) % QUEUE_ENTRIES)], 0x45);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    at = q->tail; /* same root elsewhere, in place */
    nested.root = bed_root();
    assert_int_equal(iommu_vtd.attach(&a, 5, &nested), HV_OK);
    assert_int_equal(types(at), 0x7685);
    at = q->tail; /* not in place: cleared, then set */
    assert_int_equal(iommu_vtd.attach(&a, 5, &second), HV_OK);
    assert_int_equal(types(at), 0x7285);
    assert_int_equal(q->ring[4 * ((q->tail - 1) % QUEUE_ENTRIES)] & 0xf0, 0x20); /* SW alone */
    assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
    at = q->tail;
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    assert_int_equal(types(at), 0x7285);
    assert_int_equal(q->ring[4 * ((q->tail - 1) % QUEUE_ENTRIES)] & 0xf0, 0xa0); /* and PD */
    at = q->tail;
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0), PAGE_SIZE), HV_OK);
    /* The id; the PASIDs of C and B; the id of A's nested RID, and its TLB. */
    assert_int_equal(types(at), 0x288235);
    at = q->tail;
    struct iommu_stage2 more;
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &pt, &more), HV_OK);
    assert_int_equal(iommu_vtd.stage2_destroy(&more), HV_OK);
    assert_int_equal(types(at), 0x725);
    stop();
}

/* What the device is told: S = 0 for 4 KiB, else the lowest zero bit. */
static void device_tlb_sizes(void **state)
{
    static const struct {
        uint64_t address, bytes, told, size;
    } want[] = {
        { 0x5000, 0x1000, 0x5000, 0x1000 },
        { 0x6000, 0x2000, 0x6000, 0x2000 },
        { 0x8000, 0x4000, 0x8000, 0x4000 },
        { 0x200000, 0x200000, 0x200000, 0x200000 },
        { 0x40000000, 0x40000000, 0x40000000, 0x40000000 },
        { 0x7000, 0x2000, 0x8000, 0x2000 }, /* the second of two */
        { 0, ~0xfffull, 0, 0 },             /* all */
    };
    (void)state;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        invalidate(&a, want[i].address, want[i].bytes);
        assert_int_equal(iommu_vtd.flush(), HV_OK);
        assert_int_equal(bed.tlb_address[(bed.tlb_invalidations - 1) % 8], want[i].told);
        assert_int_equal(bed.tlb_size[(bed.tlb_invalidations - 1) % 8], want[i].size);
    }
    stop();
}

/* Against the range itself: everything inside is covered, by one or two aligned blocks, at most
 * fourfold. */
static void ranges_are_covered(void **state)
{
    uint64_t seed = 12345;
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t pages = (seed >> 33 & ((1ull << (seed >> 60)) - 1)) + 1;
        uint64_t first = seed >> 20 & 0xfffffff;
        struct vtd_block block[2];
        unsigned n = vtd_inval_cover(first << 12, pages << 12, block);
        uint64_t covered = 0, at = first;
        assert_in_range(n, 1, 2);
        for (unsigned k = 0; k < n; k++) {
            uint64_t base = block[k].base >> 12, size = 1ull << block[k].mask;
            assert_int_equal(base & (size - 1), 0);
            assert_true(base <= at && at < base + size); /* no gap */
            at = base + size;
            covered += size;
        }
        assert_true(at >= first + pages);
        assert_true(covered <= 4 * pages);
    }
    struct vtd_block block[2];
    assert_int_equal(vtd_inval_cover(0, ~0ull << 12, block), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(a_batch_waits_once),
        bed_test(lost_work_comes_before_its_wait),
        bed_test(a_full_ring_makes_room),
        bed_test(room_is_waited_for_a_few_seconds),
        bed_test(cpus_share_the_queue),
        bed_test(a_silent_device_loses_itself_alone),
        bed_test(two_silent_devices),
        bed_test(a_silent_device_without_a_name_is_found),
        bed_test(neighbours_of_a_silent_device_are_not_blamed),
        bed_test(who_waits_sees_what_others_found_out),
        bed_test(silent_while_blocked),
        bed_test(silent_with_a_full_ring),
        bed_test(unexpected_completions_do_not_flood_the_log),
        bed_test(a_hanging_unit_is_left),
        bed_test(a_cut_without_room_is_flushed_before_ids_are_free),
        bed_test(who_is_cut_off_is_not_let_in),
        bed_test(a_refused_descriptor),
        bed_test(order_of_descriptors),
        bed_test(device_tlb_sizes),
        bed_test(ranges_are_covered),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
