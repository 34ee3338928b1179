/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's edu: a page of memory of its own and a DMA engine with 28 address bits. It tells no
 * errors. MSI. */
#include "guest/lib/pci.h"
#include "guest/units/source.h"

enum { RAISE = 0x60 / 4, ACKNOWLEDGE = 0x64 / 4 }; /* dwords */
enum { FROM = 0x80 / 8, TO = 0x88 / 8, BYTES = 0x90 / 8, COMMAND = 0x98 / 8 };
enum { START = 1, TO_MEMORY = 2, OWN = 0x40000, PAGE_BYTES = 4096 };

static volatile uint64_t *bar;

static bool idle(void)
{
    return !(bar[COMMAND] & START);
}

static bool transfer(uint64_t from, uint64_t to, uint64_t direction)
{
    bar[FROM] = from;
    bar[TO] = to;
    bar[BYTES] = PAGE_BYTES;
    bar[COMMAND] = START | direction;
    return wait_for(idle, 2000000);
}

static bool open(uint32_t rid)
{
    bar = (volatile uint64_t *)pci_enable_bar(rid, 0);
    return (*(volatile uint32_t *)bar & 0xffff) == 0x00ed && wait_for(idle, 2000000);
}

static bool take(uint64_t address)
{
    return transfer(address, OWN, 0);
}

static bool give(uint64_t address)
{
    return transfer(OWN, address, TO_MEMORY);
}

static bool raise(void)
{
    volatile uint32_t *word = (volatile uint32_t *)bar;

    word[ACKNOWLEDGE] = ~0u;
    word[RAISE] = 1;
    return true;
}

const struct source edu = { .name = "edu",
                            .id = 0x11e81234,
                            .open = open,
                            .take = take,
                            .give = give,
                            .messages = MSI,
                            .raise = raise };
