/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PASID tables, attach and block (9.5, 9.6, 6.2.3.1).
 *
 * Hardware fetches a 64-byte entry as four 16-byte pieces at different times. So a present entry is
 * changed in place only if one piece differs, with one 16-byte store, and, if that piece holds the
 * second-stage pointer, only together with another domain id. Any other change goes through not
 * present: clear, invalidate, wait, set.
 */
#include "drivers/iommu/vtd/pasid.h"

#include <string.h>

#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/legacy.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

enum : uint64_t {
    AW_SHIFT = 2, /* q0: levels - 2 */
    PGTT_FIRST = 1 << 6,
    PGTT_SECOND = 2 << 6,
    PGTT_NESTED = 3 << 6,
    PWSNP = 1 << 23, /* q1: page walks are snooped */
    PGSNP = 1 << 24, /* q1: so are the final pages */
    EMTE = 1 << 26,  /* memory types of second-stage leaves are looked at; needs PAT */
    PAT_RESET = 0x07460746ull << 32, /* 8 times 4 bits: WB, WT, UC-, UC, twice (SDM 3A 12.12.4) */
    FSPM_SHIFT = 2,                  /* q2: levels - 4 */
};

enum hv_status vtd_pasid_tables_make(struct vtd_device *v)
{
    struct iommu_device *dev = v->dev;
    unsigned bits = dev->pasid_bits > 13 ? dev->pasid_bits : 13; /* PDTS = 0 is 2^13 PASIDs */
    v->dir_pdts = (uint8_t)(bits - 13);
    v->dir_order = v->dir_pdts > 2 ? v->dir_pdts - 2 : 0; /* 2^(PDTS + 10) bytes */
    v->dir_entries = dev->pasid_bits > 6 ? 1u << (dev->pasid_bits - 6) : 1;
    void *dir, *table;
    enum hv_status status = pages_alloc(dev->quota, v->dir_order, &dir);
    if (status)
        return status;
    status = pages_alloc(dev->quota, 0, &table);
    if (status) {
        pages_free(dev->quota, v->dir_order, dir);
        return status;
    }
    v->dir = dir;
    v->dir[0] = virt_to_phys(table).v | PASID_PRESENT;
    vtd_unit_flush(v->unit, table, PAGE_SIZE);
    vtd_unit_flush(v->unit, dir, PAGE_SIZE << v->dir_order);
    return HV_OK;
}

void vtd_pasid_tables_trim(struct vtd_device *v)
{
    for (uint32_t i = 1; i < v->dir_entries; i++) {
        if (!(v->dir[i] & PASID_PRESENT))
            continue;
        pages_free(v->dev->quota, 0, phys_to_virt(PADDR(v->dir[i] & ~PAGE_MASK)));
        v->dir[i] = 0;
    }
    void *table = phys_to_virt(PADDR(v->dir[0] & ~PAGE_MASK));
    memset(table, 0, PAGE_SIZE);
    vtd_unit_flush(v->unit, table, PAGE_SIZE);
    vtd_unit_flush(v->unit, v->dir, PAGE_SIZE << v->dir_order);
}

void vtd_pasid_tables_free(struct vtd_device *v)
{
    vtd_pasid_tables_trim(v);
    pages_free(v->dev->quota, 0, phys_to_virt(PADDR(v->dir[0] & ~PAGE_MASK)));
    pages_free(v->dev->quota, v->dir_order, v->dir);
    v->dir = NULL;
}

static enum hv_status entry_make(struct vtd_device *v, uint32_t pasid, uint64_t **entry)
{
    *entry = vtd_pasid_entry(v, pasid);
    if (*entry)
        return HV_OK;
    void *table;
    enum hv_status status = pages_alloc(v->dev->quota, 0, &table);
    if (status)
        return status;
    vtd_unit_flush(v->unit, table, PAGE_SIZE);
    uint64_t *link = &v->dir[pasid >> 6];
    store64(link, virt_to_phys(table).v | PASID_PRESENT);
    vtd_unit_flush(v->unit, link, sizeof *link);
    *entry = vtd_pasid_entry(v, pasid);
    return HV_OK;
}

bool vtd_pasid_next(const struct vtd_device *v, uint32_t id, uint32_t *pasid)
{
    for (uint32_t p = *pasid; p >> 6 < v->dir_entries;) {
        const uint64_t *e = vtd_pasid_entry(v, p);
        if (!e) {
            p = (p | 63) + 1;
            continue;
        }
        if (e[0] & PASID_PRESENT && (!id || vtd_pasid_did(e) == id)) {
            *pasid = p;
            return true;
        }
        p++;
    }
    return false;
}

struct vtd_use *vtd_device_use(struct vtd_device *v, uint32_t id)
{
    for (uint32_t i = 0; i < v->nuses; i++)
        if (v->use[i].id == id)
            return &v->use[i];
    return NULL;
}

/* Count who must hear of changes of a second stage. @by: 1 or -1. */
static void use_count(struct vtd_device *v, uint32_t pasid, uint32_t id, bool nested, int by)
{
    lock_take(&v->unit->devices_lock); /* vtd_stage2_changed reads it from other CPUs */
    struct vtd_use *u = vtd_device_use(v, id);
    if (pasid == PASID_RID) {
        v->rid_stage2 = by > 0 ? id : 0;
        v->rid_nested = by > 0 && nested;
    } else {
        if (!u) {
            u = &v->use[v->nuses++];
            *u = (struct vtd_use){ .id = id };
        }
        *(nested ? &u->nested : &u->second_stage) += (uint32_t)by;
        u->pasids ^= pasid;
        if (!u->nested && !u->second_stage)
            *u = v->use[--v->nuses];
    }
    lock_drop(&v->unit->devices_lock);
}

static bool is_nested(const uint64_t *e)
{
    return (e[0] & 7 << 6) == PGTT_NESTED;
}

/* Can this device translate through that, here? */
static enum hv_status check(const struct vtd_device *v, uint32_t pasid,
                            const struct iommu_target *t)
{
    const struct iommu_caps *caps = &v->unit->caps;
    if (pasid != PASID_RID && pasid >> v->dev->pasid_bits)
        return HV_ERANGE;
    if (!t->stage2 || t->stage2->unit != v->unit)
        return HV_EINVAL;
    if (t->kind == IOMMU_SECOND_STAGE)
        return HV_OK;
    if (t->kind != IOMMU_NESTED)
        return HV_EINVAL;
    if (pasid == PASID_RID && v->rid_no_nesting)
        return HV_ENOTSUP;
    if (!caps->nested || t->levels < 4 || t->levels > 5 ||
        !(caps->first_stage_levels >> (t->levels - 4) & 1))
        return HV_ENOTSUP;
    if (t->root.v & PAGE_MASK)
        return HV_EALIGN;
    unsigned reach = 12u + 9u * t->stage2->table->levels;
    if (reach > caps->input_bits)
        reach = caps->input_bits;
    return t->root.v >> reach ? HV_ERANGE : HV_OK;
}

static void entry_build(const struct vtd_device *v, uint32_t pasid, const struct iommu_target *t,
                        uint32_t did, uint64_t e[PASID_ENTRY_QWORDS])
{
    const struct pt *pt = t->stage2->table;
    const struct vtd_caps *hw = &v->unit->hw;
    bool rid = pasid == PASID_RID;
    memset(e, 0, 8 * PASID_ENTRY_QWORDS);
    bool nested = t->kind == IOMMU_NESTED;
    e[0] = virt_to_phys(pt->root).v | (uint64_t)(pt->levels - 2) << AW_SHIFT |
           (nested ? PGTT_NESTED : PGTT_SECOND) | PASID_PRESENT;
    if (v->unit->hw.mode == VTD_FIRST) { /* guest physical in first-stage format */
        e[0] = PGTT_FIRST | PASID_PRESENT;
        e[2] = virt_to_phys(pt->root).v | (uint64_t)(pt->levels - 4) << FSPM_SHIFT;
    }
    e[1] = did | (hw->walk_snoop && !(rid && v->rid_no_walk_snoop) ? PWSNP : 0) |
           (hw->snoop_control && !(rid && v->rid_no_page_snoop) ? PGSNP : 0);
    /* The types in second-stage leaves count (what UNCACHED asks for). Nested, the guest's own
     * would, too; it is not told of any, and all is write-back. */
    if (hw->memory_types && !nested)
        e[1] |= EMTE | PAT_RESET;
    /* SRE = 0: no privileged requests. They would reach a guest kernel's pages. */
    if (nested)
        e[2] = t->root.v | (uint64_t)(t->levels - 4) << FSPM_SHIFT;
}

/* Not present to present: the qword with P last. */
static enum hv_status entry_set(struct vtd_device *v, uint32_t pasid, uint64_t *e,
                                const uint64_t *with)
{
    for (unsigned i = 1; i < PASID_ENTRY_QWORDS; i++)
        store64(&e[i], with[i]);
    vtd_unit_flush(v->unit, e, 64);
    store64(&e[0], with[0]);
    vtd_unit_flush(v->unit, e, 64);
    if (!v->unit->hw.caching_mode)
        return HV_OK;
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(with),
        .pasid = pasid,
    };
    return vtd_inval_run(VTD_PASID_SET, &args, false);
}

/* P off in one store, and nothing left in any cache. The kind goes with it: QEMU 11's unit looks at
 * that and never at P. The other words stay until the entry is set again. */
static enum hv_status entry_clear(struct vtd_device *v, uint32_t pasid, uint64_t *e, bool drain)
{
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = pasid,
    };
    store64(&e[0], 0);
    vtd_unit_flush(v->unit, e, 64);
    return vtd_inval_run(VTD_PASID_CLEARED, &args, drain);
}

/* The one 16-byte piece in which they differ, if it may be replaced in place; else -1. */
static int one_piece(const uint64_t *e, const uint64_t *with)
{
    int piece = -1;
    for (int i = 0; i < 4; i++) {
        if (e[2 * i] == with[2 * i] && e[2 * i + 1] == with[2 * i + 1])
            continue;
        if (piece >= 0)
            return -1;
        piece = i;
    }
    return piece == 0 && vtd_pasid_did(e) == vtd_pasid_did(with) ? -1 : piece;
}

static enum hv_status entry_replace(struct vtd_device *v, uint32_t pasid, uint64_t *e,
                                    const uint64_t *with)
{
    int piece = one_piece(e, with);
    v->dev->how = piece < 0 ? IOMMU_BLOCKED_WINDOW : IOMMU_HITLESS;
    if (piece < 0) {
        enum hv_status status = entry_clear(v, pasid, e, false);
        return status ? status : entry_set(v, pasid, e, with);
    }
    struct vtd_inval_args args = {
        .unit = v->unit,
        .device = v,
        .did = vtd_pasid_did(e),
        .pasid = pasid,
    };
    store128(&e[2 * piece], with[2 * piece], with[2 * piece + 1]);
    vtd_unit_flush(v->unit, e, 64);
    return vtd_inval_run(VTD_PASID_CHANGED, &args, false);
}

enum hv_status vtd_attach(struct iommu_device *dev, uint32_t pasid,
                          const struct iommu_target *target)
{
    struct vtd_device *v = dev->driver;
    dev->how = IOMMU_SAME;
    if (!v)
        return HV_ENODEV;
    if (target->kind == IOMMU_BLOCKED)
        return vtd_block(dev, pasid);
    if (v->failed)
        return HV_EIO;
    enum hv_status status = check(v, pasid, target);
    if (status)
        return status;
    uint32_t id = target->stage2->id, did = id;
    bool nested = target->kind == IOMMU_NESTED;
    if (!v->unit->hw.scalable)
        return vtd_legacy_attach(v, target->stage2);
    if (pasid == PASID_RID && nested) {
        if (!v->rid_did)
            status = vtd_did_alloc(v->unit, &v->rid_did);
        did = v->rid_did;
    } else if (v->nuses == VTD_USES_MAX && !vtd_device_use(v, id)) {
        status = HV_ENOMEM;
    }
    uint64_t *e, with[PASID_ENTRY_QWORDS];
    if (!status)
        status = entry_make(v, pasid, &e);
    if (status)
        return status;

    entry_build(v, pasid, target, did, with);
    bool replace = e[0] & PASID_PRESENT;
    if (replace && !memcmp(e, with, sizeof with))
        return HV_OK;
    uint32_t old_id = vtd_pasid_did(e);
    bool old_nested = is_nested(e);
    /* Known as a user first: no change of the second stage may miss it. */
    use_count(v, pasid, id, nested, 1);
    dev->how = IOMMU_HITLESS;
    status = replace ? entry_replace(v, pasid, e, with) : entry_set(v, pasid, e, with);
    if (replace && pasid != PASID_RID)
        use_count(v, pasid, old_id, old_nested, -1);
    if (status)
        vtd_device_fail(v, status);
    return v->failed ? v->why : HV_OK;
}

enum hv_status vtd_block(struct iommu_device *dev, uint32_t pasid)
{
    struct vtd_device *v = dev->driver;
    dev->how = IOMMU_SAME;
    if (v && !v->unit->hw.scalable)
        return pasid == PASID_RID ? vtd_legacy_block(v) : HV_OK;
    uint64_t *e = v ? vtd_pasid_entry(v, pasid) : NULL;
    if (!e || !(e[0] & PASID_PRESENT))
        return HV_OK;
    bool pri = v->pri, nested = is_nested(e);
    dev->how = IOMMU_HITLESS;
    enum hv_status status = entry_clear(v, pasid, e, pri);
    use_count(v, pasid, vtd_pasid_did(e), nested, -1);
    if (!status && pri)
        status = vtd_prq_drain(v, (int32_t)pasid);
    if (status)
        vtd_device_fail(v, status);
    return v->failed ? v->why : HV_OK;
}
