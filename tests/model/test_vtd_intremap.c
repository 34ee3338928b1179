/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt remapping and posting: request formats (5.1.2), order of checks and faults (5.1.4,
 * Table 15), IRTE (9.9, 9.10), interrupt entry cache (6.4).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RID = 0x0310 };
#define BIT(n) (UINT64_C(1) << (n))
static struct bed bed, *const b = &bed;

static void start(void (*change)(struct vtd_model_config *), uint64_t irta_flags)
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_write(b, 0x90, b->queue | 1 << 11);
    bed_gcmd(b, 26, true);
    bed_write(b, 0xb8, b->irt | irta_flags);
    bed_gcmd(b, 24, true);
    bed_gcmd(b, 25, true);
}

static int setup(void **state)
{
    (void)state;
    start(nullptr, 0x807); /* 256 entries, x2APIC */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

static void again(void (*change)(struct vtd_model_config *), uint64_t irta_flags)
{
    bed_stop(b);
    start(change, irta_flags);
}

static void irte(unsigned i, uint64_t lo, uint64_t hi)
{
    bed_put16(b, b->irt + i * 16, lo, hi);
}

static uint8_t msi(uint16_t rid, uint32_t addr, uint32_t data)
{
    struct vtd_request r = { .rid = rid, .access = VTD_WRITE, .addr = addr };
    return vtd_model_dma(b->m, &r, &data, 4);
}

/* Remappable, no subhandle: handle[14:0] in 19:5, handle[15] in 2. */
static uint32_t handle(unsigned i)
{
    return 0xfee00010 | (i & 0x7fff) << 5 | (i >> 15) << 2;
}

static uint8_t fault(void)
{
    return bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff);
}

static void remapped(void **state)
{
    (void)state;
    /* vector 0x51, logical, RH, destination 0x12345678 */
    irte(5, UINT64_C(0x1234567800510000) | 1 | 4 | 8, 0);
    assert_int_equal(msi(RID, handle(5), 0xffffffff), 0); /* SHV=0: data ignored */
    assert_int_equal(b->interrupts, 1);
    assert_int_equal(b->msi_addr, UINT64_C(0x12345600fee7800c));
    assert_int_equal(b->msi_data, 0x4051);
    /* Lowest priority, level. */
    irte(6, UINT64_C(0x0000000100620000) | 1 | 1 << 5 | 16, 0);
    assert_int_equal(msi(RID, handle(6), 0), 0);
    assert_int_equal(b->msi_addr, 0xfee01000);
    assert_int_equal(b->msi_data, 0xc162);
    assert_true(bed_quiet(b));
}

/* xAPIC mode: the id is in bits 47:40, the rest reserved. */
static void remapped_xapic(void **state)
{
    (void)state;
    again(nullptr, 7);
    irte(5, UINT64_C(0x0000a50000510001), 0);
    assert_int_equal(msi(RID, handle(5), 0), 0);
    assert_int_equal(b->msi_addr, 0xfeea5000);
    irte(6, UINT64_C(0x0001a50000510001), 0);
    assert_int_equal(msi(RID, handle(6), 0), 0x24);
    irte(7, UINT64_C(0x0000a50100510001), 0);
    assert_int_equal(msi(RID, handle(7), 0), 0x24);
}

/* The reference's worked addresses, and index = handle + subhandle. */
static void formats(void **state)
{
    (void)state;
    assert_int_equal(handle(0x1234), 0xfee24690);
    assert_int_equal(handle(0x1234) | 8, 0xfee24698);
    assert_int_equal(handle(0x8001), 0xfee00034);
    irte(0x23, 0x330001, 0);
    assert_int_equal(msi(RID, handle(0x20) | 8, 3), 0);
    assert_int_equal(b->msi_data & 0xff, 0x33);
    assert_int_equal(msi(RID, handle(0x20) | 8, 0x10003), 0x20);
    assert_int_equal(fault(), 0x20);
    /* Bits 1:0 are ignored; the write is a dword. */
    assert_int_equal(msi(RID, handle(0x23) | 3, 0), 0);
}

/* 21: beyond the table; the record holds the index. */
static void index_range(void **state)
{
    (void)state;
    assert_int_equal(msi(RID, handle(0x100), 0), 0x21);
    uint64_t lo = bed_read(b, 0x600), hi = bed_read(b, 0x608);
    assert_int_equal(lo, UINT64_C(0x100) << 48);
    assert_int_equal(hi & 0xffff, RID);
    assert_int_equal(fault(), 0x21);
    assert_int_equal(msi(RID, handle(0x8001), 0), 0x21);
    irte(0xff, 0x330001, 0);
    assert_int_equal(msi(RID, handle(0xff), 0), 0);
}

/* 23: no memory. */
static void table_access(void **state)
{
    (void)state;
    bed_write(b, 0xb8, 0x1000 | 0x807);
    bed_gcmd(b, 24, true);
    assert_int_equal(msi(RID, handle(1), 0), 0x23);
    assert_int_equal(fault(), 0x23);
}

/* 22 and 24 with FPD, which counts with P=0 too. */
static void present_and_fpd(void **state)
{
    (void)state;
    assert_int_equal(msi(RID, handle(1), 0), 0x22);
    assert_int_equal(fault(), 0x22);
    irte(1, 2, 0);
    assert_int_equal(msi(RID, handle(1), 0), 0x22);
    assert_int_equal(bed_read32(b, 0x34) & 2, 0);
    irte(1, 3 | 1 << 12, 0);
    assert_int_equal(msi(RID, handle(1), 0), 0x24);
    assert_int_equal(bed_read32(b, 0x34) & 2, 0);
}

/* 24: reserved bits and values of the remapped form. */
static void reserved(void **state)
{
    (void)state;
    static const struct {
        uint64_t lo, hi;
        uint8_t reason;
    } t[] = {
        { 1 << 12, 0, 0x24 },
        { 1 << 14, 0, 0x24 },
        { 1 << 24, 0, 0x24 },
        { UINT64_C(1) << 31, 0, 0x24 },
        { 0, BIT(20), 0x24 },
        { 0, BIT(63), 0x24 },
        { 3 << 5, 0, 0x24 },
        { 6 << 5, 0, 0x24 },
        { 0, UINT64_C(3) << 18, 0x24 },
        { 1 << 15, 0, 0x24 }, /* posted without PI */
        { 0xf00, 0, 0 },
        { 2 << 5, 0, 0 },
        { 7 << 5, 0, 0 },
        { BIT(63), 0, 0 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        irte(i, 0x330001 | t[i].lo, t[i].hi);
        assert_int_equal(msi(RID, handle(i), 0), t[i].reason);
        bed_clear_faults(b);
    }
}

/* 26: SVT and SQ. */
static void source(void **state)
{
    (void)state;
    static const struct {
        uint16_t sid, rid;
        unsigned sq, svt;
        bool ok;
    } t[] = {
        { 0x0310, 0x0310, 0, 1, true },  { 0x0310, 0x0311, 0, 1, false },
        { 0x0310, 0x0314, 1, 1, true },  { 0x0310, 0x0312, 1, 1, false },
        { 0x0310, 0x0316, 2, 1, true },  { 0x0310, 0x0311, 2, 1, false },
        { 0x0310, 0x0317, 3, 1, true },  { 0x0310, 0x0318, 3, 1, false },
        { 0x0305, 0x0300, 0, 2, true },  { 0x0305, 0x05ff, 0, 2, true },
        { 0x0305, 0x0600, 0, 2, false }, { 0x0305, 0x02ff, 0, 2, false },
        { 0x0310, 0x9999, 0, 0, true },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        irte(i, 0x330001, t[i].sid | (uint64_t)t[i].sq << 16 | (uint64_t)t[i].svt << 18);
        assert_int_equal(msi(t[i].rid, handle(i), 0), t[i].ok ? 0 : 0x26);
        bed_clear_faults(b);
    }
    /* Source before contents. */
    irte(0x40, 0x331001, 0x0310 | 1 << 18);
    assert_int_equal(msi(0x0311, handle(0x40), 0), 0x26);
}

/* Compatibility format: blocked with EIME or without CFI, else passed as it is. */
static void compatibility(void **state)
{
    (void)state;
    assert_int_equal(msi(RID, 0xfee01000, 0x41), 0x25);
    assert_int_equal(fault(), 0x25);
    bed_gcmd(b, 23, true);
    assert_int_equal(msi(RID, 0xfee01000, 0x41), 0x25);
    again(nullptr, 7);
    assert_int_equal(msi(RID, 0xfee01000, 0x41), 0x25);
    bed_gcmd(b, 23, true);
    assert_int_equal(msi(RID, 0xfee01000, 0x41), 0);
    assert_int_equal(b->msi_addr, 0xfee01000);
    assert_int_equal(b->msi_data, 0x41);
}

static void strict(struct vtd_model_config *c)
{
    c->ecap |= BIT(61) | BIT(62);
}

/* 2A, 2B. */
static void required(void **state)
{
    (void)state;
    again(strict, 7);
    assert_true(bed_complained(b, "eime-required"));
    assert_int_equal(msi(RID, handle(1), 0), 0x2a);
    assert_int_equal(fault(), 0x2a);
    bed_gcmd(b, 25, false);
    assert_int_equal(msi(RID, handle(1), 0), 0x2b);
    assert_int_equal(fault(), 0x2b);
}

/* IRES=0 passes everything. */
static void disabled(void **state)
{
    (void)state;
    bed_gcmd(b, 25, false);
    assert_int_equal(msi(RID, handle(1), 7), 0);
    assert_int_equal(b->msi_addr, handle(1));
    assert_int_equal(b->msi_data, 7);
}

/* --- the interrupt entry cache ---------------------------------------------------------------- */

static void cached(void **state)
{
    (void)state;
    irte(9, 0x330001, 0);
    assert_int_equal(msi(RID, handle(9), 0), 0);
    irte(9, 0x440001, 0);
    msi(RID, handle(9), 0);
    assert_int_equal(b->msi_data & 0xff, 0x33);
    bed_do(b, UINT64_C(0x8) << 32 | 0x14, 0);       /* index 8 only */
    bed_do(b, UINT64_C(0x4) << 32 | 0x10000014, 0); /* 4..7 */
    bed_do(b, 0x11, 0);
    bed_do(b, 0xd2, 0);
    msi(RID, handle(9), 0);
    assert_int_equal(b->msi_data & 0xff, 0x33);
    bed_do(b, UINT64_C(0x8) << 32 | 0x8000014, 0); /* 8..9 */
    msi(RID, handle(9), 0);
    assert_int_equal(b->msi_data & 0xff, 0x44);
    irte(9, 0x550001, 0);
    bed_do(b, 0x4, 0);
    msi(RID, handle(9), 0);
    assert_int_equal(b->msi_data & 0xff, 0x55);
    /* CM=0: a faulting entry is not cached. */
    assert_int_equal(msi(RID, handle(10), 0), 0x22);
    irte(10, 0x660001, 0);
    assert_int_equal(msi(RID, handle(10), 0), 0);
}

static void caching(struct vtd_model_config *c)
{
    c->cap |= 1 << 7;
}

static void cached_not_present(void **state)
{
    (void)state;
    again(caching, 0x807);
    assert_int_equal(msi(RID, handle(10), 0), 0x22);
    irte(10, 0x660001, 0);
    assert_int_equal(msi(RID, handle(10), 0), 0x22);
    bed_do(b, UINT64_C(10) << 32 | 0x14, 0);
    assert_int_equal(msi(RID, handle(10), 0), 0);
}

static void source_checked_on_hit(void **state)
{
    (void)state;
    irte(9, 0x330001, RID | 1 << 18);
    assert_int_equal(msi(RID, handle(9), 0), 0);
    assert_int_equal(msi(RID + 1, handle(9), 0), 0x26);
}

/* --- posting (5.2) -------------------------------------------------------------------------- */

static void posting(struct vtd_model_config *c)
{
    c->cap |= BIT(59);
}

static void posted(void **state)
{
    (void)state;
    again(posting, 0x807);
    uint64_t pid = bed_page(b) + 0x40;
    uint64_t lo = 1 | 1 << 15 | 0x47 << 16 | (pid & 0xffffffff) >> 6 << 38;
    irte(1, lo, pid >> 32 << 32);
    bed_put(b, pid + 32, UINT64_C(0x0000000300f20000)); /* NV 0xf2, NDST 3 */
    assert_int_equal(msi(RID, handle(1), 0), 0);
    assert_int_equal(bed_get(b, pid + 8), BIT(7)); /* vector 0x47 */
    assert_int_equal(bed_get(b, pid + 32) & 1, 1); /* ON */
    assert_int_equal(b->interrupts, 1);
    assert_int_equal(b->msi_addr, 0xfee03000);
    assert_int_equal(b->msi_data & 0xff, 0xf2);
    assert_int_equal(msi(RID, handle(1), 0), 0);
    assert_int_equal(b->interrupts, 1);                 /* ON=1: no second notification */
    bed_put(b, pid + 32, UINT64_C(0x0000000300f20002)); /* SN */
    assert_int_equal(msi(RID, handle(1), 0), 0);
    assert_int_equal(b->interrupts, 1);
    irte(2, lo | 1 << 14, pid >> 32 << 32); /* urgent */
    assert_int_equal(msi(RID, handle(2), 0), 0);
    assert_int_equal(b->interrupts, 2);
}

/* 27, 28, and 24 for the posted form's reserved bits. */
static void posted_faults(void **state)
{
    (void)state;
    again(posting, 0x807);
    uint64_t pid = bed_page(b);
    uint64_t lo = 1 | 1 << 15 | 0x47 << 16 | (pid & 0xffffffff) >> 6 << 38, hi = pid >> 32 << 32;
    irte(1, 1 | 1 << 15 | UINT64_C(0x1000) >> 6 << 38, 0);
    assert_int_equal(msi(RID, handle(1), 0), 0x27);
    assert_int_equal(fault(), 0x27);
    bed_put(b, pid + 40, 1);
    irte(2, lo, hi);
    assert_int_equal(msi(RID, handle(2), 0), 0x28);
    assert_int_equal(fault(), 0x28);
    irte(3, lo | 4, hi);
    assert_int_equal(msi(RID, handle(3), 0), 0x24);
    irte(4, lo | 1 << 24, hi);
    assert_int_equal(msi(RID, handle(4), 0), 0x24);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(remapped),
        T(remapped_xapic),
        T(formats),
        T(index_range),
        T(table_access),
        T(present_and_fpd),
        T(reserved),
        T(source),
        T(compatibility),
        T(required),
        T(disabled),
        T(cached),
        T(cached_not_present),
        T(source_checked_on_hit),
        T(posted),
        T(posted_faults),
    };
    return cmocka_run_group_tests_name("vtd interrupt remapping", tests, nullptr, nullptr);
}
