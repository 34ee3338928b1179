/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI DMAR table (chapter 8): which units there are, and which functions are behind which. The
 * table comes from firmware and is checked before anything of it is used.
 */
#ifndef DRIVERS_IOMMU_VTD_DMAR_H
#define DRIVERS_IOMMU_VTD_DMAR_H

#include "drivers/iommu/iommu.h"

#define DMAR_CLAIMS_MAX 256u

struct dmar_unit {
    paddr_t base;
    uint64_t size; /* bytes of the register set as the table tells */
    uint16_t segment;
    uint32_t node; /* memory near to it (RHSA); DMAR_NODE_NONE: not told */
};
#define DMAR_NODE_NONE UINT32_MAX

/* Requester ids first to last, and what the structure says of them: index of a unit, of an RMRR. */
struct dmar_claim {
    rid_t first, last;
    uint8_t what;
};
struct dmar_list {
    struct dmar_claim claim[DMAR_CLAIMS_MAX];
    unsigned n;
};

#define DMAR_RESERVED_MAX 64u

struct dmar {
    struct dmar_unit unit[IOMMU_UNITS_MAX];
    unsigned nunits;
    struct dmar_list scopes; /* of units */
    struct iommu_reserved reserved[DMAR_RESERVED_MAX];
    unsigned nreserved;
    struct dmar_list reserved_for; /* which functions firmware reserved memory for (RMRR) */
    bool ats_all_ports, ats_listed;
    struct dmar_list ats_ports, ats_integrated; /* ATSR, SATC */
    bool properties_listed;
    struct dmar_list properties; /* SIDP: dmar_property of a function */
};

/* What firmware says of a function; the first three are of its requests without PASID. */
enum dmar_property {
    DMAR_NO_NESTING = 1 << 0,
    DMAR_NO_WALK_SNOOP = 1 << 1, /* PWSNP */
    DMAR_NO_PAGE_SNOOP = 1 << 2, /* PGSNP, SNP */
    DMAR_ATC_HARDENED = 1 << 3,
};

/* @return HV_OK; HV_ENODEV no table or no unit in it; HV_EINVAL what cannot be right; HV_ENOTSUP
 * more units or scopes than there is room for: a unit left alone would let its devices through. */
enum hv_status vtd_dmar_parse(const void *table, size_t length, struct dmar *out);
/* Index of the unit in front of @rid (segment 0), or -1. */
int vtd_dmar_unit_of(const struct dmar *dmar, rid_t rid);
unsigned vtd_dmar_properties(const struct dmar *dmar, rid_t rid);
/* May the function have ATS on? It can then use addresses that no unit checks, so firmware says
 * where a device TLB was validated. @why: if not. */
bool vtd_dmar_ats(const struct dmar *dmar, rid_t rid, const char **why);
/* Fill in what is reserved for a function: the interrupt range (3.14) and its RMRRs. HV_ENOTSUP:
 * more than there is room for. */
enum hv_status vtd_dmar_reserve(const struct dmar *dmar, struct iommu_device *dev);

#endif
