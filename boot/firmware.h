/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loader uses of UEFI: console, files of the volume it was started from, memory.
 */
#ifndef BOOT_FIRMWARE_H
#define BOOT_FIRMWARE_H

#include <efi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/bootinfo.h"

#define PAGE  4096ull
#define LARGE 0x200000ull

extern EFI_HANDLE firmware_image;
extern EFI_SYSTEM_TABLE *firmware_table;

/* Print to the firmware's console: %s string, %u decimal, %x hexadecimal (both uint64_t), %%. */
void say(const char *format, ...);
/* One key press, for a person who should read first. */
void wait_for_key(void);

/* Read a whole file of the boot volume into fresh pages. @path: with \, from the root. False: not
 * there or not readable; @why is a word for the message. */
bool file_read(const char *path, struct boot_file *out, const char **why);

/* Take @size bytes of RAM (a multiple of @align, which is a power of two, 4 KiB or more), zeroed.
 * Returns 0 if there is no such piece. The memory stays taken after boot services. */
uint64_t memory_take(uint64_t size, uint64_t align);
/* The same at a given place. */
bool memory_take_at(uint64_t base, uint64_t size);
void zero(uint64_t base, uint64_t size);
void copy(void *to, const void *from, uint64_t size);

/* Leave boot services; after that nothing of this header may be used but zero and copy. Fills the
 * memory map of @info. */
bool firmware_leave(struct bootinfo *info);

#endif
