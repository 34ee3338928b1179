/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page requests (7.4 - 7.7) and page group responses (7.6, 7.8).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RID = 0x0310, PASID = 0x12345 };
#define PWSNP (UINT64_C(1) << 23)
static struct bed bed, *const b = &bed;
static uint64_t fs;

static void start(void (*change)(struct vtd_model_config *))
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_context(b, RID, 0xe1c, 1);
    fs = bed_page(b);
    bed_pe(b, RID, PASID, 0x41, 1 | PWSNP, fs);
    bed_pe(b, RID, 1, 0x41, 1 | PWSNP, fs);
    bed_write(b, 0xd0, b->prq);
    bed_write32(b, 0xe4, 0x61);
    bed_write32(b, 0xe8, 0xfee02000);
    bed_write32(b, 0xe0, 0);
    bed_enable(b, 1, true);
}

static int setup(void **state)
{
    (void)state;
    start(nullptr);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

static void request(int32_t pasid, uint16_t prgi, bool lpig, uint64_t addr)
{
    struct vtd_page_request p = { .rid = RID,
                                  .prgi = prgi,
                                  .pasid_present = pasid >= 0,
                                  .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
                                  .read = true,
                                  .write = true,
                                  .lpig = lpig,
                                  .addr = addr };
    vtd_model_page_request(b->m, &p);
}

static void respond(int32_t pasid, uint16_t prgi, unsigned code)
{
    uint64_t q0 = 9 | (uint64_t)code << 12 | (uint64_t)RID << 16;
    if (pasid >= 0)
        q0 |= 0x10 | (uint64_t)pasid << 32;
    bed_do(b, q0, (uint64_t)prgi << 3);
}

/* q0: type 1, PP 8, RID 31:16, PASID 51:32, PMR 53; q1: R, W, LPIG, PRGI 11:3, page (7.4.1.1). */
static void descriptor(void **state)
{
    (void)state;
    struct vtd_page_request p = { .rid = RID,
                                  .prgi = 0x1a5,
                                  .pasid_present = true,
                                  .pasid = PASID,
                                  .privileged = true,
                                  .read = true,
                                  .lpig = true,
                                  .addr = 0x7fff12345678 };
    vtd_model_page_request(b->m, &p);
    assert_int_equal(bed_read(b, 0xc8), 0x20);
    assert_int_equal(bed_get(b, b->prq),
                     UINT64_C(1) << 53 | (uint64_t)PASID << 32 | (uint64_t)RID << 16 | 0x101);
    assert_int_equal(bed_get(b, b->prq + 8), UINT64_C(0x7fff12345000) | 0x1a5 << 3 | 4 | 1);
    assert_int_equal(bed_get(b, b->prq + 16), 0);
    assert_int_equal(bed_get(b, b->prq + 24), 0);
    request(-1, 2, false, 0x3000);
    assert_int_equal(bed_get(b, b->prq + 32) & 0xffff0fff, (uint64_t)RID << 16 | 1);
    assert_int_equal(bed_get(b, b->prq + 40), 0x3000 | 2 << 3 | 3);
    assert_true(bed_quiet(b));
}

/* 7.5: one event until PPR is cleared. */
static void event(void **state)
{
    (void)state;
    request(PASID, 1, true, 0x1000);
    request(PASID, 2, true, 0x1000);
    assert_int_equal(b->interrupts, 1);
    assert_int_equal(b->msi_addr, 0xfee02000);
    assert_int_equal(b->msi_data, 0x61);
    assert_int_equal(bed_read32(b, 0xdc), 1);
    bed_write32(b, 0xdc, 1);
    assert_int_equal(bed_read32(b, 0xdc), 0);
    request(PASID, 3, true, 0x1000);
    assert_int_equal(b->interrupts, 2);
}

static void event_masked(void **state)
{
    (void)state;
    bed_write32(b, 0xe0, 0x80000000);
    request(PASID, 1, true, 0x1000);
    assert_int_equal(bed_read32(b, 0xe0), 0xc0000000);
    bed_write32(b, 0xdc, 1);
    assert_int_equal(bed_read32(b, 0xe0), 0x80000000);
    request(PASID, 2, true, 0x1000);
    bed_write32(b, 0xe0, 0);
    assert_int_equal(b->interrupts, 1);
}

/* Table 31: full, then overflow; who asked for an answer gets Success. */
static void overflow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 127; i++)
        request(PASID, (uint16_t)i, true, 0x1000);
    assert_int_equal(bed_read(b, 0xc8), 127 * 32);
    assert_int_equal(bed_read32(b, 0xdc), 1);
    bed_write32(b, 0xdc, 1);
    request(PASID, 0x100, false, 0x1000); /* full, LPIG=0: dropped */
    assert_int_equal(bed_read32(b, 0xdc), 2);
    assert_int_equal(b->interrupts, 2);
    assert_int_equal(b->responses, 0);
    request(PASID, 0x101, true, 0x1000); /* PRO is set: Success */
    assert_int_equal(b->responses, 1);
    assert_int_equal(b->resp[0].code, 0);
    assert_int_equal(b->resp[0].prgi, 0x101);
    assert_int_equal(b->resp[0].pasid, PASID);
    bed_write32(b, 0xdc, 2);
    assert_true(bed_complained(b, "pro-cleared-early"));
    request(-1, 0x102, true, 0x1000); /* full again, LPIG=1 */
    assert_int_equal(b->responses, 2);
    assert_int_equal(b->resp[1].pasid, -1);
    assert_int_equal(bed_read32(b, 0xdc) & 2, 2);
    bed_write(b, 0xc0, bed_read(b, 0xc8)); /* emptied */
    request(PASID, 0x103, true, 0x1000);   /* but PRO still set */
    assert_int_equal(b->responses, 3);
    bed_write32(b, 0xdc, 3);
    request(PASID, 0x104, true, 0x1000);
    assert_int_equal(b->responses, 3);
    assert_int_equal(bed_read(b, 0xc8), 0);   /* wrapped */
    assert_int_equal(bed_read32(b, 0x34), 0); /* none of it is a fault */
    assert_true(bed_quiet(b));
}

/* --- responses ------------------------------------------------------------------------------ */

static void response_reaches_device(void **state)
{
    (void)state;
    request(PASID, 5, false, 0x1000);
    request(PASID, 5, true, 0x2000);
    respond(PASID, 5, 1);
    assert_int_equal(b->responses, 1);
    assert_int_equal(b->resp[0].rid, RID);
    assert_int_equal(b->resp[0].pasid, PASID);
    assert_int_equal(b->resp[0].prgi, 5);
    assert_int_equal(b->resp[0].code, 1);
    request(-1, 5, true, 0x1000);
    respond(-1, 5, 0);
    assert_int_equal(b->resp[1].pasid, -1);
    assert_true(bed_quiet(b));
}

static void response_twice(void **state)
{
    (void)state;
    request(PASID, 5, true, 0x1000);
    respond(PASID, 5, 0);
    assert_true(bed_quiet(b));
    respond(PASID, 5, 0);
    assert_true(bed_complained(b, "response-twice"));
    request(PASID, 5, true, 0x1000); /* the index may be used again */
    respond(PASID, 5, 0);
    assert_true(bed_quiet(b));
}

static void response_unknown(void **state)
{
    (void)state;
    respond(PASID, 5, 0);
    assert_true(bed_complained(b, "response-unknown"));
    request(PASID, 5, true, 0x1000);
    respond(PASID, 6, 0);
    assert_true(bed_complained(b, "response-unknown"));
    respond(PASID + 1, 5, 0);
    assert_true(bed_complained(b, "response-unknown"));
    respond(-1, 5, 0); /* PP must match */
    assert_true(bed_complained(b, "response-unknown"));
    respond(PASID, 5, 0);
    assert_true(bed_quiet(b));
}

static void response_early(void **state)
{
    (void)state;
    request(PASID, 5, false, 0x1000);
    respond(PASID, 5, 0);
    assert_true(bed_complained(b, "response-early"));
}

static void response_code(void **state)
{
    (void)state;
    request(PASID, 5, true, 0x1000);
    respond(PASID, 5, 2);
    assert_true(bed_complained(b, "response-code"));
    request(PASID, 6, true, 0x1000);
    respond(PASID, 6, 0xf);
    assert_true(bed_quiet(b));
    /* Answered by hardware already: software must not. */
    bed_put(b, bed_context_at(b, RID), bed_get(b, bed_context_at(b, RID)) & ~UINT64_C(0x10));
    bed_do(b, 0x11, 0);
    request(PASID, 7, true, 0x1000);
    assert_int_equal(b->resp[2].code, 1);
    respond(PASID, 7, 0);
    assert_true(bed_complained(b, "response-unknown"));
}

/* Bit 66 of the response is ignored (7.6.1, revision 5.10). */
static void response_old_bit(void **state)
{
    (void)state;
    request(PASID, 5, true, 0x1000);
    bed_do(b, 0x19 | (uint64_t)RID << 16 | (uint64_t)PASID << 32, 5 << 3 | 4);
    assert_int_equal(b->responses, 1);
    assert_true(bed_quiet(b));
}

/* Stop marker: written, needs no answer (PRGI undefined). */
static void stop_marker(void **state)
{
    (void)state;
    struct vtd_page_request p = {
        .rid = RID, .prgi = 3, .pasid_present = true, .pasid = PASID, .lpig = true, .addr = 0
    };
    vtd_model_page_request(b->m, &p);
    assert_int_equal(bed_get(b, b->prq + 8) & 7, 4);
    respond(PASID, 3, 0);
    assert_true(bed_complained(b, "response-unknown"));
    /* With SMS=1 one that cannot be written is dropped silently. */
    unsigned before = b->responses;
    for (unsigned i = 0; i < 127; i++)
        request(PASID, (uint16_t)(i + 8), false, 0x1000);
    vtd_model_page_request(b->m, &p);
    assert_int_equal(b->responses, before);
}

/* --- implicit invalidation (6.5.3.1) -------------------------------------------------------- */

/* Read-only raised to read-write: after the page request no flush is needed. */
static void implicit_first_stage(void **state)
{
    (void)state;
    uint64_t leaf = bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 0x25, 0x27);
    assert_false(bed_ats(b, RID, PASID, 0x1000, false).w);
    bed_put(b, leaf, bed_get(b, leaf) | 2);
    assert_false(bed_ats(b, RID, PASID, 0x1000, false).w);
    request(PASID, 1, true, 0x1000);
    assert_true(bed_ats(b, RID, PASID, 0x1000, false).w);
}

static void implicit_second_and_nested(void **state)
{
    (void)state;
    uint64_t ss = bed_page(b), gfs = bed_page(b);
    uint64_t leaf = bed_map(b, ss, 4, 0x1000, 12, bed_page(b) | 1, 3);
    bed_pe(b, RID, 7, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 8, ss | 0xc9, 5 | PWSNP, gfs);
    for (uint64_t a = BED_BASE; a < BED_BASE + BED_BYTES; a += 0x200000)
        bed_map(b, ss, 4, a, 21, a | 3, 3);
    bed_map(b, gfs, 4, 0x9000, 12, 0x1067, 0x67);
    assert_false(bed_ats(b, RID, 7, 0x1000, false).w);
    assert_false(bed_ats(b, RID, 8, 0x9000, false).w);
    bed_put(b, leaf, bed_get(b, leaf) | 2);
    request(7, 1, true, 0x5000); /* another page: no help */
    assert_false(bed_ats(b, RID, 7, 0x1000, false).w);
    request(7, 2, true, 0x1000);
    assert_true(bed_ats(b, RID, 7, 0x1000, false).w);
    request(8, 3, true, 0x123000); /* nested: the whole domain */
    assert_true(bed_ats(b, RID, 8, 0x9000, false).w);
}

/* Nested: domain-selective, so the second stage's structure caches go too (Table 27). */
static void implicit_nested_structures(void **state)
{
    (void)state;
    uint64_t ss = bed_page(b), gfs = bed_page(b), pt = bed_page(b), page = bed_page(b), hpa = 0;
    bed_pe(b, RID, 8, ss | 0xc9, 5 | PWSNP, gfs);
    for (uint64_t a = BED_BASE; a < BED_BASE + BED_BYTES; a += 0x200000)
        bed_map(b, ss, 4, a, 21, a | 3, 3);
    bed_map(b, ss, 4, 0x40000000, 12, bed_page(b) | 3, 3);
    bed_map(b, gfs, 4, 0x9000, 12, 0x40000067, 0x67);
    bed_map(b, gfs, 4, 0xa000, 12, 0x40001067, 0x67);
    assert_int_equal(bed_access(b, RID, 8, VTD_READ, 0x9000, nullptr), 0);
    bed_put(b, pt + 8, page | 3);
    uint64_t e = bed_map(b, ss, 4, 0x40000000, 21, 0, 3); /* another page table */
    bed_put(b, e, pt | 3);
    assert_int_equal(bed_access(b, RID, 8, VTD_READ, 0xa000, nullptr), 0x79);
    request(8, 4, true, 0x123000);
    assert_int_equal(bed_access(b, RID, 8, VTD_READ, 0xa000, &hpa), 0);
    assert_int_equal(hpa, page);
}

/* --- drain ---------------------------------------------------------------------------------- */

static void late_request(struct bed *bench)
{
    struct vtd_page_request p = { .rid = RID,
                                  .prgi = 9,
                                  .pasid_present = true,
                                  .pasid = PASID,
                                  .read = true,
                                  .lpig = true,
                                  .addr = 0x1000 };
    vtd_model_page_request(bench->m, &p);
}

/* 7.7, 7.10: a request that precedes the completion is in the queue when the PD wait completes. */
static void drain(void **state)
{
    (void)state;
    b->on_inv = late_request;
    bed_desc(b, 0x45, 0);
    bed_desc(b, (uint64_t)PASID << 32 | 0x10026, 0);
    bed_desc(b, UINT64_C(0x031) << 52 | (uint64_t)PASID << 32 | (uint64_t)RID << 16 | 8,
             UINT64_C(0x7ffffffffffff800));
    bed_desc(b, UINT64_C(0x77000000a5), b->status);
    bed_kick(b);
    assert_int_equal((uint32_t)bed_get(b, b->status), 0x77);
    assert_int_equal(bed_read(b, 0xc8), 32);
    assert_true(bed_quiet(b));
}

/* Register rules. */
static void registers(void **state)
{
    (void)state;
    bed_write(b, 0xc8, 0x40);
    assert_true(bed_complained(b, "prq-tail"));
    bed_write(b, 0xc8, 0);
    bed_write(b, 0xc0, 0x1000);
    assert_true(bed_complained(b, "prq-head"));
    bed_write(b, 0xd0, 0x2000);
    request(PASID, 1, true, 0x1000);
    assert_true(bed_complained(b, "prq-memory"));
}

/* PQS: 2^PQS pages. */
static void queue_size(void **state)
{
    (void)state;
    uint64_t q = bed_pages(b, 4);
    bed_write(b, 0xd0, q | 2);
    for (unsigned i = 0; i < 511; i++)
        request(PASID, (uint16_t)i, true, 0x1000);
    assert_int_equal(bed_read(b, 0xc8), 511 * 32);
    assert_int_equal(bed_read32(b, 0xdc), 1);
    request(PASID, 511, true, 0x1000);
    assert_int_equal(bed_read32(b, 0xdc), 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(descriptor),
        T(event),
        T(event_masked),
        T(overflow),
        T(response_reaches_device),
        T(response_twice),
        T(response_unknown),
        T(response_early),
        T(response_code),
        T(response_old_bit),
        T(stop_marker),
        T(implicit_first_stage),
        T(implicit_second_and_nested),
        T(implicit_nested_structures),
        T(drain),
        T(registers),
        T(queue_size),
    };
    return cmocka_run_group_tests_name("vtd page requests", tests, nullptr, nullptr);
}
