/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Life of the software VT-d unit, and the configuration it has by default.
 */
#include "tests/model/vtd_internal.h"

#include <stdlib.h>

uint64_t vtd_random(struct vtd_model *m)
{
    m->rng ^= m->rng << 13;
    m->rng ^= m->rng >> 7;
    m->rng ^= m->rng << 17;
    return m->rng;
}

/* Offered by the specification, not by this model. */
static const uint64_t unsupported_cap = BIT64(CAP_ECMDS);
static const uint64_t unsupported_ecap =
    BIT64(ECAP_VCS) | BIT64(ECAP_TDXCS) | BIT64(ECAP_PMS) | BIT64(ECAP_HPTS);

struct vtd_model *vtd_model_create(const struct vtd_model_config *config,
                                   const struct vtd_model_bus *bus)
{
    if ((config->cap & unsupported_cap) || (config->ecap & unsupported_ecap) || config->haw < 32 ||
        config->haw > 52 || (config->cap & 7) > 6)
        return nullptr;
    struct vtd_model *m = calloc(1, sizeof(*m));
    if (!m)
        return nullptr;
    m->cfg = *config;
    m->bus = *bus;
    m->rng = config->seed ? config->seed : 1;
    m->cache = vtd_cache_create();
    m->dids = calloc(1 << 16, sizeof(*m->dids));
    if (!m->cache || !m->dids) {
        vtd_model_destroy(m);
        return nullptr;
    }
    m->fault_event.ctl = m->inv_event.ctl = m->page_event.ctl = 0x80000000;
    m->mtrr[0] = 0x50a; /* ten variable ranges, fixed ranges, WC */
    m->last_was_wait = true;
    return m;
}

void vtd_model_destroy(struct vtd_model *m)
{
    if (!m)
        return;
    vtd_prq_destroy(m);
    vtd_watch_destroy(m);
    vtd_cache_destroy(m->cache);
    vtd_did_destroy(m);
    free(m->dids);
    free(m);
}

void vtd_model_run(struct vtd_model *m)
{
    vtd_command_poll(m);
    vtd_queue_run(m);
}

struct vtd_model_config vtd_model_default_config(void)
{
    struct vtd_model_config c = {
        .version = 0x60,
        .haw = 46,
        .cache_hard = true,
        .slow = 0,
        .seed = 1,
    };
    c.cap = 6                    /* 16-bit domain-ids */
            | UINT64_C(0xe) << 8 /* 39, 48, 57 bits */
            | UINT64_C(56) << 16 /* MGAW 57 */
            | BIT64(CAP_ZLR) | UINT64_C(0x60) << 24 | UINT64_C(3) << 34 | BIT64(CAP_PSI) |
            UINT64_C(7) << 40 /* eight fault records at 0x600 */
            | UINT64_C(18) << 48 | BIT64(54) | BIT64(55) | BIT64(CAP_FS1GP) | BIT64(CAP_FS5LP) |
            BIT64(CAP_ESIRTPS) | BIT64(CAP_ESRTPS);
    c.ecap = BIT64(ECAP_C) | BIT64(ECAP_QI) | BIT64(ECAP_DT) | BIT64(ECAP_IR) | BIT64(ECAP_EIM) |
             BIT64(ECAP_PT) | BIT64(ECAP_SC) | UINT64_C(0x50) << 8 | UINT64_C(15) << 20 |
             BIT64(ECAP_NEST) | BIT64(ECAP_PRS) | BIT64(ECAP_SRS) | BIT64(ECAP_NWFS) |
             BIT64(ECAP_EAFS) | UINT64_C(19) << 35 | BIT64(ECAP_PASID) | BIT64(ECAP_DIT) |
             BIT64(ECAP_PDS) | BIT64(ECAP_SMTS) | BIT64(ECAP_SSADS) | BIT64(ECAP_SSTS) |
             BIT64(ECAP_FSTS) | BIT64(ECAP_SMPWCS) | BIT64(ECAP_RPS) | BIT64(ECAP_ADMS) |
             BIT64(ECAP_RPRIVS) | BIT64(ECAP_SMS);
    return c;
}
