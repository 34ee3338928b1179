/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translation caches of 6.2 in one store: lookup by the tags of Table 17, invalidation by
 * domain, by domain and PASID, or by kind. With cache_hard nothing leaves but by invalidation;
 * without it, a hit is now and then forgotten, as hardware may.
 */
#include "tests/model/vtd_internal.h"

#include <stdlib.h>
#include <string.h>

enum { HASH = 1 << 16, DIDS = 1 << 12, PAIRS = 1 << 16, LIMIT = 1 << 20 };

struct vtd_cache {
    struct vtd_entry *hash[HASH], *did[DIDS], *pair[PAIRS];
    struct vtd_entry *first[VTD_KINDS], *last[VTD_KINDS];
    size_t count[VTD_KINDS], total;
};

static uint32_t mix(uint64_t v)
{
    v ^= v >> 33;
    v *= UINT64_C(0xff51afd7ed558ccd);
    v ^= v >> 29;
    v *= UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(v >> 32);
}

static uint32_t key_slot(const struct vtd_key *k)
{
    uint64_t a = (uint64_t)k->kind << 56 | (uint64_t)k->shift << 48 | (uint64_t)k->id << 32 |
                 (uint64_t)k->with_pasid << 31 | k->pasid;
    return mix(a ^ (k->addr >> PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15)) % HASH;
}

static bool key_equal(const struct vtd_key *a, const struct vtd_key *b)
{
    return a->kind == b->kind && a->shift == b->shift && a->with_pasid == b->with_pasid &&
           a->id == b->id && a->pasid == b->pasid && a->addr == b->addr;
}

static struct vtd_entry **did_list(struct vtd_cache *c, uint16_t did)
{
    return &c->did[did % DIDS];
}

static struct vtd_entry **pair_list(struct vtd_cache *c, uint16_t did, uint32_t pasid)
{
    return &c->pair[mix((uint64_t)did << 32 | pasid) % PAIRS];
}

struct vtd_cache *vtd_cache_create(void)
{
    return calloc(1, sizeof(struct vtd_cache));
}

static void unlink_entry(struct vtd_cache *c, struct vtd_entry *e)
{
    if ((*e->hash_at = e->hash))
        e->hash->hash_at = e->hash_at;
    if ((*e->did_at = e->did))
        e->did->did_at = e->did_at;
    if ((*e->pair_at = e->pair))
        e->pair->pair_at = e->pair_at;
    *(e->prev ? &e->prev->next : &c->first[e->key.kind]) = e->next;
    *(e->next ? &e->next->prev : &c->last[e->key.kind]) = e->prev;
    c->count[e->key.kind]--;
    c->total--;
}

static void remove_entry(struct vtd_model *m, struct vtd_entry *e)
{
    unlink_entry(m->cache, e);
    vtd_did_leave(m, e);
    free(e);
}

void vtd_cache_destroy(struct vtd_cache *c)
{
    for (unsigned k = 0; c && k < VTD_KINDS; k++) {
        for (struct vtd_entry *e = c->first[k], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    }
    free(c);
}

struct vtd_entry *vtd_cache_find(struct vtd_model *m, const struct vtd_key *key)
{
    struct vtd_entry *e = m->cache->hash[key_slot(key)];
    while (e && !key_equal(&e->key, key))
        e = e->hash;
    if (e && !m->cfg.cache_hard && !m->replaying && vtd_random(m) % 8 == 0) {
        remove_entry(m, e);
        return nullptr;
    }
    return e;
}

struct vtd_entry *vtd_cache_insert(struct vtd_model *m, const struct vtd_key *key, uint16_t sid,
                                   uint16_t did, uint32_t pasid, uint8_t pgtt)
{
    struct vtd_cache *c = m->cache;
    struct vtd_entry *e = c->hash[key_slot(key)];
    while (e && !key_equal(&e->key, key))
        e = e->hash;
    if (e)
        remove_entry(m, e);
    if (c->total >= LIMIT && !m->replaying && c->first[VTD_IOTLB])
        remove_entry(m, c->first[VTD_IOTLB]);

    e = calloc(1, sizeof(*e));
    if (!e)
        abort();
    e->key = *key;
    e->tag_sid = sid;
    e->tag_did = did;
    e->tag_pasid = pasid;
    e->tag_pgtt = pgtt;

    struct vtd_entry **at = &c->hash[key_slot(key)];
    if ((e->hash = *at))
        e->hash->hash_at = &e->hash;
    *(e->hash_at = at) = e;
    at = did_list(c, did);
    if ((e->did = *at))
        e->did->did_at = &e->did;
    *(e->did_at = at) = e;
    at = pair_list(c, did, pasid);
    if ((e->pair = *at))
        e->pair->pair_at = &e->pair;
    *(e->pair_at = at) = e;
    e->prev = c->last[key->kind];
    *(e->prev ? &e->prev->next : &c->first[key->kind]) = e;
    c->last[key->kind] = e;
    c->count[key->kind]++;
    c->total++;
    return e;
}

static bool matches(const struct vtd_filter *f, const struct vtd_entry *e)
{
    uint64_t last = e->key.addr + (BIT64(e->key.shift) - 1);
    if (!(f->kinds >> e->key.kind & 1) || (f->by_did && e->tag_did != f->did) ||
        (f->by_pasid && e->tag_pasid != f->pasid) ||
        (f->by_sid && ((e->tag_sid ^ f->sid) & (uint16_t)~f->sid_mask)) ||
        (f->pgtt_mask && !(f->pgtt_mask >> e->tag_pgtt & 1)))
        return false;
    /* What the address range of a second-stage invalidation cannot select goes anyway (Table 23).
     */
    bool first = e->tag_pgtt == PGTT_FS || e->tag_pgtt == PGTT_NESTED;
    if (f->second_stage && (e->key.kind == VTD_FSPS || (e->key.kind == VTD_IOTLB && first)))
        return true;
    return !f->by_addr || (e->key.addr <= f->last && last >= f->first);
}

struct hits {
    struct vtd_entry **e;
    size_t n, room;
};

static void hit(struct hits *h, struct vtd_entry *e)
{
    if (h->n == h->room) {
        h->room = h->room ? 2 * h->room : 64;
        struct vtd_entry **more = realloc(h->e, h->room * sizeof(*more));
        if (!more)
            abort();
        h->e = more;
    }
    h->e[h->n++] = e;
}

/*
 * Requests in flight may use a context or PASID entry until the moment it goes. So each such entry
 * is used once more before it is dropped: what that brings back into the IOTLB is stale if software
 * flushed the IOTLB first (6.2.2.1, 6.2.3.1: serially context, PASID, IOTLB).
 */
void vtd_cache_drop(struct vtd_model *m, const struct vtd_filter *f)
{
    struct vtd_cache *c = m->cache;
    struct hits h = { nullptr, 0, 0 };
    if (f->by_did && f->by_pasid) {
        for (struct vtd_entry *e = *pair_list(c, f->did, f->pasid); e; e = e->pair)
            if (matches(f, e))
                hit(&h, e);
    } else if (f->by_did) {
        for (struct vtd_entry *e = *did_list(c, f->did); e; e = e->did)
            if (matches(f, e))
                hit(&h, e);
    } else {
        for (unsigned k = 0; k < VTD_KINDS; k++)
            for (struct vtd_entry *e = (f->kinds >> k & 1) ? c->first[k] : nullptr; e; e = e->next)
                if (matches(f, e))
                    hit(&h, e);
    }
    if (m->cfg.cache_hard && !m->replaying && (f->kinds & (1u << VTD_CONTEXT | 1u << VTD_PASID))) {
        m->replaying = true;
        for (size_t i = 0; i < h.n; i++)
            vtd_replay(m, h.e[i]);
        m->replaying = false;
    }
    for (size_t i = 0; i < h.n; i++)
        remove_entry(m, h.e[i]);
    free(h.e);
}

void vtd_cache_drop_dma(struct vtd_model *m)
{
    bool was = m->replaying;
    m->replaying = true; /* one sweep: nothing is left to be refilled from */
    vtd_cache_drop(m, &(struct vtd_filter){ .kinds = ~(1u << VTD_IEC) });
    m->replaying = was;
}

void vtd_cache_each(struct vtd_model *m, uint32_t kinds, uint16_t did, uint32_t pasid,
                    bool (*fn)(struct vtd_model *, struct vtd_entry *, void *), void *arg)
{
    struct vtd_entry *next;
    for (struct vtd_entry *e = *pair_list(m->cache, did, pasid); e; e = next) {
        next = e->pair;
        if (e->tag_did == did && e->tag_pasid == pasid && (kinds >> e->key.kind & 1) &&
            !fn(m, e, arg))
            return;
    }
}

size_t vtd_cache_count(const struct vtd_model *m, enum vtd_kind kind)
{
    return m->cache->count[kind];
}
