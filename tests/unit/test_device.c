/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Devices: taking them in, what a VM may know of them, 256 VMs and 16 units. */
#include <stdlib.h>
#include <string.h>

#include "hv/sva.h"
#include "tests/unit/abi_vm.h"

static struct hc_device_info info_of(struct vm *vm, uint32_t device)
{
    uint64_t bytes;

    assert_int_equal(
        call(vm, HC_DEVICE_INFO, device, SCRATCH, sizeof(struct hc_device_info), &bytes), HV_OK);
    assert_int_equal(bytes, sizeof(struct hc_device_info));
    return *(struct hc_device_info *)ram(vm, SCRATCH);
}

static void a_vm_sees_its_devices_and_no_others(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct hc_device_info info = info_of(vm_a, i);
        assert_int_equal(info.device, i);
        assert_int_equal(info.rid, (i + 1) << 3); /* slots from 1 on, not the machine's place */
        assert_int_equal(info.unit, i / 2);
        assert_int_equal(info.state, HC_DEVICE_OK);
        assert_int_equal(info.first_stage_bits, 48);
        assert_int_equal(info.iopf, 0);
    }
    struct hc_device_info full = info_of(vm_a, 0), small = info_of(vm_a, 2);
    assert_int_equal(full.flags, HC_DEVICE_ATS | HC_DEVICE_PRI | HC_DEVICE_PASID |
                                     HC_DEVICE_NESTED | HC_DEVICE_NEEDS_IOPF | HC_DEVICE_FS_1G);
    assert_int_equal(full.pasid_bits, 20);
    assert_int_equal(full.page_requests, 64);
    assert_int_equal(small.flags,
                     HC_DEVICE_ATS | HC_DEVICE_PASID | HC_DEVICE_NESTED | HC_DEVICE_FS_1G);
    assert_int_equal(small.pasid_bits, 8);
    assert_int_equal(small.page_requests, 0);
    assert_refused(call(vm_a, HC_DEVICE_INFO, 3, SCRATCH, 4096, 0), HV_ENODEV);
    assert_refused(call(vm_b, HC_DEVICE_INFO, 1, SCRATCH, 4096, 0), HV_ENODEV);
    assert_refused(call(vm_a, HC_DEVICE_INFO, ~0ull, SCRATCH, 4096, 0), HV_ENODEV);
    event_ring(vm_a, 16);
    assert_int_equal(info_of(vm_a, 0).page_requests, iopf_on(vm_a, 0));
    assert_int_equal(info_of(vm_a, 0).iopf, HC_IOPF_BIND);
    fake_fail(&vm_a->device[1]->io, HV_EIO);
    assert_int_equal(info_of(vm_a, 1).state, HC_DEVICE_FAILED);
}

static void every_call_with_a_device_knows_only_the_vms_own(void **state)
{
    static const uint32_t foreign[] = { 3, 4, 31, 32, 0x10000, 0xffffffff };

    (void)state;
    event_ring(vm_a, 64);
    for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++) {
        uint32_t d = foreign[i];
        struct hc_invalidate rid = { .kind = HC_INVALIDATE_PASID,
                                     .pasid = HC_PASID_NONE,
                                     .device = d };
        assert_refused(attach(vm_a, d, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_ENODEV);
        assert_refused(attach(vm_a, d, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_ENODEV);
        assert_refused(try_bind(vm_a, d, ROOT(1), HC_PASID_ANY, 0, NULL), HV_ENODEV);
        assert_refused(call(vm_a, HC_IOPF_ENABLE, d, HC_IOPF_BIND, 0, NULL), HV_ENODEV);
        assert_refused(call(vm_a, HC_IOPF_DISABLE, d, 0, 0, NULL), HV_ENODEV);
        assert_refused(call_with(vm_a, HC_INVALIDATE, rid), HV_ENODEV);
    }
}

static void a_device_that_cannot_be_taken_leaves_nothing(void **state)
{
    (void)state;
    fake.function[4] = (struct fake_function){ 0x0400, 1, 20, true, true, 32 };
    assert_refused(device_add(vm_a, &(struct boot_pci){ 0x0999, 5, 0 }),
                   HV_ENOTSUP); /* behind no unit */
    assert_refused(device_add(vm_b, &(struct boot_pci){ DEV0, 5, 0 }), HV_EEXIST);
    for (int64_t budget = 0;; budget++) {
        uint64_t used = vm_b->quota.used;
        uint32_t live = fake.stage2_live;
        pages_fail_after(budget);
        enum hv_status status = device_add(vm_b, &(struct boot_pci){ 0x0400, 5, 0 });
        pages_fail_after(-1);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_ENOMEM);
        assert_int_equal(vm_b->quota.used, used);
        assert_int_equal(fake.stage2_live, live);
        assert_int_equal(vm_b->ndevices, 1);
    }
    fake.function[7] =
        (struct fake_function){ 0x0700, 1, 20, true, true, 32, { 0x7f000000, 0x7f2fffff, true } };
    uint64_t used = vm_b->quota.used;
    assert_refused(device_add(vm_b, &(struct boot_pci){ 0x0700, 77, 0 }),
                   HV_EBUSY); /* firmware uses it */
    assert_true(platform_logged("line 77: firmware uses memory 0x7f000000-0x7f2fffff"));
    assert_true(platform_logged("07:00.0"));
    assert_int_equal(vm_b->quota.used, used);
    assert_null(fake.device[7]);
    fake.function[5] = (struct fake_function){ 0x0500, 1, 20, true, true, 32 };
    fake.fail_device_add = HV_ENOTSUP;
    assert_refused(device_add(vm_b, &(struct boot_pci){ 0x0500, 5, 0 }), HV_ENOTSUP);
    fake.caps[1].second_stage = false;
    fake.function[6] = (struct fake_function){ 0x0600, 3, 20, true, true, 32 };
    fake.units = 4;
    fake.caps[3].second_stage = false;
    assert_refused(device_add(vm_b, &(struct boot_pci){ 0x0600, 5, 0 }), HV_ENOTSUP);
}

/* The driver may report what it saw before the device went, after: that reaches nobody. */
static void reports_about_a_device_that_is_gone_reach_nobody(void **state)
{
    struct iommu_device *gone = fake.device[3];

    (void)state;
    event_ring(vm_a, 16);
    device_end(vm_b);
    device_events.fault(gone, &(struct iommu_fault){ .rid = DEVB, .text = "late" });
    assert_true(platform_logged("late"));
    device_events.failed(gone, HV_EIO);
    device_events.page_request(
        gone, &(struct iommu_page_request){ .rid = DEVB, .read = true, .last = true });
    device_events.page_requests_done();
    assert_int_equal(fake.answers, 0);
    assert_int_equal(events_waiting(vm_a), 0);
}

/* The sizes that must hold, at once: every VM on every unit, none sees another. */
static unsigned blocks;

/* While the first PASID is taken away, a request of the second arrives. */
static void request_meanwhile(void *ctx)
{
    (void)ctx;
    if (blocks++ == 0)
        fake_request(DEV0, &(struct iommu_page_request){ .rid = DEV0,
                                                         .pasid_present = true,
                                                         .pasid = 2,
                                                         .read = true,
                                                         .last = true,
                                                         .address = IOVA(0x5000) });
}

static void a_vm_that_ends_gets_nothing_any_more(void **state)
{
    (void)state;
    bind(vm_a, 0, ROOT(1), NULL);
    bind(vm_a, 0, ROOT(2), NULL);
    fake.drain = request_meanwhile;
    blocks = 0;
    unsigned interrupts = abi_calls.interrupts;
    device_end(vm_a);
    fake.drain = NULL;
    assert_true(blocks > 1);
    assert_int_equal(fake.answers, 1);
    assert_false(fake.answer[0].success);
    assert_int_equal(fake.answer[0].last.pasid, 2);
    assert_int_equal(events_waiting(vm_a), 0);
    assert_int_equal(abi_calls.interrupts, interrupts);
}

static void as_many_vms_and_units_as_there_may_be(void **state)
{
    static struct vm *many[BOOT_VMS_MAX];

    (void)state;
    fake.units = IOMMU_UNITS_MAX;
    paddr_t memory = platform_ram(2 << 20);
    for (unsigned i = 0; i < BOOT_VMS_MAX; i++) {
        struct vm *vm = many[i] = calloc(1, sizeof(*vm));
        vm->id = (uint16_t)i;
        vm->lock = (struct lock)LOCK(RANK_VM);
        vm->ram[0] = (struct vm_ram){ GPADDR(0), memory, 2 << 20 };
        vm->nram = 1;
        vm->quota.limit = 1000;
        assert_int_equal(rings_create(vm), HV_OK);
        assert_int_equal(sva_create(vm), HV_OK);
    }
    /* The fake has room for four more functions: each goes from VM to VM and from unit to unit. */
    for (unsigned i = 0; i < BOOT_VMS_MAX; i++) {
        unsigned slot = 4 + i % 4;
        rid_t rid = (rid_t)(0x1000 + i);
        fake.function[slot] = (struct fake_function){ rid, i % IOMMU_UNITS_MAX, 20, true, true, 8 };
        struct vm *vm = many[i];
        assert_int_equal(device_add(vm, &(struct boot_pci){ rid, 1, 0 }), HV_OK);
        struct device *d = device_get(vm, 0);
        struct space_spec spec = { HC_DOMAIN_NESTED, GPADDR(0x1000), 4 };
        struct bond *bond;
        assert_int_equal(bond_make(d, HC_PASID_ANY, NULL, &spec, true, NULL, &bond), HV_OK);
        assert_int_equal(bond->space->pasid, 1); /* PASIDs of one VM are none of another's matter */
        assert_int_equal(fake_target(rid, 1).kind, IOMMU_NESTED);
        device_end(vm);
        assert_int_equal(vm->quota.used, 0);
        assert_null(vm->device[0]);
    }
    for (unsigned i = 0; i < BOOT_VMS_MAX; i++) {
        device_end(many[i]); /* again: harmless */
        free(many[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(a_vm_sees_its_devices_and_no_others),
        abi_test(every_call_with_a_device_knows_only_the_vms_own),
        abi_test(a_device_that_cannot_be_taken_leaves_nothing),
        abi_test(reports_about_a_device_that_is_gone_reach_nobody),
        abi_test(a_vm_that_ends_gets_nothing_any_more),
        abi_test(as_many_vms_and_units_as_there_may_be),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
