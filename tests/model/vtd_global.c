/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Global commands: translation, queue and interrupt remapping on and off, table pointers (11.4.4.1,
 * 6.6, 6.7), one at a time and each taking its time (6.9).
 */
#include "tests/model/vtd_regs.h"

enum {
    LEVELS = 1u << GSTS_TES | 1u << GSTS_QIES | 1u << GSTS_IRES | 1u << GSTS_CFIS,
    SHOTS = 1u << GSTS_RTPS | 1u << GSTS_WBFS | 1u << GSTS_IRTPS
};

static void set_root(struct vtd_model *m)
{
    unsigned ttm = (unsigned)vtd_bits(m->rtaddr, 11, 10);
    bool moved = (m->root ^ m->rtaddr) & 0xc80;
    if (ttm == TTM_RESERVED || (ttm == TTM_SCALABLE && !vtd_ecap(m, ECAP_SMTS)) ||
        (ttm == TTM_ABORT && !vtd_ecap(m, ECAP_ADMS)))
        vtd_complain(m, VTD_RULE_TTM_INVALID, "TTM %u", ttm);
    if (vtd_gsts(m, GSTS_TES) && moved && !vtd_cap(m, CAP_ESRTPS))
        vtd_complain(m, VTD_RULE_TTM_CHANGE_ACTIVE, "RTADDR %016llx",
                     (unsigned long long)m->rtaddr);
    if (ttm != TTM_LEGACY && vtd_gsts(m, GSTS_QIES) && !(m->iqa >> 11 & 1))
        vtd_complain(m, VTD_RULE_SRTP_DW, "TTM %u", ttm);
    if (ttm != TTM_ABORT)
        vtd_command_address(m, m->rtaddr & vtd_mask(63, 12));
    m->root = m->rtaddr;
    m->gsts |= 1u << GSTS_RTPS;
    m->srtp_done = true;
    if (vtd_cap(m, CAP_ESRTPS))
        vtd_cache_drop_dma(m);
    else
        m->need_inv = ttm == TTM_SCALABLE ? 7 : ttm == TTM_LEGACY ? 5 : 0;
}

static void set_irt(struct vtd_model *m)
{
    if (vtd_gsts(m, GSTS_IRES) && ((m->irta ^ m->ir_table) >> 11 & 1))
        vtd_complain(m, VTD_RULE_EIME_CHANGE_ACTIVE, "IRTA %016llx", (unsigned long long)m->irta);
    if (vtd_ecap(m, ECAP_EIMER) && !(m->irta >> 11 & 1))
        vtd_complain(m, VTD_RULE_EIME_REQUIRED, "IRTA %016llx", (unsigned long long)m->irta);
    vtd_command_address(m, m->irta & vtd_mask(63, 12));
    m->ir_table = m->irta;
    m->gsts |= 1u << GSTS_IRTPS;
    m->sirtp_done = true;
    if (vtd_cap(m, CAP_ESIRTPS))
        vtd_cache_drop(m, &(struct vtd_filter){ .kinds = 1u << VTD_IEC });
    else
        m->need_iec = true;
}

static void enable_te(struct vtd_model *m, bool on)
{
    if (!on) {
        m->srtp_done = false;
        if (vtd_ecap(m, ECAP_SMTS))
            vtd_cache_drop_dma(m);
        return;
    }
    vtd_queue_settle(m);
    if (!m->srtp_done)
        vtd_complain(m, VTD_RULE_TE_WITHOUT_SRTP, "TE 0 to 1");
    if (m->need_inv)
        vtd_complain(m, VTD_RULE_TE_STALE_CACHES, "missing:%s%s%s",
                     m->need_inv & 1 ? " context" : "", m->need_inv & 2 ? " PASID" : "",
                     m->need_inv & 4 ? " IOTLB" : "");
    if (vtd_ttm(m) == TTM_SCALABLE && !vtd_gsts(m, GSTS_QIES))
        vtd_complain(m, VTD_RULE_TE_WITHOUT_QI, "TE 0 to 1");
}

static void enable_qi(struct vtd_model *m, bool on)
{
    if (on) {
        if (m->iqt)
            vtd_complain(m, VTD_RULE_QIE_TAIL, "tail %05llx", (unsigned long long)m->iqt);
    } else if (!vtd_queue_quiesced(m)) {
        vtd_complain(m, VTD_RULE_QIE_BUSY, "head %05llx tail %05llx", (unsigned long long)m->iqh,
                     (unsigned long long)m->iqt);
    }
    vtd_queue_reset(m);
}

static void enable_ir(struct vtd_model *m, bool on)
{
    if (!on) {
        m->sirtp_done = false;
        if (vtd_cap(m, CAP_ESIRTPS))
            vtd_cache_drop(m, &(struct vtd_filter){ .kinds = 1u << VTD_IEC });
        return;
    }
    vtd_queue_settle(m);
    if (!m->sirtp_done)
        vtd_complain(m, VTD_RULE_IRE_WITHOUT_SIRTP, "IRE 0 to 1");
    if (m->need_iec)
        vtd_complain(m, VTD_RULE_IRE_STALE_CACHE, "IRE 0 to 1");
}

static void command_done(struct vtd_model *m)
{
    uint32_t what = m->gcmd_pending, v = m->gcmd_value;
    m->gcmd_pending = 0;
    m->gcmd_countdown = 0;
    if (what & 1u << GSTS_RTPS)
        set_root(m);
    if (what & 1u << GSTS_WBFS)
        m->gsts &= ~(1u << GSTS_WBFS);
    if (what & 1u << GSTS_IRTPS)
        set_irt(m);
    if (what & 1u << GSTS_QIES)
        enable_qi(m, v >> GSTS_QIES & 1);
    if (what & 1u << GSTS_TES)
        enable_te(m, v >> GSTS_TES & 1);
    if (what & 1u << GSTS_IRES)
        enable_ir(m, v >> GSTS_IRES & 1);
    m->gsts = (m->gsts & ~(what & LEVELS)) | (v & what & LEVELS);
    if (!vtd_gsts(m, GSTS_TES) && !vtd_gsts(m, GSTS_IRES))
        m->frcd_index = 0; /* 7.2.1 */
    vtd_queue_run(m);
}

void vtd_global_command(struct vtd_model *m, uint32_t v)
{
    if (m->gcmd_pending) {
        vtd_complain(m, VTD_RULE_GCMD_BUSY, "GCMD %08x while %08x", v, m->gcmd_pending);
        command_done(m);
    }
    if (m->pmen_countdown)
        vtd_complain(m, VTD_RULE_COMMAND_BUSY, "GCMD %08x while PMEN", v);
    uint32_t what = ((v ^ m->gsts) & LEVELS) | (v & SHOTS);
    if (__builtin_popcount(what) > 1)
        vtd_complain(m, VTD_RULE_GCMD_TWO_BITS, "GCMD %08x, GSTS %08x", v, m->gsts);
    uint32_t missing =
        (vtd_cap(m, CAP_RWBF) ? 0 : 1u << GSTS_WBFS) |
        (vtd_ecap(m, ECAP_QI) ? 0 : 1u << GSTS_QIES) |
        (vtd_ecap(m, ECAP_IR) ? 0 : 1u << GSTS_IRES | 1u << GSTS_IRTPS | 1u << GSTS_CFIS);
    if (what & missing)
        vtd_complain(m, VTD_RULE_GCMD_UNSUPPORTED, "GCMD %08x", v);
    what &= ~missing;
    if (!what)
        return;
    m->gsts &= ~(what & (1u << GSTS_RTPS | 1u << GSTS_IRTPS));
    m->gsts |= what & 1u << GSTS_WBFS;
    m->gcmd_pending = what;
    m->gcmd_value = v;
    m->gcmd_countdown = m->cfg.slow;
    if (!m->gcmd_countdown)
        command_done(m);
}

void vtd_command_poll(struct vtd_model *m)
{
    if (m->gcmd_countdown)
        m->gcmd_countdown--;
    if (m->gcmd_pending && !m->gcmd_countdown)
        command_done(m);
    if (m->pmen_countdown) {
        m->pmen_countdown--;
        if (!m->pmen_countdown)
            m->pmen = (m->pmen & ~1u) | m->pmen >> 31;
    }
}
