/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* The core on the VT-d driver on the model: what a guest does shows in the DMA of its devices. */
#include <string.h>

#include "tests/unit/vtd_core.h"

#define VA 0x7f0000000000ull

static struct vm *vm, *other;
static gpaddr_t root;
static uint32_t pasid, bond;

static int fresh(void **state)
{
    int result = bed_fresh(state);
    struct vtd_core c = vtd_core_bound(NULL);

    vm = c.vm;
    other = c.other;
    root = c.root;
    pasid = c.pasid;
    bond = c.bond;
    return result;
}

static int check(void **state)
{
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

static uint64_t read_through_tlb(rid_t rid, uint64_t address)
{
    uint64_t value = 0;

    return bed_ats_read(rid, (int32_t)pasid, address, &value) ? value : 0;
}

/* Absent page, page request, guest maps it, response, and the device reads it. */
static void a_page_request_is_served(void **state)
{
    struct hc_event e;

    (void)state;
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    bed_page_request(BED_A, (int32_t)pasid, VA, 7, false);
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x1000, 7, true);
    bed_interrupts();
    assert_int_equal(abi_calls.interrupts, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(take_event(vm, &e));
        assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
        assert_int_equal(e.address, VA + i * 0x1000);
        bed_map(root, e.address, 0x30000 + i * 0x1000);
    }
    assert_int_equal(bed.nresponses, 0);
    struct hc_page_response in = { .cookie = e.cookie };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    assert_int_equal(bed.nresponses, 1);
    assert_int_equal(bed.response[0].code, 0);
    assert_int_equal(bed.response[0].prgi, 7);
    assert_int_equal(bed.response[0].pasid, pasid);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_A, VA + 0x1000), 0x31001);
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_EALREADY);
    assert_int_equal(bed.nresponses, 1);
}

/* Every page of two devices' TLBs, moved and invalidated: by call, by array, by ring. */
static void what_was_moved_and_invalidated_is_seen(void **state)
{
    enum { PAGES = 200 };
    struct hc_command *slots = ram(vm, COMMANDS + HC_RING_ENTRIES);
    struct hc_ring *ring = ram(vm, COMMANDS);
    struct hc_invalidate *array = ram(vm, 0x300000);
    uint64_t done;

    (void)state;
    command_ring(vm, 256);
    for (unsigned way = 0; way < 4; way++) {
        for (unsigned i = 0; i < PAGES; i++) {
            bed_map(root, VA + 2 * i * PAGE_SIZE, 0x30000 + way * 0x1000);
            assert_int_equal(read_through_tlb(BED_A, VA + 2 * i * PAGE_SIZE),
                             0x30001 + way * 0x1000);
            assert_int_equal(read_through_tlb(BED_B, VA + 2 * i * PAGE_SIZE),
                             0x30001 + way * 0x1000);
        }
        for (unsigned i = 0; i < PAGES; i++) {
            struct hc_invalidate in = {
                .size = sizeof(in),
                .kind = way == 3 ? HC_INVALIDATE_PASID : HC_INVALIDATE_RANGE,
                .flags = way == 3 ? 0 : HC_INVALIDATE_LEAF,
                .pasid = pasid,
                .address = way == 3 ? 0 : VA + 2 * i * PAGE_SIZE,
                .bytes = way == 3 ? 0 : PAGE_SIZE,
            };
            bed_map(root, VA + 2 * i * PAGE_SIZE, 0x40000);
            assert_int_equal(read_through_tlb(BED_A, VA + 2 * i * PAGE_SIZE),
                             0x30001 + way * 0x1000);
            if (way == 0) {
                assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
            } else if (way == 1) {
                array[i] = in;
            } else if (way == 2) {
                struct hc_command *slot = &slots[ring->producer & 255];
                *slot = (struct hc_command){ .call = HC_INVALIDATE, .status = HC_COMMAND_PENDING };
                memcpy(slot->args, &in, sizeof(in));
                ring->producer++;
            } else if (i == PAGES - 1) {
                assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
            }
        }
        struct hc_invalidate_array all = { .entries = 0x300000,
                                           .count = PAGES,
                                           .entry_size = sizeof(*array) };
        if (way == 1)
            assert_int_equal(call_with(vm, HC_INVALIDATE_ARRAY, all), HV_OK);
        if (way == 2) {
            assert_int_equal(call(vm, HC_DOORBELL, 0, 0, 0, &done), HV_OK);
            assert_int_equal(done, PAGES);
            for (unsigned i = 0; i < PAGES; i++)
                assert_int_equal(slots[i].status, HV_OK);
        }
        for (unsigned i = 0; i < PAGES; i++) {
            assert_int_equal(read_through_tlb(BED_A, VA + 2 * i * PAGE_SIZE), 0x40001);
            assert_int_equal(read_through_tlb(BED_B, VA + 2 * i * PAGE_SIZE), 0x40001);
        }
        /* Start the next way with nothing cached. */
        struct hc_invalidate clean = { .kind = HC_INVALIDATE_DOMAIN };
        assert_int_equal(call_with(vm, HC_INVALIDATE, clean), HV_OK);
    }
}

static void after_unbind_nothing_is_reached_but_by_who_is_still_bound(void **state)
{
    uint64_t value;

    (void)state;
    bed_map(root, VA, 0x30000);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
}

/* The guest's table names memory that is not the VM's. */
static void a_table_that_leads_outside_reaches_nothing(void **state)
{
    struct hc_event e;

    (void)state;
    bed_map(root, VA, OUTSIDE);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    bed_page_request(BED_A, (int32_t)pasid, VA, 3, true);
    bed_interrupts();
    assert_int_equal(bed.nresponses, 1);
    assert_int_equal(bed.response[0].code, 1);
    unsigned second_stage = 0;
    while (take_event(vm, &e)) {
        assert_int_equal(e.type, HC_EVENT_FAULT);
        second_stage += e.reason == HC_FAULT_SECOND_STAGE && e.address == VA;
    }
    assert_true(second_stage > 0);
}

static void a_dma_that_is_refused_is_told_to_its_vm_only(void **state)
{
    struct hc_event e;
    uint64_t value;

    (void)state;
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, 0x5000, &value), 0);
    bed_interrupts();
    assert_true(take_event(vm, &e));
    assert_int_equal(e.type, HC_EVENT_FAULT);
    assert_int_equal(e.device, 0);
    assert_int_equal(e.pasid, HC_PASID_NONE);
    assert_int_equal(e.address, 0x5000);
    assert_int_equal(e.reason, HC_FAULT_BLOCKED);
    assert_int_equal(other->stats.faults, 0);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x5000, &value), 0);
    assert_int_equal(value, 0x5001);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, root.v), HV_OK);
    bed_map(root, VA, 0x30000);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    assert_int_equal(value, 0x30001);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
}

/* It ends in the middle of everything; its devices reach nothing, the other VM goes on. */
static void the_end_of_a_vm_blocks_its_devices(void **state)
{
    uint64_t value;

    (void)state;
    bed_map(root, VA, 0x30000);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(other, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x5000, 3, true);
    bed_interrupts();
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x6000, 4, true); /* still in the queue */
    device_end(vm);
    assert_int_equal(bed.nresponses, 2);
    assert_int_not_equal(bed_read(BED_B, (int32_t)pasid, VA, &value), 0);
    assert_int_not_equal(bed_read(BED_B, BED_NO_PASID, 0x5000, &value), 0);
    assert_int_equal(bed_read(BED_C, BED_NO_PASID, 0x5000, &value), 0);
    bed_interrupts();
}

int main(void)
{
#define bed_case(f) cmocka_unit_test_setup_teardown(f, fresh, check)
    const struct CMUnitTest tests[] = {
        bed_case(a_page_request_is_served),
        bed_case(what_was_moved_and_invalidated_is_seen),
        bed_case(after_unbind_nothing_is_reached_but_by_who_is_still_bound),
        bed_case(a_table_that_leads_outside_reaches_nothing),
        bed_case(a_dma_that_is_refused_is_told_to_its_vm_only),
        bed_case(the_end_of_a_vm_blocks_its_devices),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
