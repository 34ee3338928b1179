/* SPDX-License-Identifier: BSD-2-Clause */
/* Batched work: invalidations and answers go into the queues at once, one wait for all at the end. */
#include "drivers/iommu/vtd/batch.h"

#include "drivers/iommu/vtd/inval_build.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/queue_put.h"

/* What a CPU has put into queues since its last flush. */
static struct batch {
    uint16_t units;                      /* bit per unit */
    enum hv_status status;               /* the first thing that went wrong */
    uint64_t first[IOMMU_UNITS_MAX];     /* see vtd_queue_put; valid by the bit */
} batches[CPUS_MAX];

/* This CPU's batch, and where it keeps its first wait on @unit. */
static struct batch *batch_open(struct iommu_unit *unit, uint64_t **first)
{
    struct batch *b = &batches[cpu_index()];
    unsigned index = unit->caps.index;
    *first = &b->first[index];
    if (!(b->units >> index & 1)) {
        b->units |= (uint16_t)(1u << index);
        **first = UINT64_MAX;
    }
    return b;
}

static void batch_note(struct batch *b, enum hv_status status)
{
    if (status && !b->status)
        b->status = status;
}

/* All first stages of a device: their ids in the IOTLB, and its whole device TLB. */
static void invalidate_all(struct vtd_device *v)
{
    struct vtd_inval_args args = { .unit = v->unit, .device = v };
    uint64_t *first;
    struct batch *b = batch_open(v->unit, &first);
    bool pasids = false;
    for (uint32_t i = 0; i < v->nuses; i++) {
        if (!v->use[i].nested)
            continue;
        args.did = v->use[i].id;
        batch_note(b, vtd_inval_put(VTD_DOMAIN_CHANGED, &args, first));
        pasids = true;
    }
    if (v->rid_nested) {
        args.did = v->rid_did;
        batch_note(b, vtd_inval_put(VTD_DOMAIN_CHANGED, &args, first));
        batch_note(b, vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, first));
    }
    if (pasids && v->pci.global_invalidate)
        batch_note(b, vtd_inval_put(VTD_DEVICE_TLB_EVERY_ALL, &args, first));
    for (args.pasid = 1; pasids && !v->pci.global_invalidate && vtd_pasid_next(v, 0, &args.pasid);
         args.pasid++)
        batch_note(b, vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, first));
}

void vtd_batch_invalidate(const struct iommu_inval *inval)
{
    struct vtd_device *v = inval->dev->driver;
    if (!v)
        return;
    if (inval->kind == IOMMU_INVAL_ALL) {
        invalidate_all(v);
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
    uint64_t *first;
    struct batch *b = batch_open(v->unit, &first);
    enum hv_status status;
    if (inval->kind == IOMMU_INVAL_PASID) {
        status = vtd_inval_put(VTD_FIRST_STAGE_REPLACED, &args, first);
    } else if (inval->bytes == PAGE_SIZE && inval->pasid != PASID_RID) {
        /* What guests do most: two descriptors, straight into the ring. */
        struct vtd_desc desc[2];
        struct vtd_block block = { args.base, 0 };
        unsigned n = vtd_inval_build(VTD_FIRST_STAGE_CHANGED, &args, &block, 1, desc);
        status = vtd_queue_put_inline(v->unit, desc, n, first);
    } else {
        status = vtd_inval_put(VTD_FIRST_STAGE_CHANGED, &args, first);
    }
    batch_note(b, status);
}

void vtd_batch_respond(struct iommu_device *dev, const struct iommu_page_request *last, bool success)
{
    struct vtd_device *v = dev->driver;
    if (!v)
        return;
    uint64_t *first;
    struct batch *b = batch_open(v->unit, &first);
    struct vtd_desc d = vtd_desc_response(last->rid, last->pasid_present, last->pasid, last->group,
                                          success ? 0 : 1);
    batch_note(b, vtd_queue_put_inline(v->unit, &d, 1, first));
}

enum hv_status vtd_batch_flush(void)
{
    struct batch *b = &batches[cpu_index()];
    struct vtd_ticket ticket[IOMMU_UNITS_MAX];
    uint16_t waiting = 0;
    /* All units work at the same time. */
    for (unsigned todo = b->units; todo; todo &= todo - 1) {
        unsigned i = (unsigned)__builtin_ctz(todo);
        if (b->first[i] == UINT64_MAX)
            continue;
        enum hv_status status = vtd_queue_submit(vtd_unit(i), b->first[i], false, &ticket[i]);
        batch_note(b, status);
        if (!status)
            waiting |= (uint16_t)(1u << i);
    }
    for (unsigned todo = waiting; todo; todo &= todo - 1) {
        unsigned i = (unsigned)__builtin_ctz(todo);
        batch_note(b, vtd_queue_wait(vtd_unit(i), ticket[i]));
    }
    enum hv_status result = b->status;
    b->units = 0;
    b->status = HV_OK;
    return result;
}
