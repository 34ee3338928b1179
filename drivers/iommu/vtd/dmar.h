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
};

/* Requester ids first to last, all of them behind one unit. */
struct dmar_claim {
    rid_t first, last;
    uint8_t unit;
};

/* Memory that firmware lets a function use (RMRR). */
#define DMAR_RESERVED_MAX 64u
struct dmar_reserved {
    rid_t rid;
    struct iommu_reserved range;
};

struct dmar {
    struct dmar_unit unit[IOMMU_UNITS_MAX];
    unsigned nunits;
    struct dmar_claim claim[DMAR_CLAIMS_MAX];
    unsigned nclaims;
    struct dmar_reserved reserved[DMAR_RESERVED_MAX];
    unsigned nreserved;
};

/* @return HV_OK; HV_ENODEV no table or no unit in it; HV_EINVAL what cannot be right; HV_ENOTSUP
 * more units or scopes than there is room for: a unit left alone would let its devices through. */
enum hv_status vtd_dmar_parse(const void *table, size_t length, struct dmar *out);
/* Index of the unit in front of @rid (segment 0), or -1. */
int vtd_dmar_unit_of(const struct dmar *dmar, rid_t rid);
/* Fill in what is reserved for a function: the interrupt range (3.14) and its RMRRs. HV_ENOTSUP:
 * more than there is room for. */
enum hv_status vtd_dmar_reserve(const struct dmar *dmar, struct iommu_device *dev);

#endif
