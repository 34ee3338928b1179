/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk that a PASID-table or context entry asks for, judgement of its result, and the IOTLB it
 * fills (6.2.4).
 */
#include "tests/model/vtd_walk.h"

uint8_t vtd_walk_set_flags(struct vtd_model *m, const struct vtd_ask *ask, uint64_t at,
                           uint64_t old, uint64_t flags, uint8_t failed)
{
    bool swapped = false;
    if (ask->quiet)
        return VTD_ABANDON;
    if (!m->bus.cas64(m->bus.ctx, at, &old, old | flags, &swapped))
        return failed;
    return swapped ? 0 : 0xff;
}

uint8_t vtd_walk_judge(const struct vtd_model *m, const struct vtd_ask *ask,
                       const struct vtd_xlat *x)
{
    uint8_t no_write = x->legacy ? 0x05 : 0x85, no_read = x->legacy ? 0x06 : 0x86;
    bool first = x->pgtt == PGTT_FS || x->pgtt == PGTT_NESTED;
    bool priv = ask->with_pasid ? ask->privileged : ask->have_pe ? ask->priv : x->rid_priv;
    bool wpe = ask->have_pe ? ask->pe[2] >> 4 & 1 : x->wpe;
    if (!x->pgtt) { /* from inside the walk: the request's own entry */
        first = true;
        priv = ask->priv;
    }
    if (x->pass)
        return 0;
    if (first && !priv && !x->us)
        return 0x81;
    if (ask->write && first && !x->rw && (!priv || wpe))
        return no_write;
    if (ask->write && !x->w)
        return no_write;
    bool zlr_ok = ask->zlr && vtd_cap(m, CAP_ZLR) && x->w;
    if (ask->read && !x->r && !zlr_ok)
        return no_read;
    return 0;
}

static uint8_t pass_through(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_xlat *out)
{
    if (vtd_beyond_haw(m, ask->addr))
        return ask->legacy ? 0x04 : 0x83;
    unsigned lps = (unsigned)vtd_bits(m->cfg.cap, 35, 34);
    bool gig = (lps & 2) || vtd_cap(m, CAP_FS1GP);
    unsigned map = gig ? 30 : (lps & 1) || vtd_ecap(m, ECAP_FSTS) ? 21 : 12;
    *out = (struct vtd_xlat){
        .hpa = vtd_align_down(ask->addr, map),
        .map_shift = (uint8_t)map,
        .rw = true,
        .us = true,
        .r = true,
        .w = true,
        .dirty = true,
        .pass = true,
        .snoop = !ask->legacy && (ask->pe[1] >> 24 & 1),
    };
    return 0;
}

static uint8_t second_only(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_xlat *out)
{
    struct vtd_stage2 s = vtd_second_of(m, ask);
    struct vtd_ss_result ss;
    if (ask->addr >> s.width)
        return ask->legacy ? 0x04 : 0x84;
    uint8_t r =
        vtd_second_walk(m, ask, &s, ask->addr & ~(PAGE_SIZE - 1), vtd_second_dirty(ask), &ss);
    if (r)
        return r;
    *out = (struct vtd_xlat){
        .hpa = ss.hpa,
        .map_shift = (uint8_t)ss.shift,
        .rw = true,
        .us = true,
        .r = ss.r,
        .w = ss.w,
        .dirty = ss.dirty,
        .snoop = ss.snp || (!ask->legacy && (ask->pe[1] >> 24 & 1)),
    };
    return 0;
}

static void fill(struct vtd_model *m, const struct vtd_ask *ask, const struct vtd_xlat *x,
                 unsigned shift)
{
    struct vtd_key key = {
        .kind = VTD_IOTLB,
        .shift = (uint8_t)shift,
        .with_pasid = ask->with_pasid,
        .id = ask->rid,
        .pasid = ask->with_pasid ? ask->pasid : 0,
        .addr = vtd_align_down(ask->addr, shift),
    };
    struct vtd_entry *e =
        vtd_cache_insert(m, &key, ask->rid, ask->did, ask->legacy ? 0 : ask->pasid, ask->pgtt);
    e->x = *x;
    e->x.hpa = x->hpa | vtd_align_down(ask->addr & (BIT64(x->map_shift) - 1), shift);
    vtd_did_enter(m, e);
}

/*
 * SGN.8, LGN.4: an untranslated request must not land in the interrupt range, and the range of a
 * translation completion must not overlap it, except for pass-through.
 */
uint8_t vtd_walk_output(const struct vtd_ask *ask, const struct vtd_xlat *x, uint64_t hpa)
{
    uint64_t base = vtd_align_down(hpa, x->map_shift), last = base + (BIT64(x->map_shift) - 1);
    bool fee = ask->kind == ASK_TRANSLATION
                   ? !x->pass && base <= UINT64_C(0xfeefffff) && last >= UINT64_C(0xfee00000)
                   : vtd_is_fee(hpa);
    return !fee ? 0 : x->legacy ? 0x0e : 0x87;
}

/* Faults of the second stage, which CM=1 may cache. */
static bool second_stage_reason(uint8_t r)
{
    return r == 0x78 || r == 0x79 || r == 0x7a || r == 0x84 || r == 0x07 || r == 0x0c || r == 0x04;
}

/*
 * The walk proper, after the tables. Permission is judged by the caller on what this returns;
 * a translation that serves the request enters the IOTLB, in the size of the mapping and, as a
 * fragment of it, in 4 KiB (6.2.4.1, 6.5.3.2).
 */
uint8_t vtd_walk(struct vtd_model *m, struct vtd_ask *ask, struct vtd_xlat *out)
{
    uint8_t r;
    if (ask->pgtt == PGTT_PT)
        r = pass_through(m, ask, out);
    else if (ask->pgtt == PGTT_SS)
        r = second_only(m, ask, out);
    else
        r = vtd_first_walk(m, ask, out);
    out->legacy = ask->legacy;
    out->pgtt = ask->pgtt;
    out->fpd = ask->fpd;
    out->wpe = ask->pe[2] >> 4 & 1;
    out->sre = ask->pe[2] & 1;
    out->rid_priv = !ask->with_pasid && ask->priv;
    out->reason = 0;
    if (r) {
        /* CM=1 caches what faulted, but never a first-stage fault (6.2.4.1). */
        if (vtd_cap(m, CAP_CM) && second_stage_reason(r) && !ask->quiet) {
            struct vtd_xlat bad = *out;
            bad.reason = r;
            bad.map_shift = PAGE_SHIFT;
            bad.hpa = 0;
            fill(m, ask, &bad, PAGE_SHIFT);
        }
        return r;
    }
    r = vtd_walk_output(ask, out, out->hpa | (ask->addr & (BIT64(out->map_shift) - 1)));
    if (r)
        return r;
    r = vtd_walk_judge(m, ask, out);
    bool part = ask->kind == ASK_TRANSLATION && r && r != 0x81 && (out->r || out->w);
    bool faulted = vtd_cap(m, CAP_CM) && ask->pgtt == PGTT_SS && r;
    if (!r || part || faulted) {
        if (out->map_shift > PAGE_SHIFT)
            fill(m, ask, out, out->map_shift);
        fill(m, ask, out, PAGE_SHIFT);
    }
    return r;
}
