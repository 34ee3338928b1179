/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator's device-TLB: holds each translation until an invalidation covers it, and fills
 * itself by ATS translation requests. PCIe 10.2 and 10.3; VT-d 4.5.
 */
#include "tests/model/accel_internal.h"

#include <string.h>

static bool holds(const struct accel_tlb_entry *e, int32_t pasid, uint64_t addr)
{
    return e->used && e->pasid == pasid && addr - e->addr < e->size;
}

static struct accel_tlb_entry *find(struct accel *a, int32_t pasid, uint64_t addr)
{
    for (unsigned i = 0; i < a->tlb_used; i++)
        if (holds(&a->tlb[i], pasid, addr))
            return &a->tlb[i];
    return NULL;
}

static void insert(struct accel *a, const struct accel_tlb_entry *entry)
{
    struct accel_tlb_entry *slot = find(a, entry->pasid, entry->addr);

    for (unsigned i = 0; !slot && i < a->tlb_used; i++)
        if (!a->tlb[i].used)
            slot = &a->tlb[i];
    if (!slot && a->tlb_used < ACCEL_TLB_ENTRIES)
        slot = &a->tlb[a->tlb_used++];
    if (!slot)
        slot = &a->tlb[a->tlb_victim++ % ACCEL_TLB_ENTRIES];
    *slot = *entry;
}

void accel_tlb_clear(struct accel *a)
{
    memset(a->tlb, 0, sizeof(a->tlb));
    a->tlb_used = 0;
}

enum accel_lookup accel_tlb_lookup(struct accel *a, int32_t pasid, uint64_t addr, bool write,
                                   struct accel_tlb_entry *out)
{
    uint64_t page = addr & ~(uint64_t)(ACCEL_PAGE - 1);
    struct accel_tlb_entry *hit = find(a, pasid, page);

    if (hit && (write ? hit->w : hit->r)) {
        a->stats.tlb_hits++;
        *out = *hit;
        return LOOKUP_OK;
    }

    struct vtd_request req = accel_request(a, pasid, page, false);
    struct vtd_translation t = { 0 };

    a->stats.translations++;
    a->bus.translate(a->bus.ctx, &req, !write, &t);
    if (t.status != VTD_TC_SUCCESS) {
        a->stats.refused++;
        a->ats_stopped = true;
        accel_tlb_clear(a);
        return LOOKUP_ABORT;
    }

    *out = (struct accel_tlb_entry){ .used = true,
                                     .r = t.r,
                                     .w = t.w,
                                     .untranslated_only = t.u,
                                     .pasid = pasid,
                                     .addr = page & ~(t.size - 1),
                                     .size = t.size,
                                     .hpa = t.hpa };
    if (t.size < ACCEL_PAGE || (t.size & (t.size - 1)) != 0)
        return LOOKUP_DENIED; /* no such completion exists */
    if (t.r || t.w)           /* nothing without permission may be cached (PCIe 10.2.3.5) */
        insert(a, out);
    return (write ? t.w : t.r) ? LOOKUP_OK : LOOKUP_DENIED;
}

bool accel_devtlb_invalidate(struct accel *a, int32_t pasid, bool global, uint64_t addr,
                             uint64_t size)
{
    uint64_t last = size == 0 || addr + (size - 1) < addr ? UINT64_MAX : addr + (size - 1);

    a->stats.invalidations++;
    if (accel_mischief(a) & (ACCEL_MUTE_INVALIDATION | ACCEL_VANISHED))
        return false;
    if (accel_mischief(a) & ACCEL_KEEP_TLB)
        return true;
    for (unsigned i = 0; i < a->tlb_used; i++) {
        struct accel_tlb_entry *e = &a->tlb[i];
        /* Without PASID: entries without; global (with any PASID): every PASID (PCIe 10.3.8). */
        bool same = global ? e->pasid >= 0 : e->pasid == pasid;

        if (e->used && same && e->addr <= last && addr <= e->addr + (e->size - 1))
            e->used = false;
    }
    return true;
}
