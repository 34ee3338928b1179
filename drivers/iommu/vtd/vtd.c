/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel VT-d behind the IOMMU contract: the units of a machine, and batched work per CPU. */
#include "drivers/iommu/iommu.h"

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/dmar.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

static struct dmar dmar;
static struct iommu_unit units[IOMMU_UNITS_MAX];

/* What a CPU has put into queues since its last flush. */
static struct batch {
    uint16_t units;                      /* bit per unit */
    enum hv_status status;               /* the first thing that went wrong */
    uint64_t first[IOMMU_UNITS_MAX];     /* see vtd_queue_put; valid by the bit */
} batches[CPUS_MAX];

static enum hv_status vtd_probe(const void *table, size_t length, const struct iommu_events *events)
{
    enum hv_status result = vtd_dmar_parse(table, length, &dmar);
    for (unsigned i = 0; !result && i < dmar.nunits; i++)
        units[i] = (struct iommu_unit){ 0 };
    for (unsigned i = 0; i < dmar.nunits && (!result || result == HV_ENOTSUP); i++) {
        enum hv_status status = vtd_unit_probe(&units[i], i, dmar.unit[i].base, dmar.unit[i].size,
                                               events);
        if (status) /* look at the others too: all that is missing is logged */
            result = status;
    }
    if (result)
        dmar.nunits = 0;
    return result;
}

static enum hv_status vtd_start(void)
{
    enum hv_status status = dmar.nunits ? HV_OK : HV_ENODEV;
    for (unsigned i = 0; i < dmar.nunits && !status; i++)
        status = vtd_unit_start(&units[i]);
    return status;
}

static unsigned vtd_unit_count(void)
{
    return dmar.nunits;
}

static struct iommu_unit *vtd_unit(unsigned index)
{
    return index < dmar.nunits ? &units[index] : NULL;
}

static const struct iommu_caps *vtd_caps(const struct iommu_unit *unit)
{
    return &unit->caps;
}

static struct iommu_unit *vtd_unit_of(rid_t rid)
{
    int index = vtd_dmar_unit_of(&dmar, rid);
    return index < 0 ? NULL : vtd_unit((unsigned)index);
}

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
static void vtd_invalidate_all(struct vtd_device *v)
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

static void vtd_invalidate(const struct iommu_inval *inval)
{
    struct vtd_device *v = inval->dev->driver;
    const uint64_t *e = NULL;
    uint64_t *first;
    if (!v)
        return;
    if (inval->kind == IOMMU_INVAL_ALL) {
        vtd_invalidate_all(v);
        return;
    }
    e = vtd_pasid_entry(v, inval->pasid);
    if (!e || !(e[0] & PASID_PRESENT))
        return; /* blocked: nothing is cached */
    struct batch *b = batch_open(v->unit, &first);
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = inval->pasid,
        .base = inval->address.v & ~PAGE_MASK,
        .bytes = inval->bytes,
        .leaf = inval->leaf,
    };
    bool range = inval->kind == IOMMU_INVAL_RANGE && inval->bytes >= PAGE_SIZE;
    batch_note(b, vtd_inval_put(range ? VTD_FIRST_STAGE_CHANGED : VTD_FIRST_STAGE_REPLACED, &args,
                                first));
}

static void vtd_respond(struct iommu_device *dev, const struct iommu_page_request *last,
                        bool success)
{
    struct vtd_device *v = dev->driver;
    uint64_t *first;
    if (!v)
        return;
    struct batch *b = batch_open(v->unit, &first);
    struct vtd_desc d = vtd_desc_response(last->rid, last->pasid_present, last->pasid, last->group,
                                          success ? 0 : 1);
    batch_note(b, vtd_queue_put(v->unit, &d, 1, first));
}

static enum hv_status vtd_flush(void)
{
    struct batch *b = &batches[cpu_index()];
    struct vtd_ticket ticket[IOMMU_UNITS_MAX];
    uint16_t waiting = 0;
    /* All units work at the same time. */
    for (unsigned todo = b->units; todo; todo &= todo - 1) {
        unsigned i = (unsigned)__builtin_ctz(todo);
        if (b->first[i] == UINT64_MAX)
            continue;
        enum hv_status status = vtd_queue_submit(&units[i], b->first[i], false, &ticket[i]);
        batch_note(b, status);
        if (!status)
            waiting |= (uint16_t)(1u << i);
    }
    for (unsigned todo = waiting; todo; todo &= todo - 1) {
        unsigned i = (unsigned)__builtin_ctz(todo);
        batch_note(b, vtd_queue_wait(&units[i], ticket[i]));
    }
    enum hv_status result = b->status;
    b->units = 0;
    b->status = HV_OK;
    return result;
}

static uint32_t vtd_page_requests_free(const struct iommu_unit *unit)
{
    return unit->prq.ring ? PRQ_ENTRIES - 1 - unit->prq.promised : 0;
}

static void vtd_poll(void)
{
    for (unsigned i = 0; i < dmar.nunits; i++)
        vtd_unit_poll(&units[i]);
}

const struct iommu_ops iommu_vtd = {
    .name = "vtd",
    .probe = vtd_probe,
    .start = vtd_start,
    .unit_count = vtd_unit_count,
    .unit = vtd_unit,
    .caps = vtd_caps,
    .unit_of = vtd_unit_of,
    .device_add = vtd_device_add,
    .device_remove = vtd_device_remove,
    .stage2_create = vtd_stage2_create,
    .stage2_destroy = vtd_stage2_destroy,
    .stage2_changed = vtd_stage2_changed,
    .attach = vtd_attach,
    .block = vtd_block,
    .page_requests_on = vtd_page_requests_on,
    .page_requests_off = vtd_page_requests_off,
    .page_requests_free = vtd_page_requests_free,
    .invalidate = vtd_invalidate,
    .respond = vtd_respond,
    .flush = vtd_flush,
    .poll = vtd_poll,
};
