/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/pci.h"

#include "guest/lib/cpu.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define COMMAND        0x04
#define BAR0           0x10

uint32_t pci_read(uint32_t rid, uint8_t offset)
{
    outl(CONFIG_ADDRESS, 0x80000000u | rid << 8 | (offset & 0xfcu));
    return inl(CONFIG_DATA);
}

void pci_write(uint32_t rid, uint8_t offset, uint32_t value)
{
    outl(CONFIG_ADDRESS, 0x80000000u | rid << 8 | (offset & 0xfcu));
    outl(CONFIG_DATA, value);
}

int32_t pci_find(uint32_t id, int32_t after)
{
    for (int32_t rid = after + 1; rid < 256; rid++)
        if (pci_read((uint32_t)rid, 0) == id)
            return rid;
    return -1;
}

uint64_t pci_enable_bar(uint32_t rid, unsigned bar)
{
    uint8_t offset = (uint8_t)(BAR0 + 4 * bar);
    uint64_t low = pci_read(rid, offset), high = 0;

    if ((low & 6) == 4) /* 64-bit */
        high = pci_read(rid, (uint8_t)(offset + 4));
    pci_write(rid, COMMAND, pci_read(rid, COMMAND) | 6);
    return (high << 32 | low) & ~0xfull;
}
