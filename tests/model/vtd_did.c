/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Domain-ids as tags (6.2.3.1): every entry cached under one domain-id must name the same second
 * stage, and none mixes with first-stage or pass-through entries. A domain-id may change its
 * meaning only when nothing cached under the old meaning is left.
 */
#include "tests/model/vtd_internal.h"

static bool is_table_entry(const struct vtd_entry *e)
{
    return e->key.kind == VTD_PASID || e->key.kind == VTD_CONTEXT;
}

static bool is_translation(const struct vtd_entry *e)
{
    return e->key.kind == VTD_IOTLB || e->key.kind == VTD_FSPS || e->key.kind == VTD_SSPS;
}

static bool present(const struct vtd_entry *e)
{
    return e->raw[0] & 1;
}

/* The second stage an entry names, if it does. */
static struct vtd_did meaning(const struct vtd_entry *e)
{
    struct vtd_did d = { 0 };
    if (e->key.kind == VTD_PASID) {
        unsigned pgtt = vtd_bits(e->raw[0], 8, 6);
        d.second_stage = pgtt == PGTT_SS || pgtt == PGTT_NESTED;
        d.aw = (uint8_t)vtd_bits(e->raw[0], 4, 2);
        d.ssade = e->raw[0] >> 9 & 1;
    } else {
        d.second_stage = vtd_bits(e->raw[0], 3, 2) != 2;
        d.aw = e->raw[1] & 7;
    }
    if (!d.second_stage)
        d.aw = d.ssade = 0;
    d.ssptptr = d.second_stage ? e->raw[0] & vtd_mask(63, 12) : 0;
    return d;
}

void vtd_did_enter(struct vtd_model *m, struct vtd_entry *e)
{
    struct vtd_did *d = &m->dids[e->tag_did];
    if (is_translation(e)) {
        d->tlb++;
        return;
    }
    if (!is_table_entry(e))
        return;
    if (present(e))
        vtd_watch_cached(m, e->hpa, 1);
    /* Scalable context entries have no domain-id; entries that fault carry the reserved one. */
    if (!e->good || (e->key.kind == VTD_CONTEXT && vtd_ttm(m) != TTM_LEGACY))
        return;
    struct vtd_did now = meaning(e);
    bool differs = d->second_stage != now.second_stage || d->ssptptr != now.ssptptr ||
                   d->aw != now.aw || d->ssade != now.ssade;
    if ((d->entries || d->tlb) && differs && !m->replaying) {
        if (!d->entries)
            vtd_complain(m, VTD_RULE_DID_STALE, "DID %u, %u translations cached", e->tag_did,
                         d->tlb);
        else if (d->second_stage != now.second_stage)
            vtd_complain(m, VTD_RULE_DID_CLASS, "DID %u, PASID %x of %04x", e->tag_did,
                         e->tag_pasid, e->tag_sid);
        else
            vtd_complain(m, VTD_RULE_DID_SHARED, "DID %u, PASID %x of %04x", e->tag_did,
                         e->tag_pasid, e->tag_sid);
    }
    d->ssptptr = now.ssptptr;
    d->aw = now.aw;
    d->second_stage = now.second_stage;
    d->ssade = now.ssade;
    d->entries++;
    e->counted = true;
}

void vtd_did_leave(struct vtd_model *m, const struct vtd_entry *e)
{
    struct vtd_did *d = &m->dids[e->tag_did];
    if (is_translation(e) && d->tlb)
        d->tlb--;
    if (!is_table_entry(e) || !present(e))
        return;
    vtd_watch_cached(m, e->hpa, -1);
    if (e->counted)
        d->entries--;
}
