/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores of software to tables in use (6.2.3.1, 9), and the flushes that tables need which
 * hardware reads without snooping (3.10). Works on what the test harness tells:
 * vtd_model_memory_written after each store, vtd_model_cache_flush after each flush.
 */
#include "tests/model/vtd_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 1 << 12, LINE = 64 };

/* A page of context, PASID or interrupt-remapping entries, as software last left it. */
struct vtd_watch {
    struct vtd_watch *next;
    uint64_t page;
    unsigned entry; /* bytes per entry */
    uint8_t copy[PAGE_SIZE];
    uint16_t cached[PAGE_SIZE / 16]; /* cached present entries, by entry */
};

static struct vtd_watch *page_find(const struct vtd_model *m, uint64_t page)
{
    struct vtd_watch *w = m->watches ? m->watches[(page >> PAGE_SHIFT) % PAGES] : nullptr;
    while (w && w->page != page)
        w = w->next;
    return w;
}

void vtd_watch_table(struct vtd_model *m, uint64_t hpa, unsigned entry)
{
    uint64_t page = hpa & ~(PAGE_SIZE - 1);
    if (!m->watches) {
        m->watches = calloc(PAGES, sizeof(struct vtd_watch *));
        if (!m->watches)
            abort();
    }
    struct vtd_watch *w = page_find(m, page);
    if (w && w->entry == entry)
        return;
    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w)
            abort();
        struct vtd_watch **at = &m->watches[(page >> PAGE_SHIFT) % PAGES];
        w->page = page;
        w->next = *at;
        *at = w;
    }
    w->entry = entry;
    memset(w->cached, 0, sizeof(w->cached));
    if (!m->bus.read(m->bus.ctx, page, w->copy, sizeof(w->copy)))
        memset(w->copy, 0, sizeof(w->copy));
}

void vtd_watch_cached(struct vtd_model *m, uint64_t hpa, int change)
{
    struct vtd_watch *w = page_find(m, hpa & ~(PAGE_SIZE - 1));
    if (!w)
        return;
    uint16_t *n = &w->cached[(hpa & (PAGE_SIZE - 1)) / w->entry];
    if (change > 0 || *n)
        *n = (uint16_t)(*n + change);
}

void vtd_watch_destroy(struct vtd_model *m)
{
    for (unsigned i = 0; m->watches && i < PAGES; i++) {
        for (struct vtd_watch *w = m->watches[i], *next; w; w = next) {
            next = w->next;
            free(w);
        }
    }
    free(m->watches);
    free(m->dirty_lines);
}

/* --- tables in use -------------------------------------------------------------------------- */

static bool in_use(const struct vtd_model *m, const struct vtd_watch *w)
{
    return w->entry == 16 && vtd_ttm(m) != TTM_LEGACY ? vtd_gsts(m, GSTS_IRES)
                                                      : vtd_gsts(m, GSTS_TES);
}

/* One entry was touched by a store of `len` bytes. */
static void judge(struct vtd_model *m, const struct vtd_watch *w, unsigned index,
                  const uint8_t *now, uint64_t store, size_t len)
{
    uint64_t old[8] = { 0 }, new[8] = { 0 };
    memcpy(old, w->copy + index * w->entry, w->entry);
    memcpy(new, now + index * w->entry, w->entry);
    unsigned long long at = w->page + index * w->entry;
    if (!memcmp(old, new, w->entry))
        return;
    bool piece = len <= 16 && store / 16 == (store + len - 1) / 16;
    if (!(old[0] & 1)) {
        if (!(new[0] & 1))
            return;
        if (w->cached[index])
            vtd_complain(m, VTD_RULE_ENTRY_REUSE, "entry at %llx", at);
        /* The store that sets P may carry no piece that could be read before it. */
        if (!piece && w->entry > 16)
            vtd_complain(m, VTD_RULE_ENTRY_PUBLISH, "entry at %llx, store of %zu", at, len);
        return;
    }
    if (!(new[0] & 1)) {
        if (!piece && w->entry > 16 && memcmp(old + 2, new + 2, w->entry - 16))
            vtd_complain(m, VTD_RULE_ENTRY_TORN, "entry at %llx cleared by %zu bytes", at, len);
        return;
    }
    if (!piece || len < 8) {
        /* A dword store may change flags, but tears every pointer. */
        uint64_t pointers = 0;
        for (unsigned i = 0; i < w->entry / 8; i++)
            pointers |= (old[i] ^ new[i]) & vtd_mask(63, 12);
        if (!piece || pointers) {
            vtd_complain(m, w->entry == 16 ? VTD_RULE_IRTE_TORN : VTD_RULE_ENTRY_TORN,
                         "entry at %llx, store of %zu at %llx", at, len, (unsigned long long)store);
            return;
        }
    }
    if (w->entry == 64) {
        uint64_t key = vtd_mask(63, 12) | vtd_mask(8, 6) | vtd_mask(4, 2);
        if (((old[0] ^ new[0]) & key) && (uint16_t)old[1] == (uint16_t)new[1])
            vtd_complain(m, VTD_RULE_ENTRY_DID, "entry at %llx, DID %u", at, (unsigned)old[1]);
    } else if (w->entry == 16 && len < 16 && vtd_ttm(m) != TTM_LEGACY) {
        vtd_complain(m, VTD_RULE_IRTE_TORN, "entry at %llx, store of %zu", at, len);
    }
}

static void written_page(struct vtd_model *m, uint64_t hpa, size_t len)
{
    struct vtd_watch *w = page_find(m, hpa & ~(PAGE_SIZE - 1));
    uint8_t now[PAGE_SIZE];
    if (!w || !m->bus.read(m->bus.ctx, w->page, now, sizeof(now)))
        return;
    unsigned first = (unsigned)(hpa & (PAGE_SIZE - 1)) / w->entry;
    unsigned last = (unsigned)((hpa + len - 1) & (PAGE_SIZE - 1)) / w->entry;
    for (unsigned i = first; i <= last && in_use(m, w); i++)
        judge(m, w, i, now, hpa, len);
    memcpy(w->copy, now, sizeof(now));
}

/* --- lines not yet flushed ------------------------------------------------------------------ */

static size_t line_slot(const struct vtd_model *m, uint64_t line)
{
    size_t i = (size_t)((line * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (m->dirty_size - 1);
    while (m->dirty_lines[i] && m->dirty_lines[i] != line + 1)
        i = (i + 1) & (m->dirty_size - 1);
    return i;
}

static void line_add(struct vtd_model *m, uint64_t line)
{
    if (m->dirty_used * 2 >= m->dirty_size) {
        uint64_t *old = m->dirty_lines;
        size_t n = m->dirty_size;
        m->dirty_size = n ? 2 * n : 1024;
        m->dirty_lines = calloc(m->dirty_size, sizeof(*m->dirty_lines));
        if (!m->dirty_lines)
            abort();
        for (size_t i = 0; i < n; i++)
            if (old[i])
                m->dirty_lines[line_slot(m, old[i] - 1)] = old[i];
        free(old);
    }
    size_t i = line_slot(m, line);
    m->dirty_used += !m->dirty_lines[i];
    m->dirty_lines[i] = line + 1;
}

static void line_remove(struct vtd_model *m, uint64_t line)
{
    if (!m->dirty_used)
        return;
    size_t hole = line_slot(m, line), mask = m->dirty_size - 1;
    if (!m->dirty_lines[hole])
        return;
    m->dirty_lines[hole] = 0;
    m->dirty_used--;
    /* Entries behind the hole that were pushed past it move back. */
    for (size_t i = (hole + 1) & mask; m->dirty_lines[i]; i = (i + 1) & mask) {
        uint64_t moved = m->dirty_lines[i];
        m->dirty_lines[i] = 0;
        m->dirty_lines[line_slot(m, moved - 1)] = moved;
    }
}

static bool coherent(const struct vtd_model *m)
{
    return vtd_ecap(m, ECAP_C) && (vtd_ecap(m, ECAP_SMPWCS) || !vtd_ecap(m, ECAP_SMTS));
}

void vtd_model_memory_written(struct vtd_model *m, uint64_t hpa, size_t len)
{
    if (!len)
        return;
    for (uint64_t at = hpa, end = hpa + len; at < end;) {
        uint64_t stop = (at & ~(PAGE_SIZE - 1)) + PAGE_SIZE;
        size_t n = (size_t)((stop < end ? stop : end) - at);
        written_page(m, at, n);
        at += n;
    }
    if (!coherent(m))
        for (uint64_t line = hpa / LINE; line <= (hpa + len - 1) / LINE; line++)
            line_add(m, line);
}

void vtd_model_cache_flush(struct vtd_model *m, uint64_t hpa, size_t len)
{
    if (!len)
        return;
    for (uint64_t line = hpa / LINE; line <= (hpa + len - 1) / LINE; line++)
        line_remove(m, line);
}

bool vtd_watch_read(struct vtd_model *m, uint64_t hpa, void *buf, size_t len, bool snooped)
{
    if (vtd_beyond_haw(m, hpa))
        return false;
    if (!snooped && m->dirty_used && m->dirty_lines[line_slot(m, hpa / LINE)] && !m->replaying)
        vtd_complain(m, VTD_RULE_FLUSH_MISSING, "read of %zu bytes at %llx", len,
                     (unsigned long long)hpa);
    return m->bus.read(m->bus.ctx, hpa, buf, len);
}
