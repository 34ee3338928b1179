/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault reasons (Table 30, Table 15), primary fault logging (7.2.1), and the event messages of
 * faults, invalidation completion and page requests (7.3, 6.5.2.10, 7.5).
 */
#include "tests/model/vtd_internal.h"

/* code, qualified, answer to a translation request */
static const struct vtd_reason reasons[] = {
    { 0x08, false, ANS_CA },
    { 0x01, false, ANS_UR },
    { 0x0a, false, ANS_CA },
    { 0x09, false, ANS_CA },
    { 0x02, true, ANS_UR },
    { 0x0b, true, ANS_CA },
    { 0x03, true, ANS_CA },
    { 0x0d, true, ANS_UR },
    { 0x07, true, ANS_CA },
    { 0x0c, true, ANS_CA },
    { 0x04, true, ANS_NONE },
    { 0x05, true, ANS_PERM },
    { 0x06, true, ANS_PERM },
    { 0x0e, true, ANS_CA },
    { 0x30, false, ANS_CA },
    { 0x31, false, ANS_UR },
    { 0x32, false, ANS_NA },
    { 0x33, false, ANS_UR },
    { 0x38, false, ANS_CA },
    { 0x39, false, ANS_UR },
    { 0x3a, false, ANS_CA },
    { 0x40, false, ANS_CA },
    { 0x41, true, ANS_UR },
    { 0x42, true, ANS_CA },
    { 0x43, true, ANS_CA },
    { 0x44, true, ANS_UR },
    { 0x45, true, ANS_UR },
    { 0x46, true, ANS_UR },
    { 0x47, true, ANS_NA },
    { 0x48, true, ANS_UR },
    { 0x49, true, ANS_NA },
    { 0x50, false, ANS_CA },
    { 0x51, true, ANS_NONE },
    { 0x52, true, ANS_CA },
    { 0x58, false, ANS_CA },
    { 0x59, true, ANS_NONE },
    { 0x5a, true, ANS_CA },
    { 0x5b, true, ANS_CA },
    { 0x5d, true, ANS_NONE },
    { 0x70, true, ANS_NONE },
    { 0x71, true, ANS_NONE },
    { 0x72, true, ANS_NONE },
    { 0x73, true, ANS_NONE },
    { 0x74, true, ANS_NONE },
    { 0x75, true, ANS_NONE },
    { 0x76, true, ANS_NONE },
    { 0x77, true, ANS_NONE },
    { 0x90, true, ANS_NONE },
    { 0x91, true, ANS_NONE_LOGGED },
    { 0x78, true, ANS_CA },
    { 0x79, true, ANS_NONE },
    { 0x7a, true, ANS_CA },
    { 0x7b, true, ANS_CA },
    { 0x7c, true, ANS_CA },
    { 0x7d, true, ANS_CA },
    { 0x80, true, ANS_NONE },
    { 0x81, true, ANS_NONE },
    { 0x83, true, ANS_NONE },
    { 0x84, true, ANS_NONE },
    { 0x85, true, ANS_PERM },
    { 0x86, true, ANS_PERM },
    { 0x87, true, ANS_CA },
    { 0x89, true, ANS_UR },
    /* interrupt remapping */
    { 0x20, false, ANS_NA },
    { 0x21, false, ANS_NA },
    { 0x22, true, ANS_NA },
    { 0x23, false, ANS_NA },
    { 0x24, true, ANS_NA },
    { 0x25, false, ANS_NA },
    { 0x26, true, ANS_NA },
    { 0x27, true, ANS_NA },
    { 0x28, true, ANS_NA },
    { 0x29, false, ANS_NA },
    { 0x2a, false, ANS_NA },
    { 0x2b, false, ANS_NA },
};

const struct vtd_reason *vtd_reason(uint8_t code)
{
    static const struct vtd_reason other = { 0, false, ANS_UR };
    for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return &reasons[i];
    return &other;
}

/* --- events --------------------------------------------------------------------------------- */

enum { EVENT_IM = 31, EVENT_IP = 30 };

static void event_send(struct vtd_model *m, struct vtd_event *e)
{
    e->ctl &= ~(uint32_t)BIT64(EVENT_IP);
    bool x2apic = vtd_ecap(m, ECAP_EIM);
    if (!vtd_is_fee(e->addr) || (e->addr & 0xff3) || (e->data & ~0x1ffu) || (e->uaddr & 0xff) ||
        (e->uaddr && !x2apic))
        vtd_complain(m, VTD_RULE_EVENT_MSI, "address %08x %08x data %08x", e->uaddr, e->addr,
                     e->data);
    if (m->bus.interrupt)
        m->bus.interrupt(m->bus.ctx, (uint64_t)e->uaddr << 32 | e->addr, e->data);
}

void vtd_event_raise(struct vtd_model *m, struct vtd_event *e)
{
    e->ctl |= (uint32_t)BIT64(EVENT_IP);
    if (!(e->ctl >> EVENT_IM & 1))
        event_send(m, e);
}

void vtd_event_control(struct vtd_model *m, struct vtd_event *e, uint32_t value)
{
    e->ctl = (e->ctl & (uint32_t)BIT64(EVENT_IP)) | (value & (uint32_t)BIT64(EVENT_IM));
    if (!(e->ctl >> EVENT_IM & 1) && (e->ctl >> EVENT_IP & 1))
        event_send(m, e);
}

/* --- logging -------------------------------------------------------------------------------- */

static unsigned frcd_count(const struct vtd_model *m)
{
    return (unsigned)vtd_bits(m->cfg.cap, 47, 40) + 1;
}

bool vtd_fault_ppf(const struct vtd_model *m)
{
    for (unsigned i = 0; i < frcd_count(m); i++)
        if (m->frcd[i][1] >> 63)
            return true;
    return false;
}

static bool quiet_so_far(const struct vtd_model *m)
{
    uint32_t any =
        (uint32_t)(BIT64(FSTS_PFO) | BIT64(FSTS_IQE) | BIT64(FSTS_ICE) | BIT64(FSTS_ITE));
    return !(m->fsts & any) && !vtd_fault_ppf(m);
}

void vtd_fault_serviced(struct vtd_model *m)
{
    if (quiet_so_far(m))
        m->fault_event.ctl &= ~(uint32_t)BIT64(EVENT_IP);
}

void vtd_fault_status(struct vtd_model *m, unsigned bit)
{
    bool first = quiet_so_far(m);
    m->fsts |= (uint32_t)BIT64(bit);
    if (first)
        vtd_event_raise(m, &m->fault_event);
}

static void log_fault(struct vtd_model *m, uint64_t q0, uint64_t q1)
{
    if (m->fsts >> FSTS_PFO & 1)
        return;
    if (m->frcd[m->frcd_index][1] >> 63) {
        m->fsts |= (uint32_t)BIT64(FSTS_PFO);
        return;
    }
    bool first = quiet_so_far(m);
    if (!vtd_fault_ppf(m))
        m->fsts = (m->fsts & ~0xff00u) | m->frcd_index << 8;
    m->frcd[m->frcd_index][0] = q0;
    m->frcd[m->frcd_index][1] = q1 | BIT64(63);
    /* The index stays 0 while both translations are off (7.2.1). */
    bool on = vtd_gsts(m, GSTS_TES) || vtd_gsts(m, GSTS_IRES);
    unsigned next = m->frcd_index + 1;
    m->frcd_index = on && next < frcd_count(m) ? next : 0;
    if (first)
        vtd_event_raise(m, &m->fault_event);
}

void vtd_fault_report(struct vtd_model *m, const struct vtd_ask *ask, uint8_t code)
{
    const struct vtd_reason *r = vtd_reason(code);
    if (ask->quiet || !r->code || (r->qualified && ask->fpd))
        return;
    /* T1, T2: 00 write, 01 page request, 10 read, 11 atomic. */
    bool atomic = ask->atomic;
    uint64_t t1 = atomic || (ask->read && ask->kind != ASK_PAGE);
    uint64_t t2 = atomic || ask->kind == ASK_PAGE;
    uint64_t at = ask->kind == ASK_TRANSLATION ? 1 : ask->kind == ASK_TRANSLATED ? 2 : 0;
    if (!vtd_ecap(m, ECAP_DT))
        at = 0;
    uint64_t q1 = ask->rid | t2 << 28 | (uint64_t)code << 32 | at << 60 | t1 << 62;
    if (ask->with_pasid && vtd_ecap(m, ECAP_PASID))
        q1 |= (uint64_t)ask->privileged << 29 | BIT64(31) | (uint64_t)ask->req_pasid << 40;
    /* Bits beyond the largest AGAW are reserved (11.4.7.6). */
    unsigned top = (m->cfg.cap >> 11 & 1)   ? 57
                   : (m->cfg.cap >> 10 & 1) ? 48
                   : (m->cfg.cap >> 9 & 1)  ? 39
                                            : 64;
    uint64_t info = ask->addr & vtd_mask(63, 12);
    if (top < 64)
        info &= BIT64(top) - 1;
    log_fault(m, info, q1);
}

void vtd_fault_report_ir(struct vtd_model *m, uint16_t rid, uint8_t code, uint32_t index, bool fpd)
{
    if (vtd_reason(code)->qualified && fpd)
        return;
    bool has_index = code != 0x20 && code != 0x25 && code < 0x29;
    log_fault(m, has_index ? (uint64_t)(index & 0xffff) << 48 : 0, rid | (uint64_t)code << 32);
}
