/* SPDX-License-Identifier: BSD-2-Clause */
/* The interval tree against an array of bytes, one per page: random changes, every question after
 * each. */
#include <stdlib.h>
#include <time.h>

#include "hv/interval.h"
#include "tests/platform/platform.h"

#define PAGES 700u
#define BASE                                                                                       \
    0xffff000000ull /* so that 0 and the end of the space are far away, but in one round           \
                     */

static uint64_t state_of_random;

static uint32_t below(uint32_t n)
{
    state_of_random = state_of_random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state_of_random >> 33) % n;
}

static struct {
    struct interval_set set;
    struct interval node[PAGES];
    struct interval *at[PAGES]; /* who holds a page */
    uint64_t base;
} t;

static uint64_t page(unsigned n)
{
    return t.base + n * PAGE_SIZE;
}

/* Order, balance and gaps of a whole tree, from the definitions. */
static unsigned check_tree(const struct interval *n, uint64_t *end, uint64_t *gap)
{
    uint64_t left_gap = 0, right_gap = 0;

    if (!n)
        return 0;
    unsigned l = check_tree(n->left, end, &left_gap);
    assert_true(n->first >= *end);
    assert_true(n->before == n->first - *end);
    *end = n->last + 1;
    unsigned r = check_tree(n->right, end, &right_gap);
    assert_true(l <= r + 1 && r <= l + 1);
    *gap = n->before;
    *gap = left_gap > *gap ? left_gap : *gap;
    *gap = right_gap > *gap ? right_gap : *gap;
    assert_true(n->gap == *gap);
    assert_int_equal(n->height, (l > r ? l : r) + 1);
    return (l > r ? l : r) + 1;
}

static void check_from(unsigned p)
{
    unsigned n = p;

    while (n < PAGES && !t.at[n])
        n++;
    assert_ptr_equal(interval_from(&t.set, page(p)), n < PAGES ? t.at[n] : NULL);
    assert_ptr_equal(interval_from(&t.set, page(p) + 0xfff), n < PAGES ? t.at[n] : NULL);
    if (n == PAGES)
        return;
    struct interval *here = t.at[n];
    while (n < PAGES && (t.at[n] == here || !t.at[n]))
        n++;
    assert_ptr_equal(interval_next(&t.set, here), n < PAGES ? t.at[n] : NULL);
}

static void check_gap(unsigned first, unsigned last, unsigned pages)
{
    uint64_t start = 0;
    unsigned run = 0, n;
    bool found = interval_gap(&t.set, page(first), page(last) + 0xfff, pages * PAGE_SIZE, &start);

    for (n = first; n <= last; n++) {
        run = t.at[n] ? 0 : run + 1;
        if (run == pages)
            break;
    }
    assert_int_equal(found, run == pages);
    if (found)
        assert_true(start == page(n - pages + 1));
}

static void put(unsigned first, unsigned last)
{
    struct interval *node = &t.node[first];

    for (unsigned p = first; p <= last; p++) {
        if (t.at[p])
            return;
    }
    *node = (struct interval){ .first = page(first), .last = page(last) + 0xfff };
    interval_insert(&t.set, node);
    for (unsigned p = first; p <= last; p++)
        t.at[p] = node;
}

static void take(unsigned p)
{
    struct interval *node = t.at[p];

    if (!node)
        return;
    interval_remove(&t.set, node);
    for (unsigned i = 0; i < PAGES; i++)
        t.at[i] = t.at[i] == node ? NULL : t.at[i];
}

static void churn(uint64_t base, unsigned rounds, unsigned longest)
{
    t.set = (struct interval_set){ 0 };
    t.base = base;
    for (unsigned i = 0; i < PAGES; i++)
        t.at[i] = NULL;
    for (unsigned i = 0; i < rounds; i++) {
        unsigned p = below(PAGES), length = below(longest), q = below(PAGES), fill = i / 512 % 3;
        if (below(3) < fill)
            take(p);
        else
            put(p, p + length < PAGES ? p + length : PAGES - 1);
        uint64_t end = 0, gap = 0;
        (void)check_tree(t.set.root, &end, &gap);
        check_from(q);
        check_gap(p < q ? p : q, p < q ? q : p, 1 + below(longest * 2));
    }
}

static void all_answers_as_an_array_gives_them(void **state)
{
    const char *given = getenv("SEED");

    (void)state;
    state_of_random = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)state_of_random);
    churn(BASE, 30000, 1);
    churn(BASE, 30000, 6);
    churn(0, 20000, 3);
    churn(-(uint64_t)PAGES * PAGE_SIZE, 20000, 3); /* up to the last byte of all */
}

static void overlap(void *)
{
    static struct interval a = { .first = 0, .last = 0x1fff },
                           b = { .first = 0x1000, .last = 0x2fff };
    struct interval_set set = { 0 };

    interval_insert(&set, &a);
    interval_insert(&set, &b);
}

static void two_never_overlap(void **state)
{
    (void)state;
    assert_true(platform_panics(overlap, NULL, NULL));
}

/* A look-up in a million must not cost a hundred times one in a thousand. */
static void deep_trees_stay_shallow(void **state)
{
    struct interval *node = calloc(1u << 17, sizeof(*node));
    struct interval_set set = { 0 };

    (void)state;
    for (unsigned i = 0; i < 1u << 17; i++) {
        node[i] =
            (struct interval){ .first = i * 2 * PAGE_SIZE, .last = i * 2 * PAGE_SIZE + 0xfff };
        interval_insert(&set, &node[i]);
    }
    assert_int_equal(set.count, 1u << 17);
    assert_true(set.root->height <= 25); /* 1.44 * 17 */
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_answers_as_an_array_gives_them),
        cmocka_unit_test(two_never_overlap),
        cmocka_unit_test(deep_trees_stay_shallow),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
