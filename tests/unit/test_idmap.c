/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers to pointers against a plain array; lowest free number; pages come and go with use. */
#include <stdlib.h>

#include "hv/idmap.h"
#include "tests/platform/platform.h"

static struct page_quota quota;
static struct idmap map;
static int object;

static int fresh(void **state)
{
    quota = (struct page_quota){ .limit = 10000 };
    map = (struct idmap){ .quota = &quota };
    return platform_fresh(state);
}

static void random_traffic_matches_an_array(void **state)
{
    static void *expected[IDMAP_SIZE];
    uint32_t ids[500];

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 500; i++)
        ids[i] = i < 250 ? (uint32_t)rand() % IDMAP_SIZE : (uint32_t)rand() % 600;
    for (unsigned turn = 0; turn < 20000; turn++) {
        uint32_t id = ids[rand() % 500];
        if (rand() & 1) {
            void *p = (char *)&object + (rand() & 3);
            assert_int_equal(idmap_set(&map, id, p), HV_OK);
            expected[id] = p;
        } else {
            idmap_clear(&map, id);
            expected[id] = NULL;
        }
        assert_ptr_equal(idmap_get(&map, id), expected[id]);
    }
    uint32_t found = 0;
    for (uint32_t id = 0; id < IDMAP_SIZE; id++) {
        assert_ptr_equal(idmap_get(&map, id), expected[id]);
        if (found <= id)
            found = idmap_next(&map, id);
        assert_int_equal(found == id, expected[id] != NULL);
    }
    for (unsigned i = 0; i < 500; i++)
        idmap_clear(&map, ids[i]);
    assert_int_equal(quota.used, 0);
}

/* All of them once, then holes: always the lowest, whatever is full around it. */
static void the_lowest_free_number_is_found(void **state)
{
    uint32_t id;

    (void)state;
    for (uint32_t i = 1; i < IDMAP_SIZE; i++) {
        assert_int_equal(idmap_add(&map, 1, IDMAP_SIZE, &object, &id), HV_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(idmap_add(&map, 1, IDMAP_SIZE, &object, &id), HV_ERANGE);
    static const uint32_t holes[] = { 0xfffff, 0x10000, 0xffff, 0x4321, 256, 255, 1 };
    for (unsigned i = 0; i < ARRAY_SIZE(holes); i++) {
        idmap_clear(&map, holes[i]);
        assert_int_equal(idmap_add(&map, 1, IDMAP_SIZE, &object, &id), HV_OK);
        assert_int_equal(id, holes[i]);
    }
    idmap_clear(&map, 0x4321);
    assert_int_equal(idmap_add(&map, 1, 0x4321, &object, &id), HV_ERANGE);
    assert_int_equal(idmap_add(&map, 0x4322, IDMAP_SIZE, &object, &id), HV_ERANGE);
    assert_int_equal(idmap_add(&map, 0x4300, 0x4322, &object, &id), HV_OK);
    assert_int_equal(idmap_add(&map, 0, 1, &object, &id), HV_OK);
    for (uint32_t i = 0; i < IDMAP_SIZE; i++)
        idmap_clear(&map, i);
    assert_int_equal(quota.used, 0);
}

static void running_out_changes_nothing(void **state)
{
    uint32_t id;

    (void)state;
    assert_int_equal(idmap_set(&map, IDMAP_SIZE, &object), HV_ERANGE);
    for (quota.limit = 0; quota.limit < 2; quota.limit++) {
        assert_int_equal(idmap_set(&map, 7, &object), HV_EQUOTA);
        assert_int_equal(idmap_add(&map, 0, 10, &object, &id), HV_EQUOTA);
        assert_int_equal(quota.used, 0);
        assert_null(idmap_get(&map, 7));
    }
    assert_int_equal(idmap_set(&map, 7, &object), HV_OK);
    assert_int_equal(idmap_set(&map, 0x700, &object), HV_EQUOTA);
    assert_int_equal(idmap_set(&map, 7, &map), HV_OK); /* replacing needs nothing */
    assert_ptr_equal(idmap_get(&map, 7), &map);
    idmap_clear(&map, 7);
    assert_int_equal(quota.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_traffic_matches_an_array, fresh, platform_check),
        cmocka_unit_test_setup_teardown(the_lowest_free_number_is_found, fresh, platform_check),
        cmocka_unit_test_setup_teardown(running_out_changes_nothing, fresh, platform_check),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
