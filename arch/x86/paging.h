/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor's own address space, one for all CPUs. 4 levels; nothing is mapped at identity,
 * and nothing is both writable and executable.
 */
#ifndef ARCH_X86_PAGING_H
#define ARCH_X86_PAGING_H

#include "arch/x86/cpu.h"
#include "hv/types.h"

/*  0xffff800000000000  RAM and ACPI memory (BOOT_PHYS_OFFSET), read and write; our code read only
 *  0xffffc00000000000  stacks of the CPUs that we start
 *  0xffffd00000000000  device registers
 *  0xffffffff80000000  the image (linker.ld) */
#define PAGING_STACKS    0xffffc00000000000ull
#define PAGING_MMIO      0xffffd00000000000ull
#define PAGING_MMIO_SIZE (1ull << 40)

/* The boot CPU's stacks, in the image; their guard pages go away with arch_paging_init(). */
extern struct cpu_stacks boot_stacks;

/* Stacks for CPU @index, with pages from the pool. NULL: no memory. */
struct cpu_stacks *paging_stacks(unsigned index);

/* For CR3. */
paddr_t paging_root(void);

#endif
