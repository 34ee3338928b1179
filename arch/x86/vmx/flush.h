/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest could read through the core's own caches and buffers is removed before each entry,
 * on CPUs that report that they need it. A table of CPUID and IA32_ARCH_CAPABILITIES bits says
 * which.
 *
 * Not needed: IBPB and RSB filling between VMs, for a CPU runs one VM from its first entry to the
 * end of the machine. Two threads of one core share caches all the time: give them to the same VM.
 */
#ifndef ARCH_X86_VMX_FLUSH_H
#define ARCH_X86_VMX_FLUSH_H

#include "arch/x86/vmx/caps.h"

enum { VMX_FLUSH_L1D = 1, VMX_CLEAR_BUFFERS = 2 };

/* Which of them this CPU needs. */
unsigned vmx_flush_needed(vmx_msr_source *msr, vmx_cpuid_source *id);

extern unsigned vmx_flush; /* boot CPU's */

void vmx_flush_now(void);

static inline void vmx_flush_before_entry(void)
{
    if (vmx_flush)
        vmx_flush_now();
}

#endif
