/* SPDX-License-Identifier: BSD-2-Clause */
/* Capabilities of a unit: decoding, and the table of what is needed of it. */
#include "drivers/iommu/vtd/caps.h"

#include <stdio.h>

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
    { ECAP, 40, false, "PASID: requests without PASID only" },
    { ECAP, 2, false, "DT device TLB: ATS and PRI stay off" },
    { ECAP, 29, false, "PRS page requests: PRI stays off" },
    { ECAP, 42, false, "PDS page request drain: drained by looking at the queue" },
    { ECAP, 3, false, "IR interrupt remapping: devices can raise any host vector" },
    { CAP, 39, false, "PSI page-selective invalidation: whole domains" },
};

enum : uint64_t {
    NEST = 1ull << 26,
    SMTS = 1ull << 43,
    SSTS = 1ull << 46,
    FSTS = 1ull << 47,
    SMPWCS = 1ull << 48,
};

/* The ways to use a unit, best first; the last one suits every unit that has a depth. Guests do not
 * flush their tables from caches, and a walk that does not snoop sets no accessed bits in them
 * (3.10): such a unit does not nest. */
static const struct vtd_way {
    uint64_t ecap; /* all of these are needed */
    bool depth;    /* SAGAW tells a second-stage depth */
    const char *what;
} vtd_ways[] = {
    [VTD_NESTED] = { SMTS | SSTS | FSTS | NEST | SMPWCS, true, "scalable mode, nested" },
    [VTD_SECOND] = { SMTS | SSTS, true,
                     "scalable mode, second stage only; binds by shadow tables" },
    [VTD_FIRST] = { SMTS | FSTS, false,
                    "scalable mode, first-stage format only; binds by shadow tables" },
    [VTD_LEGACY] = { 0, true, "legacy mode, requests without PASID only; binds refused" },
};

/* What the best way needs, by name. */
static const struct vtd_feature {
    uint64_t ecap;
    const char *name;
} vtd_features[] = {
    { SMTS, "SMTS scalable mode" },
    { SSTS, "SSTS second stage" },
    { FSTS, "FSTS first stage" },
    { NEST, "NEST nested translation" },
    { SMPWCS, "SMPWCS snooped page walks" },
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

/* Four levels where the unit walks them: deep enough, and what every unit of a machine has. */
static uint8_t second_stage_levels(uint64_t cap)
{
    static const uint8_t order[] = { 4, 5, 3 };
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        if (bit(cap, 8u + order[i] - 2u)) /* SAGAW bit n: n + 2 levels */
            return order[i];
    return 0;
}

static enum vtd_mode choose(uint64_t cap, uint64_t ecap)
{
    unsigned mode = VTD_NESTED;
    while (mode < VTD_LEGACY &&
           (vtd_ways[mode].ecap & ~ecap || (vtd_ways[mode].depth && !second_stage_levels(cap))))
        mode++;
    return (enum vtd_mode)mode;
}

void vtd_caps_decode(uint32_t version, uint64_t cap, uint64_t ecap, struct vtd_caps *out)
{
    unsigned nd = field(cap, 2, 0);
    enum vtd_mode mode = choose(cap, ecap);
    bool scalable = mode != VTD_LEGACY;
    bool dt = bit(ecap, 2), pasid = bit(ecap, 40) && scalable;
    *out = (struct vtd_caps){
        .version = version,
        .cap = cap,
        .ecap = ecap,
        .mode = mode,
        .scalable = scalable,
        .coherent = bit(ecap, 0),
        .walk_snoop = bit(ecap, 48),
        .snoop_control = bit(ecap, 7),
        .memory_types = bit(ecap, 25) && (mode == VTD_NESTED || mode == VTD_SECOND),
        .caching_mode = bit(cap, 7) || bit(cap, 4),
        .page_selective = bit(cap, 39),
        .device_tlb = dt,
        .page_requests = dt && bit(ecap, 29) && scalable,
        .page_request_drain = bit(ecap, 42) && scalable,
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

void vtd_caps_publish(const struct vtd_caps *hw, struct iommu_caps *out)
{
    bool first = hw->mode == VTD_FIRST, nested = hw->mode == VTD_NESTED;
    uint8_t levels = first ? 4 : second_stage_levels(hw->cap);
    unsigned mgaw = field(hw->cap, 21, 16) + 1;
    out->nested = nested;
    out->second_stage = levels != 0;
    out->first_stage = nested;
    out->device_tlb = hw->device_tlb;
    out->page_requests = hw->page_requests;
    out->pasid_bits = hw->pasid_bits;
    out->first_stage_levels = nested ? (uint8_t)(1 | bit(hw->cap, 60) << 1) : 0;
    out->first_stage_1g = nested && bit(hw->cap, 56);
    out->second_stage_levels = levels;
    out->second_stage_large =
        (uint8_t)(first ? 1u | (unsigned)bit(hw->cap, 56) << 1 : field(hw->cap, 35, 34));
    out->second_stage_depths = first ? 1u << (4 - 3) : (uint8_t)field(hw->cap, 11, 9); /* SAGAW */
    /* First-stage addresses are canonical: the lower half has one bit less than 4 levels reach. */
    out->input_bits = (uint8_t)(first && mgaw > 47 ? 47 : mgaw);
    out->domains = (1u << hw->did_bits) - 1; /* 0 is hardware's */
    out->interrupts = hw->remap_interrupts;
    out->coherent_tables = hw->scalable ? hw->walk_snoop : hw->coherent;
    out->caching_mode = hw->caching_mode && !first; /* CM is not for first-stage tables (6.1) */
    /* In first-stage format every entry is for users, accessed and dirty: units need not set it. */
    out->second_stage_format = first ? &pt_format_npt : &pt_format_vtd2;
    /* Without PASID entries, which say it for all pages, each leaf has devices' requests snooped
     * even if they ask for the contrary. */
    if (hw->mode == VTD_LEGACY && hw->snoop_control)
        out->second_stage_format = &pt_format_vtd2_snoop;
}

static void tell_mode(const struct vtd_caps *hw, const char *name)
{
    char lacks[96] = "";
    size_t n = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(vtd_features); i++)
        if (!(hw->ecap & vtd_features[i].ecap))
            n += (size_t)snprintf(lacks + n, sizeof lacks - n, "%s%s",
                                  n ? ", " : "; missing: ", vtd_features[i].name);
    if (!second_stage_levels(hw->cap))
        snprintf(lacks + n, sizeof lacks - n, "%s", n ? ", SAGAW depth" : "; missing: SAGAW depth");
    log_info("vtd", "%s: %s%s", name, vtd_ways[hw->mode].what, lacks);
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
    if (vtd_ways[hw->mode].depth && !second_stage_levels(hw->cap)) {
        log_error("vtd", "%s: needed and missing: SAGAW second-stage depth", name);
        status = HV_ENOTSUP;
    }
    if (!status)
        tell_mode(hw, name);
    return status;
}
