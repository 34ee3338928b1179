/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/trap.h"

#include <stdio.h>

#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/nmi.h"
#include "arch/x86/panic.h"
#include "hv/log.h"

enum { VECTOR_NMI = 2, VECTOR_DF = 8, VECTOR_PF = 14, VECTOR_MC = 18 };

static const struct exception {
    const char *name;
    bool error;
} exceptions[32] = {
    [0] = { "divide error", false },
    [1] = { "debug", false },
    [VECTOR_NMI] = { "non-maskable interrupt", false },
    [3] = { "breakpoint", false },
    [4] = { "overflow", false },
    [5] = { "bound range", false },
    [6] = { "invalid opcode", false },
    [7] = { "no FPU", false },
    [VECTOR_DF] = { "double fault", true },
    [10] = { "invalid TSS", true },
    [11] = { "segment not present", true },
    [12] = { "stack segment", true },
    [13] = { "general protection", true },
    [VECTOR_PF] = { "page fault", true },
    [16] = { "x87 error", false },
    [17] = { "alignment check", true },
    [VECTOR_MC] = { "machine check", false },
    [19] = { "SIMD error", false },
    [21] = { "control protection", true },
    [29] = { "VMM communication", true },
    [30] = { "security", true },
};

/* SDM 3A 6.14.1 */
struct idt_gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset16;
    uint32_t offset32, reserved;
};
static_assert(sizeof(struct idt_gate) == 16);
static_assert(offsetof(struct trap_frame, vector) == TRAP_FRAME_VECTOR);

#define VECTORS        256u
#define GATE_INTERRUPT 0x8e /* present, ring 0, interrupts off */
#define ENTRY_SIZE     16u  /* trap_entry.S */

static struct idt_gate idt[VECTORS];
extern const uint8_t trap_entries[];

void trap_init(void)
{
    static const uint8_t ist[VECTORS] = {
        [VECTOR_NMI] = IST_NMI, [VECTOR_DF] = IST_DOUBLE_FAULT, [VECTOR_MC] = IST_MACHINE_CHECK
    };

    for (unsigned i = 0; i < VECTORS; i++) {
        uint64_t entry = (uint64_t)trap_entries + i * ENTRY_SIZE;
        idt[i] = (struct idt_gate){
            .offset0 = (uint16_t)entry,
            .selector = SEL_CODE,
            .ist = ist[i],
            .type = GATE_INTERRUPT,
            .offset16 = (uint16_t)(entry >> 16),
            .offset32 = (uint32_t)(entry >> 32),
        };
    }
}

void trap_load(void)
{
    const struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } idtr = { sizeof(idt) - 1, (uint64_t)idt };

    __asm__ volatile("lidt %0" ::"m"(idtr) : "memory");
}

/* Whose guard page @address lies in; NULL: nobody's. */
static const char *guard_name(uint64_t address, unsigned *owner)
{
    static const char *const trap_name[CPU_STACK_TRAPS] = { "NMI", "double fault",
                                                            "machine check" };

    for (unsigned i = 0; i < cpu_count(); i++) {
        const struct cpu_stacks *s = cpus[i]->stacks;
        *owner = i;
        if (address - (uint64_t)s->guard < CPU_STACK_GUARD)
            return "main";
        for (unsigned t = 0; t < CPU_STACK_TRAPS; t++) {
            if (address - (uint64_t)s->trap[t].guard < CPU_STACK_GUARD)
                return trap_name[t];
        }
    }
    return NULL;
}

/* SDM 3A 4.7 */
static void explain_page_fault(const struct trap_frame *f)
{
    uint64_t address = read_cr2();
    unsigned owner;
    const char *stack = guard_name(address, &owner);

    if (stack)
        log_error("trap", "stack overflow: 0x%lx is the guard page of CPU %u's %s stack", address,
                  owner, stack);
    if (f->vector == VECTOR_PF)
        log_error("trap", "%s of 0x%lx: %s%s",
                  f->error & 16  ? "fetch"
                  : f->error & 2 ? "write"
                                 : "read",
                  address, f->error & 1 ? "not allowed by the page's rights" : "no page there",
                  f->error & 8 ? ", reserved bit set in a table" : "");
}

static void report(const struct trap_frame *f)
{
    const struct exception *e = &exceptions[f->vector];

    if (e->error)
        log_error("trap", "%s (vector %lu, error code 0x%lx) on CPU %u", e->name, f->vector,
                  f->error, cpu_index());
    else
        log_error("trap", "%s (vector %lu) on CPU %u", e->name ? e->name : "unknown exception",
                  f->vector, cpu_index());
    if (f->vector == VECTOR_PF || f->vector == VECTOR_DF)
        explain_page_fault(f);
    log_error("trap", "rip %016lx cs %04lx rflags %08lx rsp %016lx ss %04lx", f->rip, f->cs,
              f->rflags, f->rsp, f->ss);
    log_error("trap", "rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx,
              f->rdx);
    log_error("trap", "rsi %016lx rdi %016lx rbp %016lx r8  %016lx", f->rsi, f->rdi, f->rbp, f->r8);
    log_error("trap", "r9  %016lx r10 %016lx r11 %016lx r12 %016lx", f->r9, f->r10, f->r11, f->r12);
    log_error("trap", "r13 %016lx r14 %016lx r15 %016lx", f->r13, f->r14, f->r15);
    log_error("trap", "cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx", read_cr0(), read_cr2(),
              read_cr3(), read_cr4());
}

void trap_dispatch(struct trap_frame *f)
{
    if (f->vector == VECTOR_NMI) {
        if (panic_stopping())
            panic_stopped();
        nmi_seen();
        return;
    }
    panic_begin();
    report(f);
    if (f->vector == VECTOR_MC)
        machine_check_report();
    backtrace(f->rip, f->rbp);
    panic_end();
}
