/* SPDX-License-Identifier: BSD-2-Clause */
/* Batched work: invalidations and answers go into the queues at once, one wait for all at the end.
 */
#include "drivers/iommu/vtd/batch.h"

#include "drivers/iommu/vtd/inval_build.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/queue_put.h"
#include "hv/pages.h"
#include "hv/platform.h"

/* What a CPU has put into queues since its last flush. One for each CPU. */
static struct batch {
    uint64_t first[IOMMU_UNITS_MAX]; /* see vtd_queue_put; 0: nothing */
    enum hv_status status;           /* the first thing that went wrong */
} *batches;

enum hv_status vtd_batch_start(void)
{
    void *memory;
    enum hv_status status = pages_alloc(NULL, pages_order(cpu_count() * sizeof *batches), &memory);
    if (!status)
        batches = memory;
    return status;
}

static void note(struct batch *b, enum hv_status status)
{
    if (status && !b->status)
        b->status = status;
}

/* All first stages of a device: their ids in the IOTLB, and its whole device TLB. */
static void invalidate_all(struct vtd_device *v, struct batch *b, uint64_t *first)
{
    struct vtd_inval_args args = { .unit = v->unit, .device = v };
    bool pasids = false;
    for (uint32_t i = 0; i < v->nuses; i++) {
        if (!v->use[i].nested)
            continue;
        args.did = v->use[i].id;
        note(b, vtd_inval_put(VTD_DOMAIN_CHANGED, &args, first));
        pasids = true;
    }
    if (v->rid_nested) {
        args.did = v->rid_did;
        note(b, vtd_inval_put(VTD_DOMAIN_CHANGED, &args, first));
        note(b, vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, first));
    }
    if (pasids && v->pci.global_invalidate)
        note(b, vtd_inval_put(VTD_DEVICE_TLB_EVERY_ALL, &args, first));
    for (args.pasid = 1; pasids && !v->pci.global_invalidate && vtd_pasid_next(v, 0, &args.pasid);
         args.pasid++)
        note(b, vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, first));
}

/* A list of pages: one look at the device and its PASID, one lock for every few of them. The
 * descriptors of a page differ from those of page 0 in the address alone, which is bits 63:12 of
 * their second word. */
static void invalidate_pages(const struct iommu_inval *inval)
{
    enum { LIST = 32, EACH = 4 }; /* descriptors: of vtd_queue_put, at most for one page */
    struct vtd_device *v = inval->dev->driver;
    const uint64_t *e = v ? vtd_pasid_entry(v, inval->pasid) : NULL;
    if (!e || !(e[0] & PASID_PRESENT))
        return; /* blocked: nothing is cached */
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = inval->pasid,
        .leaf = inval->leaf,
    };
    struct batch *b = &batches[cpu_index()];
    struct vtd_desc desc[LIST], of_page_0[EACH];
    struct vtd_block block = { 0, 0 };
    unsigned each = vtd_inval_build(VTD_FIRST_STAGE_CHANGED, &args, &block, 1, of_page_0);
    uint64_t address[EACH];
    for (unsigned i = 0; i < each; i++)
        address[i] = (of_page_0[i].q0 & VTD_TYPE_MASK) == VTD_TYPE_WAIT ? 0 : ~PAGE_MASK;
    const iova_t *page = inval->page, *end = page + inval->pages;
    while (page < end) {
        unsigned n = 0;
        for (; page < end && n + EACH <= LIST; page++) {
            for (unsigned i = 0; i < each; i++, n++) {
                desc[n].q0 = of_page_0[i].q0;
                desc[n].q1 = of_page_0[i].q1 | (page->v & address[i]);
            }
        }
        note(b, vtd_queue_put(v->unit, desc, n, &b->first[v->unit->caps.index]));
    }
}

/* Everything but the one common case. */
__attribute__((noinline)) static void invalidate_other(const struct iommu_inval *inval)
{
    struct vtd_device *v = inval->dev->driver;
    struct batch *b = &batches[cpu_index()];
    if (!v)
        return;
    uint64_t *first = &b->first[v->unit->caps.index];
    if (inval->kind == IOMMU_INVAL_ALL) {
        invalidate_all(v, b, first);
        return;
    }
    if (inval->kind == IOMMU_INVAL_PAGES) {
        invalidate_pages(inval);
        return;
    }
    const uint64_t *e = vtd_pasid_entry(v, inval->pasid);
    if (!e || !(e[0] & PASID_PRESENT))
        return; /* blocked: nothing is cached */
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = inval->pasid,
        .base = inval->address.v & ~PAGE_MASK,
        .bytes = inval->bytes,
        .leaf = inval->leaf,
    };
    note(b, vtd_inval_put(inval->kind == IOMMU_INVAL_RANGE ? VTD_FIRST_STAGE_CHANGED
                                                           : VTD_FIRST_STAGE_REPLACED,
                          &args, first));
}

/* What guests do most is one page of a PASID: two descriptors, straight into the ring. */
void vtd_batch_invalidate(const struct iommu_inval *inval)
{
    struct vtd_device *v = inval->dev->driver;
    if (!v || inval->kind != IOMMU_INVAL_RANGE || inval->bytes != PAGE_SIZE ||
        inval->pasid == PASID_RID) {
        invalidate_other(inval);
        return;
    }
    const uint64_t *e = vtd_pasid_entry(v, inval->pasid);
    if (!e || !(e[0] & PASID_PRESENT))
        return; /* blocked: nothing is cached */
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = inval->pasid,
        .base = inval->address.v & ~PAGE_MASK,
        .leaf = inval->leaf,
    };
    struct vtd_block block = { args.base, 0 };
    struct vtd_desc desc[4];
    unsigned n = vtd_inval_build(VTD_FIRST_STAGE_CHANGED, &args, &block, 1, desc);
    struct batch *b = &batches[cpu_index()];
    uint64_t *first = &b->first[v->unit->caps.index];
    enum hv_status status = n == 2 ? vtd_queue_put_inline(v->unit, desc, 2, first)
                                   : vtd_queue_put_inline(v->unit, desc, 1, first);
    if (__builtin_expect(status != HV_OK, 0))
        note(b, status);
}

void vtd_batch_respond(struct iommu_device *dev, const struct iommu_page_request *last,
                       bool success)
{
    struct vtd_device *v = dev->driver;
    if (!v)
        return;
    struct vtd_desc d = vtd_desc_response(last->rid, last->pasid_present, last->pasid, last->group,
                                          success ? 0 : 1);
    struct batch *b = &batches[cpu_index()];
    enum hv_status status = vtd_queue_put_inline(v->unit, &d, 1, &b->first[v->unit->caps.index]);
    if (__builtin_expect(status != HV_OK, 0))
        note(b, status);
}

enum hv_status vtd_batch_flush(void)
{
    struct batch *b = &batches[cpu_index()];
    struct vtd_ticket ticket[IOMMU_UNITS_MAX];
    unsigned waiting = 0;
    /* All units work at the same time. */
    for (unsigned i = 0; vtd_unit(i); i++) {
        if (!b->first[i])
            continue;
        enum hv_status status = vtd_queue_submit(vtd_unit(i), b->first[i], false, &ticket[i]);
        b->first[i] = 0;
        note(b, status);
        if (!status)
            waiting |= 1u << i;
    }
    for (; waiting; waiting &= waiting - 1) {
        unsigned i = (unsigned)__builtin_ctz(waiting);
        note(b, vtd_queue_wait(vtd_unit(i), ticket[i]));
    }
    enum hv_status result = b->status;
    b->status = HV_OK;
    return result;
}
