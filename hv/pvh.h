/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PVH direct boot: an ELF kernel with the note XEN_ELFNOTE_PHYS32_ENTRY is laid out in the VM's RAM
 * and entered in 32-bit mode with EBX at a start info (Xen's public/arch-x86/hvm/start_info.h,
 * version 1).
 *
 * Guest-physical places: start info, memory map, module list and command line in the page at
 * PVH_INFO; the ramdisk at the end of RAM below 3 GiB; the PC's hole is reserved, and holds the
 * ACPI tables (hv/vacpi.h).
 */
#ifndef HV_PVH_H
#define HV_PVH_H

#include "hv/bootinfo.h"
#include "hv/types.h"

#define PVH_INFO     0x1000ull
#define PVH_HOLE     0xa0000ull
#define PVH_HOLE_END 0x100000ull

struct vm;

/* Fill the VM's RAM; *entry is where to start, in 32-bit mode with EBX = PVH_INFO. The files are
 * input: every field is checked. HV_EINVAL: not such a kernel; HV_EFAULT: something does not fit
 * into RAM; the log says what, and the VM's line. Boot. */
enum hv_status pvh_load(const struct vm *vm, const struct boot_vm *config, uint64_t *entry);

#endif
