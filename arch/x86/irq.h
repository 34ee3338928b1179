/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Host interrupts. Sluice runs with interrupts off; they are taken in the two functions below and
 * nowhere else, so a handler never finds a lock held. A handler has its end-of-interrupt already
 * sent.
 */
#ifndef ARCH_X86_IRQ_H
#define ARCH_X86_IRQ_H

#include <stdint.h>

enum {
    VECTOR_DEVICE_FIRST = 0x30, /* irq_alloc_on(): each CPU has its own. Below all others, so that
                                   a guest's device holds none of them back */
    VECTOR_DEVICE_LAST = 0xcf,
    VECTOR_IRQ_FIRST = 0xd0, /* irq_alloc() */
    VECTOR_IRQ_LAST = 0xef,
    VECTOR_TIMER = 0xf0,
    VECTOR_KICK = 0xf1,     /* has no work of its own: ends hlt, or leaves a guest */
    VECTOR_POSTED = 0xf2,   /* the guest's: something is posted (vcpu.c) */
    VECTOR_NMI_SEEN = 0xf3, /* nmi.c */
    VECTOR_APIC_ERROR = 0xfe,
    VECTOR_SPURIOUS = 0xff,
};

/* Take what is pending. Call with interrupts off; with SVM after STGI. */
static inline void irq_window(void)
{
    __asm__ volatile("sti; nop; cli" ::: "memory");
}

/* Sleep until an interrupt comes, and take it. Whoever calls has looked for work with interrupts
 * off: a kick since then ends the sleep at once (STI holds interrupts off for one instruction). */
static inline void cpu_idle(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

/* Interrupt another CPU: after this its next look at shared memory sees what we stored before. */
void cpu_kick(unsigned cpu);

/* Boot, for the vectors above that are not irq_alloc()'s. */
void irq_handle(unsigned vector, void (*fn)(void *ctx), void *ctx);

/* From the common entry (trap_entry.S), for vectors 32 to 255. */
void irq_dispatch(unsigned vector);

#endif
