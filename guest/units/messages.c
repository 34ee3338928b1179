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

#define FIRST         0x70u /* vector on vCPU 0 */
#define SECOND        0x71u /* on vCPU 1 */
#define VCPUS         2u
#define COME_US       5000000ull
#define QUIET_US      20000ull /* nothing has come for so long */
#define HANDLES       16u
#define REMAPPABLE    0xfee00010u /* message of handle 0 (docs/abi.md) */
#define COMPATIBILITY 0xfee00000u /* what it looks like on a machine without remapping */

enum { ADDRESS, UPPER, DATA, CONTROL, WORDS }; /* of an entry of an MSI-X table */

static volatile uint32_t seen[VCPUS], strays;
static struct {
    uint32_t cap;
    volatile uint32_t *entry; /* MSI-X: the one that the device uses */
    uint32_t address, data;   /* MSI-X: by which it raises FIRST or SECOND */
} msg;

/* --- Counting --------------------------------------------------------------------------------- */

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

/* --- The device's side ------------------------------------------------------------------------ */

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
    if (dev.source->store)
        return;
    uint32_t bit = dev.source->messages == MSI ? 1u << 16 : 1u << 31, rid = dev.info.rid;
    uint32_t value = pci_read(rid, (uint8_t)msg.cap);

    pci_write(rid, (uint8_t)msg.cap, on ? value | bit : value & ~bit);
}

/* Where the device keeps its messages: a table of MSI-X, or its own. */
static void put(uint32_t address, uint32_t data, bool masked)
{
    if (dev.source->store) {
        dev.source->store(address, data, masked);
        return;
    }
    msg.entry[CONTROL] = 1;
    msg.entry[ADDRESS] = address;
    msg.entry[UPPER] = 0;
    msg.entry[DATA] = data;
    msg.entry[CONTROL] = masked;
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
    if (!msg.cap && !dev.source->store)
        return false;
    if (dev.source->messages == MSI) {
        msi_plain(vcpu, FIRST + vcpu);
        enable(true);
        return true;
    }
    if (sluice_device_irq(dev.info.device, 0, vcpu, FIRST + vcpu, &msg.address, &msg.data) != HV_OK)
        return false;
    if (dev.source->messages == MSIX) {
        uint32_t table = pci_read(dev.info.rid, (uint8_t)(msg.cap + 4));

        msg.entry = (volatile uint32_t *)(pci_enable_bar(dev.info.rid, table & 7) + (table & ~7u)) +
                    WORDS * dev.source->entry;
    }
    put(msg.address, msg.data, false);
    enable(true);
    return true;
}

/* --- Steps ------------------------------------------------------------------------------------ */

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
    if (!dev.source->store) {
        enable(false);
        result("message_disabled", quiet(), "it came");
        enable(true);
        result("message_enabled", raised(1), "it does not come once");
    }
    if (dev.source->messages == MSI)
        return;
    uint32_t before = seen[1];
    put(msg.address, msg.data, true);
    result("message_masked", quiet(), "it came");
    put(msg.address, msg.data, false);
    result("message_unmasked", comes(1, before), "it does not come once");
}

/* The message as a word of DMA, which any device can write: first handles, which are other devices'
 * and the other VM's, and the format of a machine without remapping, if the unit can refuse it.
 * QEMU's test device has another's requester id in these words, so that nobody is told. */
static void by_dma(void)
{
    uint32_t before = seen[0] + seen[1] + strays;
    bool told = true;

    for (uint32_t n = 0; n < 2 * HANDLES; n++) {
        uint32_t address = n < HANDLES ? REMAPPABLE | n << 5 : COMPATIBILITY | (n & 3) << 12;

        if (address == msg.address || (n >= HANDLES && !dev.source->store))
            continue;
        forget_faults();
        dev.source->write_word(address, FIRST + (n & 1));
        told &= !dev.source->store || wait_for(refused_message, 1000000);
    }
    messages_listen(QUIET_US);
    result("message_by_dma", told && seen[0] + seen[1] + strays == before,
           told ? "it came" : "it was not told");
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
        put(REMAPPABLE | handle << 5, 0, false);
        forget_faults();
        good = quiet() && wait_for(refused_message, 1000000);
    }
    for (uint32_t cpu = 0; cpu <= VCPUS && good && dev.source->store; cpu++) {
        put(COMPATIBILITY | cpu << 12, FIRST, false);
        forget_faults();
        good = quiet() && wait_for(refused_message, 1000000);
    }
    result("message_foreign", good, "it came, or was not told");
    put(msg.address, msg.data, false);
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
    if (dev.source->messages == NO_MESSAGES) {
        if (dev.source->write_word)
            by_dma();
        return;
    }
    result("message_aim", messages_aim(0), "refused");
    bool good = true;
    for (unsigned i = 0; i < 3; i++)
        good &= raised(0);
    result("message", good, "it does not come once");
    result("message_other_vcpu", started && messages_aim(1) && raised(1), "it does not come once");
    masked();
    refused();
    result("message_at_the_end", messages_aim(0) && raised(0), "it does not come once");
    if (dev.source->write_word)
        by_dma();
    enable(false);
    result("message_no_stray", !strays, "others came");
}
