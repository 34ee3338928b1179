/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel's 82574 network card as QEMU has it, with its transmitter looped back to its receiver
 * inside the card (RCTL.LBM): what it takes leaves as four frames of 1 KiB and comes back as such.
 * Legacy descriptors, one queue each way, polled. A frame received raises entry 0 of MSI-X, if that
 * is on. 82574 data sheet, 7.1.4, 7.2.9, 10.2.
 */
#include <string.h>

#include "guest/lib/pci.h"
#include "guest/lib/runtime.h"
#include "guest/units/source.h"

enum { /* registers, in dwords */
       CTRL = 0x0000 / 4,
       ICR = 0x00c0 / 4,
       IMS = 0x00d0 / 4,
       IMC = 0x00d8 / 4,
       EIAC = 0x00dc / 4,
       IVAR = 0x00e4 / 4,
       RCTL = 0x0100 / 4,
       TCTL = 0x0400 / 4,
       RDBAL = 0x2800 / 4, /* high, length in bytes behind it; then head and tail */
       RDT = 0x2818 / 4,
       TDBAL = 0x3800 / 4,
       TDT = 0x3818 / 4,
};
enum {
    CTRL_RESET = 1 << 26,
    CTRL_LINK_UP = 1 << 6,
    RCTL_ENABLE = 1 << 1,
    RCTL_ALL = 3 << 3, /* whatever the address */
    RCTL_LOOPBACK = 1 << 6,
    RCTL_BROADCAST = 1 << 15,
    RCTL_1K = 1 << 16,
    RCTL_NO_CRC = 1 << 26, /* is kept of a frame */
    TCTL_ENABLE = 1 << 1,
    CAUSE_RX = 1 << 20,
    IVAR_RX = 1 << 3, /* valid: entry 0 */
    ENTRY = 0,
    RING = 16,
    FRAMES = 4,
    FRAME = 1024,
};
enum { END_CRC_REPORT = 0xb, DONE = 1 };

struct descriptor {
    uint64_t address;
    uint16_t bytes;
    uint8_t csum, command;   /* of a received one: checksum */
    volatile uint8_t status; /* likewise */
    uint8_t errors;
    uint16_t special;
};
_Static_assert(sizeof(struct descriptor) == 16, "descriptor");

static volatile uint32_t *bar;
static struct descriptor *rx, *tx;
static uint8_t *own; /* frames that nobody looks at */
static unsigned next, last;
static uint64_t taken;

static bool reset_done(void)
{
    return !(bar[CTRL] & CTRL_RESET);
}

static bool received(void)
{
    return rx[last].status & DONE;
}

static void ring(unsigned at, const struct descriptor *d)
{
    bar[at] = (uint32_t)(uint64_t)d;
    bar[at + 1] = 0;
    bar[at + 2] = RING * sizeof(*d);
    bar[at + 4] = bar[at + 6] = 0;
}

static bool open(uint32_t rid)
{
    bar = (volatile uint32_t *)pci_enable_bar(rid, 0);
    if (!rx) {
        rx = pages_new(1);
        tx = pages_new(1);
        own = pages_new(1);
    }
    bar[IMC] = ~0u;
    bar[CTRL] |= CTRL_RESET;
    if (!wait_for(reset_done, 1000000))
        return false;
    bar[IMC] = ~0u;
    bar[CTRL] |= CTRL_LINK_UP;
    ring(RDBAL, rx);
    ring(TDBAL, tx);
    next = 0;
    bar[IVAR] = IVAR_RX;
    bar[EIAC] = CAUSE_RX; /* a message clears cause and mask */
    bar[TCTL] = TCTL_ENABLE;
    bar[RCTL] = RCTL_ENABLE | RCTL_ALL | RCTL_LOOPBACK | RCTL_BROADCAST | RCTL_1K | RCTL_NO_CRC;
    return true;
}

/* @n frames from @from, which come back to @to. */
static bool send(uint64_t from, uint64_t to, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        last = next;
        next = (next + 1) % RING;
        rx[last] = (struct descriptor){ .address = to + i * FRAME };
        tx[last] = (struct descriptor){ .address = from + i * FRAME,
                                        .bytes = FRAME,
                                        .command = END_CRC_REPORT };
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bar[ICR] = ~0u;
    bar[IMS] = CAUSE_RX;
    bar[RDT] = (next + 1) % RING; /* one more: a full ring would look like an empty one */
    bar[TDT] = next;
    return wait_for(received, 500000);
}

static bool take(uint64_t address)
{
    taken = address;
    return true;
}

static bool give(uint64_t address)
{
    return send(taken ? taken : (uint64_t)own, address, FRAMES);
}

static bool raise(void)
{
    return send((uint64_t)own, (uint64_t)own + 2 * FRAME, 1);
}

static void *used_page(unsigned n)
{
    void *const all[] = { rx, tx, own };

    return n < sizeof(all) / sizeof(*all) ? all[n] : NULL;
}

const struct source e1000e = { .name = "e1000e",
                               .id = 0x10d38086,
                               .open = open,
                               .take = take,
                               .give = give,
                               .page = used_page,
                               .messages = MSIX,
                               .raise = raise,
                               .entry = ENTRY,
                               .repeats = 1 }; /* when QEMU's throttling is over */
