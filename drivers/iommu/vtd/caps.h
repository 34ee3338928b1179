/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Capabilities of a unit, decoded once (11.4.2, 11.4.3). No other file looks at CAP or ECAP.
 */
#ifndef DRIVERS_IOMMU_VTD_CAPS_H
#define DRIVERS_IOMMU_VTD_CAPS_H

#include "drivers/iommu/iommu.h"

/* How a unit is used: the first of these that it can do. */
enum vtd_mode {
    VTD_NESTED, /* scalable: first stage over second stage */
    VTD_SECOND, /* scalable: second stage alone */
    VTD_FIRST,  /* scalable: tables in first-stage format alone */
    VTD_LEGACY, /* second stage, linked from context entries; no PASID */
};

struct vtd_caps {
    uint32_t version;
    uint64_t cap, ecap;
    enum vtd_mode mode;
    bool scalable;       /* every mode but LEGACY */
    bool coherent;       /* C: root, context and PASID structures are snooped */
    bool walk_snoop;     /* SMPWCS: paging structures can be snooped */
    bool snoop_control;  /* SC */
    bool memory_types;   /* MTS: second-stage leaves have types that count */
    bool caching_mode;   /* CM: what is not present may be cached. Or RWBF: additions have to be
                            flushed, which an invalidation does (6.8) */
    bool page_selective; /* PSI: type 2 by page */
    bool device_tlb, page_requests, page_request_drain;
    bool throttle; /* DIT: device-TLB descriptors name the physical function */
    bool remap_interrupts, x2apic_interrupts;
    bool root_flushes; /* ESRTPS: SRTP flushes, and the table mode may change while enabled */
    bool protected_low, protected_high;
    uint8_t did_bits, mask_max, pasid_bits;
    uint32_t fault_offset, fault_count;
    uint32_t size; /* bytes of registers that must be mapped */
};

void vtd_caps_decode(uint32_t version, uint64_t cap, uint64_t ecap, struct vtd_caps *out);
/* What the contract wants to know. @name and @index are set by the caller. */
void vtd_caps_publish(const struct vtd_caps *hw, struct iommu_caps *out);
/* Log how the unit is used and why, and each missing capability with what follows from it.
 * HV_ENOTSUP if the driver cannot do without one. */
enum hv_status vtd_caps_check(const struct vtd_caps *hw, const char *name);

#endif
