/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual local APIC of a vCPU, x2APIC only: it is in x2APIC mode from the first instruction on
 * and cannot leave it, so there is no APIC page. SDM 3A chapter 11. All functions run on the vCPU's
 * own CPU with interrupts off; other CPUs reach it through vcpu_interrupt() and vcpu_ask().
 *
 * All interrupts are edge-triggered: TMR reads as 0.
 */
#ifndef ARCH_X86_VLAPIC_H
#define ARCH_X86_VLAPIC_H

#include "arch/x86/timer.h"
#include "hv/types.h"

struct vcpu;

enum vlapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };

/* A bit per vector: eight registers as the APIC page has them, 16 bytes apart (11.4.1). */
struct vlapic_vectors {
    struct {
        uint32_t bits, unused[3];
    } word[8];
};

struct vlapic {
    struct vcpu *vcpu;
    _Atomic uint32_t svr;
    uint32_t id, esr, esr_next, lvt[LVTS];
    uint64_t icr;
    struct vlapic_vectors *irr, *isr; /* own_x, or hardware's: vlapic_use_page() */
    struct vlapic_vectors own_irr, own_isr;
    uint8_t tpr_low;        /* TPR bits 3:0; the rest is CR8, which the backend holds */
    uint32_t count, divide; /* timer: initial count; divide configuration register */
    uint64_t deadline; /* time_now() at which the count is 0, or the TSC deadline; 0: stopped */
    struct timer timer;
};

/* Power-on state. @l is zeroed memory or was in use before; its timer must not be armed. */
void vlapic_reset(struct vlapic *l, struct vcpu *v);
/* IRR and ISR are in this APIC page from now on, where hardware sees and changes them. */
void vlapic_use_page(struct vlapic *l, uint8_t *page);
/* Software-enabled: others may post to it. Any CPU. */
bool vlapic_enabled(const struct vlapic *l);
/* Nothing fires from now on. */
void vlapic_stop(struct vlapic *l);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800 to 0x8ff. @return false: #GP(0). */
bool vlapic_msr_read(struct vlapic *l, uint32_t msr, uint64_t *value);
bool vlapic_msr_write(struct vlapic *l, uint32_t msr, uint64_t value);

/* An interrupt message arrived: @vector becomes pending, if the APIC is enabled. */
void vlapic_accept(struct vlapic *l, uint8_t vector);
/* Highest pending vector, whatever holds it back; 0: none. */
uint8_t vlapic_pending(const struct vlapic *l);
/* @vector's class is above TPR (CR8) and every vector in service: it can be delivered now. */
bool vlapic_deliverable(const struct vlapic *l, uint8_t vector);
/* Nothing in service holds @vector back; TPR may. */
bool vlapic_only_tpr(const struct vlapic *l, uint8_t vector);
/* It is being delivered: from IRR to ISR. */
void vlapic_deliver(struct vlapic *l, uint8_t vector);

#endif
