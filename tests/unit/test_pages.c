/* SPDX-License-Identifier: BSD-2-Clause */
/* The page pool: alignment, zeroing, quotas, merging, misuse. */
#include <stdlib.h>
#include <string.h>

#include "hv/pages.h"
#include "tests/platform/platform.h"

static void *take(struct page_quota *q, unsigned order)
{
    void *p = NULL;

    assert_int_equal(pages_alloc(q, order, &p), HV_OK);
    assert_non_null(p);
    return p;
}

static void blocks_are_aligned_and_zeroed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        void *p[PAGES_ORDER_MAX + 1];
        for (unsigned order = 0; order <= PAGES_ORDER_MAX; order++) {
            size_t size = PAGE_SIZE << order;
            p[order] = take(NULL, order);
            assert_int_equal(virt_to_phys(p[order]).v & (size - 1), 0);
            for (size_t i = 0; i < size / 8; i++)
                assert_int_equal(((uint64_t *)p[order])[i], 0);
            memset(p[order], 0xa5, size);
        }
        for (unsigned order = 0; order <= PAGES_ORDER_MAX; order++)
            pages_free(NULL, order, p[order]);
    }
}

/* Random traffic against a map of who owns which page; at the end everything joins again. */
static void random_traffic_never_overlaps(void **state)
{
    enum { LIVE = 400 };
    static struct {
        uint8_t *p;
        unsigned order;
    } live[LIVE];
    const unsigned seed = 20250101;
    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rand() % LIVE;
        if (live[i].p) {
            size_t size = PAGE_SIZE << live[i].order;
            /* The block still carries its owner's mark at both ends: nobody else got any of it. */
            assert_int_equal(*(unsigned *)live[i].p, i + 1);
            assert_int_equal(*(unsigned *)(live[i].p + size - 8), i + 1);
            pages_free(NULL, live[i].order, live[i].p);
            live[i].p = NULL;
            continue;
        }
        unsigned order = (unsigned)rand() % (step % 3 ? 2 : PAGES_ORDER_MAX + 1);
        live[i].order = order;
        live[i].p = take(NULL, order);
        for (size_t page = 0; page < 1u << order; page++)
            *(unsigned *)(live[i].p + page * PAGE_SIZE) = i + 1;
        *(unsigned *)(live[i].p + (PAGE_SIZE << order) - 8) = i + 1;
    }
    for (unsigned i = 0; i < LIVE; i++)
        pages_free(NULL, live[i].order, live[i].p);
    memset(live, 0, sizeof(live));
}

/* After everything was freed in a bad order, all of it is there again in the largest blocks. */
static void freed_blocks_join(void **state)
{
    uint64_t pages = pages_total() - pages_used(), n = 0, large = 0;
    void **all = malloc(pages * sizeof(void *)), *p;
    (void)state;

    while (pages_alloc(NULL, PAGES_ORDER_MAX, &p) == HV_OK)
        all[large++] = p;
    for (uint64_t i = 0; i < large; i++)
        pages_free(NULL, PAGES_ORDER_MAX, all[i]);
    while (n < 4096)
        all[n++] = take(NULL, 0);
    for (uint64_t i = 0; i < n; i += 2)
        pages_free(NULL, 0, all[i]);
    for (uint64_t i = 1; i < n; i += 2)
        pages_free(NULL, 0, all[i]);
    uint64_t again = 0;
    while (pages_alloc(NULL, PAGES_ORDER_MAX, &p) == HV_OK)
        all[again++] = p;
    assert_int_equal(again, large);
    for (uint64_t i = 0; i < again; i++)
        pages_free(NULL, PAGES_ORDER_MAX, all[i]);
    free(all);
}

static void empty_pool_says_no_memory(void **state)
{
    void *p, *list = NULL;
    (void)state;
    for (unsigned order = PAGES_ORDER_MAX + 1; order--;) {
        while (pages_alloc(NULL, order, &p) == HV_OK) {
            *(void **)p = list;
            ((uintptr_t *)p)[1] = order;
            list = p;
        }
    }
    assert_int_equal(pages_used(), pages_total());
    assert_int_equal(pages_alloc(NULL, 0, &p), HV_ENOMEM);
    while (list) {
        void *next = *(void **)list;
        pages_free(NULL, (unsigned)((uintptr_t *)list)[1], list);
        list = next;
    }
}

static void quota_is_a_hard_limit(void **state)
{
    struct page_quota q = { .limit = 5 };
    void *a = take(&q, 2), *b = NULL, *c;
    (void)state;
    assert_int_equal(q.used, 4);
    assert_int_equal(pages_alloc(&q, 1, &b), HV_EQUOTA);
    assert_null(b);
    assert_int_equal(q.used, 4);
    c = take(&q, 0);
    assert_int_equal(pages_alloc(&q, 0, &b), HV_EQUOTA);
    pages_free(&q, 2, a);
    assert_int_equal(q.used, 1);
    pages_free(&q, 0, c);
    assert_int_equal(q.used, 0);
    pages_free(&q, 0, NULL);
}

static void budget_counts_down(void **state)
{
    struct page_quota q = { .limit = 9 };
    void *p, *first;
    (void)state;
    pages_fail_after(1);
    first = take(&q, 0);
    assert_int_equal(pages_alloc(&q, 0, &p), HV_ENOMEM);
    assert_int_equal(pages_alloc(NULL, 3, &p), HV_ENOMEM);
    assert_int_equal(q.used, 1);
    pages_fail_after(-1);
    pages_free(&q, 0, first);
}

struct misuse {
    void *p;
    unsigned order;
    struct page_quota *q;
};

static void free_one(void *arg)
{
    struct misuse *m = arg;
    pages_free(m->q, m->order, m->p);
}

static void misuse_panics(void **state)
{
    struct page_quota q = { .limit = 8 }, other = { .limit = 8 };
    uint8_t *p = take(&q, 1), here;
    (void)state;
    assert_true(platform_panics(free_one, &(struct misuse){ p, 0, &q }, NULL));        /* order */
    assert_true(platform_panics(free_one, &(struct misuse){ p + 4096, 0, &q }, NULL)); /* inside */
    assert_true(platform_panics(free_one, &(struct misuse){ p + 8, 1, &q }, NULL));
    assert_true(platform_panics(free_one, &(struct misuse){ &here, 0, NULL }, NULL));
    assert_true(platform_panics(free_one, &(struct misuse){ p, 1, &other }, NULL)); /* not his */
    pages_free(&q, 1, p);
    assert_true(platform_panics(free_one, &(struct misuse){ p, 1, NULL }, NULL)); /* twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(blocks_are_aligned_and_zeroed),
        platform_test(random_traffic_never_overlaps),
        platform_test(freed_blocks_join),
        platform_test(empty_pool_says_no_memory),
        platform_test(quota_is_a_hard_limit),
        platform_test(budget_counts_down),
        platform_test(misuse_panics),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
