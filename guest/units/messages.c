/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts of devices, as messages: each arrives once, at the vCPU and vector that was asked for,
 * not while it is masked, and not when it is off. Messages that were not given to the device raise
 * nothing, whoever writes them: its table of messages, or its DMA.
 */
#include "guest/units/messages.h"

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/pci.h"
#include "guest/lib/smp.h"
#include "guest/units/units.h"

#define FIRST      0x70u /* vector on vCPU 0 */
#define SECOND     0x71u /* on vCPU 1 */
#define VCPUS      2u
#define COME_US    1000000ull
#define QUIET_US   20000ull /* nothing has come for so long */
#define HANDLES    16u
#define REMAPPABLE 0xfee00010u /* message of handle 0 (docs/abi.md) */

enum { ADDRESS, UPPER, DATA, CONTROL, WORDS }; /* of an entry of an MSI-X table */

static volatile uint32_t seen[VCPUS], strays;
static struct {
    uint32_t cap;
    volatile uint32_t *entry; /* MSI-X: the one that the device uses */
    uint32_t address, data;   /* MSI-X: by which it raises FIRST or SECOND */
} msg;

/* --- Counting ------------------------------------------------------------------------------------
 */

static void on_interrupt(struct interrupt_frame *frame)
{
    uint32_t id = apic_id();

    if (id < VCPUS && frame->vector == FIRST + id)
        __atomic_fetch_add(&seen[id], 1, __ATOMIC_RELAXED);
    else
        __atomic_fetch_add(&strays, 1, __ATOMIC_RELAXED);
}

void messages_count(void)
{
    for (unsigned v = 32; v < 255; v++)
        if (v != VECTOR)
            interrupt_handler((uint8_t)v, on_interrupt);
}

uint32_t messages_seen(void)
{
    return seen[0];
}

uint32_t messages_strays(void)
{
    return strays;
}

void messages_listen(uint64_t us)
{
    for (uint64_t begin = rdtsc(); rdtsc() - begin < us * ticks_per_us();) {
        interrupts_on();
        pause_once();
        interrupts_off();
    }
}

[[noreturn]] static void second_vcpu(uint32_t id)
{
    (void)id;
    for (;;)
        sleep_once();
}

/* One more at @vcpu, or as many as the device makes of it. */
static bool comes(unsigned vcpu, uint32_t before)
{
    for (uint64_t begin = rdtsc();
         seen[vcpu] == before && rdtsc() - begin < COME_US * ticks_per_us();)
        messages_listen(1);
    messages_listen(QUIET_US);
    return seen[vcpu] != before && seen[vcpu] <= before + 1 + dev.source->repeats;
}

static bool raised(unsigned vcpu)
{
    uint32_t before = seen[vcpu];

    return dev.source->raise() && comes(vcpu, before);
}

static bool quiet(void)
{
    uint32_t before = seen[0] + seen[1];
    bool done = dev.source->raise();

    messages_listen(QUIET_US);
    return done && seen[0] + seen[1] == before;
}

/* --- The device's side ---------------------------------------------------------------------------
 */

static uint32_t capability(uint32_t rid, uint8_t id)
{
    uint32_t at = pci_read(rid, 0x34) & 0xff;

    for (unsigned n = 0; at && n < 48; n++, at = pci_read(rid, (uint8_t)at) >> 8 & 0xff)
        if ((pci_read(rid, (uint8_t)at) & 0xff) == id)
            return at;
    return 0;
}

static void enable(bool on)
{
    uint32_t bit = dev.source->messages == MSI ? 1u << 16 : 1u << 31, rid = dev.info.rid;
    uint32_t value = pci_read(rid, (uint8_t)msg.cap);

    pci_write(rid, (uint8_t)msg.cap, on ? value | bit : value & ~bit);
}

static void msix_entry(uint32_t address, uint32_t data)
{
    msg.entry[CONTROL] = 1;
    msg.entry[ADDRESS] = address;
    msg.entry[UPPER] = 0;
    msg.entry[DATA] = data;
    msg.entry[CONTROL] = 0;
}

static void msi_plain(uint32_t vcpu, uint32_t vector)
{
    uint32_t rid = dev.info.rid, wide = pci_read(rid, (uint8_t)msg.cap) >> 23 & 1;

    pci_write(rid, (uint8_t)(msg.cap + 4), 0xfee00000u | vcpu << 12);
    pci_write(rid, (uint8_t)(msg.cap + (wide ? 12 : 8)), vector);
}

bool messages_aim(uint32_t vcpu)
{
    msg.cap = capability(dev.info.rid, dev.source->messages == MSI ? 0x05 : 0x11);
    if (!msg.cap)
        return false;
    if (dev.source->messages == MSI) {
        msi_plain(vcpu, FIRST + vcpu);
    } else {
        uint32_t table = pci_read(dev.info.rid, (uint8_t)(msg.cap + 4));

        if (sluice_device_irq(dev.info.device, 0, vcpu, FIRST + vcpu, &msg.address, &msg.data) !=
            HV_OK)
            return false;
        msg.entry = (volatile uint32_t *)(pci_enable_bar(dev.info.rid, table & 7) + (table & ~7u)) +
                    WORDS * dev.source->entry;
        msix_entry(msg.address, msg.data);
    }
    enable(true);
    return true;
}

/* --- Steps ---------------------------------------------------------------------------------------
 */

static bool refused_message(void)
{
    struct hc_event e;

    while (event_ring_take(&ring, &e))
        if (e.type == HC_EVENT_FAULT && e.device == dev.info.device &&
            e.reason == HC_FAULT_INTERRUPT)
            return true;
    return false;
}

static void masked(void)
{
    enable(false);
    result("message_disabled", quiet(), "it came");
    enable(true);
    result("message_enabled", raised(1), "it does not come once");
    if (dev.source->messages != MSIX)
        return;
    uint32_t before = seen[1];
    msg.entry[CONTROL] = 1;
    result("message_masked", quiet(), "it came");
    msg.entry[CONTROL] = 0;
    result("message_unmasked", comes(1, before), "it does not come once");
}

/* The message as a word of DMA, which any device can write: first handles, which are other devices'
 * and the other VM's. Nobody is told: QEMU has another requester id in these words. */
static void by_dma(void)
{
    uint32_t before = seen[0] + seen[1] + strays;

    for (uint32_t handle = 0; handle < HANDLES; handle++)
        testdev_write_word(REMAPPABLE | handle << 5);
    messages_listen(QUIET_US);
    result("message_by_dma", seen[0] + seen[1] + strays == before, "it came");
}

/* What the guest may not aim at, or does not ask for any more. */
static void refused(void)
{
    bool good = true;

    if (dev.source->messages == MSI) {
        msi_plain(0, 5); /* an exception */
        result("message_as_exception", quiet(), "it came");
        msi_plain(VCPUS, FIRST);
        result("message_to_no_vcpu", quiet(), "it came");
        return;
    }
    good = sluice_device_irq_off(dev.info.device, 0) == HV_OK;
    forget_faults();
    good &= quiet();
    result("message_off", good && wait_for(refused_message, 1000000), "it came, or was not told");
    good = sluice_device_irq(dev.info.device, 0, 0, FIRST, &msg.address, &msg.data) == HV_OK;
    for (uint32_t handle = 0; handle < HANDLES && good; handle++) {
        if ((REMAPPABLE | handle << 5) == msg.address)
            continue;
        msix_entry(REMAPPABLE | handle << 5, 0);
        forget_faults();
        good = quiet() && wait_for(refused_message, 1000000);
    }
    result("message_foreign", good, "it came, or was not told");
    msix_entry(msg.address, msg.data);
}

void messages(void)
{
    static bool started;

    if (!started) {
        messages_count();
        started = smp_start(1, second_vcpu);
    }
    if (!dev.info.interrupts)
        return;
    if (dev.source == &testdev)
        by_dma();
    if (dev.source->messages == NO_MESSAGES)
        return;
    result("message_aim", messages_aim(0), "refused");
    bool good = true;
    for (unsigned i = 0; i < 3; i++)
        good &= raised(0);
    result("message", good, "it does not come once");
    result("message_other_vcpu", started && messages_aim(1) && raised(1), "it does not come once");
    masked();
    refused();
    result("message_at_the_end", messages_aim(0) && raised(0), "it does not come once");
    enable(false);
    result("message_no_stray", !strays, "others came");
}
