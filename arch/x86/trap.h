/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions of the hypervisor itself. There is none that it survives, but an NMI (nmi.h) that is
 * not the one that stops a CPU.
 */
#ifndef ARCH_X86_TRAP_H
#define ARCH_X86_TRAP_H

#include <stdint.h>

/* As trap_entry.S leaves it on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* Fill the IDT. Once, before any trap_load(). */
void trap_init(void);
/* Use it on the calling CPU. */
void trap_load(void);

/* From trap_entry.S, vectors 0 to 31. */
void trap_dispatch(struct trap_frame *frame);

#endif
