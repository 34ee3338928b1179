/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the SVM backend share.
 */
#ifndef ARCH_X86_SVM_SVM_H
#define ARCH_X86_SVM_SVM_H

#include "arch/x86/svm/vmcb.h"
#include "arch/x86/vcpu.h"

#define IRET_NONE (~0ull) /* not canonical */

/* Behind vcpu.backend; the page after the VMCB. */
struct svm {
    struct vmcb *vmcb;
    uint64_t vmcb_pa, host_pa;  /* host_pa: of the CPU it is pinned to, for VMLOAD after an exit */
    uint64_t next_rip;          /* after the instruction that exited; for svm_skip */
    bool nmi_blocked;           /* from an NMI's delivery to its IRET */
    bool stepping;              /* event.c: over a MOV to CR8 */
    uint64_t step_tf, step_dr6; /* guest's RFLAGS.TF and DR6 meanwhile */
    uint64_t iret_rip;          /* that IRET, which has not retired yet; or IRET_NONE */
};

extern bool svm_has_nrips; /* hardware tells the next RIP */

/* entry.S */
void svm_enter(uint64_t reg[REGS], uint64_t vmcb_pa, uint64_t host_vmcb_pa);

/* exits.c: the exit table is the list of what is intercepted, too. */
void svm_intercepts(struct vmcb *c);
struct vcpu_exit svm_run(struct vcpu *v);

/* event.c */
bool svm_interrupt_ready(struct vcpu *v);
void svm_inject_interrupt(struct vcpu *v, uint8_t vector);
bool svm_nmi_ready(struct vcpu *v);
void svm_inject_nmi(struct vcpu *v);
bool svm_inject_exception(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code);
void svm_want_window(struct vcpu *v, uint8_t vector);
bool svm_skip(struct vcpu *v);
void svm_iret(struct vcpu *v); /* the handler of an NMI is about to return */
/* CR8 is about to be written, while an interrupt waits for it. */
void svm_cr8_write(struct vcpu *v);
/* After each exit while stepping. @return true: the exit was the step's own. */
bool svm_step_end(struct vcpu *v);
void svm_redeliver(struct vmcb *c); /* exit_event is valid: its delivery was interrupted */

#endif
