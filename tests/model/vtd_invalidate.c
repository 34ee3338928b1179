/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What invalidation descriptors remove (6.5.2.1 - 6.5.2.8, Tables 21 to 25).
 */
#include "tests/model/vtd_queue.h"

static uint16_t did_of(const struct vtd_model *m, uint64_t q0)
{
    return (uint16_t)(vtd_bits(q0, 31, 16) & (BIT64(vtd_did_width(m)) - 1));
}

void vtd_invalidate_context(struct vtd_model *m, unsigned g, uint16_t did, uint16_t sid,
                            unsigned fm)
{
    static const uint16_t masks[4] = { 0, 4, 6, 7 }; /* Table 21 */
    bool legacy = vtd_ttm(m) == TTM_LEGACY;
    struct vtd_filter f = { .kinds = 1u << VTD_CONTEXT };
    if (g >= 2 && legacy) {
        f.by_did = true;
        f.did = did;
    }
    if (g == 3) {
        f.by_sid = true;
        f.sid = sid;
        f.sid_mask = masks[fm];
    }
    if (g == 1 || (g == 2 && !legacy))
        m->need_inv &= (uint8_t)~1;
    vtd_cache_drop(m, &f);
}

static void set_range(struct vtd_filter *f, uint64_t addr, unsigned am)
{
    uint64_t size = am + PAGE_SHIFT >= 64 ? 0 : BIT64(am + PAGE_SHIFT);
    f->by_addr = true;
    f->first = size ? addr & ~(size - 1) : 0;
    f->last = f->first + (size - 1);
}

/* Table 23. */
void vtd_invalidate_iotlb(struct vtd_model *m, unsigned g, uint16_t did, uint64_t addr, unsigned am,
                          bool ih)
{
    struct vtd_filter f = { .kinds = 1u << VTD_IOTLB | 1u << VTD_FSPS | 1u << VTD_SSPS,
                            .by_did = g != 1,
                            .did = did };
    if (g == 1 && !(m->need_inv & 3))
        m->need_inv = 0;
    if (g == 3) {
        if (vtd_mgaw(m) < 64)
            addr &= BIT64(vtd_mgaw(m)) - 1;
        set_range(&f, addr, am);
        f.second_stage = true;
        if (ih)
            f.kinds &= ~(1u << VTD_SSPS);
    }
    vtd_cache_drop(m, &f);
}

/* Table 24. */
void vtd_invalidate_piotlb(struct vtd_model *m, bool page, uint16_t did, uint32_t pasid,
                           uint64_t addr, unsigned am, bool ih)
{
    struct vtd_filter f = { .kinds = 1u << VTD_IOTLB | 1u << VTD_FSPS,
                            .by_did = true,
                            .by_pasid = true,
                            .did = did,
                            .pasid = pasid };
    if (page) {
        set_range(&f, addr, am);
        f.pgtt_mask = 1u << PGTT_FS | 1u << PGTT_NESTED;
        if (ih)
            f.kinds = 1u << VTD_IOTLB;
    }
    vtd_cache_drop(m, &f);
}

static void invalidate_pasid(struct vtd_model *m, uint64_t q0)
{
    unsigned g = (unsigned)vtd_bits(q0, 5, 4);
    struct vtd_filter f = { .kinds = 1u << VTD_PASID,
                            .by_did = g != 3,
                            .by_pasid = g == 1,
                            .did = did_of(m, q0),
                            .pasid = (uint32_t)vtd_bits(q0, 51, 32) };
    if (g == 3 && !(m->need_inv & 1))
        m->need_inv &= (uint8_t)~2;
    vtd_cache_drop(m, &f);
}

static void invalidate_iec(struct vtd_model *m, uint64_t q0)
{
    struct vtd_filter f = { .kinds = 1u << VTD_IEC };
    if (q0 >> 4 & 1) {
        uint64_t size = BIT64(vtd_bits(q0, 31, 27));
        f.by_addr = true;
        f.first = vtd_bits(q0, 47, 32) & ~(size - 1);
        f.last = f.first + size - 1;
    } else {
        m->need_iec = false;
    }
    vtd_cache_drop(m, &f);
}

void vtd_invalidate(struct vtd_model *m, const uint64_t q[4])
{
    unsigned g = (unsigned)vtd_bits(q[0], 5, 4), am = (unsigned)vtd_bits(q[1], 5, 0);
    uint64_t addr = q[1] & vtd_mask(63, 12);
    bool ih = q[1] >> 6 & 1;
    switch (vtd_desc_type(q)) {
    case VTD_T_CC:
        vtd_invalidate_context(m, g, did_of(m, q[0]), (uint16_t)vtd_bits(q[0], 47, 32),
                               (unsigned)vtd_bits(q[0], 49, 48));
        break;
    case VTD_T_IOTLB: vtd_invalidate_iotlb(m, g, did_of(m, q[0]), addr, am, ih); break;
    case VTD_T_IEC: invalidate_iec(m, q[0]); break;
    case VTD_T_PIOTLB:
        vtd_invalidate_piotlb(m, g == 3, did_of(m, q[0]), (uint32_t)vtd_bits(q[0], 51, 32), addr,
                              am, ih);
        break;
    case VTD_T_PC: invalidate_pasid(m, q[0]); break;
    }
}
