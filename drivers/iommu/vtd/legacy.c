/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Legacy context entries: 16 bytes, read and stored as one. ATS is on in the function only while
 * its entry is present: a translation request that meets an absent one turns ATS off in the
 * function.
 */
#include "drivers/iommu/vtd/legacy.h"

#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"

enum : uint64_t {
    PRESENT = 1 << 0,
    FPD = 1 << 1,
    TT_DEVICE_TLB = 1 << 2, /* TT = 01: translation requests are served */
    DID_SHIFT = 8,          /* second qword; AW in 2:0 */
};

/* Who must hear of changes of a second stage. Another CPU's change finds ATS off and no translation
 * asked for yet, or on. */
static void use(struct vtd_device *v, uint32_t id)
{
    lock_take(&v->unit->devices_lock);
    v->rid_stage2 = id;
    lock_drop(&v->unit->devices_lock);
}

static void ats(struct vtd_device *v, bool on)
{
    if (!v->dev->ats)
        return;
    lock_take(&v->unit->devices_lock);
    pcicaps_ats(&v->pci, on);
    v->ats = on;
    lock_drop(&v->unit->devices_lock);
}

static enum hv_status changed(struct vtd_device *v, enum vtd_change change, uint32_t did)
{
    struct vtd_inval_args args = { .unit = v->unit, .device = v, .did = did };
    return vtd_inval_run(change, &args, false);
}

enum hv_status vtd_legacy_attach(struct vtd_device *v, const struct iommu_stage2 *stage2)
{
    const struct pt *pt = stage2->table;
    uint64_t *e = v->context;
    uint64_t lo = virt_to_phys(pt->root).v | (v->dev->ats ? TT_DEVICE_TLB : 0) | PRESENT;
    uint64_t hi = (uint64_t)stage2->id << DID_SHIFT | (uint64_t)(pt->levels - 2);
    bool replace = e[0] & PRESENT;
    uint32_t old = vtd_context_did(v);
    enum hv_status status = HV_OK;
    if ((e[0] & ~FPD) == lo && e[1] == hi)
        return HV_OK;
    v->dev->how = IOMMU_HITLESS; /* all of an entry is one store */
    use(v, stage2->id);
    lock_take(&v->unit->queue.lock);
    const bool failed = v->failed; /* cut off meanwhile: it stays so */
    for (unsigned n = 0; n <= v->naliases && !failed; n++) {
        e = vtd_context_nth(v, n);
        store128(e, lo, hi);
        vtd_unit_flush(v->unit, e, 16);
    }
    lock_drop(&v->unit->queue.lock);
    if (failed)
        return v->why;
    if (replace)
        status = changed(v, VTD_LEGACY_CHANGED, old);
    else if (v->unit->hw.caching_mode)
        status = changed(v, VTD_CONTEXT_SET, 0);
    if (!status && !replace)
        ats(v, true);
    if (status)
        vtd_device_fail(v, status);
    return v->failed ? v->why : HV_OK;
}

enum hv_status vtd_legacy_block(struct vtd_device *v)
{
    if (!v->rid_stage2)
        return HV_OK;
    v->dev->how = IOMMU_HITLESS;
    lock_take(&v->unit->queue.lock);
    vtd_context_clear(v);
    lock_drop(&v->unit->queue.lock);
    enum hv_status status = changed(v, VTD_LEGACY_CHANGED, vtd_context_did(v));
    ats(v, false);
    use(v, 0);
    if (status)
        vtd_device_fail(v, status);
    return v->failed ? v->why : HV_OK;
}
