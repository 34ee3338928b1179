/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page requests and page group responses (7.4 - 7.8): the queue, Table 31, the implicit
 * invalidation of 6.5.3.1, and the book of groups that software owes an answer.
 */
#include "tests/model/vtd_internal.h"

#include <stdlib.h>

enum { GROUPS = 1 << 12 };

struct vtd_group {
    struct vtd_group *next;
    uint64_t key;
    uint32_t owed;       /* last requests delivered, not yet answered */
    bool open, answered; /* requests seen without LPIG; answered before */
};

static uint64_t group_key(uint16_t rid, bool pp, uint32_t pasid, uint16_t prgi)
{
    return (uint64_t)rid << 32 | (uint64_t)pp << 31 | (pp ? (uint64_t)pasid << 9 : 0) | prgi;
}

static struct vtd_group *group_find(struct vtd_model *m, uint64_t key, bool create)
{
    if (!m->groups) {
        m->groups = calloc(GROUPS, sizeof(struct vtd_group *));
        if (!m->groups)
            abort();
    }
    struct vtd_group **at =
        &m->groups[(uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % GROUPS];
    for (struct vtd_group *g = *at; g; g = g->next)
        if (g->key == key)
            return g;
    if (!create)
        return nullptr;
    struct vtd_group *g = calloc(1, sizeof(*g));
    if (!g)
        abort();
    g->key = key;
    g->next = *at;
    return *at = g;
}

void vtd_prq_destroy(struct vtd_model *m)
{
    for (unsigned i = 0; m->groups && i < GROUPS; i++) {
        for (struct vtd_group *g = m->groups[i], *next; g; g = next) {
            next = g->next;
            free(g);
        }
    }
    free(m->groups);
}

void vtd_prq_respond(struct vtd_model *m, uint16_t rid, bool pp, uint32_t pasid, uint16_t prgi,
                     uint8_t code)
{
    struct vtd_group *g = group_find(m, group_key(rid, pp, pasid, prgi), false);
    if (code != 0 && code != 1 && code != 0xf)
        vtd_complain(m, VTD_RULE_RESPONSE_CODE, "code %x", code);
    if (g && g->owed) {
        g->owed--;
        g->answered = true;
    } else {
        enum vtd_rule rule = g && g->open       ? VTD_RULE_RESPONSE_EARLY
                             : g && g->answered ? VTD_RULE_RESPONSE_TWICE
                                                : VTD_RULE_RESPONSE_UNKNOWN;
        vtd_complain(m, rule, "device %04x PASID %d group %u", rid, pp ? (int)pasid : -1, prgi);
    }
    if (m->bus.page_response)
        m->bus.page_response(m->bus.ctx, rid, pp ? (int32_t)pasid : -1, prgi, code);
}

static uint64_t queue_bytes(const struct vtd_model *m)
{
    return PAGE_SIZE << (m->pqa & 7);
}

static void status(struct vtd_model *m, unsigned bit)
{
    bool first = !(m->prs & 3);
    m->prs |= (uint32_t)BIT64(bit);
    if (first)
        vtd_event_raise(m, &m->page_event);
}

static void answer(struct vtd_model *m, const struct vtd_page_request *req, uint8_t code)
{
    bool stop_marker = !req->read && !req->write;
    if (!req->lpig || (stop_marker && vtd_ecap(m, ECAP_SMS)))
        return;
    if (m->bus.page_response)
        m->bus.page_response(m->bus.ctx, req->rid, req->pasid_present ? (int32_t)req->pasid : -1,
                             req->prgi, code);
}

/* Table 27. */
static void implicit_invalidation(struct vtd_model *m, const struct vtd_ask *ask)
{
    uint64_t page = ask->addr & ~(PAGE_SIZE - 1);
    if (ask->pgtt == PGTT_FS)
        vtd_invalidate_piotlb(m, true, ask->did, ask->pasid, page, 0, false);
    else
        vtd_invalidate_iotlb(m, ask->pgtt == PGTT_NESTED ? 2 : 3, ask->did, page, 0, false);
}

static void write_request(struct vtd_model *m, const struct vtd_page_request *req)
{
    uint64_t q[4] = { 0 };
    q[0] = 1 | (uint64_t)req->pasid_present << 8 | (uint64_t)req->rid << 16 |
           (uint64_t)(req->pasid & 0xfffff) << 32 |
           (uint64_t)(req->pasid_present && req->privileged) << 53;
    q[1] = (uint64_t)req->read | (uint64_t)req->write << 1 | (uint64_t)req->lpig << 2 |
           (uint64_t)(req->prgi & 0x1ff) << 3 | (req->addr & ~(PAGE_SIZE - 1));
    uint64_t at = (m->pqa & vtd_haw_page(m)) + m->pqt;
    if (!m->bus.write(m->bus.ctx, at, q, sizeof(q)))
        vtd_complain(m, VTD_RULE_PRQ_MEMORY, "%016llx", (unsigned long long)at);
    m->pqt = (m->pqt + 32) % queue_bytes(m);

    bool stop_marker = !req->read && !req->write;
    if (!stop_marker) {
        struct vtd_group *g = group_find(
            m, group_key(req->rid, req->pasid_present, req->pasid & 0xfffff, req->prgi & 0x1ff),
            true);
        g->owed += req->lpig;
        g->open = !req->lpig;
        if (req->lpig)
            g->answered = false;
    }
    status(m, PRS_PPR);
}

void vtd_model_page_request(struct vtd_model *m, const struct vtd_page_request *req)
{
    if (!vtd_gsts(m, GSTS_TES) || !vtd_ecap(m, ECAP_PRS))
        return; /* a message to nobody */
    struct vtd_ask ask = {
        .kind = ASK_PAGE,
        .rid = req->rid,
        .with_pasid = req->pasid_present,
        .privileged = req->pasid_present && req->privileged,
        .req_pasid = req->pasid & 0xfffff,
        .addr = req->addr,
        .read = req->read,
        .write = req->write,
    };
    uint8_t r = vtd_tables_context(m, &ask);
    if (!r)
        r = vtd_tables_pasid(m, &ask);
    if (r) {
        vtd_fault_report(m, &ask, r);
        answer(m, req, 1);
        return;
    }
    if (m->prs >> PRS_PRO & 1) {
        answer(m, req, 0);
        return;
    }
    if ((m->pqt + 32) % queue_bytes(m) == m->pqh) {
        status(m, PRS_PRO);
        answer(m, req, 0);
        return;
    }
    implicit_invalidation(m, &ask);
    write_request(m, req);
}
