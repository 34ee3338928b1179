/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checks of an entry (SDM 3C 27.2, 27.3) that a guest's doing or a mistake of ours could fail,
 * each as a predicate on the VMCS.
 */
#include "arch/x86/asm.h"
#include "arch/x86/guest_state.h"
#include "arch/x86/vmx/failure.h"
#include "hv/types.h"

#define RFLAGS_VM 0x20000u
#define CR4_PCIDE 0x20000ull
#define UNUSABLE  0x10000u
#define RIGHTS_S  0x10u
#define RIGHTS_P  0x80u
#define RIGHTS_L  0x2000u
#define RIGHTS_DB 0x4000u
#define RIGHTS_G  0x8000u

struct view {
    const struct vmx_caps *caps;
    vmx_field_source *read;
};

static bool long_mode(const struct view *w)
{
    return w->read(VMCS_ENTRY_CONTROLS) & ENTRY_LONG_MODE;
}

static uint32_t event_of(const struct view *w)
{
    uint32_t event = (uint32_t)w->read(VMCS_ENTRY_EVENT);

    return event & EVENT_VALID ? event : 0;
}

static bool event_type_is(const struct view *w, uint32_t type)
{
    return event_of(w) && (event_of(w) & EVENT_TYPE) == type;
}

/* --- Controls, 27.2.1 ------------------------------------------------------------------------- */

static bool event_vector(const struct view *w)
{
    uint32_t vector = event_of(w) & EVENT_VECTOR;

    return !(event_type_is(w, EVENT_NMI) && vector != 2) &&
           !(event_type_is(w, EVENT_EXCEPTION) && vector > 31);
}

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP */
static bool event_code(const struct view *w)
{
    const uint32_t with_code = 0x00227d00;

    if (!(event_of(w) & EVENT_HAS_CODE))
        return true;
    return event_type_is(w, EVENT_EXCEPTION) && (w->read(VMCS_GUEST_CR0) & CR0_PE) &&
           (with_code >> (event_of(w) & 31) & 1) && w->read(VMCS_ENTRY_ERROR_CODE) <= 0xffff;
}

static bool eptp(const struct view *w)
{
    uint64_t value = w->read(VMCS_EPTP);

    return (value & 7) == 6 && ((value >> 3 & 7) == 3 || (value >> 3 & 7) == 4) && !(value & 0xf80);
}

static bool vpid(const struct view *w)
{
    return w->read(VMCS_VPID) != 0;
}

static bool virtual_apic(const struct view *w)
{
    return w->read(VMCS_VIRTUAL_APIC) && !(w->read(VMCS_VIRTUAL_APIC) & PAGE_MASK);
}

static bool tpr_threshold(const struct view *w)
{
    return w->read(VMCS_TPR_THRESHOLD) <= 15;
}

/* --- Guest state, 27.3.1 ---------------------------------------------------------------------- */

static bool cr0_fixed(const struct view *w)
{
    uint64_t cr0 = w->read(VMCS_GUEST_CR0), ones = w->caps->cr0_fixed0 & ~(CR0_PE | CR0_PG);

    return (cr0 & ones) == ones && !(cr0 & ~w->caps->cr0_fixed1);
}

static bool cr0_paging(const struct view *w)
{
    uint64_t cr0 = w->read(VMCS_GUEST_CR0);

    return !(cr0 & CR0_PG) || (cr0 & CR0_PE);
}

static bool cr4_fixed(const struct view *w)
{
    uint64_t cr4 = w->read(VMCS_GUEST_CR4);

    return (cr4 & w->caps->cr4_fixed0) == w->caps->cr4_fixed0 && !(cr4 & ~w->caps->cr4_fixed1);
}

static bool long_mode_paging(const struct view *w)
{
    if (long_mode(w))
        return (w->read(VMCS_GUEST_CR0) & CR0_PG) && (w->read(VMCS_GUEST_CR4) & CR4_PAE);
    return !(w->read(VMCS_GUEST_CR4) & CR4_PCIDE);
}

static bool efer(const struct view *w)
{
    uint64_t value = w->read(VMCS_GUEST_EFER);
    bool lma = value & EFER_LMA;

    return !(value & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) && lma == long_mode(w) &&
           (!(w->read(VMCS_GUEST_CR0) & CR0_PG) || lma == !!(value & EFER_LME));
}

static bool pat(const struct view *w)
{
    return pat_valid(w->read(VMCS_GUEST_PAT));
}

static bool rflags(const struct view *w)
{
    uint64_t value = w->read(VMCS_GUEST_RFLAGS);

    return (value & 2) && !(value & 0xffffffffffc08028) &&
           !((value & RFLAGS_VM) && (long_mode(w) || !(w->read(VMCS_GUEST_CR0) & CR0_PE)));
}

static bool cs(const struct view *w)
{
    uint32_t rights = (uint32_t)w->read(VMCS_GUEST_CS_RIGHTS), type = rights & 15;

    return !(rights & UNUSABLE) && (type == 3 || (type & 9) == 9) && (rights & RIGHTS_S) &&
           (rights & RIGHTS_P) && !(long_mode(w) && (rights & RIGHTS_L) && (rights & RIGHTS_DB));
}

static bool ss(const struct view *w)
{
    uint32_t rights = (uint32_t)w->read(VMCS_GUEST_SS_RIGHTS), type = rights & 15;

    return (rights & UNUSABLE) ||
           ((type == 3 || type == 7) && (rights & RIGHTS_S) && (rights & RIGHTS_P));
}

static bool tr(const struct view *w)
{
    uint32_t rights = (uint32_t)w->read(VMCS_GUEST_TR_RIGHTS), type = rights & 15;

    return !(rights & (UNUSABLE | RIGHTS_S)) && (rights & RIGHTS_P) &&
           (type == 11 || (type == 3 && !long_mode(w)));
}

static bool ldtr(const struct view *w)
{
    uint32_t rights = (uint32_t)w->read(VMCS_GUEST_LDTR_RIGHTS);

    return (rights & UNUSABLE) || ((rights & 0x1f) == 2 && (rights & RIGHTS_P));
}

static bool limits(const struct view *w)
{
    for (unsigned n = 0; n < 8; n++) {
        uint32_t limit = (uint32_t)w->read(VMCS_GUEST_ES_LIMIT + 2 * n);
        uint32_t rights = (uint32_t)w->read(VMCS_GUEST_ES_RIGHTS + 2 * n);
        if (rights & UNUSABLE)
            continue;
        if (rights & RIGHTS_G ? (limit & 0xfff) != 0xfff : limit >> 20 != 0)
            return false;
    }
    return true;
}

static bool rip(const struct view *w)
{
    uint64_t value = w->read(VMCS_GUEST_RIP);
    int64_t top = (int64_t)value >> (w->caps->cr4_fixed1 & CR4_LA57 ? 57 : 48);

    if (!long_mode(w) || !(w->read(VMCS_GUEST_CS_RIGHTS) & RIGHTS_L))
        return value >> 32 == 0;
    return top == 0 || top == -1;
}

static bool activity(const struct view *w)
{
    return w->read(VMCS_GUEST_ACTIVITY) <= 3;
}

static bool interruptibility(const struct view *w)
{
    uint64_t value = w->read(VMCS_GUEST_INTERRUPTIBILITY);
    bool sti = value & BLOCKED_BY_STI, mov_ss = value & BLOCKED_BY_MOV_SS;

    return !(value >> 5) && !(sti && mov_ss) && !(sti && !(w->read(VMCS_GUEST_RFLAGS) & RFLAGS_IF));
}

static bool interrupt_now(const struct view *w)
{
    return !event_type_is(w, EVENT_INTERRUPT) ||
           ((w->read(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
            !(w->read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)));
}

static bool nmi_now(const struct view *w)
{
    return !event_type_is(w, EVENT_NMI) ||
           !(w->read(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_MOV_SS | BLOCKED_BY_NMI));
}

static bool link_pointer(const struct view *w)
{
    return w->read(VMCS_LINK_POINTER) == ~0ull;
}

struct check {
    bool (*good)(const struct view *w);
    const char *name;
};

static const struct check control_checks[] = {
    { event_vector, "event to deliver: vector does not fit its type" },
    { event_code, "event to deliver: has no error code of this kind" },
    { eptp, "EPT pointer" },
    { vpid, "VPID is 0" },
    { virtual_apic, "virtual-APIC page" },
    { tpr_threshold, "TPR threshold" },
};

static const struct check guest_checks[] = {
    { cr0_fixed, "CR0: bits that VMX fixes" },
    { cr0_paging, "CR0: PG without PE" },
    { cr4_fixed, "CR4: bits that VMX fixes" },
    { long_mode_paging, "CR4: PAE or PCIDE does not fit the mode" },
    { efer, "EFER" },
    { pat, "PAT" },
    { rflags, "RFLAGS" },
    { cs, "CS: access rights" },
    { ss, "SS: access rights" },
    { tr, "TR: access rights" },
    { ldtr, "LDTR: access rights" },
    { limits, "segments: a limit does not fit its granularity" },
    { rip, "RIP" },
    { activity, "activity state" },
    { interruptibility, "interruptibility state" },
    { interrupt_now, "event to deliver: the guest cannot take an interrupt" },
    { nmi_now, "event to deliver: the guest cannot take an NMI" },
    { link_pointer, "VMCS link pointer" },
};

static const char *first_bad(const struct check *checks, unsigned n, const struct view *w)
{
    for (unsigned i = 0; i < n; i++) {
        if (!checks[i].good(w))
            return checks[i].name;
    }
    return NULL;
}

const char *vmx_failure_control(const struct vmx_caps *caps, vmx_field_source *read)
{
    static const enum vmcs_field field[VMX_FIELDS] = {
        [VMX_PIN] = VMCS_PIN_CONTROLS,
        [VMX_PRIMARY] = VMCS_PRIMARY_CONTROLS,
        [VMX_SECONDARY] = VMCS_SECONDARY_CONTROLS,
        [VMX_EXIT] = VMCS_EXIT_CONTROLS,
        [VMX_ENTRY] = VMCS_ENTRY_CONTROLS,
    };
    const struct view w = { caps, read };

    for (unsigned f = 0; f < VMX_FIELDS; f++) {
        const char *name = vmx_caps_refused(caps, f, (uint32_t)read(field[f]));
        if (name)
            return name;
    }
    return first_bad(control_checks, ARRAY_SIZE(control_checks), &w);
}

const char *vmx_failure_guest(const struct vmx_caps *caps, vmx_field_source *read)
{
    const struct view w = { caps, read };

    return first_bad(guest_checks, ARRAY_SIZE(guest_checks), &w);
}
