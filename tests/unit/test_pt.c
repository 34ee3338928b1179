/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables against two independent things: a list of intervals (what should be mapped) and a
 * walker written from the specifications' bit positions (what hardware would find, with reserved
 * bits checked). The walker also looks after every single store: what the call does not touch stays
 * as it was, what it touches is old or new, and where walks are not snooped no link shows unflushed
 * lines.
 */
#include <stdlib.h>
#include <string.h>

#include "hv/pt.h"
#include "tests/platform/platform.h"

#define GIB (1ull << 30)
#define MIB (1ull << 20)

/* --- The reference: sorted, disjoint intervals ------------------------------------------------ */

struct interval {
    uint64_t in, out, size;
    unsigned perm;
};
struct list {
    struct interval i[4096];
    unsigned n;
};

static bool overlaps(const struct list *l, uint64_t in, uint64_t size)
{
    for (unsigned k = 0; k < l->n; k++) {
        if (in < l->i[k].in + l->i[k].size && l->i[k].in < in + size)
            return true;
    }
    return false;
}

/* Append or insert, joined with a neighbour that continues it. */
static void list_add(struct list *l, struct interval x)
{
    unsigned k = l->n;

    while (k > 0 && l->i[k - 1].in > x.in)
        k--;
    memmove(&l->i[k + 1], &l->i[k], (l->n - k) * sizeof(x));
    l->i[k] = x;
    l->n++;
    assert_true(l->n < ARRAY_SIZE(l->i));
    for (unsigned m = k ? k - 1 : 0; m + 1 < l->n && m <= k;) {
        struct interval *a = &l->i[m], *b = a + 1;
        if (a->in + a->size == b->in && a->out + a->size == b->out && a->perm == b->perm) {
            a->size += b->size;
            memmove(b, b + 1, (l->n - m - 2) * sizeof(x));
            l->n--;
        } else {
            m++;
        }
    }
}

static void list_cut(struct list *l, uint64_t in, uint64_t size)
{
    static struct list old;
    uint64_t end = in + size;

    old = *l;
    l->n = 0;
    for (unsigned k = 0; k < old.n; k++) {
        struct interval x = old.i[k];
        uint64_t x_end = x.in + x.size;
        if (x.in < in)
            list_add(l, (struct interval){ x.in, x.out, (x_end < in ? x_end : in) - x.in, x.perm });
        if (x_end > end) {
            uint64_t from = x.in > end ? x.in : end;
            list_add(l, (struct interval){ from, x.out + (from - x.in), x_end - from, x.perm });
        }
    }
}

static bool list_find(const struct list *l, uint64_t in, uint64_t *out, unsigned *perm)
{
    for (unsigned k = 0; k < l->n; k++) {
        if (in - l->i[k].in < l->i[k].size) {
            *out = l->i[k].out + (in - l->i[k].in);
            *perm = l->i[k].perm;
            return true;
        }
    }
    return false;
}

static void assert_same(const struct list *a, const struct list *b)
{
    assert_int_equal(a->n, b->n);
    for (unsigned k = 0; k < a->n; k++) {
        assert_int_equal(a->i[k].in, b->i[k].in);
        assert_int_equal(a->i[k].out, b->i[k].out);
        assert_int_equal(a->i[k].size, b->i[k].size);
        assert_int_equal(a->i[k].perm, b->i[k].perm);
    }
}

/* --- What hardware finds ---------------------------------------------------------------------- */

/* Bits that must be zero, by kind of entry; VT-d 9.8 with SC and SSADE 0, SDM 3A 4.5. */
struct hw {
    const struct pt_format *format;
    bool (*is_present)(uint64_t e);
    unsigned (*perm)(uint64_t e);
    uint64_t link_zero, leaf_zero; /* besides address bits inside the page */
};

static bool vtd2_present(uint64_t e)
{
    return (e & 3) != 0;
}

static unsigned vtd2_perm(uint64_t e)
{
    unsigned memory_type = (e >> 3) & 7;

    assert_true(memory_type == 0 || memory_type == 6);
    return (e & 1 ? PT_R : 0) | (e & 2 ? PT_W : 0) | (memory_type == 0 ? PT_UC : 0) | PT_X | PT_U;
}

static bool x86_present(uint64_t e)
{
    return e & 1;
}

static unsigned x86_perm(uint64_t e)
{
    assert_true((e & 0x60) == 0x60); /* A, D: nobody may have to write them */
    return PT_R | (e & 2 ? PT_W : 0) | (e >> 63 ? 0 : PT_X) | (e & 4 ? PT_U : 0) |
           ((e & 0x18) == 0x18 ? PT_UC : 0);
}

static const struct hw hw_vtd2 = { &pt_format_vtd2, vtd2_present, vtd2_perm, 0x7ff0000000000878,
                                   0x7ff0000000000800 };
static const struct hw hw_x86 = { &pt_format_x86, x86_present, x86_perm, 0x7ff0000000000018,
                                  0x7ff0000000000000 };
static const struct hw hw_npt = { &pt_format_npt, x86_present, x86_perm, 0x7ff0000000000018,
                                  0x7ff0000000000000 };

static const uint64_t *hw_table(uint64_t entry)
{
    const uint64_t *t = platform_memory(entry & 0x000ffffffffff000, PAGE_SIZE);

    assert_non_null(t);
    return t;
}

static bool hw_is_leaf(const struct hw *hw, uint64_t e, unsigned level, unsigned large)
{
    uint64_t inside = (1ull << (12 + 9 * (level - 1))) - PAGE_SIZE;

    if (level == 1) {
        assert_int_equal(e & (hw->leaf_zero | 0x80), 0); /* 0x80 here would be a PAT bit */
        return true;
    }
    if (e & 0x80) {
        assert_true(level <= 3 && (large & (1u << (level - 2))));
        assert_int_equal(e & (hw->leaf_zero | inside), 0);
        return true;
    }
    assert_int_equal(e & hw->link_zero, 0);
    return false;
}

static bool hw_lookup(const struct hw *hw, const struct pt *pt, uint64_t in, uint64_t *out,
                      unsigned *perm)
{
    const uint64_t *t = pt->root;

    for (unsigned level = pt->levels;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t e = t[(in >> shift) & 511];
        if (!hw->is_present(e))
            return false;
        if (hw_is_leaf(hw, e, level, pt->large)) {
            uint64_t inside = (1ull << shift) - 1;
            *out = (e & 0x000ffffffffff000 & ~inside) | (in & inside);
            *perm = hw->perm(e);
            return true;
        }
        t = hw_table(e);
    }
}

/* All leaves below @t, in order; returns the number of tables. */
static unsigned hw_collect(const struct hw *hw, const struct pt *pt, const uint64_t *t,
                           unsigned level, uint64_t in, struct list *l)
{
    uint64_t span = 1ull << (12 + 9 * (level - 1));
    unsigned tables = 1, used = 0;

    for (unsigned i = 0; i < 512; i++, in += span) {
        uint64_t e = t[i];
        if (!hw->is_present(e))
            continue;
        used++;
        if (hw_is_leaf(hw, e, level, pt->large))
            list_add(l, (struct interval){ in, e & 0x000ffffffffff000, span, hw->perm(e) });
        else
            tables += hw_collect(hw, pt, hw_table(e), level - 1, in, l);
    }
    assert_true(used || level == pt->levels); /* no empty table is left behind */
    return tables;
}

/* --- The watcher: after every store ----------------------------------------------------------- */

static struct watch {
    const struct hw *hw;
    const struct pt *pt;
    const struct list *before;
    uint64_t in, end, out; /* the call under way; mapping: to out with perm */
    bool map;
    unsigned perm;
    uint64_t probe[64];
    unsigned nprobes, skip;
    uint64_t stores;
} watch;

/* Lines of the pool that were flushed and not written since. */
static uint8_t clean[PLATFORM_POOL_SIZE / 64 / 8];

static bool is_clean(uint64_t hpa)
{
    uint64_t line = (hpa - PLATFORM_RAM_BASE) / 64;

    return clean[line / 8] & (1u << (line % 8));
}

static void on_flush(void *ctx, uint64_t hpa, uint64_t size)
{
    (void)ctx;
    for (uint64_t line = (hpa - PLATFORM_RAM_BASE) / 64;
         line <= (hpa + size - 1 - PLATFORM_RAM_BASE) / 64; line++)
        clean[line / 8] |= (uint8_t)(1u << (line % 8));
}

static void on_store(void *ctx, uint64_t hpa, unsigned size)
{
    struct watch *w = ctx;
    uint64_t line = (hpa - PLATFORM_RAM_BASE) / 64;

    clean[line / 8] &= (uint8_t)~(1u << (line % 8));
    w->stores++;
    assert_int_equal(size, 8);
    /* Long runs are looked at now and then. */
    if (w->skip && w->stores % w->skip)
        return;
    for (unsigned i = 0; i < w->nprobes; i++) {
        uint64_t p = w->probe[i], old_out = 0, now_out = 0;
        unsigned old_perm = 0, now_perm = 0;
        bool was = list_find(w->before, p, &old_out, &old_perm);
        bool is = hw_lookup(w->hw, w->pt, p, &now_out, &now_perm);
        bool same = was == is && (!is || (old_out == now_out && old_perm == now_perm));

        if (same)
            continue;
        assert_true(p >= w->in && p < w->end); /* others notice nothing */
        if (w->map)
            assert_true(is && now_out == w->out + (p - w->in) && now_perm == w->perm);
        else
            assert_false(is);
    }
}

static void check_reachable_is_clean(const struct hw *hw, const struct pt *pt, const uint64_t *t,
                                     unsigned level)
{
    for (unsigned i = 0; i < 512; i += 8)
        assert_true(is_clean(virt_to_phys(t).v + i * 8));
    for (unsigned i = 0; level > 1 && i < 512; i++) {
        if (hw->is_present(t[i]) && !hw_is_leaf(hw, t[i], level, pt->large))
            check_reachable_is_clean(hw, pt, hw_table(t[i]), level - 1);
    }
}

/* A link becomes visible with its store at the earliest: by then the whole child must be flushed.
 */
static void on_store_unsnooped(void *ctx, uint64_t hpa, unsigned size)
{
    struct watch *w = ctx;
    uint64_t e = *(uint64_t *)platform_memory(hpa, 8);
    bool link = w->hw->is_present(e) && (e & 0x80) == 0 &&
                (e & 0xfff) == w->hw->format->table_base &&
                (e & 0x000ffffffffff000) - PLATFORM_RAM_BASE < PLATFORM_POOL_SIZE;

    on_store(ctx, hpa, size);
    for (unsigned line = 0; link && line < 64; line++)
        assert_true(is_clean((e & 0x000ffffffffff000) + line * 64));
}

/* --- Random sequences ------------------------------------------------------------------------- */

static uint64_t rnd(uint64_t n)
{
    return ((uint64_t)rand() << 31 ^ (uint64_t)rand()) % n;
}

/* Addresses cluster around the borders of tables of every level. */
static uint64_t random_in(unsigned levels)
{
    static const uint64_t borders[] = { 0, 2 * MIB, 6 * MIB, GIB, 3 * GIB, 512 * GIB, 1024 * GIB };
    uint64_t reach = 1ull << (12 + 9 * levels), b = borders[rnd(ARRAY_SIZE(borders))];
    uint64_t off = rnd(3) ? rnd(700) * PAGE_SIZE : rnd(4) * 2 * MIB;

    if (rnd(6) == 0)
        b = reach;
    uint64_t in = rnd(2) && b ? b - off : b + off;
    return in < reach ? in : reach - PAGE_SIZE * (1 + rnd(600));
}

static void random_case(unsigned levels, struct interval *x)
{
    uint64_t reach = 1ull << (12 + 9 * levels);

    x->in = random_in(levels);
    switch (rnd(4)) {
    case 0: x->size = PAGE_SIZE; break;
    case 1: x->size = PAGE_SIZE * (1 + rnd(1200)); break;
    case 2: x->size = 2 * MIB * (1 + rnd(4)); break;
    default: x->size = rnd(2) ? GIB : GIB + 2 * MIB * rnd(600); break;
    }
    if (x->in + x->size > reach)
        x->size = reach - x->in;
    /* Output: sometimes congruent modulo 1G, 2M, or only 4K (then not for huge ranges). */
    uint64_t out = rnd(1ull << 20) * GIB;
    switch (rnd(3)) {
    case 0: out += x->in % GIB; break;
    case 1: out += x->in % (2 * MIB) + rnd(512) * 2 * MIB; break;
    default: out += rnd(262144) * PAGE_SIZE; x->size = x->size > 6 * MIB ? 6 * MIB : x->size;
    }
    x->out = out;
}

static unsigned visible(const struct hw *hw, unsigned perm)
{
    const struct pt_format *f = hw->format;

    if (!f->exec && !f->noexec)
        perm |= PT_X;
    if (!f->read)
        perm |= PT_R;
    if (hw == &hw_vtd2 || hw == &hw_npt)
        perm |= PT_U;
    return perm;
}

static void set_probes(const struct list *l, const struct interval *x, uint64_t reach)
{
    unsigned n = 0;

    for (unsigned k = 0; k < 40 && l->n; k++) {
        const struct interval *i = &l->i[rnd(l->n)];
        watch.probe[n++] = i->in + rnd(i->size / PAGE_SIZE) * PAGE_SIZE;
    }
    watch.probe[n++] = x->in;
    watch.probe[n++] = x->in + x->size - PAGE_SIZE;
    watch.probe[n++] = x->in + rnd(x->size / PAGE_SIZE) * PAGE_SIZE;
    if (x->in)
        watch.probe[n++] = x->in - PAGE_SIZE;
    if (x->in + x->size < reach)
        watch.probe[n++] = x->in + x->size;
    watch.nprobes = n;
}

static void check_table(const struct hw *hw, const struct pt *pt, const struct list *want)
{
    static struct list found;

    found.n = 0;
    unsigned tables = hw_collect(hw, pt, pt->root, pt->levels, 0, &found);
    assert_same(&found, want);
    assert_int_equal(pt->quota->used, tables);
}

/* pt_lookup says what the interval list says, at borders and inside. */
static void check_lookups(const struct hw *hw, const struct pt *pt, const struct list *want)
{
    for (unsigned k = 0; k < watch.nprobes; k++) {
        uint64_t p = watch.probe[k] + rnd(PAGE_SIZE), out;
        unsigned perm;
        struct pt_leaf leaf;
        bool there = list_find(want, p, &out, &perm);
        assert_int_equal(pt_lookup(pt, PTADDR(p), &leaf), there);
        if (there) {
            assert_int_equal(leaf.out.v, out);
            assert_int_equal(leaf.perm, perm);
            assert_true(leaf.size == PAGE_SIZE || leaf.size == 2 * MIB || leaf.size == GIB);
        }
    }
    (void)hw;
}

static enum hv_status one_call(struct pt *pt, bool map, const struct interval *x)
{
    struct pt_freed freed = { 0 };
    enum hv_status status;

    if (map)
        return pt_map(pt, PTADDR(x->in), PADDR(x->out), x->size, x->perm);
    status = pt_unmap(pt, PTADDR(x->in), x->size, &freed);
    pt_release(pt, &freed);
    return status;
}

static void random_sequence(const struct hw *hw, unsigned levels, unsigned large, bool no_snoop,
                            unsigned seed, unsigned steps)
{
    static const unsigned perms[] = { PT_R | PT_W,        PT_R,
                                      PT_R | PT_W | PT_X, PT_R | PT_W | PT_UC,
                                      PT_R | PT_W | PT_U, PT_R | PT_X | PT_U };
    static struct list want, before;
    struct page_quota quota = { .limit = 1u << 20 };
    uint64_t reach = 1ull << (12 + 9 * levels);
    struct pt pt;

    srand(seed);
    want.n = 0;
    memset(clean, 0, sizeof(clean));
    watch = (struct watch){ .hw = hw, .pt = &pt, .before = &before };
    struct platform_hooks hooks = { .ctx = &watch, .flush = on_flush };
    platform_set_hooks(&hooks);
    assert_int_equal(pt_create(&pt, hw->format, &quota, levels, large, no_snoop), HV_OK);
    hooks.store = no_snoop ? on_store_unsnooped : on_store;
    platform_set_hooks(&hooks);

    for (unsigned step = 0; step < steps; step++) {
        bool map = rnd(2);
        struct interval x;

        random_case(levels, &x);
        x.perm = perms[rnd(ARRAY_SIZE(perms))];
        if (x.size > 64 * MIB && !(large && x.out % (2 * MIB) == x.in % (2 * MIB)))
            x.size = 64 * MIB;
        before = want;
        set_probes(&want, &x, reach);
        watch.in = x.in;
        watch.end = x.in + x.size;
        watch.out = x.out;
        watch.map = map;
        watch.perm = visible(hw, x.perm);
        watch.skip = x.size > 4 * MIB ? 97 : 0;

        /* Every failing budget first: the same mappings, and for map not one page more. */
        enum hv_status status = HV_ENOMEM;
        for (int64_t budget = 0; status == HV_ENOMEM; budget++) {
            uint64_t used = quota.used;
            pages_fail_after(budget);
            status = one_call(&pt, map, &x);
            pages_fail_after(-1);
            if (status == HV_ENOMEM) {
                check_table(hw, &pt, &before);
                if (map)
                    assert_int_equal(quota.used, used);
                if (budget == 6) /* big ones: once more, then let it pass */
                    budget = INT64_MAX / 2;
            }
        }
        if (map && overlaps(&want, x.in, x.size)) {
            assert_int_equal(status, HV_EEXIST);
        } else {
            assert_int_equal(status, HV_OK);
            list_cut(&want, x.in, x.size);
            if (map)
                list_add(&want, (struct interval){ x.in, x.out, x.size, visible(hw, x.perm) });
        }
        check_table(hw, &pt, &want);
        check_lookups(hw, &pt, &want);
        if (no_snoop && step % 8 == 0)
            check_reachable_is_clean(hw, &pt, pt.root, levels);
    }
    assert_true(watch.stores > steps);
    watch.nprobes = 0;
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(0), reach, &freed), HV_OK);
    pt_release(&pt, &freed);
    assert_int_equal(quota.used, 1);
    pt_destroy(&pt);
    assert_int_equal(quota.used, 0);
}

static void random_maps_and_unmaps(void **state)
{
    static const struct {
        const struct hw *hw;
        unsigned levels, large;
    } rows[] = {
        { &hw_vtd2, 3, 3 }, { &hw_vtd2, 4, 3 }, { &hw_vtd2, 5, 1 }, { &hw_vtd2, 4, 0 },
        { &hw_x86, 4, 3 },  { &hw_x86, 5, 3 },  { &hw_npt, 4, 3 },  { &hw_x86, 4, 1 },
    };
    const char *env = getenv("SEED");
    unsigned seed = env ? (unsigned)atoi(env) : 7;
    (void)state;
    for (unsigned r = 0; r < ARRAY_SIZE(rows); r++) {
        for (unsigned no_snoop = 0; no_snoop < 2; no_snoop++, seed++) {
            print_message("%s, %u levels, large %u, %s: seed %u\n", rows[r].hw->format->name,
                          rows[r].levels, rows[r].large, no_snoop ? "flushed" : "snooped", seed);
            random_sequence(rows[r].hw, rows[r].levels, rows[r].large, no_snoop, seed, 120);
        }
    }
}

/* In an empty table each address gets the largest leaf that holds it and fits both sides. */
static void leaves_are_as_large_as_possible(void **state)
{
    const unsigned seed = 99;
    (void)state;
    srand(seed);
    print_message("seed %u\n", seed);
    for (unsigned round = 0; round < 300; round++) {
        struct page_quota quota = { .limit = 1u << 20 };
        struct pt pt;
        struct interval x;
        unsigned large = (unsigned)rnd(2) * 2 + 1;
        assert_int_equal(pt_create(&pt, &pt_format_npt, &quota, 4, large, false), HV_OK);
        random_case(4, &x);
        assert_int_equal(pt_map(&pt, PTADDR(x.in), PADDR(x.out), x.size, PT_R), HV_OK);
        for (unsigned k = 0; k < 200; k++) {
            uint64_t a = x.in + rnd(x.size), want = PAGE_SIZE;
            for (unsigned level = 2; level <= 3; level++) {
                uint64_t span = 1ull << (12 + 9 * (level - 1)), base = a & ~(span - 1);
                if ((large & (1u << (level - 2))) && base >= x.in && base + span <= x.in + x.size &&
                    (x.in - x.out) % span == 0)
                    want = span;
            }
            struct pt_leaf leaf;
            assert_true(pt_lookup(&pt, PTADDR(a), &leaf));
            assert_int_equal(leaf.size, want);
        }
        pt_destroy(&pt);
    }
}

static void wrong_arguments_change_nothing(void **state)
{
    struct page_quota quota = { .limit = 100 };
    struct pt pt;
    struct pt_freed freed = { 0 };
    struct pt_leaf leaf;
    const uint64_t reach = 1ull << 48;
    (void)state;

    assert_int_equal(pt_create(&pt, &pt_format_vtd2, &quota, 2, 3, false), HV_ERANGE);
    assert_int_equal(pt_create(&pt, &pt_format_x86, &quota, 6, 3, false), HV_ERANGE);
    assert_int_equal(pt_create(&pt, &pt_format_vtd2, &quota, 4, 3, false), HV_OK);
    static const struct {
        uint64_t in, out, size;
        unsigned perm;
        enum hv_status map, unmap;
    } rows[] = {
        { 0x1001, 0, 0x1000, PT_R, HV_EALIGN, HV_EALIGN },
        { 0x1000, 0, 0x1001, PT_R, HV_EALIGN, HV_EALIGN },
        { 0x1000, 8, 0x1000, PT_R, HV_EALIGN, HV_OK },
        { 0x1000, 0, 0, PT_R, HV_ERANGE, HV_ERANGE },
        { reach, 0, 0x1000, PT_R, HV_ERANGE, HV_ERANGE },
        { reach - 0x1000, 0, 0x2000, PT_R, HV_ERANGE, HV_ERANGE },
        { 0x2000, 0, ~0ull & ~PAGE_MASK, PT_R, HV_ERANGE, HV_ERANGE },
        { 0x1000, 1ull << 52, 0x1000, PT_R, HV_ERANGE, HV_OK },
        { 0x1000, (1ull << 52) - 0x1000, 0x2000, PT_R, HV_ERANGE, HV_OK },
        { 0x1000, ~0ull & ~PAGE_MASK, 0x2000, PT_R, HV_ERANGE, HV_OK },
        { 0x1000, 0, 0x1000, PT_X, HV_EINVAL, HV_OK },
        { 0x1000, 0, 0x1000, 0, HV_EINVAL, HV_OK },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(
            pt_map(&pt, PTADDR(rows[i].in), PADDR(rows[i].out), rows[i].size, rows[i].perm),
            rows[i].map);
        assert_int_equal(pt_unmap(&pt, PTADDR(rows[i].in), rows[i].size, &freed), rows[i].unmap);
        assert_null(freed.head);
        assert_int_equal(quota.used, 1);
    }
    assert_false(pt_lookup(&pt, PTADDR(reach + 0x1000), &leaf));
    assert_false(pt_lookup(&pt, PTADDR(~0ull), &leaf));

    quota.limit = 3; /* a 4K leaf needs three tables below the root */
    assert_int_equal(pt_map(&pt, PTADDR(0), PADDR(0), 0x1000, PT_R), HV_EQUOTA);
    assert_int_equal(quota.used, 1);
    quota.limit = 4;
    assert_int_equal(pt_map(&pt, PTADDR(0), PADDR(0), 0x1000, PT_R), HV_OK);
    pt_destroy(&pt);
    assert_int_equal(quota.used, 0);
}

/* Emptied tables come back on the list, not to the pool: hardware may still walk them. */
static void emptied_tables_wait_for_release(void **state)
{
    struct page_quota quota = { .limit = 100 };
    struct pt pt;
    struct pt_freed freed = { 0 };
    (void)state;
    assert_int_equal(pt_create(&pt, &pt_format_vtd2, &quota, 4, 3, false), HV_OK);
    assert_int_equal(pt_map(&pt, PTADDR(GIB - PAGE_SIZE), PADDR(0), 2 * PAGE_SIZE, PT_R), HV_OK);
    assert_int_equal(quota.used, 6);
    assert_int_equal(pt_unmap(&pt, PTADDR(GIB - PAGE_SIZE), 2 * PAGE_SIZE, &freed), HV_OK);
    assert_int_equal(quota.used, 6);
    /* A stale walk that reaches a waiting table finds nothing in it. */
    for (uint64_t *t = freed.head; t; t = (uint64_t *)(uintptr_t)t[0]) {
        for (unsigned i = 0; i < 512; i++)
            assert_int_equal(t[i] & 3, 0);
    }
    pt_release(&pt, &freed);
    assert_int_equal(quota.used, 1);
    pt_destroy(&pt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(random_maps_and_unmaps),
        platform_test(leaves_are_as_large_as_possible),
        platform_test(wrong_arguments_change_nothing),
        platform_test(emptied_tables_wait_for_release),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
