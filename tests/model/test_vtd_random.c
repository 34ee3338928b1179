/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random changes of tables, each followed by the invalidation of Table 28: what the caching unit
 * answers must equal what a unit that has just forgotten everything answers (its twin, flushed by
 * SRTP with ESRTPS before each look). And random descriptors and requests: nothing but complaints.
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RIDS = 3, PASIDS = 6, PAGES = 12, STEPS = 20000 };
#define PWSNP (UINT64_C(1) << 23)
#define GPA   UINT64_C(0x40000000)

static struct bed bed, *const b = &bed;
static uint64_t rng = 88172645463325252;

static uint64_t rnd(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

/* Bits are rare, so that descriptors are often valid. */
static uint64_t sparse(void)
{
    uint64_t a = rnd(~UINT64_C(0)), c = rnd(~UINT64_C(0));
    return a & c & rnd(~UINT64_C(0));
}

/* A second unit over the same memory. */
static struct vtd_model *twin;

static bool twin_read(void *ctx, uint64_t hpa, void *buf, size_t len)
{
    struct bed *bench = ctx;
    if (hpa < BED_BASE || hpa - BED_BASE > BED_BYTES - len)
        return false;
    memcpy(buf, bench->mem + (hpa - BED_BASE), len);
    return true;
}

/* The twin looks, it does not touch: flags are all set in these tables. */
static bool twin_cas(void *ctx, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped)
{
    (void)ctx, (void)hpa, (void)expected, (void)desired, (void)swapped;
    return false;
}

static void twin_gcmd(unsigned bit)
{
    uint32_t v = (uint32_t)vtd_model_mmio_read(twin, 0x1c, 4) & 0x96ffffff;
    vtd_model_mmio_write(twin, 0x18, 4, v | 1u << bit);
}

static void twin_start(void)
{
    struct vtd_model_bus bus = { .ctx = b, .read = twin_read, .cas64 = twin_cas };
    twin = vtd_model_create(&b->cfg, &bus);
    vtd_model_mmio_write(twin, 0x90, 8, 0x800);
    twin_gcmd(26);
    vtd_model_mmio_write(twin, 0x20, 8, b->root | 1 << 10);
    twin_gcmd(30);
    twin_gcmd(31);
}

static uint64_t pages[PAGES], ss[2], fs[PASIDS];

/* One mapping somewhere: kind 0 in second stage i, kind 1 in first stage i (IOVA = GPA form). */
static void remap_second(unsigned i)
{
    uint64_t gpa = GPA + rnd(16) * 0x1000;
    uint64_t leaf = rnd(4) ? pages[rnd(PAGES)] | (1 + rnd(3)) : 0;
    bed_map(b, ss[i], 4, gpa, 12, leaf, 3);
    if (rnd(2))
        bed_desc(b, (uint64_t)(5 + i) << 16 | 0xf2, gpa | rnd(2) << 6);
    else
        bed_desc(b, (uint64_t)(5 + i) << 16 | 0xf2, (GPA & ~UINT64_C(0xffff)) | 4);
    assert_true(bed_wait(b));
}

static void remap_first(unsigned i, const uint16_t *dids)
{
    uint64_t va = 0x7000000000 + rnd(16) * 0x1000;
    uint64_t leaf = rnd(4) ? (GPA + rnd(16) * 0x1000) | 0x61 | rnd(4) << 1 : 0;
    bed_map(b, fs[i], 4, va, 12, leaf, 0x67);
    for (unsigned d = 0; d < 3; d++)
        bed_desc(b, (uint64_t)(0x40 + i) << 32 | (uint64_t)dids[d] << 16 | 0x36,
                 va | (rnd(2) ? 0x40 : 0));
    assert_true(bed_wait(b));
}

/* A PASID-table entry taken away or set, by the book. */
static void change_entry(unsigned rid, unsigned i)
{
    uint16_t r = (uint16_t)(0x0310 + rid);
    uint64_t pe = bed_pasid(b, r, 0x40 + i), q0 = bed_get(b, pe), q1 = bed_get(b, pe + 8);
    uint64_t did = q1 & 0xffff, pgtt = q0 >> 6 & 7;
    if (q0 & 1) {
        bed_put(b, pe, 0);
        bed_desc(b, (uint64_t)(0x40 + i) << 32 | did << 16 | 0x17, 0);
        bed_desc(b, pgtt == 1 ? (uint64_t)(0x40 + i) << 32 | did << 16 | 0x26 : did << 16 | 0xe2,
                 0);
        assert_true(bed_wait(b));
        return;
    }
    /* One domain-id and PASID on several functions must mean the same (6.2.3.1). */
    unsigned s = i & 1;
    if (i % 3 == 0)
        bed_pe(b, r, 0x40 + i, ss[s] | 0x89, (5 + s) | PWSNP, 0);
    else if (i % 3 == 1)
        bed_pe(b, r, 0x40 + i, ss[s] | 0xc9, (5 + s) | PWSNP, fs[i]);
    else
        bed_pe(b, r, 0x40 + i, 0x41, 1 | PWSNP, fs[i]);
}

static void compare(void)
{
    struct vtd_request q = {
        .rid = (uint16_t)(0x0310 + rnd(RIDS)),
        .pasid_present = true,
        .pasid = (uint32_t)(0x40 + rnd(PASIDS)),
        .access = (enum vtd_access)rnd(3),
        .addr = rnd(2) ? 0x7000000000 + rnd(16) * 0x1000 : GPA + rnd(16) * 0x1000,
    };
    uint64_t h1 = 0, h2 = 0;
    uint8_t r1 = vtd_model_access(b->m, &q, &h1);
    twin_gcmd(30);
    uint8_t r2 = vtd_model_access(twin, &q, &h2);
    assert_int_equal(r1, r2);
    if (!r1)
        assert_int_equal(h1, h2);
    bed_clear_faults(b);
}

static void coherent_after_invalidation(void **state)
{
    (void)state;
    static const uint16_t dids[3] = { 1, 5, 6 };
    bed_config(b);
    bed_start(b);
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = bed_page(b);
    for (unsigned i = 0; i < 2; i++) {
        ss[i] = bed_page(b);
        for (uint64_t a = BED_BASE; a < BED_BASE + BED_BYTES; a += 0x200000)
            bed_map(b, ss[i], 4, a, 21, a | 3, 3);
    }
    for (unsigned i = 0; i < PASIDS; i++)
        fs[i] = bed_page(b);
    for (unsigned i = 0; i < RIDS; i++)
        bed_context(b, (uint16_t)(0x0310 + i), 0xe1c, 1);
    bed_enable(b, 1, true);
    twin_start();
    for (unsigned step = 0; step < STEPS; step++) {
        switch (rnd(8)) {
        case 0: remap_second((unsigned)rnd(2)); break;
        case 1: remap_first((unsigned)rnd(PASIDS), dids); break;
        case 2: change_entry((unsigned)rnd(RIDS), (unsigned)rnd(PASIDS)); break;
        default: compare(); break;
        }
    }
    assert_true(bed_quiet(b));
    vtd_model_destroy(twin);
    bed_stop(b);
}

/* Random descriptors, registers, requests: no crash, and the unit can always be recovered. */
static void noise(void **state)
{
    (void)state;
    bed_config(b);
    bed_start(b);
    bed_context(b, 0x0310, 0xe1c, 1);
    for (unsigned i = 0; i < 64; i++)
        bed_pe(b, 0x0310, i, rnd(~UINT64_C(0)), rnd(~UINT64_C(0)), rnd(~UINT64_C(0)));
    for (unsigned i = 64; i < 128; i++)
        bed_pe(b, 0x0310, i, b->root | 0x89 | rnd(8) << 6, rnd(8) | PWSNP, b->root | rnd(32));
    bed_enable(b, 1, true);
    static const uint8_t used[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    for (unsigned step = 0; step < STEPS; step++) {
        struct vtd_request q = {
            .rid = 0x0310,
            .pasid_present = rnd(8),
            .pasid = (uint32_t)rnd(130),
            .privileged = rnd(2),
            .translated = !rnd(8),
            .access = (enum vtd_access)rnd(3),
            .addr = rnd(2) ? rnd(~UINT64_C(0)) : rnd(1 << 30),
        };
        uint8_t buf[32] = { 0 };
        struct vtd_translation t;
        switch (rnd(5)) {
        case 0: vtd_model_dma(b->m, &q, buf, rnd(32)); break;
        case 1: vtd_model_translate(b->m, &q, rnd(2), &t); break;
        case 2: {
            struct vtd_page_request p = { .rid = 0x0310,
                                          .prgi = (uint16_t)rnd(512),
                                          .pasid_present = q.pasid_present,
                                          .pasid = q.pasid,
                                          .read = rnd(2),
                                          .write = rnd(2),
                                          .lpig = rnd(2),
                                          .addr = q.addr };
            vtd_model_page_request(b->m, &p);
            break;
        }
        case 3:
            bed_desc(b, (sparse() & ~UINT64_C(0xe0f)) | used[rnd(sizeof(used))],
                     rnd(2) ? sparse() : 0);
            bed_kick(b);
            break;
        case 4: vtd_model_mmio_read(b->m, (uint32_t)rnd(0x700), rnd(2) ? 4 : 8); break;
        }
        if (bed_read32(b, 0x34) & 0x70) { /* step over what is bad */
            b->tail = (uint32_t)bed_read(b, 0x80);
            bed_write(b, 0x88, b->tail);
            bed_write32(b, 0x34, 0x70);
        }
    }
    b->tail = (uint32_t)bed_read(b, 0x80);
    bed_write(b, 0x88, b->tail);
    bed_write32(b, 0x34, 0x70);
    b->status = bed_page(b);
    assert_true(bed_wait(b));
    bed_stop(b);
}

/* 65,536 PASIDs in use: no step may cost a scan over all of them. */
static void many_pasids(void **state)
{
    (void)state;
    bed_config(b);
    bed_start(b);
    bed_context(b, 0x0310, 0xe1c, 0xfffff);
    uint64_t root = bed_page(b), page = bed_page(b);
    bed_map(b, root, 4, 0x1000, 12, page | 0x67, 0x67);
    for (uint32_t p = 0; p < 65536; p++)
        bed_pe(b, 0x0310, p, 0x41, 1 | PWSNP, root);
    bed_enable(b, 1, true);
    for (uint32_t p = 0; p < 65536; p++)
        assert_int_equal(bed_access(b, 0x0310, (int32_t)p, VTD_READ, 0x1000, nullptr), 0);
    for (uint32_t p = 0; p < 65536; p++) {
        bed_desc(b, (uint64_t)p << 32 | 0x10036, 0x1000);
        if (p % 32 == 31)
            assert_true(bed_wait(b));
    }
    assert_true(bed_quiet(b));
    bed_stop(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coherent_after_invalidation),
        cmocka_unit_test(noise),
        cmocka_unit_test(many_pasids),
    };
    return cmocka_run_group_tests_name("vtd random", tests, nullptr, nullptr);
}
