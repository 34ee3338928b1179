/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First-stage, second-stage, nested and pass-through translation: 3.6 - 3.9, 9.6 - 9.8, and the
 * fault reasons of the walks (Table 30: SFS.*, SSS.*, SGN.*).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RID = 0x0310, PASID = 0x12345 };
#define PWSNP (UINT64_C(1) << 23)
#define HIGH  UINT64_C(0x3ffff0000000) /* an address without memory, below 2^46 */

/* Context with everything on, PDTS for 20 bits, RID_PASID 1. */
#define CTX_ALL UINT64_C(0xe1c)

static struct bed bed, *const b = &bed;

static int setup(void **state)
{
    (void)state;
    bed_config(b);
    bed_start(b);
    bed_context(b, RID, CTX_ALL, 1);
    bed_enable(b, 1, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

/* A fault that must be logged with this reason, for an untranslated request. */
static void expect_fault(uint8_t reason, int32_t pasid, enum vtd_access how, uint64_t addr)
{
    assert_int_equal(bed_access(b, RID, pasid, how, addr, nullptr), reason);
    unsigned i = bed_read32(b, 0x34) >> 8 & 0xff;
    assert_int_equal(bed_fault(b, i), reason);
}

static uint64_t ss_root, fs_root;

/* Second stage only, four levels: low bits 0x89 (9.6). */
static void second(uint32_t pasid, uint64_t more)
{
    ss_root = bed_page(b);
    bed_pe(b, RID, pasid, ss_root | 0x89 | more, 5 | PWSNP, 0);
}

static void first(uint32_t pasid, uint64_t q2)
{
    fs_root = bed_page(b);
    bed_pe(b, RID, pasid, 0x41, 1 | PWSNP, fs_root | q2);
}

/* Nested: 0xc9; the second stage maps `bytes` of guest memory from 0 onto pages. */
static void nested(uint32_t pasid, uint64_t more0, uint64_t q2)
{
    ss_root = bed_page(b);
    bed_pe(b, RID, pasid, ss_root | 0xc9 | more0, 6 | PWSNP, q2);
}

static void second_4k(void **state)
{
    (void)state;
    uint64_t page = bed_page(b), hpa = 0;
    second(PASID, 0);
    bed_map(b, ss_root, 4, 0x7fff12345000, 12, page | 3, 3);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x7fff12345678, &hpa), 0);
    assert_int_equal(hpa, page + 0x678);
    assert_true(bed_quiet(b));
}

/* 3.7: 2 MiB and 1 GiB leaves, three and five levels; AW 1, 2, 3 is 39, 48, 57 bits. */
static void second_sizes(void **state)
{
    (void)state;
    uint64_t root3 = bed_page(b), root5 = bed_page(b), hpa = 0;
    bed_pe(b, RID, 2, root3 | 0x85, 10 | PWSNP, 0);
    bed_pe(b, RID, 3, root5 | 0x8d, 11 | PWSNP, 0);
    bed_map(b, root3, 3, 0x40200000, 21, 0x80200000 | 3, 3);
    bed_map(b, root5, 5, UINT64_C(0x1ff000040000000), 30, 0x140000000 | 3, 3);
    assert_int_equal(bed_access(b, RID, 2, VTD_READ, 0x40345678, &hpa), 0);
    assert_int_equal(hpa, 0x80345678);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, UINT64_C(0x1ff000041234567), &hpa), 0);
    assert_int_equal(hpa, 0x141234567);
    /* SGN.5: beyond min(MGAW, AW); second stage is zero-extended. */
    expect_fault(0x84, 2, VTD_READ, UINT64_C(1) << 39);
    expect_fault(0x84, 3, VTD_READ, UINT64_C(1) << 57);
    assert_true(bed_quiet(b));
}

/* 3.7.1, SGN.6, SGN.7, SSS.2. */
static void second_rights(void **state)
{
    (void)state;
    uint64_t page = bed_page(b);
    second(PASID, 0);
    bed_map(b, ss_root, 4, 0x1000, 12, page | 1, 3);
    bed_map(b, ss_root, 4, 0x2000, 12, page | 2, 3);
    bed_map(b, ss_root, 4, 0x3000, 12, page | 4, 3); /* neither R nor W: not present */
    expect_fault(0x85, PASID, VTD_WRITE, 0x1000);
    expect_fault(0x86, PASID, VTD_READ, 0x2000);
    expect_fault(0x86, PASID, VTD_ATOMIC, 0x2000);
    expect_fault(0x85, PASID, VTD_ATOMIC, 0x1000);
    expect_fault(0x79, PASID, VTD_READ, 0x3000);
    expect_fault(0x79, PASID, VTD_READ, 0x7000);
    /* A zero-length read of a write-only page is fine with ZLR (3.14). */
    struct vtd_request z = { .rid = RID, .pasid_present = true, .pasid = PASID, .addr = 0x2000 };
    assert_int_equal(vtd_model_dma(b->m, &z, nullptr, 0), 0);
}

/* SSS.2: R and W each granted somewhere, but neither all the way. */
static void second_accumulated(void **state)
{
    (void)state;
    second(PASID, 0);
    bed_map(b, ss_root, 4, 0x1000, 12, bed_page(b) | 2, 1);
    expect_fault(0x79, PASID, VTD_READ, 0x1000);
}

/* A right that is missing above is missing below. */
static void second_rights_accumulate(void **state)
{
    (void)state;
    uint64_t page = bed_page(b);
    second(2, 0);
    bed_map(b, ss_root, 4, 0x1000, 12, page | 3, 2);
    second(3, 0);
    bed_pe(b, RID, 3, ss_root | 0x89, 7 | PWSNP, 0);
    bed_map(b, ss_root, 4, 0x1000, 12, page | 3, 1);
    expect_fault(0x86, 2, VTD_READ, 0x1000);
    assert_int_equal(bed_access(b, RID, 2, VTD_WRITE, 0x1000, nullptr), 0);
    expect_fault(0x85, 3, VTD_WRITE, 0x1000);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x1000, nullptr), 0);
}

/* SSS.3: each reserved bit of 9.8, and those that are not. */
static void second_reserved(void **state)
{
    (void)state;
    static const struct {
        uint64_t bits;
        uint8_t shift, reason;
    } t[] = {
        { UINT64_C(1) << 46, 12, 0x7a },
        { UINT64_C(1) << 51, 12, 0x7a },
        { UINT64_C(1) << 62, 12, 0x7a },
        { UINT64_C(1) << 61, 12, 0 },
        { UINT64_C(0x1ff) << 52, 12, 0 },
        { UINT64_C(1) << 63, 12, 0 },
        { 0x4, 12, 0 },
        { 0x78, 12, 0 },
        { 0x80, 12, 0 },
        { 0x700, 12, 0 },
        { 0x800, 12, 0 },
        { 0x1000, 21, 0x7a },
        { 0x100000, 21, 0x7a },
        { 0x20000000, 30, 0x7a },
        { 0x800, 21, 0 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        uint64_t addr = UINT64_C(0x40000000) * (i + 1);
        uint64_t frame = t[i].shift == 12 ? bed_page(b) : UINT64_C(0x80000000);
        if (!i)
            second(PASID, 0);
        bed_map(b, ss_root, 4, addr, t[i].shift, frame | t[i].bits | 3, 3);
        assert_int_equal(bed_access(b, RID, PASID, VTD_READ, addr, nullptr), t[i].reason);
    }
    /* Non-leaf entries: SNP and PS of the upper levels are reserved. */
    uint64_t pml4e = ss_root + 8, pdpt = bed_page(b);
    bed_put(b, pml4e, pdpt | 0x803);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, UINT64_C(1) << 39, nullptr), 0x7a);
    bed_put(b, pml4e, pdpt | 0x83);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, UINT64_C(1) << 39, nullptr), 0x7a);
    /* An entry with R=W=0 is not present, whatever else it holds. */
    bed_put(b, pml4e, pdpt | 0x800);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, UINT64_C(1) << 39, nullptr), 0x79);
}

/* SSS.1, SSS.4: no memory below, at the root. */
static void second_access(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, HIGH | 0x89, 10 | PWSNP, 0);
    expect_fault(0x7b, 2, VTD_READ, 0x1000);
    second(3, 0);
    bed_put(b, ss_root, HIGH | 3);
    expect_fault(0x78, 3, VTD_READ, 0x1000);
}

/* 3.7.2: A on every entry, D on the leaf for a write; never for a read. */
static void second_dirty(void **state)
{
    (void)state;
    second(PASID, 0x200);
    uint64_t leaf = bed_map(b, ss_root, 4, 0x1000, 12, bed_page(b) | 3, 3);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x100);
    assert_int_equal(bed_get(b, ss_root) & 0x300, 0x100);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x300);
    assert_int_equal(bed_get(b, ss_root) & 0x300, 0x100);
}

/* Without SSADE nothing is written. */
static void second_no_flags(void **state)
{
    (void)state;
    second(PASID, 0);
    uint64_t leaf = bed_map(b, ss_root, 4, 0x1000, 12, bed_page(b) | 3, 3);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0);
}

/* SSS.5: flags due, but the walk is not snooped; SSS.6: the update fails. */
static void second_flag_faults(void **state)
{
    (void)state;
    ss_root = bed_page(b);
    bed_map(b, ss_root, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_pe(b, RID, 2, ss_root | 0x289, 10, 0);
    expect_fault(0x7c, 2, VTD_READ, 0x1000);
    bed_pe(b, RID, 3, ss_root | 0x289, 10 | PWSNP, 0);
    b->cas_fail = 1;
    expect_fault(0x7d, 3, VTD_READ, 0x1000);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x1000, nullptr), 0);
}

/* The compare-and-swap meets another store: the entry is read again, and both survive. */
static void flag_race(void **state)
{
    (void)state;
    second(PASID, 0x200);
    uint64_t leaf = bed_map(b, ss_root, 4, 0x1000, 12, bed_page(b) | 3, 3);
    b->cas_race = 3;
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x303, 0x303);
    assert_int_not_equal((bed_get(b, ss_root) >> 52 & 1), 0);
}

static void first_4k(void **state)
{
    (void)state;
    uint64_t page = bed_page(b), hpa = 0;
    first(PASID, 0);
    uint64_t leaf = bed_map(b, fs_root, 4, 0x7fff12345000, 12, page | 7, 7);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x7fff12345abc, &hpa), 0);
    assert_int_equal(hpa, page + 0xabc);
    /* 3.6.2: A everywhere, D only for the write, no EA without EAFE. */
    assert_int_equal(bed_get(b, leaf) & 0x460, 0x20);
    assert_int_equal(bed_get(b, fs_root + 0xff * 8) & 0x20, 0x20);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x7fff12345abc, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x460, 0x60);
    assert_true(bed_quiet(b));
}

/* 3.6.2: EAFE sets EA together with A. */
static void first_extended_accessed(void **state)
{
    (void)state;
    first(PASID, 0x80);
    uint64_t leaf = bed_map(b, fs_root, 4, 0x1000, 12, bed_page(b) | 0x27, 7);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x460, 0x420);
    assert_int_equal(bed_get(b, fs_root) & 0x420, 0x420);
}

/* Five levels, large pages; canonical addresses (SGN.1). */
static void first_sizes(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    first(2, 0);
    bed_map(b, fs_root, 4, 0x40200000, 21, 0x80200000 | 7, 7);
    bed_map(b, fs_root, 4, UINT64_C(0xffff800000000000), 30, 0x140000000 | 7, 7);
    assert_int_equal(bed_access(b, RID, 2, VTD_READ, 0x40245678, &hpa), 0);
    assert_int_equal(hpa, 0x80245678);
    assert_int_equal(bed_access(b, RID, 2, VTD_READ, UINT64_C(0xffff800012345678), &hpa), 0);
    assert_int_equal(hpa, 0x152345678);
    expect_fault(0x80, 2, VTD_READ, UINT64_C(0x0000800000000000));
    expect_fault(0x80, 2, VTD_READ, UINT64_C(0xfffe800000000000));
    first(3, 4);
    bed_map(b, fs_root, 5, UINT64_C(0x00fe000000000000), 12, bed_page(b) | 7, 7);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, UINT64_C(0x00fe000000000000), &hpa), 0);
    expect_fault(0x80, 3, VTD_READ, UINT64_C(0x0100000000000000));
}

/* 3.6.1: user and privileged, read-only and supervisor pages, WPE, SRE. */
static void first_rights(void **state)
{
    (void)state;
    uint64_t page = bed_page(b);
    first(2, 1);                                     /* SRE, no WPE */
    bed_map(b, fs_root, 4, 0x1000, 12, page | 5, 7); /* read-only */
    bed_map(b, fs_root, 4, 0x2000, 12, page | 3, 7); /* supervisor */
    expect_fault(0x85, 2, VTD_WRITE, 0x1000);
    expect_fault(0x85, 2, VTD_ATOMIC, 0x1000);
    expect_fault(0x81, 2, VTD_READ, 0x2000);
    assert_int_equal(bed_access_priv(b, RID, 2, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_access_priv(b, RID, 2, VTD_READ, 0x2000, nullptr), 0);
    uint64_t root = fs_root;
    bed_pe(b, RID, 3, 0x41, 1 | PWSNP, root | 0x11); /* WPE */
    assert_int_equal(bed_access_priv(b, RID, 3, VTD_WRITE, 0x1000, nullptr), 0x85);
    assert_int_equal(bed_access_priv(b, RID, 3, VTD_WRITE, 0x2000, nullptr), 0);
    bed_pe(b, RID, 4, 0x41, 1 | PWSNP, root); /* SPT.6: no SRE */
    assert_int_equal(bed_access_priv(b, RID, 4, VTD_READ, 0x1000, nullptr), 0x5d);
    assert_int_equal(bed_access(b, RID, 4, VTD_READ, 0x1000, nullptr), 0);
}

/* U/S and R/W are ANDed over all levels. */
static void first_rights_accumulate(void **state)
{
    (void)state;
    first(2, 0);
    bed_map(b, fs_root, 4, 0x1000, 12, bed_page(b) | 7, 3);
    expect_fault(0x81, 2, VTD_READ, 0x1000);
    first(3, 0);
    bed_map(b, fs_root, 4, 0x1000, 12, bed_page(b) | 7, 5);
    expect_fault(0x85, 3, VTD_WRITE, 0x1000);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x1000, nullptr), 0);
}

/* SFS.2, SFS.3: not present, and the reserved bits of 9.7. */
static void first_reserved(void **state)
{
    (void)state;
    static const struct {
        uint64_t bits;
        uint8_t shift, reason;
    } t[] = {
        { UINT64_C(1) << 46, 12, 0x72 },
        { UINT64_C(1) << 51, 12, 0x72 },
        { UINT64_C(0xfff) << 52, 12, 0 },
        { 0xa98, 12, 0 },
        { 0x100, 12, 0 },
        { 0x2000, 21, 0x72 },
        { 0x100000, 21, 0x72 },
        { 0x1000, 21, 0 },
        { 0x2000, 30, 0x72 },
        { 0x20000000, 30, 0x72 },
        { 0x1000, 30, 0 },
    };
    first(PASID, 0);
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        uint64_t addr = UINT64_C(0x40000000) * (i + 1);
        uint64_t frame = t[i].shift == 12 ? bed_page(b) : UINT64_C(0x80000000);
        bed_map(b, fs_root, 4, addr, t[i].shift, frame | t[i].bits | 7, 7);
        assert_int_equal(bed_access(b, RID, PASID, VTD_READ, addr, nullptr), t[i].reason);
    }
    bed_clear_faults(b);
    expect_fault(0x71, PASID, VTD_READ, UINT64_C(0x7f0000000000));
    bed_put(b, fs_root + 8 * 2, bed_page(b) | 0x87); /* PS in a PML4E */
    expect_fault(0x72, PASID, VTD_READ, UINT64_C(2) << 39);
}

/* SFS.1, SFS.4. */
static void first_access(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, 0x41, 1 | PWSNP, HIGH);
    expect_fault(0x73, 2, VTD_READ, 0x1000);
    first(3, 0);
    bed_put(b, fs_root, HIGH | 7);
    expect_fault(0x70, 3, VTD_READ, 0x1000);
}

/* SFS.9: flags due in a walk that is not snooped; pre-set flags make it work. SFS.10. */
static void first_flag_faults(void **state)
{
    (void)state;
    fs_root = bed_page(b);
    uint64_t leaf = bed_map(b, fs_root, 4, 0x1000, 12, bed_page(b) | 0x27, 0x27);
    bed_pe(b, RID, 2, 0x41, 1, fs_root);
    assert_int_equal(bed_access(b, RID, 2, VTD_READ, 0x1000, nullptr), 0);
    expect_fault(0x90, 2, VTD_WRITE, 0x1000);
    bed_put(b, leaf, bed_get(b, leaf) | 0x40);
    assert_int_equal(bed_access(b, RID, 2, VTD_WRITE, 0x1000, nullptr), 0);
    first(3, 0);
    bed_map(b, fs_root, 4, 0x1000, 12, bed_page(b) | 7, 7);
    b->cas_fail = 1;
    expect_fault(0x91, 3, VTD_READ, 0x1000);
}

/* SGN.8: an output in FEEx_xxxx, first stage and second. */
static void output_in_interrupt_range(void **state)
{
    (void)state;
    first(2, 0);
    bed_map(b, fs_root, 4, 0x1000, 12, UINT64_C(0xfee00000) | 7, 7);
    expect_fault(0x87, 2, VTD_READ, 0x1000);
    second(3, 0);
    bed_map(b, ss_root, 4, 0xc0000000, 30, UINT64_C(0xc0000000) | 3, 3);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0xfed00000, nullptr), 0);
    expect_fault(0x87, 3, VTD_READ, 0xfee01000);
}

/* 3.9: pass-through, 0x101; SGN.4 beyond the host width; with PASID FEEx is blocked (3.15). */
static void pass_through(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    bed_pe(b, RID, 2, 0x101, 1, 0);
    assert_int_equal(bed_access(b, RID, 2, VTD_ATOMIC, 0x123456789, &hpa), 0);
    assert_int_equal(hpa, 0x123456789);
    expect_fault(0x83, 2, VTD_READ, UINT64_C(1) << 46);
    expect_fault(0x87, 2, VTD_WRITE, 0xfee00000);
}

/* 3.8: every first-stage address goes through the second stage, tables too. */
static void nested_4k(void **state)
{
    (void)state;
    uint64_t hpa = 0, data = bed_page(b), tables[4], gpa[4] = { 0x1000, 0x2000, 0x3000, 0x4000 };
    nested(PASID, 0, gpa[0]);
    for (unsigned i = 0; i < 4; i++) {
        tables[i] = bed_page(b);
        bed_map(b, ss_root, 4, gpa[i], 12, tables[i] | 3, 3);
        if (i)
            bed_put(b, tables[i - 1] + (i == 1 ? 0x80 : 0), gpa[i] | 7);
    }
    bed_map(b, ss_root, 4, 0x9000, 12, data | 3, 3);
    bed_put(b, tables[3] + 8, 0x9007);
    uint64_t va = (UINT64_C(0x10) << 39) | 0x1234;
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, va, &hpa), 0);
    assert_int_equal(hpa, data + 0x234);
    assert_int_equal(bed_get(b, tables[3] + 8) & 0x60, 0x60);
    assert_int_equal(bed_get(b, tables[0] + 0x80) & 0x60, 0x20);
    assert_true(bed_quiet(b));
}

/* Guest memory for the nested faults: identity second stage over one 2 MiB page of tables. */
static uint64_t guest_tables(uint64_t more0, uint64_t q2, uint64_t perm)
{
    uint64_t top = bed_page(b);
    nested(PASID, more0, top | q2);
    bed_map(b, ss_root, 4, BED_BASE, 21, BED_BASE | perm, 3);
    bed_map(b, ss_root, 4, BED_BASE + 0x200000, 21, (BED_BASE + 0x200000) | 3, 3);
    return top;
}

/* SFS.5: a first-stage entry that points beyond min(MGAW, AW). */
static void nested_beyond(void **state)
{
    (void)state;
    b->next = BED_BASE + 0x100000;
    uint64_t top = bed_page(b);
    ss_root = bed_page(b);
    bed_pe(b, RID, PASID, ss_root | 0xc5, 6 | PWSNP, top); /* 39 bits */
    bed_map(b, ss_root, 3, BED_BASE, 21, BED_BASE | 3, 3);
    bed_put(b, top, (UINT64_C(1) << 39) | 7);
    expect_fault(0x74, PASID, VTD_READ, 0x1000);
    /* SPT.4.4: so is FSPTPTR. */
    bed_pe(b, RID, 7, ss_root | 0xc5, 6 | PWSNP, UINT64_C(1) << 39);
    expect_fault(0x5b, 7, VTD_READ, 0x1000);
}

/* SFS.6, SFS.7: the second stage denies reading a table; SSS.2: it does not map it. */
static void nested_table_rights(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0, 0, 3), pdpt = bed_page(b);
    uint64_t at_top = bed_map(b, ss_root, 4, 0x40000000, 12, top | 2, 3);
    bed_pe(b, RID, 2, ss_root | 0xc9, 6 | PWSNP, 0x40000000);
    expect_fault(0x75, 2, VTD_READ, 0x1000);
    (void)at_top;
    bed_map(b, ss_root, 4, 0x40001000, 12, pdpt | 2, 3);
    bed_put(b, top + 8, 0x40001000 | 7);
    expect_fault(0x76, PASID, VTD_READ, UINT64_C(1) << 39);
    bed_put(b, top + 16, UINT64_C(0x50000000) | 7);
    expect_fault(0x79, PASID, VTD_READ, UINT64_C(2) << 39);
    /* SFS.1 with a second stage that leads nowhere. */
    bed_map(b, ss_root, 4, 0x60000000, 12, HIGH | 3, 3);
    bed_put(b, top + 24, UINT64_C(0x60000000) | 7);
    expect_fault(0x70, PASID, VTD_READ, UINT64_C(3) << 39);
}

/* SFS.8: a table that the second stage maps read-only, and flags to set in it. */
static void nested_flag_rights(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0, 0, 1);
    bed_map(b, fs_root = top, 4, 0x1000, 12, bed_page(b) | 7, 7);
    expect_fault(0x77, PASID, VTD_READ, 0x1000);
    /* With the flags there already, reading works. */
    uint64_t t = top;
    for (unsigned s = 39; s >= 12; s -= 9) {
        uint64_t e = t + (UINT64_C(0x1000) >> s & 0x1ff) * 8;
        bed_put(b, e, bed_get(b, e) | 0x20);
        t = bed_get(b, e) & ~UINT64_C(0xfff);
    }
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    expect_fault(0x85, PASID, VTD_WRITE, 0x1000);
}

/* 3.8.1: with SSADE reading a table needs write permission too; A and D of the second stage. */
static void nested_ssade(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0x200, 0, 1);
    bed_map(b, top, 4, 0x1000, 12, bed_page(b) | 0x67, 0x27);
    expect_fault(0x75, PASID, VTD_READ, 0x1000);

    top = bed_page(b);
    ss_root = bed_page(b);
    bed_pe(b, RID, 8, ss_root | 0x2c9, 9 | PWSNP, top);
    bed_map(b, ss_root, 4, BED_BASE, 21, BED_BASE | 3, 3);
    uint64_t leaf = bed_map(b, ss_root, 4, 0x40000000, 12, bed_page(b) | 3, 3);
    bed_map(b, top, 4, 0x1000, 12, 0x40000000 | 7, 7);
    assert_int_equal(bed_access(b, RID, 8, VTD_READ, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x100);
    assert_int_equal(bed_access(b, RID, 8, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x300);
}

/* D of the first stage was set before: D of the second is still due for the first write. */
static void nested_dirty_below(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0x200, 0, 3);
    uint64_t leaf = bed_map(b, ss_root, 4, 0x40000000, 12, bed_page(b) | 3, 3);
    bed_map(b, top, 4, 0x1000, 12, 0x40000000 | 0x67, 0x67);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x100);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_get(b, leaf) & 0x300, 0x300);
}

/* 3.8.1: effective permission is the AND of both stages. */
static void nested_rights(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0, 0, 3);
    bed_map(b, ss_root, 4, 0x40000000, 12, bed_page(b) | 1, 3);
    bed_map(b, ss_root, 4, 0x40001000, 12, bed_page(b) | 2, 3);
    bed_map(b, top, 4, 0x1000, 12, 0x40000000 | 7, 7);
    bed_map(b, top, 4, 0x2000, 12, 0x40001000 | 7, 7);
    bed_map(b, top, 4, 0x3000, 12, bed_page(b) | 5, 7);
    expect_fault(0x85, PASID, VTD_WRITE, 0x1000);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    expect_fault(0x86, PASID, VTD_READ, 0x2000);
    expect_fault(0x86, PASID, VTD_ATOMIC, 0x2000);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x2000, nullptr), 0);
    expect_fault(0x85, PASID, VTD_WRITE, 0x3000);
}

/* A request that is denied leaves no dirty flag (3.6.2, 3.7.2). */
static void denied_is_not_dirty(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0, 0, 3);
    bed_map(b, ss_root, 4, 0x40000000, 12, bed_page(b) | 1, 3);
    uint64_t leaf = bed_map(b, top, 4, 0x1000, 12, 0x40000000 | 7, 7);
    expect_fault(0x85, PASID, VTD_WRITE, 0x1000);
    assert_int_equal(bed_get(b, leaf) & 0x40, 0);
}

/* Nested large pages: the smaller of both stages is what is mapped. */
static void nested_sizes(void **state)
{
    (void)state;
    uint64_t top = guest_tables(0, 0, 3), hpa = 0;
    uint64_t frame = bed_page(b);
    bed_map(b, ss_root, 4, 0x40005000, 12, frame | 3, 3);
    bed_map(b, ss_root, 4, 0x80000000, 30, 0x140000000 | 3, 3);
    bed_map(b, top, 4, 0x40000000, 30, 0x40000000 | 7, 7);
    bed_map(b, top, 4, 0x80000000, 21, 0x80400000 | 7, 7);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x40005123, &hpa), 0);
    assert_int_equal(hpa, frame + 0x123);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x80012345, &hpa), 0);
    assert_int_equal(hpa, 0x140412345);
    struct vtd_translation t = bed_ats(b, RID, PASID, 0x80012345, false);
    assert_int_equal(t.size, 0x200000);
    assert_int_equal(t.hpa, 0x140400000);
    t = bed_ats(b, RID, PASID, 0x40005123, false);
    assert_int_equal(t.size, 0x1000);
    assert_int_equal(t.hpa, frame);
}

/* Requests without PASID use RID_PASID, and RID_PRIV for the privilege (9.4). */
static void without_pasid(void **state)
{
    (void)state;
    uint64_t page = bed_page(b), hpa = 0;
    first(1, 1);
    bed_map(b, fs_root, 4, 0x1000, 12, page | 7, 7);
    bed_map(b, fs_root, 4, 0x2000, 12, page | 3, 7);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1008, &hpa), 0);
    assert_int_equal(hpa, page + 8);
    expect_fault(0x81, -1, VTD_READ, 0x2000);
    uint16_t other = RID + 1;
    uint64_t ce = bed_context(b, other, CTX_ALL, 1 | 1u << 20);
    (void)ce;
    bed_pe(b, other, 1, 0x41, 1 | PWSNP, fs_root | 1);
    assert_int_equal(bed_access(b, other, -1, VTD_READ, 0x2000, &hpa), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(second_4k),
        T(second_sizes),
        T(second_rights),
        T(second_accumulated),
        T(second_rights_accumulate),
        T(second_reserved),
        T(second_access),
        T(second_dirty),
        T(second_no_flags),
        T(second_flag_faults),
        T(flag_race),
        T(first_4k),
        T(first_extended_accessed),
        T(first_sizes),
        T(first_rights),
        T(first_rights_accumulate),
        T(first_reserved),
        T(first_access),
        T(first_flag_faults),
        T(output_in_interrupt_range),
        T(pass_through),
        T(nested_4k),
        T(nested_beyond),
        T(nested_table_rights),
        T(nested_flag_rights),
        T(nested_ssade),
        T(nested_dirty_below),
        T(nested_rights),
        T(denied_is_not_dirty),
        T(nested_sizes),
        T(without_pasid),
    };
    return cmocka_run_group_tests_name("vtd walk", tests, nullptr, nullptr);
}
