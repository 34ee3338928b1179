/* SPDX-License-Identifier: BSD-2-Clause */
/* Further vCPUs: INIT and SIPI, IPIs both ways, broadcast. With one vCPU: that others do not
 * appear. */
#include "guest/lib/smp.h"

#include <stdatomic.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
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

const struct check smp_checks[] = {
    { "vcpu_start", start },
    { "vcpu_ping", ping },
    { "vcpu_broadcast", broadcast },
    { NULL, NULL },
};
