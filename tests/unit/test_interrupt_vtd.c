/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* The core on the VT-d driver on the model: messages that devices really send, and whom they reach.
 */
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/interrupt.h"
#include "tests/unit/vtd_core.h"

static struct vm *vm, *other;

static int fresh(void **state)
{
    int result = bed_fresh(state);

    platform_set_cpus(4, 0);
    vtd_core_start(NULL);
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    other = abi_make_vm(1, "other", platform_ram(2 << 20), 2 << 20);
    for (unsigned i = 0; i < 2; i++) {
        vm->vcpu[i]->cpu = i;
        other->vcpu[i]->cpu = 2 + i;
    }
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_B, 2, 0 }), HV_OK);
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_C, 3, 0 }), HV_OK);
    event_ring(vm, 64);
    event_ring(other, 64);
    return result;
}

static int check(void **state)
{
    abi_free_vm(vm);
    abi_free_vm(other);
    assert_int_equal(platform_vectors_used(), 0);
    return bed_check(state);
}

#define on_model(f) cmocka_unit_test_setup_teardown(f, fresh, check)

static uint32_t irq(struct vm *of, uint32_t device, uint32_t index, uint32_t vcpu, uint32_t vector)
{
    struct hc_device_irq in = { .device = device, .index = index, .vcpu = vcpu, .vector = vector };
    uint64_t value;

    assert_int_equal(call_struct(of, HC_DEVICE_IRQ, &in, sizeof(in), &value), HV_OK);
    assert_int_equal(value >> 32, 0);
    return (uint32_t)value;
}

static void arrives(rid_t rid, uint32_t message, const struct vm *at, uint32_t vcpu,
                    uint32_t vector)
{
    abi_calls = (struct abi_calls){ 0 };
    assert_int_equal(bed_message(rid, message, 0), 0);
    bed_interrupts();
    assert_int_equal(abi_calls.interrupts, 1);
    assert_ptr_equal(abi_calls.vm, at);
    assert_int_equal(abi_calls.vcpu, vcpu);
    assert_int_equal(abi_calls.vector, vector);
}

/* Nothing is raised but the event's own vector, and the owner of the sender is told. */
static void is_refused(rid_t rid, uint32_t message, uint32_t data, struct vm *owner,
                       uint32_t device)
{
    struct vm *bystander = owner == vm ? other : vm;
    struct hc_event e;

    bed.raised = 0;
    assert_int_not_equal(bed_message(rid, message, data), 0);
    bed_interrupts();
    iommu->poll();
    assert_int_equal(bed.raised, 0);
    assert_true(take_event(owner, &e));
    assert_int_equal(e.type, HC_EVENT_FAULT);
    assert_int_equal(e.device, device);
    assert_int_equal(e.reason, HC_FAULT_INTERRUPT);
    assert_int_equal(e.address, message & 0x10 ? message : 0xfee00000);
    assert_int_equal(events_waiting(owner), 0);
    assert_int_equal(events_waiting(bystander), 0);
}

static void messages_reach_their_owner(void **state)
{
    (void)state;
    uint32_t a = irq(vm, 0, 0, 0, 0x41), b = irq(vm, 1, 0, 1, 0x42), c = irq(other, 0, 0, 1, 0x41);
    for (unsigned i = 0; i < 3; i++) {
        arrives(BED_A, a, vm, 0, 0x41);
        arrives(BED_B, b, vm, 1, 0x42);
        arrives(BED_C, c, other, 1, 0x41);
    }
    irq(vm, 0, 0, 1, 0x55);
    arrives(BED_A, a, vm, 1, 0x55);
}

static void foreign_messages_reach_nobody(void **state)
{
    (void)state;
    uint32_t a = irq(vm, 0, 0, 0, 0x41), b = irq(vm, 1, 0, 1, 0x42), c = irq(other, 0, 0, 1, 0x41);
    is_refused(BED_C, a, 0, other, 0);
    is_refused(BED_C, b, 0, other, 0);
    is_refused(BED_A, c, 0, vm, 0);
    is_refused(BED_B, a, 0, vm, 1); /* of the same VM, but not this device's */
    is_refused(BED_C, 0xfee00000, 0x41, other, 0);
    is_refused(BED_C, 0xfee00000 | 0x40 << 12, 0x30, other, 0);
    struct hc_device_irq off = { .device = 0, .index = 0 };
    assert_int_equal(call_with(vm, HC_DEVICE_IRQ, off), HV_OK);
    is_refused(BED_A, a, 0, vm, 0);
    arrives(BED_C, c, other, 1, 0x41);
}

/* The device is still there, and still sends. */
static void the_end_of_a_vm_ends_its_interrupts(void **state)
{
    (void)state;
    uint32_t a = irq(vm, 0, 0, 0, 0x41), c = irq(other, 0, 0, 0, 0x41);
    arrives(BED_A, a, vm, 0, 0x41);
    device_end(vm);
    bed.raised = 0;
    assert_int_not_equal(bed_message(BED_A, a, 0), 0);
    bed_interrupts();
    assert_int_equal(bed.raised, 0);
    assert_int_equal(platform_vectors_used(), 1);
    arrives(BED_C, c, other, 0, 0x41);
    is_refused(BED_C, a, 0, other, 0);
}

static void a_flood_makes_no_faults(void **state)
{
    struct hc_event e;

    (void)state;
    uint32_t a = irq(vm, 0, 0, 0, 0x41), b = irq(vm, 1, 0, 0, 0x42);
    for (unsigned i = 0; i < 2 * INTERRUPT_BURST; i++) {
        (void)bed_message(BED_A, a, 0);
        bed_interrupts();
    }
    iommu->poll();
    assert_int_equal(bed.raised, INTERRUPT_BURST + 1);
    assert_true(take_event(vm, &e));
    assert_int_equal(e.type, HC_EVENT_INTERRUPT_FLOOD);
    assert_int_equal(events_waiting(vm), 0);
    arrives(BED_B, b, vm, 0, 0x42);
    platform_pass_us(INTERRUPT_QUIET_US);
    interrupt_tick(vm);
    arrives(BED_A, a, vm, 0, 0x41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_model(messages_reach_their_owner),
        on_model(foreign_messages_reach_nobody),
        on_model(the_end_of_a_vm_ends_its_interrupts),
        on_model(a_flood_makes_no_faults),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
