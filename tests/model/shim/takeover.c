/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Firmware that leaves things as a careful one would not: the unit's translation on (legacy tables
 * in which the accelerators' functions pass through: VT-d 9.1, 9.3), and a device in the middle of
 * long work by requester id. The work fills the upper half of the first VM's memory, again and
 * again. Or one that was careful, and left all memory protected from devices (11.4.8).
 */
#include "tests/model/shim/shim.h"

enum { /* registers of the unit (11.4), in dwords; of the accelerator, in 8 bytes */
       CAP = 0x08 / 4,
       GCMD = 0x18 / 4,
       GSTS = 0x1c / 4,
       RTADDR = 0x20 / 4,
       PMEN = 0x64 / 4,
       PLMBASE = 0x68 / 4,
       PLMLIMIT = 0x6c / 4,
       PHMBASE = 0x70 / 4,
       PHMLIMIT = 0x78 / 4,
       ACCEL_CTRL = 0x08 / 8,
       ACCEL_PORTAL = 0x1000 / 8,
};
enum {
    ROOT_SET = 1 << 30,
    PROTECTED_LOW_AND_HIGH = 3 << 5,
    PROTECTED = 1,
    ACCEL = 4 << 3, /* 00:04.0 */
    ACCEL_OTHER = 5 << 3,
    FILL = 2,
    TARGET = 0x9000000,
    BYTES = 16 << 20,
    DESCRIPTORS = 60,
    TRIES = 1000000,
};
#define TRANSLATION_ON (UINT32_C(1) << 31)
#define PROTECT        (UINT32_C(1) << 31)

static bool command(volatile uint32_t *unit, uint32_t bit)
{
    unit[GCMD] = (unit[GSTS] & 0x96ffffff) | bit; /* one-shot bits are not repeated (11.4.4.1) */
    for (int i = 0; i < TRIES; i++)
        if (unit[GSTS] & bit)
            return true;
    return false;
}

bool leave_running(uint64_t registers)
{
    volatile uint32_t *unit = (volatile uint32_t *)registers;
    EFI_PHYSICAL_ADDRESS pages;

    if (EFI_ERROR(system_table->BootServices->AllocatePages(AllocateAnyPages, EfiReservedMemoryType,
                                                            2, &pages)))
        return false;
    volatile uint64_t *root = (volatile uint64_t *)pages, *context = root + 512;

    for (int i = 0; i < 1024; i++)
        root[i] = 0;
    root[0] = (uint64_t)context | 1;
    for (int rid = ACCEL; rid <= ACCEL_OTHER; rid += ACCEL_OTHER - ACCEL) {
        context[2 * rid] = 2 << 2 | 1; /* pass through, present */
        context[2 * rid + 1] = 1 << 8 | 2;
    }
    unit[RTADDR] = (uint32_t)pages;
    unit[RTADDR + 1] = (uint32_t)(pages >> 32);
    if (!command(unit, ROOT_SET) || !command(unit, TRANSLATION_ON))
        return false;

    uint64_t bar = (config_read(ACCEL, 0x10) & ~UINT32_C(15)) | (uint64_t)config_read(ACCEL, 0x14)
                                                                    << 32;
    volatile uint64_t *accel = (volatile uint64_t *)bar;

    config_write(ACCEL, 0x04, (config_read(ACCEL, 0x04) & 0xffff) | 6);
    accel[ACCEL_CTRL] = 1;
    for (int n = 0; n < DESCRIPTORS; n++) {
        const uint64_t d[8] = { (uint64_t)FILL << 32,         0,          TARGET, BYTES,
                                UINT64_C(0x6b6b6b6b6b6b6b6b), TARGET - 32 };

        for (int i = 0; i < 8; i++)
            accel[ACCEL_PORTAL + i] = d[i];
    }
    return true;
}

bool leave_protected(uint64_t registers)
{
    volatile uint32_t *unit = (volatile uint32_t *)registers;

    if ((unit[CAP] & PROTECTED_LOW_AND_HIGH) != PROTECTED_LOW_AND_HIGH)
        return false;
    unit[PLMBASE] = 0; /* [0, 4 GiB), and from there to the end */
    unit[PLMLIMIT] = UINT32_MAX;
    unit[PHMBASE] = 0;
    unit[PHMBASE + 1] = 1;
    unit[PHMLIMIT] = UINT32_MAX;
    unit[PHMLIMIT + 1] = UINT32_MAX;
    unit[PMEN] = PROTECT;
    for (int i = 0; i < TRIES; i++)
        if (unit[PMEN] & PROTECTED)
            return true;
    return false;
}
