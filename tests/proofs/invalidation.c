/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges of pages to invalidate: blocks, their encodings, and lists of descriptors (6.5.2). */
#include "tests/proofs/proof.h"

#include "drivers/iommu/vtd/inval_build.h"

/* Any range of pages that does not wrap. */
struct any_range {
    uint64_t base, bytes, first, last; /* bytes; pages */
};

static struct any_range any_range(void)
{
    struct any_range r = { .base = any_u64(), .bytes = any_u64() };

    assume(((r.base | r.bytes) & PAGE_MASK) == 0 && r.bytes && r.base + (r.bytes - 1) >= r.base);
    r.first = r.base >> PAGE_SHIFT;
    r.last = r.first + (r.bytes >> PAGE_SHIFT) - 1;
    return r;
}

static bool covers(struct vtd_block b, uint64_t page)
{
    return (page ^ b.base >> PAGE_SHIFT) >> b.mask == 0;
}

/* proof: blocks_cover_the_range */
/* broken: drivers/iommu/vtd/inval_build.h s/last >> two << two/first >> two << two/ */
/* broken: drivers/iommu/vtd/inval_build.h s/one <= two + 1/one <= two + 3/ */
/* broken: drivers/iommu/vtd/inval_build.h s/first >> one << one/first/ */
void blocks_cover_the_range(void)
{
    struct any_range r = any_range();
    struct vtd_block block[2];
    unsigned n = vtd_inval_blocks(r.base, r.bytes, block), i = any_bool();
    uint64_t page = any_u64(), pages = r.bytes >> PAGE_SHIFT;

    prove(n <= 2 && (n == 0) == (pages >> 36 != 0));
    if (n == 0)
        return;
    if (page >= r.first && page <= r.last)
        prove(covers(block[0], page) || (n == 2 && covers(block[1], page)));
    if (i < n) {
        prove(block[i].mask <= 38); /* the field has six bits */
        prove((block[i].base & ((PAGE_SIZE << block[i].mask) - 1)) == 0);
    }
    /* Never more than four times the range. */
    uint64_t size = (1ull << block[0].mask) + (n == 2 ? 1ull << block[1].mask : 0);
    prove(size <= 4 * pages);
}

/* Two blocks only if no single one of at most four times the range covers it. */
/* proof: blocks_are_the_fewest */
/* broken: drivers/iommu/vtd/inval_build.h s/one <= two + 1/one <= two/ */
void blocks_are_the_fewest(void)
{
    struct any_range r = any_range();
    struct vtd_block block[2], single;
    unsigned n = vtd_inval_blocks(r.base, r.bytes, block);
    uint64_t pages = r.bytes >> PAGE_SHIFT;

    single.mask = any_between(0, 51);
    single.base = r.base >> (12 + single.mask) << (12 + single.mask);
    if (n == 2 && covers(single, r.first) && covers(single, r.last))
        prove(1ull << single.mask > 4 * pages || 1ull << single.mask > 1ull << block[0].mask << 1);
    if (pages == 1)
        prove(n == 1 && block[0].mask == 0 && block[0].base == r.base);
}

/* Read as PCIe 10.2.3.2 says: S clear, one page; else the lowest zero from bit 12 up. */
static struct vtd_block device_reads(uint64_t range, bool s)
{
    unsigned zero = (unsigned)__builtin_ctzll(~(range >> PAGE_SHIFT));
    unsigned mask = s ? zero + 1 : 0;

    return (struct vtd_block){ mask < 52 ? range & ~((PAGE_SIZE << mask) - 1) : 0, mask };
}

/* proof: device_reads_what_was_meant */
/* broken: drivers/iommu/vtd/desc.h s/(1ull << mask) - 1) >> 1)/(1ull << mask) - 1))/ */
/* broken: drivers/iommu/vtd/desc.h s/ | (mask != 0) }/ }/ */
void device_reads_what_was_meant(void)
{
    unsigned mask = any_between(0, 51);
    uint64_t base = any_u64();

    assume((base & ((PAGE_SIZE << mask) - 1)) == 0);
    uint64_t range = vtd_dtlb_range(base, mask);
    struct vtd_desc plain = vtd_desc_dtlb((rid_t)any_u32(), 0, base, mask);
    struct vtd_block b = device_reads(plain.q1 & ~PAGE_MASK, plain.q1 & 1);

    prove((range & PAGE_MASK) == 0);
    prove(b.base == base && b.mask == mask);
    struct vtd_desc pasid = vtd_desc_pdtlb((rid_t)any_u32(), 0, 5, base, mask);
    b = device_reads(pasid.q1 & ~PAGE_MASK, pasid.q1 >> 11 & 1);
    prove(b.base == base && b.mask == mask);
}

/* proof: all_is_all */
/* broken: drivers/iommu/vtd/desc.h s/0x7ffffffffffff000/0x3ffffffffffff000/ */
void all_is_all(void)
{
    struct vtd_block b = device_reads(vtd_desc_dtlb_all(0, 0).q1 & ~PAGE_MASK, true);

    prove(b.base == 0 && b.mask == 52);
}

/* Any list is as short as promised, and no address mask in it is more than the unit takes. */
static void list_of(enum vtd_change change)
{
    struct iommu_unit unit;
    struct vtd_device device;
    struct vtd_desc list[VTD_INVAL_MAX];
    struct vtd_block block[2] = { { any_u64(), any_between(0, 63) }, { any_u64() } };
    struct vtd_inval_args args = { .unit = &unit, .device = &device, .pasid = any_u32() };
    unsigned i = any_between(0, VTD_INVAL_MAX - 1);

    block[1].mask = block[0].mask; /* as all pairs that vtd_inval_blocks gives */
    assume(((block[0].base | block[1].base) & PAGE_MASK) == 0);
    unsigned n = vtd_inval_build(change, &args, block, any_between(0, 2), list);
    prove(n <= VTD_INVAL_MAX);
    if (i < n && (list[i].q0 & VTD_TYPE_MASK) == VTD_TYPE_IOTLB && (list[i].q0 >> 4 & 3) == 3)
        prove((list[i].q1 & 63) <= unit.hw.mask_max && unit.hw.page_selective);
}

/* proof: masks_are_allowed --unwind 5 */
/* broken: drivers/iommu/vtd/inval_build.h s/ || b\[0\].mask > hw->mask_max// */
void masks_are_allowed(void)
{
    list_of(VTD_SECOND_STAGE_CHANGED);
}

/* The longest. */
/* proof: lists_are_short --unwind 5 */
/* broken: drivers/iommu/vtd/inval.h s/VTD_INVAL_MAX 12u/VTD_INVAL_MAX 3u/ */
void lists_are_short(void)
{
    list_of(VTD_FIRST_STAGE_CHANGED);
    list_of(VTD_PASID_CHANGED);
}
