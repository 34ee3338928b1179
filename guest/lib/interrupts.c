/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/interrupts.h"

#include "guest/lib/cpu.h"
#include "guest/lib/runtime.h"

/* x2APIC registers are MSRs (SDM 3A 11.12). */
#define MSR_APIC_BASE  0x1b
#define APIC_ENABLE    0xc00ull /* global enable, x2APIC mode */
#define X2APIC_ID      0x802
#define X2APIC_EOI     0x80b
#define X2APIC_SVR     0x80f
#define X2APIC_ICR     0x830
#define X2APIC_TIMER   0x832
#define X2APIC_INITIAL 0x838
#define X2APIC_CURRENT 0x839
#define X2APIC_DIVIDE  0x83e
#define SPURIOUS       0xffu
#define MASKED         0x10000u

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, reserved;
};

extern char interrupt_stubs[];
static struct gate idt[256];
static interrupt_fn handlers[256];
static uint64_t timer_per_us;

/* Where try_exception goes on; one at a time. */
static struct {
    bool armed;
    int vector;
    uint64_t code, rip, rsp, rbp;
} attempt;

void interrupt_dispatch(struct interrupt_frame *f);

static void back_to_attempt(struct interrupt_frame *f)
{
    attempt.armed = false;
    attempt.vector = (int)f->vector;
    attempt.code = f->code;
    f->rip = attempt.rip;
    f->rsp = attempt.rsp;
    f->rbp = attempt.rbp;
}

void interrupt_dispatch(struct interrupt_frame *f)
{
    uint8_t vector = (uint8_t)f->vector;

    if (vector < 32) {
        if (handlers[vector])
            handlers[vector](f);
        else if (attempt.armed)
            back_to_attempt(f);
        else
            fail("exception %u, code %lx, at %lx", vector, f->code, f->rip);
        return;
    }
    if (handlers[vector])
        handlers[vector](f);
    if (vector != SPURIOUS)
        wrmsr(X2APIC_EOI, 0);
}

int try_exception(void (*fn)(void *), void *argument, uint64_t *code)
{
    attempt.vector = -1;
    attempt.armed = true;
    /* The callee-saved registers that the handler does not put back are declared lost. */
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, %[rip]\n\t"
                     "movq %%rsp, %[rsp]\n\t"
                     "movq %%rbp, %[rbp]\n\t"
                     "callq *%[fn]\n"
                     "1:"
                     : [rip] "=m"(attempt.rip), [rsp] "=m"(attempt.rsp), [rbp] "=m"(attempt.rbp),
                       "+D"(argument), [fn] "+S"(fn)
                     :
                     : "rax", "rcx", "rdx", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "memory", "cc");
    attempt.armed = false;
    if (code)
        *code = attempt.code;
    return attempt.vector;
}

void interrupts_init(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = { sizeof(idt) - 1, (uint64_t)idt };

    for (unsigned v = 0; v < 256; v++) {
        uint64_t stub = (uint64_t)interrupt_stubs + 16 * v;

        idt[v] = (struct gate){ (uint16_t)stub,         8, 0x8e00, (uint16_t)(stub >> 16),
                                (uint32_t)(stub >> 32), 0 };
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_ENABLE);
    wrmsr(X2APIC_SVR, 0x100 | SPURIOUS);
}

void interrupt_handler(uint8_t vector, interrupt_fn fn)
{
    handlers[vector] = fn;
}

uint32_t apic_id(void)
{
    return (uint32_t)rdmsr(X2APIC_ID);
}

void apic_send_raw(uint64_t icr)
{
    wrmsr(X2APIC_ICR, icr);
}

void apic_send(uint32_t to, uint8_t vector)
{
    apic_send_raw((uint64_t)to << 32 | vector);
}

void apic_timer(uint64_t us, uint8_t vector)
{
    wrmsr(X2APIC_DIVIDE, 0xb); /* by 1 */
    if (!timer_per_us) {
        uint64_t start;

        wrmsr(X2APIC_TIMER, MASKED | vector);
        wrmsr(X2APIC_INITIAL, 0xffffffff);
        start = rdtsc();
        while (rdtsc() - start < 2000 * ticks_per_us())
            pause_once();
        /* Over the time that has passed, which may be more than was asked for. */
        timer_per_us = (0xffffffff - rdmsr(X2APIC_CURRENT)) / ((rdtsc() - start) / ticks_per_us());
        if (!timer_per_us)
            timer_per_us = 1;
    }
    wrmsr(X2APIC_TIMER, vector);
    wrmsr(X2APIC_INITIAL, us * timer_per_us < 0xffffffff ? us * timer_per_us : 0xffffffff);
}
