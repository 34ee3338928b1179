/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Second-stage walks (3.7, 9.8) with the paging-structure cache (6.2.5): the deepest cached entry
 * is used, whatever memory says now. Legacy mode has its own reasons.
 */
#include "tests/model/vtd_walk.h"

enum { SS_R = 0, SS_W = 1, SS_A = 8, SS_D = 9, SS_SNP = 11, SS_IR = 61, SS_IW = 62 };

struct vtd_stage2 vtd_second_of(const struct vtd_model *m, const struct vtd_ask *ask)
{
    struct vtd_stage2 s = { .legacy = ask->legacy };
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

enum vtd_ss_dirty vtd_second_dirty(const struct vtd_ask *ask)
{
    if (!ask->write)
        return SS_CLEAN;
    return ask->read && ask->kind != ASK_TRANSLATION ? SS_DIRTY_RW : SS_DIRTY_W;
}

static bool ss_reserved(const struct vtd_model *m, uint64_t e, unsigned level, bool leaf)
{
    unsigned lps = (unsigned)vtd_bits(m->cfg.cap, 35, 34);
    uint64_t rsvd = vtd_mask(51, 12) & ~vtd_haw_page(m);
    if (!vtd_ssirwe(m))
        rsvd |= BIT64(SS_IW);
    if (!leaf || !vtd_ecap(m, ECAP_SC))
        rsvd |= BIT64(SS_SNP);
    if (level >= 4 || (level == 3 && !(lps & 2)) || (level == 2 && !(lps & 1)))
        rsvd |= BIT64(VTD_PS);
    if (leaf && level > 1)
        rsvd |= vtd_mask(vtd_level_shift(level) - 1, 12);
    return e & rsvd;
}

uint8_t vtd_second_walk(struct vtd_model *m, const struct vtd_ask *ask, const struct vtd_stage2 *s,
                        uint64_t gpa, enum vtd_ss_dirty dirty, struct vtd_ss_result *out)
{
    unsigned rbit = vtd_ssirwe(m) ? SS_IR : SS_R, wbit = vtd_ssirwe(m) ? SS_IW : SS_W;
    uint64_t table = s->root;
    unsigned level = s->levels, tries = 0;
    bool r = true, w = true, cached = false;

    for (unsigned l = 2; l <= s->levels && !cached; l++) {
        struct vtd_key key = { .kind = VTD_SSPS,
                               .shift = (uint8_t)vtd_level_shift(l),
                               .id = ask->did,
                               .addr = vtd_align_down(gpa, vtd_level_shift(l)) };
        struct vtd_entry *c = vtd_cache_find(m, &key);
        if (c) {
            table = c->table;
            r = c->r;
            w = c->w;
            level = l - 1;
            cached = true;
        }
    }
    while (level) {
        uint64_t at = vtd_entry_at(table, gpa, level), e;
        if (!vtd_watch_read(m, at, &e, sizeof(e), s->snoop)) {
            bool top = level == s->levels;
            return s->legacy ? (top ? 0x03 : 0x07) : (top ? 0x7b : 0x78);
        }
        bool er = e >> rbit & 1, ew = e >> wbit & 1;
        if (!er && !ew) {
            *out = (struct vtd_ss_result){ .shift = vtd_level_shift(level) };
            return s->legacy ? 0 : 0x79;
        }
        bool leaf = level == 1 || (level <= 3 && (e >> VTD_PS & 1));
        if (ss_reserved(m, e, level, leaf))
            return s->legacy ? 0x0c : 0x7a;
        if (!(r && er) && !(w && ew)) {
            *out = (struct vtd_ss_result){ .shift = vtd_level_shift(level) };
            return s->legacy ? 0 : 0x79;
        }
        uint64_t flags = 0;
        if (s->ssade) {
            bool due = dirty && w && ew && (dirty == SS_DIRTY_W || (r && er));
            flags = (BIT64(SS_A) | (leaf && due ? BIT64(SS_D) : 0)) & ~e;
        }
        if (flags) {
            uint8_t f = s->snoop ? vtd_walk_set_flags(m, ask, at, e, flags, 0x7d) : 0x7c;
            if (f == 0xff && ++tries < VTD_TRIES)
                continue;
            if (f)
                return f == 0xff ? 0x7d : f;
            e |= flags;
        }
        r = r && er;
        w = w && ew;
        if (leaf) {
            *out = (struct vtd_ss_result){
                .hpa = vtd_align_down(e & vtd_haw_page(m), vtd_level_shift(level)),
                .shift = vtd_level_shift(level),
                .r = r,
                .w = w,
                .snp = e >> SS_SNP & 1,
                .dirty = !s->ssade || (e >> SS_D & 1),
            };
            return 0;
        }
        table = e & vtd_haw_page(m);
        struct vtd_key key = { .kind = VTD_SSPS,
                               .shift = (uint8_t)vtd_level_shift(level),
                               .id = ask->did,
                               .addr = vtd_align_down(gpa, vtd_level_shift(level)) };
        struct vtd_entry *c = vtd_cache_insert(m, &key, ask->rid, ask->did, ask->pasid, PGTT_SS);
        c->table = table;
        c->r = r;
        c->w = w;
        vtd_did_enter(m, c);
        level--;
    }
    return 0x79; /* not reached: level 1 is always a leaf */
}
