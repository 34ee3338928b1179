/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First-stage and nested walks (3.6, 3.8, 9.7) with the paging-structure cache (6.2.5). Accessed
 * and dirty flags are set by compare-and-swap before anything that depends on them is cached
 * (6.2.4.1).
 */
#include "tests/model/vtd_walk.h"

enum { FS_RW = 1, FS_US = 2, FS_A = 5, FS_D = 6, FS_EA = 10 };

struct fs_walk {
    struct vtd_stage2 ss;
    bool nested, snoop, eafe;
    unsigned levels;
};

static bool fs_reserved(const struct vtd_model *m, uint64_t e, unsigned level, bool leaf)
{
    uint64_t rsvd = vtd_mask(51, 12) & ~vtd_haw_page(m);
    if (level >= 4 || (level == 3 && !vtd_cap(m, CAP_FS1GP)))
        rsvd |= BIT64(VTD_PS);
    if (leaf && level > 1)
        rsvd |= vtd_mask(vtd_level_shift(level) - 1, 13);
    return e & rsvd;
}

/*
 * Host address of a first-stage table. Reads of it need read permission of the second stage, with
 * SSADE also write (3.8.1), and then count as writes for the dirty flag.
 */
static uint8_t fs_table(struct vtd_model *m, const struct vtd_ask *ask, const struct fs_walk *f,
                        uint64_t addr, bool top, uint64_t *host, bool *ss_w)
{
    struct vtd_ss_result ss;
    *host = addr;
    *ss_w = true;
    if (!f->nested)
        return 0;
    uint8_t r = vtd_second_walk(m, ask, &f->ss, addr, f->ss.ssade ? SS_DIRTY_RW : SS_CLEAN, &ss);
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

uint8_t vtd_first_walk(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_xlat *out)
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
        f.ss = vtd_second_of(m, ask);
    if (sign != 0 && sign != vtd_mask(63, width - 1) >> (width - 1))
        return 0x80;

    /* Entries are tagged with the address bits that the walk uses (Table 19). */
    for (unsigned l = 2; l <= f.levels && !cached; l++) {
        struct vtd_key key = { .kind = VTD_FSPS,
                               .shift = (uint8_t)vtd_level_shift(l),
                               .id = ask->did,
                               .pasid = ask->pasid,
                               .addr = vtd_align_down(gva, vtd_level_shift(l)) };
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
    while (level) {
        uint64_t at = vtd_entry_at(table, gva, level), e;
        if (!vtd_watch_read(m, at, &e, sizeof(e), f.snoop))
            return level == f.levels ? 0x73 : 0x70;
        if (!(e & 1))
            return 0x71;
        bool leaf = level == 1 || (level <= 3 && (e >> VTD_PS & 1));
        if (fs_reserved(m, e, level, leaf))
            return 0x72;
        unsigned shift = vtd_level_shift(level);
        uint64_t next = vtd_align_down(e & vtd_haw_page(m), leaf ? shift : PAGE_SHIFT);
        if (f.nested && next >> f.ss.width)
            return 0x74;

        bool erw = rw && (e >> FS_RW & 1), eus = us && (e >> FS_US & 1);
        uint64_t flags = BIT64(FS_A) | (f.eafe ? BIT64(FS_EA) : 0);
        struct vtd_ss_result ss = {
            .hpa = next, .shift = shift, .r = true, .w = true, .dirty = true
        };
        uint64_t host = next;
        bool next_ss_w = true, denied = false;

        if (leaf) {
            bool write = ask->write && fs_allows_write(ask, ask->priv, erw, eus);
            if (f.nested) {
                uint64_t gpa = next | (gva & (BIT64(shift) - 1) & ~(PAGE_SIZE - 1));
                bool reach = ask->priv || eus;
                uint8_t r = vtd_second_walk(m, ask, &f.ss, gpa,
                                            write && reach ? vtd_second_dirty(ask) : SS_CLEAN, &ss);
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
                                            : vtd_walk_set_flags(m, ask, at, e, flags, 0x91);
            if (r == 0xff && ++tries < VTD_TRIES)
                continue;
            if (r)
                return r == 0xff ? 0x91 : r;
            e |= flags;
        }
        if (leaf) {
            unsigned map = ss.shift < shift ? ss.shift : shift;
            uint64_t inside = vtd_align_down(gva & (BIT64(shift) - 1), map);
            uint64_t gpa = next | inside;
            out->hpa = f.nested ? ss.hpa | (gpa & (BIT64(ss.shift) - 1)) : gpa;
            out->hpa = vtd_align_down(out->hpa, map);
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
                               .addr = vtd_align_down(gva, shift) };
        struct vtd_entry *c = vtd_cache_insert(m, &key, ask->rid, ask->did, ask->pasid, ask->pgtt);
        c->table = table = host;
        c->rw = rw = erw;
        c->us = us = eus;
        c->ss_w = ss_w = next_ss_w;
        vtd_did_enter(m, c);
        level--;
    }
    return 0x71; /* not reached: level 1 is always a leaf */
}
