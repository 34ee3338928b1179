/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* Interrupts of devices: to the right vCPU, of the right device, never too many. */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/interrupt.h"
#include "tests/unit/abi_vm.h"

#define MS 1000u

/* CPUs 0 and 1 are VM a's, 2 and 3 VM b's. */
static void cpus(void)
{
    platform_set_cpus(4, 0);
    for (unsigned i = 0; i < 2; i++) {
        vm_a->vcpu[i]->cpu = i;
        vm_b->vcpu[i]->cpu = 2 + i;
    }
}

static enum hv_status try_irq(struct vm *vm, uint32_t device, uint32_t index, uint32_t vcpu,
                              uint32_t vector, uint64_t *value)
{
    struct hc_device_irq in = { .device = device, .index = index, .vcpu = vcpu, .vector = vector };

    return call_struct(vm, HC_DEVICE_IRQ, &in, sizeof(in), value);
}

static uint32_t irq(struct vm *vm, uint32_t device, uint32_t index, uint32_t vcpu, uint32_t vector)
{
    uint64_t value;

    assert_int_equal(try_irq(vm, device, index, vcpu, vector, &value), HV_OK);
    assert_int_equal(value >> 20, 0xfee); /* data 0, and nothing but a message */
    return (uint32_t)value;
}

static void off(struct vm *vm, uint32_t device, uint32_t index)
{
    assert_int_equal(try_irq(vm, device, index, 0, 0, NULL), HV_OK);
}

/* The message came from the device, and exactly one interrupt reached this vCPU with this vector.
 */
static void arrives(rid_t rid, uint32_t message, const struct vm *vm, uint32_t vcpu,
                    uint32_t vector)
{
    abi_calls = (struct abi_calls){ 0 };
    assert_true(fake_interrupt(rid, message));
    assert_int_equal(abi_calls.interrupts, 1);
    assert_ptr_equal(abi_calls.vm, vm);
    assert_int_equal(abi_calls.vcpu, vcpu);
    assert_int_equal(abi_calls.vector, vector);
}

static void an_interrupt_reaches_its_vcpu(void **state)
{
    (void)state;
    cpus();
    uint32_t one = irq(vm_a, 0, 0, 1, 0x40), two = irq(vm_a, 0, 62, 0, 0xff);
    uint32_t three = irq(vm_a, 1, 0, 0, 32), four = irq(vm_b, 0, 0, 1, 0x40);
    assert_int_not_equal(one, two);
    assert_int_equal(platform_vectors_used(), 4);
    arrives(DEV0, one, vm_a, 1, 0x40);
    arrives(DEV0, two, vm_a, 0, 0xff);
    arrives(DEV1, three, vm_a, 0, 32);
    arrives(DEVB, four, vm_b, 1, 0x40);
    assert_false(fake_interrupt(DEV1, one));
    off(vm_a, 0, 0);
    assert_false(fake_interrupt(DEV0, one));
    arrives(DEV0, two, vm_a, 0, 0xff);
    assert_int_equal(platform_vectors_used(), 3);
    off(vm_a, 0, 62);
    off(vm_a, 1, 0);
    off(vm_b, 0, 0);
    assert_int_equal(platform_vectors_used(), 0);
}

static void its_target_changes_and_its_message_does_not(void **state)
{
    (void)state;
    cpus();
    uint32_t message = irq(vm_a, 0, 5, 0, 0x50);
    unsigned changes = fake.irq_changes;
    assert_int_equal(irq(vm_a, 0, 5, 0, 0x51), message);
    assert_int_equal(fake.irq_changes, changes); /* the unit has nothing to do with it */
    arrives(DEV0, message, vm_a, 0, 0x51);
    assert_int_equal(irq(vm_a, 0, 5, 1, 0x52), message);
    arrives(DEV0, message, vm_a, 1, 0x52);
    assert_int_equal(platform_vectors_used(), 1);
    /* One that was on its way to the former CPU finds the vector free, or this interrupt. */
    off(vm_a, 0, 5);
}

static void what_is_wrong_is_refused(void **state)
{
    struct hc_device_irq flags = { .flags = 1, .vector = 0x40 };

    (void)state;
    cpus();
    assert_refused(try_irq(vm_a, 3, 0, 0, 0x40, NULL), HV_ENODEV);
    assert_refused(try_irq(vm_b, 1, 0, 0, 0x40, NULL), HV_ENODEV);
    assert_refused(try_irq(vm_a, 0, INTERRUPTS, 0, 0x40, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, ~0u, 0, 0, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, 0, 2, 0x40, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, 0, ~0u, 0x40, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, 0, 0, 31, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, 0, 0, 256, NULL), HV_ERANGE);
    assert_refused(try_irq(vm_a, 0, 0, 1, 0, NULL), HV_EINVAL);
    assert_refused(call_with(vm_a, HC_DEVICE_IRQ, flags), HV_EINVAL);
    assert_refused(try_irq(vm_a, 0, 0, 0, 0, NULL), HV_ENOENT);
    irq(vm_a, 0, 0, 0, 0x40);
    assert_refused(try_irq(vm_a, 0, 1, 0, 0, NULL), HV_ENOENT);
    fake_fail(&vm_a->device[0]->io, HV_EIO);
    assert_refused(try_irq(vm_a, 0, 0, 0, 0x41, NULL), HV_EIO);
    assert_refused(try_irq(vm_a, 0, 1, 0, 0x41, NULL), HV_EIO);
    off(vm_a, 0, 0);
    fake.caps[1].interrupts = false;
    assert_refused(try_irq(vm_a, 2, 0, 0, 0x40, NULL), HV_ENOTSUP);
}

static void the_guest_is_told_what_there_is(void **state)
{
    struct hc_device_info *info = ram(vm_a, SCRATCH);
    struct hc_vm_info *vm = ram(vm_a, SCRATCH);

    (void)state;
    fake.caps[1].interrupts = false;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(call(vm_a, HC_DEVICE_INFO, i, SCRATCH, sizeof(*info), NULL), HV_OK);
        assert_int_equal(info->interrupts, i == 2 ? 0 : INTERRUPTS);
    }
    assert_int_equal(call(vm_a, HC_VM_INFO, SCRATCH, sizeof(*vm), 0, NULL), HV_OK);
    assert_true(vm->features & HC_FEATURE_INTERRUPTS);
    fake.caps[0].interrupts = false;
    assert_int_equal(call(vm_a, HC_VM_INFO, SCRATCH, sizeof(*vm), 0, NULL), HV_OK);
    assert_false(vm->features & HC_FEATURE_INTERRUPTS);
}

/* A VM that takes all it can takes the vectors of its own CPUs; the other one has all of its own.
 */
static void a_vm_runs_out_of_its_own_vectors_only(void **state)
{
    unsigned taken = 0;
    uint32_t first;

    (void)state;
    cpus();
    first = irq(vm_a, 0, 0, 0, 0x40);
    for (uint32_t i = 1; i < 3 * INTERRUPTS; i++) {
        enum hv_status status = try_irq(vm_a, i / INTERRUPTS, i % INTERRUPTS, 0, 0x41, NULL);
        taken += status == HV_OK;
        assert_true(status == HV_OK || status == HV_EBUSY);
    }
    assert_int_equal(taken, 159); /* of 160 */
    assert_refused(try_irq(vm_a, 2, INTERRUPTS - 1, 0, 0x41, NULL), HV_EBUSY);
    arrives(DEV0, first, vm_a, 0, 0x40);
    irq(vm_a, 2, INTERRUPTS - 1, 1, 0x41);
    /* Where there is no room, what was stays. */
    assert_refused(try_irq(vm_a, 2, INTERRUPTS - 1, 0, 0x42, NULL), HV_EBUSY);
    for (uint32_t i = 0; i < INTERRUPTS; i++)
        arrives(DEVB, irq(vm_b, 0, i, 0, 0x60 + i), vm_b, 0, 0x60 + i);
    device_end(vm_a);
    assert_int_equal(platform_vectors_used(), INTERRUPTS);
}

static void every_error_of_the_driver_leaves_things_whole(void **state)
{
    static const enum hv_status refusals[] = { HV_ENOMEM, HV_ERANGE };
    static const enum hv_status losses[] = { HV_EIO, HV_ETIMEDOUT };

    (void)state;
    cpus();
    uint32_t message = irq(vm_a, 0, 0, 0, 0x40);
    for (unsigned i = 0; i < 2; i++) {
        fake.fail_irq = refusals[i];
        assert_refused(try_irq(vm_a, 0, 1, 0, 0x41, NULL), refusals[i]);
        assert_int_equal(platform_vectors_used(), 1);
        fake.fail_irq = refusals[i];
        assert_refused(try_irq(vm_a, 0, 0, 1, 0x41, NULL), refusals[i]);
        assert_int_equal(platform_vectors_used(), 1);
        arrives(DEV0, message, vm_a, 0, 0x40);
    }
    for (unsigned i = 0; i < 2; i++) { /* who is raised cannot be known: nobody */
        fake.fail_irq_late = losses[i];
        assert_int_equal(try_irq(vm_a, 0, 0, 1, 0x41, NULL), losses[i]);
        assert_int_equal(platform_vectors_used(), 0);
        assert_int_equal(try_irq(vm_a, 0, 0, 0, 0, NULL), HV_ENOENT);
        fake.fail_irq_late = losses[i];
        assert_int_equal(try_irq(vm_a, 0, 0, 1, 0x41, NULL), losses[i]);
        assert_int_equal(platform_vectors_used(), 0);
        assert_int_equal(try_irq(vm_a, 0, 0, 0, 0, NULL), HV_ENOENT);
        (void)irq(vm_a, 0, 0, 0, 0x40);
        fake.fail_irq_unmap = losses[i];
        off(vm_a, 0, 0);
        assert_int_equal(platform_vectors_used(), 0);
        message = irq(vm_a, 0, 0, 0, 0x40);
        arrives(DEV0, message, vm_a, 0, 0x40);
    }
    vm_b->quota.limit = vm_b->quota.used;
    assert_refused(try_irq(vm_b, 0, 0, 0, 0x40, NULL), HV_EQUOTA);
    vm_b->quota.limit = 100000;
    pages_fail_after(0);
    assert_refused(try_irq(vm_b, 0, 0, 0, 0x40, NULL), HV_ENOMEM);
    pages_fail_after(-1);
    fake.fail_irq = HV_ENOMEM; /* also the page goes back */
    assert_refused(try_irq(vm_b, 0, 0, 0, 0x40, NULL), HV_ENOMEM);
}

/* --- Floods
 * ---------------------------------------------------------------------------------------
 */

static unsigned flood(rid_t rid, uint32_t message, unsigned n)
{
    abi_calls.interrupts = 0;
    for (unsigned i = 0; i < n; i++)
        (void)fake_interrupt(rid, message);
    return abi_calls.interrupts;
}

static void a_flood_is_silenced_for_a_moment(void **state)
{
    struct hc_event e;

    (void)state;
    cpus();
    event_ring(vm_a, 64);
    uint32_t message = irq(vm_a, 1, 7, 0, 0x50), quiet = irq(vm_a, 0, 0, 0, 0x51);
    uint32_t other = irq(vm_b, 0, 0, 0, 0x52);
    /* As many as are allowed, in window after window: nothing happens. */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(flood(DEV1, message, INTERRUPT_BURST), INTERRUPT_BURST);
        platform_pass_us(INTERRUPT_WINDOW_US);
    }
    assert_int_equal(events_waiting(vm_a), 0);
    /* One more: it is delivered, with the event's, and then there is silence. */
    unsigned got = flood(DEV1, message, 3 * INTERRUPT_BURST);
    assert_int_equal(got, INTERRUPT_BURST + 2);
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_INTERRUPT_FLOOD);
    assert_int_equal(e.device, 1);
    assert_int_equal(e.group, 7);
    assert_int_equal(events_waiting(vm_a), 0);
    arrives(DEV0, quiet, vm_a, 0, 0x51); /* its others, and other VMs, notice nothing */
    arrives(DEVB, other, vm_b, 0, 0x52);
    interrupt_tick(vm_a); /* too early */
    assert_int_equal(flood(DEV1, message, 1), 0);
    platform_pass_us(INTERRUPT_QUIET_US);
    interrupt_tick(vm_b);
    assert_int_equal(flood(DEV1, message, 1), 0);
    /* The end of the silence: one for all that was missed, then as before. */
    abi_calls = (struct abi_calls){ 0 };
    interrupt_tick(vm_a);
    assert_int_equal(abi_calls.interrupts, 1);
    assert_int_equal(abi_calls.vector, 0x50);
    interrupt_tick(vm_a);
    assert_int_equal(abi_calls.interrupts, 1);
    assert_int_equal(flood(DEV1, message, INTERRUPT_BURST), INTERRUPT_BURST);
}

/* What the guest does meanwhile holds; and silence does not outlive what was silenced. */
static void silence_bears_every_change(void **state)
{
    (void)state;
    cpus();
    uint32_t message[3];
    for (unsigned i = 0; i < 3; i++) {
        message[i] = irq(vm_a, 0, i, 0, 0x50 + i);
        flood(DEV0, message[i], 2 * INTERRUPT_BURST);
    }
    assert_int_equal(irq(vm_a, 0, 0, 1, 0x60), message[0]); /* moved: still silent */
    assert_int_equal(flood(DEV0, message[0], 1), 0);
    assert_int_equal(irq(vm_a, 0, 2, 0, 0x62), message[2]); /* another vector */
    off(vm_a, 0, 1);
    assert_int_equal(platform_vectors_used(), 2);
    platform_pass_us(INTERRUPT_QUIET_US);
    abi_calls = (struct abi_calls){ 0 };
    interrupt_tick(vm_a);
    assert_int_equal(abi_calls.interrupts, 2);
    arrives(DEV0, message[0], vm_a, 1, 0x60);
    arrives(DEV0, message[2], vm_a, 0, 0x62);
    message[1] = irq(vm_a, 0, 1, 0, 0x51);
    arrives(DEV0, message[1], vm_a, 0, 0x51);
    flood(DEV0, message[1], 2 * INTERRUPT_BURST);
    device_end(vm_a);
    assert_null(vm_a->silenced);
    interrupt_tick(vm_a);
    assert_int_equal(platform_vectors_used(), 0);
}

/* Some were on their way when it was silenced; and the silence counts from its own beginning. */
static void late_ones_arrive_in_silence(void **state)
{
    (void)state;
    cpus();
    event_ring(vm_a, 64);
    uint32_t message = irq(vm_a, 0, 0, 0, 0x50), other = irq(vm_a, 0, 1, 0, 0x51);
    flood(DEV0, message, 1);
    platform_pass_us(INTERRUPT_WINDOW_US - 1000);
    flood(DEV0, message, 2 * INTERRUPT_BURST);
    flood(DEV0, other, 2 * INTERRUPT_BURST);
    assert_int_equal(events_waiting(vm_a), 2);
    for (unsigned i = 0; i < 3; i++)
        assert_true(platform_interrupt_on(0x40, 0x30)); /* the first vector that was taken */
    assert_int_equal(events_waiting(vm_a), 2);
    platform_pass_us(INTERRUPT_QUIET_US - 2000);
    interrupt_tick(vm_a);
    assert_int_equal(flood(DEV0, message, 1), 0);
    platform_pass_us(2000);
    interrupt_tick(vm_a);
    assert_null(vm_a->silenced);
    arrives(DEV0, message, vm_a, 0, 0x50);
    arrives(DEV0, other, vm_a, 0, 0x51);
}

/* Whoever holds the VM's lock may be waiting for the handler to end. */
static void a_handler_does_not_wait_for_the_vm(void **state)
{
    (void)state;
    cpus();
    uint32_t message = irq(vm_a, 0, 0, 0, 0x50);
    lock_take(&vm_a->lock);
    assert_int_equal(flood(DEV0, message, 2 * INTERRUPT_BURST), 2 * INTERRUPT_BURST);
    lock_drop(&vm_a->lock);
    assert_int_equal(flood(DEV0, message, 10), 1); /* the next one silences */
    platform_pass_us(INTERRUPT_QUIET_US);
    lock_take(&vm_a->lock);
    interrupt_tick(vm_a);
    lock_drop(&vm_a->lock);
    assert_int_equal(flood(DEV0, message, 10), 0);
    interrupt_tick(vm_a);
    assert_int_equal(flood(DEV0, message, 10), 10);
}

static void a_refused_one_is_reported(void **state)
{
    struct hc_event e;

    (void)state;
    event_ring(vm_a, 64);
    device_events.fault(&vm_a->device[1]->io, &(struct iommu_fault){
                                                  .rid = DEV1,
                                                  .write = true,
                                                  .address = IOVA(0xfee00230),
                                                  .class = IOMMU_FAULT_INTERRUPT,
                                                  .code = 0x26,
                                              });
    assert_true(take_event(vm_a, &e));
    assert_int_equal(e.type, HC_EVENT_FAULT);
    assert_int_equal(e.device, 1);
    assert_int_equal(e.reason, HC_FAULT_INTERRUPT);
    assert_int_equal(e.address, 0xfee00230);
    assert_int_equal(e.detail, 0x26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(an_interrupt_reaches_its_vcpu),
        abi_test(its_target_changes_and_its_message_does_not),
        abi_test(what_is_wrong_is_refused),
        abi_test(the_guest_is_told_what_there_is),
        abi_test(a_vm_runs_out_of_its_own_vectors_only),
        abi_test(every_error_of_the_driver_leaves_things_whole),
        abi_test(a_flood_is_silenced_for_a_moment),
        abi_test(silence_bears_every_change),
        abi_test(late_ones_arrive_in_silence),
        abi_test(a_handler_does_not_wait_for_the_vm),
        abi_test(a_refused_one_is_reported),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
