/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of what each change must invalidate, and the list of descriptors it gives: inline, so
 * that for a constant change the table folds away. The rows follow Table 28; order within a row
 * follows 6.5.2.12: context before PASID cache before IOTLB before device TLB. Hardware keeps a
 * device-TLB descriptor without PASID behind those of type 2 but not of type 6: there a fence
 * stands between.
 */
#ifndef DRIVERS_IOMMU_VTD_INVAL_BUILD_H
#define DRIVERS_IOMMU_VTD_INVAL_BUILD_H

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/queue_put.h"

enum vtd_step : uint8_t {
    END,
    CONTEXT_GLOBAL,
    CONTEXT_DEVICE,
    PASID_GLOBAL, /* nothing in legacy mode, as the next and PASID_ONE_ABSENT */
    PASID_DOMAIN,
    PASID_ONE,
    PASID_ONE_ABSENT, /* cached as not present: under id 0 (6.2.3) */
    IOTLB_GLOBAL,
    IOTLB_DOMAIN,
    IOTLB_ABSENT, /* likewise */
    IOTLB_PAGES,
    PIOTLB_ONE,
    PIOTLB_PAGES,
    DTLB_ALL, /* of the one PASID or the RID */
    DTLB_PAGES,
    DTLB_EVERY_PAGES,
    DTLB_EVERY_ALL,
    INTERRUPTS,
    INTERRUPT_ONE,
};

#define VTD_STEPS 4u
static const enum vtd_step vtd_inval_table[][VTD_STEPS] = {
    [VTD_ROOT_SET] = { CONTEXT_GLOBAL, PASID_GLOBAL, IOTLB_GLOBAL },
    [VTD_CONTEXT_SET] = { CONTEXT_DEVICE, PASID_ONE_ABSENT, IOTLB_ABSENT },
    [VTD_CONTEXT_CHANGED] = { CONTEXT_DEVICE },
    [VTD_CONTEXT_DOMAIN] = { PASID_DOMAIN, IOTLB_DOMAIN },
    [VTD_DEVICE_CUT] = { CONTEXT_DEVICE, PASID_GLOBAL, IOTLB_GLOBAL },
    [VTD_LEGACY_CHANGED] = { CONTEXT_DEVICE, IOTLB_DOMAIN, DTLB_ALL },
    [VTD_FAULTS_HIDDEN] = { CONTEXT_GLOBAL, PASID_GLOBAL, IOTLB_GLOBAL },
    [VTD_PASID_SET] = { PASID_ONE_ABSENT, PASID_ONE, IOTLB_ABSENT, PIOTLB_ONE },
    [VTD_PASID_CHANGED] = { PASID_ONE, PIOTLB_ONE, DTLB_ALL },
    [VTD_PASID_CLEARED] = { PASID_ONE, IOTLB_DOMAIN, DTLB_ALL },
    [VTD_DOMAIN_FREED] = { PASID_DOMAIN, IOTLB_DOMAIN },
    [VTD_FIRST_STAGE_CHANGED] = { PIOTLB_PAGES, DTLB_PAGES },
    [VTD_FIRST_STAGE_REPLACED] = { PIOTLB_ONE, DTLB_ALL },
    [VTD_DOMAIN_CHANGED] = { IOTLB_DOMAIN },
    [VTD_SECOND_STAGE_CHANGED] = { IOTLB_PAGES },
    [VTD_DEVICE_TLB_PAGES] = { DTLB_PAGES },
    [VTD_DEVICE_TLB_ALL] = { DTLB_ALL },
    [VTD_DEVICE_TLB_EVERY_PAGES] = { DTLB_EVERY_PAGES },
    [VTD_DEVICE_TLB_EVERY_ALL] = { DTLB_EVERY_ALL },
    [VTD_INTERRUPTS_CHANGED] = { INTERRUPTS },
    [VTD_INTERRUPT_CHANGED] = { INTERRUPT_ONE },
};

static unsigned vtd_log2_up(uint64_t n)
{
    return n <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(n - 1);
}

static inline unsigned vtd_inval_blocks(uint64_t base, uint64_t bytes, struct vtd_block block[2])
{
    uint64_t pages = bytes >> PAGE_SHIFT, first = base >> PAGE_SHIFT, last = first + pages - 1;
    if (pages == 1) {
        block[0] = (struct vtd_block){ base, 0 };
        return 1;
    }
    if (!pages || pages >> 36)
        return 0;
    unsigned one = 64 - (unsigned)__builtin_clzll(first ^ last); /* aligned block with both ends */
    unsigned two = vtd_log2_up(pages);
    if (one <= two + 1) { /* at most four times the range */
        block[0] = (struct vtd_block){ first >> one << one << PAGE_SHIFT, one };
        return 1;
    }
    block[0] = (struct vtd_block){ first >> two << two << PAGE_SHIFT, two };
    block[1] = (struct vtd_block){ last >> two << two << PAGE_SHIFT, two };
    return 2;
}

VTD_HOT struct vtd_desc vtd_dtlb_all(const struct vtd_inval_args *a)
{
    const struct vtd_device *v = a->device;
    return a->pasid ? vtd_desc_pdtlb_all(v->rid, v->pasid_key, a->pasid)
                    : vtd_desc_dtlb_all(v->rid, v->key);
}

VTD_HOT struct vtd_desc vtd_dtlb_block(const struct vtd_inval_args *a, struct vtd_block b)
{
    const struct vtd_device *v = a->device;
    return a->pasid ? vtd_desc_pdtlb(v->rid, v->pasid_key, a->pasid, b.base, b.mask)
                    : vtd_desc_dtlb(v->rid, v->key, b.base, b.mask);
}

static inline struct vtd_desc vtd_dtlb_every_block(const struct vtd_inval_args *a,
                                                   struct vtd_block b)
{
    const struct vtd_device *v = a->device;
    return vtd_desc_pdtlb_every(v->rid, v->pasid_key,
                                vtd_dtlb_range(b.base, b.mask) | (uint64_t)(b.mask != 0) << 11);
}

static inline struct vtd_desc vtd_dtlb_every_all(const struct vtd_inval_args *a)
{
    return vtd_desc_pdtlb_every(a->device->rid, a->device->pasid_key, VTD_DTLB_ALL | 1 << 11);
}

/* The descriptors of one step; the range, if there is one, in @b[0..nb). Always inline: with a
 * constant step the switch folds away, and one page of a first stage costs a few dozen
 * instructions. */
VTD_HOT unsigned vtd_inval_step(enum vtd_step step, const struct vtd_inval_args *a,
                                const struct vtd_block *b, unsigned nb, struct vtd_desc *out)
{
    const struct vtd_caps *hw = &a->unit->hw;
    unsigned n = 0;
    switch (step) {
    case END: break;
    case CONTEXT_GLOBAL: out[n++] = vtd_desc_context_global(); break;
    case CONTEXT_DEVICE:
        /* Legacy entries are tagged with the domain id, too (6.2.2.1). Aliases are rare. */
        out[n++] = a->device->naliases
                       ? vtd_desc_context_global()
                       : vtd_desc_context_device(a->device->rid, hw->scalable ? 0 : a->did);
        break;
    case PASID_GLOBAL: out[n] = vtd_desc_pasid_global(); return n + hw->scalable;
    case PASID_DOMAIN: out[n] = vtd_desc_pasid_domain(a->did); return n + hw->scalable;
    case PASID_ONE: out[n++] = vtd_desc_pasid(a->did, a->pasid); break;
    case PASID_ONE_ABSENT: out[n] = vtd_desc_pasid(0, a->pasid); return n + hw->scalable;
    case IOTLB_GLOBAL: out[n++] = vtd_desc_iotlb_global(); break;
    case IOTLB_DOMAIN: out[n++] = vtd_desc_iotlb_domain(a->did); break;
    case IOTLB_ABSENT: out[n++] = vtd_desc_iotlb_domain(0); break;
    case IOTLB_PAGES:
        if (!hw->page_selective || !nb || b[0].mask > hw->mask_max)
            out[n++] = vtd_desc_iotlb_domain(a->did);
        else
            for (; n < nb; n++)
                out[n] = vtd_desc_iotlb_pages(a->did, b[n].base, b[n].mask);
        break;
    case PIOTLB_ONE: out[n++] = vtd_desc_piotlb_pasid(a->did, a->pasid); break;
    case PIOTLB_PAGES:
        for (; n < nb; n++)
            out[n] = vtd_desc_piotlb_pages(a->did, a->pasid, b[n].base, b[n].mask, a->leaf);
        if (!nb)
            out[n++] = vtd_desc_piotlb_pasid(a->did, a->pasid);
        break;
    case DTLB_ALL: out[n++] = vtd_dtlb_all(a); break;
    case DTLB_PAGES:
        for (; n < nb; n++)
            out[n] = vtd_dtlb_block(a, b[n]);
        if (!nb)
            out[n++] = vtd_dtlb_all(a);
        break;
    case DTLB_EVERY_PAGES:
        for (; n < nb; n++)
            out[n] = vtd_dtlb_every_block(a, b[n]);
        if (!nb)
            out[n++] = vtd_dtlb_every_all(a);
        break;
    case DTLB_EVERY_ALL: out[n++] = vtd_dtlb_every_all(a); break;
    case INTERRUPTS: out[n++] = vtd_desc_iec_global(); break;
    case INTERRUPT_ONE: out[n++] = vtd_desc_iec_index(a->interrupt); break;
    }
    return n;
}

static inline bool vtd_step_is_dtlb(enum vtd_step step)
{
    return step >= DTLB_ALL && step <= DTLB_EVERY_ALL;
}

VTD_HOT unsigned vtd_inval_nth(unsigned i, enum vtd_change change, const struct vtd_inval_args *a,
                               const struct vtd_block *b, unsigned nb, struct vtd_desc *out)
{
    enum vtd_step step = vtd_inval_table[change][i];
    enum vtd_step before = i ? vtd_inval_table[change][i - 1] : END;
    unsigned n = 0;
    if (vtd_step_is_dtlb(step)) {
        const struct vtd_device *v = a->device;
        if (!v || !v->ats || v->failed)
            return 0;
        if ((before == PIOTLB_ONE || before == PIOTLB_PAGES) && !a->pasid)
            out[n++] = vtd_desc_fence;
    }
    return n + vtd_inval_step(step, a, b, nb, out + n);
}

/* Written out: compilers unroll too late to fold the table. */
VTD_HOT unsigned vtd_inval_build(enum vtd_change change, const struct vtd_inval_args *a,
                                 const struct vtd_block *b, unsigned nb, struct vtd_desc *out)
{
    static_assert(VTD_STEPS == 4);
    unsigned n = vtd_inval_nth(0, change, a, b, nb, out);
    n += vtd_inval_nth(1, change, a, b, nb, out + n);
    n += vtd_inval_nth(2, change, a, b, nb, out + n);
    return n + vtd_inval_nth(3, change, a, b, nb, out + n);
}

#endif
