/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each change must invalidate. The rows follow Table 28; order within a row follows 6.5.2.12:
 * context before PASID cache before IOTLB before device TLB. Hardware keeps a device-TLB descriptor
 * without PASID behind those of type 2 but not of type 6: there a fence stands between.
 */
#include "drivers/iommu/vtd/inval.h"

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/unit.h"

enum step : uint8_t {
    END,
    CONTEXT_GLOBAL,
    CONTEXT_DEVICE,
    PASID_GLOBAL,
    PASID_DOMAIN,
    PASID_ONE,
    PASID_ONE_ABSENT,  /* cached as not present: under id 0 (6.2.3) */
    IOTLB_GLOBAL,
    IOTLB_DOMAIN,
    IOTLB_ABSENT,      /* likewise */
    IOTLB_PAGES,
    PIOTLB_ONE,
    PIOTLB_PAGES,
    DTLB_ALL,          /* of the one PASID or the RID */
    DTLB_PAGES,
    DTLB_EVERY_PAGES,
    DTLB_EVERY_ALL,
    INTERRUPTS,
};

#define STEPS 6u
static const enum step table[][STEPS] = {
    [VTD_ROOT_SET] = { CONTEXT_GLOBAL, PASID_GLOBAL, IOTLB_GLOBAL },
    [VTD_CONTEXT_SET] = { CONTEXT_DEVICE, PASID_ONE_ABSENT, IOTLB_ABSENT },
    [VTD_CONTEXT_CHANGED] = { CONTEXT_DEVICE },
    [VTD_CONTEXT_DOMAIN] = { PASID_DOMAIN, IOTLB_DOMAIN },
    [VTD_DEVICE_CUT] = { CONTEXT_DEVICE, PASID_GLOBAL, IOTLB_GLOBAL },
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
};

static unsigned log2_up(uint64_t n)
{
    return n <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(n - 1);
}

unsigned vtd_inval_cover(uint64_t base, uint64_t bytes, struct vtd_block block[2])
{
    uint64_t pages = bytes >> PAGE_SHIFT, first = base >> PAGE_SHIFT, last = first + pages - 1;
    if (pages == 1) {
        block[0] = (struct vtd_block){ base, 0 };
        return 1;
    }
    if (pages >> 36)
        return 0;
    unsigned one = 64 - (unsigned)__builtin_clzll(first ^ last); /* aligned block with both ends */
    unsigned two = log2_up(pages);
    if (one <= two + 1) { /* at most four times the range */
        block[0] = (struct vtd_block){ base >> PAGE_SHIFT >> one << one << PAGE_SHIFT, one };
        return 1;
    }
    block[0] = (struct vtd_block){ first >> two << two << PAGE_SHIFT, two };
    block[1] = (struct vtd_block){ last >> two << two << PAGE_SHIFT, two };
    return 2;
}

/* MIP, PFSID (6.5.2.5, 6.5.2.6): the function is taken as its own physical function. */
uint64_t vtd_inval_device_key(const struct vtd_device *v, bool pasid)
{
    uint64_t key = (uint64_t)v->pci.queue_depth << (pasid ? 4 : 16);
    if (v->unit->hw.throttle)
        key |= (uint64_t)(v->rid & 15) << 12 | (uint64_t)(v->rid >> 4) << 52;
    return key;
}

static unsigned dtlb_pages(const struct vtd_inval_args *a, struct vtd_desc *out)
{
    const struct vtd_device *v = a->device;
    struct vtd_block b[2];
    unsigned n = vtd_inval_cover(a->base, a->bytes, b);
    for (unsigned i = 0; i < n; i++)
        out[i] = a->pasid ? vtd_desc_pdtlb(v->rid, v->pasid_key, a->pasid, b[i].base, b[i].mask)
                          : vtd_desc_dtlb(v->rid, v->key, b[i].base, b[i].mask);
    if (!n)
        out[n++] = a->pasid ? vtd_desc_pdtlb_all(v->rid, v->pasid_key, a->pasid)
                            : vtd_desc_dtlb_all(v->rid, v->key);
    return n;
}

static unsigned dtlb_every_pages(const struct vtd_inval_args *a, struct vtd_desc *out)
{
    const struct vtd_device *v = a->device;
    struct vtd_block b[2];
    unsigned n = vtd_inval_cover(a->base, a->bytes, b);
    for (unsigned i = 0; i < n; i++)
        out[i] = vtd_desc_pdtlb_every(v->rid, v->pasid_key,
                                      vtd_dtlb_range(b[i].base, b[i].mask) |
                                          (uint64_t)(b[i].mask != 0) << 11);
    if (!n)
        out[n++] = vtd_desc_pdtlb_every(v->rid, v->pasid_key, VTD_DTLB_ALL | 1 << 11);
    return n;
}

static unsigned iotlb_pages(const struct vtd_inval_args *a, struct vtd_desc *out)
{
    struct vtd_block b[2];
    const struct vtd_caps *hw = &a->unit->hw;
    unsigned n = hw->page_selective ? vtd_inval_cover(a->base, a->bytes, b) : 0;
    if (!n || b[0].mask > hw->mask_max) {
        out[0] = vtd_desc_iotlb_domain(a->did);
        return 1;
    }
    for (unsigned i = 0; i < n; i++)
        out[i] = vtd_desc_iotlb_pages(a->did, b[i].base, b[i].mask);
    return n;
}

static unsigned piotlb_pages(const struct vtd_inval_args *a, struct vtd_desc *out)
{
    struct vtd_block b[2];
    unsigned n = vtd_inval_cover(a->base, a->bytes, b);
    for (unsigned i = 0; i < n; i++)
        out[i] = vtd_desc_piotlb_pages(a->did, a->pasid, b[i].base, b[i].mask, a->leaf);
    if (!n)
        out[n++] = vtd_desc_piotlb_pasid(a->did, a->pasid);
    return n;
}

/* Always inline: with a constant change the table folds away. */
__attribute__((always_inline)) static inline unsigned
build(enum vtd_change change, const struct vtd_inval_args *a, struct vtd_desc *out)
{
    const struct vtd_device *v = a->device;
    bool tlb = v && v->ats && !v->failed;
    unsigned n = 0;
    bool fence = false;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < STEPS; i++) {
        enum step step = table[change][i];
        if (step == END)
            break;
        if (step >= DTLB_ALL && step <= DTLB_EVERY_ALL) {
            if (!tlb)
                continue;
            if (fence && !a->pasid)
                out[n++] = vtd_desc_fence;
            fence = false;
        }
        switch (step) {
        case CONTEXT_GLOBAL: out[n++] = vtd_desc_context_global(); break;
        case CONTEXT_DEVICE: out[n++] = vtd_desc_context_device(v->rid); break;
        case PASID_GLOBAL: out[n++] = vtd_desc_pasid_global(); break;
        case PASID_DOMAIN: out[n++] = vtd_desc_pasid_domain(a->did); break;
        case PASID_ONE: out[n++] = vtd_desc_pasid(a->did, a->pasid); break;
        case PASID_ONE_ABSENT: out[n++] = vtd_desc_pasid(0, a->pasid); break;
        case IOTLB_GLOBAL: out[n++] = vtd_desc_iotlb_global(); break;
        case IOTLB_DOMAIN: out[n++] = vtd_desc_iotlb_domain(a->did); break;
        case IOTLB_ABSENT: out[n++] = vtd_desc_iotlb_domain(0); break;
        case IOTLB_PAGES: n += iotlb_pages(a, out + n); break;
        case PIOTLB_ONE:
            out[n++] = vtd_desc_piotlb_pasid(a->did, a->pasid);
            fence = true;
            break;
        case PIOTLB_PAGES:
            n += piotlb_pages(a, out + n);
            fence = true;
            break;
        case DTLB_ALL:
            out[n++] = a->pasid ? vtd_desc_pdtlb_all(v->rid, v->pasid_key, a->pasid)
                                : vtd_desc_dtlb_all(v->rid, v->key);
            break;
        case DTLB_PAGES: n += dtlb_pages(a, out + n); break;
        case DTLB_EVERY_PAGES: n += dtlb_every_pages(a, out + n); break;
        case DTLB_EVERY_ALL:
            out[n++] = vtd_desc_pdtlb_every(v->rid, v->pasid_key, VTD_DTLB_ALL | 1 << 11);
            break;
        case INTERRUPTS: out[n++] = vtd_desc_iec_global(); break;
        case END: break;
        }
    }
    return n;
}

unsigned vtd_inval_list(enum vtd_change change, const struct vtd_inval_args *args,
                        struct vtd_desc desc[VTD_INVAL_MAX])
{
    return build(change, args, desc);
}

enum hv_status vtd_inval_put(enum vtd_change change, const struct vtd_inval_args *args,
                             uint64_t *first)
{
    struct vtd_desc desc[VTD_INVAL_MAX];
    unsigned n = change == VTD_FIRST_STAGE_CHANGED ? build(VTD_FIRST_STAGE_CHANGED, args, desc)
                                                   : vtd_inval_list(change, args, desc);
    return n ? vtd_queue_put(args->unit, desc, n, first) : HV_OK;
}

enum hv_status vtd_inval_run(enum vtd_change change, const struct vtd_inval_args *args, bool drain)
{
    struct vtd_desc desc[VTD_INVAL_MAX];
    unsigned n = vtd_inval_list(change, args, desc);
    return vtd_queue_execute(args->unit, desc, n, drain);
}
