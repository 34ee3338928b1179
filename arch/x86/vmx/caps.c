/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/vmx/caps.h"

#include <stddef.h>

#include "hv/types.h"

#define MSR_FEATURE_CONTROL   0x3au
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_BASIC             0x480u
#define MSR_MISC              0x485u
#define MSR_CR0_FIXED0        0x486u
#define MSR_SECONDARY         0x48bu
#define MSR_EPT_VPID          0x48cu

#define FEATURE_LOCKED 0x1u
#define FEATURE_VMX    0x4u
#define BASIC_TRUE     (1ull << 55)

/* What the CPU says of a bit: bits 31:0 of its MSR must be 1, bits 63:32 may be. */
enum need {
    REQUIRED,  /* set */
    OPTIONAL,  /* set where the CPU has it */
    DYNAMIC,   /* clear at first, set now and then: must be free both ways */
    CLEAR,     /* must not be forced to 1 */
    IF_RDTSCP, /* set, and required, where CPUID has the instruction: it would raise #UD in guests
                */
    IF_INVPCID,
};

struct control {
    uint8_t bit, need;
    const char *name;
};

/* SDM 3C 24.6.1 */
static const struct control pin_controls[] = {
    { 0, REQUIRED, "external-interrupt exiting (pin-based control 0)" },
    { 3, REQUIRED, "NMI exiting (pin-based control 3)" },
    { 5, REQUIRED, "virtual NMIs (pin-based control 5)" },
    { 6, CLEAR, "preemption timer off (pin-based control 6)" },
    { 7, OPTIONAL, "posted interrupts (pin-based control 7)" },
};

/* 24.6.2, tables 24-6 and 24-7 */
static const struct control primary_controls[] = {
    { 2, DYNAMIC, "interrupt-window exiting (primary control 2)" },
    { 3, CLEAR, "TSC without offset (primary control 3)" },
    { 7, REQUIRED, "HLT exiting (primary control 7)" },
    { 9, CLEAR, "INVLPG without exit (primary control 9)" },
    { 10, REQUIRED, "MWAIT exiting (primary control 10)" },
    { 11, REQUIRED, "RDPMC exiting (primary control 11)" },
    { 12, CLEAR, "RDTSC without exit (primary control 12)" },
    { 15, CLEAR, "CR3 load without exit (primary control 15)" },
    { 16, CLEAR, "CR3 store without exit (primary control 16)" },
    { 19, CLEAR, "CR8 load without exit (primary control 19)" },
    { 20, CLEAR, "CR8 store without exit (primary control 20)" },
    { 21, REQUIRED, "TPR shadow (primary control 21)" },
    { 22, DYNAMIC, "NMI-window exiting (primary control 22)" },
    { 23, CLEAR, "MOV DR without exit (primary control 23)" },
    { 25, REQUIRED, "IO bitmaps (primary control 25)" },
    { 27, CLEAR, "monitor trap flag off (primary control 27)" },
    { 28, REQUIRED, "MSR bitmaps (primary control 28)" },
    { 29, REQUIRED, "MONITOR exiting (primary control 29)" },
    { 30, CLEAR, "PAUSE without exit (primary control 30)" },
    { 31, REQUIRED, "secondary controls (primary control 31)" },
};

static const struct control secondary_controls[] = {
    { 0, CLEAR, "APIC accesses as memory (secondary control 0)" },
    { 1, REQUIRED, "EPT (secondary control 1)" },
    { 2, CLEAR, "descriptor tables without exit (secondary control 2)" },
    { 3, IF_RDTSCP, "RDTSCP (secondary control 3)" },
    { 4, OPTIONAL, "x2APIC mode (secondary control 4)" },
    { 5, REQUIRED, "VPID (secondary control 5)" },
    { 6, REQUIRED, "WBINVD exiting (secondary control 6)" },
    { 7, REQUIRED, "unrestricted guest (secondary control 7)" },
    { 8, OPTIONAL, "APIC-register virtualisation (secondary control 8)" },
    { 9, OPTIONAL, "virtual-interrupt delivery (secondary control 9)" },
    { 10, CLEAR, "PAUSE loops without exit (secondary control 10)" },
    { 12, IF_INVPCID, "INVPCID (secondary control 12)" },
    { 14, CLEAR, "VMCS shadowing off (secondary control 14)" },
    { 15, OPTIONAL, "ENCLS exiting (secondary control 15)" },
    { 17, CLEAR, "page-modification log off (secondary control 17)" },
    { 18, CLEAR, "EPT violations as exits (secondary control 18)" },
    { 22, CLEAR, "execute rights without modes (secondary control 22)" },
};

/* 24.7.1 */
static const struct control exit_controls[] = {
    { 2, REQUIRED, "save debug controls (exit control 2)" },
    { 9, REQUIRED, "64-bit host (exit control 9)" },
    { 15, REQUIRED, "acknowledge interrupts (exit control 15)" },
    { 18, REQUIRED, "save PAT (exit control 18)" },
    { 19, REQUIRED, "load PAT (exit control 19)" },
    { 20, REQUIRED, "save EFER (exit control 20)" },
    { 21, REQUIRED, "load EFER (exit control 21)" },
};

/* 24.8.1 */
static const struct control entry_controls[] = {
    { 2, REQUIRED, "load debug controls (entry control 2)" },
    { 9, DYNAMIC, "64-bit guest (entry control 9)" },
    { 10, CLEAR, "entry outside SMM (entry control 10)" },
    { 14, REQUIRED, "load PAT (entry control 14)" },
    { 15, REQUIRED, "load EFER (entry control 15)" },
};

/* The MSR of a field, and the one that tells the truth about bits which old software expects to
 * be 1. */
static const struct field {
    const struct control *control;
    unsigned n;
    uint32_t msr, true_msr;
} fields[VMX_FIELDS] = {
    [VMX_PIN] = { pin_controls, ARRAY_SIZE(pin_controls), 0x481, 0x48d },
    [VMX_PRIMARY] = { primary_controls, ARRAY_SIZE(primary_controls), 0x482, 0x48e },
    [VMX_SECONDARY] = { secondary_controls, ARRAY_SIZE(secondary_controls), MSR_SECONDARY,
                        MSR_SECONDARY },
    [VMX_EXIT] = { exit_controls, ARRAY_SIZE(exit_controls), 0x483, 0x48f },
    [VMX_ENTRY] = { entry_controls, ARRAY_SIZE(entry_controls), 0x484, 0x490 },
};

/* All else that is required: (value & mask) == wanted. Appendix A. */
static const struct capability {
    size_t at; /* in struct vmx_caps */
    uint64_t mask, wanted;
    const char *name;
} capabilities[] = {
#define AT(member) offsetof(struct vmx_caps, member)
    { AT(basic), BASIC_TRUE, BASIC_TRUE, "controls free to be clear (MSR 0x480 bit 55)" },
    { AT(basic), 15ull << 50, 6ull << 50, "a VMCS in write-back memory (MSR 0x480 bits 53:50)" },
    { AT(misc), 1u << 5, 1u << 5, "saving of EFER.LMA at exits (MSR 0x485 bit 5)" },
    { AT(ept_vpid), 1u << 6, 1u << 6, "EPT with four levels (MSR 0x48c bit 6)" },
    { AT(ept_vpid), 1u << 14, 1u << 14, "EPT in write-back memory (MSR 0x48c bit 14)" },
    { AT(ept_vpid), 1u << 20, 1u << 20, "INVEPT (MSR 0x48c bit 20)" },
    { AT(ept_vpid), 1u << 26, 1u << 26, "INVEPT of all contexts (MSR 0x48c bit 26)" },
    { AT(ept_vpid), 1ull << 32, 1ull << 32, "INVVPID (MSR 0x48c bit 32)" },
    { AT(ept_vpid), 1ull << 42, 1ull << 42, "INVVPID of all contexts (MSR 0x48c bit 42)" },
#undef AT
};

#define EPT_2M         (1u << 16)
#define EPT_1G         (1u << 17)
#define INVEPT_SINGLE  (1u << 25)
#define INVVPID_SINGLE (1ull << 41)

#define PSCHANGE_MC_NO (1u << 6) /* IA32_ARCH_CAPABILITIES */

/* A guest that changes the size of a page under running code can raise a machine check on these
 * CPUs (CVE-2018-12207), which stops the machine; not with 4 KiB leaves. Core CPUs up to Comet
 * Lake, but not Ice Lake's, say nothing of it. A hypervisor below us sees to that itself. */
static bool page_size_erratum(vmx_msr_source *msr, vmx_cpuid_source *id)
{
    struct cpuid one = id(1, 0);
    unsigned family = one.eax >> 8 & 15, model = (one.eax >> 12 & 0xf0) | (one.eax >> 4 & 15);
    bool tells = id(0, 0).eax >= 7 && (id(7, 0).edx >> 29 & 1);

    if ((tells && (msr(MSR_ARCH_CAPABILITIES) & PSCHANGE_MC_NO)) || one.ecx >> 31 || family != 6)
        return false;
    return model < 0x6a || model == 0x8e || model == 0x9e || model == 0xa5 || model == 0xa6;
}

static uint32_t must(uint64_t msr)
{
    return (uint32_t)msr;
}

static uint32_t may(uint64_t msr)
{
    return (uint32_t)(msr >> 32);
}

void vmx_caps_read(struct vmx_caps *caps, vmx_msr_source *msr, vmx_cpuid_source *id)
{
    *caps = (struct vmx_caps){ .vmx = id(1, 0).ecx >> 5 & 1 };
    if (!caps->vmx)
        return;
    caps->rdtscp = id(0x80000000, 0).eax >= 0x80000001 && (id(0x80000001, 0).edx >> 27 & 1);
    caps->invpcid = id(0, 0).eax >= 7 && (id(7, 0).ebx >> 10 & 1);
    caps->small_pages = page_size_erratum(msr, id);
    caps->feature_control = msr(MSR_FEATURE_CONTROL);
    caps->basic = msr(MSR_BASIC);
    caps->misc = msr(MSR_MISC);
    caps->cr0_fixed0 = msr(MSR_CR0_FIXED0);
    caps->cr0_fixed1 = msr(MSR_CR0_FIXED0 + 1);
    caps->cr4_fixed0 = msr(MSR_CR0_FIXED0 + 2);
    caps->cr4_fixed1 = msr(MSR_CR0_FIXED0 + 3);
    for (unsigned f = 0; f < VMX_FIELDS; f++) {
        if (f == VMX_SECONDARY && !(may(caps->controls[VMX_PRIMARY]) >> 31))
            continue;
        caps->controls[f] = msr(caps->basic & BASIC_TRUE ? fields[f].true_msr : fields[f].msr);
    }
    /* There with EPT or VPID. */
    if (may(caps->controls[VMX_SECONDARY]) & (1u << 1 | 1u << 5))
        caps->ept_vpid = msr(MSR_EPT_VPID);
}

static bool wanted(const struct vmx_caps *caps, const struct control *c)
{
    return c->need == REQUIRED || (c->need == IF_RDTSCP && caps->rdtscp) ||
           (c->need == IF_INVPCID && caps->invpcid);
}

static bool control_missing(const struct vmx_caps *caps, enum vmx_field f, const struct control *c)
{
    bool may1 = may(caps->controls[f]) >> c->bit & 1, must1 = must(caps->controls[f]) >> c->bit & 1;

    switch (c->need) {
    case OPTIONAL: return false;
    case CLEAR: return must1;
    case DYNAMIC: return !may1 || must1;
    default: return wanted(caps, c) && !may1;
    }
}

const char *vmx_caps_missing(const struct vmx_caps *caps)
{
    if (!caps->vmx)
        return "VMX (CPUID 1 ECX bit 5)";
    if ((caps->feature_control & (FEATURE_LOCKED | FEATURE_VMX)) == FEATURE_LOCKED)
        return "VMX, switched off and locked by the firmware: enable \"Intel Virtualization "
               "Technology\" (VT-x) in its settings (MSR 0x3a bit 2)";
    if (!(caps->basic & BASIC_TRUE))
        return capabilities[0].name; /* else the controls would be blamed for it */
    for (unsigned f = 0; f < VMX_FIELDS; f++) {
        for (unsigned i = 0; i < fields[f].n; i++) {
            if (control_missing(caps, f, &fields[f].control[i]))
                return fields[f].control[i].name;
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(capabilities); i++) {
        uint64_t value = *(const uint64_t *)((const char *)caps + capabilities[i].at);
        if ((value & capabilities[i].mask) != capabilities[i].wanted)
            return capabilities[i].name;
    }
    return NULL;
}

void vmx_caps_setup(const struct vmx_caps *caps, struct vmx_setup *setup)
{
    const uint32_t apicv =
        SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_INTERRUPT_DELIVERY;

    *setup = (struct vmx_setup){
        .large = caps->small_pages
                     ? 0
                     : (caps->ept_vpid & EPT_2M ? 1 : 0) | (caps->ept_vpid & EPT_1G ? 2 : 0),
        .invept_single = caps->ept_vpid & INVEPT_SINGLE,
        .invvpid_single = caps->ept_vpid & INVVPID_SINGLE,
    };
    for (unsigned f = 0; f < VMX_FIELDS; f++) {
        uint32_t set = must(caps->controls[f]);
        for (unsigned i = 0; i < fields[f].n; i++) {
            const struct control *c = &fields[f].control[i];
            if (wanted(caps, c) || c->need == OPTIONAL)
                set |= 1u << c->bit & may(caps->controls[f]);
        }
        setup->controls[f] = set;
    }
    /* These three stand together (24.6.8), and posting stands on them (26.2.1.1). */
    setup->apicv = (setup->controls[VMX_SECONDARY] & apicv) == apicv;
    if (!setup->apicv) {
        setup->controls[VMX_SECONDARY] &= ~apicv;
        setup->controls[VMX_PIN] &= ~PIN_POSTED;
    }
    setup->posted = setup->controls[VMX_PIN] & PIN_POSTED;
}

const char *vmx_caps_refused(const struct vmx_caps *caps, enum vmx_field f, uint32_t value)
{
    uint32_t bad = (value & ~may(caps->controls[f])) | (~value & must(caps->controls[f]));

    if (!bad)
        return NULL;
    for (unsigned i = 0; i < fields[f].n; i++) {
        if (bad >> fields[f].control[i].bit & 1)
            return fields[f].control[i].name;
    }
    return "a control that Sluice does not name";
}
