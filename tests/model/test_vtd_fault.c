/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault records (7.2.1, 11.4.7.6) and translation completions (4.1.2, 4.2.3).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RID = 0x0310, PASID = 0x12345 };
#define PWSNP (UINT64_C(1) << 23)
#define PGSNP (UINT64_C(1) << 24)
static struct bed bed, *const b = &bed;
static uint64_t fs, ss;

static void start(void (*change)(struct vtd_model_config *))
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_context(b, RID, 0xe1c, 1);
    fs = bed_page(b);
    ss = bed_page(b);
    bed_pe(b, RID, PASID, 0x41, 1 | PWSNP, fs | 1);
    bed_pe(b, RID, 7, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 1, 0x41, 1 | PWSNP, fs | 1);
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

static uint64_t lo(unsigned i)
{
    return bed_read(b, 0x600 + 16 * i);
}

static uint64_t hi(unsigned i)
{
    return bed_read(b, 0x608 + 16 * i);
}

/* --- records ---------------------------------------------------------------------------------- */

/* SID 15:0, T2 28, PRIV 29, PP 31, FR 39:32, PASID 59:40, AT 61:60, T1 62, F 63. */
static void record_fields(void **state)
{
    (void)state;
    static const struct {
        int32_t pasid;
        enum vtd_access how;
        uint64_t type;
    } t[] = {
        { PASID, VTD_READ, UINT64_C(1) << 62 },
        { PASID, VTD_WRITE, 0 },
        { PASID, VTD_ATOMIC, UINT64_C(1) << 62 | 1 << 28 },
        { -1, VTD_READ, UINT64_C(1) << 62 },
    };
    for (unsigned i = 0; i < 4; i++) {
        bed_access(b, RID, t[i].pasid, t[i].how, 0x123456789abc, nullptr);
        assert_int_equal(lo(i), UINT64_C(0x123456789000));
        uint64_t want = UINT64_C(1) << 63 | t[i].type | UINT64_C(0x71) << 32 | RID;
        if (t[i].pasid >= 0)
            want |= (uint64_t)PASID << 40 | UINT64_C(1) << 31;
        assert_int_equal(hi(i), want);
    }
    bed_access_priv(b, RID, PASID, VTD_READ, 0x1000, nullptr);
    assert_int_equal(hi(4) >> 29 & 7, 5);
}

/* Filled from the index on, in a circle; overflow keeps the old ones and sets PFO. */
static void circle_and_overflow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        bed_access(b, RID, PASID, VTD_READ, (uint64_t)i << 12, nullptr);
    assert_int_equal(bed_read32(b, 0x34), 2);
    bed_access(b, RID, PASID, VTD_READ, 0x99000, nullptr);
    assert_int_equal(bed_read32(b, 0x34), 3);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(lo(i), (uint64_t)i << 12);
    /* PFO=1: nothing is recorded even when there is room. */
    bed_fault(b, 0);
    bed_access(b, RID, PASID, VTD_READ, 0x99000, nullptr);
    assert_int_equal(hi(0) >> 63, 0);
    bed_clear_faults(b);
    assert_int_equal(bed_read32(b, 0x34) & 3, 0);
    bed_access(b, RID, PASID, VTD_READ, 0x55000, nullptr);
    assert_int_equal(lo(0), 0x55000); /* eight were recorded: back at index 0 */
    assert_int_equal(bed_read32(b, 0x34) >> 8, 0);
}

/* FRI is the first pending one, set when PPF rises. */
static void first_index(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        bed_access(b, RID, PASID, VTD_READ, 0, nullptr);
    assert_int_equal(bed_read32(b, 0x34), 0x002);
    for (unsigned i = 0; i < 3; i++)
        bed_fault(b, i);
    assert_int_equal(bed_read32(b, 0x34) & 3, 0);
    bed_access(b, RID, PASID, VTD_READ, 0, nullptr);
    bed_access(b, RID, PASID, VTD_READ, 0, nullptr);
    assert_int_equal(bed_read32(b, 0x34), 0x302);
}

/* The index goes to 0 when TES = IRES = 0; records stay (sticky). */
static void index_reset(void **state)
{
    (void)state;
    bed_access(b, RID, PASID, VTD_READ, 0, nullptr);
    bed_access(b, RID, PASID, VTD_READ, 0, nullptr);
    bed_gcmd(b, 31, false);
    assert_int_equal(hi(1) >> 63, 1);
    bed_clear_faults(b);
    bed_gcmd(b, 30, true);
    bed_gcmd(b, 31, true);
    bed_access(b, RID, PASID, VTD_READ, 0x77000, nullptr);
    assert_int_equal(lo(0), 0x77000);
}

static void one_record(struct vtd_model_config *c)
{
    c->cap &= ~(UINT64_C(0xff) << 40);
}

static void single_record(void **state)
{
    (void)state;
    bed_stop(b);
    start(one_record);
    bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr);
    bed_access(b, RID, PASID, VTD_READ, 0x2000, nullptr);
    assert_int_equal(bed_read32(b, 0x34), 3);
    assert_int_equal(lo(0), 0x1000);
    bed_read(b, 0x610);
    assert_true(bed_complained(b, "mmio-undefined"));
}

/* Clearing F takes a 1 in bit 63 only; the rest of the dword may be anything read. */
static void clear_by_dword(void **state)
{
    (void)state;
    bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr);
    bed_write32(b, 0x60c, 0);
    assert_int_equal(hi(0) >> 63, 1);
    bed_write32(b, 0x60c, bed_read32(b, 0x60c));
    assert_int_equal(hi(0) >> 63, 0);
    assert_true(bed_quiet(b));
}

/* Fault information above the largest AGAW reads zero. */
static void four_levels(struct vtd_model_config *c)
{
    c->cap &= ~(UINT64_C(1) << 11);
}

static void info_width(void **state)
{
    (void)state;
    bed_stop(b);
    start(four_levels);
    bed_access(b, RID, PASID, VTD_READ, UINT64_C(0xffff800000001000), nullptr);
    assert_int_equal(lo(0), UINT64_C(0x800000001000));
}

/* 3.15: reads, atomics and odd writes without PASID to FEEx are reported. */
static void interrupt_range(void **state)
{
    (void)state;
    uint8_t buf[8] = { 0 };
    struct vtd_request r = { .rid = RID, .access = VTD_READ, .addr = 0xfee00000 };
    assert_int_equal(vtd_model_dma(b->m, &r, buf, 4), 0x29);
    assert_int_equal(bed_fault(b, 0), 0x29);
    assert_int_equal(vtd_model_dma(b->m, &r, nullptr, 0), 0);
    r.access = VTD_WRITE;
    assert_int_equal(vtd_model_dma(b->m, &r, buf, 8), 0x29);
    r.access = VTD_ATOMIC;
    assert_int_equal(vtd_model_dma(b->m, &r, buf, 4), 0x29);
    /* With PASID it is an address like any other. */
    bed_map(b, fs, 4, 0xfee00000, 12, bed_page(b) | 7, 7);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0xfee00000, nullptr), 0);
}

/* --- DMA with data -------------------------------------------------------------------------- */

static void dma_moves_data(void **state)
{
    (void)state;
    uint64_t p1 = bed_page(b), gap = bed_page(b), p2 = bed_page(b);
    (void)gap;
    bed_map(b, fs, 4, 0x1000, 12, p2 | 7, 7);
    bed_map(b, fs, 4, 0x2000, 12, p1 | 7, 7);
    uint8_t out[64], in[64];
    for (unsigned i = 0; i < 64; i++)
        out[i] = (uint8_t)(i + 1);
    struct vtd_request r = {
        .rid = RID, .pasid_present = true, .pasid = PASID, .access = VTD_WRITE, .addr = 0x1fe0
    };
    assert_int_equal(vtd_model_dma(b->m, &r, out, 64), 0);
    assert_int_equal(bed_get(b, p2 + 0xfe0), UINT64_C(0x0807060504030201));
    assert_int_equal(bed_get(b, p1), UINT64_C(0x2827262524232221));
    r.access = VTD_READ;
    assert_int_equal(vtd_model_dma(b->m, &r, in, 64), 0);
    assert_memory_equal(in, out, 64);
    /* The first blocked piece names the reason; what came before is done. */
    r.addr = 0x2ff0;
    r.access = VTD_WRITE;
    assert_int_equal(vtd_model_dma(b->m, &r, out, 64), 0x71);
    assert_int_equal(bed_get(b, p1 + 0xff0), UINT64_C(0x0807060504030201));
    /* Swap. */
    uint64_t v = 5;
    r.access = VTD_ATOMIC;
    r.addr = 0x2000;
    assert_int_equal(vtd_model_dma(b->m, &r, &v, 8), 0);
    assert_int_equal(v, UINT64_C(0x2827262524232221));
    assert_int_equal(bed_get(b, p1), 5);
}

/* --- translation completions ---------------------------------------------------------------- */

static void completion_permissions(void **state)
{
    (void)state;
    uint64_t page = bed_page(b);
    bed_map(b, fs, 4, 0x1000, 12, page | 7, 7);
    bed_map(b, fs, 4, 0x2000, 12, page | 5, 7);
    bed_map(b, fs, 4, 0x3000, 12, page | 3, 7);
    bed_map(b, ss, 4, 0x2000, 12, page | 2, 3);
    struct vtd_translation t = bed_ats(b, RID, PASID, 0x1000, false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(t.r && t.w && !t.u && !t.n && !t.priv);
    assert_int_equal(t.hpa, page);
    assert_int_equal(t.size, 0x1000);
    t = bed_ats(b, RID, PASID, 0x1000, true); /* NW: W is withheld */
    assert_true(t.r && !t.w);
    t = bed_ats(b, RID, PASID, 0x2000, false); /* effective permission, not logged */
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(t.r && !t.w);
    t = bed_ats(b, RID, 7, 0x2000, false);
    assert_true(!t.r && t.w);
    t = bed_ats(b, RID, PASID, 0x3000, false); /* SGN.2: nothing granted */
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(!t.r && !t.w);
    t = bed_ats(b, RID, PASID, 0x9000, false); /* SFS.2 */
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(!t.r && !t.w && !t.u);
    assert_int_equal(bed_read32(b, 0x34), 0);
}

/* 4.2.3: PRIV answers PR; without SRE privileged requests get nothing. */
static void completion_privileged(void **state)
{
    (void)state;
    bed_map(b, fs, 4, 0x3000, 12, bed_page(b) | 3, 7);
    struct vtd_request r = {
        .rid = RID, .pasid_present = true, .pasid = PASID, .privileged = true, .addr = 0x3000
    };
    struct vtd_translation t;
    vtd_model_translate(b->m, &r, false, &t);
    assert_true(t.r && t.w && t.priv);
    bed_pe(b, RID, 9, 0x41, 1 | PWSNP, fs);
    r.pasid = 9;
    vtd_model_translate(b->m, &r, false, &t);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(!t.r && !t.w && t.priv);
    assert_int_equal(bed_read32(b, 0x34), 0);
}

/* 4.2.3.1: NW=0 counts as a write, NW=1 as a read. */
static void completion_dirty(void **state)
{
    (void)state;
    uint64_t leaf = bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 7, 7);
    bed_ats(b, RID, PASID, 0x1000, true);
    assert_int_equal(bed_get(b, leaf) & 0x60, 0x20);
    bed_ats(b, RID, PASID, 0x1000, false);
    assert_int_equal(bed_get(b, leaf) & 0x60, 0x60);
    uint64_t ro = bed_map(b, fs, 4, 0x2000, 12, bed_page(b) | 5, 7);
    bed_ats(b, RID, PASID, 0x2000, false);
    assert_int_equal(bed_get(b, ro) & 0x60, 0x20);
}

static void no_nwfs(struct vtd_model_config *c)
{
    c->ecap &= ~(UINT64_C(1) << 33);
}

static void no_write_flag_ignored(void **state)
{
    (void)state;
    bed_stop(b);
    start(no_nwfs);
    uint64_t leaf = bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 7, 7);
    assert_true(bed_ats(b, RID, PASID, 0x1000, true).w);
    assert_int_equal(bed_get(b, leaf) & 0x60, 0x60);
}

/* SFS.10 answers success without permission, and is logged as well. */
static void completion_flag_failure(void **state)
{
    (void)state;
    bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 7, 7);
    b->cas_fail = 1;
    struct vtd_translation t = bed_ats(b, RID, PASID, 0x1000, false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_false(t.r || t.w);
    assert_int_equal(bed_fault(b, 0), 0x91);
}

/* N: PGSNP, or the leaf's SNP of the second stage (Table 10). */
static void completion_snoop(void **state)
{
    (void)state;
    bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 7, 7);
    bed_map(b, ss, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_map(b, ss, 4, 0x2000, 12, bed_page(b) | 0x803, 3);
    assert_false(bed_ats(b, RID, PASID, 0x1000, false).n);
    assert_false(bed_ats(b, RID, 7, 0x1000, false).n);
    assert_true(bed_ats(b, RID, 7, 0x2000, false).n);
    bed_pe(b, RID, 9, 0x41, 1 | PWSNP | PGSNP, fs);
    assert_true(bed_ats(b, RID, 9, 0x1000, false).n);
    bed_pe(b, RID, 10, 0x101, 1 | PGSNP, 0);
    assert_true(bed_ats(b, RID, 10, 0x1000, false).n);
}

static void completion_sizes(void **state)
{
    (void)state;
    bed_map(b, fs, 4, 0x40000000, 21, 0x80000000 | 7, 7);
    bed_map(b, ss, 4, 0x40000000, 30, 0x140000000 | 3, 3);
    struct vtd_translation t = bed_ats(b, RID, PASID, 0x40123000, false);
    assert_int_equal(t.size, 0x200000);
    assert_int_equal(t.hpa, 0x80000000);
    t = bed_ats(b, RID, 7, 0x40123000, false);
    assert_int_equal(t.size, 0x40000000);
    assert_int_equal(t.hpa, 0x140000000);
    /* Pass-through: the largest page (4.2.3). */
    bed_pe(b, RID, 10, 0x101, 1, 0);
    t = bed_ats(b, RID, 10, 0xc0123000, false);
    assert_true(t.r && t.w);
    assert_int_equal(t.size, 0x40000000);
    assert_int_equal(t.hpa, 0xc0000000);
    t = bed_ats(b, RID, 10, UINT64_C(1) << 46, false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_false(t.r || t.w);
}

/* S.1, S.2: FEEx without PASID is no fault; SGN.8 for what is mapped there. */
static void completion_interrupt_range(void **state)
{
    (void)state;
    struct vtd_translation t = bed_ats(b, RID, -1, 0xfee01000, false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(!t.r && t.w && t.u && t.size == 0x1000);
    t = bed_ats(b, RID, -1, 0xfee01000, true);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(!t.r && !t.w && !t.u);
    assert_int_equal(bed_read32(b, 0x34), 0);
    bed_map(b, fs, 4, 0x1000, 12, UINT64_C(0xfee00000) | 7, 7);
    assert_int_equal(bed_ats(b, RID, PASID, 0x1000, false).status, VTD_TC_CA);
    assert_int_equal(bed_fault(b, 0), 0x87);
    /* A large page that overlaps the range. */
    bed_map(b, ss, 4, 0xc0000000, 30, UINT64_C(0xc0000000) | 3, 3);
    assert_int_equal(bed_ats(b, RID, 7, 0xc0000000, false).status, VTD_TC_CA);
}

/* AT=01 writes do not exist (4.2.1). */
static void write_translation_request(void **state)
{
    (void)state;
    struct vtd_request r = { .rid = RID, .access = VTD_WRITE, .addr = 0x1000 };
    struct vtd_translation t;
    vtd_model_translate(b->m, &r, false, &t);
    assert_int_equal(t.status, VTD_TC_UR);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(record_fields),
        T(circle_and_overflow),
        T(first_index),
        T(index_reset),
        T(single_record),
        T(clear_by_dword),
        T(info_width),
        T(interrupt_range),
        T(dma_moves_data),
        T(completion_permissions),
        T(completion_privileged),
        T(completion_dirty),
        T(no_write_flag_ignored),
        T(completion_flag_failure),
        T(completion_snoop),
        T(completion_sizes),
        T(completion_interrupt_range),
        T(write_translation_request),
    };
    return cmocka_run_group_tests_name("vtd faults", tests, nullptr, nullptr);
}
