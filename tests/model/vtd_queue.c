/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The invalidation queue (6.5.2): fetch, checks, errors and ordering. A fetched invalidation is
 * carried out as late as 6.5.2.12 lets hardware do it: at a wait, or when a device-TLB request
 * needs it. So what is not waited for is not done.
 */
#include "tests/model/vtd_queue.h"

#include <string.h>

enum iqei { IQE_NONE, IQE_TAIL, IQE_FETCH, IQE_TYPE, IQE_RESERVED, IQE_WIDTH, IQE_ALIGN, IQE_TTM };

static uint64_t queue_bytes(const struct vtd_model *m)
{
    return PAGE_SIZE << (m->iqa & 7);
}

static unsigned desc_bytes(const struct vtd_model *m)
{
    return (m->iqa >> 11 & 1) ? 32 : 16;
}

/* --- what descriptors may contain ----------------------------------------------------------- */

struct layout {
    uint64_t q0, q1; /* bits that are not reserved */
    uint8_t g_ok;    /* mask of legal granularities, 0: no such field */
};

static struct layout layout_of(const struct vtd_model *m, unsigned type)
{
    uint64_t head = vtd_mask(3, 0) | vtd_mask(11, 9), pfsid = vtd_mask(15, 12) | vtd_mask(63, 52);
    uint64_t addr = vtd_mask(63, 12), g = vtd_mask(5, 4), did = vtd_mask(31, 16);
    if (!vtd_ecap(m, ECAP_DIT))
        pfsid = 0;
    switch (type) {
    case VTD_T_CC: return (struct layout){ head | g | did | vtd_mask(49, 32), 0, 0xe };
    case VTD_T_IOTLB:
        return (struct layout){ head | g | vtd_mask(7, 6) | did, addr | vtd_mask(6, 0),
                                vtd_cap(m, CAP_PSI) ? 0xe : 0x6 };
    case VTD_T_DTLB:
        return (struct layout){ head | vtd_mask(20, 16) | vtd_mask(47, 32) | pfsid, addr | 1, 0 };
    case VTD_T_IEC:
        return (struct layout){ head | BIT64(4) | vtd_mask(31, 27) | vtd_mask(47, 32), 0, 0 };
    case VTD_T_WAIT:
        return (struct layout){ head | vtd_mask(6, 4) | vtd_mask(63, 32) |
                                    (vtd_ecap(m, ECAP_PDS) ? BIT64(7) : 0),
                                vtd_mask(63, 2), 0 };
    case VTD_T_PIOTLB:
        return (struct layout){ head | g | did | vtd_mask(51, 32), addr | vtd_mask(6, 0), 0xc };
    case VTD_T_PC: return (struct layout){ head | g | did | vtd_mask(51, 32), 0, 0xb };
    case VTD_T_PDTLB:
        return (struct layout){ head | vtd_mask(8, 4) | did | vtd_mask(51, 32) | pfsid,
                                addr | BIT64(11) | 1, 0 };
    case VTD_T_RESPONSE: /* bit 66 is ignored in 5.10, reserved before */
        return (struct layout){ head | BIT64(4) | vtd_mask(15, 12) | did | vtd_mask(51, 32),
                                vtd_mask(11, 2), 0 };
    }
    return (struct layout){ 0 };
}

static bool type_legal(const struct vtd_model *m, unsigned type)
{
    if (type < VTD_T_CC || type > VTD_T_RESPONSE)
        return false;
    if (type > VTD_T_WAIT && vtd_ttm(m) == TTM_LEGACY)
        return false;
    if ((type == VTD_T_DTLB || type == VTD_T_PDTLB) && !vtd_ecap(m, ECAP_DT))
        return false;
    if (type == VTD_T_IEC && !vtd_ecap(m, ECAP_IR))
        return false;
    return type != VTD_T_RESPONSE || vtd_ecap(m, ECAP_PRS);
}

static enum iqei check(struct vtd_model *m, const uint64_t q[4])
{
    unsigned type = vtd_desc_type(q);
    if (!type_legal(m, type)) {
        vtd_complain(m, VTD_RULE_DESC_TYPE, "type %u, TTM %u, at %05llx", type, vtd_ttm(m),
                     (unsigned long long)m->iqh);
        return IQE_TYPE;
    }
    struct layout l = layout_of(m, type);
    unsigned g = (unsigned)vtd_bits(q[0], 5, 4);
    if ((q[0] & ~l.q0) || (q[1] & ~l.q1) || q[2] || q[3] || (l.g_ok && !(l.g_ok >> g & 1))) {
        vtd_complain(m, VTD_RULE_DESC_RESERVED, "type %u: %016llx %016llx %016llx %016llx", type,
                     (unsigned long long)q[0], (unsigned long long)q[1], (unsigned long long)q[2],
                     (unsigned long long)q[3]);
        return IQE_RESERVED;
    }
    unsigned am = (unsigned)vtd_bits(q[1], 5, 0), im = (unsigned)vtd_bits(q[0], 31, 27);
    if ((type == VTD_T_IOTLB && g == 3 && am > vtd_bits(m->cfg.cap, 53, 48)) ||
        (type == VTD_T_IEC && (q[0] >> 4 & 1) && im > vtd_bits(m->cfg.ecap, 23, 20))) {
        vtd_complain(m, VTD_RULE_DESC_MASK, "type %u: mask %u", type, type == VTD_T_IEC ? im : am);
        return IQE_RESERVED;
    }
    bool has_did =
        type == VTD_T_CC || type == VTD_T_IOTLB || type == VTD_T_PIOTLB || type == VTD_T_PC;
    if (has_did && vtd_did_width(m) < 16 && vtd_bits(q[0], 31, 16) >> vtd_did_width(m))
        vtd_complain(m, VTD_RULE_DID_RANGE, "type %u: DID %llx", type,
                     (unsigned long long)vtd_bits(q[0], 31, 16));
    return IQE_NONE;
}

/* --- carrying out --------------------------------------------------------------------------- */

/* Carry out what is pending; `keep` stays, being the one type that need not be done yet. */
static void settle(struct vtd_model *m, unsigned keep)
{
    unsigned n = m->pending_count, left = 0;
    for (unsigned i = 0; i < n; i++) {
        if (keep && vtd_desc_type(m->pending[i].q) == keep)
            m->pending[left++] = m->pending[i];
        else
            vtd_invalidate(m, m->pending[i].q);
    }
    m->pending_count = left;
}

void vtd_queue_settle(struct vtd_model *m)
{
    settle(m, 0);
}

static void defer(struct vtd_model *m, const uint64_t q[4])
{
    if (!m->cfg.cache_hard) {
        vtd_invalidate(m, q);
        return;
    }
    if (m->pending_count == sizeof(m->pending) / sizeof(m->pending[0]))
        settle(m, 0);
    memcpy(m->pending[m->pending_count++].q, q, sizeof(m->pending[0].q));
}

/* --- device-TLB, wait, response ------------------------------------------------------------- */

static void device_tlb(struct vtd_model *m, const uint64_t q[4])
{
    bool pasid_form = vtd_desc_type(q) == VTD_T_PDTLB;
    uint16_t sid = (uint16_t)(pasid_form ? vtd_bits(q[0], 31, 16) : vtd_bits(q[0], 47, 32));
    bool large = pasid_form ? q[1] >> 11 & 1 : q[1] & 1;
    uint64_t addr = q[1] & vtd_mask(63, 12), size = PAGE_SIZE;
    uint16_t pfsid = (uint16_t)(vtd_bits(q[0], 63, 52) << 4 | vtd_bits(q[0], 15, 12));

    /* 6.5.2.12: type 3 waits for 2 and 4, type 8 also for 6. */
    settle(m, pasid_form ? 0 : VTD_T_PIOTLB);
    if (!vtd_gsts(m, GSTS_TES))
        vtd_complain(m, VTD_RULE_DEVTLB_DISABLED, "device %04x", sid);
    if (vtd_ecap(m, ECAP_DIT) && !pfsid && sid)
        vtd_complain(m, VTD_RULE_DEVTLB_PFSID, "device %04x", sid);
    if (large) { /* lowest zero bit from 12 up gives the size (ATS) */
        unsigned bit = PAGE_SHIFT;
        while (bit < 64 && (addr >> bit & 1))
            bit++;
        if (bit == 64)
            vtd_complain(m, VTD_RULE_DEVTLB_SIZE, "device %04x, address %016llx", sid,
                         (unsigned long long)addr);
        /* Bits 62:12 all ones: the whole space, whose size 2^64 is written as 0. */
        size = bit >= 63 ? 0 : BIT64(bit + 1);
        addr = size ? addr & ~(size - 1) : 0;
    }
    bool gi = pasid_form && (q[1] & 1);
    bool answered =
        vtd_gsts(m, GSTS_TES) && m->bus.devtlb_invalidate &&
        m->bus.devtlb_invalidate(m->bus.ctx, sid, pasid_form ? (int32_t)vtd_bits(q[0], 51, 32) : -1,
                                 gi, addr, size);
    if (!answered && !m->itag_lost) {
        m->itag_lost = true;
        m->itag_sid = sid;
    }
}

/* 6.5.2.11: waits pending are aborted; nothing behind the request is guaranteed to have run. */
static void time_out(struct vtd_model *m)
{
    m->itag_lost = false;
    m->iqercd = (m->iqercd & ~vtd_mask(47, 32)) | (uint64_t)m->itag_sid << 32;
    vtd_fault_status(m, FSTS_ITE);
}

void vtd_model_unexpected_completion(struct vtd_model *m, uint16_t rid)
{
    if (!vtd_gsts(m, GSTS_TES) || !vtd_ecap(m, ECAP_DT))
        return; /* answered with UR (4.2.1) */
    if (!(m->fsts >> FSTS_ICE & 1))
        m->iqercd = (m->iqercd & ~vtd_mask(63, 48)) | (uint64_t)rid << 48;
    vtd_fault_status(m, FSTS_ICE);
}

static void wait_done(struct vtd_model *m, const uint64_t q[4])
{
    settle(m, 0);
    if (q[0] >> 5 & 1) {
        uint32_t data = (uint32_t)(q[0] >> 32);
        uint64_t at = q[1] & vtd_mask(m->cfg.haw - 1u, 2);
        if (vtd_is_fee(at) || !m->bus.write(m->bus.ctx, at, &data, sizeof(data)))
            vtd_complain(m, VTD_RULE_WAIT_ADDRESS, "%016llx", (unsigned long long)at);
    }
    if ((q[0] >> 4 & 1) && !(m->ics & 1)) {
        m->ics |= 1;
        vtd_event_raise(m, &m->inv_event);
    }
}

static void execute(struct vtd_model *m, const uint64_t q[4])
{
    unsigned type = vtd_desc_type(q);
    if (m->itag_lost) {
        /* Behind a device-TLB request without answer: fetched, and lost with the time-out. */
        if (type == VTD_T_WAIT && (q[0] >> 6 & 1))
            time_out(m); /* a fence holds the queue until then */
        return;
    }
    switch (type) {
    case VTD_T_WAIT: wait_done(m, q); break;
    case VTD_T_DTLB:
    case VTD_T_PDTLB: device_tlb(m, q); break;
    case VTD_T_RESPONSE:
        vtd_prq_respond(m, (uint16_t)vtd_bits(q[0], 31, 16), q[0] >> 4 & 1,
                        (uint32_t)vtd_bits(q[0], 51, 32), (uint16_t)vtd_bits(q[1], 11, 3),
                        (uint8_t)vtd_bits(q[0], 15, 12));
        break;
    default: defer(m, q);
    }
}

/* --- fetch ---------------------------------------------------------------------------------- */

static void queue_error(struct vtd_model *m, enum iqei info)
{
    m->iqercd = (m->iqercd & ~UINT64_C(0xf)) | info;
    vtd_fault_status(m, FSTS_IQE);
}

static enum iqei queue_state(struct vtd_model *m)
{
    bool dw = m->iqa >> 11 & 1;
    if (vtd_ttm(m) == TTM_RESERVED)
        return IQE_TTM;
    if (dw ? !vtd_ecap(m, ECAP_SMTS) && !vtd_ecap(m, ECAP_ADMS) : vtd_ttm(m) != TTM_LEGACY) {
        vtd_complain(m, VTD_RULE_DESC_WIDTH, "DW=%u TTM=%u", dw, vtd_ttm(m));
        return IQE_WIDTH;
    }
    if (dw && (m->iqt & 0x10)) {
        vtd_complain(m, VTD_RULE_DESC_TAIL, "tail %05llx", (unsigned long long)m->iqt);
        return IQE_ALIGN;
    }
    if (m->iqt >= queue_bytes(m)) {
        vtd_complain(m, VTD_RULE_DESC_TAIL, "tail %05llx", (unsigned long long)m->iqt);
        return IQE_TAIL;
    }
    return IQE_NONE;
}

static bool may_fetch(const struct vtd_model *m)
{
    return vtd_gsts(m, GSTS_QIES) && m->iqh != m->iqt &&
           !(m->fsts & (BIT64(FSTS_IQE) | BIT64(FSTS_ITE)));
}

void vtd_queue_run(struct vtd_model *m)
{
    if (m->in_queue)
        return; /* called back from a device or an interrupt handler */
    m->in_queue = true;
    while (may_fetch(m)) {
        uint64_t q[4] = { 0 };
        enum iqei bad = queue_state(m);
        uint64_t at = (m->iqa & vtd_haw_page(m)) + m->iqh;
        if (!bad && !m->bus.read(m->bus.ctx, at, q, desc_bytes(m))) {
            vtd_complain(m, VTD_RULE_DESC_MEMORY, "%016llx", (unsigned long long)at);
            bad = IQE_FETCH;
        }
        if (!bad)
            bad = check(m, q);
        if (bad) {
            if (m->itag_lost)
                time_out(m);
            queue_error(m, bad);
            break;
        }
        m->iqh = (m->iqh + desc_bytes(m)) % queue_bytes(m);
        m->last_was_wait = vtd_desc_type(q) == VTD_T_WAIT;
        execute(m, q);
    }
    if (m->itag_lost)
        time_out(m);
    m->in_queue = false;
}

void vtd_queue_reset(struct vtd_model *m)
{
    settle(m, 0);
    m->iqh = 0;
    m->last_was_wait = true;
}

bool vtd_queue_quiesced(const struct vtd_model *m)
{
    return m->iqh == m->iqt && m->last_was_wait && !m->pending_count;
}
