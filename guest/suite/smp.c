/* SPDX-License-Identifier: BSD-2-Clause */
/* Further vCPUs: INIT and SIPI, IPIs both ways, broadcast. With one vCPU: that others do not
 * appear. */
#include "guest/lib/smp.h"

#include <stdatomic.h>

#include "guest/lib/accel.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/pci.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

#define PING         0x61
#define PONG         0x62
#define ALL_BUT_SELF 0xc0000ull
#define ROUNDS       200

static _Atomic uint32_t pings[16], pongs;
static uint32_t vcpus;

static void on_ping(struct interrupt_frame *frame)
{
    (void)frame;
    pings[apic_id()]++;
    apic_send(0, PONG);
}

static void on_pong(struct interrupt_frame *frame)
{
    (void)frame;
    pongs++;
}

static void secondary(uint32_t id)
{
    (void)id;
    for (;;)
        sleep_once();
}

static bool wait_until_pong(uint32_t count)
{
    uint64_t begin = rdtsc();

    while (pongs < count) {
        if (rdtsc() - begin > 5000000 * ticks_per_us())
            return false;
        interrupts_on();
        pause_once();
        interrupts_off();
    }
    return true;
}

static void start(void)
{
    struct hc_vm_info info;

    CHECK_EQUAL(sluice_vm_info(&info), HV_OK);
    vcpus = info.vcpus;
    interrupt_handler(PING, on_ping);
    interrupt_handler(PONG, on_pong);
    for (uint32_t id = 1; id < vcpus; id++)
        CHECK(smp_start(id, secondary));
    /* One that does not exist must not come, and asking for it does no harm. */
    apic_send((vcpus + 1) & 15, PING);
}

static void ping(void)
{
    for (uint32_t id = 1; id < vcpus; id++) {
        pongs = 0;
        for (uint32_t i = 1; i <= ROUNDS; i++) {
            apic_send(id, PING);
            if (!wait_until_pong(i)) {
                check_failed("no answer from a vCPU", __FILE__, __LINE__, i, id);
                return;
            }
        }
        CHECK_EQUAL(pings[id], ROUNDS);
    }
}

static void broadcast(void)
{
    uint64_t begin = rdtsc();
    uint32_t reached = 0;

    apic_send_raw(ALL_BUT_SELF | PING);
    while (reached < vcpus - 1 && rdtsc() - begin < 5000000 * ticks_per_us()) {
        reached = 0;
        for (uint32_t id = 1; id < vcpus; id++)
            reached += pings[id] > ROUNDS;
        interrupts_on();
        pause_once();
        interrupts_off();
    }
    CHECK_EQUAL(reached, vcpus - 1);
    CHECK_EQUAL(pings[0], 0);
}

#define DEVICE_VECTOR 0x63

static _Atomic uint32_t device_interrupts[16];

static void on_device(struct interrupt_frame *frame)
{
    (void)frame;
    device_interrupts[apic_id()]++;
}

static bool wait_for_device(uint32_t id, uint32_t count)
{
    uint64_t begin = rdtsc();

    while (device_interrupts[id] != count) {
        if (rdtsc() - begin > 5000000 * ticks_per_us())
            return false;
        interrupts_on();
        pause_once();
        interrupts_off();
    }
    return true;
}

/* One message of the accelerator follows its target from vCPU to vCPU, those asleep and this one.
 */
static void device(void)
{
    struct accel a;
    struct hc_device_info info;
    uint32_t address, data, first = 0;
    int32_t rid = pci_find(ACCEL_PCI_ID, -1);
    struct accel_completion *record = pages_new(1);
    struct accel_descriptor nop = { .operation = ACCEL_NOP,
                                    .flags = ACCEL_INTERRUPT,
                                    .completion = (uint64_t)record };

    if (rid < 0 || !accel_open(&a, (uint32_t)rid) || sluice_device_info(0, &info) != HV_OK)
        return; /* a machine without */
    if (!info.interrupts) {
        CHECK_EQUAL(sluice_device_irq(0, 0, 0, DEVICE_VECTOR, &address, &data), HV_ENOTSUP);
        return;
    }
    CHECK_EQUAL(sluice_attach(0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0, 0), HV_OK);
    interrupt_handler(DEVICE_VECTOR, on_device);
    for (uint32_t i = 0; i < 3 * vcpus; i++) {
        uint32_t id = i % vcpus;

        CHECK_EQUAL(sluice_device_irq(0, 0, id, DEVICE_VECTOR, &address, &data), HV_OK);
        if (!first)
            accel_message(&a, 0, first = address, data);
        CHECK_EQUAL(address, first);
        accel_submit(&a, &nop);
        if (!wait_for_device(id, i / vcpus + 1))
            check_failed("no interrupt at a vCPU", __FILE__, __LINE__, i, id);
    }
    CHECK_EQUAL(sluice_device_irq(0, 0, vcpus, DEVICE_VECTOR, &address, &data), HV_ERANGE);
    CHECK_EQUAL(sluice_device_irq_off(0, 0), HV_OK);
    CHECK_EQUAL(sluice_device_irq_off(0, 0), HV_ENOENT);
    accel_submit(&a, &nop);
    while (accel_busy(&a))
        pause_once();
    for (uint32_t id = 0; id < vcpus; id++)
        CHECK_EQUAL(device_interrupts[id], 3);
    CHECK_EQUAL(sluice_attach(0, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0, 0), HV_OK);
}

const struct check smp_checks[] = {
    { "vcpu_start", start },
    { "vcpu_ping", ping },
    { "vcpu_broadcast", broadcast },
    { "vcpu_device_interrupt", device },
    { NULL, NULL },
};
