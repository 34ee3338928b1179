/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The caches of 6.2 and what cures them: for each kind of entry the descriptor that must remove it
 * (Tables 17, 23, 24) and those that need not. cache_hard: what need not go stays.
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RID = 0x0310, RID2 = 0x0311, PASID = 0x40, OTHER = 0x41 };
enum { FS_DID = 1, SS_DID = 5, NEST_DID = 6 };
#define PWSNP (UINT64_C(1) << 23)
#define VA    UINT64_C(0x7000)

static struct bed bed, *const b = &bed;
static uint64_t ss, fs, ns, gfs; /* roots: second, first, nested's second and guest's first */
static uint64_t old_page, new_page, leaf_ss, leaf_fs, leaf_gfs, leaf_ns;

static void caching(struct vtd_model_config *c)
{
    c->cap |= 1 << 7;
}

static void build(void (*change)(struct vtd_model_config *))
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_context(b, RID, 0xe1c, 1);
    bed_context(b, RID2, 0xe1c, 1);
    old_page = bed_page(b);
    new_page = bed_page(b);
    ss = bed_page(b);
    fs = bed_page(b);
    leaf_ss = bed_map(b, ss, 4, VA, 12, old_page | 3, 3);
    leaf_fs = bed_map(b, fs, 4, VA, 12, old_page | 0x67, 0x67);
    /* Guest memory of the nested one: identity over the whole bench, and one page elsewhere. */
    ns = bed_page(b);
    gfs = bed_page(b);
    for (uint64_t a = BED_BASE; a < BED_BASE + BED_BYTES; a += 0x200000)
        bed_map(b, ns, 4, a, 21, a | 3, 3);
    leaf_ns = bed_map(b, ns, 4, 0x40000000, 12, old_page | 3, 3);
    leaf_gfs = bed_map(b, gfs, 4, VA, 12, 0x40000000 | 0x67, 0x67);
    for (unsigned i = 0; i < 2; i++) {
        uint16_t rid = i ? RID2 : RID;
        bed_pe(b, rid, PASID, ss | 0x89, SS_DID | PWSNP, 0);
        bed_pe(b, rid, PASID + 0x100, 0x41, FS_DID | PWSNP, fs);
        bed_pe(b, rid, PASID + 0x200, ns | 0xc9, NEST_DID | PWSNP, gfs);
        bed_pe(b, rid, PASID + 0x300, 0x101, 2 | PWSNP, 0);
        bed_pe(b, rid, 1, 0x41, FS_DID | PWSNP, fs);
    }
    bed_enable(b, 1, true);
}

static int setup(void **state)
{
    (void)state;
    build(nullptr);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

enum { SS = PASID, FS = PASID + 0x100, NEST = PASID + 0x200, PT = PASID + 0x300 };

static uint64_t at(int32_t pasid, uint64_t addr)
{
    uint64_t hpa = 0;
    uint8_t r = bed_access(b, RID, pasid, VTD_READ, addr, &hpa);
    return r ? r : hpa;
}

/* Descriptors. */
static uint64_t iotlb_page(unsigned did, uint64_t addr, unsigned am, bool ih)
{
    return bed_do(b, (uint64_t)did << 16 | 0xf2, addr | (uint64_t)ih << 6 | am);
}

static uint64_t iotlb_domain(unsigned did)
{
    return bed_do(b, (uint64_t)did << 16 | 0xe2, 0);
}

static uint64_t piotlb(unsigned did, uint32_t pasid)
{
    return bed_do(b, (uint64_t)pasid << 32 | (uint64_t)did << 16 | 0x26, 0);
}

static uint64_t piotlb_page(unsigned did, uint32_t pasid, uint64_t addr, unsigned am, bool ih)
{
    return bed_do(b, (uint64_t)pasid << 32 | (uint64_t)did << 16 | 0x36,
                  addr | (uint64_t)ih << 6 | am);
}

static uint64_t pasid_cache(unsigned did, uint32_t pasid)
{
    return bed_do(b, (uint64_t)pasid << 32 | (uint64_t)did << 16 | 0x17, 0);
}

/* --- IOTLB leaves ----------------------------------------------------------------------------- */

static void second_stage_leaf(void **state)
{
    (void)state;
    assert_int_equal(at(SS, VA), old_page);
    bed_put(b, leaf_ss, new_page | 3);
    assert_int_equal(at(SS, VA), old_page);
    piotlb_page(SS_DID, SS, VA, 0, false);     /* no effect on second-stage entries */
    iotlb_page(FS_DID, VA, 0, false);          /* another domain */
    iotlb_page(SS_DID, VA + 0x1000, 0, false); /* another page */
    pasid_cache(SS_DID, SS);                   /* another cache */
    bed_do(b, 0x11, 0);
    assert_int_equal(at(SS, VA), old_page);
    iotlb_page(SS_DID, VA, 0, true); /* a leaf: IH=1 is enough */
    assert_int_equal(at(SS, VA), new_page);
}

/* Each coarser descriptor cures as well. */
static void second_stage_coarser(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        bed_put(b, leaf_ss, old_page | 3);
        iotlb_domain(SS_DID);
        assert_int_equal(at(SS, VA), old_page);
        bed_put(b, leaf_ss, new_page | 3);
        assert_int_equal(at(SS, VA), old_page);
        if (i == 0)
            iotlb_page(SS_DID, 0, 3, true); /* pages 0..7 */
        else if (i == 1)
            iotlb_page(SS_DID, 0, 18, true);
        else if (i == 2)
            iotlb_domain(SS_DID);
        else if (i == 3)
            bed_do(b, 0xd2, 0);
        else
            piotlb(SS_DID, SS); /* DID and PASID (Table 24) */
        assert_int_equal(at(SS, VA), new_page);
    }
}

static void first_stage_leaf(void **state)
{
    (void)state;
    assert_int_equal(at(FS, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    piotlb_page(SS_DID, FS, VA, 0, false);     /* wrong DID */
    piotlb_page(FS_DID, FS + 1, VA, 0, false); /* wrong PASID */
    piotlb_page(FS_DID, FS, VA - 0x1000, 0, false);
    assert_int_equal(at(FS, VA), old_page);
    piotlb_page(FS_DID, FS, VA, 0, true);
    assert_int_equal(at(FS, VA), new_page);
}

/* Type 2 by page flushes first-stage and nested entries of the whole domain (Table 23). */
static void type2_page_and_first_stage(void **state)
{
    (void)state;
    assert_int_equal(at(FS, VA), old_page);
    assert_int_equal(at(NEST, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    bed_put(b, leaf_ns, new_page | 3);
    iotlb_page(FS_DID, 0x123456000, 0, true);
    assert_int_equal(at(FS, VA), new_page);
    assert_int_equal(at(NEST, VA), old_page);
    iotlb_page(NEST_DID, 0x40000000, 0, true);
    assert_int_equal(at(NEST, VA), new_page);
}

static void nested_leaf(void **state)
{
    (void)state;
    assert_int_equal(at(NEST, VA), old_page);
    bed_map(b, ns, 4, 0x40001000, 12, new_page | 3, 3);
    bed_put(b, leaf_gfs, 0x40001000 | 0x67);
    assert_int_equal(at(NEST, VA), old_page);
    piotlb_page(NEST_DID, NEST, VA, 0, true);
    assert_int_equal(at(NEST, VA), new_page);
}

/* Pass-through: type 2, or the PASID form of type 6; the page form of type 6 not. */
static void pass_through_entry(void **state)
{
    (void)state;
    assert_int_equal(at(PT, VA), VA);
    bed_pe(b, RID, PT, ss | 0x89, SS_DID | PWSNP, 0);
    pasid_cache(2, PT);
    assert_int_equal(at(PT, VA), VA);
    piotlb_page(2, PT, VA, 0, false);
    assert_int_equal(at(PT, VA), VA);
    piotlb(2, PT);
    assert_int_equal(at(PT, VA), old_page);
}

/* Entries of one function do not serve another, nor requests with PASID those without. */
static void lookup_tags(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    assert_int_equal(at(FS, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    assert_int_equal(bed_access(b, RID2, FS, VTD_READ, VA, &hpa), 0);
    assert_int_equal(hpa, new_page);
    assert_int_equal(at(-1, VA), new_page);
    assert_int_equal(at(FS, VA), old_page);
}

/* Filled without PASID, invalidated by RID_PASID (6.2.1). */
static void rid_pasid_tag(void **state)
{
    (void)state;
    assert_int_equal(at(-1, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    piotlb(FS_DID, FS);
    assert_int_equal(at(-1, VA), old_page);
    piotlb(FS_DID, 1);
    assert_int_equal(at(-1, VA), new_page);
}

/* A type 6 for one PASID reaches that PASID of every function. */
static void all_functions(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    at(FS, VA);
    bed_access(b, RID2, FS, VTD_READ, VA, &hpa);
    bed_put(b, leaf_fs, new_page | 0x67);
    piotlb_page(FS_DID, FS, VA, 0, true);
    bed_access(b, RID2, FS, VTD_READ, VA, &hpa);
    assert_int_equal(hpa, new_page);
    assert_int_equal(at(FS, VA), new_page);
}

/* 6.5.3.2: a large page may live on in fragments; the full mask is needed. */
static void fragments(void **state)
{
    (void)state;
    bed_map(b, ss, 4, 0x80000000, 21, 0x100000000 | 3, 3);
    uint64_t leaf = bed_map(b, ss, 4, 0x80000000, 21, 0x100000000 | 3, 3);
    assert_int_equal(at(SS, 0x80005000), 0x100005000);
    assert_int_equal(at(SS, 0x80009000), 0x100009000);
    bed_put(b, leaf, 0x140000000 | 0x83);
    assert_int_equal(at(SS, 0x8000a000), 0x10000a000); /* the large entry serves it */
    iotlb_page(SS_DID, 0x80005000, 0, true);
    assert_int_equal(at(SS, 0x80005000), 0x140005000);
    assert_int_equal(at(SS, 0x80009000), 0x100009000); /* a fragment that stayed */
    iotlb_page(SS_DID, 0x80000000, 9, true);
    assert_int_equal(at(SS, 0x80009000), 0x140009000);
}

/* Permissions are cached: read-only stays read-only until flushed. */
static void stale_permission(void **state)
{
    (void)state;
    bed_put(b, leaf_fs, old_page | 0x65);
    assert_int_equal(bed_access(b, RID, FS, VTD_READ, VA, nullptr), 0);
    bed_put(b, leaf_fs, old_page | 0x67);
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0x85);
    piotlb_page(FS_DID, FS, VA, 0, true);
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0);
}

/* CM=0: what faulted is not cached, so not-present to present needs nothing. */
static void not_present_uncached(void **state)
{
    (void)state;
    assert_int_equal(at(SS, VA + 0x1000), 0x79);
    bed_map(b, ss, 4, VA + 0x1000, 12, new_page | 3, 3);
    assert_int_equal(at(SS, VA + 0x1000), new_page);
    assert_int_equal(at(FS, VA + 0x1000), 0x71);
    bed_map(b, fs, 4, VA + 0x1000, 12, new_page | 0x67, 0x67);
    assert_int_equal(at(FS, VA + 0x1000), new_page);
    assert_int_equal(at(0x55, VA), 0x59);
    bed_pe(b, RID, 0x55, ss | 0x89, SS_DID | PWSNP, 0);
    assert_int_equal(at(0x55, VA), old_page);
}

/* --- dirty flags ------------------------------------------------------------------------------ */

/* 3.6.2: cleared in memory without invalidation, D is not set again. */
static void dirty_is_cached(void **state)
{
    (void)state;
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0);
    bed_put(b, leaf_fs, bed_get(b, leaf_fs) & ~UINT64_C(0x40));
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0);
    assert_int_equal(bed_get(b, leaf_fs) & 0x40, 0);
    piotlb_page(FS_DID, FS, VA, 0, true);
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0);
    assert_int_equal(bed_get(b, leaf_fs) & 0x40, 0x40);
}

/* An entry brought in by a read does not let a write pass undirtied. */
static void read_then_write(void **state)
{
    (void)state;
    bed_put(b, leaf_fs, old_page | 7);
    assert_int_equal(bed_access(b, RID, FS, VTD_READ, VA, nullptr), 0);
    assert_int_equal(bed_get(b, leaf_fs) & 0x60, 0x20);
    assert_int_equal(bed_access(b, RID, FS, VTD_WRITE, VA, nullptr), 0);
    assert_int_equal(bed_get(b, leaf_fs) & 0x60, 0x60);
}

/* --- paging-structure caches (6.2.5) -------------------------------------------------------- */

/* The page table is replaced: a leaf of another page still comes from the old one. */
static void first_stage_structures(void **state)
{
    (void)state;
    uint64_t pt = bed_page(b), pde = leaf_fs & ~UINT64_C(0xfff), t = fs;
    (void)pde;
    assert_int_equal(at(FS, VA), old_page);
    for (unsigned s = 39; s > 21; s -= 9)
        t = bed_get(b, t + (VA >> s & 0x1ff) * 8) & ~UINT64_C(0xfff);
    bed_put(b, pt + 8 * 8, new_page | 0x67); /* page 8 */
    bed_put(b, t + (VA >> 21 & 0x1ff) * 8, pt | 0x67);
    assert_int_equal(at(FS, 0x8000), 0x71);   /* old table: nothing there */
    piotlb_page(FS_DID, FS, 0x8000, 0, true); /* IH=1 keeps the structure caches */
    assert_int_equal(at(FS, 0x8000), 0x71);
    iotlb_page(SS_DID, 0x8000, 0, false);
    assert_int_equal(at(FS, 0x8000), 0x71);
    piotlb_page(FS_DID, FS, 0x8000, 0, false);
    assert_int_equal(at(FS, 0x8000), new_page);
}

static void second_stage_structures(void **state)
{
    (void)state;
    uint64_t pt = bed_page(b), t = ss;
    assert_int_equal(at(SS, VA), old_page);
    for (unsigned s = 39; s > 21; s -= 9)
        t = bed_get(b, t + (VA >> s & 0x1ff) * 8) & ~UINT64_C(0xfff);
    bed_put(b, pt + 8 * 8, new_page | 3);
    bed_put(b, t + (VA >> 21 & 0x1ff) * 8, pt | 3);
    assert_int_equal(at(SS, 0x8000), 0x79);
    iotlb_page(SS_DID, 0x8000, 0, true);
    piotlb(SS_DID, SS); /* type 6: not the second stage's */
    assert_int_equal(at(SS, 0x8000), 0x79);
    iotlb_page(SS_DID, 0x8000, 0, false);
    assert_int_equal(at(SS, 0x8000), new_page);
}

/* Nested: a table page of the guest moves in the second stage; type 2 by page is enough. */
static void nested_structures(void **state)
{
    (void)state;
    assert_int_equal(at(NEST, VA), old_page);
    uint64_t copy = bed_page(b), pt = leaf_gfs & ~UINT64_C(0xfff);
    bed_map(b, ns, 4, 0x40002000, 12, copy | 3, 3);
    uint64_t t = gfs;
    for (unsigned s = 39; s > 21; s -= 9)
        t = bed_get(b, t + (VA >> s & 0x1ff) * 8) & ~UINT64_C(0xfff);
    bed_put(b, t, 0x40002000 | 0x67);
    (void)pt;
    bed_map(b, ns, 4, 0x40001000, 12, new_page | 3, 3);
    bed_put(b, copy + 7 * 8, 0x40001000 | 0x67);
    piotlb_page(NEST_DID, NEST, VA, 0, true);
    assert_int_equal(at(NEST, VA), old_page);
    piotlb_page(NEST_DID, NEST, VA, 0, false);
    assert_int_equal(at(NEST, VA), new_page);
    /* Now the second stage of that table page changes. */
    uint64_t copy2 = bed_page(b);
    bed_put(b, copy2 + 7 * 8, 0x40000000 | 0x67);
    bed_map(b, ns, 4, 0x40002000, 12, copy2 | 3, 3);
    piotlb(NEST_DID, NEST + 1);
    assert_int_equal(at(NEST, VA), new_page);
    iotlb_page(NEST_DID, 0x40002000, 0, true);
    assert_int_equal(at(NEST, VA), old_page);
}

/* --- PASID and context caches --------------------------------------------------------------- */

static void pasid_entry(void **state)
{
    (void)state;
    assert_int_equal(at(FS, VA), old_page);
    bed_put(b, bed_pasid(b, RID, FS), 0);
    iotlb_domain(FS_DID);
    assert_int_equal(at(FS, VA), old_page); /* P=0 in memory, the cached entry lives */
    pasid_cache(SS_DID, FS);
    pasid_cache(FS_DID, FS + 1);
    iotlb_domain(FS_DID);
    assert_int_equal(at(FS, VA), old_page);
    pasid_cache(FS_DID, FS);
    assert_int_equal(at(FS, VA), old_page); /* now the IOTLB alone */
    piotlb(FS_DID, FS);
    assert_int_equal(at(FS, VA), 0x59);
}

/* PASID-cache by domain and global. */
static void pasid_entry_coarser(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        bed_pe(b, RID, SS, ss | 0x89, SS_DID | PWSNP, 0);
        assert_int_equal(at(SS, VA), old_page);
        bed_put(b, bed_pasid(b, RID, SS), 0);
        bed_desc(b, i ? 0x37 : (uint64_t)SS_DID << 16 | 7, 0);
        iotlb_domain(SS_DID);
        assert_int_equal(at(SS, VA), 0x59);
    }
}

static void context_entry(void **state)
{
    (void)state;
    assert_int_equal(at(SS, VA), old_page);
    bed_put(b, bed_context_at(b, RID), 0);
    bed_do(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(at(SS, VA), old_page);
    bed_do(b, (uint64_t)RID2 << 32 | 0x31, 0); /* another function */
    bed_do(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(at(SS, VA), old_page);
    bed_desc(b, (uint64_t)RID << 32 | 0x31, 0);
    bed_desc(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(at(SS, VA), 0x41);
}

/* Function mask (Table 21): RID2 with the low bits masked covers RID. */
static void context_function_mask(void **state)
{
    (void)state;
    static const struct {
        uint16_t sid;
        uint8_t fm;
        bool hit;
    } t[] = {
        { RID ^ 4, 0, false }, { RID ^ 4, 1, true }, { RID ^ 6, 1, false }, { RID ^ 6, 2, true },
        { RID ^ 7, 2, false }, { RID ^ 7, 3, true }, { RID ^ 8, 3, false },
    };
    uint64_t ce = bed_context_at(b, RID), good = bed_get(b, ce);
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        bed_put(b, ce, good);
        bed_desc(b, 0x11, 0);
        bed_desc(b, 0x37, 0);
        bed_do(b, 0xd2, 0);
        assert_int_equal(at(SS, VA), old_page);
        bed_put(b, ce, 0);
        bed_desc(b, (uint64_t)t[i].fm << 48 | (uint64_t)t[i].sid << 32 | 0x31, 0);
        bed_desc(b, 0x37, 0);
        bed_do(b, 0xd2, 0);
        assert_int_equal(at(SS, VA), t[i].hit ? 0x41 : old_page);
    }
}

/* Scalable mode: domain-selective context invalidation is global (6.5.2.1). */
static void context_domain(void **state)
{
    (void)state;
    assert_int_equal(at(SS, VA), old_page);
    bed_put(b, bed_context_at(b, RID), 0);
    bed_desc(b, 0x990021, 0);
    bed_desc(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(at(SS, VA), 0x41);
}

/* TE off flushes all (SMTS=1, 11.4.4.1); so does SRTP with ESRTPS=1. */
static void global_events(void **state)
{
    (void)state;
    assert_int_equal(at(FS, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    bed_gcmd(b, 30, true);
    assert_int_equal(at(FS, VA), new_page);
    bed_put(b, leaf_fs, old_page | 0x67);
    bed_gcmd(b, 31, false);
    bed_gcmd(b, 30, true);
    bed_gcmd(b, 31, true);
    assert_int_equal(at(FS, VA), old_page);
}

/* Device-TLB fills from the IOTLB too. */
static void ats_from_stale(void **state)
{
    (void)state;
    assert_int_equal(at(FS, VA), old_page);
    bed_put(b, leaf_fs, new_page | 0x67);
    assert_int_equal(bed_ats(b, RID, FS, VA, false).hpa, old_page);
    piotlb_page(FS_DID, FS, VA, 0, true);
    assert_int_equal(bed_ats(b, RID, FS, VA, false).hpa, new_page);
}

/* --- CM = 1 (6.1) --------------------------------------------------------------------------- */

static void caching_mode_second_stage(void **state)
{
    (void)state;
    bed_stop(b);
    build(caching);
    assert_int_equal(at(SS, VA + 0x1000), 0x79);
    bed_map(b, ss, 4, VA + 0x1000, 12, new_page | 3, 3);
    assert_int_equal(at(SS, VA + 0x1000), 0x79);
    iotlb_page(SS_DID, VA + 0x1000, 0, false);
    assert_int_equal(at(SS, VA + 0x1000), new_page);
}

/* First-stage faults are never cached, even with CM=1 (6.2.4.1). */
static void caching_mode_first_stage(void **state)
{
    (void)state;
    bed_stop(b);
    build(caching);
    assert_int_equal(at(FS, VA + 0x1000), 0x71);
    bed_map(b, fs, 4, VA + 0x1000, 12, new_page | 0x67, 0x67);
    assert_int_equal(at(FS, VA + 0x1000), new_page);
}

/* Faulting PASID entries are cached under domain 0 (6.2.3), context entries by function. */
static void caching_mode_tables(void **state)
{
    (void)state;
    bed_stop(b);
    build(caching);
    bed_pe(b, RID, 0x55, ss | 0x88, SS_DID | PWSNP, 0); /* P=0, the rest in place */
    assert_int_equal(at(0x55, VA), 0x59);
    bed_pe(b, RID, 0x55, ss | 0x89, SS_DID | PWSNP, 0);
    pasid_cache(SS_DID, 0x55);
    assert_int_equal(at(0x55, VA), 0x59);
    pasid_cache(0, 0x55);
    assert_int_equal(at(0x55, VA), old_page);

    uint64_t hpa;
    assert_int_equal(bed_access(b, RID + 8, SS, VTD_READ, VA, &hpa), 0x41);
    bed_context(b, RID + 8, 0xe1c, 1);
    bed_pe(b, RID + 8, SS, ss | 0x89, SS_DID | PWSNP, 0);
    assert_int_equal(bed_access(b, RID + 8, SS, VTD_READ, VA, &hpa), 0x41);
    bed_do(b, (uint64_t)(RID + 8) << 32 | 0x31, 0);
    assert_int_equal(bed_access(b, RID + 8, SS, VTD_READ, VA, &hpa), 0);
    assert_true(bed_quiet(b));
}

static void domain_zero(void **state)
{
    (void)state;
    bed_stop(b);
    build(caching);
    bed_pe(b, RID, 0x55, ss | 0x89, 0 | PWSNP, 0);
    at(0x55, VA);
    assert_true(bed_complained(b, "did-zero"));
}

/* --- without cache_hard --------------------------------------------------------------------- */

static void soft(struct vtd_model_config *c)
{
    c->cache_hard = false;
}

/* Both the old and the new translation are seen before the invalidation, only the new one after. */
static void forgetful_unit(void **state)
{
    (void)state;
    bed_stop(b);
    build(soft);
    unsigned olds = 0, news = 0;
    for (unsigned i = 0; i < 200; i++) {
        bed_put(b, leaf_fs, old_page | 0x67);
        piotlb_page(FS_DID, FS, VA, 0, true);
        assert_int_equal(at(FS, VA), old_page);
        bed_put(b, leaf_fs, new_page | 0x67);
        uint64_t got = at(FS, VA);
        assert_true(got == old_page || got == new_page);
        olds += got == old_page;
        news += got == new_page;
    }
    assert_true(olds > 20 && news > 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(second_stage_leaf),
        T(second_stage_coarser),
        T(first_stage_leaf),
        T(type2_page_and_first_stage),
        T(nested_leaf),
        T(pass_through_entry),
        T(lookup_tags),
        T(rid_pasid_tag),
        T(all_functions),
        T(fragments),
        T(stale_permission),
        T(not_present_uncached),
        T(dirty_is_cached),
        T(read_then_write),
        T(first_stage_structures),
        T(second_stage_structures),
        T(nested_structures),
        T(pasid_entry),
        T(pasid_entry_coarser),
        T(context_entry),
        T(context_function_mask),
        T(context_domain),
        T(global_events),
        T(ats_from_stale),
        T(caching_mode_second_stage),
        T(caching_mode_first_stage),
        T(caching_mode_tables),
        T(domain_zero),
        T(forgetful_unit),
    };
    return cmocka_run_group_tests_name("vtd caches", tests, nullptr, nullptr);
}
