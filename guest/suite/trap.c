/* SPDX-License-Identifier: BSD-2-Clause */
/* Debug traps: single steps over instructions that Sluice carries out, and guarded debug
 * registers. */
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/suite/suite.h"

#define DB          1
#define DR6_CLEAR   0xffff0ff0ull
#define DR6_GUARD   0x2000u /* BD */
#define DR6_STEP    0x4000u /* BS */
#define DR7_GUARDED 0x2400ull
#define TF          0x100ull

/* Every instruction from popfq on is followed by a trap. All but MOV and NOP leave the guest. */
void traced(void);
extern char traced_call[], traced_end[];
extern char *const traced_stops[];
__asm__(".text\n"
        "traced:\n"
        "    pushq %rbx\n"
        "    pushfq; orl $0x100, (%rsp); popfq\n"
        "    xorl %eax, %eax\n"
        "1:  cpuid\n"
        "2:  movl $0x3ff, %edx\n"
        "3:  inb %dx, %al\n"
        "4:  outb %al, %dx\n"
        "5:  movl $0x80f, %ecx\n"
        "6:  rdmsr\n"
        "7:  wrmsr\n"
        "8:  xorl %eax, %eax\n"
        "traced_call:\n"
        "    vmmcall\n"
        "9:  hlt\n"
        "10: wbinvd\n"
        "traced_end:\n"
        "    nop\n"
        "    popq %rbx\n"
        "    ret\n"
        ".section .rodata\n"
        ".align 8\n"
        "traced_stops:\n"
        ".quad 1b, 2b, 3b, 4b, 5b, 6b, 7b, 8b, traced_call, 9b, 10b, traced_end\n"
        ".text\n");

static volatile uint64_t at[16], cause[16];
static volatile unsigned traps;

static uint64_t take_cause(void)
{
    uint64_t dr6;

    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    __asm__ volatile("mov %0, %%dr6" : : "r"(DR6_CLEAR));
    return dr6;
}

static void on_step(struct interrupt_frame *f)
{
    if (traps < 16) {
        at[traps] = f->rip;
        cause[traps] = take_cause();
    }
    if (++traps >= 16 || f->rip == (uint64_t)traced_end)
        f->rflags &= ~TF;
}

static void single_steps(void)
{
    if (intel_cpu())
        traced_call[2] = (char)0xc1; /* the last byte of VMCALL */
    traps = 0;
    take_cause();
    interrupt_handler(DB, on_step);
    traced();
    interrupt_handler(DB, NULL);
    CHECK_EQUAL(traps, 12);
    for (unsigned i = 0; i < 12; i++) {
        CHECK_EQUAL(at[i], (uint64_t)traced_stops[i]);
        CHECK_EQUAL(cause[i] & (DR6_STEP | 0xf), DR6_STEP);
    }
}

/* A register that is touched while they are guarded: #DB before it, and the guard is off. */
static void on_guard(struct interrupt_frame *f)
{
    if (traps++) {
        f->rip += 3; /* over our own MOV: the guard is still on */
        return;
    }
    cause[0] = take_cause();
}

static void guarded_registers(void)
{
    uint64_t dr7;

    if (!intel_cpu())
        return; /* QEMU 11 does not know the guard */
    traps = 0;
    interrupt_handler(DB, on_guard);
    __asm__ volatile("mov %1, %%dr7; mov %%dr0, %0" : "=r"(dr7) : "r"(DR7_GUARDED));
    interrupt_handler(DB, NULL);
    CHECK_EQUAL(traps, 1);
    CHECK_EQUAL(cause[0] & DR6_GUARD, DR6_GUARD);
    __asm__ volatile("mov %%dr7, %0" : "=r"(dr7));
    CHECK_EQUAL(dr7, 0x400);
}

/* INT1 is a trap: it goes on behind itself. */
static void on_int1(struct interrupt_frame *f)
{
    at[0] = f->rip;
    traps++;
}

static void int1(void)
{
    uint64_t behind;

    traps = 0;
    interrupt_handler(DB, on_int1);
    __asm__ volatile(".byte 0xf1; lea (%%rip), %0" : "=r"(behind));
    interrupt_handler(DB, NULL);
    CHECK_EQUAL(traps, 1);
    CHECK_EQUAL(at[0], behind - 7);
}

const struct check trap_checks[] = {
    { "single_steps", single_steps },
    { "guarded_registers", guarded_registers },
    { "int1", int1 },
    { NULL, NULL },
};
