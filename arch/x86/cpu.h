/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each CPU has of its own: descriptors, stacks, timers. Found through the GS base, which is
 * ours whenever host code runs (a backend restores it before anything can trap).
 */
#ifndef ARCH_X86_CPU_H
#define ARCH_X86_CPU_H

#include <stddef.h>

#include "arch/x86/layout.h"
#include "arch/x86/timer.h"
#include "hv/platform.h"

enum { IST_NMI = 1, IST_DOUBLE_FAULT = 2, IST_MACHINE_CHECK = 3 };

/* Each stack grows down to a page that is never mapped. */
struct cpu_stacks {
    uint8_t guard[CPU_STACK_GUARD];
    uint8_t main[CPU_STACK_MAIN];
    struct {
        uint8_t guard[CPU_STACK_GUARD];
        uint8_t stack[CPU_STACK_TRAP];
    } trap[CPU_STACK_TRAPS]; /* IST 1 to 3 */
};
static_assert(offsetof(struct cpu_stacks, trap) == CPU_MAIN_TOP);

/* SDM 3A 8.7 */
struct [[gnu::packed]] cpu_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iomap;
};

struct vcpu;

struct cpu {
    struct cpu *self; /* first: %gs:0 */
    unsigned index;
    uint32_t apic_id;
    struct cpu_stacks *stacks;
    struct vcpu *_Atomic vcpu; /* pinned here; NULL: none. For arch/x86/vcpu.c */
    struct timer *timers;      /* armed ones; arch/x86/timer.c */
    _Atomic bool online, stopped;
    _Atomic unsigned nmis; /* that nobody asked for */
    uint64_t gdt[5];
    struct cpu_tss tss;
};

/* By index; NULL from cpu_count() on. */
extern struct cpu *cpus[CPUS_MAX];

static inline struct cpu *this_cpu(void)
{
    struct cpu *c;

    __asm__("mov %%gs:0, %0" : "=r"(c));
    return c;
}

/* Load descriptors, GS base and control registers of the calling CPU. @c: index and stacks are set.
 */
void cpu_init(struct cpu *c);
/* Into the log: what guards this CPU's own code. */
void cpu_report(void);
/* Make @c known: cpu_count() counts it. Boot CPU only, in order of index. */
void cpu_register(struct cpu *c);

#endif
