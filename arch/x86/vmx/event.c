/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts, exceptions and NMIs into the guest: one event per entry, through the VMCS (SDM
 * 3C 27.6). Exits that interrupt a delivery hand the event back, and it is delivered again.
 */
#include "arch/x86/guest_state.h"
#include "arch/x86/vmx/vmx.h"

enum { VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_DF = 8 };

bool vmx_interrupt_ready(struct vcpu *v)
{
    const struct vmx *s = v->backend;

    return !(s->event & EVENT_VALID) && (vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
           !(vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
}

void vmx_inject_interrupt(struct vcpu *v, uint8_t vector)
{
    ((struct vmx *)v->backend)->event = EVENT_VALID | EVENT_INTERRUPT | vector;
}

/* With virtual NMIs hardware knows that one is being handled: until the guest's IRET. */
bool vmx_nmi_ready(struct vcpu *v)
{
    const struct vmx *s = v->backend;

    return !(s->event & EVENT_VALID) && !(vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) &
                                          (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS | BLOCKED_BY_NMI));
}

void vmx_inject_nmi(struct vcpu *v)
{
    ((struct vmx *)v->backend)->event = EVENT_VALID | EVENT_NMI | VECTOR_NMI;
}

bool vmx_inject_exception(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code)
{
    struct vmx *s = v->backend;

    if ((s->event & (EVENT_VALID | EVENT_TYPE)) == (EVENT_VALID | EVENT_EXCEPTION)) {
        enum exceptions both = exceptions_combine(s->event & EVENT_VECTOR, vector);

        if (both == EXCEPTIONS_SHUTDOWN)
            return false;
        if (both == EXCEPTIONS_DOUBLE_FAULT) {
            vector = VECTOR_DF;
            has_code = true;
            code = 0;
        }
    }
    /* In real mode there are no error codes, and an entry with one is refused (27.2.1.3). */
    if (!(vmcs_read(VMCS_GUEST_CR0) & 1))
        has_code = false;
    /* An interrupt that was being delivered is lost, as it is on bare metal: it was acknowledged.
     */
    s->event = EVENT_VALID | EVENT_EXCEPTION | vector | (has_code ? EVENT_HAS_CODE : 0);
    s->event_code = code & 0xffff;
    if (vector == VECTOR_DB && s->int1_length) {
        s->event = EVENT_VALID | EVENT_INT1 | vector; /* it returns to behind the INT1 */
        s->event_length = s->int1_length;
    }
    /* What is delivered ends the shadow of STI and of MOV SS. */
    vmcs_clear(VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    return true;
}

static void set_windows(struct vmx *s, uint32_t windows)
{
    uint32_t primary = (s->primary & ~(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW)) | windows;

    if (primary != s->primary) {
        s->primary = primary;
        vmcs_write(VMCS_PRIMARY_CONTROLS, primary);
    }
}

/* For IF and the shadows: exiting as soon as they are open. For CR8: exiting as soon as it is below
 * the class of the vector (29.1.2). For an NMI: exiting when none is being handled; but right after
 * STI that one may come at once, and again, so it is the other window then, which is open next.
 * Interrupts that wait beside an NMI have their turn when it is in. */
void vmx_want_window(struct vcpu *v, uint8_t vector)
{
    struct vmx *s = v->backend;
    uint32_t windows = 0, threshold = 0;

    if (v->nmi_pending)
        windows = vmcs_read(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKED_BY_STI ? PRIMARY_INTERRUPT_WINDOW
                                                                          : PRIMARY_NMI_WINDOW;
    if (vector >> 4 > vmx_tpr_class(s))
        windows |= PRIMARY_INTERRUPT_WINDOW;
    else
        threshold = vector >> 4;
    set_windows(s, windows);
    vmcs_write(VMCS_TPR_THRESHOLD, threshold);
}

void vmx_put_event(struct vmx *s)
{
    if (!(s->event & EVENT_VALID))
        return;
    vmcs_write(VMCS_ENTRY_EVENT, s->event);
    vmcs_write(VMCS_ENTRY_ERROR_CODE, s->event_code);
    vmcs_write(VMCS_ENTRY_LENGTH, s->event_length);
    s->event = 0;
}

/* INT n, INT1, INT3 and INTO: RIP is still at the instruction, which runs again. */
void vmx_take_event(struct vmx *s)
{
    uint32_t event = (uint32_t)vmcs_read(VMCS_VECTORING_EVENT);
    uint32_t type = event & EVENT_TYPE;

    if (!(event & EVENT_VALID) || type > EVENT_EXCEPTION)
        return;
    s->event = event & (EVENT_VALID | EVENT_TYPE | EVENT_HAS_CODE | EVENT_VECTOR);
    if (event & EVENT_HAS_CODE)
        s->event_code = (uint32_t)vmcs_read(VMCS_VECTORING_ERROR_CODE);
    /* It is not being handled yet; its delivery will block others (27.2.1.3). */
    if (type == EVENT_NMI)
        vmcs_clear(VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
}
