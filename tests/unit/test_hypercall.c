/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* What every call checks before its handler: number, size, tail, address; and the calls about the
 * VM. */
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/guest_memory.h"
#include "tests/unit/abi_vm.h"

/* Every structure call: number, this version's size, and bytes that its own checks accept or refuse
 * with `status`; what is tested here comes before. */
static const struct struct_call {
    uint32_t number, size;
} struct_calls[] = {
    { HC_ATTACH, sizeof(struct hc_attach) },
    { HC_SVA_BIND, sizeof(struct hc_sva_bind) },
    { HC_PAGE_RESPONSE, sizeof(struct hc_page_response) },
    { HC_INVALIDATE, sizeof(struct hc_invalidate) },
    { HC_INVALIDATE_ARRAY, sizeof(struct hc_invalidate_array) },
    { HC_MEMORY_ON_DEMAND, sizeof(struct hc_memory_on_demand) },
    { HC_EVENT_RING, sizeof(struct hc_ring_setup) },
    { HC_COMMAND_RING, sizeof(struct hc_ring_setup) },
    { HC_IOAS_MAP, sizeof(struct hc_ioas_map) },
    { HC_IOAS_UNMAP, sizeof(struct hc_ioas_unmap) },
    { HC_IOAS_COPY, sizeof(struct hc_ioas_copy) },
    { HC_IOAS_REQUIRE_IOVA, sizeof(struct hc_ioas_ranges) },
    { HC_IOAS_RANGES, sizeof(struct hc_ioas_ranges) },
};

static void null_answers_the_version(void **state)
{
    uint64_t value;

    (void)state;
    assert_refused(call(vm_a, HC_NULL, 1, 2, 3, &value), HV_OK);
    assert_int_equal(value, SLUICE_ABI_VERSION);
}

static void unknown_numbers_are_enosys(void **state)
{
    static const uint64_t unknown[] = { 4, 7, 23, 31, 39, 63, 64, 1000, ~0ull, 1ull << 32 };
    uint64_t value = 1;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
        assert_refused(call(vm_a, unknown[i], SCRATCH, 0, 0, &value), HV_ENOSYS);
    assert_int_equal(value, 0);
}

static void too_short_is_e2small(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(struct_calls); i++) {
        uint32_t *size = ram(vm_a, SCRATCH);
        for (*size = 0; *size < struct_calls[i].size; *size += 4)
            assert_refused(call(vm_a, struct_calls[i].number, SCRATCH, 0, 0, NULL), HV_E2SMALL);
    }
}

static uint32_t changed_to;

static void change_the_size(void)
{
    memcpy(ram(vm_a, SCRATCH), &changed_to, sizeof(changed_to));
}

/* Another vCPU writes another size right after the first look at it. */
static void a_size_that_changes_is_what_it_was_when_checked(void **state)
{
    enum { FIRST = 16, GIVEN = 24, KNOWN = 32 };
    static const uint32_t others[] = { 0, 4, FIRST, 28, KNOWN, 64, 4096, 0xffffffff };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        uint32_t given = GIVEN, out[16];
        uint8_t *bytes = ram(vm_a, SCRATCH);

        memset(bytes, 0x77, 8192);
        memcpy(bytes, &given, sizeof(given));
        memset(out, 0xee, sizeof(out));
        changed_to = others[i];
        platform_change_after_touch(virt_to_phys(bytes).v, change_the_size);
        assert_int_equal(guest_copy_struct(vm_a, GPADDR(SCRATCH), FIRST, KNOWN, out), HV_OK);
        assert_memory_equal(bytes, &others[i], 4); /* it did change */
        assert_int_equal(out[0], GIVEN);
        assert_int_equal(out[GIVEN / 4 - 1], 0x77777777);
        assert_int_equal(out[GIVEN / 4], 0);
        assert_int_equal(out[KNOWN / 4 - 1], 0);
        assert_int_equal(out[KNOWN / 4], 0xeeeeeeee);
    }
}

/* Each byte of a longer structure counts, and zero bytes there are as if they were absent. */
static void a_tail_that_is_not_zero_is_e2big(void **state)
{
    uint8_t *bytes = ram(vm_a, SCRATCH);

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(struct_calls); i++) {
        const struct struct_call *c = &struct_calls[i];
        memset(bytes, 0, 8192);
        memcpy(bytes, &c->size, 4);
        enum hv_status plain = call(vm_a, c->number, SCRATCH, 0, 0, NULL);
        assert_int_not_equal(plain, HV_OK);
        for (uint32_t longer = c->size + 8; longer <= 4096; longer += 1000) {
            memcpy(bytes, &longer, 4);
            assert_refused(call(vm_a, c->number, SCRATCH, 0, 0, NULL), plain);
            for (uint32_t at = c->size; at < longer; at += longer - c->size - 1) {
                bytes[at] = 1;
                assert_refused(call(vm_a, c->number, SCRATCH, 0, 0, NULL), HV_E2BIG);
                bytes[at] = 0;
            }
        }
        static const uint32_t huge[] = { 4097, 0x7fffffff, 0xffffffff };
        for (unsigned h = 0; h < ARRAY_SIZE(huge); h++) {
            memcpy(bytes, &huge[h], 4);
            assert_refused(call(vm_a, c->number, SCRATCH, 0, 0, NULL), HV_E2BIG);
        }
    }
}

static void addresses_are_aligned_and_in_ram(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(struct_calls); i++) {
        const struct struct_call *c = &struct_calls[i];
        memcpy(ram(vm_a, RAM_SIZE - 8), &c->size, 4);
        for (unsigned off = 1; off < 8; off++)
            assert_refused(call(vm_a, c->number, SCRATCH + off, 0, 0, NULL), HV_EALIGN);
        static const uint64_t foreign[] = {
            RAM_SIZE,
            RAM_SIZE - 8, /* past the end, across it */
            OUTSIDE,
            VM_RAM_HIGH - 8,
            VM_RAM_HIGH + (2 << 20),
            ~0ull << 3,
            1ull << 63,
            PLATFORM_RAM_BASE + PLATFORM_RAM_SIZE - PAGE_SIZE, /* host memory is not guest memory */
        };
        for (unsigned f = 0; f < ARRAY_SIZE(foreign); f++)
            assert_refused(call(vm_a, c->number, foreign[f], 0, 0, NULL), HV_EFAULT);
    }
}

/* A structure in high RAM works as well; and one that ends exactly at the end. */
static void the_last_bytes_of_ram_are_good(void **state)
{
    struct hc_ring_setup in = { .size = sizeof(in), .base = COMMANDS, .entries = 16 };
    uint64_t at[] = { RAM_SIZE - sizeof(in), VM_RAM_HIGH, VM_RAM_HIGH + (2 << 20) - sizeof(in) };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        in.base = COMMANDS;
        in.entries = 16;
        memcpy(ram(vm_a, at[i]), &in, sizeof(in));
        assert_int_equal(call(vm_a, HC_COMMAND_RING, at[i], 0, 0, NULL), HV_OK);
        in.base = in.entries = 0;
        memcpy(ram(vm_a, at[i]), &in, sizeof(in));
        assert_int_equal(call(vm_a, HC_COMMAND_RING, at[i], 0, 0, NULL), HV_OK);
    }
}

/* Calls that fill a structure of the guest's. */
static void answers_stay_in_the_guests_structure(void **state)
{
    static const struct {
        uint64_t number, index;
        uint32_t first, size; /* of the first version, and of this one */
    } outs[] = {
        { HC_VM_INFO, 0, sizeof(struct hc_vm_info), sizeof(struct hc_vm_info) },
        { HC_STATS, 0, HC_STATS_MIN, sizeof(struct hc_stats) },
        { HC_DEVICE_INFO, 1, sizeof(struct hc_device_info), sizeof(struct hc_device_info) },
    };
    uint8_t *bytes = ram(vm_a, SCRATCH);
    uint64_t value;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(outs); i++) {
        bool indexed = outs[i].number == HC_DEVICE_INFO;
#define OUT(at, size)                                                                              \
    (indexed ? call(vm_a, outs[i].number, outs[i].index, at, size, &value)                         \
             : call(vm_a, outs[i].number, at, size, 0, &value))
        memset(bytes, 0xa5, 4096);
        assert_refused(OUT(SCRATCH, outs[i].first - 1), HV_E2SMALL);
        assert_refused(OUT(SCRATCH + 4, outs[i].size), HV_EALIGN);
        assert_refused(OUT(OUTSIDE, outs[i].size), HV_EFAULT);
        assert_refused(OUT(RAM_SIZE - 8, outs[i].size), HV_EFAULT);
        assert_refused(OUT(SCRATCH, 1ull << 40), HV_EFAULT);
        for (unsigned b = 0; b < 4096; b++)
            assert_int_equal(bytes[b], 0xa5);
        assert_int_equal(OUT(SCRATCH, outs[i].first), HV_OK);
        assert_int_equal(value, outs[i].first);
        assert_int_equal(bytes[outs[i].first], 0xa5);
        assert_int_equal(OUT(SCRATCH, outs[i].size + 64), HV_OK);
        assert_int_equal(value, outs[i].size);
        assert_int_equal(*(uint32_t *)bytes, outs[i].size);
        assert_int_equal(bytes[outs[i].size], 0xa5);
#undef OUT
    }
}

static void vm_info_tells_the_vm(void **state)
{
    struct hc_vm_info *info = ram(vm_a, SCRATCH);
    struct hc_stats *stats = ram(vm_a, SCRATCH);

    (void)state;
    assert_int_equal(call(vm_a, HC_VM_INFO, SCRATCH, sizeof(*info), 0, NULL), HV_OK);
    assert_string_equal(info->name, "a");
    assert_int_equal(info->version, SLUICE_ABI_VERSION);
    assert_int_equal(info->features, HC_FEATURE_IOMMU | HC_FEATURE_NESTED | HC_FEATURE_IOPF |
                                         HC_FEATURE_PAGING | HC_FEATURE_INTERRUPTS |
                                         HC_FEATURE_ON_DEMAND);
    assert_int_equal(info->memory, RAM_SIZE + (2 << 20));
    assert_int_equal(info->vcpus, 2);
    assert_int_equal(info->devices, 3);
    assert_int_equal(info->table_quota, 100000);
    assert_int_equal(info->table_used, vm_a->quota.used);
    vm_a->vcpu[0]->exits = 5;
    vm_a->vcpu[1]->exits = 7;
    assert_int_equal(call(vm_a, HC_STATS, SCRATCH, sizeof(*stats), 0, NULL), HV_OK);
    assert_int_equal(stats->exits, 12);
    assert_int_equal(stats->hypercalls, 2);
}

static void shutdown_ends_the_vm_with_its_code(void **state)
{
    (void)state;
    assert_int_equal(call(vm_a, HC_SHUTDOWN, 42, 0, 0, NULL), HV_OK);
    assert_int_equal(abi_calls.ends, 1);
    assert_int_equal(abi_calls.end_code, 42);
    assert_int_equal(vm_a->end, VM_END_SHUTDOWN);
}

/* The guest's own tables, walked: a brute-force look against tables that the test lays out. */
static void the_walk_of_a_first_stage(void **state)
{
    uint64_t *l4 = ram(vm_a, ROOT(0)), *l3 = ram(vm_a, ROOT(1)), *l2 = ram(vm_a, ROOT(2)),
             *l1 = ram(vm_a, ROOT(3));
    const struct {
        uint64_t address, e4, e3, e2, e1;
        bool write, privileged;
        enum guest_walk expected;
    } cases[] = {
#define T(n)   (ROOT(n) | 7)
#define TABLES T(1), T(2), T(3)
        { 0x1000, TABLES, 0x5000 | 7, true, false, GUEST_WALK_RAM },
        { 0x1000, TABLES, 0x5000 | 5, true, false, GUEST_WALK_ABSENT }, /* not writable */
        { 0x1000, TABLES, 0x5000 | 5, false, false, GUEST_WALK_RAM },
        { 0x1000, TABLES, 0x5000 | 3, false, false, GUEST_WALK_ABSENT }, /* not the user's */
        { 0x1000, TABLES, 0x5000 | 3, false, true, GUEST_WALK_RAM },
        { 0x1000, TABLES, 0x5000 | 6, false, false, GUEST_WALK_ABSENT }, /* not present */
        { 0x1000, TABLES, OUTSIDE | 7, false, false, GUEST_WALK_OUTSIDE },
        { 0x1000, TABLES, VM_RAM_HIGH | 7, false, false, GUEST_WALK_RAM },
        { 0x1000, TABLES, RAM_SIZE | 7, false, false, GUEST_WALK_OUTSIDE },
        { 0x1000, TABLES, 1ull << 63 | 0x5000 | 7, false, false, GUEST_WALK_RAM }, /* XD */
        { 0x1000, T(1), T(2), ROOT(3) | 5, 0x5000 | 7, true, false, GUEST_WALK_ABSENT },
        { 0x1000, T(1), T(2), OUTSIDE | 7, 0, false, false, GUEST_WALK_OUTSIDE },
        { 0x1000, T(1), OUTSIDE | 7, 0, 0, false, false, GUEST_WALK_OUTSIDE },
        { 0x1000, OUTSIDE | 7, 0, 0, 0, false, false, GUEST_WALK_OUTSIDE },
        { 0x1000, T(1), T(2), 0x200000 | 0x87, 0, true, false, GUEST_WALK_RAM }, /* 2 MiB */
        { 0x1000, T(1), T(2), (RAM_SIZE - 0x200000) | 0x87, 0, true, false, GUEST_WALK_RAM },
        { 0x1000, T(1), T(2), RAM_SIZE | 0x87, 0, true, false, GUEST_WALK_OUTSIDE },
        { 0x1000, T(1), 0x87, 0, 0, true, false, GUEST_WALK_RAM }, /* 1 GiB: inside at 0x1000 */
        { RAM_SIZE + 0x1000, T(1), 0x87, 0, 0, true, false, GUEST_WALK_OUTSIDE },
        { 1ull << 47 | 0x1000, TABLES, 0x5000 | 7, false, false, GUEST_WALK_ABSENT },
        { ~0ull << 47 | 0x1000, TABLES, 0x5000 | 7, false, false, GUEST_WALK_RAM },
    };

    (void)state;
    l4[256] = T(1);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        l4[0] = cases[i].e4;
        l3[0] = cases[i].e3;
        l2[0] = cases[i].e2;
        l1[1] = cases[i].e1;
        enum guest_walk found = guest_walk(vm_a, GPADDR(ROOT(0)), 4, IOVA(cases[i].address),
                                           cases[i].write, cases[i].privileged);
        if (found != cases[i].expected)
            fail_msg("case %u: %d", i, found);
    }
    /* Five levels: one more table on top, and its own sign bit. */
    uint64_t *l5 = ram(vm_a, ROOT(4));
    l5[0] = ROOT(0) | 7;
    l4[0] = T(1);
    l3[0] = T(2);
    l2[0] = T(3);
    l1[1] = 0x5000 | 7;
    assert_int_equal(guest_walk(vm_a, GPADDR(ROOT(4)), 5, IOVA(0x1000), true, false),
                     GUEST_WALK_RAM);
    l4[256] = T(1);
    assert_int_equal(guest_walk(vm_a, GPADDR(ROOT(4)), 5, IOVA((1ull << 47) + 0x1000), true, false),
                     GUEST_WALK_RAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(null_answers_the_version),
        abi_test(unknown_numbers_are_enosys),
        abi_test(too_short_is_e2small),
        abi_test(a_tail_that_is_not_zero_is_e2big),
        abi_test(a_size_that_changes_is_what_it_was_when_checked),
        abi_test(addresses_are_aligned_and_in_ram),
        abi_test(the_last_bytes_of_ram_are_good),
        abi_test(answers_stay_in_the_guests_structure),
        abi_test(vm_info_tells_the_vm),
        abi_test(shutdown_ends_the_vm_with_its_code),
        abi_test(the_walk_of_a_first_stage),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
