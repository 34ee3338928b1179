/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers that assembly and C share. Only defines; cpu.h and smp.c assert those that follow from C.
 */
#ifndef ARCH_X86_LAYOUT_H
#define ARCH_X86_LAYOUT_H

#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS  0x18

#define GDT_CODE 0x00af9b000000ffff /* 64-bit, ring 0, accessed */
#define GDT_DATA 0x00cf93000000ffff

#define CPU_STACK_GUARD 4096
#define CPU_STACK_MAIN  16384
#define CPU_STACK_TRAP  8192
#define CPU_STACK_TRAPS 3                                  /* NMI, double fault, machine check */
#define CPU_MAIN_TOP    (CPU_STACK_GUARD + CPU_STACK_MAIN) /* in struct cpu_stacks */

#define SPECULATION_RETURNS_BIT 4 /* in speculation */

#define TRAP_FRAME_VECTOR 120 /* in struct trap_frame */

/* The trampoline's page, below 1 MiB: code from 0, its data at the end. Three page tables follow
 * it. */
#define TRAMPOLINE_PAGES 4
#define TRAMPOLINE_DATA  0xfc0
#define TRAMPOLINE_CR3   (TRAMPOLINE_DATA + 0)  /* 32 bits: below 4 GiB */
#define TRAMPOLINE_GDTR  (TRAMPOLINE_DATA + 6)  /* 16 and 32 bits */
#define TRAMPOLINE_JUMP  (TRAMPOLINE_DATA + 12) /* far pointer, 32 and 16 bits */
#define TRAMPOLINE_GDT   (TRAMPOLINE_DATA + 24) /* three descriptors */

#endif
