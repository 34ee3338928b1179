/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Find the remapping unit's PCI function through the configuration ports, and switch it on.
 */
#include "tests/model/shim/shim.h"

enum {
    CONFIG_ADDRESS = 0xcf8,
    CONFIG_DATA = 0xcfc,
    UNIT_ID = 0x51061b36, /* device, vendor */
    REG_COMMAND = 0x04,
    COMMAND_MEMORY_AND_MASTER = 6,
    REG_HEADER_TYPE = 0x0c, /* byte 2 */
    REG_BAR0 = 0x10,
};

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

uint32_t config_read(uint16_t rid, uint32_t reg)
{
    out32(CONFIG_ADDRESS, UINT32_C(1) << 31 | (uint32_t)rid << 8 | reg);
    return in32(CONFIG_DATA);
}

void config_write(uint16_t rid, uint32_t reg, uint32_t value)
{
    out32(CONFIG_ADDRESS, UINT32_C(1) << 31 | (uint32_t)rid << 8 | reg);
    out32(CONFIG_DATA, value);
}

uint64_t unit_find(uint16_t *rid)
{
    for (uint32_t id = 0; id < 0x10000; id++) {
        if (config_read((uint16_t)id, 0) != UNIT_ID) {
            /* Absent, or a single function: the other seven are not there. */
            if (id % 8 == 0 && (config_read((uint16_t)id, 0) == UINT32_MAX ||
                                !(config_read((uint16_t)id, REG_HEADER_TYPE) >> 23 & 1)))
                id += 7;
            continue;
        }
        *rid = (uint16_t)id;

        uint64_t bar = config_read(*rid, REG_BAR0) & ~UINT32_C(15);

        bar |= (uint64_t)config_read(*rid, REG_BAR0 + 4) << 32;
        if (bar == 0) {
            say("shim: unit %x has no address\n", (uint64_t)id);
            return 0;
        }
        /* The upper half of the register is status, where writing 1 clears: write 0 there. */
        config_write(*rid, REG_COMMAND,
                     (config_read(*rid, REG_COMMAND) & 0xffff) | COMMAND_MEMORY_AND_MASTER);
        return bar;
    }
    return 0;
}
