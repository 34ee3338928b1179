/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU's iommu-testdev: writes a pattern, and then reads it back at a host address that it is told,
 * past the IOMMU: "host=" on the command line is where this VM's memory is.
 */
#include "guest/lib/pci.h"
#include "guest/lib/runtime.h"
#include "guest/units/source.h"

enum {
    TRIGGER = 0,
    LOW = 1,
    HIGH = 2,
    BYTES = 3,
    RESULT = 4,
    ARM = 5,
    ATTRIBUTES = 6,
    BACK_LOW = 7,
    BACK_HIGH = 8
};

static volatile uint32_t *bar;

static bool open(uint32_t rid)
{
    bar = (volatile uint32_t *)pci_enable_bar(rid, 0);
    return option("host", 0) != 0;
}

static void write(uint64_t address, uint32_t bytes)
{
    uint64_t host = option("host", 0) + address;

    bar[LOW] = (uint32_t)address;
    bar[HIGH] = (uint32_t)(address >> 32);
    bar[BACK_LOW] = (uint32_t)host;
    bar[BACK_HIGH] = (uint32_t)(host >> 32);
    bar[BYTES] = bytes;
    bar[ATTRIBUTES] = 0;
    bar[ARM] = 1;
    (void)bar[TRIGGER];
}

static bool give(uint64_t address)
{
    write(address, 4096);
    return bar[RESULT] == 0;
}

static void write_word(uint64_t address, uint32_t value)
{
    (void)value; /* it has one of its own */
    write(address, 4);
}

const struct source testdev = { .name = "iommu-testdev",
                                .id = 0x00051b36,
                                .open = open,
                                .give = give,
                                .write_word = write_word,
                                .past = true };
