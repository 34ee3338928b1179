/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Attach: every domain over every other, on RIDs and PASIDs; second stages; what is refused. */
#include "tests/unit/abi_vm.h"

#pragma clang diagnostic ignored "-Winitializer-overrides" /* cases are a good call with a fault   \
                                                            */

static void everything_starts_blocked(void **state)
{
    (void)state;
    assert_int_equal(fake_attached(), 0);
    assert_int_equal(fake.attaches, 0);
}

/* What a (device, PASID) shows for a domain. */
static void expect_target(rid_t rid, uint32_t pasid, enum hc_domain domain, uint64_t root)
{
    struct fake_target t = fake_target(rid, pasid == HC_PASID_NONE ? PASID_RID : pasid);

    switch (domain) {
    case HC_DOMAIN_IDENTITY: assert_int_equal(t.kind, IOMMU_SECOND_STAGE); break;
    case HC_DOMAIN_NESTED:
        assert_int_equal(t.kind, IOMMU_NESTED);
        assert_int_equal(t.root, root);
        assert_int_equal(t.levels, 4);
        break;
    default: assert_int_equal(t.kind, IOMMU_BLOCKED);
    }
}

static void any_domain_replaces_any_other(void **state)
{
    static const struct {
        enum hc_domain domain;
        uint64_t root;
    } all[] = {
        { HC_DOMAIN_BLOCKED, 0 },
        { HC_DOMAIN_IDENTITY, 0 },
        { HC_DOMAIN_NESTED, ROOT(1) },
        { HC_DOMAIN_NESTED, ROOT(2) },
    };
    static const uint32_t pasids[] = { HC_PASID_NONE, 1, 77, 0xfffff };

    (void)state;
    for (unsigned p = 0; p < ARRAY_SIZE(pasids); p++) {
        for (unsigned from = 0; from < ARRAY_SIZE(all); from++) {
            for (unsigned to = 0; to < ARRAY_SIZE(all); to++) {
                uint32_t pasid = pasids[p];
                assert_int_equal(attach(vm_a, 0, pasid, all[from].domain, all[from].root), HV_OK);
                expect_target(DEV0, pasid, all[from].domain, all[from].root);
                assert_int_equal(attach(vm_a, 0, pasid, all[to].domain, all[to].root), HV_OK);
                expect_target(DEV0, pasid, all[to].domain, all[to].root);
            }
        }
        assert_int_equal(attach(vm_a, 0, pasids[p], HC_DOMAIN_BLOCKED, 0), HV_OK);
    }
    assert_int_equal(fake_attached(), 0);
    assert_int_equal(vm_a->sva->objects.objects, 0);
}

static void blocking_works_with_no_memory_and_after_failure(void **state)
{
    (void)state;
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(attach(vm_a, 0, 9, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, 9, HC_DOMAIN_IDENTITY, 0), HV_OK);
    pages_fail_after(0);
    vm_a->quota.limit = 0;
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm_a, 0, 9, HC_DOMAIN_BLOCKED, 0), HV_OK);
    fake_fail(&vm_a->device[1]->io, HV_ETIMEDOUT);
    assert_int_equal(attach(vm_a, 1, 9, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(fake_attached(), 0);
    assert_int_equal(vm_a->sva->objects.objects, 0);
    pages_fail_after(-1);
}

static void one_second_stage_per_vm_and_unit(void **state)
{
    (void)state;
    assert_int_equal(fake.stage2_live, 3); /* a on 0 and 1, b on 0 */
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 2, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_b, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 0, 5, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(fake.stage2_live, 3);
    uint32_t dev0 = fake_target(DEV0, 0).stage2, dev1 = fake_target(DEV1, 0).stage2;
    assert_int_equal(dev0, dev1);
    assert_int_equal(fake_target(DEV0, 5).stage2, dev0);
    assert_int_not_equal(fake_target(DEV2, 0).stage2, dev0);
    assert_int_not_equal(fake_target(DEVB, 0).stage2, dev0);
}

/* It maps the VM's RAM to its own memory, all of it, and nothing else. */
static void the_second_stage_is_the_vms_memory_and_no_other(void **state)
{
    const struct pt *table = &vm_a->sva->second[0]->table;
    struct pt_leaf leaf;

    (void)state;
    for (uint64_t gpa = 0; gpa < VM_RAM_HIGH + (4 << 20); gpa += 0x1f3000) {
        void *expected = vm_ram(vm_a, GPADDR(gpa), PAGE_SIZE);
        bool mapped = pt_lookup(table, PTADDR(gpa), &leaf);
        assert_int_equal(mapped, expected != NULL);
        if (mapped) {
            assert_ptr_equal(phys_to_virt(PADDR(leaf.out.v | (gpa & (leaf.size - 1)))), expected);
            assert_int_equal(leaf.perm & (PT_R | PT_W), PT_R | PT_W);
        }
    }
}

static void a_pasid_means_one_thing_in_a_vm(void **state)
{
    (void)state;
    assert_int_equal(attach(vm_a, 0, 5, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(attach(vm_a, 1, 5, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_refused(attach(vm_a, 1, 5, HC_DOMAIN_NESTED, ROOT(2)), HV_EEXIST);
    assert_refused(attach(vm_a, 2, 5, HC_DOMAIN_NESTED, ROOT(2)), HV_EEXIST);
    assert_refused(attach(vm_a, 2, 5, HC_DOMAIN_IDENTITY, 0), HV_EEXIST);
    /* In another VM it is another one's. */
    assert_int_equal(attach(vm_b, 0, 5, HC_DOMAIN_NESTED, ROOT(2)), HV_OK);
    /* The last user may change it; the same again changes nothing. */
    assert_int_equal(attach(vm_a, 1, 5, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_refused(attach(vm_a, 0, 5, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(attach(vm_a, 0, 5, HC_DOMAIN_NESTED, ROOT(2)), HV_OK);
    assert_int_equal(attach(vm_a, 1, 5, HC_DOMAIN_NESTED, ROOT(2)), HV_OK);
}

static void sva_keeps_its_pasid(void **state)
{
    uint32_t pasid, bond = bind(vm_a, 0, ROOT(1), &pasid);
    uint64_t value;

    (void)state;
    assert_refused(attach(vm_a, 0, pasid, HC_DOMAIN_NESTED, ROOT(2)), HV_EEXIST);
    assert_refused(attach(vm_a, 0, pasid, HC_DOMAIN_IDENTITY, 0), HV_EEXIST);
    assert_refused(attach(vm_a, 1, pasid, HC_DOMAIN_NESTED, ROOT(2)), HV_EEXIST);
    assert_refused(attach(vm_a, 1, pasid, HC_DOMAIN_IDENTITY, 0), HV_EEXIST);
    /* BLOCKED over a bond, and back: the bond stays. */
    assert_int_equal(attach(vm_a, 0, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    expect_target(DEV0, pasid, HC_DOMAIN_BLOCKED, 0);
    assert_int_equal(attach(vm_a, 0, pasid, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    expect_target(DEV0, pasid, HC_DOMAIN_NESTED, ROOT(1));
    assert_int_equal(attach(vm_a, 0, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, &value), HV_OK);
    assert_int_equal((uint32_t)value, bond);
    expect_target(DEV0, pasid, HC_DOMAIN_NESTED, ROOT(1));
    assert_int_equal(attach(vm_a, 0, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, &value), HV_OK);
    assert_int_equal(value, 1);
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, &value), HV_OK);
    assert_int_equal(vm_a->sva->objects.objects, 0);
}

static void wrong_attaches_are_refused(void **state)
{
    static const struct {
        enum hv_status status;
        struct hc_attach in;
    } cases[] = {
#define NESTED(...) { .domain = HC_DOMAIN_NESTED, .levels = 4, .root = ROOT(0), __VA_ARGS__ }
        { HV_EINVAL, NESTED(.flags = 1, .pasid = 5) },
        { HV_EINVAL, NESTED(.domain = 4, .pasid = 5) },
        { HV_EINVAL, NESTED(.domain = 0xffffffff, .pasid = 5) },
        { HV_ENODEV, NESTED(.device = 3, .pasid = 5) },
        { HV_ENODEV, NESTED(.device = 0xffffffff, .pasid = 5) },
        { HV_ERANGE, NESTED(.pasid = 0) },
        { HV_ERANGE, NESTED(.pasid = 1 << 20) },
        { HV_ERANGE, NESTED(.pasid = HC_PASID_ANY) },
        { HV_ERANGE, NESTED(.device = 2, .pasid = 256) },
        { HV_ERANGE, { .domain = HC_DOMAIN_BLOCKED, .pasid = 1 << 20 } },
        { HV_EINVAL, NESTED(.pasid = 5, .levels = 3) },
        { HV_EINVAL, NESTED(.pasid = 5, .levels = 0) },
        { HV_EINVAL, NESTED(.pasid = 5, .levels = 6) },
        { HV_EINVAL, NESTED(.pasid = 5, .levels = 260) },
        { HV_ENOTSUP, NESTED(.pasid = 5, .levels = 5) },
        { HV_EALIGN, NESTED(.pasid = 5, .root = ROOT(0) + 8) },
        { HV_EFAULT, NESTED(.pasid = 5, .root = OUTSIDE) },
        { HV_EFAULT, NESTED(.pasid = 5, .root = RAM_SIZE) },
        { HV_EFAULT, NESTED(.pasid = HC_PASID_NONE, .root = ~0xfffull) },
        { HV_EINVAL, { .domain = HC_DOMAIN_IDENTITY, .pasid = 5, .root = ROOT(0) } },
        { HV_EINVAL, { .domain = HC_DOMAIN_IDENTITY, .pasid = 5, .levels = 4 } },
        { HV_EINVAL, { .domain = HC_DOMAIN_BLOCKED, .pasid = 5, .root = 1 } },
        { HV_ENOENT, { .domain = HC_DOMAIN_PAGING, .pasid = 5, .root = 1 } },
        { HV_ENOENT, { .domain = HC_DOMAIN_PAGING, .pasid = HC_PASID_NONE } },
        { HV_EINVAL, { .domain = HC_DOMAIN_PAGING, .pasid = 5, .levels = 4 } },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(call_with(vm_a, HC_ATTACH, cases[i].in), cases[i].status);
    /* b has one device only: a's others are not there for it. */
    assert_refused(attach(vm_b, 1, 5, HC_DOMAIN_IDENTITY, 0), HV_ENODEV);
    /* A unit without nesting still has IDENTITY; a function without PASID still has its RID. */
    fake.caps[1].nested = false;
    assert_refused(attach(vm_a, 2, 5, HC_DOMAIN_NESTED, ROOT(0)), HV_ENOTSUP);
    assert_int_equal(attach(vm_a, 2, 5, HC_DOMAIN_IDENTITY, 0), HV_OK);
    vm_a->device[1]->io.pasid_bits = 0;
    assert_refused(attach(vm_a, 1, 5, HC_DOMAIN_IDENTITY, 0), HV_ENOTSUP);
    assert_int_equal(attach(vm_a, 1, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(0)), HV_OK);
}

static void five_levels_where_the_unit_has_them(void **state)
{
    struct hc_attach in = { .pasid = 5, .domain = HC_DOMAIN_NESTED, .levels = 5, .root = ROOT(1) };

    (void)state;
    fake.caps[0].first_stage_levels = 3;
    assert_int_equal(call_with(vm_a, HC_ATTACH, in), HV_OK);
    assert_int_equal(fake_target(DEV0, 5).levels, 5);
    in.levels = 4; /* the same root otherwise understood is another space */
    in.device = 1;
    assert_refused(call_with(vm_a, HC_ATTACH, in), HV_EEXIST);
}

/* Run out of memory at each allocation in turn, fail in the driver: what was there stays. */
static void errors_change_nothing(void **state)
{
    static const uint32_t pasids[] = { HC_PASID_NONE, 5, 0x54321 };

    (void)state;
    for (unsigned p = 0; p < ARRAY_SIZE(pasids); p++) {
        for (unsigned with_old = 0; with_old < 2; with_old++) {
            if (with_old)
                assert_int_equal(attach(vm_a, 0, pasids[p], HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
            for (int64_t budget = 0;; budget++) {
                uint64_t before = digest();
                pages_fail_after(budget);
                enum hv_status status = attach(vm_a, 0, pasids[p], HC_DOMAIN_NESTED, ROOT(2));
                pages_fail_after(-1);
                if (status == HV_OK)
                    break;
                assert_int_equal(status, HV_ENOMEM);
                assert_true(digest() == before);
            }
            assert_int_equal(attach(vm_a, 0, pasids[p], HC_DOMAIN_BLOCKED, 0), HV_OK);
        }
        for (unsigned with_old = 0; with_old < 2; with_old++) {
            if (with_old)
                assert_int_equal(attach(vm_a, 0, pasids[p], HC_DOMAIN_IDENTITY, 0), HV_OK);
            fake.fail_attach = HV_EQUOTA;
            assert_refused(attach(vm_a, 0, pasids[p], HC_DOMAIN_NESTED, ROOT(1)), HV_EQUOTA);
        }
        assert_int_equal(attach(vm_a, 0, pasids[p], HC_DOMAIN_BLOCKED, 0), HV_OK);
    }
    vm_a->quota.limit = vm_a->quota.used;
    assert_refused(attach(vm_a, 0, 5, HC_DOMAIN_NESTED, ROOT(1)), HV_EQUOTA);
}

static void a_device_that_fails_is_blocked_and_told(void **state)
{
    struct hc_event e;

    (void)state;
    event_ring(vm_a, 16);
    assert_int_equal(attach(vm_a, 0, 5, HC_DOMAIN_IDENTITY, 0), HV_OK);
    fake.fail_attach = HV_ETIMEDOUT;
    fake.fail_device = true;
    assert_int_equal(attach(vm_a, 0, 6, HC_DOMAIN_NESTED, ROOT(1)), HV_ETIMEDOUT);
    assert_int_equal(fake_attached(), 0);
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_DEVICE_FAILED);
    assert_int_equal(e.device, 0);
    assert_int_equal((int32_t)e.reason, HV_ETIMEDOUT);
    assert_false(take_event(vm_a, &e));
    assert_refused(attach(vm_a, 0, 6, HC_DOMAIN_NESTED, ROOT(1)), HV_EIO);
    assert_int_equal(attach(vm_a, 1, 6, HC_DOMAIN_NESTED, ROOT(1)), HV_OK); /* others go on */
}

/* What hardware does not confirm to have let go of is not used for anything else. */
static void tables_that_hardware_may_walk_are_kept(void **state)
{
    (void)state;
    bind(vm_a, 2, ROOT(1), NULL);
    struct pt first = vm_a->sva->second[0]->table; /* of the unit that is asked first */
    uint64_t before = pages_used();
    fake.fail_stage2_destroy = HV_ETIMEDOUT;
    device_end(vm_a);
    assert_true(platform_logged("is kept"));
    uint64_t kept = vm_a->quota.used;
    assert_true(kept > 1 && pages_used() < before);
    pt_destroy(&first);
    assert_int_equal(vm_a->quota.used, 0);
}

static uint32_t ioas(struct vm *vm)
{
    struct hc_ioas_create in = { .size = sizeof(in) };
    uint64_t handle;

    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &in, sizeof(in), &handle), HV_OK);
    return (uint32_t)handle;
}

/* Two VMs have 4 of 8 each: for the VM's memory, for each device, and one more for a. */
static void domain_ids_are_shared_out(void **state)
{
    (void)state;
    fake.caps[0].domains = 8;
    fake.caps[0].second_stage_depths = fake.caps[1].second_stage_depths = 2;
    uint64_t first = ioas(vm_a), second = ioas(vm_a);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_PAGING, first), HV_OK);
    assert_int_equal(attach(vm_a, 1, 1, HC_DOMAIN_PAGING, first), HV_OK); /* the same id */
    assert_refused(attach(vm_a, 0, 2, HC_DOMAIN_PAGING, second), HV_EQUOTA);
    assert_int_equal(attach(vm_a, 2, 2, HC_DOMAIN_PAGING, second), HV_OK); /* another unit */
    for (unsigned i = 1; i < 3; i++)
        assert_int_equal(attach(vm_b, 0, i, HC_DOMAIN_PAGING, ioas(vm_b)), HV_OK);
    assert_int_equal(attach(vm_b, 0, 3, HC_DOMAIN_PAGING, ioas(vm_b)), HV_EQUOTA);
    /* What is kept in case it comes back makes room. */
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, 1, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm_a, 0, 2, HC_DOMAIN_PAGING, second), HV_OK);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_PAGING, first), HV_EQUOTA);
}

/* The share of one that has gone is the others'. */
static void domain_ids_of_a_vm_that_ends_are_shared_again(void **state)
{
    (void)state;
    fake.caps[0].domains = 8;
    fake.caps[0].second_stage_depths = 2;
    device_end(vm_a);
    for (unsigned i = 1; i < 7; i++)
        assert_int_equal(attach(vm_b, 0, i, HC_DOMAIN_PAGING, ioas(vm_b)), HV_OK);
    assert_int_equal(attach(vm_b, 0, 7, HC_DOMAIN_PAGING, ioas(vm_b)), HV_EQUOTA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(everything_starts_blocked),
        abi_test(any_domain_replaces_any_other),
        abi_test(blocking_works_with_no_memory_and_after_failure),
        abi_test(one_second_stage_per_vm_and_unit),
        abi_test(the_second_stage_is_the_vms_memory_and_no_other),
        abi_test(a_pasid_means_one_thing_in_a_vm),
        abi_test(sva_keeps_its_pasid),
        abi_test(wrong_attaches_are_refused),
        abi_test(five_levels_where_the_unit_has_them),
        abi_test(errors_change_nothing),
        abi_test(a_device_that_fails_is_blocked_and_told),
        abi_test(tables_that_hardware_may_walk_are_kept),
        abi_test(domain_ids_are_shared_out),
        abi_test(domain_ids_of_a_vm_that_ends_are_shared_again),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
