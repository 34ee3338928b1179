/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/vmx/flush.h"

#include "arch/x86/layout.h"
#include "hv/types.h"

#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_FLUSH_CMD         0x10bu
#define HAS_ARCH_CAPABILITIES (1u << 29) /* CPUID 7 EDX */

/* IA32_ARCH_CAPABILITIES (SDM 4 table 2-2) */
#define RDCL_NO        (1u << 0)
#define SKIP_L1D_FLUSH (1u << 3)
#define MDS_NO         (1u << 5)
#define FB_CLEAR       (1u << 17)

unsigned vmx_flush;

static const struct {
    unsigned action;
    uint32_t offered; /* CPUID 7 EDX: the CPU has the means, */
    uint32_t spared;  /* and is not spared by one of these, */
    uint32_t asked;   /* or asks for it by one of these */
} rows[] = {
    /* Terminal faults: a guest's own tables reach whatever the L1 cache holds. */
    { VMX_FLUSH_L1D, 1u << 28, RDCL_NO | SKIP_L1D_FLUSH, 0 },
    /* Fill and store buffers, by VERW; stale MMIO data where FB_CLEAR is told. */
    { VMX_CLEAR_BUFFERS, 1u << 10, MDS_NO, FB_CLEAR },
};

unsigned vmx_flush_needed(vmx_msr_source *msr, vmx_cpuid_source *id)
{
    uint32_t edx = id(0, 0).eax >= 7 ? id(7, 0).edx : 0;
    uint64_t says = edx & HAS_ARCH_CAPABILITIES ? msr(MSR_ARCH_CAPABILITIES) : 0;
    unsigned needed = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if ((edx & rows[i].offered) && (!(says & rows[i].spared) || (says & rows[i].asked)))
            needed |= rows[i].action;
    }
    return needed;
}

void vmx_flush_now(void)
{
    static const uint16_t selector = SEL_DATA;

    if (vmx_flush & VMX_FLUSH_L1D)
        wrmsr(MSR_FLUSH_CMD, 1); /* the buffers with it */
    else
        __asm__ volatile("verw %0" : : "m"(selector) : "cc");
}
