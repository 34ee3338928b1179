/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt remapping (5.1, 9.9) and posting (5.2, 9.10), with the interrupt entry cache (6.4).
 */
#include "tests/model/vtd_internal.h"

#include <string.h>

/* The latched interrupt table: address, EIME, size. */
static bool eime(const struct vtd_model *m)
{
    return m->ir_table >> 11 & 1;
}

static bool source_ok(const uint64_t irte[2], uint16_t rid)
{
    static const uint16_t ignore[4] = { 0, 4, 6, 7 };
    uint16_t sid = (uint16_t)irte[1];
    switch (vtd_bits(irte[1], 19, 18)) {
    case 0: return true;
    case 1: return !((rid ^ sid) & (uint16_t)~ignore[vtd_bits(irte[1], 17, 16)]);
    case 2: /* start bus in 15:8, end bus in 7:0 */
        return rid >> 8 >= sid >> 8 && rid >> 8 <= (sid & 0xff);
    }
    return false;
}

static bool remapped_valid(const struct vtd_model *m, const uint64_t irte[2])
{
    uint64_t r0 = vtd_mask(14, 12) | vtd_mask(31, 24);
    if (!eime(m))
        r0 |= vtd_mask(63, 48) | vtd_mask(39, 32);
    unsigned dlm = (unsigned)vtd_bits(irte[0], 7, 5);
    return !(irte[0] & r0) && !(irte[1] & vtd_mask(63, 20)) && dlm != 3 && dlm != 6;
}

static bool posted_valid(const struct vtd_model *m, const uint64_t irte[2])
{
    uint64_t r0 = vtd_mask(7, 2) | vtd_mask(13, 12) | vtd_mask(37, 24);
    return vtd_cap(m, CAP_PI) && !(irte[0] & r0) && !(irte[1] & vtd_mask(31, 20));
}

/* Valid programming of a present entry, apart from the source check. */
static bool irte_valid(const struct vtd_model *m, const uint64_t irte[2])
{
    if (vtd_bits(irte[1], 19, 18) == 3)
        return false;
    return (irte[0] >> 15 & 1) ? posted_valid(m, irte) : remapped_valid(m, irte);
}

static void send(struct vtd_model *m, uint32_t dest, bool rh, bool dm, uint32_t data)
{
    uint64_t addr = UINT64_C(0xfee00000) | (uint64_t)(dest & 0xff) << 12 | (uint64_t)rh << 3 |
                    (uint64_t)dm << 2 | (uint64_t)(dest & 0xffffff00u) << 32;
    if (m->bus.interrupt)
        m->bus.interrupt(m->bus.ctx, addr, data);
}

static void send_remapped(struct vtd_model *m, const uint64_t irte[2])
{
    uint32_t dest = (uint32_t)(irte[0] >> 32);
    if (!eime(m))
        dest = dest >> 8 & 0xff;
    /* The level bit is always "asserted" (5.1.4). */
    uint32_t data = (uint32_t)(vtd_bits(irte[0], 23, 16) | vtd_bits(irte[0], 7, 5) << 8 |
                               BIT64(14) | (irte[0] >> 4 & 1) << 15);
    send(m, dest, irte[0] >> 3 & 1, irte[0] >> 2 & 1, data);
}

static bool update(struct vtd_model *m, uint64_t at, uint64_t set, uint64_t *old)
{
    for (unsigned i = 0; i < 16; i++) {
        bool swapped = false;
        if (!m->bus.read(m->bus.ctx, at, old, sizeof(*old)))
            return false;
        uint64_t expected = *old;
        if (!m->bus.cas64(m->bus.ctx, at, &expected, *old | set, &swapped))
            return false;
        if (swapped)
            return true;
    }
    return false;
}

static uint8_t post(struct vtd_model *m, const uint64_t irte[2])
{
    uint64_t at = (irte[1] & vtd_mask(63, 32)) | vtd_bits(irte[0], 63, 38) << 6, q[8], old;
    unsigned vector = (unsigned)vtd_bits(irte[0], 23, 16);
    bool urgent = irte[0] >> 14 & 1;
    if (vtd_beyond_haw(m, at) || !m->bus.read(m->bus.ctx, at, q, sizeof(q)))
        return 0x27;
    uint64_t rsvd4 = vtd_mask(15, 2) | vtd_mask(31, 24);
    if ((q[4] & rsvd4) || q[5] || q[6] || q[7])
        return 0x28;
    if (!update(m, at + vector / 64 * 8, BIT64(vector % 64), &old))
        return 0x27;
    bool on = q[4] & 1, sn = q[4] >> 1 & 1;
    if (on || (sn && !urgent))
        return 0;
    if (!update(m, at + 32, 1, &old))
        return 0x27;
    if (!(old & 1)) {
        uint32_t ndst = (uint32_t)(q[4] >> 32);
        send(m, eime(m) ? ndst : ndst >> 8 & 0xff, false, false,
             (uint32_t)vtd_bits(q[4], 23, 16) | (uint32_t)BIT64(14));
    }
    return 0;
}

static uint8_t fetch(struct vtd_model *m, uint32_t index, uint64_t irte[2])
{
    struct vtd_key key = { .kind = VTD_IEC, .addr = index };
    struct vtd_entry *e = vtd_cache_find(m, &key);
    if (e) {
        memcpy(irte, e->raw, 16);
        return 0;
    }
    uint64_t at = (m->ir_table & vtd_mask(63, 12)) + (uint64_t)index * 16;
    if (vtd_beyond_haw(m, at))
        return 0x21;
    vtd_watch_table(m, at, 16);
    if (!vtd_watch_read(m, at, irte, 16, vtd_ecap(m, ECAP_C)))
        return 0x23;
    if (vtd_cap(m, CAP_CM) || ((irte[0] & 1) && irte_valid(m, irte))) {
        e = vtd_cache_insert(m, &key, 0, 0, 0, 0);
        memcpy(e->raw, irte, 16);
    }
    return 0;
}

static uint8_t remap(struct vtd_model *m, uint16_t rid, uint64_t addr, uint32_t data,
                     uint32_t *index, bool *fpd)
{
    bool shv = addr >> 3 & 1;
    if (vtd_ecap(m, ECAP_EIMER) && !eime(m))
        return 0x2a;
    if (!(addr >> 4 & 1)) { /* compatibility format */
        if (eime(m) || !vtd_gsts(m, GSTS_CFIS))
            return 0x25;
        if (m->bus.interrupt)
            m->bus.interrupt(m->bus.ctx, addr, data);
        return 0;
    }
    if (shv && data >> 16)
        return 0x20;
    *index = (uint32_t)(vtd_bits(addr, 19, 5) | (addr >> 2 & 1) << 15) + (shv ? data & 0xffff : 0);
    if (*index >= BIT64((m->ir_table & 0xf) + 1))
        return 0x21;
    uint64_t irte[2];
    uint8_t r = fetch(m, *index, irte);
    if (r)
        return r;
    *fpd = irte[0] >> 1 & 1;
    if (!(irte[0] & 1))
        return 0x22;
    if (vtd_bits(irte[1], 19, 18) == 3)
        return 0x24;
    if (!source_ok(irte, rid))
        return 0x26;
    if (!irte_valid(m, irte))
        return 0x24;
    if (irte[0] >> 15 & 1)
        return post(m, irte);
    send_remapped(m, irte);
    return 0;
}

uint8_t vtd_intremap(struct vtd_model *m, uint16_t rid, uint64_t addr, uint32_t data)
{
    uint32_t index = 0;
    bool fpd = false;
    uint8_t r;
    if (!vtd_gsts(m, GSTS_IRES)) {
        if (!vtd_ecap(m, ECAP_IRREQ)) {
            if (m->bus.interrupt)
                m->bus.interrupt(m->bus.ctx, addr, data);
            return 0;
        }
        r = 0x2b;
    } else {
        r = remap(m, rid, addr, data, &index, &fpd);
    }
    if (r)
        vtd_fault_report_ir(m, rid, r, index, fpd);
    return r;
}
