/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest sees through CPUID: a table of what passes, leaf by leaf; everything else reads as
 * 0.
 */
#ifndef ARCH_X86_CPUID_POLICY_H
#define ARCH_X86_CPUID_POLICY_H

#include "arch/x86/asm.h"

/* Whose CPUID it is. */
struct cpuid_view {
    uint32_t index, nvcpus; /* index = x2APIC id */
    bool osxsave;           /* its CR4.OSXSAVE */
    uint32_t features;      /* enum hc_feature */
    bool vmmcall;
    uint32_t tsc_khz;
};

struct cpuid cpuid_policy(const struct cpuid_view *view, uint32_t leaf, uint32_t subleaf);

/* For the test: the policy on values of hardware given by the caller. */
typedef struct cpuid cpuid_source(uint32_t leaf, uint32_t subleaf);
struct cpuid cpuid_filter(const struct cpuid_view *view, cpuid_source *hardware, uint32_t leaf,
                          uint32_t subleaf);

#endif
