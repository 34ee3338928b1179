/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the VMX backend share.
 */
#ifndef ARCH_X86_VMX_VMX_H
#define ARCH_X86_VMX_VMX_H

#include "arch/x86/vcpu.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/vmcs.h"

#define VMX_GUEST_VPID 1u /* 0 is the host's; a CPU has one guest */

/* Behind vcpu.backend. The VMCS is its CPU's: a CPU runs one vCPU, so it is loaded once and stays.
 */
struct vmx {
    uint8_t *apic_page; /* virtual-APIC page (SDM 3C 29.1); its TPR is CR8 */
    uint64_t apic_page_pa;
    uint32_t primary;                         /* the control's value: windows come and go */
    uint32_t event, event_code, event_length; /* for the next entry; EVENT_VALID or nothing */
    uint32_t int1_length; /* the exit was #DB of an INT1 of this length; 0: not so */
    bool loaded, launched;
};

extern struct vmx_caps vmx_caps;
extern struct vmx_setup vmx_setup;

/* entry.S. @return 0: an exit; 1: VMfailInvalid; 2: VMfailValid. */
unsigned vmx_enter(uint64_t reg[REGS], bool launched);
void vmx_exit(void); /* where exits come out, on the stack of vmx_enter() */

/* bitmaps.c; physical, 0: not made yet. */
extern uint64_t vmx_io_bitmaps, vmx_msr_bitmap;
enum hv_status vmx_make_bitmaps(void); /* once made, it does nothing */

/* state.c: what the VMCS holds. */
void vmx_load(struct vcpu *v, uint64_t vmcs);
void vmx_guest_state(const struct vcpu_start *start);

/* exits.c */
struct vcpu_exit vmx_run(struct vcpu *v);

/* control_regs.c: bits of CR0 and CR4 that are not the guest's alone, and writes that change one.
 * In effect CR0.NE is 1, as VMX wants it, and the caches are on, for CD would slow the whole core
 * down. */
#define CR0_NW        0x20000000ull
#define CR0_CD        0x40000000ull
#define VMX_CR0_OWNED (CR0_NE | CR0_NW | CR0_CD)
uint64_t vmx_cr4_owned(void);
enum vcpu_exit_kind vmx_cr_access(struct vcpu *v, uint64_t qualification);

/* step.c */
bool vmx_skip(struct vcpu *v);
/* #DB with these bits of DR6 is about to be delivered by us: hardware has set neither them in DR6,
 * which is the guest's, nor cleared DR7.GD (28.1). */
void vmx_debug_hit(uint64_t hit);

/* event.c */
bool vmx_interrupt_ready(struct vcpu *v);
void vmx_inject_interrupt(struct vcpu *v, uint8_t vector);
bool vmx_nmi_ready(struct vcpu *v);
void vmx_inject_nmi(struct vcpu *v);
bool vmx_inject_exception(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code);
void vmx_want_window(struct vcpu *v, uint8_t vector);
void vmx_put_event(struct vmx *s);  /* before an entry: into the VMCS */
void vmx_take_event(struct vmx *s); /* after an exit: what it interrupted is delivered again */

/* VTPR, at 80h of the page; 29.1.1 */
static inline uint8_t vmx_tpr_class(const struct vmx *s)
{
    return s->apic_page[0x80] >> 4;
}

#endif
