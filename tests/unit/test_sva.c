/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* SVA: spaces, bonds, references, PASIDs; 65,536 of them; the end of a VM. */
#include <stdlib.h>
#include <time.h>

#include "tests/unit/abi_vm.h"

#pragma clang diagnostic ignored "-Winitializer-overrides" /* cases are a good call with a fault   \
                                                            */

static uint64_t unbind(struct vm *vm, uint32_t bond)
{
    uint64_t left;

    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, &left), HV_OK);
    return left;
}

static void bind_gives_the_process_to_the_device(void **state)
{
    uint32_t pasid;
    uint32_t bond = bind(vm_a, 0, ROOT(1), &pasid);

    (void)state;
    struct fake_target t = fake_target(DEV0, pasid);
    assert_int_equal(t.kind, IOMMU_NESTED);
    assert_int_equal(t.root, ROOT(1));
    assert_int_equal(t.levels, 4);
    assert_int_not_equal(pasid, 0);
    assert_int_equal(unbind(vm_a, bond), 0);
    assert_int_equal(fake_attached(), 0);
    assert_refused(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_ENOENT);
}

static void a_second_bind_is_the_same_bond(void **state)
{
    uint32_t pasid, again;
    uint32_t bond = bind(vm_a, 0, ROOT(1), &pasid);

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(bind(vm_a, 0, ROOT(1), &again), bond);
        assert_int_equal(again, pasid);
    }
    assert_int_equal(fake.attaches, 1);
    for (unsigned i = 9; i > 0; i--)
        assert_int_equal(unbind(vm_a, bond), i);
    assert_int_equal(fake_target(DEV0, pasid).kind, IOMMU_NESTED);
    assert_int_equal(unbind(vm_a, bond), 0);
    assert_int_equal(fake_target(DEV0, pasid).kind, IOMMU_BLOCKED);
}

static void one_space_per_root_with_one_pasid(void **state)
{
    uint32_t p0, p1, p2, other, reused;
    uint32_t b0 = bind(vm_a, 0, ROOT(1), &p0), b1 = bind(vm_a, 1, ROOT(1), &p1),
             b2 = bind(vm_a, 2, ROOT(1), &p2);

    (void)state;
    assert_int_equal(p0, p1);
    assert_int_equal(p0, p2);
    bind(vm_a, 0, ROOT(2), &other);
    assert_int_not_equal(other, p0);
    /* A domain per unit: two devices share one, the third has its own. */
    assert_int_equal(fake_target(DEV0, p0).stage2, fake_target(DEV1, p0).stage2);
    assert_int_not_equal(fake_target(DEV0, p0).stage2, fake_target(DEV2, p0).stage2);
    assert_int_equal(vm_a->sva->objects.objects, 2 + 4 + 3); /* spaces, bonds, domains */
    unbind(vm_a, b0);
    unbind(vm_a, b2);
    assert_int_equal(fake_target(DEV1, p0).kind, IOMMU_NESTED); /* the space lives on */
    bind(vm_a, 0, ROOT(3), &reused);
    assert_int_not_equal(reused, p0);
    unbind(vm_a, b1);
    bind(vm_a, 0, ROOT(4), &reused); /* and gives its PASID back with the last */
    assert_int_equal(reused, p0);
}

static void roots_that_share_a_slot_are_told_apart(void **state)
{
    uint32_t low, high;

    (void)state;
    assert_int_equal(try_bind(vm_a, 2, 0, HC_PASID_ANY, 0, NULL), HV_OK); /* page 0 is RAM too */
    uint32_t b0 = bind(vm_a, 2, 0, &low), b1 = bind(vm_a, 2, VM_RAM_HIGH, &high);
    assert_int_not_equal(low, high); /* page numbers equal in the low 20 bits */
    uint64_t left = unbind(vm_a, b0);
    assert_int_equal(left, 1);
    unbind(vm_a, b0);
    assert_int_equal(bind(vm_a, 2, VM_RAM_HIGH, &low), b1);
    assert_int_equal(low, high);
    bind(vm_a, 2, 0, &low);
    unbind(vm_a, b1);
    unbind(vm_a, b1);
    assert_int_equal(fake_target(DEV2, low).root, 0);
    assert_int_equal(fake_target(DEV2, high).kind, IOMMU_BLOCKED);
}

static void the_guest_may_choose_the_pasid(void **state)
{
    uint64_t value;

    (void)state;
    assert_int_equal(try_bind(vm_a, 2, ROOT(1), 77, 0, &value), HV_OK);
    assert_int_equal(value >> 32, 77);
    assert_refused(try_bind(vm_a, 2, ROOT(2), 77, 0, NULL), HV_EEXIST);
    assert_refused(try_bind(vm_a, 2, ROOT(1), 78, 0, NULL), HV_EEXIST);
    assert_int_equal(try_bind(vm_a, 2, ROOT(1), 77, 0, &value), HV_OK);
    assert_refused(try_bind(vm_a, 2, ROOT(2), 0, 0, NULL), HV_ERANGE);
    assert_refused(try_bind(vm_a, 2, ROOT(2), 256, 0, NULL), HV_ERANGE);
    assert_refused(try_bind(vm_a, 2, ROOT(2), HC_PASID_NONE, 0, NULL), HV_ERANGE);
    /* A PASID attached before, by hand: with the same root it becomes the space's. */
    assert_int_equal(attach(vm_a, 2, 9, HC_DOMAIN_NESTED, ROOT(3)), HV_OK);
    assert_refused(try_bind(vm_a, 2, ROOT(4), 9, 0, NULL), HV_EEXIST);
    assert_int_equal(try_bind(vm_a, 2, ROOT(3), 9, 0, &value), HV_OK);
    assert_int_equal(value >> 32, 9);
    assert_int_equal(unbind(vm_a, (uint32_t)value), 0);
    assert_int_equal(fake_target(DEV2, 9).kind, IOMMU_BLOCKED);
    /* Never picked for ANY while it is attached. */
    assert_int_equal(attach(vm_a, 2, 1, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(try_bind(vm_a, 2, ROOT(5), HC_PASID_ANY, 0, &value), HV_OK);
    assert_int_not_equal(value >> 32, 1);
}

static void a_device_too_narrow_for_the_pasid_is_refused(void **state)
{
    uint64_t value;

    (void)state;
    event_ring(vm_a, 256);
    iopf_on(vm_a, 0);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), 0xfffff, 0, &value), HV_OK);
    assert_refused(try_bind(vm_a, 2, ROOT(1), HC_PASID_ANY, 0, NULL), HV_ERANGE);
    /* All that it can carry, then no more. */
    for (unsigned i = 1; i < 256; i++) {
        assert_int_equal(try_bind(vm_a, 2, ROOT(100 + i), HC_PASID_ANY, 0, &value), HV_OK);
        assert_int_equal(value >> 32, i);
    }
    assert_refused(try_bind(vm_a, 2, ROOT(99), HC_PASID_ANY, 0, NULL), HV_ERANGE);
    assert_int_equal(try_bind(vm_a, 0, ROOT(99), HC_PASID_ANY, 0, &value), HV_OK);
    assert_int_equal(value >> 32, 256);
}

static void bind_comes_after_iopf_where_the_device_has_pri(void **state)
{
    uint64_t value;

    (void)state;
    event_ring(vm_a, 256);
    assert_refused(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, NULL), HV_EORDER);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    /* IOPF is enabled before: now it is too late. */
    assert_refused(call(vm_a, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EORDER);
    assert_refused(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, NULL), HV_EORDER);
    unbind(vm_a, (uint32_t)value);
    iopf_on(vm_a, 0);
    assert_int_equal(try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, &value), HV_OK);
    /* A device without PRI needs nothing. */
    assert_int_equal(try_bind(vm_a, 2, ROOT(1), HC_PASID_ANY, 0, &value), HV_OK);
}

static void wrong_binds_are_refused(void **state)
{
    static const struct {
        enum hv_status status;
        struct hc_sva_bind in;
    } cases[] = {
#define BIND(...) { .device = 2, .pasid = HC_PASID_ANY, .levels = 4, .root = ROOT(9), __VA_ARGS__ }
        { HV_EINVAL, BIND(.flags = 2) },
        { HV_EINVAL, BIND(.reserved = 1) },
        { HV_ENODEV, BIND(.device = 3) },
        { HV_EINVAL, BIND(.levels = 0) },
        { HV_EINVAL, BIND(.levels = 6) },
        { HV_EINVAL, BIND(.levels = 0x104) },
        { HV_ENOTSUP, BIND(.levels = 5) },
        { HV_EALIGN, BIND(.root = ROOT(9) | 1) },
        { HV_EFAULT, BIND(.root = OUTSIDE) },
        { HV_EFAULT, BIND(.root = VM_RAM_HIGH + (2 << 20)) },
        { HV_EFAULT, BIND(.root = ~0xfffull) },
        { HV_ERANGE, BIND(.pasid = 0) },
        { HV_ERANGE, BIND(.pasid = 1 << 8) },
    };
    static const uint64_t bonds[] = { 0, 1, 0xfffff, 0x100000, 0xffffffff, 1ull << 32, ~0ull };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(call_with(vm_a, HC_SVA_BIND, cases[i].in), cases[i].status);
    for (unsigned i = 0; i < ARRAY_SIZE(bonds); i++)
        assert_refused(call(vm_a, HC_SVA_UNBIND, bonds[i], 0, 0, NULL), HV_ENOENT);
    /* A bond of another VM, and a handle with other upper bits, are none. */
    uint32_t bond = bind(vm_a, 2, ROOT(1), NULL);
    assert_refused(call(vm_b, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_ENOENT);
    assert_refused(call(vm_a, HC_SVA_UNBIND, bond | 1ull << 32, 0, 0, NULL), HV_ENOENT);
    assert_refused(call(vm_a, HC_SVA_UNBIND, bond ^ 0x100000, 0, 0, NULL), HV_ENOENT);
    /* A root that is known with another depth. */
    fake.caps[1].first_stage_levels = 3;
    struct hc_sva_bind deep = BIND(.levels = 5, .root = ROOT(1));
    assert_refused(call_with(vm_a, HC_SVA_BIND, deep), HV_EINVAL);
    fake.caps[1].nested = false;
    assert_refused(try_bind(vm_a, 2, ROOT(2), HC_PASID_ANY, 0, NULL), HV_ENOTSUP);
    vm_a->device[1]->io.pasid_bits = 0;
    assert_refused(try_bind(vm_a, 1, ROOT(2), HC_PASID_ANY, HC_BIND_NO_IOPF, NULL), HV_ENOTSUP);
}

/* An old handle never means a new bond. */
static void handles_are_not_reused_soon(void **state)
{
    uint32_t old = bind(vm_a, 2, ROOT(1), NULL);

    (void)state;
    unbind(vm_a, old);
    for (unsigned i = 0; i < 100; i++) {
        uint32_t bond = bind(vm_a, 2, ROOT(1), NULL);
        assert_int_not_equal(bond, old);
        assert_refused(call(vm_a, HC_SVA_UNBIND, old, 0, 0, NULL), HV_ENOENT);
        unbind(vm_a, bond);
    }
}

static void errors_change_nothing(void **state)
{
    (void)state;
    event_ring(vm_a, 256);
    iopf_on(vm_a, 0);
    for (unsigned known = 0; known < 2; known++) {
        if (known)
            bind(vm_a, 2, ROOT(1), NULL); /* the space exists: another path */
        int64_t budget = 0;
        for (;; budget++) {
            uint64_t before = digest();
            pages_fail_after(budget);
            enum hv_status status = try_bind(vm_a, 0, ROOT(1), HC_PASID_ANY, 0, NULL);
            pages_fail_after(-1);
            if (status == HV_OK)
                break;
            assert_int_equal(status, HV_ENOMEM);
            assert_int_equal(fake_target(DEV0, 1).kind, IOMMU_BLOCKED);
            vm_a->sva->serial = 0;
            assert_true(digest() == before);
        }
        assert_true(known ||
                    budget >= 5); /* objects, PASID, handle and root were all made to fail */
        uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);
        unbind(vm_a, bond);
        unbind(vm_a, bond);
    }
    fake.fail_attach = HV_ENOMEM;
    assert_refused(try_bind(vm_a, 0, ROOT(7), HC_PASID_ANY, 0, NULL), HV_ENOMEM);
    fake.fail_attach = HV_EIO;
    fake.fail_device = true;
    assert_int_equal(try_bind(vm_a, 0, ROOT(7), HC_PASID_ANY, 0, NULL), HV_EIO);
    assert_int_equal(fake_target(DEV0, 2).kind, IOMMU_BLOCKED);
    assert_refused(try_bind(vm_a, 0, ROOT(7), HC_PASID_ANY, 0, NULL), HV_EIO);
    /* Unbind works on a device that failed. */
}

static void the_last_unbind_works_on_a_failed_device(void **state)
{
    uint32_t bond = bind(vm_a, 0, ROOT(1), NULL);

    (void)state;
    fake_fail(&vm_a->device[0]->io, HV_ETIMEDOUT);
    unbind(vm_a, bond);
    assert_int_equal(vm_a->sva->objects.objects, 0);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
}

/* The cost of a bind does not depend on how many there are: as many pages for the last thousand as
 * for the second, every look-up short, and nothing attached but what is asked. */
static void binding_65536_spaces_stays_flat(void **state)
{
    enum { ALL = 65536, BATCH = 4096 };
    static uint32_t bonds[ALL];
    uint64_t pages[ALL / BATCH + 1];
    clock_t spent[ALL / BATCH + 1]; /* of this process alone */

    (void)state;
    /* Roots are pages of the guest: with 64 MiB each of its 16,384 pages serves in turn, one space
     * a page; so RAM for this test is larger. */
    vm_a->ram[1] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), platform_ram(512ull << 20), 512ull << 20 };
    event_ring(vm_a, 256);
    iopf_on(vm_a, 0);
    pages[0] = pages_used();
    spent[0] = clock();
    for (unsigned i = 0; i < ALL; i++) {
        uint64_t value;
        assert_int_equal(try_bind(vm_a, 0, VM_RAM_HIGH + i * PAGE_SIZE, HC_PASID_ANY, 0, &value),
                         HV_OK);
        assert_int_equal(value >> 32, i + 1);
        bonds[i] = (uint32_t)value;
        if ((i + 1) % BATCH == 0) {
            pages[(i + 1) / BATCH] = pages_used();
            spent[(i + 1) / BATCH] = clock();
        }
    }
    /* The last half against the first, with room for a noisy machine; a walk over what is bound
     * would be three times as long. */
    clock_t half = spent[ALL / BATCH / 2] - spent[0];
    assert_true(spent[ALL / BATCH] - spent[ALL / BATCH / 2] < 2 * half + CLOCKS_PER_SEC / 20);
    assert_int_equal(fake.attaches, ALL);
    uint64_t second = pages[2] - pages[1];
    for (unsigned b = 2; b < ALL / BATCH; b++) {
        uint64_t cost = pages[b + 1] - pages[b];
        assert_true(cost <= second + 3); /* a middle node of each map now and then */
    }
    for (unsigned i = 0; i < ALL; i++) {
        const struct space *space = idmap_get(&vm_a->sva->pasids, i + 1);
        assert_null(space->next);        /* found by root in one step */
        assert_null(space->bonds->next); /* found by device in one step */
    }
    srand(3);
    for (unsigned i = ALL; i-- > 1;) { /* out in any order */
        unsigned j = (unsigned)rand() % (i + 1);
        uint32_t swap = bonds[i];
        bonds[i] = bonds[j];
        bonds[j] = swap;
    }
    for (unsigned i = 0; i < ALL; i++)
        assert_int_equal(unbind(vm_a, bonds[i]), 0);
    assert_int_equal(pages_used(), pages[0]);
    assert_int_equal(fake_attached(), 0);
}

/* All 2^20 - 1 PASIDs of one device, then none. */
static void every_pasid_of_a_device_can_be_used(void **state)
{
    (void)state;
    vm_a->quota.limit = 1000000;
    for (uint32_t p = 1; p < 1u << 20; p++) {
        if (p % 64 == 1 || p > 0xffff0) /* a sample of each leaf, and the very last */
            assert_int_equal(attach(vm_a, 0, p, HC_DOMAIN_NESTED, ROOT(p % 64)), HV_OK);
    }
    assert_refused(attach(vm_a, 0, 1u << 20, HC_DOMAIN_NESTED, ROOT(1)), HV_ERANGE);
    assert_int_equal(fake_target(DEV0, 0xfffff).kind, IOMMU_NESTED);
}

static struct {
    unsigned calls;
    bool seen_open;
} drain;

/* While the driver drains, a last request of the PASID comes out of the queue. */
static void late_request(void *ctx)
{
    (void)ctx;
    if (drain.calls++)
        return;
    fake_request(DEV0, &(struct iommu_page_request){ .rid = DEV0,
                                                     .pasid_present = true,
                                                     .pasid = 1,
                                                     .read = true,
                                                     .last = true,
                                                     .group = 3,
                                                     .address = IOVA(0x5000) });
}

static void unbind_blocks_drains_and_answers(void **state)
{
    uint32_t pasid, bond = bind(vm_a, 0, ROOT(1), &pasid);

    (void)state;
    assert_int_equal(pasid, 1);
    fake_request(DEV0, &(struct iommu_page_request){ .rid = DEV0,
                                                     .pasid_present = true,
                                                     .pasid = 1,
                                                     .read = true,
                                                     .last = true,
                                                     .group = 2,
                                                     .address = IOVA(0x5000) });
    device_events.page_requests_done();
    assert_int_equal(fake.answers, 0);
    drain.calls = 0;
    fake.drain = late_request;
    unbind(vm_a, bond);
    fake.drain = NULL;
    assert_int_equal(fake.blocks, 1);
    assert_int_equal(fake.answers,
                     2); /* the open one, and the late one; once each, INVALID, sent */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fake.answer[i].last.group, 2 + i);
        assert_false(fake.answer[i].success);
        assert_true(fake.answer[i].flushed);
    }
    assert_int_equal(vm_a->rings->open, 0);
}

/* At the end of a VM everything goes, in whatever state it is; the fake panics if a second stage
 * goes before its targets, abi_check if anything is left. */
static void the_end_of_a_vm_takes_everything(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++)
        bind(vm_a, i % 3 == 2 && i < 250 ? 2 : i & 1, ROOT(i / 2), NULL);
    bind(vm_a, 0, ROOT(0), NULL);
    assert_int_equal(attach(vm_a, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(attach(vm_a, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, 0x7777, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 0, 0x7777, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_BLOCKED, 0), HV_OK);
    fake_fail(&vm_a->device[1]->io, HV_EIO);
    command_ring(vm_a, 16);
}

/* It may take long, on the CPU that looks after everyone's page requests. */
static void the_end_of_a_vm_looks_after_the_others(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        bind(vm_a, 0, ROOT(i), NULL);
    assert_int_equal(fake.polls, 0);
    device_end(vm_a);
    assert_in_range(fake.polls, 1000 / 100, 1000 / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(bind_gives_the_process_to_the_device),
        abi_test(a_second_bind_is_the_same_bond),
        abi_test(one_space_per_root_with_one_pasid),
        abi_test(roots_that_share_a_slot_are_told_apart),
        abi_test(the_guest_may_choose_the_pasid),
        abi_test(a_device_too_narrow_for_the_pasid_is_refused),
        abi_test(bind_comes_after_iopf_where_the_device_has_pri),
        abi_test(wrong_binds_are_refused),
        abi_test(handles_are_not_reused_soon),
        abi_test(errors_change_nothing),
        abi_test(the_last_unbind_works_on_a_failed_device),
        abi_test(binding_65536_spaces_stays_flat),
        abi_test(every_pasid_of_a_device_can_be_used),
        abi_test(unbind_blocks_drains_and_answers),
        abi_test(the_end_of_a_vm_takes_everything),
        abi_test(the_end_of_a_vm_looks_after_the_others),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
