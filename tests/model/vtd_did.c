/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Domain-ids as tags (6.2.3.1): every entry cached under one domain-id must name the same second
 * stage, and none mixes with first-stage or pass-through entries. A domain-id may change its
 * meaning only when nothing cached under the old meaning is left. And page tables keep what belongs
 * to them: FSPM and EAFE to {FSPTPTR, SSPTPTR}, SSADE to SSPTPTR, whatever entry names them.
 */
#include "tests/model/vtd_internal.h"

#include <stdlib.h>

enum { TABLES = 1 << 14 };

struct vtd_table {
    struct vtd_table *next;
    uint64_t first, second; /* first = 1: the second stage alone */
    uint64_t what;          /* FSPM and EAFE, or SSADE */
    uint32_t refs;
};

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

/* --- page tables ------------------------------------------------------------------------------ */

static void table_ref(struct vtd_model *m, uint64_t first, uint64_t second, uint64_t what,
                      int change)
{
    if (!m->tables) {
        m->tables = calloc(TABLES, sizeof(struct vtd_table *));
        if (!m->tables)
            abort();
    }
    uint64_t mixed = (first ^ second << 20) * UINT64_C(0x9e3779b97f4a7c15);
    struct vtd_table **at = &m->tables[(mixed >> 40) % TABLES], *t;
    while ((t = *at) && (t->first != first || t->second != second))
        at = &t->next;
    if (change > 0) {
        if (!t) {
            t = calloc(1, sizeof(*t));
            if (!t)
                abort();
            t->first = first;
            t->second = second;
            t->what = what;
            *at = t;
        }
        if (t->what != what && !m->replaying)
            vtd_complain(m, VTD_RULE_TABLE_SHARED, "first stage %llx, second stage %llx",
                         (unsigned long long)first, (unsigned long long)second);
        t->what = what;
        t->refs++;
    } else if (t && !--t->refs) {
        *at = t->next;
        free(t);
    }
}

static void tables_of(struct vtd_model *m, const struct vtd_entry *e, int change)
{
    const uint64_t page = vtd_mask(63, 12);
    unsigned pgtt = (unsigned)vtd_bits(e->raw[0], 8, 6);
    if (e->key.kind != VTD_PASID)
        return;
    if (pgtt == PGTT_FS || pgtt == PGTT_NESTED)
        table_ref(m, e->raw[2] & page, pgtt == PGTT_NESTED ? e->raw[0] & page : 0, e->raw[2] & 0x8c,
                  change);
    if (pgtt == PGTT_SS || pgtt == PGTT_NESTED)
        table_ref(m, 1, e->raw[0] & page, e->raw[0] & 0x200, change);
}

void vtd_did_destroy(struct vtd_model *m)
{
    for (unsigned i = 0; m->tables && i < TABLES; i++) {
        for (struct vtd_table *t = m->tables[i], *next; t; t = next) {
            next = t->next;
            free(t);
        }
    }
    free(m->tables);
}

/* --- domain-ids ------------------------------------------------------------------------------- */

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
    tables_of(m, e, 1);
}

void vtd_did_leave(struct vtd_model *m, const struct vtd_entry *e)
{
    struct vtd_did *d = &m->dids[e->tag_did];
    if (is_translation(e) && d->tlb)
        d->tlb--;
    if (!is_table_entry(e) || !present(e))
        return;
    vtd_watch_cached(m, e->hpa, -1);
    if (e->counted) {
        d->entries--;
        tables_of(m, e, -1);
    }
}
