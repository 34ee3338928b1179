/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The invalidation queue: fetch and errors (6.5.2, 6.5.2.11, Table 26, IQERCD), waits (6.5.2.9,
 * 6.5.2.10), device-TLB requests (6.5.2.5, 6.5.2.6, 4.3), time-outs, ordering (6.5.2.12).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RID = 0x0310 };
static struct bed bed, *const b = &bed;

static int setup(void **state)
{
    (void)state;
    bed_config(b);
    bed_start(b);
    bed_context(b, RID, 0xe1c, 1);
    bed_enable(b, 1, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

static void restart(void (*change)(struct vtd_model_config *), unsigned ttm, bool dw)
{
    bed_stop(b);
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_enable(b, ttm, dw);
}

static bool iqe(void)
{
    return bed_read32(b, 0x34) >> 4 & 1;
}

static unsigned iqei(void)
{
    return bed_read(b, 0xb0) & 0xf;
}

/* One bad descriptor: IQE with this code, the head on it; then replaced and cleared. */
static void expect_iqe(uint64_t q0, uint64_t q1, unsigned code, const char *rule)
{
    uint32_t at = b->tail;
    bed_desc(b, q0, q1);
    bed_kick(b);
    assert_true(iqe());
    assert_int_equal(iqei(), code);
    assert_int_equal(bed_read(b, 0x80), at);
    assert_true(bed_complained(b, rule));
    /* Recovery: put a wait there, clear IQE; fetch resumes by itself (6.5.2.11). */
    uint32_t end = b->tail;
    b->wait_value++;
    b->tail = at;
    bed_desc(b, (uint64_t)b->wait_value << 32 | 0x25, b->status);
    assert_int_equal(b->tail, end);
    bed_write32(b, 0x34, 0x10);
    assert_false(iqe());
    assert_int_equal((uint32_t)bed_get(b, b->status), b->wait_value);
    assert_int_equal(bed_read(b, 0x80), b->tail);
}

static void wait_writes_status(void **state)
{
    (void)state;
    bed_desc(b, UINT64_C(0xabcd000100000025), b->status + 8);
    bed_kick(b);
    assert_int_equal((uint32_t)bed_get(b, b->status + 8), 0xabcd0001);
    assert_int_equal((uint32_t)(bed_get(b, b->status + 8) >> 32), 0); /* a dword, no more */
    assert_int_equal(bed_read(b, 0x80), bed_read(b, 0x88));
    assert_true(bed_quiet(b));
}

/* Address bits above HAW are ignored (6.5.2.9). */
static void wait_address(void **state)
{
    (void)state;
    b->wait_value++;
    bed_desc(b, (uint64_t)b->wait_value << 32 | 0x25, b->status | UINT64_C(0xff) << 56);
    bed_kick(b);
    assert_int_equal((uint32_t)bed_get(b, b->status), b->wait_value);
    assert_true(bed_quiet(b));
    bed_desc(b, 0x25, 0xfee00000);
    bed_kick(b);
    assert_true(bed_complained(b, "wait-address"));
    bed_desc(b, 0x25, 0x1000); /* no memory */
    bed_kick(b);
    assert_true(bed_complained(b, "wait-address"));
    bed_desc(b, 0x5, 0x1000); /* SW=0: the address is not used */
    bed_kick(b);
    assert_true(bed_quiet(b));
}

/* 6.5.2.10: IF sets IWC; a second one while IWC=1 makes no event. */
static void wait_interrupt(void **state)
{
    (void)state;
    bed_write32(b, 0xa4, 0x33);
    bed_write32(b, 0xa8, 0xfee01000);
    bed_write32(b, 0xa0, 0);
    bed_desc(b, 0x15, 0);
    bed_kick(b);
    assert_int_equal(bed_read32(b, 0x9c), 1);
    assert_int_equal(b->interrupts, 1);
    assert_int_equal(b->msi_addr, 0xfee01000);
    assert_int_equal(b->msi_data, 0x33);
    bed_desc(b, 0x15, 0);
    bed_kick(b);
    assert_int_equal(b->interrupts, 1);
    bed_write32(b, 0x9c, 1);
    assert_int_equal(bed_read32(b, 0x9c), 0);
    bed_desc(b, 0x15, 0);
    bed_kick(b);
    assert_int_equal(b->interrupts, 2);
    /* Masked, then serviced: the event is gone. */
    bed_write32(b, 0x9c, 1);
    bed_write32(b, 0xa0, 0x80000000);
    bed_desc(b, 0x15, 0);
    bed_kick(b);
    assert_int_equal(bed_read32(b, 0xa0), 0xc0000000);
    bed_write32(b, 0x9c, 1);
    assert_int_equal(bed_read32(b, 0xa0), 0x80000000);
    assert_int_equal(b->interrupts, 2);
}

/* The reference's worked encodings are all accepted. */
static void good_descriptors(void **state)
{
    (void)state;
    static const uint64_t t[][2] = {
        { 0x11, 0 },
        { 0xd2, 0 },
        { 0x500e2, 0 },
        { 0x500f2, 0x12340004 },
        { UINT64_C(0x0000001000010026), 0 },
        { UINT64_C(0x0000001000010036), 0x1000 },
        { 0x37, 0 },
        { UINT64_C(0x0000001000010017), 0 },
        { 0x7, 0 },
        { 0x4, 0 },
        { UINT64_C(0x0000000410000014), 0 },
        { 0x45, 0 },
        { 0xa5, BED_BASE },
        { 0xe5, BED_BASE },
        { UINT64_C(0x0000031000000031), 0 },
        { UINT64_C(0x0003031000000031), 0 },
        { UINT64_C(0x0310031000000003), 0x2ff001 },                     /* type 3, 2 MiB */
        { UINT64_C(0x0310001003100008), UINT64_C(0x7ffffffffffff800) }, /* type 8, everything */
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        assert_true(bed_do(b, t[i][0], t[i][1]));
        assert_false(iqe());
        assert_true(bed_quiet(b));
    }
    assert_int_equal(b->invalidations, 2);
    assert_int_equal(b->inv[0].rid, RID);
    assert_int_equal(b->inv[0].pasid, -1);
    assert_int_equal(b->inv[0].addr, 0x200000);
    assert_int_equal(b->inv[0].size, 0x200000);
    assert_int_equal(b->inv[1].pasid, 0x10);
    assert_int_equal(b->inv[1].addr, 0);
    assert_int_equal(b->inv[1].size, 0);
    assert_false(b->inv[1].global);
}

/* IQEI 4: reserved granularities and fields, type by type. */
static void reserved_fields(void **state)
{
    (void)state;
    static const uint64_t t[][2] = {
        { 0x01, 0 },
        { 0x51, 0 },
        { UINT64_C(1) << 50 | 0x11, 0 },
        { 0x11, 1 },
        { 0x02, 0 },
        { 0x112, 0 },
        { UINT64_C(1) << 32 | 0x12, 0 },
        { 0x500f2, 0x12340084 },
        { UINT64_C(1) << 31 | 3, 0 },
        { 3, 2 },
        { 3, 0x800 },
        { 0x24, 0 },
        { 0x10014, 0 },
        { 4, 1 },
        { 0x105, 0 },
        { 0x25, 1 },
        { 0x06, 0 },
        { 0x16, 0 },
        { UINT64_C(1) << 52 | 0x26, 0 },
        { 0x26, 0x80 },
        { 0x27, 0 },
        { 0x17, 1 },
        { UINT64_C(1) << 52 | 0x17, 0 },
        { 8, 2 },
        { 8, 0x400 },
        { 0x29, 0 },
        { 9, 1 },
        { 9, 0x1000 },
        { UINT64_C(1) << 52 | 9, 0 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        expect_iqe(t[i][0], t[i][1], 4, "desc-reserved");
}

/* The upper half of a 256-bit form must be zero. */
static void upper_half(void **state)
{
    (void)state;
    uint64_t at = b->queue + b->tail;
    bed_desc(b, 0x11, 0);
    bed_put(b, at + 24, 1);
    bed_kick(b);
    assert_int_equal(iqei(), 4);
    assert_true(bed_complained(b, "desc-reserved"));
}

/* IQEI 3: types that do not exist, HPT (10) without HPTS. */
static void bad_types(void **state)
{
    (void)state;
    static const uint64_t t[] = { 0, 0xa, 0xb, 0xf, 0x201, 0xe05 };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
        expect_iqe(t[i], 0, 3, "desc-type");
}

static void bare(struct vtd_model_config *c)
{
    c->ecap &= ~(UINT64_C(1) << 2 | UINT64_C(1) << 3 | UINT64_C(1) << 29 | UINT64_C(1) << 42);
    c->cap &= ~(UINT64_C(1) << 39);
}

/* Types and forms that need a capability. */
static void types_by_capability(void **state)
{
    (void)state;
    restart(bare, 1, true);
    expect_iqe(3, 0, 3, "desc-type"); /* DT */
    expect_iqe(8, 0, 3, "desc-type");
    expect_iqe(4, 0, 3, "desc-type");                /* IR */
    expect_iqe(9, 0, 3, "desc-type");                /* PRS */
    expect_iqe(0xa5, 0, 4, "desc-reserved");         /* PD without PDS */
    expect_iqe(0x500f2, 0x1000, 4, "desc-reserved"); /* page form without PSI */
}

/* Table 26: legacy mode takes types 1 to 5, in both widths. */
static void types_by_mode(void **state)
{
    (void)state;
    restart(nullptr, 0, true);
    expect_iqe(0x37, 0, 3, "desc-type");
    expect_iqe(0x26, 0, 3, "desc-type");
    assert_true(bed_do(b, 0x11, 0));
    restart(nullptr, 0, false);
    assert_true(bed_do(b, 0xd2, 0));
    assert_true(bed_do(b, 0x4, 0));
    expect_iqe(0x37, 0, 3, "desc-type");
    restart(nullptr, 3, true); /* abort-DMA mode: 256-bit, all types */
    assert_true(bed_do(b, 0x37, 0));
    assert_true(bed_do(b, 0x26, 0));
    assert_true(bed_quiet(b));
}

/* IQEI 5, 7: width and mode do not fit. */
static void widths(void **state)
{
    (void)state;
    bed_stop(b);
    bed_config(b);
    bed_start(b);
    bed_write(b, 0x90, b->queue);
    bed_gcmd(b, 26, true);
    bed_write(b, 0x20, b->root | 1 << 10);
    bed_gcmd(b, 30, true);
    b->complaints = 0;
    bed_desc(b, 0x11, 0);
    bed_kick(b);
    assert_int_equal(iqei(), 5);
    assert_true(bed_complained(b, "desc-width"));
    bed_write(b, 0x20, b->root | 2 << 10);
    bed_gcmd(b, 30, true);
    b->complaints = 0;
    bed_write32(b, 0x34, 0x10);
    assert_int_equal(iqei(), 7);
}

static void legacy_unit(struct vtd_model_config *c)
{
    /* SMTS, ADMS and what needs SMTS */
    c->ecap &= ~(UINT64_C(0x3b) << 43 | UINT64_C(1) << 52 | UINT64_C(1) << 40 | UINT64_C(1) << 29 |
                 UINT64_C(1) << 26);
}

static void wide_queue_unsupported(void **state)
{
    (void)state;
    bed_stop(b);
    bed_config(b);
    legacy_unit(&b->cfg);
    bed_start(b);
    bed_write(b, 0x90, b->queue | 1 << 11);
    bed_gcmd(b, 26, true);
    bed_desc(b, 0x11, 0);
    bed_kick(b);
    assert_int_equal(iqei(), 5);
}

/* IQEI 1, 6, 2: the tail, and the memory. */
static void tails(void **state)
{
    (void)state;
    bed_write(b, 0x88, 0x1000); /* one page: 0x1000 is beyond */
    assert_int_equal(iqei(), 1);
    assert_true(bed_complained(b, "desc-tail"));
    bed_write(b, 0x88, 0);
    bed_write32(b, 0x34, 0x10);
    assert_false(iqe());
    bed_write(b, 0x88, 0x10);
    assert_int_equal(iqei(), 6);
    assert_true(bed_complained(b, "desc-tail"));
    bed_write(b, 0x88, 0);
    bed_write32(b, 0x34, 0x10);
    bed_write(b, 0x90, UINT64_C(0x2000800));
    bed_write(b, 0x88, 0x20);
    assert_int_equal(iqei(), 2);
    assert_true(bed_complained(b, "desc-memory"));
}

/* Tail writes while IQE=1 fetch nothing; descriptors before the bad one were done. */
static void error_stops_fetch(void **state)
{
    (void)state;
    b->wait_value = 7;
    bed_desc(b, UINT64_C(7) << 32 | 0x25, b->status);
    uint32_t bad = b->tail;
    bed_desc(b, 0xf, 0);
    bed_kick(b);
    assert_int_equal((uint32_t)bed_get(b, b->status), 7);
    assert_false(bed_wait(b));
    assert_int_equal(bed_read(b, 0x80), bad);
    bed_write32(b, 0x34, 0x10); /* not corrected: the same error again */
    assert_true(iqe());
}

/* The fault event covers IQE and ITE (7.3). */
static void error_event(void **state)
{
    (void)state;
    bed_write32(b, 0x3c, 0x41);
    bed_write32(b, 0x40, 0xfee00000);
    bed_write32(b, 0x38, 0);
    bed_desc(b, 0xf, 0);
    bed_kick(b);
    assert_int_equal(b->interrupts, 1);
    bed_access(b, 0x4444, -1, VTD_READ, 0, nullptr); /* a fault now makes no new event */
    assert_int_equal(b->interrupts, 1);
}

/* MAMV, MHMV and the domain-id width. */
static void masks(void **state)
{
    (void)state;
    expect_iqe(0x500f2, 19, 4, "desc-mask");
    assert_true(bed_do(b, 0x500f2, 18));
    /* Type 6 supports any mask whatever MAMV says (11.4.2). */
    assert_true(bed_do(b, UINT64_C(0x0000001000010036), 51));
    assert_true(bed_quiet(b));
    expect_iqe(UINT64_C(16) << 27 | 0x14, 0, 4, "desc-mask");
}

static void few_domains(struct vtd_model_config *c)
{
    c->cap = (c->cap & ~UINT64_C(7)) | 2;
}

static void domain_width(void **state)
{
    (void)state;
    restart(few_domains, 1, true);
    bed_do(b, 0x10000e2, 0);
    assert_true(bed_complained(b, "did-range"));
    bed_do(b, 0x00ff00e2, 0);
    assert_true(bed_quiet(b));
}

/* --- device-TLB ----------------------------------------------------------------------------- */

static const uint64_t dtlb = UINT64_C(0x031) << 52 | (uint64_t)RID << 32 | 3; /* PFSID = SID */
static const uint64_t pdtlb = UINT64_C(0x031) << 52 | (uint64_t)RID << 16 | 8;

static void device_tlb_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t q1, addr, size;
    } t[] = {
        { 0x1000, 0x1000, 0x1000 },
        { 0x2001, 0x2000, 0x2000 },
        { 0x1001, 0, 0x4000 },
        { 0x5001, 0x4000, 0x4000 },
        { 0x2ff001, 0x200000, 0x200000 },
        { UINT64_C(0x7ffffffffffff001), 0, 0 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        assert_true(bed_do(b, dtlb, t[i].q1));
        assert_int_equal(b->inv[i].addr, t[i].addr);
        assert_int_equal(b->inv[i].size, t[i].size);
        assert_int_equal(b->inv[i].pasid, -1);
    }
    assert_true(bed_quiet(b));
    bed_do(b, dtlb, UINT64_C(0xfffffffffffff001));
    assert_true(bed_complained(b, "devtlb-size"));
}

static void device_tlb_pasid(void **state)
{
    (void)state;
    assert_true(bed_do(b, pdtlb | UINT64_C(0x12345) << 32, 0x3000));
    assert_true(bed_do(b, pdtlb, UINT64_C(0x7ffffffffffff801)));
    assert_int_equal(b->inv[0].pasid, 0x12345);
    assert_int_equal(b->inv[0].addr, 0x3000);
    assert_int_equal(b->inv[0].size, 0x1000);
    assert_false(b->inv[0].global);
    assert_true(b->inv[1].global);
    assert_true(bed_quiet(b));
}

static void device_tlb_rules(void **state)
{
    (void)state;
    bed_do(b, (uint64_t)RID << 32 | 3, 0x1000);
    assert_true(bed_complained(b, "devtlb-pfsid"));
    bed_gcmd(b, 31, false);
    bed_do(b, dtlb, 0x1000); /* 4.3: its completion is answered with UR */
    assert_true(bed_complained(b, "devtlb-disabled"));
    assert_int_equal(bed_read32(b, 0x34) & 0x40, 0x40);
}

/* 6.5.2.11: time-out; waits abort; fetch stops; resumes behind what was fetched. */
static void time_out(void **state)
{
    (void)state;
    b->silent = true;
    b->wait_value = 1;
    bed_desc(b, dtlb, 0x1000);
    bed_desc(b, UINT64_C(0x55) << 32 | 0x25, b->status);
    bed_kick(b);
    assert_int_equal(bed_read32(b, 0x34), 0x40);
    assert_int_equal(bed_read(b, 0xb0) >> 32 & 0xffff, RID);
    assert_int_equal((uint32_t)bed_get(b, b->status), 0);
    assert_int_equal(bed_read(b, 0x80), b->tail);
    assert_false(bed_wait(b)); /* nothing is fetched while ITE=1 */
    b->silent = false;
    bed_write32(b, 0x34, 0x40);
    assert_int_equal((uint32_t)bed_get(b, b->status), b->wait_value);
    assert_true(bed_do(b, dtlb, 0x1000));
    assert_true(bed_quiet(b));
}

/* A fence holds the queue at the wait; what is behind it was not fetched. */
static void time_out_at_fence(void **state)
{
    (void)state;
    b->silent = true;
    bed_desc(b, dtlb, 0x1000);
    bed_desc(b, UINT64_C(0x55) << 32 | 0x65, b->status);
    uint32_t here = b->tail;
    bed_desc(b, UINT64_C(0x66) << 32 | 0x25, b->status);
    bed_kick(b);
    assert_int_equal(bed_read(b, 0x80), here);
    assert_int_equal((uint32_t)bed_get(b, b->status), 0);
    bed_write32(b, 0x34, 0x40);
    assert_int_equal((uint32_t)bed_get(b, b->status), 0x66);
}

/* ICE: recorded with its source, the first one kept; the queue goes on (6.5.2.11). */
static void unexpected_completion(void **state)
{
    (void)state;
    vtd_model_unexpected_completion(b->m, 0x0420);
    vtd_model_unexpected_completion(b->m, 0x0430);
    assert_int_equal(bed_read32(b, 0x34), 0x20);
    assert_int_equal(bed_read(b, 0xb0) >> 48, 0x0420);
    assert_true(bed_wait(b));
    bed_write32(b, 0x34, 0x20);
    assert_int_equal(bed_read32(b, 0x34), 0);
    bed_gcmd(b, 31, false);
    vtd_model_unexpected_completion(b->m, 0x0420);
    assert_int_equal(bed_read32(b, 0x34), 0);
}

/* Lost with the time-out: an invalidation behind the request was not done, and must be again. */
static void time_out_loses_the_rest(void **state)
{
    (void)state;
    uint64_t fs = bed_page(b), first = bed_page(b), second = bed_page(b), hpa = 0;
    uint64_t e = bed_map(b, fs, 4, 0x1000, 12, first | 0x67, 0x67);
    bed_pe(b, RID, 1, 0x41, 1 | 1 << 23, fs);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    bed_put(b, e, second | 0x67);
    b->silent = true;
    bed_desc(b, dtlb, 0x1000);
    bed_desc(b, UINT64_C(0x0000000100010036), 0x1000);
    assert_false(bed_wait(b));
    b->silent = false;
    bed_write32(b, 0x34, 0x40);
    assert_true(bed_wait(b));
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, first);
    assert_true(bed_do(b, UINT64_C(0x0000000100010036), 0x1000));
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, second);
}

/* --- ordering ------------------------------------------------------------------------------- */

static uint64_t page_old, page_new, leaf;

/* First-stage mapping of RID_PASID 1, in use. */
static void stale_first_stage(void)
{
    uint64_t fs = bed_page(b), hpa;
    page_old = bed_page(b);
    page_new = bed_page(b);
    leaf = bed_map(b, fs, 4, 0x1000, 12, page_old | 7, 7);
    bed_pe(b, RID, 1, 0x41, 1 | 1 << 23, fs);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    bed_put(b, leaf, page_new | 7);
}

static void look(struct bed *bench)
{
    bench->seen = 0;
    bed_access(bench, RID, -1, VTD_READ, 0x1000, &bench->seen);
}

/* Type 3 does not wait for type 6: the device may translate anew from the stale IOTLB. */
static void type3_overtakes_type6(void **state)
{
    (void)state;
    stale_first_stage();
    b->on_inv = look;
    bed_desc(b, UINT64_C(0x0000000100010036), 0x1000);
    assert_true(bed_do(b, dtlb, 0x1000));
    assert_int_equal(b->seen, page_old);
    /* A fenced wait in between orders them. */
    bed_put(b, leaf, page_old | 7);
    bed_desc(b, UINT64_C(0x0000000100010036), 0x1000);
    bed_desc(b, 0x45, 0);
    assert_true(bed_do(b, dtlb, 0x1000));
    assert_int_equal(b->seen, page_old);
    assert_int_equal(b->invalidations, 2);
}

/* Type 8 waits for type 6, type 3 for type 2. */
static void device_tlb_ordered(void **state)
{
    (void)state;
    stale_first_stage();
    b->on_inv = look;
    bed_desc(b, UINT64_C(0x0000000100010036), 0x1000);
    assert_true(bed_do(b, pdtlb | UINT64_C(1) << 32, 0x1000));
    assert_int_equal(b->seen, page_new);
    bed_put(b, leaf, page_old | 7);
    bed_desc(b, 0x100e2, 0);
    assert_true(bed_do(b, dtlb, 0x1000));
    assert_int_equal(b->seen, page_old);
}

/* Nothing is promised before a wait completes: head == tail means fetched, not done. */
static void done_means_waited(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    stale_first_stage();
    bed_desc(b, UINT64_C(0x0000000100010036), 0x1000);
    bed_kick(b);
    assert_int_equal(bed_read(b, 0x80), bed_read(b, 0x88));
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, page_old);
    assert_true(bed_wait(b));
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, page_new);
}

/* 6.2.3.1: the IOTLB flushed before the PASID cache is filled again from the stale entry. */
static void pasid_cache_first(void **state)
{
    (void)state;
    uint64_t hpa = 0, fs1 = bed_page(b), fs2 = bed_page(b), p1 = bed_page(b), p2 = bed_page(b);
    bed_map(b, fs1, 4, 0x1000, 12, p1 | 0x67, 0x67);
    bed_map(b, fs2, 4, 0x1000, 12, p2 | 0x67, 0x67);
    bed_pe(b, RID, 1, 0x41, 1 | 1 << 23, fs1);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    bed_put(b, bed_pasid(b, RID, 1) + 16, fs2);
    bed_desc(b, UINT64_C(0x0000000100010026), 0);            /* PASID IOTLB */
    assert_true(bed_do(b, UINT64_C(0x0000000100010017), 0)); /* then PASID cache: wrong */
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, p1);
    assert_true(bed_do(b, UINT64_C(0x0000000100010026), 0));
    bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa);
    assert_int_equal(hpa, p2);
}

/* A queue of many entries wraps. */
static void wraps(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(bed_do(b, 0x11, 0));
    assert_true(bed_quiet(b));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(wait_writes_status),
        T(wait_address),
        T(wait_interrupt),
        T(good_descriptors),
        T(reserved_fields),
        T(upper_half),
        T(bad_types),
        T(types_by_capability),
        T(types_by_mode),
        T(widths),
        T(wide_queue_unsupported),
        T(tails),
        T(error_stops_fetch),
        T(error_event),
        T(masks),
        T(domain_width),
        T(device_tlb_sizes),
        T(device_tlb_pasid),
        T(device_tlb_rules),
        T(time_out),
        T(time_out_at_fence),
        T(time_out_loses_the_rest),
        T(unexpected_completion),
        T(type3_overtakes_type6),
        T(device_tlb_ordered),
        T(done_means_waited),
        T(pasid_cache_first),
        T(wraps),
    };
    return cmocka_run_group_tests_name("vtd queue", tests, nullptr, nullptr);
}
