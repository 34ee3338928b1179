/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Invalidation: who is reached, by call and by array; what is refused. */
#include <string.h>

#include "tests/unit/abi_vm.h"

#pragma clang diagnostic ignored "-Winitializer-overrides" /* cases are a good call with a fault   \
                                                            */

static uint32_t pasid;

/* One PASID on all three devices, one on the first alone, a RID with a first stage. */
static void populate(void)
{
    bind(vm_a, 0, ROOT(1), &pasid);
    bind(vm_a, 1, ROOT(1), NULL);
    bind(vm_a, 2, ROOT(1), NULL);
    bind(vm_a, 0, ROOT(2), NULL);
    assert_int_equal(attach(vm_a, 1, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(3)), HV_OK);
    assert_int_equal(attach(vm_a, 0, 600, HC_DOMAIN_IDENTITY, 0), HV_OK);
    bind(vm_b, 0, ROOT(1), NULL);
}

/* Exactly these devices got an order, flushed by the time the call was back. */
static void expect(unsigned from, const rid_t *rids, unsigned n, enum iommu_inval_kind kind,
                   uint32_t of)
{
    assert_int_equal(fake.invals - from, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned found = 0;
        for (unsigned j = from; j < fake.invals; j++) {
            const struct fake_inval *v = &fake.inval[j];
            assert_true(v->flushed);
            found += v->what.dev->rid == rids[i] && v->what.kind == kind &&
                     (kind == IOMMU_INVAL_ALL || v->what.pasid == of);
        }
        assert_int_equal(found, 1);
    }
}

static void a_pasid_reaches_every_device_bound_to_it(void **state)
{
    static const rid_t all[] = { DEV0, DEV1, DEV2 };
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID };

    (void)state;
    populate();
    in.pasid = pasid;
    unsigned from = fake.invals;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, all, 3, IOMMU_INVAL_PASID, pasid);
    from = fake.invals;
    in = (struct hc_invalidate){ .kind = HC_INVALIDATE_RANGE,
                                 .flags = HC_INVALIDATE_LEAF,
                                 .pasid = pasid,
                                 .address = 0xffff800000005000,
                                 .bytes = 0x3000 };
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, all, 3, IOMMU_INVAL_RANGE, pasid);
    for (unsigned i = from; i < fake.invals; i++) {
        assert_int_equal(fake.inval[i].what.address.v, 0xffff800000005000);
        assert_int_equal(fake.inval[i].what.bytes, 0x3000);
        assert_true(fake.inval[i].what.leaf);
    }
    in.flags = 0;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    assert_false(fake.inval[fake.invals - 1].what.leaf);
    /* What is BLOCKED has nothing cached. */
    assert_int_equal(attach(vm_a, 1, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    from = fake.invals;
    static const rid_t two[] = { DEV0, DEV2 };
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, two, 2, IOMMU_INVAL_RANGE, pasid);
    assert_int_equal(vm_a->stats.invalidations, 4);
}

static void a_rid_is_named_by_its_device(void **state)
{
    static const rid_t one[] = { DEV1 };
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID, .pasid = HC_PASID_NONE, .device = 1 };

    (void)state;
    populate();
    unsigned from = fake.invals;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, one, 1, IOMMU_INVAL_PASID, PASID_RID);
    in.device = 0;
    assert_refused(call_with(vm_a, HC_INVALIDATE, in), HV_ENOENT);
    in.device = 3;
    assert_refused(call_with(vm_a, HC_INVALIDATE, in), HV_ENODEV);
}

static void a_domain_is_all_of_the_vm_on_one_unit(void **state)
{
    static const rid_t unit0[] = { DEV0, DEV1 }, unit1[] = { DEV2 };
    struct hc_invalidate in = { .kind = HC_INVALIDATE_DOMAIN, .device = 2 };

    (void)state;
    populate();
    unsigned from = fake.invals;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, unit1, 1, IOMMU_INVAL_ALL, 0);
    in.device = 0;
    from = fake.invals;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_OK);
    expect(from, unit0, 2, IOMMU_INVAL_ALL, 0);
}

static const struct wrong {
    enum hv_status status;
    struct hc_invalidate in;
} wrong[] = {
#define RANGE(...) { .kind = HC_INVALIDATE_RANGE, .pasid = 1, .bytes = 0x1000, __VA_ARGS__ }
    { HV_EINVAL, RANGE(.flags = 2) },
    { HV_EINVAL, RANGE(.reserved = 1) },
    { HV_EINVAL, RANGE(.kind = 4) },
    { HV_ERANGE, RANGE(.kind = HC_INVALIDATE_MAPPED, .bytes = HC_MAPPED_MAX + 0x1000) },
    { HV_EINVAL, RANGE(.kind = HC_INVALIDATE_MAPPED, .bytes = 0) },
    { HV_EINVAL, RANGE(.kind = 0xffffffff) },
    { HV_EALIGN, RANGE(.address = 0x10) },
    { HV_EALIGN, RANGE(.bytes = 0x1001) },
    { HV_EINVAL, RANGE(.bytes = 0) },
    { HV_ERANGE, RANGE(.address = 0xfffffffffffff000, .bytes = 0x2000) },
    { HV_ERANGE, RANGE(.address = 0x2000, .bytes = 0xfffffffffffff000) },
    { HV_ERANGE, RANGE(.pasid = 0) },
    { HV_ERANGE, RANGE(.pasid = 1 << 20) },
    { HV_ERANGE, RANGE(.pasid = HC_PASID_ANY) },
    { HV_ENOENT, RANGE(.pasid = 599) },
    { HV_ENOENT, RANGE(.pasid = 600) }, /* IDENTITY has no first stage */
    { HV_EINVAL, RANGE(.device = 1) },
    { HV_EINVAL, { .kind = HC_INVALIDATE_PASID, .pasid = 1, .bytes = 0x1000 } },
    { HV_EINVAL, { .kind = HC_INVALIDATE_PASID, .pasid = 1, .address = 0x1000 } },
    { HV_EINVAL, { .kind = HC_INVALIDATE_DOMAIN, .pasid = 1 } },
    { HV_ENODEV, { .kind = HC_INVALIDATE_DOMAIN, .device = 3 } },
    { HV_EINVAL, { .kind = HC_INVALIDATE_DOMAIN, .bytes = 0x1000 } },
};

static void wrong_invalidations_are_refused(void **state)
{
    (void)state;
    populate();
    assert_int_equal(pasid, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        uint64_t before = digest();
        enum hv_status status = call_with(vm_a, HC_INVALIDATE, wrong[i].in);
        if (status != wrong[i].status || digest() != before)
            fail_msg("case %u: %d", i, status);
    }
    /* The very last page of the address space is not out of range. */
    struct hc_invalidate last = RANGE(.address = 0xfffffffffffff000);
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, last), HV_OK);
    /* The other VM's PASID is not there. */
    struct hc_invalidate other = RANGE(.pasid = 2);
    assert_refused(call_with(vm_b, HC_INVALIDATE, other), HV_ENOENT);
}

#define ARRAY 0x300000ull

static void put(unsigned at, uint32_t size, const struct hc_invalidate *in)
{
    uint8_t *to = ram(vm_a, ARRAY + (uint64_t)at * size);

    memset(to, 0, size);
    memcpy(to, in, sizeof(*in) < size ? sizeof(*in) : size);
    memcpy(to, &size, 4);
}

static enum hv_status array(uint32_t count, uint32_t entry_size, uint64_t *done)
{
    struct hc_invalidate_array in = { .entries = ARRAY, .count = count, .entry_size = entry_size };

    return call_struct(vm_a, HC_INVALIDATE_ARRAY, &in, sizeof(in), done);
}

static void an_array_counts_what_was_done(void **state)
{
    struct hc_invalidate good = { .kind = HC_INVALIDATE_PASID };
    uint64_t done;

    (void)state;
    populate();
    good.pasid = pasid;
    for (unsigned i = 0; i < 256; i++)
        put(i, sizeof(good), &good);
    unsigned flushes = fake.flushes;
    assert_int_equal(array(256, sizeof(good), &done), HV_OK);
    assert_int_equal(done, 256);
    assert_int_equal(fake.invals, 3 * 256);
    assert_int_equal(fake.flushes - flushes, 1);
    assert_int_equal(vm_a->stats.invalidations, 256);
    /* Up to the first wrong one, and those before it are complete. */
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        put(i, sizeof(good), &wrong[i].in);
        fake.invals = 0;
        assert_int_equal(array(256, sizeof(good), &done), wrong[i].status);
        assert_int_equal(done, i);
        assert_int_equal(fake.invals, 3 * i);
        for (unsigned n = 0; n < fake.invals; n++)
            assert_true(fake.inval[n].flushed);
        assert_int_equal(fake.unflushed, 0);
        put(i, sizeof(good), &good);
    }
}

/* Single pages are passed on in runs: each with its own PASID, hint and address, none twice. */
static void runs_of_pages_keep_each_order(void **state)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_RANGE, .bytes = PAGE_SIZE };
    uint32_t second = pasid;
    uint64_t done;

    (void)state;
    bind(vm_a, 2, ROOT(1), &pasid);
    bind(vm_a, 2, ROOT(2), &second);
    for (unsigned i = 0; i < 256; i++) {
        in.pasid = i % 150 < 70 ? pasid : second;
        in.flags = i % 40 < 20 || i > 180 ? HC_INVALIDATE_LEAF : 0;
        in.address = i * 0x7000ull;
        put(i, sizeof(in), &in);
    }
    assert_int_equal(array(256, sizeof(in), &done), HV_OK);
    assert_int_equal(fake.invals, 256);
    for (unsigned i = 0; i < 256; i++) {
        const struct iommu_inval *v = &fake.inval[i].what;
        assert_int_equal(v->pasid, i % 150 < 70 ? pasid : second);
        assert_int_equal(v->leaf, i % 40 < 20 || i > 180);
        assert_int_equal(v->address.v, i * 0x7000ull);
        assert_int_equal(v->bytes, PAGE_SIZE);
    }
    /* A run of more than fits. */
    fake.invals = 0;
    in.pasid = pasid;
    for (unsigned i = 0; i < 256; i++) {
        in.address = i * 0x3000ull;
        put(i, sizeof(in), &in);
    }
    assert_int_equal(array(256, sizeof(in), &done), HV_OK);
    assert_int_equal(fake.invals, 256);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(fake.inval[i].what.address.v, i * 0x3000ull);
}

static void wrong_arrays_are_refused(void **state)
{
    struct hc_invalidate good = { .kind = HC_INVALIDATE_PASID };
    static const struct {
        enum hv_status status;
        struct hc_invalidate_array in;
    } cases[] = {
#define ENTRIES(...) { .entries = ARRAY, .count = 2, .entry_size = 40, __VA_ARGS__ }
        { HV_EINVAL, ENTRIES(.flags = 1) },           { HV_ERANGE, ENTRIES(.count = 0) },
        { HV_ERANGE, ENTRIES(.count = 257) },         { HV_ERANGE, ENTRIES(.count = 0xffffffff) },
        { HV_EALIGN, ENTRIES(.entries = ARRAY + 8) }, { HV_EALIGN, ENTRIES(.entry_size = 44) },
        { HV_EFAULT, ENTRIES(.entries = OUTSIDE) },   { HV_EFAULT, ENTRIES(.entries = ~0xfffull) },
        { HV_E2SMALL, ENTRIES(.entry_size = 32) },    { HV_E2BIG, ENTRIES(.entry_size = 8192) },
    };
    uint64_t done = 0;

    (void)state;
    populate();
    good.pasid = pasid;
    for (unsigned i = 0; i < 2; i++)
        put(i, 40, &good);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(call_with(vm_a, HC_INVALIDATE_ARRAY, cases[i].in), cases[i].status);
    /* Entries of a later version: zero past what is known, or the whole entry is refused. */
    for (unsigned i = 0; i < 2; i++)
        put(i, 64, &good);
    assert_int_equal(array(2, 64, &done), HV_OK);
    ((uint8_t *)ram(vm_a, ARRAY + 64))[50] = 1;
    assert_int_equal(array(2, 64, &done), HV_E2BIG);
    assert_int_equal(done, 1);
    /* An entry that says another size than the array. */
    put(0, 40, &good);
    memset(ram(vm_a, ARRAY + 40), 0, 40);
    *(uint32_t *)ram(vm_a, ARRAY) = 48;
    assert_int_equal(array(1, 40, &done), HV_EINVAL);
    *(uint32_t *)ram(vm_a, ARRAY) = 8;
    assert_int_equal(array(1, 40, &done), HV_E2SMALL);
    assert_int_equal(done, 0);
    /* An array across the end of RAM: what lies inside is done. */
    struct hc_invalidate_array end = ENTRIES(.entries = RAM_SIZE - 4096, .count = 256);
    for (unsigned i = 0; i < 102; i++) {
        memcpy(ram(vm_a, RAM_SIZE - 4096 + i * 40), &good, 40);
        *(uint32_t *)ram(vm_a, RAM_SIZE - 4096 + i * 40) = 40;
    }
    *(uint32_t *)ram(vm_a, RAM_SIZE - 16) = 40; /* begins inside, ends outside */
    assert_int_equal(call_struct(vm_a, HC_INVALIDATE_ARRAY, &end, sizeof(end), &done), HV_EFAULT);
    assert_int_equal(done, 102);
}

static void a_device_that_times_out_is_told(void **state)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID };
    struct hc_event e;

    (void)state;
    populate();
    in.pasid = pasid;
    fake.fail_flush = HV_ETIMEDOUT;
    fake.fail_device = true;
    assert_int_equal(call_with(vm_a, HC_INVALIDATE, in), HV_ETIMEDOUT);
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_DEVICE_FAILED);
    assert_int_equal(e.device, 0);
    assert_int_equal(fake_target(DEV0, pasid).kind, IOMMU_BLOCKED);
    assert_int_equal(fake_target(DEV1, pasid).kind, IOMMU_NESTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(a_pasid_reaches_every_device_bound_to_it),
        abi_test(a_rid_is_named_by_its_device),
        abi_test(a_domain_is_all_of_the_vm_on_one_unit),
        abi_test(wrong_invalidations_are_refused),
        abi_test(an_array_counts_what_was_done),
        abi_test(runs_of_pages_keep_each_order),
        abi_test(wrong_arrays_are_refused),
        abi_test(a_device_that_times_out_is_told),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
