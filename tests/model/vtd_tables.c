/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a request to its context entry and PASID-table entry (3.4, 9.1 - 9.6), through the context
 * and PASID caches (6.2.2, 6.2.3). Checks run in the order access, present, reserved, programming,
 * request; the cached form is the raw entry, judged anew for each request.
 */
#include "tests/model/vtd_internal.h"

#include <string.h>

static bool caching_mode(const struct vtd_model *m)
{
    return vtd_cap(m, CAP_CM);
}

static uint64_t did_reserved(const struct vtd_model *m)
{
    return vtd_did_width(m) >= 16 ? 0 : vtd_mask(15, vtd_did_width(m));
}

static bool aw_supported(const struct vtd_model *m, unsigned aw)
{
    return aw >= 1 && aw <= 3 && (m->cfg.cap >> (8 + aw) & 1);
}

/* min(MGAW, AGAW): where second-stage input ends. */
static unsigned input_width(const struct vtd_model *m, unsigned aw)
{
    unsigned agaw = 30 + 9 * aw;
    return agaw < vtd_mgaw(m) ? agaw : vtd_mgaw(m);
}

/* --- context -------------------------------------------------------------------------------- */

static uint8_t fetch_legacy(struct vtd_model *m, const struct vtd_ask *ask, uint64_t raw[4],
                            uint64_t *hpa)
{
    uint64_t root[2];
    bool snoop = vtd_ecap(m, ECAP_C);
    uint64_t at = (m->root & vtd_haw_page(m)) + (ask->rid >> 8) * 16u;
    if (!vtd_watch_read(m, at, root, sizeof(root), snoop))
        return 0x08;
    if (!(root[0] & 1))
        return 0x01;
    if ((root[0] & ~(vtd_haw_page(m) | 1)) || root[1])
        return 0x0a;
    *hpa = (root[0] & vtd_haw_page(m)) + (ask->rid & 0xffu) * 16;
    vtd_watch_table(m, *hpa, 16);
    if (!vtd_watch_read(m, *hpa, raw, 16, snoop))
        return 0x09;
    raw[2] = raw[3] = 0;
    return 0;
}

static uint8_t fetch_scalable(struct vtd_model *m, const struct vtd_ask *ask, uint64_t raw[4],
                              uint64_t *hpa)
{
    uint64_t root;
    bool snoop = vtd_ecap(m, ECAP_C);
    unsigned upper = ask->rid >> 7 & 1;
    uint64_t at = (m->root & vtd_haw_page(m)) + (ask->rid >> 8) * 16u + upper * 8;
    if (!vtd_watch_read(m, at, &root, sizeof(root), snoop))
        return 0x38;
    if (!(root & 1))
        return 0x39;
    if (root & ~(vtd_haw_page(m) | 1))
        return 0x3a;
    *hpa = (root & vtd_haw_page(m)) + (ask->rid & 0x7fu) * 32;
    vtd_watch_table(m, *hpa, 32);
    /* Larger than 16 bytes: two pieces, each read on its own (9). */
    if (!vtd_watch_read(m, *hpa, raw, 16, snoop) ||
        !vtd_watch_read(m, *hpa + 16, raw + 2, 16, snoop))
        return 0x40;
    return 0;
}

static uint8_t judge_legacy(const struct vtd_model *m, struct vtd_ask *ask)
{
    uint64_t lo = ask->ctx[0], hi = ask->ctx[1];
    unsigned tt = vtd_bits(lo, 3, 2), aw = vtd_bits(hi, 2, 0);
    ask->fpd |= lo >> 1 & 1;
    ask->did = (uint16_t)vtd_bits(hi, 23, 8);
    if (!(lo & 1))
        return 0x02;
    if ((lo & vtd_mask(11, 4)) || (hi & (BIT64(7) | vtd_mask(63, 24))) ||
        (ask->did & did_reserved(m)) || (tt != 2 && (lo & vtd_mask(63, 12) & ~vtd_haw_page(m))))
        return 0x0b;
    if (!aw_supported(m, aw) || tt == 3 || (tt == 1 && !vtd_ecap(m, ECAP_DT)) ||
        (tt == 2 && !vtd_ecap(m, ECAP_PT)))
        return 0x03;
    ask->pgtt = tt == 2 ? PGTT_PT : PGTT_SS;
    return 0;
}

static uint8_t judge_scalable(const struct vtd_model *m, struct vtd_ask *ask)
{
    uint64_t lo = ask->ctx[0], q1 = ask->ctx[1];
    bool dte = lo >> 2 & 1, pre = lo >> 4 & 1, paside = lo >> 3 & 1, eptr = lo >> 6 & 1;
    ask->fpd |= lo >> 1 & 1;
    if (!(lo & 1))
        return 0x41;

    uint64_t rsvd = vtd_mask(8, 7) | (vtd_mask(63, 12) & ~vtd_haw_page(m)) | BIT64(5);
    rsvd |= vtd_ecap(m, ECAP_DT) ? 0 : BIT64(2);
    rsvd |= vtd_ecap(m, ECAP_PASID) ? 0 : BIT64(3);
    rsvd |= vtd_ecap(m, ECAP_PRS) ? 0 : BIT64(4);
    rsvd |= vtd_ecap(m, ECAP_PTRS) ? 0 : BIT64(6);
    uint64_t rsvd1 = vtd_mask(63, 21);
    rsvd1 |= vtd_ecap(m, ECAP_RPS) ? 0 : vtd_mask(19, 0);
    rsvd1 |= vtd_ecap(m, ECAP_RPRIVS) ? 0 : BIT64(20);
    if ((lo & rsvd) || (q1 & rsvd1) || ask->ctx[2] || ask->ctx[3])
        return 0x42;

    uint32_t rid_pasid = (uint32_t)vtd_bits(q1, 19, 0);
    uint64_t limit = BIT64(vtd_bits(lo, 11, 9) + 13);
    if ((pre && !dte) || rid_pasid >= limit || (eptr && !paside))
        return 0x43;

    bool at = ask->kind == ASK_TRANSLATION || ask->kind == ASK_TRANSLATED;
    if (at && !dte)
        return 0x44;
    if (ask->kind == ASK_PAGE && !pre)
        return 0x47;
    if (ask->with_pasid) {
        if (ask->kind != ASK_TRANSLATED && !paside)
            return 0x45;
        if (ask->kind == ASK_TRANSLATED && !eptr)
            return 0x49;
        if (ask->kind != ASK_PAGE && ask->req_pasid >> (vtd_bits(m->cfg.ecap, 39, 35) + 1))
            return 0x89;
        if (ask->req_pasid >= limit)
            return 0x46;
        /* Without RPS there is no RID_PASID field to match. */
        if (vtd_ecap(m, ECAP_RPS) && ask->req_pasid == rid_pasid)
            return 0x48;
    }
    ask->pasid = ask->with_pasid ? ask->req_pasid : rid_pasid;
    ask->priv = ask->with_pasid ? ask->privileged : q1 >> 20 & 1;
    return 0;
}

/* Would this entry fault for every request? Only then CM=0 forbids to cache it. */
static bool context_good(const struct vtd_model *m, const struct vtd_ask *ask)
{
    struct vtd_ask plain = { .kind = ASK_UNTRANSLATED, .legacy = ask->legacy };
    memcpy(plain.ctx, ask->ctx, sizeof(plain.ctx));
    return !(ask->legacy ? judge_legacy(m, &plain) : judge_scalable(m, &plain));
}

uint8_t vtd_tables_context(struct vtd_model *m, struct vtd_ask *ask)
{
    unsigned ttm = vtd_ttm(m);
    if (ttm == TTM_RESERVED || (ttm == TTM_ABORT && !vtd_ecap(m, ECAP_ADMS)) ||
        (ttm == TTM_SCALABLE && !vtd_ecap(m, ECAP_SMTS)))
        return 0x30;
    if (ttm == TTM_ABORT)
        return 0x33;
    ask->legacy = ttm == TTM_LEGACY;
    if (ask->legacy && vtd_ssirwe(m))
        return 0x30;
    if (ask->legacy && ask->kind == ASK_PAGE)
        return 0x32;
    if (ask->legacy && ask->with_pasid)
        return 0x31;

    struct vtd_key key = { .kind = VTD_CONTEXT, .id = ask->rid };
    struct vtd_entry *e = vtd_cache_find(m, &key);
    if (e) {
        memcpy(ask->ctx, e->raw, sizeof(ask->ctx));
    } else {
        uint64_t hpa;
        uint8_t r = ask->legacy ? fetch_legacy(m, ask, ask->ctx, &hpa)
                                : fetch_scalable(m, ask, ask->ctx, &hpa);
        if (r)
            return r;
        bool good = context_good(m, ask);
        if (good || caching_mode(m)) {
            /* Faulting entries carry the reserved domain 0 (6.2.2). */
            uint16_t did = good && ask->legacy ? (uint16_t)vtd_bits(ask->ctx[1], 23, 8) : 0;
            if (good && ask->legacy && caching_mode(m) && !did)
                vtd_complain(m, VTD_RULE_DID_ZERO, "context entry of %04x", ask->rid);
            e = vtd_cache_insert(m, &key, ask->rid, did, 0, 0);
            memcpy(e->raw, ask->ctx, sizeof(ask->ctx));
            e->hpa = hpa;
            e->good = good;
            vtd_did_enter(m, e);
        }
    }
    uint8_t r = ask->legacy ? judge_legacy(m, ask) : judge_scalable(m, ask);
    if (!r && ask->legacy && ask->kind != ASK_UNTRANSLATED && vtd_bits(ask->ctx[0], 3, 2) != 1)
        r = 0x0d;
    if (!r && e && !ask->quiet) {
        e->used = true;
        e->last_addr = ask->addr;
        e->last_pasid = ask->pasid;
        e->last_with_pasid = ask->with_pasid;
    }
    return r;
}

/* --- PASID ---------------------------------------------------------------------------------- */

static uint64_t unless(const struct vtd_model *m, unsigned ecap_bit, uint64_t bits)
{
    return vtd_ecap(m, ecap_bit) ? 0 : bits;
}

static uint8_t judge_pasid(const struct vtd_model *m, struct vtd_ask *ask)
{
    const uint64_t *q = ask->pe;
    unsigned pgtt = vtd_bits(q[0], 8, 6), aw = vtd_bits(q[0], 4, 2);
    bool ss = pgtt == PGTT_SS || pgtt == PGTT_NESTED, fs = pgtt == PGTT_FS || pgtt == PGTT_NESTED;
    ask->fpd |= q[0] >> 1 & 1;
    ask->pgtt = (uint8_t)pgtt;
    ask->did = (uint16_t)q[1];
    if (!(q[0] & 1))
        return 0x59;

    uint64_t beyond = vtd_mask(63, 12) & ~vtd_haw_page(m);
    uint64_t r0 = BIT64(5) | vtd_mask(11, 10);
    r0 |= unless(m, ECAP_SSTS, vtd_mask(4, 2) | BIT64(9) | vtd_mask(63, 12));
    r0 |= unless(m, ECAP_SSADS, BIT64(9));
    r0 |= beyond;
    uint64_t r1 = vtd_mask(22, 16) | vtd_mask(31, 27) | did_reserved(m);
    r1 |= unless(m, ECAP_SMPWCS, BIT64(23));
    r1 |= unless(m, ECAP_SC, BIT64(24));
    r1 |= unless(m, ECAP_MTS, vtd_mask(26, 25) | vtd_mask(63, 32));
    uint64_t r2 = BIT64(1) | vtd_mask(11, 8) | beyond;
    r2 |= unless(m, ECAP_SRS, BIT64(0));
    r2 |= unless(m, ECAP_FSTS, vtd_mask(4, 2) | vtd_mask(63, 12));
    r2 |= unless(m, ECAP_EAFS, BIT64(7));
    if ((q[0] & r0) || (q[1] & r1) || (q[2] & r2) || q[3] || q[4] || q[5] || q[6] || q[7])
        return 0x5a;

    static const uint8_t need[8] = {
        [PGTT_FS] = ECAP_FSTS, [PGTT_SS] = ECAP_SSTS, [PGTT_NESTED] = ECAP_NEST, [PGTT_PT] = ECAP_PT
    };
    if (!need[pgtt] || !vtd_ecap(m, need[pgtt]) || (ss && !aw_supported(m, aw)))
        return 0x5b;
    unsigned fspm = vtd_bits(q[2], 3, 2);
    if (fs && (fspm > 1 || (fspm == 1 && !vtd_cap(m, CAP_FS5LP))))
        return 0x5b;
    if (pgtt == PGTT_NESTED && (q[2] & vtd_mask(63, 12)) >> input_width(m, aw))
        return 0x5b;
    return 0;
}

static uint8_t fetch_pasid(struct vtd_model *m, struct vtd_ask *ask, uint64_t *hpa)
{
    bool snoop = vtd_ecap(m, ECAP_C);
    uint64_t dir;
    uint64_t at = (ask->ctx[0] & vtd_haw_page(m)) + (uint64_t)(ask->pasid >> 6) * 8;
    if (!vtd_watch_read(m, at, &dir, sizeof(dir), snoop))
        return 0x50;
    ask->fpd |= dir >> 1 & 1;
    if (!(dir & 1))
        return 0x51;
    if (dir & ~(vtd_haw_page(m) | 3))
        return 0x52;
    *hpa = (dir & vtd_haw_page(m)) + (ask->pasid & 0x3f) * 64;
    vtd_watch_table(m, *hpa, 64);
    for (unsigned i = 0; i < 8; i += 2) /* four pieces (9) */
        if (!vtd_watch_read(m, *hpa + i * 8, ask->pe + i, 16, snoop))
            return 0x58;
    /* The FPD of the directory counts with the cached entry too. */
    ask->pe[0] |= dir & 2;
    return 0;
}

static bool same_tables(struct vtd_model *m, struct vtd_entry *e, void *arg)
{
    const uint64_t *q = arg;
    unsigned pgtt = vtd_bits(q[0], 8, 6);
    bool ss = pgtt == PGTT_SS || pgtt == PGTT_NESTED, fs = pgtt == PGTT_FS || pgtt == PGTT_NESTED;
    uint64_t m0 = vtd_mask(8, 6) | (ss ? vtd_mask(4, 2) | vtd_mask(63, 12) : 0);
    uint64_t m2 = fs ? vtd_mask(3, 2) | vtd_mask(63, 12) : 0;
    if (((e->raw[0] ^ q[0]) & m0) || ((e->raw[2] ^ q[2]) & m2)) {
        vtd_complain(m, VTD_RULE_PASID_SHARED, "DID %u PASID %x of %04x", e->tag_did, e->tag_pasid,
                     e->tag_sid);
        return false;
    }
    return true;
}

uint8_t vtd_tables_pasid(struct vtd_model *m, struct vtd_ask *ask)
{
    struct vtd_key key = { .kind = VTD_PASID, .id = ask->rid, .pasid = ask->pasid };
    struct vtd_entry *e = vtd_cache_find(m, &key);
    uint8_t r;
    if (e) {
        memcpy(ask->pe, e->raw, sizeof(ask->pe));
        r = judge_pasid(m, ask);
    } else {
        uint64_t hpa;
        r = fetch_pasid(m, ask, &hpa);
        if (r)
            return r;
        r = judge_pasid(m, ask);
        if (!r || caching_mode(m)) {
            if (!r && !ask->quiet) {
                vtd_cache_each(m, 1u << VTD_PASID, ask->did, ask->pasid, same_tables, ask->pe);
                if (caching_mode(m) && !ask->did)
                    vtd_complain(m, VTD_RULE_DID_ZERO, "PASID %x of %04x", ask->pasid, ask->rid);
            }
            e = vtd_cache_insert(m, &key, ask->rid, r ? 0 : ask->did, ask->pasid, ask->pgtt);
            memcpy(e->raw, ask->pe, sizeof(e->raw));
            e->hpa = hpa;
            e->good = !r;
            vtd_did_enter(m, e);
        }
    }
    if (r)
        return r;
    ask->have_pe = true;
    if (e && !ask->quiet) {
        e->used = true;
        e->last_addr = ask->addr;
        e->last_pasid = ask->pasid;
        e->last_with_pasid = ask->with_pasid;
    }
    if (ask->kind != ASK_PAGE && ask->kind != ASK_TRANSLATED && ask->priv && !(ask->pe[2] & 1))
        return 0x5d;
    return 0;
}
