/* SPDX-License-Identifier: BSD-2-Clause */
/* Invalidation descriptors (6.5.2.1 to 6.5.2.9, 7.6.1): encodings, nothing else. */
#ifndef DRIVERS_IOMMU_VTD_DESC_H
#define DRIVERS_IOMMU_VTD_DESC_H

#include "drivers/iommu/vtd/queue.h"

/* Type[3:0] in bits 3:0; Type[6:4] is 0 in all of them. */
enum : uint64_t {
    VTD_TYPE_CONTEXT = 1,
    VTD_TYPE_IOTLB = 2,
    VTD_TYPE_DTLB = 3,
    VTD_TYPE_IEC = 4,
    VTD_TYPE_WAIT = 5,
    VTD_TYPE_PIOTLB = 6,
    VTD_TYPE_PASID = 7,
    VTD_TYPE_PDTLB = 8,
    VTD_TYPE_RESPONSE = 9,
    VTD_TYPE_MASK = 15,

    VTD_WAIT_SW = 1 << 5,
    VTD_WAIT_FN = 1 << 6,
    VTD_WAIT_PD = 1 << 7,

    VTD_DTLB_ALL = 0x7ffffffffffff000, /* with S */
    VTD_AM_IH = 1 << 6,                /* no table entry changed, leaves only */
};

/* Does nothing but hold back what follows until all before is done. */
static const struct vtd_desc vtd_desc_fence = { VTD_WAIT_FN | VTD_TYPE_WAIT, 0 };

static inline struct vtd_desc vtd_desc_context_global(void)
{
    return (struct vtd_desc){ 1 << 4 | VTD_TYPE_CONTEXT, 0 };
}

static inline struct vtd_desc vtd_desc_context_device(rid_t rid, uint32_t did)
{
    return (struct vtd_desc){ (uint64_t)rid << 32 | (uint64_t)did << 16 | 3 << 4 | VTD_TYPE_CONTEXT,
                              0 };
}

static inline struct vtd_desc vtd_desc_pasid_global(void)
{
    return (struct vtd_desc){ 3 << 4 | VTD_TYPE_PASID, 0 };
}

static inline struct vtd_desc vtd_desc_pasid_domain(uint32_t did)
{
    return (struct vtd_desc){ (uint64_t)did << 16 | VTD_TYPE_PASID, 0 };
}

static inline struct vtd_desc vtd_desc_pasid(uint32_t did, uint32_t pasid)
{
    return (struct vtd_desc){ (uint64_t)pasid << 32 | (uint64_t)did << 16 | 1 << 4 | VTD_TYPE_PASID,
                              0 };
}

/* Drain reads and writes (bits 7, 6): needed before version 2, always done since. */
static inline struct vtd_desc vtd_desc_iotlb_global(void)
{
    return (struct vtd_desc){ 3 << 6 | 1 << 4 | VTD_TYPE_IOTLB, 0 };
}

static inline struct vtd_desc vtd_desc_iotlb_domain(uint32_t did)
{
    return (struct vtd_desc){ (uint64_t)did << 16 | 3 << 6 | 2 << 4 | VTD_TYPE_IOTLB, 0 };
}

static inline struct vtd_desc vtd_desc_iotlb_pages(uint32_t did, uint64_t base, unsigned mask)
{
    return (struct vtd_desc){ (uint64_t)did << 16 | 3 << 6 | 3 << 4 | VTD_TYPE_IOTLB, base | mask };
}

static inline struct vtd_desc vtd_desc_piotlb_pasid(uint32_t did, uint32_t pasid)
{
    return (struct vtd_desc){
        (uint64_t)pasid << 32 | (uint64_t)did << 16 | 2 << 4 | VTD_TYPE_PIOTLB, 0
    };
}

static inline struct vtd_desc vtd_desc_piotlb_pages(uint32_t did, uint32_t pasid, uint64_t base,
                                                    unsigned mask, bool leaf)
{
    return (struct vtd_desc){ (uint64_t)pasid << 32 | (uint64_t)did << 16 | 3 << 4 |
                                  VTD_TYPE_PIOTLB,
                              base | mask | (leaf ? VTD_AM_IH : 0) };
}

/* Device-TLB range of 2^mask pages: the lowest zero bit from 12 up tells the size (PCIe 10.2.3.2).
 */
static inline uint64_t vtd_dtlb_range(uint64_t base, unsigned mask)
{
    return base | (((1ull << mask) - 1) >> 1) << PAGE_SHIFT;
}

/* @key: what is the same in all of a device's (queue depth, PFSID): inval.c. */
static inline struct vtd_desc vtd_desc_dtlb(rid_t rid, uint64_t key, uint64_t base, unsigned mask)
{
    return (struct vtd_desc){ key | (uint64_t)rid << 32 | VTD_TYPE_DTLB,
                              vtd_dtlb_range(base, mask) | (mask != 0) };
}

static inline struct vtd_desc vtd_desc_dtlb_all(rid_t rid, uint64_t key)
{
    return (struct vtd_desc){ key | (uint64_t)rid << 32 | VTD_TYPE_DTLB, VTD_DTLB_ALL | 1 };
}

static inline struct vtd_desc vtd_desc_pdtlb(rid_t rid, uint64_t key, uint32_t pasid, uint64_t base,
                                             unsigned mask)
{
    return (struct vtd_desc){ key | (uint64_t)pasid << 32 | (uint64_t)rid << 16 | VTD_TYPE_PDTLB,
                              vtd_dtlb_range(base, mask) | (uint64_t)(mask != 0) << 11 };
}

static inline struct vtd_desc vtd_desc_pdtlb_all(rid_t rid, uint64_t key, uint32_t pasid)
{
    return (struct vtd_desc){ key | (uint64_t)pasid << 32 | (uint64_t)rid << 16 | VTD_TYPE_PDTLB,
                              VTD_DTLB_ALL | 1 << 11 };
}

/* Bit 0 of the second qword, GI: in every PASID. */
static inline struct vtd_desc vtd_desc_pdtlb_every(rid_t rid, uint64_t key, uint64_t range)
{
    return (struct vtd_desc){ key | (uint64_t)rid << 16 | VTD_TYPE_PDTLB, range | 1 };
}

static inline struct vtd_desc vtd_desc_iec_global(void)
{
    return (struct vtd_desc){ VTD_TYPE_IEC, 0 };
}

static inline struct vtd_desc vtd_desc_iec_index(uint16_t index)
{
    return (struct vtd_desc){ (uint64_t)index << 32 | 1 << 4 | VTD_TYPE_IEC, 0 };
}

/* @code: 0 success, 1 invalid request. Never 0xf: it would turn PRI off for all functions. */
static inline struct vtd_desc vtd_desc_response(rid_t rid, bool pasid_present, uint32_t pasid,
                                                uint16_t group, unsigned code)
{
    return (struct vtd_desc){ (uint64_t)(pasid_present ? pasid : 0) << 32 | (uint64_t)rid << 16 |
                                  (uint64_t)code << 12 | (uint64_t)pasid_present << 4 |
                                  VTD_TYPE_RESPONSE,
                              (uint64_t)(group & 0x1ff) << 3 };
}

static inline bool vtd_desc_is_dtlb(struct vtd_desc d, rid_t *rid)
{
    unsigned type = d.q0 & VTD_TYPE_MASK;
    *rid = (rid_t)(type == VTD_TYPE_DTLB ? d.q0 >> 32 : d.q0 >> 16);
    return type == VTD_TYPE_DTLB || type == VTD_TYPE_PDTLB;
}

#endif
