/* SPDX-License-Identifier: BSD-2-Clause */
/* Claims on physical addresses, against a map of bytes. */
#include <stdlib.h>
#include <string.h>

#include "hv/claims.h"
#include "tests/platform/platform.h"

enum { SPACE = 256, LIVE = 40 };

static void nothing_is_given_twice(void **state)
{
    static const uint64_t bases[] = { 0x100000000,
                                      0 - (uint64_t)SPACE }; /* also up to the very end */
    const unsigned seed = 3;
    (void)state;
    print_message("seed %u\n", seed);
    srand(seed);
    for (unsigned b = 0; b < ARRAY_SIZE(bases); b++) {
        struct {
            uint64_t at, size;
        } live[LIVE] = { 0 };
        uint8_t taken[SPACE] = { 0 };
        unsigned refused = 0;
        for (unsigned step = 0; step < 20000; step++) {
            unsigned i = (unsigned)rand() % LIVE;
            if (live[i].size) {
                claims_drop(PADDR(bases[b] + live[i].at), live[i].size);
                memset(taken + live[i].at, 0, live[i].size);
                live[i].size = 0;
                continue;
            }
            uint64_t at = (uint64_t)rand() % SPACE, size = 1 + (uint64_t)rand() % 12;
            if (at + size > SPACE)
                size = SPACE - at;
            bool free = !memchr(taken + at, 1, size);
            assert_int_equal(claims_take(PADDR(bases[b] + at), size), free ? HV_OK : HV_EEXIST);
            refused += !free;
            if (!free)
                continue;
            memset(taken + at, 1, size);
            live[i].at = at;
            live[i].size = size;
        }
        assert_true(refused > 100);
        for (unsigned i = 0; i < LIVE; i++) {
            if (live[i].size)
                claims_drop(PADDR(bases[b] + live[i].at), live[i].size);
        }
    }
}

static void drop_unknown(void *arg)
{
    claims_drop(PADDR(0x5000), *(uint64_t *)arg);
}

static void limits(void **state)
{
    unsigned n = 0;
    (void)state;
    assert_int_equal(claims_take(PADDR(~0ull), 2), HV_ERANGE);
    assert_int_equal(claims_take(PADDR(0x1000), 0), HV_ERANGE);
    claims_add(PADDR(0x5000), 0x1000);
    claims_add(PADDR(0x5800), 0x1000); /* over another: memory maps may */
    assert_int_equal(claims_take(PADDR(0x67ff), 1), HV_EEXIST);
    assert_true(platform_panics(drop_unknown, &(uint64_t){ 0x800 }, NULL));
    claims_drop(PADDR(0x5800), 0x1000);
    claims_drop(PADDR(0x5000), 0x1000);
    while (claims_take(PADDR(n * 0x1000ull), 0x1000) == HV_OK)
        n++;
    assert_int_equal(claims_take(PADDR(n * 0x1000ull), 0x1000), HV_ENOMEM);
    assert_true(n >= 1000);
    while (n--)
        claims_drop(PADDR(n * 0x1000ull), 0x1000);
}

/* Memory of firmware is taken in parts, by one owner each, and stays firmware's. */
static void what_firmware_keeps_is_lent(void **state)
{
    const uint64_t base = 0x700000000;
    (void)state;
    claims_add_firmware(PADDR(base), 0x4000);
    claims_add_firmware(PADDR(base + 0x5000), 0x1000);
    claims_add(PADDR(base + 0x5800), 0x1000);
    assert_int_equal(claims_take(PADDR(base), 0x1000), HV_EEXIST); /* not for others */
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(claims_take_firmware(PADDR(base), 0x4000), HV_OK);
        assert_int_equal(claims_take_firmware(PADDR(base + 0x3000), 0x1000), HV_EEXIST);
        claims_drop(PADDR(base), 0x4000);
        assert_int_equal(claims_take_firmware(PADDR(base + 0x3000), 0x1000), HV_OK);
        assert_int_equal(claims_take_firmware(PADDR(base), 0x3000), HV_OK);
        claims_drop(PADDR(base), 0x3000);
        claims_drop(PADDR(base + 0x3000), 0x1000);
    }
    assert_int_equal(claims_take_firmware(PADDR(base + 0x3000), 0x1001), HV_EINVAL);
    assert_int_equal(claims_take_firmware(PADDR(base - 1), 2), HV_EINVAL);
    assert_int_equal(claims_take_firmware(PADDR(base), 0), HV_EINVAL);
    assert_int_equal(claims_take_firmware(PADDR(base), 0 - base), HV_EINVAL);
    assert_int_equal(claims_take_firmware(PADDR(base + 0x5000), 0x1000),
                     HV_EEXIST); /* not its own */
    assert_int_equal(claims_take_firmware(PADDR(base + 0x5000), 0x800), HV_OK);
    claims_drop(PADDR(base + 0x5000), 0x800);
    claims_drop(PADDR(base + 0x5800), 0x1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(nothing_is_given_twice),
        platform_test(what_firmware_keeps_is_lent),
        platform_test(limits),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
