/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What register writes set off, but for global commands: queue set-up, event control, status
 * clearing, register-based invalidation (6.5.1) and protected memory (11.4.8).
 */
#include "tests/model/vtd_regs.h"

/* Protected ranges are granular to 2 MiB here. */
static const uint64_t pmr_low = BIT64(21) - 1;

void vtd_command_address(struct vtd_model *m, uint64_t value)
{
    if (vtd_beyond_haw(m, value))
        vtd_complain(m, VTD_RULE_ADDRESS_WIDTH, "%016llx", (unsigned long long)value);
}

/* --- register-based invalidation ------------------------------------------------------------ */

static bool reginv_ok(struct vtd_model *m, const char *name)
{
    if (vtd_major(m) >= 6 || vtd_ttm(m) != TTM_LEGACY) {
        vtd_complain(m, VTD_RULE_REGINV_UNSUPPORTED, "%s", name);
        return false;
    }
    if (vtd_gsts(m, GSTS_QIES))
        vtd_complain(m, VTD_RULE_REGINV_QI, "%s", name);
    return true;
}

static void context_command(struct vtd_model *m, uint64_t v)
{
    uint64_t g = vtd_bits(v, 62, 61);
    m->ccmd = v & ~(BIT64(63) | vtd_mask(60, 59) | vtd_mask(33, 16));
    if (!(v >> 63) || !reginv_ok(m, "CCMD") || !g)
        return;
    vtd_invalidate_context(m, (unsigned)g, (uint16_t)v, (uint16_t)vtd_bits(v, 31, 16),
                           (unsigned)vtd_bits(v, 33, 32));
    m->ccmd |= g << 59;
}

static void iotlb_command(struct vtd_model *m, uint64_t v)
{
    uint64_t g = vtd_bits(v, 61, 60);
    unsigned am = (unsigned)vtd_bits(m->iva, 5, 0);
    m->iotlb = v & ~(BIT64(63) | vtd_mask(58, 57));
    if (!(v >> 63) || !reginv_ok(m, "IOTLB") || !g)
        return;
    if (g == 3 && (!vtd_cap(m, CAP_PSI) || am > vtd_bits(m->cfg.cap, 53, 48)))
        return; /* actual granularity 00 */
    vtd_invalidate_iotlb(m, (unsigned)g, (uint16_t)vtd_bits(v, 47, 32), m->iva & vtd_mask(63, 12),
                         am, m->iva >> 6 & 1);
    m->iotlb |= g << 57;
}

/* --- the rest ------------------------------------------------------------------------------- */

static void protected_memory(struct vtd_model *m, uint32_t v)
{
    if (!vtd_cap(m, CAP_PLMR) && !vtd_cap(m, CAP_PHMR))
        return; /* read-only without protected regions */
    if (m->pmen_countdown || m->gcmd_pending)
        vtd_complain(m, VTD_RULE_COMMAND_BUSY, "PMEN");
    m->pmen = (m->pmen & 1) | (v & 0x80000000);
    m->pmen_countdown = (uint8_t)(m->cfg.slow < 255 ? m->cfg.slow : 255);
    if (!m->pmen_countdown)
        m->pmen = (m->pmen & ~1u) | m->pmen >> 31;
}

static void pmr_range(struct vtd_model *m, uint64_t *at, uint64_t v)
{
    if (m->pmen & 1)
        vtd_complain(m, VTD_RULE_PMR_ACTIVE, "%016llx", (unsigned long long)v);
    *at = v & ~pmr_low;
}

static void queue_tail(struct vtd_model *m, uint64_t v)
{
    if (!vtd_gsts(m, GSTS_QIES) && v)
        vtd_complain(m, VTD_RULE_IQT_DISABLED, "tail %05llx", (unsigned long long)v);
    m->iqt = v;
}

static void queue_address(struct vtd_model *m, uint64_t v)
{
    if (vtd_gsts(m, GSTS_QIES) && m->iqh != m->iqt)
        vtd_complain(m, VTD_RULE_IQA_BUSY, "IQA %016llx", (unsigned long long)v);
    vtd_command_address(m, v & vtd_mask(63, 12));
    m->iqa = v;
}

static void clear_fsts(struct vtd_model *m, uint32_t v)
{
    uint32_t iq = 1u << FSTS_IQE | 1u << FSTS_ITE | 1u << FSTS_ICE;
    m->fsts &= ~(v & (iq | 1u << FSTS_PFO));
    if (v & 1u << FSTS_IQE)
        m->iqercd &= ~UINT64_C(0xf);
    if (v & 1u << FSTS_ITE)
        m->iqercd &= ~vtd_mask(47, 32);
    if (v & 1u << FSTS_ICE)
        m->iqercd &= ~vtd_mask(63, 48);
    vtd_fault_serviced(m);
}

static void clear_prs(struct vtd_model *m, uint32_t v)
{
    uint64_t size = PAGE_SIZE << (m->pqa & 7);
    if ((v & m->prs & 1u << PRS_PRO) && (m->pqt + 32) % size == m->pqh)
        vtd_complain(m, VTD_RULE_PRO_CLEARED_EARLY, "head %05llx", (unsigned long long)m->pqh);
    m->prs &= ~v;
    if (!(m->prs & 3))
        m->page_event.ctl &= ~(uint32_t)BIT64(30);
}

uint64_t vtd_command_read(const struct vtd_model *m, const struct vtd_reg *r)
{
    switch (r->id) {
    case VTD_R_VER: return m->cfg.version;
    case VTD_R_CAP: return m->cfg.cap;
    case VTD_R_ECAP: return m->cfg.ecap;
    case VTD_R_GCMD: return 0; /* write-only: undefined */
    case VTD_R_GSTS: return m->gsts;
    case VTD_R_RTADDR: return m->rtaddr;
    case VTD_R_CCMD: return m->ccmd;
    case VTD_R_FSTS: return m->fsts | (uint32_t)vtd_fault_ppf(m) << FSTS_PPF;
    case VTD_R_FECTL: return m->fault_event.ctl;
    case VTD_R_FEDATA: return m->fault_event.data;
    case VTD_R_FEADDR: return m->fault_event.addr;
    case VTD_R_FEUADDR: return m->fault_event.uaddr;
    case VTD_R_PMEN: return m->pmen;
    case VTD_R_PLMBASE: return m->plm[0];
    case VTD_R_PLMLIMIT: return m->plm[1];
    case VTD_R_PHMBASE: return m->phm[0];
    case VTD_R_PHMLIMIT: return m->phm[1];
    case VTD_R_IQH: return m->iqh;
    case VTD_R_IQT: return m->iqt;
    case VTD_R_IQA: return m->iqa;
    case VTD_R_ICS: return m->ics;
    case VTD_R_IECTL: return m->inv_event.ctl;
    case VTD_R_IEDATA: return m->inv_event.data;
    case VTD_R_IEADDR: return m->inv_event.addr;
    case VTD_R_IEUADDR: return m->inv_event.uaddr;
    case VTD_R_IQERCD: return m->iqercd;
    case VTD_R_IRTA: return m->irta;
    case VTD_R_PQH: return m->pqh;
    case VTD_R_PQT: return m->pqt;
    case VTD_R_PQA: return m->pqa;
    case VTD_R_PRS: return m->prs;
    case VTD_R_PECTL: return m->page_event.ctl;
    case VTD_R_PEDATA: return m->page_event.data;
    case VTD_R_PEADDR: return m->page_event.addr;
    case VTD_R_PEUADDR: return m->page_event.uaddr;
    case VTD_R_RDTC: return m->rdtc;
    case VTD_R_FRCD: return m->frcd[r->index / 2][r->index % 2];
    case VTD_R_IVA: return 0; /* write-only: undefined */
    case VTD_R_IOTLB: return m->iotlb;
    case VTD_R_MTRR: return m->mtrr[r->index];
    }
    return 0;
}

void vtd_command_write(struct vtd_model *m, const struct vtd_reg *r, uint64_t v, uint64_t lanes)
{
    bool high = lanes >> 32;
    switch (r->id) {
    case VTD_R_GCMD: vtd_global_command(m, (uint32_t)v); break;
    case VTD_R_RTADDR:
        if ((v >> 7 & 1) && !vtd_ecap(m, ECAP_SSIRWS))
            vtd_complain(m, VTD_RULE_RSVDZ, "RTADDR.SSIRWE");
        m->rtaddr = v;
        break;
    case VTD_R_CCMD:
        if (high)
            context_command(m, v);
        else
            m->ccmd = v;
        break;
    case VTD_R_FSTS: clear_fsts(m, (uint32_t)v); break;
    case VTD_R_FECTL: vtd_event_control(m, &m->fault_event, (uint32_t)v); break;
    case VTD_R_FEDATA: m->fault_event.data = (uint32_t)v; break;
    case VTD_R_FEADDR: m->fault_event.addr = (uint32_t)v; break;
    case VTD_R_FEUADDR: m->fault_event.uaddr = (uint32_t)v; break;
    case VTD_R_PMEN: protected_memory(m, (uint32_t)v); break;
    case VTD_R_PLMBASE: pmr_range(m, &m->plm[0], v); break;
    case VTD_R_PLMLIMIT: pmr_range(m, &m->plm[1], v); break;
    case VTD_R_PHMBASE: pmr_range(m, &m->phm[0], v); break;
    case VTD_R_PHMLIMIT: pmr_range(m, &m->phm[1], v); break;
    case VTD_R_IQT: queue_tail(m, v); break;
    case VTD_R_IQA: queue_address(m, v); break;
    case VTD_R_ICS:
        m->ics &= ~(uint32_t)v;
        if (!m->ics)
            m->inv_event.ctl &= ~(uint32_t)BIT64(30);
        break;
    case VTD_R_IECTL: vtd_event_control(m, &m->inv_event, (uint32_t)v); break;
    case VTD_R_IEDATA: m->inv_event.data = (uint32_t)v; break;
    case VTD_R_IEADDR: m->inv_event.addr = (uint32_t)v; break;
    case VTD_R_IEUADDR: m->inv_event.uaddr = (uint32_t)v; break;
    case VTD_R_IRTA:
        if ((v >> 11 & 1) && !vtd_ecap(m, ECAP_EIM))
            vtd_complain(m, VTD_RULE_RSVDZ, "IRTA.EIME");
        m->irta = v;
        break;
    case VTD_R_PQH:
        if (v >= PAGE_SIZE << (m->pqa & 7))
            vtd_complain(m, VTD_RULE_PRQ_HEAD, "%05llx", (unsigned long long)v);
        m->pqh = v % (PAGE_SIZE << (m->pqa & 7));
        break;
    case VTD_R_PQT:
        if (v)
            vtd_complain(m, VTD_RULE_PRQ_TAIL, "%05llx", (unsigned long long)v);
        m->pqt = v % (PAGE_SIZE << (m->pqa & 7));
        break;
    case VTD_R_PQA:
        vtd_command_address(m, v & vtd_mask(63, 12));
        m->pqa = v;
        break;
    case VTD_R_PRS: clear_prs(m, (uint32_t)v); break;
    case VTD_R_PECTL: vtd_event_control(m, &m->page_event, (uint32_t)v); break;
    case VTD_R_PEDATA: m->page_event.data = (uint32_t)v; break;
    case VTD_R_PEADDR: m->page_event.addr = (uint32_t)v; break;
    case VTD_R_PEUADDR: m->page_event.uaddr = (uint32_t)v; break;
    case VTD_R_RDTC: m->rdtc = v; break;
    case VTD_R_FRCD:
        if (v >> 63) {
            m->frcd[r->index / 2][1] &= ~BIT64(63);
            vtd_fault_serviced(m);
        }
        break;
    case VTD_R_IVA: m->iva = v; break;
    case VTD_R_IOTLB:
        if (high)
            iotlb_command(m, v);
        else
            m->iotlb = v;
        break;
    case VTD_R_MTRR: m->mtrr[r->index] = v; break;
    default: break;
    }
}
