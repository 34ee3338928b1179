/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walker. find() goes down from the root to the entry that decides about an address; map, unmap
 * and lookup all stand on it and then work along the table they reached, so a run of pages costs
 * one descent per table.
 *
 * Map works in three steps, so that an error changes nothing: look for holes and count the tables
 * they need, take those tables, fill. No table that hardware can reach ever points to an unfinished
 * one.
 */
#include "hv/pt.h"

#include "hv/log.h"
#include "hv/platform.h"

#define LEVELS_MAX 5u
#define ENTRIES    512u

const struct pt_format pt_format_x86 = {
    .name = "x86",
    .present = 1u << 0,
    .write = 1u << 1,
    .user = 1u << 2,
    .noexec = 1ull << 63,
    .leaf_base = 1u << 0 | 1u << 5 | 1u << 6,            /* P, A, D */
    .table_base = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 5, /* P, RW, US, A */
    .large = 1u << 7,
    .addr = 0x000ffffffffff000,
    .uncached = 1u << 3 | 1u << 4, /* PWT, PCD: PAT entry 3 */
    .memtype_mask = 1u << 3 | 1u << 4,
    .levels_min = 4,
    .levels_max = 5,
};

const struct pt_format pt_format_npt = {
    .name = "npt",
    .present = 1u << 0,
    .write = 1u << 1,
    .noexec = 1ull << 63,
    .leaf_base = 1u << 0 | 1u << 2 | 1u << 5 | 1u << 6, /* P, US, A, D */
    .table_base = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 5,
    .large = 1u << 7,
    .addr = 0x000ffffffffff000,
    .uncached = 1u << 3 | 1u << 4,
    .memtype_mask = 1u << 3 | 1u << 4,
    .levels_min = 4,
    .levels_max = 5,
};

const struct pt_format pt_format_ept = {
    .name = "ept",
    .present = 1u << 0 | 1u << 1 | 1u << 2,
    .read = 1u << 0,
    .write = 1u << 1,
    .exec = 1u << 2,
    .leaf_base = 6u << 3, /* write-back; the guest's PAT has its say, too */
    .table_base = 1u << 0 | 1u << 1 | 1u << 2,
    .large = 1u << 7,
    .addr = 0x000ffffffffff000,
    .uncached = 0, /* memory type 0 */
    .memtype_mask = 7u << 3,
    .levels_min = 4,
    .levels_max = 5,
};

const struct pt_format pt_format_vtd2 = {
    .name = "vtd2",
    .present = 1u << 0 | 1u << 1,
    .read = 1u << 0,
    .write = 1u << 1,
    .leaf_base = 6u << 3 | 1u << 8 | 1u << 9,  /* EMT write-back, A, D */
    .table_base = 1u << 0 | 1u << 1 | 1u << 8, /* R, W, A */
    .large = 1u << 7,
    .addr = 0x000ffffffffff000,
    .uncached = 0, /* EMT 0 */
    .memtype_mask = 7u << 3,
    .levels_min = 3,
    .levels_max = 5,
};

const struct pt_format pt_format_vtd2_snoop = {
    .name = "vtd2-snoop",
    .present = 1u << 0 | 1u << 1,
    .read = 1u << 0,
    .write = 1u << 1,
    .leaf_base = 6u << 3 | 1u << 8 | 1u << 9 | 1u << 11, /* and SNP */
    .table_base = 1u << 0 | 1u << 1 | 1u << 8,           /* R, W, A */
    .large = 1u << 7,
    .addr = 0x000ffffffffff000,
    .uncached = 0, /* EMT 0 */
    .memtype_mask = 7u << 3,
    .levels_min = 3,
    .levels_max = 5,
};

static unsigned shift_of(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

static uint64_t span_of(unsigned level)
{
    return 1ull << shift_of(level);
}

static unsigned index_of(uint64_t in, unsigned level)
{
    return (in >> shift_of(level)) & (ENTRIES - 1);
}

static bool present(const struct pt *pt, uint64_t entry)
{
    return (entry & pt->format->present) != 0;
}

static bool is_table(const struct pt *pt, uint64_t entry, unsigned level)
{
    return level > 1 && present(pt, entry) && !(entry & pt->format->large);
}

static uint64_t *child_of(const struct pt *pt, uint64_t entry)
{
    return phys_to_virt(PADDR(entry & pt->format->addr));
}

static uint64_t link_to(const struct pt *pt, const uint64_t *table)
{
    return virt_to_phys(table).v | pt->format->table_base;
}

static void flush(const struct pt *pt, const void *p, size_t size)
{
    if (pt->flush)
        cache_flush(p, size);
}

static void store(const struct pt *pt, uint64_t *entry, uint64_t value)
{
    store64(entry, value);
    flush(pt, entry, sizeof(*entry));
}

static void store_run(const struct pt *pt, uint64_t *entry, unsigned n, uint64_t value,
                      uint64_t step)
{
    store64_run(entry, n, value, step);
    flush(pt, entry, n * sizeof(*entry));
}

/* The same as a run of zeroes, but not by a call: then nothing is left to be counted up. */
[[gnu::always_inline]] static inline void clear_run(const struct pt *pt, uint64_t *entry,
                                                    unsigned n)
{
    store64_run(entry, n, 0, 0);
    flush(pt, entry, n * sizeof(*entry));
}

/* Where an address ends: a leaf or a hole, in a table of this level. */
struct place {
    unsigned level;
    uint64_t *entry;
};

/* @path: NULL, or gets the entry passed at each level. */
[[gnu::always_inline]] static inline struct place find(const struct pt *pt, uint64_t in,
                                                       uint64_t **path)
{
    const struct pt_format *f = pt->format;
    /* A link has a bit of `present` and not `large`, which is above all of them: one comparison. */
    const uint64_t bits = f->present | f->large, large = f->large, addr = f->addr;
    unsigned shift = shift_of(pt->levels);
    uint64_t *table = pt->root, *entry;

    for (unsigned level = pt->levels; level > 1; level--, shift -= 9) {
        entry = &table[(in >> shift) & (ENTRIES - 1)];
        if (path)
            path[level] = entry;
        if ((*entry & bits) - 1 >= large - 1)
            return (struct place){ level, entry };
        table = phys_to_virt(PADDR(*entry & addr));
    }
    entry = &table[(in >> PAGE_SHIFT) & (ENTRIES - 1)];
    if (path)
        path[1] = entry;
    return (struct place){ 1, entry };
}

/* How many entries of the table reached lie in [in, end), counting from in's own, at least one. */
static unsigned entries_until(const struct place *at, uint64_t in, uint64_t end)
{
    unsigned left = ENTRIES - index_of(in, at->level);
    uint64_t wanted = ((end - 1) >> shift_of(at->level)) - (in >> shift_of(at->level)) + 1;

    return wanted < left ? (unsigned)wanted : left;
}

/* The first byte behind entry n of a run that starts with in's; never beyond end. */
static uint64_t run_end(uint64_t in, unsigned n, unsigned level, uint64_t end)
{
    uint64_t stop = (in & ~(span_of(level) - 1)) + n * span_of(level);

    return stop < end ? stop : end;
}

static bool same_leaf_table(uint64_t in, uint64_t end)
{
    return ((in ^ (end - 1)) >> shift_of(2)) == 0;
}

static unsigned holes(const struct pt *pt, const uint64_t *entry, unsigned n)
{
    const uint64_t mask = pt->format->present;
    size_t i = 0;

    while (i + 4 <= n && !((entry[i] | entry[i + 1] | entry[i + 2] | entry[i + 3]) & mask))
        i += 4;
    while (i < n && !(entry[i] & mask))
        i++;
    return (unsigned)i;
}

/* Large leaves in a row. */
static unsigned leaves_from(const struct pt *pt, const uint64_t *entry, unsigned n)
{
    const uint64_t mask = pt->format->present, large = pt->format->large;
    unsigned i = 0;

    for (; i + 4 <= n; i += 4) {
        uint64_t all = entry[i] & entry[i + 1] & entry[i + 2] & entry[i + 3];
        if (!(all & mask) || !(all & large))
            break;
    }
    while (i < n && present(pt, entry[i]) && (entry[i] & pt->format->large))
        i++;
    return i;
}

static enum hv_status check_range(const struct pt *pt, uint64_t in, uint64_t size)
{
    if ((in | size) & PAGE_MASK)
        return HV_EALIGN;
    if (size == 0 || in + size < in || in + size > span_of(pt->levels + 1u))
        return HV_ERANGE;
    return HV_OK;
}

enum hv_status pt_create(struct pt *pt, const struct pt_format *format, struct page_quota *quota,
                         unsigned levels, unsigned large, bool no_snoop)
{
    void *root;

    if (levels < format->levels_min || levels > format->levels_max)
        return HV_ERANGE;
    enum hv_status status = pages_alloc(quota, 0, &root);
    if (status != HV_OK)
        return status;
    *pt = (struct pt){
        .format = format,
        .quota = quota,
        .root = root,
        .levels = (uint8_t)levels,
        .large = (large & 1) ? large & 3 : 0,
        .flush = no_snoop,
    };
    flush(pt, root, PAGE_SIZE);
    return HV_OK;
}

static void free_tables(struct pt *pt, uint64_t *table, unsigned level)
{
    for (unsigned i = 0; level > 1 && i < ENTRIES; i++) {
        if (is_table(pt, table[i], level))
            free_tables(pt, child_of(pt, table[i]), level - 1);
    }
    pages_free(pt->quota, 0, table);
}

void pt_destroy(struct pt *pt)
{
    if (pt->root)
        free_tables(pt, pt->root, pt->levels);
    pt->root = NULL;
}

/* Lists of table pages run through their first word. A page address has no present bit in any
 * format, so even a stale walk finds nothing there. */
static void list_push(uint64_t **head, uint64_t *page)
{
    store64(page, (uint64_t)(uintptr_t)*head);
    *head = page;
}

static uint64_t *list_pop(uint64_t **head)
{
    uint64_t *page = *head;

    hv_assert(page);
    *head = (uint64_t *)(uintptr_t)page[0];
    page[0] = 0;
    return page;
}

void pt_release(struct pt *pt, struct pt_freed *freed)
{
    while (freed->head)
        pages_free(pt->quota, 0, list_pop(&freed->head));
}

static enum hv_status list_fill(struct pt *pt, struct pt_freed *list, uint64_t n)
{
    while (n--) {
        void *page;
        enum hv_status status = pages_alloc(pt->quota, 0, &page);
        if (status != HV_OK) {
            pt_release(pt, list);
            return status;
        }
        list_push(&list->head, page);
    }
    return HV_OK;
}

/* One pt_map under way. */
struct mapping {
    uint64_t delta;      /* output address - input address */
    uint64_t bits;       /* of a 4K leaf; larger ones have format->large too */
    unsigned leaf_level; /* largest leaves that table and alignment allow */
    struct pt_freed spare;
};

static uint64_t leaf_bits(const struct pt_format *f, unsigned perm)
{
    uint64_t bits = f->leaf_base;

    if (perm & PT_UC)
        bits = (bits & ~f->memtype_mask) | f->uncached;
    return bits | (perm & PT_R ? f->read : 0) | (perm & PT_W ? f->write : 0) |
           (perm & PT_U ? f->user : 0) | (perm & PT_X ? f->exec : f->noexec);
}

/* Tables needed to map [in, end), which is a hole of entries at @level. Where leaves are allowed
 * only an entry that the range covers in part (its first, its last) needs a table. */
static uint64_t tables_needed(const struct mapping *m, uint64_t in, uint64_t end, unsigned level)
{
    uint64_t n = 0;

    for (; level > 1; level--) {
        unsigned shift = shift_of(level);
        uint64_t first = in >> shift, last = (end - 1) >> shift;
        bool head = (in & (span_of(level) - 1)) != 0, tail = (end & (span_of(level) - 1)) != 0;

        if (level > m->leaf_level)
            n += last - first + 1;
        else
            n += first == last ? head || tail : (uint64_t)head + tail;
    }
    return n;
}

/* Fill [in, end), which lies in one table; every entry it meets is a hole or a link. */
static void fill(struct pt *pt, struct mapping *m, uint64_t *table, unsigned level, uint64_t in,
                 uint64_t end)
{
    hv_assert(level > 0);
    const uint64_t span = span_of(level);

    while (in < end) {
        uint64_t *entry = &table[index_of(in, level)];
        uint64_t whole = (end - in) >> shift_of(level);

        if (level <= m->leaf_level && whole && !(in & (span - 1)) && !present(pt, *entry)) {
            unsigned n = level == 1 ? (unsigned)whole : holes(pt, entry, (unsigned)whole);
            uint64_t bits = m->bits | (level > 1 ? pt->format->large : 0);
            store_run(pt, entry, n, (in + m->delta) | bits, span);
            in += n * span;
            continue;
        }
        uint64_t next = run_end(in, 1, level, end);
        if (present(pt, *entry)) {
            fill(pt, m, child_of(pt, *entry), level - 1, in, next);
        } else {
            uint64_t *child = list_pop(&m->spare.head);
            fill(pt, m, child, level - 1, in, next);
            flush(pt, child, PAGE_SIZE);
            store(pt, entry, link_to(pt, child));
        }
        in = next;
    }
}

/* In one table of 4K leaves: the most frequent case. */
[[gnu::noinline]] static enum hv_status map_leaves(const struct pt *pt, uint64_t *entry, unsigned n,
                                                   uint64_t leaf)
{
    if (holes(pt, entry, n) < n)
        return HV_EEXIST;
    store_run(pt, entry, n, leaf, PAGE_SIZE);
    return HV_OK;
}

/* Wherever [in, end) lies. */
[[gnu::noinline]] static enum hv_status map_any(struct pt *pt, uint64_t in, uint64_t end,
                                                uint64_t out, uint64_t bits)
{
    struct mapping m = { .delta = out - in, .bits = bits, .leaf_level = 1 };
    const struct place first = find(pt, in, NULL);
    enum hv_status status = HV_OK;

    while (pt->large & (1u << (m.leaf_level - 1)) && !(m.delta & (span_of(m.leaf_level + 1) - 1)))
        m.leaf_level++;
    struct place at = first;
    uint64_t tables = 0;
    for (uint64_t a = in;;) {
        unsigned n = holes(pt, at.entry, entries_until(&at, a, end));
        if (n == 0)
            return HV_EEXIST;
        uint64_t next = run_end(a, n, at.level, end);
        tables += tables_needed(&m, a, next, at.level);
        if (next == end)
            break;
        a = next;
        at = find(pt, a, NULL);
    }
    if (tables)
        status = list_fill(pt, &m.spare, tables);
    if (status != HV_OK)
        return status;
    at = first;
    for (uint64_t a = in;;) {
        uint64_t next = run_end(a, entries_until(&at, a, end), at.level, end);
        fill(pt, &m, at.entry - index_of(a, at.level), at.level, a, next);
        if (next == end)
            break;
        a = next;
        at = find(pt, a, NULL);
    }
    hv_assert(!m.spare.head);
    return HV_OK;
}

enum hv_status pt_map(struct pt *pt, ptaddr_t in, paddr_t out, uint64_t size, unsigned perm)
{
    const uint64_t end = in.v + size;
    enum hv_status status = check_range(pt, in.v, size);

    if (status != HV_OK)
        return status;
    if (out.v & PAGE_MASK)
        return HV_EALIGN;
    if (out.v + size < out.v || (out.v + size - 1) & ~(pt->format->addr | PAGE_MASK))
        return HV_ERANGE;

    const uint64_t bits = leaf_bits(pt->format, perm);
    if (!present(pt, bits))
        return HV_EINVAL;

    if (same_leaf_table(in.v, end)) {
        const struct place at = find(pt, in.v, NULL);
        if (at.level == 1 && size != PAGE_SIZE)
            return map_leaves(pt, at.entry, (unsigned)(size >> PAGE_SHIFT), out.v | bits);
        if (at.level == 1 && present(pt, *at.entry))
            return HV_EEXIST;
        if (at.level == 1) {
            store(pt, at.entry, out.v | bits);
            return HV_OK;
        }
    }
    return map_any(pt, in.v, end, out.v, bits);
}

/* Make @x a border between leaves. The new table says the same as the leaf it replaces. */
static enum hv_status split(struct pt *pt, uint64_t x)
{
    if (x >= span_of(pt->levels + 1u))
        return HV_OK;
    for (;;) {
        struct place at = find(pt, x, NULL);
        uint64_t leaf = *at.entry;
        void *page;

        if (!present(pt, leaf) || !(x & (span_of(at.level) - 1)))
            return HV_OK;
        enum hv_status status = pages_alloc(pt->quota, 0, &page);
        if (status != HV_OK)
            return status;
        if (at.level == 2)
            leaf &= ~pt->format->large;
        store64_run(page, ENTRIES, leaf, span_of(at.level - 1));
        flush(pt, page, PAGE_SIZE);
        store(pt, at.entry, link_to(pt, page));
    }
}

enum hv_status pt_split(struct pt *pt, ptaddr_t at)
{
    return split(pt, at.v);
}

/* @n entries at @entry were cleared. Do their neighbours show that something is left in the table?
 */
static bool has_neighbour(const struct pt *pt, const uint64_t *entry, unsigned n)
{
    return ((uintptr_t)entry & PAGE_MASK && present(pt, entry[-1])) ||
           ((uintptr_t)(entry + n) & PAGE_MASK && present(pt, entry[n]));
}

/* @n entries at @entry, in a table of @level on @path, were cleared. Unlink the table if nothing is
 * left in it, and so on upwards. */
static void prune(struct pt *pt, uint64_t *const *path, unsigned level, const uint64_t *entry,
                  unsigned n, struct pt_freed *freed)
{
    for (; level < pt->levels; level++, entry = path[level], n = 1) {
        uint64_t *table = (uint64_t *)((uintptr_t)entry & ~(uintptr_t)PAGE_MASK);
        if (has_neighbour(pt, entry, n) || holes(pt, table, ENTRIES) < ENTRIES)
            return;
        store(pt, path[level + 1], 0);
        list_push(&freed->head, table);
    }
}

/* Wherever [in, end) lies. */
[[gnu::noinline]] static enum hv_status unmap_any(struct pt *pt, uint64_t in, uint64_t end,
                                                  struct pt_freed *freed)
{
    uint64_t *path[LEVELS_MAX + 1];
    enum hv_status status = split(pt, in);

    if (status == HV_OK)
        status = split(pt, end);
    if (status != HV_OK)
        return status;
    for (uint64_t a = in;;) {
        const struct place at = find(pt, a, path);
        unsigned n = entries_until(&at, a, end), hole = 0, leaves = n;
        if (at.level > 1) { /* among 4K leaves, clearing holes as well is quicker than looking */
            hole = holes(pt, at.entry, n);
            leaves = leaves_from(pt, at.entry + hole, n - hole);
        }
        uint64_t *run = at.entry + hole;
        a = run_end(a, hole + leaves, at.level, end);
        if (leaves) {
            clear_run(pt, run, leaves);
            prune(pt, path, at.level, run, leaves, freed);
        }
        if (a == end)
            return HV_OK;
    }
}

[[gnu::noinline]] static void prune_leaves(struct pt *pt, uint64_t in, unsigned n,
                                           struct pt_freed *freed)
{
    uint64_t *path[LEVELS_MAX + 1];

    prune(pt, path, 1, find(pt, in, path).entry, n, freed);
}

enum hv_status pt_unmap(struct pt *pt, ptaddr_t in, uint64_t size, struct pt_freed *freed)
{
    const uint64_t end = in.v + size;
    enum hv_status status = check_range(pt, in.v, size);

    if (status != HV_OK)
        return status;
    if (same_leaf_table(in.v, end)) { /* the most frequent case; no larger leaf can be split */
        const struct place at = find(pt, in.v, NULL);
        const unsigned n = (unsigned)(size >> PAGE_SHIFT);
        if (at.level == 1) {
            clear_run(pt, at.entry, n);
            if (!has_neighbour(pt, at.entry, n))
                prune_leaves(pt, in.v, n, freed);
            return HV_OK;
        }
    }
    return unmap_any(pt, in.v, end, freed);
}

void pt_grant(struct pt *pt, ptaddr_t in, unsigned perm)
{
    const struct pt_format *f = pt->format;
    struct place at = find(pt, in.v, NULL);

    hv_assert(present(pt, *at.entry) && !(perm & PT_UC));
    uint64_t entry = *at.entry | (perm & PT_R ? f->read : 0) | (perm & PT_W ? f->write : 0) |
                     (perm & PT_U ? f->user : 0);
    if (perm & PT_X)
        entry = (entry | f->exec) & ~f->noexec;
    store(pt, at.entry, entry);
}

bool pt_lookup(const struct pt *pt, ptaddr_t in, struct pt_leaf *leaf)
{
    const struct pt_format *f = pt->format;

    *leaf = (struct pt_leaf){ 0 };
    if (in.v >= span_of(pt->levels + 1u))
        return false;
    struct place at = find(pt, in.v, NULL);
    uint64_t entry = *at.entry, span = span_of(at.level);
    leaf->size = span;
    if (!present(pt, entry))
        return false;

    unsigned perm = 0;
    if ((entry & f->read) == f->read)
        perm |= PT_R;
    if ((entry & f->write) == f->write)
        perm |= PT_W;
    if ((entry & f->exec) == f->exec && !(entry & f->noexec))
        perm |= PT_X;
    if ((entry & f->user) == f->user)
        perm |= PT_U;
    if ((entry & f->memtype_mask) == f->uncached)
        perm |= PT_UC;
    *leaf = (struct pt_leaf){
        .out = PADDR((entry & f->addr & ~(span - 1)) | (in.v & (span - 1))),
        .size = span,
        .perm = perm,
    };
    return true;
}
