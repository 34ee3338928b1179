/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/speculation.h"

#include <stdio.h>

#include "arch/x86/cpu.h"
#include "arch/x86/layout.h"
#include "hv/log.h"

static_assert(SPECULATION_RETURNS == SPECULATION_RETURNS_BIT);

#define MSR_SPEC_CTRL         0x48u
#define MSR_PRED_CMD          0x49u
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_FLUSH_CMD         0x10bu
#define EFER_AIBRSE           (1ull << 21)

/* IA32_SPEC_CTRL */
#define CTRL_IBRS    1u
#define CTRL_STIBP   2u
#define CTRL_HISTORY (1u << 10) /* BHI_DIS_S */

/* IA32_ARCH_CAPABILITIES (SDM 4 table 2-2) */
#define RDCL_NO        (1u << 0)
#define IBRS_ALL       (1u << 1)
#define SKIP_L1D_FLUSH (1u << 3)
#define MDS_NO         (1u << 5)
#define TAA_NO         (1u << 8)
#define FB_CLEAR       (1u << 17)
#define BHI_NO         (1u << 20)
#define RFDS_CLEAR     (1u << 28)

enum { EAX, EBX, ECX, EDX };
struct bit {
    uint32_t leaf;
    uint8_t subleaf, reg, bit;
};
#define HAS_ARCH_CAPABILITIES { 7, 0, EDX, 29 }
#define HAS_IBRS              { 7, 0, EDX, 26 }
#define HAS_STIBP             { 7, 0, EDX, 27 }
#define HAS_L1D_FLUSH         { 7, 0, EDX, 28 }
#define HAS_MD_CLEAR          { 7, 0, EDX, 10 }
#define HAS_RTM               { 7, 0, EBX, 11 }
#define HAS_BHI_CTRL          { 7, 2, EDX, 4 }
#define HAS_AMD_IBPB          { 0x80000008, 0, EBX, 12 }
#define HAS_AMD_STIBP_ALWAYS  { 0x80000008, 0, EBX, 17 }
#define HAS_AMD_VERW_CLEAR    { 0x80000021, 0, EAX, 5 }
#define HAS_AMD_AUTO_IBRS     { 0x80000021, 0, EAX, 8 }

/* A row holds for a CPU that has the bits of CPUID, says all of @must, and is not spared, or asks
 * all the same. */
static const struct row {
    unsigned action;
    struct bit has, also; /* leaf 0: nothing */
    uint32_t must, spared, asked;
} rows[] = {
    /* Terminal faults: a guest's own tables reach whatever the L1 cache holds. */
    { SPECULATION_L1D, HAS_L1D_FLUSH, .spared = RDCL_NO | SKIP_L1D_FLUSH },
    /* By VERW: sampling of buffers, by transactions, of stale MMIO data, of Atom's register file.
     */
    { SPECULATION_BUFFERS, HAS_MD_CLEAR, .spared = MDS_NO, .asked = FB_CLEAR | RFDS_CLEAR },
    { SPECULATION_BUFFERS, HAS_MD_CLEAR, HAS_RTM, .spared = TAA_NO },
    { SPECULATION_BUFFERS, HAS_AMD_VERW_CLEAR },
    /* Branches that a guest has trained. */
    { SPECULATION_RETURNS, HAS_IBRS },
    { SPECULATION_RETURNS, HAS_AMD_IBPB },
    { SPECULATION_IBRS, HAS_IBRS, .must = IBRS_ALL },
    { SPECULATION_IBRS_OF_OLD, HAS_IBRS, .spared = IBRS_ALL },
    { SPECULATION_IBRS_BY_ITSELF, HAS_AMD_AUTO_IBRS },
    { SPECULATION_STIBP, HAS_STIBP, .spared = IBRS_ALL }, /* which does the same */
    { SPECULATION_STIBP, HAS_AMD_STIBP_ALWAYS },
    { SPECULATION_HISTORY, HAS_BHI_CTRL, .spared = BHI_NO },
    { SPECULATION_IBPB, HAS_IBRS },
    { SPECULATION_IBPB, HAS_AMD_IBPB },
};

uint32_t speculation;

static bool has(speculation_cpuid_source *id, struct bit b)
{
    if (!b.leaf || id(b.leaf & 0x80000000, 0).eax < b.leaf || id(b.leaf, 0).eax < b.subleaf)
        return false;
    struct cpuid r = id(b.leaf, b.subleaf);
    const uint32_t reg[] = { r.eax, r.ebx, r.ecx, r.edx };
    return reg[b.reg] >> b.bit & 1;
}

unsigned speculation_needed(speculation_msr_source *msr, speculation_cpuid_source *id)
{
    const struct bit tells = HAS_ARCH_CAPABILITIES;
    uint32_t says = has(id, tells) ? (uint32_t)msr(MSR_ARCH_CAPABILITIES) : 0;
    unsigned needed = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *r = &rows[i];

        if (has(id, r->has) && (!r->also.leaf || has(id, r->also)) && (says & r->must) == r->must &&
            (!(says & r->spared) || (says & r->asked)))
            needed |= r->action;
    }
    return needed;
}

uint64_t speculation_control(unsigned needed)
{
    return (needed & SPECULATION_IBRS ? CTRL_IBRS : 0) |
           (needed & SPECULATION_STIBP ? CTRL_STIBP : 0) |
           (needed & SPECULATION_HISTORY ? CTRL_HISTORY : 0);
}

static void report(void)
{
    static const struct {
        unsigned action;
        const char *name;
    } names[] = {
        { SPECULATION_L1D, "L1D flush" },    { SPECULATION_BUFFERS, "VERW" },
        { SPECULATION_RETURNS, "RSB" },      { SPECULATION_IBRS, "IBRS" },
        { SPECULATION_IBRS_OF_OLD, "IBRS" }, { SPECULATION_IBRS_BY_ITSELF, "AutoIBRS" },
        { SPECULATION_STIBP, "STIBP" },      { SPECULATION_HISTORY, "BHI_DIS_S" },
        { SPECULATION_IBPB, "IBPB" },
    };
    char text[80] = "";

    for (unsigned i = 0, n = 0; i < ARRAY_SIZE(names); i++) {
        if (speculation & names[i].action)
            n += (unsigned)snprintf(text + n, sizeof(text) - n, " %s", names[i].name);
    }
    log_info("cpu", "against speculation:%s", text[0] ? text : " nothing that it reports");
}

void speculation_enable(void)
{
    if (cpu_index() == 0) {
        speculation = speculation_needed(rdmsr, cpuid);
        report();
    }
    if (speculation_control(speculation))
        wrmsr(MSR_SPEC_CTRL, speculation_control(speculation));
    if (speculation & SPECULATION_IBRS_BY_ITSELF)
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_AIBRSE);
}

void speculation_new_guest(void)
{
    if (speculation & SPECULATION_IBPB)
        wrmsr(MSR_PRED_CMD, 1);
}

__attribute__((noinline)) void speculation_prepare_entry(void)
{
    static const uint16_t selector = SEL_DATA;

    if (speculation & SPECULATION_IBRS_OF_OLD)
        wrmsr(MSR_SPEC_CTRL, speculation_control(speculation));
    if (speculation & SPECULATION_L1D)
        wrmsr(MSR_FLUSH_CMD, 1); /* the buffers with it */
    else if (speculation & SPECULATION_BUFFERS)
        __asm__ volatile("verw %0" : : "m"(selector) : "cc");
}

__attribute__((noinline)) void speculation_clean_exit(void)
{
    wrmsr(MSR_SPEC_CTRL, speculation_control(speculation) | CTRL_IBRS);
}
