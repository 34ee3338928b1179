/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Root, context, PASID directory and PASID table (9.1 - 9.6): each fault of Table 30 that they can
 * give, for each kind of request; what FPD hides; legacy mode with its own reasons.
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RID = 0x0390 }; /* devfn 0x90: the upper half of the root entry */
enum { PASID = 0x12345 };
#define PWSNP   (UINT64_C(1) << 23)
#define HIGH    UINT64_C(0x3ffff0000000)
#define CTX_ALL UINT64_C(0xe1c)
#define BIT(n)  (UINT64_C(1) << (n))

static struct bed bed, *const b = &bed;
static void (*change)(struct vtd_model_config *);
static uint64_t ce, pe, de, ss;

/* A working second-stage PASID and RID_PASID 1; the tests then break one thing. */
static void build(unsigned ttm)
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    change = nullptr;
    bed_start(b);
    ss = bed_page(b);
    bed_map(b, ss, 4, 0x1000, 12, bed_page(b) | 3, 3);
    ce = bed_context(b, RID, b->cfg.ecap >> 29 & 1 ? CTX_ALL : CTX_ALL & ~0x10u, 1);
    bed_pe(b, RID, 1, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, PASID, ss | 0x89, 5 | PWSNP, 0);
    pe = bed_pasid(b, RID, PASID);
    de = (bed_get(b, ce) & ~UINT64_C(0xfff)) + (PASID >> 6) * 8;
    bed_enable(b, ttm, true);
}

static int setup(void **state)
{
    (void)state;
    build(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

static void again(void (*how)(struct vtd_model_config *), unsigned ttm)
{
    bed_stop(b);
    change = how;
    build(ttm);
}

/* Worked example of the reference: PASID 0x12345 is directory entry 0x48d, table entry 5. */
static void geometry(void **state)
{
    (void)state;
    uint64_t dir = bed_get(b, ce) & ~UINT64_C(0xfff);
    assert_int_equal(de, dir + 0x48d * 8);
    assert_int_equal(pe & 0xfff, 5 * 64);
    assert_int_equal(ce & 0xfff, 0x10 * 32);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x1000, nullptr), 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_WRITE, 0x1000, nullptr), 0);
    assert_true(bed_quiet(b));
}

/* --- one row of Table 30 ---------------------------------------------------------------------- */

enum want { UR, CA, NONE, PERM };

/*
 * The reason for an untranslated request with PASID; for a translation request the completion and
 * whether it is logged; for a page request an Invalid Request answer and a record.
 */
static void row(uint8_t reason, enum want ats, bool logged, bool page)
{
    bed_clear_faults(b);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), reason);
    unsigned at = bed_read32(b, 0x34) >> 8 & 0xff;
    assert_int_equal(bed_fault(b, at), reason);

    struct vtd_translation t = bed_ats(b, RID, PASID, 0x1000, false);
    assert_int_equal(t.status, ats == UR ? VTD_TC_UR : ats == CA ? VTD_TC_CA : VTD_TC_SUCCESS);
    assert_false(t.r);
    assert_false(t.w);
    assert_int_equal(bed_read32(b, 0x34) >> 1 & 1, logged);
    if (logged) {
        at = bed_read32(b, 0x34) >> 8 & 0xff;
        uint64_t hi = bed_read(b, 0x600 + 16 * at + 8);
        assert_int_equal(hi >> 60 & 3, 1); /* AT: translation request */
        assert_int_equal(bed_fault(b, at), reason);
    }

    struct vtd_page_request p = { .rid = RID,
                                  .prgi = 9,
                                  .pasid_present = true,
                                  .pasid = PASID,
                                  .read = true,
                                  .lpig = true,
                                  .addr = 0x1000 };
    unsigned before = b->responses;
    vtd_model_page_request(b->m, &p);
    if (page) {
        assert_int_equal(b->responses, before + 1);
        assert_int_equal(b->resp[before].code, 1);
        assert_int_equal(b->resp[before].prgi, 9);
        at = bed_read32(b, 0x34) >> 8 & 0xff;
        uint64_t hi = bed_read(b, 0x600 + 16 * at + 8);
        assert_int_equal((hi >> 28 & 1) | (hi >> 62 & 1) << 1, 1); /* T2=1, T1=0: page request */
        assert_int_equal(bed_fault(b, at), reason);
        p.lpig = false; /* without LPIG: dropped, but logged (Table 31) */
        vtd_model_page_request(b->m, &p);
        assert_int_equal(b->responses, before + 1);
        assert_int_equal(bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff), reason);
    } else {
        assert_int_equal(b->responses, before);
    }
}

static void no_adms(struct vtd_model_config *c)
{
    c->ecap &= ~BIT(52);
}

/* RTA.1 - RTA.4. */
static void mode_faults(void **state)
{
    (void)state;
    again(nullptr, 3);
    row(0x33, UR, true, true);
    again(no_adms, 3);
    row(0x30, CA, true, true);
    again(nullptr, 2);
    row(0x30, CA, true, true);
    again(nullptr, 0);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x31);
    assert_int_equal(bed_ats(b, RID, PASID, 0x1000, false).status, VTD_TC_UR);
    bed_clear_faults(b);
    struct vtd_page_request p = { .rid = RID, .read = true, .lpig = true };
    vtd_model_page_request(b->m, &p);
    assert_int_equal(bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff), 0x32);
    assert_int_equal(b->resp[0].code, 1);
}

/* SRT.1 - SRT.3. The halves of a root entry are independent. */
static void root_faults(void **state)
{
    (void)state;
    uint64_t half = b->root + (RID >> 8) * 16 + 8, good = bed_get(b, half);
    bed_put(b, half, good & ~BIT(0));
    bed_put(b, half - 8, bed_page(b) | 1);
    row(0x39, UR, true, true);
    bed_put(b, half, good | 2);
    row(0x3a, CA, true, true);
    bed_put(b, half, good | BIT(46));
    row(0x3a, CA, true, true);
    bed_put(b, half, good);
    bed_put(b, half - 8, UINT64_C(0xffe)); /* LP=0: not looked at */
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    bed_write(b, 0x20, HIGH | 1 << 10);
    bed_gcmd(b, 30, true);
    row(0x38, CA, true, true);
}

/* SCT.1 - SCT.3. */
static void context_faults(void **state)
{
    (void)state;
    static const struct {
        unsigned q;
        uint64_t bits;
    } rsvd[] = {
        { 0, BIT(7) },  { 0, BIT(8) },  { 0, BIT(5) },  { 0, BIT(6) }, { 0, BIT(46) },
        { 0, BIT(63) }, { 1, BIT(21) }, { 1, BIT(63) }, { 2, BIT(0) }, { 3, BIT(63) },
    };
    uint64_t good = bed_get(b, ce);
    bed_put(b, ce, good & ~BIT(0));
    row(0x41, UR, true, true);
    bed_put(b, ce, good);
    for (unsigned i = 0; i < sizeof(rsvd) / sizeof(rsvd[0]); i++) {
        uint64_t at = ce + rsvd[i].q * 8, old = bed_get(b, at);
        bed_put(b, at, old | rsvd[i].bits);
        row(0x42, CA, true, true);
        bed_put(b, at, old);
    }
    uint64_t half = b->root + (RID >> 8) * 16 + 8;
    bed_put(b, half, HIGH | 1);
    row(0x40, CA, true, true);
    bed_put(b, half, (ce & ~UINT64_C(0xfff)) | 1);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
}

static void minimal(struct vtd_model_config *c)
{
    /* no DT (nor PRS, PDS, DIT, NWFS), no RPS, no RPRIVS */
    c->ecap &= ~(BIT(2) | BIT(29) | BIT(33) | BIT(41) | BIT(42) | BIT(49) | BIT(53));
}

/* Fields whose capability is missing are reserved (9.4). */
static void context_by_capability(void **state)
{
    (void)state;
    again(minimal, 1);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x42); /* DTE */
    bed_put(b, ce, bed_get(b, ce) & ~UINT64_C(0x14));
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x42); /* RID_PASID */
    bed_put(b, ce + 8, BIT(20));
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x42); /* RID_PRIV */
    bed_put(b, ce + 8, 0);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    /* RPS=0: requests without PASID use PASID 0. */
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), 0x59);
    bed_pe(b, RID, 0, ss | 0x89, 5 | PWSNP, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), 0);
}

/* SCT.4: PRE without DTE, RID_PASID beyond the directory. */
static void context_programming(void **state)
{
    (void)state;
    uint64_t good = bed_get(b, ce);
    bed_put(b, ce, good & ~BIT(2));
    row(0x43, CA, true, true);
    bed_put(b, ce, (good & ~UINT64_C(0xe00))); /* PDTS 0: 2^13 PASIDs */
    bed_put(b, ce + 8, 0x2000);
    row(0x43, CA, true, true);
    bed_put(b, ce + 8, 0x1fff);
    assert_int_equal(bed_access(b, RID, 0x1ffe, VTD_READ, 0x1000, nullptr), 0x51);
    /* SCT.7: an explicit PASID beyond the directory. */
    row(0x46, UR, true, true);
}

static void translated_pasid(struct vtd_model_config *c)
{
    c->ecap |= BIT(56);
}

/* SCT.5, SCT.6, SCT.8, SCT.9, SCT.10. */
static void context_requests(void **state)
{
    (void)state;
    uint64_t good = bed_get(b, ce);
    bed_put(b, ce, good & ~BIT(2) & ~BIT(4)); /* DTE=0 */
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
    assert_int_equal(bed_ats(b, RID, PASID, 0x1000, false).status, VTD_TC_UR);
    assert_int_equal(bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff), 0x44);
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), 0x44);
    bed_clear_faults(b);

    again(nullptr, 1);
    bed_put(b, ce, good & ~BIT(3)); /* PASIDE=0 */
    row(0x45, UR, true, true);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), 0);

    again(nullptr, 1);
    bed_put(b, ce, good & ~BIT(4)); /* PRE=0 */
    struct vtd_page_request p = { .rid = RID, .read = true, .lpig = true };
    vtd_model_page_request(b->m, &p);
    assert_int_equal(bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff), 0x47);
    assert_int_equal(b->resp[0].code, 1);

    again(nullptr, 1);
    bed_put(b, ce + 8, PASID); /* the request names RID_PASID */
    row(0x48, UR, true, true);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), 0);

    again(translated_pasid, 1);
    assert_int_equal(bed_translated(b, RID, PASID, BED_BASE), 0x49);
    bed_do(b, 0x11, 0);
    bed_put(b, ce, bed_get(b, ce) | BIT(6));
    bed_do(b, 0x11, 0);
    assert_int_equal(bed_translated(b, RID, PASID, BED_BASE), 0);
    bed_put(b, ce, (bed_get(b, ce) | BIT(6)) & ~BIT(3));
    bed_do(b, 0x11, 0);
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), 0x43); /* EPTR without PASIDE */
}

static void narrow(struct vtd_model_config *c)
{
    c->ecap = (c->ecap & ~(UINT64_C(0x1f) << 35)) | UINT64_C(15) << 35;
}

/* SGN.10: 16-bit PASIDs, and one of 17 bits. */
static void pasid_width(void **state)
{
    (void)state;
    again(narrow, 1);
    assert_int_equal(bed_access(b, RID, 0xfffe, VTD_READ, 0x1000, nullptr), 0x51);
    assert_int_equal(bed_access(b, RID, 0x10001, VTD_READ, 0x1000, nullptr), 0x89);
    assert_int_equal(bed_ats(b, RID, 0x10001, 0x1000, false).status, VTD_TC_UR);
}

/* SPD.1 - SPD.3. */
static void directory_faults(void **state)
{
    (void)state;
    uint64_t good = bed_get(b, de);
    bed_put(b, de, good & ~BIT(0));
    row(0x51, NONE, false, true);
    bed_put(b, de, good | 4);
    row(0x52, CA, true, true);
    bed_put(b, de, good | BIT(46));
    row(0x52, CA, true, true);
    bed_put(b, de, HIGH | 1);
    row(0x58, CA, true, true); /* SPT.1: the table it names is not there */
    bed_put(b, de, good);
    bed_put(b, ce, (bed_get(b, ce) & 0xfff) | HIGH);
    bed_desc(b, 0x11, 0); /* the context entry is cached by now */
    bed_desc(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    row(0x50, CA, true, true);
}

/* SPT.2, SPT.3: present, and every reserved bit of 9.6. */
static void entry_reserved(void **state)
{
    (void)state;
    static const struct {
        unsigned q, hi, lo;
    } rsvd[] = {
        { 0, 5, 5 },   { 0, 11, 10 }, { 0, 63, 46 }, { 1, 22, 16 }, { 1, 26, 25 },
        { 1, 31, 27 }, { 1, 63, 32 }, { 2, 1, 1 },   { 2, 11, 8 },  { 2, 63, 46 },
        { 3, 63, 0 },  { 4, 63, 0 },  { 5, 63, 0 },  { 6, 63, 0 },  { 7, 63, 0 },
    };
    bed_put(b, pe, bed_get(b, pe) & ~BIT(0));
    row(0x59, NONE, false, true);
    bed_put(b, pe, bed_get(b, pe) | 1);
    for (unsigned i = 0; i < sizeof(rsvd) / sizeof(rsvd[0]); i++) {
        for (unsigned n = rsvd[i].lo; n <= rsvd[i].hi; n++) {
            uint64_t at = pe + rsvd[i].q * 8, old = bed_get(b, at);
            bed_put(b, at, old | BIT(n));
            bed_clear_faults(b);
            assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x5a);
            bed_put(b, at, old);
        }
    }
    bed_put(b, pe + 24, 1);
    row(0x5a, CA, true, true);
    bed_put(b, pe + 24, 0);
    bed_put(b, pe + 16, 0x60); /* bits 134:133 are ignored */
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0);
}

static void first_stage_only(struct vtd_model_config *c)
{
    /* FSTS without SSTS: no NEST, SSADS, SMPWCS, EAFS, SRS, SC. */
    c->ecap &= ~(BIT(46) | BIT(26) | BIT(45) | BIT(48) | BIT(34) | BIT(31) | BIT(7) | BIT(53));
}

static void second_stage_only(struct vtd_model_config *c)
{
    c->ecap &= ~(BIT(47) | BIT(26) | BIT(34));
}

/* 9.6: fields that are reserved without their capability. */
static void entry_by_capability(void **state)
{
    (void)state;
    again(first_stage_only, 1);
    uint64_t fs = bed_page(b);
    bed_map(b, fs, 4, 0x1000, 12, bed_page(b) | 0x67, 0x27);
    static const struct {
        uint64_t q0, q1, q2;
        uint8_t reason;
    } t[] = {
        { 0x41, 1, 0, 0 },     { 0x45, 1, 0, 0x5a },         { 0x1041, 1, 0, 0x5a },
        { 0x241, 1, 0, 0x5a }, { 0x41, 1 | PWSNP, 0, 0x5a }, { 0x41, 1 | BIT(24), 0, 0x5a },
        { 0x41, 1, 1, 0x5a },  { 0x41, 1, 0x80, 0x5a },      { 0x41, 1, 0x10, 0 },
        { 0x81, 1, 0, 0x5b },  { 0xc1, 1, 0, 0x5b },         { 0x101, 1, 0, 0 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        bed_pe(b, RID, 0x100 + i, t[i].q0, t[i].q1, t[i].q2 | fs);
        assert_int_equal(bed_access(b, RID, 0x100 + (int32_t)i, VTD_READ, 0x1000, nullptr),
                         t[i].reason);
        bed_clear_faults(b);
    }
    again(second_stage_only, 1);
    bed_pe(b, RID, 0x200, ss | 0x89, 5 | PWSNP, 4); /* FSPM without FSTS */
    assert_int_equal(bed_access(b, RID, 0x200, VTD_READ, 0x1000, nullptr), 0x5a);
    bed_pe(b, RID, 0x201, ss | 0x49, 5 | PWSNP, 0);
    assert_int_equal(bed_access(b, RID, 0x201, VTD_READ, 0x1000, nullptr), 0x5b);
}

static void four_levels(struct vtd_model_config *c)
{
    c->cap &= ~(BIT(9) | BIT(11) | BIT(60));
}

/* SPT.4: PGTT, AW, FSPM. */
static void entry_programming(void **state)
{
    (void)state;
    static const uint8_t pgtt[] = { 0, 5, 6, 7 };
    for (unsigned i = 0; i < 4; i++) {
        bed_put(b, pe, (ss & ~UINT64_C(0x1c0)) | 9 | (uint64_t)pgtt[i] << 6);
        row(0x5b, CA, true, true);
    }
    static const uint8_t aw[] = { 0, 4, 5, 6, 7 };
    for (unsigned i = 0; i < 5; i++) {
        bed_put(b, pe, ss | 0x81 | (uint64_t)aw[i] << 2);
        row(0x5b, CA, true, true);
    }
    bed_put(b, pe, 0x41);
    bed_put(b, pe + 16, 8); /* FSPM 10 */
    row(0x5b, CA, true, true);
    again(four_levels, 1);
    bed_put(b, pe, ss | 0x85);
    row(0x5b, CA, true, true);
    bed_put(b, pe, 0x41);
    bed_put(b, pe + 16, 4);
    row(0x5b, CA, true, true);
    /* AW is ignored for first-stage and pass-through. */
    bed_pe(b, RID, 3, 0x11d, 1, 0);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x1000, nullptr), 0);
}

static void few_domains(struct vtd_model_config *c)
{
    c->cap = (c->cap & ~UINT64_C(7)) | 2;
}

static void domain_bits(void **state)
{
    (void)state;
    again(few_domains, 1);
    bed_put(b, pe + 8, 0x100 | PWSNP);
    row(0x5a, CA, true, true);
}

/* Access errors of the walks have their own answers (SSS.1, SSS.4, SSS.3, SSS.2). */
static void walk_rows(void **state)
{
    (void)state;
    bed_put16(b, pe, HIGH | 0x89, 9 | PWSNP);
    assert_int_equal(bed_ats(b, RID, PASID, 0x1000, false).status, VTD_TC_CA);
    assert_int_equal(bed_fault(b, 0), 0x7b);
    assert_int_equal(bed_ats(b, RID, -1, 0x5000, false).status, VTD_TC_SUCCESS);
    assert_int_equal(bed_read32(b, 0x34) & 2, 0); /* not present: success, nothing logged */
}

/* --- FPD (7.1.1) ------------------------------------------------------------------------------ */

/* A qualified fault is hidden by the FPD of context, directory or entry, even with P=0. */
static void fpd(void **state)
{
    (void)state;
    uint64_t g[3] = { bed_get(b, ce), bed_get(b, de), bed_get(b, pe) }, at[3] = { ce, de, pe };
    static const uint8_t p0[3] = { 0x41, 0x51, 0x59 };
    for (unsigned i = 0; i < 3; i++) {
        bed_put(b, at[i], (g[i] | 2) & ~BIT(0));
        assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), p0[i]);
        assert_int_equal(bed_read32(b, 0x34) & 2, 0);
        bed_put(b, at[i], g[i] & ~BIT(0));
        assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), p0[i]);
        assert_int_equal(bed_read32(b, 0x34) & 2, 2);
        bed_clear_faults(b);
        bed_put(b, at[i], g[i]);
    }
}

/* FPD above hides faults below: of the entry, and of the walk, cached or not. */
static void fpd_hides_below(void **state)
{
    (void)state;
    bed_put(b, de, bed_get(b, de) | 2);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x5000, nullptr), 0x79);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x5000, nullptr), 0x79);
    assert_int_equal(bed_read32(b, 0x34) & 2, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x5000, nullptr), 0x79);
    assert_int_equal(bed_read32(b, 0x34) & 2, 2);
}

/* Also when the fault comes from a cached translation. */
static void fpd_on_hit(void **state)
{
    (void)state;
    bed_map(b, ss, 4, 0x2000, 12, bed_page(b) | 1, 3);
    bed_put(b, pe, bed_get(b, pe) | 2);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x2000, nullptr), 0);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x2000, nullptr), 0x85);
    assert_int_equal(bed_read32(b, 0x34) & 2, 0);
}

/* Unqualified: root and structure access errors are never hidden. */
static void fpd_not_unqualified(void **state)
{
    (void)state;
    bed_put(b, ce, (bed_get(b, ce) & 0xfff) | HIGH | 2);
    assert_int_equal(bed_access(b, RID, PASID, VTD_READ, 0x1000, nullptr), 0x50);
    assert_int_equal(bed_fault(b, 0), 0x50);
}

/* --- legacy mode ------------------------------------------------------------------------------ */

static uint64_t legacy_entry(uint64_t lo, uint64_t hi)
{
    return bed_legacy(b, RID, lo, hi);
}

static void expect(uint8_t reason)
{
    bed_clear_faults(b);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), reason);
    if (reason)
        assert_int_equal(bed_fault(b, bed_read32(b, 0x34) >> 8 & 0xff), reason);
}

static void legacy_start(bool dw)
{
    bed_stop(b);
    bed_config(b);
    bed_start(b);
    ss = bed_page(b);
    bed_map(b, ss, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_enable(b, 0, dw);
}

/* LRT.1 - LRT.3, LCT.1 - LCT.3. */
static void legacy_tables(void **state)
{
    (void)state;
    legacy_start(false);
    expect(0x01);
    uint64_t re = b->root + (RID >> 8) * 16;
    bed_put(b, re, bed_page(b) | 0x801);
    expect(0x0a);
    bed_put16(b, re, bed_page(b) | 1, 1);
    expect(0x0a);
    bed_put16(b, re, HIGH | 1, 0);
    expect(0x09);
    bed_put(b, re, 0);
    legacy_entry(0, 0);
    expect(0x02);
    static const struct {
        uint64_t lo, hi;
        uint8_t reason;
    } t[] = {
        { 0x11, 2 | 7 << 8, 0x0b },        { 0x801, 2 | 7 << 8, 0x0b },
        { BIT(46) | 1, 2 | 7 << 8, 0x0b }, { 1, 2 | 7 << 8 | BIT(7), 0x0b },
        { 1, 2 | 7 << 8 | BIT(24), 0x0b }, { 1, 2 | 7 << 8 | BIT(63), 0x0b },
        { 1, 0 | 7 << 8, 0x03 },           { 1, 4 | 7 << 8, 0x03 },
        { 0xd, 2 | 7 << 8, 0x03 },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        legacy_entry(t[i].lo | (t[i].lo & BIT(46) ? 0 : ss), t[i].hi);
        expect(t[i].reason);
    }
    legacy_entry(ss | 1, 2 | 7 << 8 | 0x78); /* bits 70:67 are ignored */
    expect(0);
    bed_write(b, 0x20, HIGH);
    bed_gcmd(b, 30, true);
    expect(0x08);
    assert_true(bed_quiet(b));
}

/* LCT.4.3, LSS.*, LGN.*. */
static void legacy_walks(void **state)
{
    (void)state;
    legacy_start(true);
    uint64_t hpa = 0, page = bed_page(b);
    bed_map(b, ss, 4, 0x2000, 12, page | 1, 3);
    bed_map(b, ss, 4, 0x3000, 12, page | 2, 3);
    bed_map(b, ss, 4, 0x4000, 12, page | BIT(50) | 3, 3);
    bed_map(b, ss, 4, 0xfee00000, 12, UINT64_C(0xfee00000) | 3, 3);
    bed_map(b, ss, 4, 0x5000, 12, UINT64_C(0xfee00000) | 3, 3);
    bed_put(b, ss + 8, HIGH | 3);
    legacy_entry(ss | 1, 2 | 7 << 8);
    assert_int_equal(bed_access(b, RID, -1, VTD_WRITE, 0x2123, nullptr), 0x05);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x2123, &hpa), 0);
    assert_int_equal(hpa, page + 0x123);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x3000, nullptr), 0x06);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x7000, nullptr), 0x06); /* R=W=0 */
    assert_int_equal(bed_access(b, RID, -1, VTD_WRITE, 0x7000, nullptr), 0x05);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x4000, nullptr), 0x0c);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, BIT(39), nullptr), 0x07);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, BIT(48), nullptr), 0x04);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x5000, nullptr), 0x0e);
    legacy_entry(HIGH | 1, 2 | 9 << 8);
    bed_do(b, 0x11, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, nullptr), 0x03);
}

/* TT: ATS blocked, allowed, pass-through (9.3); LCT.5, LGN.1. */
static void legacy_types(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    legacy_start(true);
    legacy_entry(ss | 1, 2 | 7 << 8);
    assert_int_equal(bed_ats(b, RID, -1, 0x1000, false).status, VTD_TC_UR);
    assert_int_equal(bed_fault(b, 0), 0x0d);
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), 0x0d);
    bed_do(b, 0x11, 0);
    legacy_entry(ss | 5, 2 | 7 << 8);
    bed_do(b, 0x11, 0);
    struct vtd_translation t = bed_ats(b, RID, -1, 0x1000, false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_true(t.r && t.w && !t.u && !t.priv);
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), 0);
    assert_int_equal(bed_translated(b, RID, -1, BIT(46)), 0x04);
    assert_int_equal(bed_translated(b, RID, -1, 0xfee00000), 0x0e);
    t = bed_ats(b, RID, -1, BIT(48), false);
    assert_int_equal(t.status, VTD_TC_SUCCESS);
    assert_false(t.r || t.w);

    legacy_entry(9, 3 | 7 << 8);
    bed_do(b, 0x11, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_WRITE, 0x123456789, &hpa), 0);
    assert_int_equal(hpa, 0x123456789);
    assert_int_equal(bed_access(b, RID, -1, VTD_WRITE, BIT(46), nullptr), 0x04);
    assert_int_equal(bed_ats(b, RID, -1, 0x1000, false).status, VTD_TC_UR);
}

/* Legacy tags (Table 17): context entries by domain and function, the IOTLB by domain. */
static void legacy_caches(void **state)
{
    (void)state;
    legacy_start(false);
    uint64_t hpa = 0, fresh = bed_page(b), other = bed_page(b);
    bed_map(b, other, 4, 0x1000, 12, fresh | 3, 3);
    legacy_entry(ss | 1, 2 | 7 << 8);
    expect(0);
    legacy_entry(other | 1, 2 | 8 << 8);
    bed_desc(b, (uint64_t)RID << 32 | 9 << 16 | 0x31, 0);       /* wrong domain */
    bed_desc(b, (uint64_t)(RID + 1) << 32 | 7 << 16 | 0x31, 0); /* wrong function */
    bed_desc(b, 8 << 16 | 0x21, 0);
    bed_do(b, 0xd2, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    assert_int_not_equal(hpa, fresh);
    bed_desc(b, (uint64_t)RID << 32 | 7 << 16 | 0x31, 0);
    bed_do(b, 8 << 16 | 0xe2, 0); /* the new domain: no cure */
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    assert_int_not_equal(hpa, fresh);
    bed_do(b, 7 << 16 | 0xe2, 0);
    assert_int_equal(bed_access(b, RID, -1, VTD_READ, 0x1000, &hpa), 0);
    assert_int_equal(hpa, fresh);
    legacy_entry(0, 0);
    bed_desc(b, 8 << 16 | 0x21, 0); /* context, by domain */
    bed_do(b, 8 << 16 | 0xe2, 0);
    expect(0x02);
    assert_true(bed_quiet(b));
}

/* TES=0: untranslated requests pass, everything else is UR without a record (4.2.1). */
static void disabled(void **state)
{
    (void)state;
    uint64_t hpa = 0;
    bed_gcmd(b, 31, false);
    assert_int_equal(bed_access(b, RID, PASID, VTD_WRITE, 0x123456, &hpa), 0);
    assert_int_equal(hpa, 0x123456);
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), VTD_BLOCKED);
    assert_int_equal(bed_ats(b, RID, -1, 0x1000, false).status, VTD_TC_UR);
    assert_int_equal(bed_read32(b, 0x34), 0);
}

/* Translated requests bypass translation (4.2.5). */
static void translated(void **state)
{
    (void)state;
    assert_int_equal(bed_translated(b, RID, -1, BED_BASE), 0);
    assert_int_equal(bed_translated(b, RID, -1, BIT(46)), 0x83);
    assert_int_equal(bed_translated(b, RID, -1, 0xfee01000), 0x87);
    assert_int_equal(bed_translated(b, RID, PASID, BED_BASE), VTD_BLOCKED); /* PTRS=0 */
    uint64_t hi = bed_read(b, 0x608);
    assert_int_equal(hi >> 60 & 3, 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(geometry),
        T(mode_faults),
        T(root_faults),
        T(context_faults),
        T(context_by_capability),
        T(context_programming),
        T(context_requests),
        T(pasid_width),
        T(directory_faults),
        T(entry_reserved),
        T(entry_by_capability),
        T(entry_programming),
        T(domain_bits),
        T(walk_rows),
        T(fpd),
        T(fpd_hides_below),
        T(fpd_on_hit),
        T(fpd_not_unqualified),
        T(legacy_tables),
        T(legacy_walks),
        T(legacy_types),
        T(legacy_caches),
        T(disabled),
        T(translated),
    };
    return cmocka_run_group_tests_name("vtd tables", tests, nullptr, nullptr);
}
