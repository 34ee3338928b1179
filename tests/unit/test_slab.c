/* SPDX-License-Identifier: BSD-2-Clause */
/* Small objects: zeroed, distinct, aligned, and their pages go back with the last of them. */
#include <stdlib.h>
#include <string.h>

#include "hv/slab.h"
#include "tests/platform/platform.h"

static void objects_never_overlap_and_pages_go_back(void **state)
{
    enum { N = 1000 };
    struct page_quota quota = { .limit = 100 };
    struct slab slab = { .quota = &quota };
    static uint8_t *object[N];

    (void)state;
    memset(object, 0, sizeof(object));
    srand(2);
    for (unsigned turn = 0; turn < 30000; turn++) {
        unsigned i = (unsigned)rand() % N;
        void *p;
        if (object[i]) {
            for (unsigned b = 0; b < SLAB_OBJECT; b++)
                assert_int_equal(object[i][b], (uint8_t)i);
            slab_free(&slab, object[i]);
            object[i] = NULL;
            continue;
        }
        assert_int_equal(slab_alloc(&slab, &p), HV_OK);
        object[i] = p;
        assert_int_equal((uintptr_t)p % SLAB_OBJECT, 0);
        for (unsigned b = 0; b < SLAB_OBJECT; b++)
            assert_int_equal(object[i][b], 0);
        memset(p, (int)i, SLAB_OBJECT);
    }
    for (unsigned i = 0; i < N; i++)
        slab_free(&slab, object[i]);
    assert_int_equal(quota.used, 0);
    assert_int_equal(slab.objects, 0);
    slab_free(&slab, NULL);
}

static void a_page_holds_63_and_the_quota_counts(void **state)
{
    struct page_quota quota = { .limit = 1 };
    struct slab slab = { .quota = &quota };
    void *object[64];

    (void)state;
    for (unsigned i = 0; i < 63; i++)
        assert_int_equal(slab_alloc(&slab, &object[i]), HV_OK);
    assert_int_equal(slab_alloc(&slab, &object[63]), HV_EQUOTA);
    slab_free(&slab, object[20]);
    assert_int_equal(slab_alloc(&slab, &object[20]), HV_OK);
    for (unsigned i = 0; i < 63; i++)
        slab_free(&slab, object[i]);
    assert_int_equal(quota.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(objects_never_overlap_and_pages_go_back),
        platform_test(a_page_holds_63_and_the_quota_counts),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
