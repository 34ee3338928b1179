/* SPDX-License-Identifier: BSD-2-Clause */
/* The accelerator's completion interrupt; and that it has no other: not the hypervisor's, not
 * another guest's, nor one that this guest did not ask for. */
#include "guest/demo/demo.h"

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"

#define REMAPPABLE    0xfee00010u /* message of handle 0 (docs/abi.md) */
#define COMPATIBILITY 0xfee00000u /* what a message looks like on a machine without remapping */
#define HANDLES       16u
#define FAULT_WAIT_US 200000ull
#define FAULT_TRIES   20u

static void on_work_done(struct interrupt_frame *frame)
{
    (void)frame;
    demo.count.work_interrupts++;
}

/* The device sends this message. It must raise nothing, and be reported. */
static void send_refused(uint32_t address, uint32_t data)
{
    struct work nop = { .process = &demo.process[0],
                        .operation = ACCEL_NOP,
                        .flags = ACCEL_ATS | ACCEL_PAGE_REQUESTS | ACCEL_INTERRUPT,
                        .message = 1 };
    uint64_t reported = demo.count.refused_interrupts, raised = demo.count.work_interrupts;

    accel_message(&demo.accel, 1, address, data);
    /* A unit has few places to record faults: what another device's flood crowds out comes again.
     */
    for (unsigned i = 0; demo.count.refused_interrupts == reported && i < FAULT_TRIES; i++) {
        struct accel_completion c = work_run(&nop);

        expect(c.status == ACCEL_DONE, "nop", c.status);
        for (uint64_t begin = rdtsc(); demo.count.refused_interrupts == reported &&
                                       rdtsc() - begin < FAULT_WAIT_US * ticks_per_us();)
            events_serve();
    }
    expect(demo.count.refused_interrupts > reported, "a foreign message was not reported", address);
    expect(demo.count.work_interrupts == raised, "a foreign message raised an interrupt", address);
}

static uint64_t sleep_for_work(void)
{
    struct process *p = &demo.process[0];
    struct work crc = { p,
                        ACCEL_CRC,
                        ACCEL_ATS | ACCEL_PAGE_REQUESTS | ACCEL_INTERRUPT,
                        process_address(p, SOURCE),
                        0,
                        4 * PAGE,
                        0,
                        0 };
    uint64_t before = demo.count.work_interrupts;

    for (unsigned i = 0; i < WORK_SLEEPS; i++) {
        struct accel_completion c = work_run_asleep(&crc);
        expect(c.status == ACCEL_DONE, "interrupted, but not done", c.status);
    }
    expect(demo.count.work_interrupts - before == WORK_SLEEPS, "interrupts of work",
           demo.count.work_interrupts - before);
    return demo.count.work_interrupts - before;
}

void scene_interrupt(void)
{
    uint32_t device = demo.device.device, address, data, again;
    enum hv_status status;

    if (!demo.device.interrupts) {
        print("this machine's unit does not remap interrupts: none of devices are delivered\n");
        return;
    }
    interrupt_handler(WORK_VECTOR, on_work_done);
    status = sluice_device_irq(device, 0, 0, WORK_VECTOR, &address, &data);
    if (status != HV_OK)
        fail("interrupt of the accelerator: %s", sluice_status_name(status));
    accel_message(&demo.accel, 0, address, data);
    print("slept %lu times until the accelerator's interrupt (message %#x) came\n",
          sleep_for_work(), address);

    for (uint32_t handle = 0; handle < HANDLES; handle++)
        if ((REMAPPABLE | handle << 5) != address)
            send_refused(REMAPPABLE | handle << 5, 0);
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        send_refused(COMPATIBILITY | cpu << 12, WORK_VECTOR);
        send_refused(COMPATIBILITY | cpu << 12, 0x30); /* vectors of Sluice's own */
        send_refused(COMPATIBILITY | cpu << 12, 0xf1);
        send_refused(COMPATIBILITY | cpu << 12, 4 << 8); /* NMI */
    }
    /* Off: its own message is a foreign one now. On again: as before. */
    expect(sluice_device_irq_off(device, 0) == HV_OK, "interrupt off", 0);
    send_refused(address, data);
    status = sluice_device_irq(device, 0, 0, WORK_VECTOR, &again, &data);
    expect(status == HV_OK, "interrupt on again", (uint64_t)-(int64_t)status);
    accel_message(&demo.accel, 0, again, data);
    (void)sleep_for_work();
    print("%lu messages that were not its own raised nothing and were reported\n",
          demo.count.refused_interrupts);
}
