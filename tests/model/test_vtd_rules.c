/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules that only bookkeeping can see: what domain-ids mean (6.2.3.1), how entries in use may be
 * changed (6.2.3.1, 9), and flushes that units which do not snoop need (3.10).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RID = 0x0310, RID2 = 0x0311 };
#define PWSNP (UINT64_C(1) << 23)
static struct bed bed, *const b = &bed;
static uint64_t ss, ss2, fs, fs2;

static void start(void (*change)(struct vtd_model_config *))
{
    bed_config(b);
    if (change)
        change(&b->cfg);
    bed_start(b);
    bed_context(b, RID, 0xe1c, 1);
    bed_context(b, RID2, 0xe1c, 1);
    ss = bed_page(b);
    ss2 = bed_page(b);
    fs = bed_page(b);
    fs2 = bed_page(b);
    uint64_t page = bed_page(b);
    bed_map(b, ss, 4, 0x1000, 12, page | 0x303, 0x303);
    bed_map(b, ss2, 4, 0x1000, 12, page | 0x303, 0x303);
    bed_map(b, fs, 4, 0x1000, 12, page | 0x67, 0x67);
    bed_map(b, fs2, 4, 0x1000, 12, page | 0x67, 0x67);
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

static uint8_t use(uint16_t rid, int32_t pasid)
{
    return bed_access(b, rid, pasid, VTD_READ, 0x1000, nullptr);
}

/* --- domain-ids ----------------------------------------------------------------------------- */

static void one_domain_two_stages(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 3, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 4, ss2 | 0x89, 5 | PWSNP, 0);
    assert_int_equal(use(RID, 2), 0);
    assert_int_equal(use(RID, 3), 0);
    assert_true(bed_quiet(b));
    assert_int_equal(use(RID, 4), 0);
    assert_true(bed_complained(b, "did-shared"));
}

static void one_domain_two_widths(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 3, ss | 0x85, 5 | PWSNP, 0);
    use(RID, 2);
    use(RID, 3);
    assert_true(bed_complained(b, "did-shared"));
}

static void one_stage_two_ssade(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 3, ss | 0x289, 5 | PWSNP, 0);
    use(RID, 2);
    use(RID, 3);
    assert_int_equal(b->complaints, 2); /* by domain-id, and by the tables */
    assert_string_equal(b->rule, "table-shared");
}

static void domain_classes(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 3, 0x41, 5 | PWSNP, fs);
    bed_pe(b, RID, 4, 0x101, 6 | PWSNP, 0);
    bed_pe(b, RID, 5, 0x41, 6 | PWSNP, fs); /* first-stage and pass-through may share */
    use(RID, 2);
    use(RID, 4);
    use(RID, 5);
    assert_true(bed_quiet(b));
    use(RID, 3);
    assert_true(bed_complained(b, "did-class"));
}

/* A domain-id changes its meaning only after its flush (6.5.3.3). */
static void domain_reuse(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, ss | 0x89, 5 | PWSNP, 0);
    use(RID, 2);
    bed_put(b, bed_pasid(b, RID, 2), 0);
    bed_do(b, UINT64_C(2) << 32 | 5 << 16 | 0x17, 0);
    bed_pe(b, RID, 3, ss2 | 0x89, 5 | PWSNP, 0);
    use(RID, 3);
    assert_true(bed_complained(b, "did-stale"));

    bed_put(b, bed_pasid(b, RID, 3), 0);
    bed_desc(b, UINT64_C(3) << 32 | 5 << 16 | 0x17, 0);
    bed_do(b, 5 << 16 | 0xe2, 0);
    bed_pe(b, RID, 4, ss | 0x89, 5 | PWSNP, 0);
    use(RID, 4);
    assert_true(bed_quiet(b));
}

/* Same PASID and domain-id on two functions: the same tables. */
static void pasid_shared(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, 0x41, 1 | PWSNP, fs);
    bed_pe(b, RID2, 2, 0x41, 1 | PWSNP, fs2);
    bed_pe(b, RID2, 3, 0x41, 1 | PWSNP, fs2);
    use(RID, 2);
    use(RID2, 3);
    assert_true(bed_quiet(b));
    use(RID2, 2);
    assert_true(bed_complained(b, "pasid-shared"));
}

/* FSPM and EAFE belong to the first-stage tables, SSADE to the second stage's. */
static void table_properties(void **state)
{
    (void)state;
    bed_pe(b, RID, 2, 0x41, 1 | PWSNP, fs);
    bed_pe(b, RID, 3, 0x41, 1 | PWSNP, fs);
    bed_pe(b, RID, 4, 0x41, 1 | PWSNP, fs | 0x80);
    use(RID, 2);
    use(RID, 3);
    assert_true(bed_quiet(b));
    use(RID, 4);
    assert_true(bed_complained(b, "table-shared"));
    bed_pe(b, RID, 5, ss | 0x89, 5 | PWSNP, 0);
    bed_pe(b, RID, 6, ss | 0x289, 6 | PWSNP, 0);
    use(RID, 5);
    use(RID, 6);
    assert_true(bed_complained(b, "table-shared"));
    /* Gone from the cache, the tables may become something else. */
    bed_put(b, bed_pasid(b, RID, 5), 0);
    bed_put(b, bed_pasid(b, RID, 6), 0);
    bed_desc(b, 0x37, 0);
    bed_do(b, 0xd2, 0);
    bed_pe(b, RID, 7, 0x41, 1 | PWSNP, fs | 0x80);
    use(RID, 7);
    assert_true(bed_quiet(b));
}

static void legacy_domain(void **state)
{
    (void)state;
    bed_stop(b);
    bed_config(b);
    bed_start(b);
    uint64_t a = bed_page(b), c = bed_page(b);
    bed_map(b, a, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_map(b, c, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_legacy(b, RID, a | 1, 2 | 7 << 8);
    bed_legacy(b, RID2, c | 1, 2 | 7 << 8);
    bed_enable(b, 0, true);
    use(RID, -1);
    assert_true(bed_quiet(b));
    use(RID2, -1);
    assert_true(bed_complained(b, "did-shared"));
}

/* --- entries in use ------------------------------------------------------------------------- */

static uint64_t live(uint64_t q0, uint64_t q1, uint64_t q2)
{
    b->hooks = true;
    bed_pe(b, RID, 2, q0, q1, q2);
    assert_int_equal(use(RID, 2), 0);
    assert_true(bed_quiet(b));
    return bed_pasid(b, RID, 2);
}

static void store(uint64_t at, const void *data, size_t len)
{
    memcpy(b->mem + (at - BED_BASE), data, len);
    vtd_model_memory_written(b->m, at, len);
}

/* Second stage and domain in one 16-byte store: allowed. Apart: not. */
static void change_in_place(void **state)
{
    (void)state;
    uint64_t pe = live(ss | 0x89, 5 | PWSNP, 0);
    bed_put16(b, pe, ss2 | 0x89, 6 | PWSNP);
    assert_true(bed_quiet(b));
    bed_put(b, pe, ss | 0x89);
    assert_true(bed_complained(b, "entry-did"));
}

static void change_by_dwords(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs);
    uint32_t low = (uint32_t)fs2;
    store(pe + 16, &low, 4);
    assert_true(bed_complained(b, "entry-torn"));
}

/* FSPTPTR alone is one quadword: consistent before and after. */
static void change_first_stage(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs);
    bed_put(b, pe + 16, fs2);
    assert_true(bed_quiet(b));
}

static void change_whole_entry(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs), e[8] = { ss | 0x89, 5 | PWSNP };
    store(pe, e, 64);
    assert_true(bed_complained(b, "entry-torn"));
}

/* Teardown: clear P, invalidate, then anything; P again last. */
static void replace_properly(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs);
    bed_put(b, pe, 0);
    bed_desc(b, UINT64_C(2) << 32 | 1 << 16 | 0x17, 0);
    bed_do(b, UINT64_C(2) << 32 | 1 << 16 | 0x26, 0);
    for (unsigned i = 1; i < 8; i++)
        bed_put(b, pe + i * 8, 0);
    bed_put(b, pe + 16, fs2);
    bed_put(b, pe + 8, 1 | PWSNP);
    bed_put(b, pe, 0x41);
    assert_int_equal(use(RID, 2), 0);
    assert_true(bed_quiet(b));
}

/* Present again although the old entry may still be cached. */
static void replace_too_early(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs);
    bed_put(b, pe, 0);
    bed_put(b, pe + 16, fs2);
    assert_true(bed_quiet(b));
    bed_put(b, pe, 0x41);
    assert_true(bed_complained(b, "entry-reuse"));
}

/* P goes in with a store of one piece; an entry copied whole may be read half old. */
static void publish(void **state)
{
    (void)state;
    live(0x41, 1 | PWSNP, fs);
    uint64_t e[8] = { 0x41, 1 | PWSNP, fs2 }, pe3 = bed_pasid(b, RID, 3);
    store(pe3, e, 64);
    assert_true(bed_complained(b, "entry-publish"));
    /* P first, the rest after it. */
    uint64_t pe4 = bed_pasid(b, RID, 4);
    bed_put16(b, pe4, 0x41, 1 | PWSNP);
    assert_true(bed_quiet(b));
}

static void clear_whole_entry(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs), e[8] = { 0 };
    store(pe, e, 64);
    assert_true(bed_complained(b, "entry-torn"));
}

static void context_in_use(void **state)
{
    (void)state;
    live(0x41, 1 | PWSNP, fs);
    uint64_t ce = bed_context_at(b, RID), e[4] = { bed_get(b, ce) ^ 0x10, 2, 0, 0 };
    store(ce, e, 32);
    assert_true(bed_complained(b, "entry-torn"));
}

/* Nothing is in use while TES=0. */
static void free_when_off(void **state)
{
    (void)state;
    uint64_t pe = live(0x41, 1 | PWSNP, fs), e[8] = { ss | 0x89, 5 | PWSNP };
    bed_gcmd(b, 31, false);
    store(pe, e, 64);
    assert_true(bed_quiet(b));
}

/* A present IRTE changes by one 16-byte store (9.9). */
static void irte_in_use(void **state)
{
    (void)state;
    uint32_t data = 0;
    struct vtd_request r = { .rid = RID, .access = VTD_WRITE, .addr = 0xfee00010 };
    b->hooks = true;
    bed_put16(b, b->irt, 0x330001, 0);
    bed_write(b, 0xb8, b->irt | 0x807);
    bed_gcmd(b, 24, true);
    bed_gcmd(b, 25, true);
    assert_int_equal(vtd_model_dma(b->m, &r, &data, 4), 0);
    bed_put16(b, b->irt, 0x440001, RID | 1 << 18);
    assert_true(bed_quiet(b));
    bed_put(b, b->irt, 0x550001);
    assert_true(bed_complained(b, "irte-torn"));
}

/* --- units that do not snoop ---------------------------------------------------------------- */

static void not_coherent(struct vtd_model_config *c)
{
    c->ecap &= ~UINT64_C(1);
}

static void flush_directory(void)
{
    uint64_t dir = bed_get(b, bed_context_at(b, RID)) & ~UINT64_C(0xfff);
    vtd_model_cache_flush(b->m, dir, 4096);
}

static void flush_tables(void **state)
{
    (void)state;
    bed_stop(b);
    start(not_coherent);
    b->hooks = true;
    bed_pe(b, RID, 2, 0x41, 1 | PWSNP, fs);
    assert_int_equal(use(RID, 2), 0);
    assert_string_equal(b->rule, "flush-missing");
    b->complaints = 0;
    uint64_t pe = bed_pasid(b, RID, 3);
    bed_pe(b, RID, 3, 0x41, 1 | PWSNP, fs);
    vtd_model_cache_flush(b->m, pe, 64);
    flush_directory();
    assert_int_equal(use(RID, 3), 0);
    assert_true(bed_quiet(b));
}

/* PWSNP=1 walks are snooped whatever C says; PWSNP=0 walks are not. */
static void flush_page_tables(void **state)
{
    (void)state;
    bed_stop(b);
    start(not_coherent);
    bed_pe(b, RID, 2, 0x41, 1 | PWSNP, fs);
    bed_pe(b, RID, 3, 0x41, 1, fs);
    assert_int_equal(use(RID, 2), 0);
    b->hooks = true;
    uint64_t leaf = bed_map(b, fs, 4, 0x2000, 12, bed_page(b) | 0x67, 0x67);
    assert_int_equal(bed_access(b, RID, 2, VTD_READ, 0x2000, nullptr), 0);
    assert_true(bed_quiet(b));
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x2000, nullptr), 0);
    assert_true(bed_complained(b, "flush-missing"));
    vtd_model_cache_flush(b->m, leaf, 8);
    bed_do(b, UINT64_C(3) << 32 | 1 << 16 | 0x26, 0);
    assert_int_equal(bed_access(b, RID, 3, VTD_READ, 0x2000, nullptr), 0);
    assert_true(bed_quiet(b));
}

/* The set of unflushed lines stays right while it grows and shrinks. */
static void many_lines(void **state)
{
    (void)state;
    bed_stop(b);
    start(not_coherent);
    b->hooks = true;
    uint64_t area = bed_pages(b, 512);
    for (uint64_t at = area; at < area + 512 * 4096; at += 64)
        bed_put(b, at, 1);
    for (uint64_t at = area; at < area + 512 * 4096; at += 128)
        vtd_model_cache_flush(b->m, at, 64);
    bed_pe(b, RID, 2, (area & ~UINT64_C(0xfff)) | 0x89, 5, 0);
    vtd_model_cache_flush(b->m, bed_pasid(b, RID, 2), 64);
    flush_directory();
    bed_access(b, RID, 2, VTD_READ, UINT64_C(8) << 39, nullptr); /* second line */
    assert_true(bed_complained(b, "flush-missing"));
    bed_access(b, RID, 2, VTD_READ, UINT64_C(16) << 39, nullptr); /* third: flushed */
    assert_true(bed_quiet(b));
}

/* The model refuses what it does not implement, rather than to pretend. */
static void unsupported(void **state)
{
    (void)state;
    struct vtd_model_bus bus = { 0 };
    static const uint8_t ecap[] = { 44, 50, 51, 55 };
    for (unsigned i = 0; i < 4; i++) {
        struct vtd_model_config c = vtd_model_default_config();
        c.ecap |= UINT64_C(1) << ecap[i];
        assert_null(vtd_model_create(&c, &bus));
    }
    struct vtd_model_config c = vtd_model_default_config();
    c.haw = 31;
    assert_null(vtd_model_create(&c, &bus));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_domain_two_stages),
        T(one_domain_two_widths),
        T(one_stage_two_ssade),
        T(domain_classes),
        T(domain_reuse),
        T(pasid_shared),
        T(table_properties),
        T(legacy_domain),
        T(change_in_place),
        T(change_by_dwords),
        T(change_first_stage),
        T(change_whole_entry),
        T(replace_properly),
        T(replace_too_early),
        T(publish),
        T(clear_whole_entry),
        T(context_in_use),
        T(free_when_off),
        T(irte_in_use),
        T(flush_tables),
        T(flush_page_tables),
        T(many_lines),
        T(unsupported),
    };
    return cmocka_run_group_tests_name("vtd rules", tests, nullptr, nullptr);
}
