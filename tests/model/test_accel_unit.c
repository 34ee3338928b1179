/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator behind the remapping unit's model, joined by the fabric: nested translation, page
 * requests through the unit's queue, answers and invalidations through the invalidation queue. The
 * test plays the system software.
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/model/accel_fabric.h"
#include "tests/model/pci_config.h"

enum { RID = 0x0020, PASID = 0x42, DID = 6, PRQ_ENTRIES = 128 };
#define PAGE    UINT64_C(4096)
#define CTX_ALL UINT64_C(0xe1c) /* DTE, PASIDE, PRE, 20 bits of PASID */
#define PWSNP   (UINT64_C(1) << 23)
#define SRC     UINT64_C(0x7f0000000000)
#define DST     UINT64_C(0x7f0000100000)
#define REC     UINT64_C(0x7f0000200000)
enum { ATS = 1, PR = 2 };
enum { PQH = 0xc0, PQT = 0xc8, PQA = 0xd0 };

static struct bed bed, *const b = &bed;
static struct accel_fabric fabric;
static struct accel *a;
static uint64_t fs_root, source, record;
static unsigned complaints, answered;

static void complain(void *ctx, uint16_t rid, const char *rule, const char *text)
{
    (void)ctx, (void)text;
    print_error("accelerator %x: %s\n", rid, rule);
    complaints++;
}

static void on_invalidation(struct bed *bed_)
{
    assert_true(bed_->invalidations <= BED_LOG);

    unsigned last = bed_->invalidations - 1;

    bed_->silent = !accel_fabric_devtlb_invalidate(&fabric, bed_->inv[last].rid,
                                                   bed_->inv[last].pasid, bed_->inv[last].global,
                                                   bed_->inv[last].addr, bed_->inv[last].size);
}

/* Let the device work, and bring it the answers that the unit sent, until neither is left. */
static void settle(void)
{
    bool more = true;

    for (unsigned i = 0; more; i++) {
        assert_true(i < 1000);
        more = accel_fabric_run(&fabric);
        for (; answered < b->responses; answered++, more = true)
            accel_fabric_page_response(&fabric, b->resp[answered].rid, b->resp[answered].pasid,
                                       b->resp[answered].prgi, b->resp[answered].code);
    }
}

static uint64_t map(uint64_t va)
{
    uint64_t page = bed_page(b);

    bed_map(b, fs_root, 4, va, 12, page | 7, 7);
    return page;
}

static int setup(void **state)
{
    uint64_t ss_root;

    (void)state;
    bed_config(b);
    b->on_inv = on_invalidation;
    bed_start(b);
    bed_context(b, RID, CTX_ALL, 1);
    ss_root = bed_page(b);
    fs_root = bed_page(b);
    for (uint64_t at = BED_BASE; at < BED_BASE + BED_BYTES; at += 2 << 20)
        bed_map(b, ss_root, 4, at, 21, at | 3, 3);
    bed_pe(b, RID, PASID, ss_root | 0xc9, DID | PWSNP, fs_root);
    bed_enable(b, 1, true);
    bed_write(b, PQH, 0);
    bed_write(b, PQA, b->prq);

    memset(&fabric, 0, sizeof(fabric));
    complaints = answered = 0;
    fabric.unit = b->m;
    fabric.complain = complain;
    a = accel_fabric_add(&fabric, RID);
    assert_non_null(a);
    accel_config_write(a, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    accel_config_write(a, ACCEL_CAP_PASID + 6, 2, 1);
    accel_config_write(a, ACCEL_CAP_ATS + 6, 2, 0x8000);
    accel_config_write(a, ACCEL_CAP_PRI + 12, 4, 32);
    accel_config_write(a, ACCEL_CAP_PRI + 4, 2, 1);
    accel_mmio_write(a, 8, 8, 1);

    source = map(SRC);
    record = map(REC);
    for (uint64_t i = 0; i < PAGE; i += 8)
        bed_put(b, source + i, i * UINT64_C(0x0123456789));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(complaints, 0);
    accel_fabric_destroy(&fabric);
    bed_stop(b);
    return 0;
}

/* A copy of `size` bytes; the status of the record, 0 while there is none. */
static uint8_t copy(unsigned flags, uint64_t size)
{
    const uint64_t words[8] = {
        UINT64_C(1) << 20 | PASID | UINT64_C(1) << 32 | (uint64_t)flags << 40,
        SRC,
        DST,
        size,
        0,
        REC,
        0,
        0
    };

    bed_put(b, record, 0);
    for (unsigned i = 0; i < 8; i++)
        accel_mmio_write(a, 0x1000 + 8 * i, 8, words[i]);
    settle();
    return (uint8_t)bed_get(b, record);
}

static uint8_t status(void)
{
    return (uint8_t)bed_get(b, record);
}

static bool same(uint64_t one, uint64_t two, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 8)
        if (bed_get(b, one + i) != bed_get(b, two + i))
            return false;
    return true;
}

/* The page request at the head of the queue, taken. */
static void take_request(uint64_t *q0, uint64_t *q1)
{
    uint64_t head = bed_read(b, PQH);

    assert_int_not_equal(head, bed_read(b, PQT));
    *q0 = bed_get(b, b->prq + head);
    *q1 = bed_get(b, b->prq + head + 8);
    bed_write(b, PQH, (head + 32) % (32 * PRQ_ENTRIES));
}

static void respond(uint64_t q0, uint64_t q1, unsigned code)
{
    assert_true(bed_do(b,
                       9 | 1 << 4 | (uint64_t)code << 12 | (q0 & UINT64_C(0xffff0000)) |
                           (q0 & UINT64_C(0xfffff) << 32),
                       q1 & 0xff8));
    settle();
}

static void invalidate(uint64_t q0, uint64_t q1)
{
    bed_desc(b, 6 | 2 << 4 | DID << 16 | (uint64_t)PASID << 32, 0);
    assert_true(bed_do(b, q0, q1));
}

/* Device-TLB of the PASID; PFSID, in two pieces, is the function itself. */
#define DTLB                                                                                       \
    (8 | (uint64_t)(RID & 15) << 12 | (uint64_t)RID << 16 | (uint64_t)PASID << 32 |                \
     (uint64_t)(RID >> 4) << 52)
#define ALL UINT64_C(0x7ffffffffffff800)

static void untranslated_copy(void **state)
{
    uint64_t target = map(DST);

    (void)state;
    assert_int_equal(copy(0, PAGE), 1);
    assert_true(same(source, target, PAGE));
    assert_int_equal(bed_get(b, bed_map(b, fs_root, 4, DST, 12, target | 7, 7)) & 7, 7);
    assert_true(bed_quiet(b));
}

static void page_request_and_answer(void **state)
{
    uint64_t q0, q1, target;

    (void)state;
    assert_int_equal(copy(ATS | PR, 64), 0);
    assert_int_equal(bed_read(b, PQT), 32);
    take_request(&q0, &q1);
    assert_int_equal(q0 & 0x1ff, 0x101); /* page request, with PASID */
    assert_int_equal(q0 >> 16 & 0xffff, RID);
    assert_int_equal(q0 >> 32 & 0xfffff, PASID);
    assert_int_equal(q1 & ~UINT64_C(0xff8), DST | 6); /* write, last of its group */
    target = map(DST);
    respond(q0, q1, 0);
    assert_int_equal(status(), 1);
    assert_true(same(source, target, 64));
    assert_int_equal(b->responses, 1);
    assert_true(bed_quiet(b));
}

static void page_request_refused(void **state)
{
    uint64_t q0, q1;

    (void)state;
    assert_int_equal(copy(ATS | PR, 64), 0);
    take_request(&q0, &q1);
    respond(q0, q1, 1);
    assert_int_equal(status(), 3);
    assert_true(bed_quiet(b));
}

/* Two pages of the destination are one group: the answer to its last member serves both. */
static void page_requests_are_grouped(void **state)
{
    uint64_t q0, q1, second = map(SRC + PAGE), target[2];

    (void)state;
    assert_int_equal(copy(ATS | PR, 2 * PAGE), 0);
    assert_int_equal(bed_read(b, PQT), 64);
    take_request(&q0, &q1);
    assert_int_equal(q1 & 7, 2);
    take_request(&q0, &q1);
    assert_int_equal(q1 & ~UINT64_C(0xff8), (DST + PAGE) | 6);
    target[0] = map(DST);
    target[1] = map(DST + PAGE);
    respond(q0, q1, 0);
    assert_int_equal(status(), 1);
    assert_true(same(source, target[0], PAGE) && same(second, target[1], PAGE));
    assert_true(bed_quiet(b));
}

/* The device-TLB outlives the tables until the device-TLB invalidation, and not a moment longer. */
static void stale_until_invalidated(void **state)
{
    uint64_t target = map(DST), other = bed_page(b);

    (void)state;
    assert_int_equal(copy(ATS, PAGE), 1);
    bed_map(b, fs_root, 4, DST, 12, other | 7, 7);
    bed_put(b, source, 1);
    assert_int_equal(copy(ATS, 8), 1);
    assert_int_equal(bed_get(b, target), 1);
    assert_int_equal(bed_get(b, other), 0);
    invalidate(DTLB, ALL);
    bed_put(b, source, 2);
    assert_int_equal(copy(ATS, 8), 1);
    assert_int_equal(bed_get(b, target), 1);
    assert_int_equal(bed_get(b, other), 2);

    bed_map(b, fs_root, 4, DST, 12, 0, 7);
    /* One page: S = 0. */
    invalidate(DTLB, DST);
    assert_int_equal(copy(ATS, 8), 2);
    assert_int_equal(bed_get(b, other), 2);
    assert_true(bed_quiet(b));
}

/* A 2 MiB completion: one translation serves the whole of it, at the right place. */
static void large_page(void **state)
{
    uint64_t big = BED_BASE + (4 << 20), va = UINT64_C(0x7f0040000000);
    const uint64_t words[8] = { UINT64_C(1) << 20 | PASID | UINT64_C(2) << 32 | UINT64_C(1) << 40,
                                0,
                                va + 0x123458,
                                16,
                                0x1122334455667788,
                                REC,
                                0,
                                0 };

    (void)state;
    assert_true(b->next < big);
    bed_map(b, fs_root, 4, va, 21, big | 7, 7);
    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = 0; i < 8; i++)
            accel_mmio_write(a, 0x1000 + 8 * i, 8, words[i] + (i == 2 ? n * 0x1000 : 0));
        settle();
        assert_int_equal(status(), 1);
        assert_int_equal(bed_get(b, big + 0x123458 + n * 0x1000), 0x1122334455667788);
    }
    assert_int_equal(accel_stats(a)->translations, 2); /* the page, the record */
    assert_true(bed_quiet(b));
}

static void mute_device_times_out(void **state)
{
    (void)state;
    accel_mmio_write(a, 0x48, 8, ACCEL_MUTE_INVALIDATION);
    bed_desc(b, 6 | 2 << 4 | DID << 16 | (uint64_t)PASID << 32, 0);
    assert_false(bed_do(b, DTLB, ALL));
    assert_true(bed_read32(b, 0x34) & 1 << 6); /* FSTS.ITE */
    assert_true(bed_quiet(b));
}

/* Blocked: PRE, DTE and the PASID entry are there no more; the device sees refusals, not data. */
static void blocked_pasid(void **state)
{
    uint64_t target = map(DST), pe = bed_pasid(b, RID, PASID);

    (void)state;
    assert_int_equal(copy(ATS, 8), 1);
    bed_put(b, pe, bed_get(b, pe) & ~UINT64_C(1));
    bed_desc(b, 7 | 1 << 4 | DID << 16 | (uint64_t)PASID << 32, 0);
    invalidate(DTLB, ALL);
    bed_put(b, source, 0xbad);
    assert_int_equal(copy(ATS | PR, 8), 0); /* no record: it had the same PASID */
    assert_int_equal(accel_mmio_read(a, 0x18, 8), 8);
    assert_int_not_equal(bed_get(b, target), 0xbad);
    assert_true(bed_quiet(b));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(untranslated_copy),         T(page_request_and_answer), T(page_request_refused),
        T(page_requests_are_grouped), T(stale_until_invalidated), T(large_page),
        T(mute_device_times_out),     T(blocked_pasid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
