/* SPDX-License-Identifier: BSD-2-Clause */
/* Capabilities of a unit: decoding, and the table of what is needed of it. */
#include "drivers/iommu/vtd/caps.h"

#include "hv/log.h"

/* Which register a need is a bit of. */
enum reg { CAP, ECAP };

static const struct vtd_need {
    enum reg reg;
    uint8_t bit;
    bool must; /* else: the unit serves without, with less */
    const char *what;
} vtd_needs[] = {
    { ECAP, 1, true, "QI queued invalidation" },
    { ECAP, 43, true, "SMTS scalable mode" },
    { ECAP, 46, true, "SSTS second stage" },
    { ECAP, 47, false, "FSTS first stage" },
    { ECAP, 26, false, "NEST nested translation" },
    { ECAP, 40, false, "PASID" },
    { ECAP, 2, false, "DT device TLB" },
    { ECAP, 29, false, "PRS page requests" },
    { ECAP, 42, false, "PDS page request drain" },
    { ECAP, 3, false, "IR interrupt remapping: devices can raise any host vector" },
    { CAP, 39, false, "PSI page-selective invalidation" },
};

static bool bit(uint64_t v, unsigned n)
{
    return v >> n & 1;
}

static unsigned field(uint64_t v, unsigned high, unsigned low)
{
    return (unsigned)(v >> low & ((1ull << (high - low + 1)) - 1));
}

static uint32_t max32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void vtd_caps_decode(uint32_t version, uint64_t cap, uint64_t ecap, struct vtd_caps *out)
{
    unsigned nd = field(cap, 2, 0);
    bool dt = bit(ecap, 2), pasid = bit(ecap, 40);
    *out = (struct vtd_caps){
        .version = version,
        .cap = cap,
        .ecap = ecap,
        .coherent = bit(ecap, 0),
        .walk_snoop = bit(ecap, 48),
        .snoop_control = bit(ecap, 7),
        .caching_mode = bit(cap, 7),
        .page_selective = bit(cap, 39),
        .device_tlb = dt,
        .page_requests = dt && bit(ecap, 29),
        .page_request_drain = bit(ecap, 42),
        .nested = bit(ecap, 26) && bit(ecap, 46) && bit(ecap, 47),
        .throttle = bit(ecap, 41),
        .remap_interrupts = bit(ecap, 3),
        .x2apic_interrupts = bit(ecap, 4),
        .root_flushes = bit(cap, 63),
        .protected_low = bit(cap, 5),
        .protected_high = bit(cap, 6),
        .did_bits = (uint8_t)(nd < 6 ? 4 + 2 * nd : 16),
        .mask_max = (uint8_t)field(cap, 53, 48),
        .fault_offset = field(cap, 33, 24) * 16,
        .fault_count = field(cap, 47, 40) + 1,
    };
    unsigned pasid_bits = field(ecap, 39, 35) + 1; /* PSS */
    if (pasid)
        out->pasid_bits = (uint8_t)(pasid_bits < PASID_BITS_MAX ? pasid_bits : PASID_BITS_MAX);
    uint32_t iotlb_end = field(ecap, 17, 8) * 16 + 16;
    uint32_t fault_end = out->fault_offset + 16 * out->fault_count;
    out->size = (uint32_t)((max32(iotlb_end, fault_end) + PAGE_MASK) & ~PAGE_MASK);
}

/* Four levels where the unit walks them: deep enough, and what every unit of a machine has. */
static uint8_t second_stage_levels(uint64_t cap)
{
    static const uint8_t order[] = { 4, 5, 3 };
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        if (bit(cap, 8u + order[i] - 2u)) /* SAGAW bit n: n + 2 levels */
            return order[i];
    return 0;
}

void vtd_caps_publish(const struct vtd_caps *hw, struct iommu_caps *out)
{
    uint8_t levels = second_stage_levels(hw->cap);
    unsigned mgaw = field(hw->cap, 21, 16) + 1, reach = 12u + 9u * levels;
    out->nested = hw->nested;
    out->second_stage = bit(hw->ecap, 46) && levels;
    out->first_stage = bit(hw->ecap, 47);
    out->device_tlb = hw->device_tlb;
    out->page_requests = hw->page_requests;
    out->pasid_bits = hw->pasid_bits;
    out->first_stage_levels = out->first_stage ? (uint8_t)(1 | bit(hw->cap, 60) << 1) : 0;
    out->first_stage_1g = bit(hw->cap, 56);
    out->second_stage_levels = levels;
    out->second_stage_large = (uint8_t)field(hw->cap, 35, 34);
    out->input_bits = (uint8_t)(mgaw < reach ? mgaw : reach);
    out->interrupts = hw->remap_interrupts;
    out->coherent_tables = hw->walk_snoop;
    out->caching_mode = hw->caching_mode;
    out->second_stage_format = &pt_format_vtd2;
}

enum hv_status vtd_caps_check(const struct vtd_caps *hw, const char *name)
{
    enum hv_status status = HV_OK;
    for (unsigned i = 0; i < ARRAY_SIZE(vtd_needs); i++) {
        const struct vtd_need *need = &vtd_needs[i];
        if (bit(need->reg == CAP ? hw->cap : hw->ecap, need->bit))
            continue;
        if (need->must) {
            log_error("vtd", "%s: needed and missing: %s", name, need->what);
            status = HV_ENOTSUP;
        } else {
            log_warn("vtd", "%s: missing: %s", name, need->what);
        }
    }
    if (!second_stage_levels(hw->cap)) {
        log_error("vtd", "%s: needed and missing: SAGAW second-stage depth", name);
        status = HV_ENOTSUP;
    }
    return status;
}
