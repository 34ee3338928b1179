/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of devices: untranslated, translation (ATS) and translated (3, 4.2), the interrupt
 * address range (3.15), and DMA with its data moved.
 */
#include "tests/model/vtd_internal.h"

#include <string.h>

static struct vtd_entry *iotlb_find(struct vtd_model *m, const struct vtd_ask *ask)
{
    static const uint8_t shifts[] = { 12, 21, 30 };
    for (unsigned i = 0; i < 3; i++) {
        struct vtd_key key = {
            .kind = VTD_IOTLB,
            .shift = shifts[i],
            .with_pasid = ask->with_pasid,
            .id = ask->rid,
            .pasid = ask->with_pasid ? ask->req_pasid : 0,
            .addr = ask->addr & ~(BIT64(shifts[i]) - 1),
        };
        struct vtd_entry *e = vtd_cache_find(m, &key);
        if (e)
            return e;
    }
    return nullptr;
}

/* A large mapping is also kept as the fragment in use: it may outlive the large entry. */
static void keep_fragment(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_entry *large)
{
    struct vtd_key key = large->key;
    struct vtd_xlat x = large->x;
    x.hpa |= ask->addr & (BIT64(key.shift) - 1) & ~(PAGE_SIZE - 1);
    key.shift = PAGE_SHIFT;
    key.addr = ask->addr & ~(PAGE_SIZE - 1);
    struct vtd_entry *e = vtd_cache_insert(m, &key, large->tag_sid, large->tag_did,
                                           large->tag_pasid, large->tag_pgtt);
    e->x = x;
    vtd_did_enter(m, e);
}

/*
 * Returns 0 or the reason. out->hpa is the start of the 4 KiB page then, except that a translation
 * request also looks at map_shift.
 */
uint8_t vtd_translate(struct vtd_model *m, struct vtd_ask *ask, struct vtd_xlat *out)
{
    /* Untranslated requests may be served by the IOTLB alone (6.2.7): its tags are enough. */
    bool at = ask->kind == ASK_TRANSLATION;
    uint8_t r;
    memset(out, 0, sizeof(*out));
    if (at) {
        if ((r = vtd_tables_context(m, ask)))
            return r;
        if (!ask->legacy && (r = vtd_tables_pasid(m, ask)))
            return r;
        /* S.1, S.2 of Table 30: not a fault, decided by the caller. */
        if (!ask->with_pasid && vtd_is_fee(ask->addr))
            return 0;
    }
    struct vtd_entry *e = iotlb_find(m, ask);
    if (e) {
        *out = e->x;
        ask->fpd |= e->x.fpd;
        out->hpa |= ask->addr & (BIT64(e->key.shift) - 1) & ~(PAGE_SIZE - 1);
        if (e->x.reason)
            return e->x.reason;
        bool priv = ask->with_pasid && ask->privileged;
        if (priv && !e->x.sre && !e->x.legacy)
            return 0x5d;
        r = vtd_walk_output(ask, out, out->hpa);
        if (r)
            return r;
        r = vtd_walk_judge(m, ask, out);
        bool dirties = ask->write && !out->dirty && !(r && !at) && out->w &&
                       (out->pgtt == PGTT_SS || out->rw || (priv && !out->wpe));
        if (!dirties) {
            if (e->key.shift > PAGE_SHIFT)
                keep_fragment(m, ask, e);
            return r;
        }
        /* The dirty flag in memory has to be set first: walk again. */
    }
    if (!at) {
        if ((r = vtd_tables_context(m, ask)))
            return r;
        if (!ask->legacy && (r = vtd_tables_pasid(m, ask)))
            return r;
    }
    r = vtd_walk(m, ask, out);
    if (r && r != 0x85 && r != 0x86 && r != 0x05 && r != 0x06)
        return r;
    out->hpa |= ask->addr & (BIT64(out->map_shift) - 1) & ~(PAGE_SIZE - 1);
    return r;
}

/* Use a cached context or PASID entry once more, as a request in flight could. */
void vtd_replay(struct vtd_model *m, const struct vtd_entry *e)
{
    if (!e->used || !e->good)
        return;
    struct vtd_ask ask = {
        .kind = ASK_UNTRANSLATED,
        .rid = e->tag_sid,
        .with_pasid = e->last_with_pasid,
        .req_pasid = e->last_pasid,
        .pasid = e->last_pasid,
        .addr = e->last_addr,
        .read = true,
        .quiet = true,
        .legacy = vtd_ttm(m) == TTM_LEGACY,
    };
    struct vtd_xlat x;
    if (iotlb_find(m, &ask))
        return;
    if (e->key.kind == VTD_CONTEXT) {
        if (vtd_tables_context(m, &ask))
            return;
        if (!ask.legacy && vtd_tables_pasid(m, &ask))
            return;
    } else {
        memcpy(ask.pe, e->raw, sizeof(ask.pe));
        ask.did = e->tag_did;
        ask.pgtt = e->tag_pgtt;
        ask.have_pe = true;
    }
    vtd_walk(m, &ask, &x);
}

/* --- the public interface ------------------------------------------------------------------- */

static bool in_pmr(const struct vtd_model *m, uint64_t hpa)
{
    if (!(m->pmen & 1))
        return false;
    uint64_t low = m->plm[1] | (PAGE_SIZE * 512 - 1), high = m->phm[1] | (PAGE_SIZE * 512 - 1);
    return (vtd_cap(m, CAP_PLMR) && hpa >= m->plm[0] && hpa <= low) ||
           (vtd_cap(m, CAP_PHMR) && hpa >= m->phm[0] && hpa <= high);
}

static struct vtd_ask ask_of(const struct vtd_request *req, enum vtd_ask_kind kind)
{
    return (struct vtd_ask){
        .kind = kind,
        .rid = req->rid,
        .with_pasid = req->pasid_present,
        .privileged = req->pasid_present && req->privileged,
        .req_pasid = req->pasid & 0xfffff,
        .addr = req->addr,
        .read = req->access != VTD_WRITE,
        .write = req->access != VTD_READ,
        .atomic = req->access == VTD_ATOMIC,
    };
}

/* Translated requests stop at the context entry (4.2.5). */
static uint8_t translated(struct vtd_model *m, const struct vtd_request *req, uint64_t *hpa)
{
    if (!vtd_gsts(m, GSTS_TES) || !vtd_ecap(m, ECAP_DT))
        return VTD_BLOCKED;
    if (req->pasid_present && !vtd_ecap(m, ECAP_PTRS))
        return VTD_BLOCKED;
    struct vtd_ask ask = ask_of(req, ASK_TRANSLATED);
    uint8_t r = vtd_tables_context(m, &ask);
    if (!r && vtd_beyond_haw(m, req->addr))
        r = ask.legacy ? 0x04 : 0x83;
    if (!r && vtd_is_fee(req->addr))
        r = ask.legacy ? 0x0e : 0x87;
    if (r) {
        vtd_fault_report(m, &ask, r);
        return r;
    }
    *hpa = req->addr;
    return in_pmr(m, *hpa) ? VTD_BLOCKED : 0;
}

static uint8_t access_one(struct vtd_model *m, const struct vtd_request *req, bool zlr,
                          uint64_t *hpa)
{
    if (req->translated)
        return translated(m, req, hpa);
    if (!req->pasid_present && vtd_is_fee(req->addr)) {
        if (zlr) { /* completes without remapping */
            *hpa = req->addr;
            return 0;
        }
        vtd_fault_report_ir(m, req->rid, 0x29, 0, false);
        return 0x29;
    }
    struct vtd_ask ask = ask_of(req, ASK_UNTRANSLATED);
    ask.zlr = zlr;
    *hpa = req->addr;
    if (vtd_gsts(m, GSTS_TES)) {
        struct vtd_xlat x;
        uint8_t r = vtd_translate(m, &ask, &x);
        if (r) {
            vtd_fault_report(m, &ask, r);
            return r;
        }
        *hpa = x.hpa | (req->addr & (PAGE_SIZE - 1));
    }
    return in_pmr(m, *hpa) ? VTD_BLOCKED : 0;
}

uint8_t vtd_model_access(struct vtd_model *m, const struct vtd_request *req, uint64_t *hpa)
{
    return access_one(m, req, false, hpa);
}

uint8_t vtd_model_dma(struct vtd_model *m, const struct vtd_request *req, void *buf, size_t len)
{
    struct vtd_request piece = *req;
    uint64_t hpa;
    if (req->access == VTD_WRITE && len == 4 && !req->pasid_present && !req->translated &&
        vtd_is_fee(req->addr)) {
        uint32_t data;
        memcpy(&data, buf, sizeof(data));
        return vtd_intremap(m, req->rid, req->addr, data);
    }
    if (!len)
        return access_one(m, req, req->access == VTD_READ, &hpa);
    for (size_t done = 0; done < len;) {
        size_t n = PAGE_SIZE - (piece.addr & (PAGE_SIZE - 1));
        n = n < len - done ? n : len - done;
        uint8_t r = access_one(m, &piece, false, &hpa);
        if (r)
            return r;
        uint8_t *at = (uint8_t *)buf + done;
        bool ok;
        if (req->access == VTD_READ) {
            ok = m->bus.read(m->bus.ctx, hpa, at, n);
        } else if (req->access == VTD_WRITE) {
            ok = m->bus.write(m->bus.ctx, hpa, at, n);
        } else { /* AtomicOp Swap: the old value comes back in buf */
            uint8_t old[16];
            ok = n <= sizeof(old) && m->bus.read(m->bus.ctx, hpa, old, n) &&
                 m->bus.write(m->bus.ctx, hpa, at, n);
            if (ok)
                memcpy(at, old, n);
        }
        if (!ok)
            return VTD_BLOCKED;
        done += n;
        piece.addr += n;
    }
    return 0;
}

void vtd_model_translate(struct vtd_model *m, const struct vtd_request *req, bool no_write,
                         struct vtd_translation *out)
{
    *out = (struct vtd_translation){ .status = VTD_TC_UR };
    if (!vtd_gsts(m, GSTS_TES) || !vtd_ecap(m, ECAP_DT) || req->access == VTD_WRITE)
        return;
    struct vtd_ask ask = ask_of(req, ASK_TRANSLATION);
    bool nw = no_write && vtd_ecap(m, ECAP_NWFS);
    ask.read = true;
    ask.write = !nw;
    struct vtd_xlat x;
    uint8_t r = vtd_translate(m, &ask, &x);
    out->priv = ask.privileged;
    if (!r && !ask.with_pasid && vtd_is_fee(req->addr)) {
        out->status = VTD_TC_SUCCESS;
        out->u = out->w = !no_write;
        out->hpa = req->addr & ~(PAGE_SIZE - 1);
        out->size = PAGE_SIZE;
        return;
    }
    enum vtd_answer answer = r ? vtd_reason(r)->translation : ANS_PERM;
    if (r && answer != ANS_NONE && answer != ANS_PERM)
        vtd_fault_report(m, &ask, r);
    if (answer == ANS_UR || answer == ANS_CA || answer == ANS_NA) {
        out->status = answer == ANS_CA ? VTD_TC_CA : VTD_TC_UR;
        out->priv = false;
        return;
    }
    out->status = VTD_TC_SUCCESS;
    out->size = PAGE_SIZE;
    if (answer != ANS_PERM)
        return;
    struct vtd_ask part = ask;
    part.write = false;
    part.read = true;
    out->r = !vtd_walk_judge(m, &part, &x);
    part.read = false;
    part.write = true;
    out->w = !nw && !vtd_walk_judge(m, &part, &x);
    if (!out->r && !out->w)
        return;
    out->n = x.snoop;
    out->size = BIT64(x.map_shift);
    out->hpa = x.hpa & ~(out->size - 1);
}
