/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/cpu.h"

#include <stdio.h>

#include "arch/x86/asm.h"
#include "arch/x86/trap.h"
#include "hv/log.h"

struct cpu *cpus[CPUS_MAX];
static unsigned count;

void cpu_register(struct cpu *c)
{
    cpus[c->index] = c;
    count = c->index + 1;
}

unsigned cpu_count(void)
{
    return count;
}

unsigned cpu_index(void)
{
    return this_cpu()->index;
}

void cpu_relax(void)
{
    __builtin_ia32_pause();
}

static void load_descriptors(struct cpu *c)
{
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } gdtr = { sizeof(c->gdt) - 1, (uint64_t)c->gdt };
    uint64_t tss = (uint64_t)&c->tss;

    c->tss.rsp[0] = (uint64_t)c->stacks->trap[0].guard;
    for (unsigned i = 0; i < CPU_STACK_TRAPS; i++)
        c->tss.ist[i] = (uint64_t)(c->stacks->trap[i].stack + CPU_STACK_TRAP);
    c->tss.iomap = sizeof(c->tss);

    c->gdt[SEL_CODE / 8] = GDT_CODE;
    c->gdt[SEL_DATA / 8] = GDT_DATA;
    /* 64-bit TSS, available (SDM 3A 8.2.3) */
    c->gdt[SEL_TSS / 8] =
        (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    c->gdt[SEL_TSS / 8 + 1] = tss >> 32;

    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1: mov %2, %%ds; mov %2, %%es; mov %2, %%ss\n\t"
                     "xor %%eax, %%eax; mov %%eax, %%fs; mov %%eax, %%gs\n\t"
                     "lldt %%ax\n\t"
                     "ltr %w3"
                     :
                     : "m"(gdtr), "i"(SEL_CODE), "r"(SEL_DATA), "r"(SEL_TSS)
                     : "rax", "memory");
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, (uint64_t)c);
}

/* Control bits we want, and the CPUID bit that allows each. CET is for indirect branches alone:
 * they end at ENDBR64, or in #CP. Shadow stacks are off. A guest has no CET (CR4.CET and its MSRs
 * are refused), so nothing of ours has to be swapped. */
static const struct cr4_bit {
    uint64_t bit;
    uint32_t leaf;
    uint8_t reg, shift;
    const char *guard;
} cr4_bits[] = {
    { CR4_MCE, 1, 3, 7, NULL },     { CR4_OSXSAVE, 1, 2, 26, NULL }, { CR4_SMEP, 7, 1, 7, "SMEP" },
    { CR4_SMAP, 7, 1, 20, "SMAP" }, { CR4_UMIP, 7, 2, 2, "UMIP" },   { CR4_CET, 7, 3, 20, "IBT" },
};

#define S_CET_ENDBR (1u << 2) /* track indirect branches; SDM 1 18.3 */

static bool cpu_has(const struct cr4_bit *want)
{
    if (cpuid(0, 0).eax < want->leaf)
        return false;
    struct cpuid id = cpuid(want->leaf, 0);
    const uint32_t reg[] = { id.eax, id.ebx, id.ecx, id.edx };
    return reg[want->reg] >> want->shift & 1;
}

static void control_registers(void)
{
    uint64_t cr4 = CR4_PAE;

    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++) {
        if (cpu_has(&cr4_bits[i]))
            cr4 |= cr4_bits[i].bit;
    }
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(cr4 & ~CR4_CET); /* firmware's is off before ours is on */
    if (cr4 & CR4_CET) {
        wrmsr(MSR_S_CET, S_CET_ENDBR);
        write_cr4(cr4);
    }
    wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE);
    /* The layout of reset: entry 3 (PWT, PCD) is what our tables call uncached (SDM 3A 12.12.4). */
    wrmsr(MSR_PAT, 0x0007040600070406);
}

void cpu_report(void)
{
    char text[64] = "";

    for (unsigned i = 0, n = 0; i < ARRAY_SIZE(cr4_bits); i++) {
        if (cr4_bits[i].guard && (read_cr4() & cr4_bits[i].bit))
            n += (unsigned)snprintf(text + n, sizeof(text) - n, " %s", cr4_bits[i].guard);
    }
    log_info("cpu", "guarded by%s", text[0] ? text : " nothing");
}

void cpu_init(struct cpu *c)
{
    c->self = c;
    load_descriptors(c);
    trap_load();
    control_registers();
}
