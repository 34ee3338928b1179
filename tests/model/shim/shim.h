/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of the shim share: the firmware's tables, printing, the unit that was found.
 */
#ifndef TESTS_MODEL_SHIM_SHIM_H
#define TESTS_MODEL_SHIM_SHIM_H

#include <efi.h>
#include <stdbool.h>
#include <stdint.h>

extern EFI_SYSTEM_TABLE *system_table;

/* %s: char *, %x: uint64_t in hexadecimal; %r: EFI_STATUS. */
void say(const char *format, ...);

struct shim_options {    /* words in \EFI\sluice\shim.cfg of the shim's volume */
    bool no_dmar;        /* "no-dmar": install no table */
    bool no_intr_remap;  /* "no-intr-remap": DMAR flag INTR_REMAP clear */
    bool x2apic_opt_out; /* "x2apic-opt-out": DMAR flag X2APIC_OPT_OUT set */
    bool left_running;   /* "left-running": translation on, and the first accelerator at work */
    bool protected;      /* "protected": the unit's protected memory ranges on, over all memory */
    bool rmrr;           /* "rmrr": firmware goes on using memory through the first accelerator */
};

/* Find the unit's function, enable its memory decoding and bus mastering, and return the address of
 * its registers; 0: there is none. */
uint64_t unit_find(uint16_t *rid);

uint32_t config_read(uint16_t rid, uint32_t reg);
void config_write(uint16_t rid, uint32_t reg, uint32_t value);

/* Turn the translation of the unit at @registers on, with everything passing through, and start a
 * DMA of the accelerator at 00:04.0 that takes long. False: it did not come on. */
bool leave_running(uint64_t registers);

/* Protect all memory from the devices of the unit at @registers. False: it did not come on, or the
 * unit has no protected ranges, low and high. */
bool leave_protected(uint64_t registers);

/* Two pages, in the middle of four that the memory map calls reserved, that firmware goes on using
 * through the accelerator at 00:04.0. Every word of them is its own address. */
#define FIRMWARE_MEMORY UINT64_C(0x7001000)
#define FIRMWARE_BYTES  UINT64_C(0x2000)

/* Make and install a DMAR table with one unit at @registers that covers the whole segment. */
EFI_STATUS dmar_install(uint64_t registers, const struct shim_options *options);

/* Read the options of the volume that the shim was started from. */
void options_read(EFI_HANDLE volume, struct shim_options *options);
/* Start the loader; returns only if it could not be started, or came back. */
EFI_STATUS loader_start(EFI_HANDLE image, EFI_HANDLE volume);

#endif
