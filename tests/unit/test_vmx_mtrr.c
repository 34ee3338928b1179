/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/mtrr.c */
/*
 * Memory types by MTRRs (SDM 3A 12.11), and that EPT's format keeps them.
 */
#include "arch/x86/mtrr.h"
#include "hv/pt.h"
#include "tests/platform/platform.h"

#define GIB 0x40000000ull
#define ON  0x800u

static uint64_t top, mask_base[8][2];
static unsigned count;

static uint64_t read(uint32_t msr)
{
    if (msr == 0x2ff)
        return top;
    if (msr == 0xfe)
        return count;
    assert_in_range(msr, 0x200, 0x200 + 2 * count - 1);
    return mask_base[(msr - 0x200) / 2][msr & 1];
}

static void range(uint64_t base, uint64_t size, unsigned type)
{
    mask_base[count][0] = base | type;
    mask_base[count][1] = (((1ull << 39) - 1) & ~(size - 1)) | ON;
    count++;
    mtrr_source(read, 39);
}

static int fresh(void **state)
{
    top = 0;
    count = 0;
    mtrr_source(read, 39);
    return platform_fresh(state);
}

static void is(uint64_t base, uint64_t limit, enum mtrr_type type, uint64_t size)
{
    uint64_t got = 0;

    assert_int_equal(mtrr_range(base, limit, &got), type);
    assert_int_equal(got, size);
}

static void switched_off(void **)
{
    range(0, GIB, 6);
    top = 6;
    is(0x100000, GIB, MTRR_UNCACHED, GIB);
}

static void default_alone(void **)
{
    top = ON | 6;
    is(0x200000, 8 * GIB, MTRR_WRITE_BACK, 8 * GIB);
    mask_base[0][0] = 0; /* a range that is not valid */
    mask_base[0][1] = 0;
    count = 1;
    mtrr_source(read, 39);
    is(0x200000, GIB, MTRR_WRITE_BACK, GIB);
}

/* As PC firmware does it: write-back by default, device space cut out. */
static void device_space(void **)
{
    top = ON | 6;
    range(3 * GIB, GIB, 0);
    is(GIB, 4 * GIB, MTRR_WRITE_BACK, 2 * GIB);
    is(3 * GIB, 4 * GIB, MTRR_UNCACHED, GIB);
    is(4 * GIB, 4 * GIB, MTRR_WRITE_BACK, 4 * GIB);
    is(3 * GIB - 0x1000, 0x2000, MTRR_WRITE_BACK, 0x1000);
}

/* Or uncached by default; where ranges overlap, uncached wins, then write-through. */
static void overlaps(void **)
{
    top = ON | 0;
    range(0, 2 * GIB, 6);
    range(GIB, 0x200000, 4);
    range(GIB + 0x100000, 0x1000, 0);
    is(0, 4 * GIB, MTRR_WRITE_BACK, GIB);
    is(GIB, GIB, MTRR_WRITE_THROUGH, 0x100000);
    is(GIB + 0x100000, GIB, MTRR_UNCACHED, 0x1000);
    is(GIB + 0x101000, GIB, MTRR_WRITE_THROUGH, 0xff000);
    is(GIB + 0x200000, 4 * GIB, MTRR_WRITE_BACK, GIB - 0x200000);
    is(2 * GIB, 4 * GIB, MTRR_UNCACHED, 4 * GIB);
}

/* SDM 3C 29.3.2: R, W, X are bits 0 to 2, the memory type is 5:3, bit 7 says large. */
static void ept_entries(void **)
{
    struct page_quota quota = { .limit = 16 };
    struct pt pt;
    struct pt_leaf leaf;

    assert_int_equal(pt_create(&pt, &pt_format_ept, &quota, 4, 3, false), HV_OK);
    assert_int_equal(pt_map(&pt, PTADDR(GIB), PADDR(2 * GIB), GIB + 0x200000, PT_R | PT_W | PT_X),
                     HV_OK);
    assert_int_equal(pt_map(&pt, PTADDR(0x1000), PADDR(0xfee00000), 0x1000, PT_R | PT_W | PT_UC),
                     HV_OK);
    const uint64_t *pdpt = phys_to_virt(PADDR(pt.root[0] & ~0xfffull));
    assert_int_equal(pt.root[0] & 0xfff, 7);
    assert_int_equal(pdpt[1], 2 * GIB | 6 << 3 | 0x80 | 7);
    const uint64_t *pd = phys_to_virt(PADDR(pdpt[2] & ~0xfffull));
    assert_int_equal(pd[0], 3 * GIB | 6 << 3 | 0x80 | 7);
    const uint64_t *low = phys_to_virt(PADDR(pdpt[0] & ~0xfffull));
    const uint64_t *page = phys_to_virt(PADDR(low[0] & ~0xfffull));
    assert_int_equal(page[1], 0xfee00000 | 3); /* uncached, no execute */
    assert_true(pt_lookup(&pt, PTADDR(0x1000), &leaf));
    assert_int_equal(leaf.perm, PT_R | PT_W | PT_U | PT_UC);
    pt_destroy(&pt);
}

#define t(f) cmocka_unit_test_setup_teardown(f, fresh, platform_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(switched_off), t(default_alone), t(device_space), t(overlaps), t(ept_entries),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
