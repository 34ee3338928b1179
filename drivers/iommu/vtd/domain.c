/* SPDX-License-Identifier: BSD-2-Clause */
/* Domain ids, and second stages as a unit knows them. */
#include "drivers/iommu/vtd/domain.h"

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

enum { DID_ORDER = 1 }; /* 2^16 bits */

enum hv_status vtd_dids_start(struct iommu_unit *unit)
{
    struct vtd_dids *d = &unit->dids;
    void *bits;
    enum hv_status status = pages_alloc(NULL, DID_ORDER, &bits);
    if (status)
        return status;
    *d = (struct vtd_dids){ .used = bits, .count = 1u << unit->hw.did_bits };
    d->used[0] = 1; /* id 0 */
    return HV_OK;
}

enum hv_status vtd_did_alloc(struct iommu_unit *unit, uint32_t *did)
{
    struct vtd_dids *d = &unit->dids;
    uint32_t words = (d->count + 63) / 64, limit = d->count;
    enum hv_status status = HV_ENOMEM;
    lock_take(&unit->queue.lock);
    for (uint32_t i = 0; i < words; i++) {
        uint32_t w = (d->hint + i) % words;
        if (d->used[w] == UINT64_MAX)
            continue;
        uint32_t id = w * 64 + (uint32_t)__builtin_ctzll(~d->used[w]);
        if (id >= limit)
            continue;
        d->used[w] |= 1ull << id % 64;
        d->hint = w;
        *did = id;
        status = HV_OK;
        break;
    }
    lock_drop(&unit->queue.lock);
    return status;
}

enum hv_status vtd_did_free(struct iommu_unit *unit, uint32_t did)
{
    struct vtd_inval_args args = { .unit = unit, .did = did };
    enum hv_status status = vtd_device_flush_cuts(unit);
    if (!status)
        status = vtd_inval_run(VTD_DOMAIN_FREED, &args, false);
    if (status) {
        log_error("vtd", "%s: domain id %u cannot be flushed: never used again", unit->name, did);
        return status;
    }
    lock_take(&unit->queue.lock);
    unit->dids.used[did / 64] &= ~(1ull << did % 64);
    lock_drop(&unit->queue.lock);
    return HV_OK;
}

/* Could this unit walk that table? */
static bool table_fits(const struct iommu_unit *unit, const struct pt *t)
{
    bool first = unit->hw.mode == VTD_FIRST; /* 4 levels, or 5 with FS5LP; else SAGAW tells */
    return t->format == unit->caps.second_stage_format && t->root && t->levels >= (first ? 4 : 3) &&
           t->levels <= 5 &&
           (first ? t->levels == 4 || unit->hw.cap >> 60 & 1
                  : unit->hw.cap >> (8 + t->levels - 2) & 1) &&
           !(t->large & ~unit->caps.second_stage_large) && (t->flush || unit->caps.coherent_tables);
}

enum hv_status vtd_stage2_create(struct iommu_unit *unit, const struct pt *table,
                                 struct iommu_stage2 *out)
{
    if (!table_fits(unit, table))
        return HV_ENOTSUP;
    uint32_t did;
    enum hv_status status = vtd_did_alloc(unit, &did);
    if (!status)
        *out = (struct iommu_stage2){ .unit = unit, .table = table, .id = did };
    return status;
}

enum hv_status vtd_stage2_destroy(struct iommu_stage2 *s)
{
    enum hv_status status = s->unit ? vtd_did_free(s->unit, s->id) : HV_OK;
    *s = (struct iommu_stage2){ 0 };
    return status;
}

/* One message for each PASID of a device that uses the second stage; a device may have a million.
 */
static enum hv_status each_pasid(struct vtd_device *v, uint32_t id, enum vtd_change change,
                                 struct vtd_inval_args args, uint64_t *first)
{
    enum hv_status status = HV_OK;
    args.device = v;
    for (args.pasid = 1; !status && vtd_pasid_next(v, id, &args.pasid); args.pasid++)
        status = vtd_inval_put(change, &args, first);
    return status;
}

/* One device under a changed second stage: its own id for a nested RID, then its TLB. What a nested
 * PASID has cached is found under addresses of the guest's first stage, which we do not know: all.
 * @each: what is left to be put for each of its PASIDs. Lock: devices_lock. */
static enum hv_status device_changed(struct vtd_device *v, uint32_t id, struct vtd_inval_args args,
                                     uint64_t *first, enum vtd_change *each)
{
    const struct vtd_use *use = vtd_device_use(v, id);
    bool rid = v->rid_stage2 == id;
    enum hv_status status = HV_OK;
    args.device = v;
    if (rid && v->rid_nested) {
        args.did = v->rid_did;
        status = vtd_inval_put(VTD_SECOND_STAGE_CHANGED, &args, first);
    }
    if (status || !v->ats || v->failed)
        return status;
    if (rid)
        status =
            vtd_inval_put(v->rid_nested ? VTD_DEVICE_TLB_ALL : VTD_DEVICE_TLB_PAGES, &args, first);
    if (status || !use)
        return status;
    if (v->pci.global_invalidate)
        return vtd_inval_put(use->nested ? VTD_DEVICE_TLB_EVERY_ALL : VTD_DEVICE_TLB_EVERY_PAGES,
                             &args, first);
    /* A device that cannot be told "all PASIDs" gets one message for each; mostly there is one. */
    *each = use->nested ? VTD_DEVICE_TLB_ALL : VTD_DEVICE_TLB_PAGES;
    if (use->nested + use->second_stage > 1)
        return HV_OK;
    args.pasid = use->pasids;
    status = vtd_inval_put(*each, &args, first);
    *each = VTD_NOTHING;
    return status;
}

enum hv_status vtd_stage2_changed(struct iommu_stage2 *s, gpaddr_t base, uint64_t bytes)
{
    struct iommu_unit *unit = s->unit;
    struct vtd_inval_args args = {
        .unit = unit,
        .did = s->id,
        .base = base.v,
        .bytes = bytes,
    };
    uint64_t first = 0;
    enum hv_status status = vtd_inval_put(VTD_SECOND_STAGE_CHANGED, &args, &first);
    lock_take(&unit->devices_lock);
    for (struct vtd_device *v = unit->devices; v && !status; v = v->next) {
        enum vtd_change each = VTD_NOTHING;
        status = device_changed(v, s->id, args, &first, &each);
        if (status || each == VTD_NOTHING)
            continue;
        lock_drop(&unit->devices_lock); /* others do not wait for that; it stays in the list */
        status = each_pasid(v, s->id, each, args, &first);
        lock_take(&unit->devices_lock);
    }
    lock_drop(&unit->devices_lock);
    struct vtd_ticket ticket;
    if (!status)
        status = vtd_queue_submit(unit, first, false, &ticket);
    return status ? status : vtd_queue_wait(unit, ticket);
}
