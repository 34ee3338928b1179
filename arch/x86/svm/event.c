/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts, exceptions and NMIs into the guest: one event per entry, through the VMCB's event
 * field (APM 2 15.20). Exits that interrupt a delivery hand the event back, and it is delivered
 * again.
 */
#include "arch/x86/guest_state.h"
#include "arch/x86/svm/svm.h"

#define SHADOW    1ull
#define DR6_CLEAR 0xffff0ff0ull
#define DR6_HIT   0x000full
#define DR6_STEP  0x4000ull

enum { VECTOR_DB = 1, VECTOR_BP = 3, VECTOR_OF = 4, VECTOR_DF = 8 };

static struct vmcb *vmcb_of(struct vcpu *v)
{
    return ((struct svm *)v->backend)->vmcb;
}

/* While it steps nothing goes in: the handler's frame would hold our trap flag. */
bool svm_interrupt_ready(struct vcpu *v)
{
    const struct svm *s = v->backend;
    const struct vmcb *c = s->vmcb;

    return !s->stepping && !(c->event & EVENT_VALID) && (c->rflags & RFLAGS_IF) &&
           !(c->interrupt_shadow & SHADOW);
}

void svm_inject_interrupt(struct vcpu *v, uint8_t vector)
{
    vmcb_of(v)->event = EVENT_VALID | EVENT_INTERRUPT | vector;
}

/* An NMI is masked until IRET has retired. That exit comes before the instruction; the window exit
 * it asks for comes after it. */
bool svm_nmi_ready(struct vcpu *v)
{
    const struct svm *s = v->backend;

    return !s->stepping && !(s->vmcb->event & EVENT_VALID) && !s->nmi_blocked &&
           s->iret_rip != v->rip;
}

void svm_inject_nmi(struct vcpu *v)
{
    struct svm *s = v->backend;

    s->vmcb->event = EVENT_VALID | EVENT_NMI | 2;
    s->vmcb->intercept[(VMEXIT_IRET - 0x60) / 32] |= 1u << (VMEXIT_IRET - 0x60) % 32;
    s->nmi_blocked = true;
    s->iret_rip = IRET_NONE;
}

void svm_iret(struct vcpu *v)
{
    struct svm *s = v->backend;

    s->vmcb->intercept[(VMEXIT_IRET - 0x60) / 32] &= ~(1u << (VMEXIT_IRET - 0x60) % 32);
    s->nmi_blocked = false;
    s->iret_rip = v->rip;
    s->vmcb->interrupt_shadow = SHADOW; /* IRET retires before the window opens */
    s->vmcb->virtual_interrupt |= VINTR_PENDING | VINTR_IGNORE_TPR;
}

/* For IF and the interrupt shadow: a virtual interrupt that is never taken, but exits as soon as it
 * could be. For CR8: its writes exit. (Hardware would compare V_TPR with the virtual interrupt's
 * priority at a write; QEMU 11 compares with >= where hardware does with >, and aborts.) */
void svm_want_window(struct vcpu *v, uint8_t vector)
{
    const struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;

    if (s->stepping)
        return; /* its end asks again */
    c->virtual_interrupt &= ~VINTR_PENDING;
    c->intercept_cr &= ~INTERCEPT_CR8_WRITE;
    if (vector)
        c->intercept_cr |= INTERCEPT_CR8_WRITE;
    /* An NMI that another one masks has the exit at IRET. */
    if ((v->nmi_pending && !s->nmi_blocked) || vector >> 4 > (c->virtual_interrupt & VINTR_TPR))
        c->virtual_interrupt |= VINTR_PENDING | VINTR_IGNORE_TPR;
}

/* Which register holds the value only decode assists would tell, so the guest executes the
 * instruction itself, and the trap flag brings it back right after. TF is the guest's own again at
 * the next exit, whichever that is. */
void svm_cr8_write(struct vcpu *v)
{
    struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;

    c->virtual_interrupt &= ~VINTR_PENDING;
    c->intercept_cr &= ~INTERCEPT_CR8_WRITE;
    s->stepping = true;
    s->step_tf = c->rflags & RFLAGS_TF;
    s->step_dr6 = c->dr6;
    c->rflags |= RFLAGS_TF;
    c->dr6 = DR6_CLEAR;
}

bool svm_step_end(struct vcpu *v)
{
    struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;
    uint64_t hit = c->dr6 & (DR6_HIT | (s->step_tf ? DR6_STEP : 0)); /* what the guest is to see */

    s->stepping = false;
    c->rflags = (c->rflags & ~RFLAGS_TF) | s->step_tf;
    c->dr6 = hit ? s->step_dr6 | hit : s->step_dr6;
    atomic_store_explicit(&v->kicked, true, memory_order_relaxed); /* see what can be delivered */
    return c->exit_code == VMEXIT_EXCEPTION + VECTOR_DB && !hit;
}

/* Of those that hardly any guest's instruction has. */
__attribute__((noinline)) static bool skip_flags(struct vmcb *c)
{
    c->rflags &= ~RFLAGS_RF;
    if (c->rflags & RFLAGS_TF)
        c->dr6 |= DR6_STEP;
    return c->rflags & RFLAGS_TF;
}

/* VMRUN does not mind a RIP beyond 32 bits (APM 2 15.5.1); 32-bit code ignores them. */
bool svm_skip(struct vcpu *v)
{
    struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;

    v->rip = s->next_rip;
    c->interrupt_shadow = 0;
    return __builtin_expect(c->rflags & (RFLAGS_TF | RFLAGS_RF), 0) ? skip_flags(c) : false;
}

bool svm_inject_exception(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code)
{
    struct vmcb *c = vmcb_of(v);

    if ((c->event & (EVENT_VALID | EVENT_TYPE)) == (EVENT_VALID | EVENT_EXCEPTION)) {
        enum exceptions both = exceptions_combine(c->event & EVENT_VECTOR, vector);

        if (both == EXCEPTIONS_SHUTDOWN)
            return false;
        if (both == EXCEPTIONS_DOUBLE_FAULT) {
            vector = VECTOR_DF;
            has_code = true;
            code = 0;
        }
    }
    /* An interrupt that was being delivered is lost, as on bare metal: it was acknowledged. */
    c->event = EVENT_VALID | EVENT_EXCEPTION | vector;
    if (has_code)
        c->event |= EVENT_HAS_CODE | (uint64_t)code << EVENT_CODE_SHIFT;
    return true;
}

void svm_redeliver(struct vmcb *c)
{
    unsigned vector = c->exit_event & EVENT_VECTOR;
    uint64_t type = c->exit_event & EVENT_TYPE;

    /* INT n, INT3 and INTO: RIP is still at the instruction, which runs again. */
    if (type == EVENT_SOFTWARE ||
        (type == EVENT_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF)))
        return;
    c->event = c->exit_event;
}
