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

static bool give(uint64_t address)
{
    uint64_t host = option("host", 0) + address;

    bar[LOW] = (uint32_t)address;
    bar[HIGH] = (uint32_t)(address >> 32);
    bar[BACK_LOW] = (uint32_t)host;
    bar[BACK_HIGH] = (uint32_t)(host >> 32);
    bar[BYTES] = 4096;
    bar[ATTRIBUTES] = 0;
    bar[ARM] = 1;
    (void)bar[TRIGGER];
    return bar[RESULT] == 0;
}

const struct source testdev = { "iommu-testdev", 0x00051b36, open, NULL, give, false };
