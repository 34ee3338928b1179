/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IDT and x2APIC of the calling vCPU. Handlers run with interrupts off, one at a time per vCPU.
 */
#ifndef GUEST_LIB_INTERRUPTS_H
#define GUEST_LIB_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, code, rip, cs, rflags, rsp, ss;
};

typedef void (*interrupt_fn)(struct interrupt_frame *frame);

/* On each vCPU once: load the IDT, turn the x2APIC on. */
void interrupts_init(void);
/* Vectors 32 to 255 are acknowledged after @fn; exceptions (below 32) without a handler end the VM.
 */
void interrupt_handler(uint8_t vector, interrupt_fn fn);

/* x2APIC */
uint32_t apic_id(void);
void apic_send(uint32_t to, uint8_t vector);
void apic_send_raw(uint64_t icr);
/* One-shot timer in @us microseconds (as far as its 32 bits reach) with @vector; 0 stops it.
 * Calibrates on first use. */
void apic_timer(uint64_t us, uint8_t vector);

/* Run @fn, which may raise an exception; returns its vector (or -1), and its error code. */
int try_exception(void (*fn)(void *), void *argument, uint64_t *code);

#endif
