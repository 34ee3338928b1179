/* SPDX-License-Identifier: BSD-2-Clause */
/* Root table and context entries. */
#include "drivers/iommu/vtd/context.h"

#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/unit.h"

enum : uint64_t {
    PRESENT = 1 << 0,
    FPD = 1 << 1,    /* faults are not recorded; also while not present */
    DTE = 1 << 2,    /* translation requests and translated requests */
    PASIDE = 1 << 3, /* requests with PASID */
    PRE = 1 << 4,    /* page requests; needs DTE */
    PDTS_SHIFT = 9,
};

/* Two root halves a bus: devfn 00-7f and 80-ff, each 128 entries of 32 bytes. Legacy: one table of
 * 256 entries of 16 bytes, in the lower half. */
static uint64_t *root_of(const struct iommu_unit *unit, rid_t rid)
{
    return unit->root + (unit->hw.scalable ? rid >> 7 : rid >> 8 << 1);
}

static uint64_t *entry_of(const struct iommu_unit *unit, rid_t rid)
{
    uint64_t *table = phys_to_virt(PADDR(*root_of(unit, rid) & ~PAGE_MASK));
    return unit->hw.scalable ? table + 4 * (rid & 0x7f) : table + 2 * (rid & 0xff);
}

enum hv_status vtd_context_entry(struct iommu_unit *unit, rid_t rid, uint64_t **entry)
{
    uint64_t *root = root_of(unit, rid);
    enum hv_status status = HV_OK;
    lock_take(&unit->queue.lock);
    if (!(*root & PRESENT)) {
        void *table;
        status = pages_alloc(NULL, 0, &table);
        if (!status) {
            vtd_unit_flush(unit, table, PAGE_SIZE);
            store64(root, virt_to_phys(table).v | PRESENT);
            vtd_unit_flush(unit, root, sizeof *root);
        }
    }
    lock_drop(&unit->queue.lock);
    if (!status)
        *entry = entry_of(unit, rid);
    return status;
}

uint64_t *vtd_context_nth(const struct vtd_device *v, unsigned n)
{
    return n ? entry_of(v->unit, v->alias[n - 1]) : v->context;
}

static void entry_set(const struct vtd_device *v, uint64_t *e)
{
    store64(&e[1], 0); /* RID_PASID = PASID_RID = 0 */
    store64(&e[2], 0);
    store64(&e[3], 0);
    vtd_unit_flush(v->unit, e, 32);
    store64(&e[0], virt_to_phys(v->dir).v | (uint64_t)v->dir_pdts << PDTS_SHIFT |
                       (v->ats ? DTE : 0) | (v->dev->pasid_bits ? PASIDE : 0) | PRESENT);
    vtd_unit_flush(v->unit, e, 32);
}

enum hv_status vtd_context_set(struct vtd_device *v)
{
    lock_take(&v->unit->queue.lock);
    const bool failed = v->failed; /* cut off meanwhile: it stays so */
    for (unsigned n = 0; n <= v->naliases && !failed; n++)
        entry_set(v, vtd_context_nth(v, n));
    lock_drop(&v->unit->queue.lock);
    if (failed)
        return HV_EIO;
    if (!v->unit->hw.caching_mode)
        return HV_OK;
    struct vtd_inval_args args = { .unit = v->unit, .device = v };
    return vtd_inval_run(VTD_CONTEXT_SET, &args, false);
}

enum hv_status vtd_context_follow(struct vtd_device *v)
{
    return v->unit->hw.scalable && v->context[0] & PRESENT ? vtd_context_set(v) : HV_OK;
}

void vtd_context_clear_one(struct vtd_device *v, unsigned n)
{
    uint64_t *e = vtd_context_nth(v, n);
    store64(&e[0], e[0] & ~PRESENT);
    vtd_unit_flush(v->unit, e, 8);
}

void vtd_context_clear(struct vtd_device *v)
{
    for (unsigned n = 0; n <= v->naliases; n++)
        vtd_context_clear_one(v, n);
}

uint32_t vtd_context_did(const struct vtd_device *v)
{
    return v->unit->hw.scalable ? 0 : (uint16_t)(v->context[1] >> 8);
}

enum hv_status vtd_context_hide_faults(struct iommu_unit *unit, rid_t rid)
{
    uint64_t *e;
    enum hv_status status = vtd_context_entry(unit, rid, &e);
    if (status)
        return status;
    lock_take(&unit->queue.lock);
    store64(&e[0], e[0] | FPD);
    vtd_unit_flush(unit, e, 8);
    lock_drop(&unit->queue.lock);
    struct vtd_inval_args args = { .unit = unit };
    return vtd_inval_run(VTD_FAULTS_HIDDEN, &args, false);
}

enum hv_status vtd_context_page_requests(struct vtd_device *v, bool on)
{
    lock_take(&v->unit->queue.lock);
    uint64_t old = v->context[0];
    if (old & PRESENT)
        store64(&v->context[0], on ? old | PRE : old & ~PRE);
    vtd_unit_flush(v->unit, v->context, 8);
    lock_drop(&v->unit->queue.lock);
    if (!(old & PRESENT))
        return HV_EIO;
    return vtd_context_invalidate(v, !on);
}

enum hv_status vtd_context_invalidate(struct vtd_device *v, bool drain)
{
    struct vtd_inval_args args = { .unit = v->unit, .device = v, .did = vtd_context_did(v) };
    uint64_t first = 0;
    enum hv_status status = vtd_inval_put(VTD_CONTEXT_CHANGED, &args, &first);
    for (uint32_t i = 0; i < v->nuses && !status; i++) {
        args.did = v->use[i].id;
        status = vtd_inval_put(VTD_CONTEXT_DOMAIN, &args, &first);
    }
    const uint32_t rid_ids[] = { v->rid_stage2, v->rid_did };
    for (unsigned i = 0; i < ARRAY_SIZE(rid_ids) && !status; i++) {
        args.did = rid_ids[i];
        if (args.did)
            status = vtd_inval_put(VTD_CONTEXT_DOMAIN, &args, &first);
    }
    if (!status)
        status = vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, &first); /* PASID 0: the RID */
    if (!status && v->nuses && v->pci.global_invalidate)
        status = vtd_inval_put(VTD_DEVICE_TLB_EVERY_ALL, &args, &first);
    for (args.pasid = 1; !status && !v->pci.global_invalidate && vtd_pasid_next(v, 0, &args.pasid);
         args.pasid++)
        status = vtd_inval_put(VTD_DEVICE_TLB_ALL, &args, &first);
    struct vtd_ticket ticket;
    if (!status)
        status = vtd_queue_submit(v->unit, first, drain, &ticket);
    return status ? status : vtd_queue_wait(v->unit, ticket);
}
