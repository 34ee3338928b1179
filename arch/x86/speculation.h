/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keeps guests from reading, through the predictors, caches and buffers of a core, what is not
 * theirs. A table of CPUID and IA32_ARCH_CAPABILITIES bits says what a CPU needs; what it does not
 * report is not done.
 *
 * A CPU runs one VM from its first entry to the end of the machine, so predictors are emptied once,
 * at that entry. Two threads of one core share caches all the time: give them to the same VM.
 */
#ifndef ARCH_X86_SPECULATION_H
#define ARCH_X86_SPECULATION_H

#include <stdint.h>

#include "arch/x86/asm.h"

enum {
    SPECULATION_L1D = 1u << 0,            /* before an entry: flush the L1 data cache */
    SPECULATION_BUFFERS = 1u << 1,        /* before an entry: clear fill and store buffers */
    SPECULATION_RETURNS = 1u << 2,        /* after an exit: fill the return stack; guest_left.S */
    SPECULATION_IBRS = 1u << 3,           /* on for good: ours does not follow a guest's branches */
    SPECULATION_IBRS_OF_OLD = 1u << 4,    /* the same, to be asked for after each exit */
    SPECULATION_IBRS_BY_ITSELF = 1u << 5, /* the same, AMD */
    SPECULATION_STIBP = 1u << 6,          /* the other thread's branches count neither */
    SPECULATION_HISTORY = 1u << 7,        /* nor does the history of a guest's branches */
    SPECULATION_IBPB = 1u << 8,           /* at the first entry of a VM: empty the predictors */
    SPECULATION_ON_THE_WAY = SPECULATION_L1D | SPECULATION_BUFFERS | SPECULATION_IBRS_OF_OLD,
};

typedef uint64_t speculation_msr_source(uint32_t msr);
typedef struct cpuid speculation_cpuid_source(uint32_t leaf, uint32_t subleaf);

/* Which of them a CPU needs. */
unsigned speculation_needed(speculation_msr_source *msr, speculation_cpuid_source *id);
/* What IA32_SPEC_CTRL holds while a guest runs. */
uint64_t speculation_control(unsigned needed);

/* Each CPU, once, before its first guest; the boot CPU first: its needs are everybody's. */
void speculation_enable(void);
/* The calling CPU gets another VM. */
void speculation_new_guest(void);

extern uint32_t speculation; /* those of the boot CPU */
void speculation_prepare_entry(void);
void speculation_clean_exit(void);

/* Around a guest: last before the entry, first after the exit. */
static inline void speculation_before_entry(void)
{
    if (speculation & SPECULATION_ON_THE_WAY)
        speculation_prepare_entry();
}

static inline void speculation_after_exit(void)
{
    if (speculation & SPECULATION_IBRS_OF_OLD)
        speculation_clean_exit();
}

#endif
