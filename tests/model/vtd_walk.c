/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First-stage, second-stage and nested walks (3.6 - 3.8, 9.7, 9.8) with the paging-structure
 * caches (6.2.5): the deepest cached entry is used, whatever memory says now. Accessed and dirty
 * flags are set by compare-and-swap before anything that depends on them is cached (6.2.4.1).
 */
#include "tests/model/vtd_internal.h"

#include <string.h>

enum { FS_P = 0, FS_RW = 1, FS_US = 2, FS_A = 5, FS_D = 6, PT_PS = 7, FS_EA = 10 };
enum { SS_R = 0, SS_W = 1, SS_A = 8, SS_D = 9, SS_SNP = 11, SS_IR = 61, SS_IW = 62 };
enum { TRIES = 16 }; /* bound on re-reading an entry that keeps changing */

static unsigned level_shift(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

static uint64_t align_down(uint64_t v, unsigned shift)
{
    return v & ~(BIT64(shift) - 1);
}

static uint64_t entry_at(uint64_t table, uint64_t addr, unsigned level)
{
    return table + (addr >> level_shift(level) & 0x1ff) * 8;
}

/* What a walk needs to know of its PASID-table or context entry. */
struct stage2 {
    uint64_t root;
    unsigned levels, width;
    bool ssade, snoop, legacy;
};

static struct stage2 stage2_of(const struct vtd_model *m, const struct vtd_ask *ask)
{
    struct stage2 s = { .legacy = ask->legacy };
    uint64_t q0 = ask->legacy ? ask->ctx[0] : ask->pe[0];
    unsigned aw = ask->legacy ? ask->ctx[1] & 7 : (unsigned)vtd_bits(q0, 4, 2);
    s.root = q0 & vtd_haw_page(m);
    s.levels = aw + 2;
    s.width = 30 + 9 * aw < vtd_mgaw(m) ? 30 + 9 * aw : vtd_mgaw(m);
    s.ssade = !ask->legacy && (q0 >> 9 & 1);
    s.snoop =
        ask->legacy ? vtd_ecap(m, ECAP_C) : vtd_ecap(m, ECAP_SMPWCS) && (ask->pe[1] >> 23 & 1);
    return s;
}

/* Set flags in an entry. Returns 0, `failed`, or 0xff when the entry has changed: read it again. */
static uint8_t set_flags(struct vtd_model *m, const struct vtd_ask *ask, uint64_t at, uint64_t old,
                         uint64_t flags, uint8_t failed)
{
    bool swapped = false;
    if (ask->quiet)
        return VTD_ABANDON;
    if (!m->bus.cas64(m->bus.ctx, at, &old, old | flags, &swapped))
        return failed;
    return swapped ? 0 : 0xff;
}

/* --- second stage --------------------------------------------------------------------------- */

struct ss_result {
    uint64_t hpa; /* of the page, aligned to shift */
    unsigned shift;
    bool r, w, snp, dirty;
};

static bool ss_reserved(const struct vtd_model *m, uint64_t e, unsigned level, bool leaf)
{
    unsigned lps = (unsigned)vtd_bits(m->cfg.cap, 35, 34);
    uint64_t rsvd = vtd_mask(51, 12) & ~vtd_haw_page(m);
    if (!vtd_ssirwe(m))
        rsvd |= BIT64(SS_IW);
    if (!leaf || !vtd_ecap(m, ECAP_SC))
        rsvd |= BIT64(SS_SNP);
    if (level >= 4 || (level == 3 && !(lps & 2)) || (level == 2 && !(lps & 1)))
        rsvd |= BIT64(PT_PS);
    if (leaf && level > 1)
        rsvd |= vtd_mask(level_shift(level) - 1, 12);
    return e & rsvd;
}

/* When the dirty flag of the leaf is due: never, when W is granted, when R and W are. */
enum ss_dirty { SS_CLEAN, SS_DIRTY_W, SS_DIRTY_RW };

static uint8_t ss_walk(struct vtd_model *m, const struct vtd_ask *ask, const struct stage2 *s,
                       uint64_t gpa, enum ss_dirty dirty, struct ss_result *out)
{
    unsigned rbit = vtd_ssirwe(m) ? SS_IR : SS_R, wbit = vtd_ssirwe(m) ? SS_IW : SS_W;
    uint64_t table = s->root;
    unsigned level = s->levels, tries = 0;
    bool r = true, w = true, cached = false;

    for (unsigned l = 2; l <= s->levels && !cached; l++) {
        struct vtd_key key = { .kind = VTD_SSPS,
                               .shift = (uint8_t)level_shift(l),
                               .id = ask->did,
                               .addr = align_down(gpa, level_shift(l)) };
        struct vtd_entry *c = vtd_cache_find(m, &key);
        if (c) {
            table = c->table;
            r = c->r;
            w = c->w;
            level = l - 1;
            cached = true;
        }
    }
    for (;;) {
        uint64_t at = entry_at(table, gpa, level), e;
        if (!vtd_watch_read(m, at, &e, sizeof(e), s->snoop)) {
            bool top = level == s->levels;
            return s->legacy ? (top ? 0x03 : 0x07) : (top ? 0x7b : 0x78);
        }
        bool er = e >> rbit & 1, ew = e >> wbit & 1;
        if (!er && !ew) {
            *out = (struct ss_result){ .shift = level_shift(level) };
            return s->legacy ? 0 : 0x79;
        }
        bool leaf = level == 1 || (level <= 3 && (e >> PT_PS & 1));
        if (ss_reserved(m, e, level, leaf))
            return s->legacy ? 0x0c : 0x7a;
        if (!(r && er) && !(w && ew)) {
            *out = (struct ss_result){ .shift = level_shift(level) };
            return s->legacy ? 0 : 0x79;
        }
        uint64_t flags = 0;
        if (s->ssade) {
            bool due = dirty && w && ew && (dirty == SS_DIRTY_W || (r && er));
            flags = (BIT64(SS_A) | (leaf && due ? BIT64(SS_D) : 0)) & ~e;
        }
        if (flags) {
            uint8_t f = s->snoop ? set_flags(m, ask, at, e, flags, 0x7d) : 0x7c;
            if (f == 0xff && ++tries < TRIES)
                continue;
            if (f)
                return f == 0xff ? 0x7d : f;
            e |= flags;
        }
        r = r && er;
        w = w && ew;
        if (leaf) {
            *out = (struct ss_result){
                .hpa = align_down(e & vtd_haw_page(m), level_shift(level)),
                .shift = level_shift(level),
                .r = r,
                .w = w,
                .snp = e >> SS_SNP & 1,
                .dirty = !s->ssade || (e >> SS_D & 1),
            };
            return 0;
        }
        table = e & vtd_haw_page(m);
        struct vtd_key key = { .kind = VTD_SSPS,
                               .shift = (uint8_t)level_shift(level),
                               .id = ask->did,
                               .addr = align_down(gpa, level_shift(level)) };
        struct vtd_entry *c = vtd_cache_insert(m, &key, ask->rid, ask->did, ask->pasid, PGTT_SS);
        c->table = table;
        c->r = r;
        c->w = w;
        vtd_did_enter(m, c);
        level--;
    }
}

static enum ss_dirty dirty_mode(const struct vtd_ask *ask)
{
    if (!ask->write)
        return SS_CLEAN;
    return ask->read && ask->kind != ASK_TRANSLATION ? SS_DIRTY_RW : SS_DIRTY_W;
}

/* --- first stage ---------------------------------------------------------------------------- */

struct fs_walk {
    struct stage2 ss;
    bool nested, snoop, eafe;
    unsigned levels;
};

static bool fs_reserved(const struct vtd_model *m, uint64_t e, unsigned level, bool leaf)
{
    uint64_t rsvd = vtd_mask(51, 12) & ~vtd_haw_page(m);
    if (level >= 4 || (level == 3 && !vtd_cap(m, CAP_FS1GP)))
        rsvd |= BIT64(PT_PS);
    if (leaf && level > 1)
        rsvd |= vtd_mask(level_shift(level) - 1, 13);
    return e & rsvd;
}

/*
 * Host address of a first-stage table. Reads of it need read permission of the second stage, with
 * SSADE also write (3.8.1), and then count as writes for the dirty flag.
 */
static uint8_t fs_table(struct vtd_model *m, const struct vtd_ask *ask, const struct fs_walk *f,
                        uint64_t addr, bool top, uint64_t *host, bool *ss_w)
{
    struct ss_result ss;
    *host = addr;
    *ss_w = true;
    if (!f->nested)
        return 0;
    uint8_t r = ss_walk(m, ask, &f->ss, addr, f->ss.ssade ? SS_DIRTY_RW : SS_CLEAN, &ss);
    if (r)
        return r;
    if (!ss.r || (f->ss.ssade && !ss.w))
        return top ? 0x75 : 0x76;
    *host = ss.hpa | (addr & (BIT64(ss.shift) - 1));
    *ss_w = ss.w;
    return 0;
}

static bool fs_allows_write(const struct vtd_ask *ask, bool priv, bool rw, bool us)
{
    bool wpe = ask->pe[2] >> 4 & 1;
    return priv ? rw || !wpe : rw && us;
}

static uint8_t fs_walk(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_xlat *out)
{
    struct fs_walk f = {
        .nested = ask->pgtt == PGTT_NESTED,
        .snoop = vtd_ecap(m, ECAP_SMPWCS) && (ask->pe[1] >> 23 & 1),
        .eafe = ask->pe[2] >> 7 & 1,
        .levels = (ask->pe[2] >> 2 & 1) ? 5 : 4,
    };
    unsigned width = f.levels == 5 ? 57 : 48, level = f.levels, tries = 0;
    uint64_t sign = ask->addr >> (width - 1), gva = ask->addr, table = 0;
    bool rw = true, us = true, ss_w = true, cached = false;
    if (f.nested)
        f.ss = stage2_of(m, ask);
    if (sign != 0 && sign != vtd_mask(63, width - 1) >> (width - 1))
        return 0x80;

    /* Entries are tagged with the address bits that the walk uses (Table 19). */
    for (unsigned l = 2; l <= f.levels && !cached; l++) {
        struct vtd_key key = { .kind = VTD_FSPS,
                               .shift = (uint8_t)level_shift(l),
                               .id = ask->did,
                               .pasid = ask->pasid,
                               .addr = align_down(gva, level_shift(l)) };
        struct vtd_entry *c = vtd_cache_find(m, &key);
        if (c) {
            table = c->table;
            rw = c->rw;
            us = c->us;
            ss_w = c->ss_w;
            level = l - 1;
            cached = true;
        }
    }
    if (!cached) {
        uint8_t r = fs_table(m, ask, &f, ask->pe[2] & vtd_haw_page(m), true, &table, &ss_w);
        if (r)
            return r;
    }
    for (;;) {
        uint64_t at = entry_at(table, gva, level), e;
        if (!vtd_watch_read(m, at, &e, sizeof(e), f.snoop))
            return level == f.levels ? 0x73 : 0x70;
        if (!(e & 1))
            return 0x71;
        bool leaf = level == 1 || (level <= 3 && (e >> PT_PS & 1));
        if (fs_reserved(m, e, level, leaf))
            return 0x72;
        unsigned shift = level_shift(level);
        uint64_t next = align_down(e & vtd_haw_page(m), leaf ? shift : PAGE_SHIFT);
        if (f.nested && next >> f.ss.width)
            return 0x74;

        bool erw = rw && (e >> FS_RW & 1), eus = us && (e >> FS_US & 1);
        uint64_t flags = BIT64(FS_A) | (f.eafe ? BIT64(FS_EA) : 0);
        struct ss_result ss = { .hpa = next, .shift = shift, .r = true, .w = true, .dirty = true };
        uint64_t host = next;
        bool next_ss_w = true, denied = false;

        if (leaf) {
            bool write = ask->write && fs_allows_write(ask, ask->priv, erw, eus);
            if (f.nested) {
                uint64_t gpa = next | (gva & (BIT64(shift) - 1) & ~(PAGE_SIZE - 1));
                bool reach = ask->priv || eus;
                uint8_t r =
                    ss_walk(m, ask, &f.ss, gpa, write && reach ? dirty_mode(ask) : SS_CLEAN, &ss);
                if (r)
                    return r;
            }
            *out = (struct vtd_xlat){
                .rw = erw,
                .us = eus,
                .r = ss.r,
                .w = ss.w,
                .snoop = (ask->pe[1] >> 24 & 1) || ss.snp,
            };
            denied = vtd_walk_judge(m, ask, out) && ask->kind != ASK_TRANSLATION;
            if (ask->write && write && ss.w && !denied)
                flags |= BIT64(FS_D);
        }
        flags &= ~e;
        if (flags && !denied) {
            uint8_t r = !f.snoop            ? 0x90
                        : f.nested && !ss_w ? 0x77
                                            : set_flags(m, ask, at, e, flags, 0x91);
            if (r == 0xff && ++tries < TRIES)
                continue;
            if (r)
                return r == 0xff ? 0x91 : r;
            e |= flags;
        }
        if (leaf) {
            unsigned map = ss.shift < shift ? ss.shift : shift;
            uint64_t inside = align_down(gva & (BIT64(shift) - 1), map);
            uint64_t gpa = next | inside;
            out->hpa = f.nested ? ss.hpa | (gpa & (BIT64(ss.shift) - 1)) : gpa;
            out->hpa = align_down(out->hpa, map);
            out->map_shift = (uint8_t)map;
            out->dirty = (e >> FS_D & 1) && ss.dirty;
            return 0;
        }
        uint8_t r = fs_table(m, ask, &f, next, false, &host, &next_ss_w);
        if (r)
            return r;
        struct vtd_key key = { .kind = VTD_FSPS,
                               .shift = (uint8_t)shift,
                               .id = ask->did,
                               .pasid = ask->pasid,
                               .addr = align_down(gva, shift) };
        struct vtd_entry *c = vtd_cache_insert(m, &key, ask->rid, ask->did, ask->pasid, ask->pgtt);
        c->table = table = host;
        c->rw = rw = erw;
        c->us = us = eus;
        c->ss_w = ss_w = next_ss_w;
        vtd_did_enter(m, c);
        level--;
    }
}

/* --- all kinds ------------------------------------------------------------------------------ */

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
        .hpa = align_down(ask->addr, map),
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
    struct stage2 s = stage2_of(m, ask);
    struct ss_result ss;
    if (ask->addr >> s.width)
        return ask->legacy ? 0x04 : 0x84;
    uint8_t r = ss_walk(m, ask, &s, ask->addr & ~(PAGE_SIZE - 1), dirty_mode(ask), &ss);
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
        .addr = align_down(ask->addr, shift),
    };
    struct vtd_entry *e =
        vtd_cache_insert(m, &key, ask->rid, ask->did, ask->legacy ? 0 : ask->pasid, ask->pgtt);
    e->x = *x;
    e->x.hpa = x->hpa | align_down(ask->addr & (BIT64(x->map_shift) - 1), shift);
    vtd_did_enter(m, e);
}

/*
 * SGN.8, LGN.4: an untranslated request must not land in the interrupt range, and the range of a
 * translation completion must not overlap it, except for pass-through.
 */
uint8_t vtd_walk_output(const struct vtd_ask *ask, const struct vtd_xlat *x, uint64_t hpa)
{
    uint64_t base = align_down(hpa, x->map_shift), last = base + (BIT64(x->map_shift) - 1);
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
        r = fs_walk(m, ask, out);
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
