/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SDM 4 and APM 2 appendix A. Unknown means #GP: operating systems probe with handlers in place.
 * The constant rows are those that Linux reads or writes without such a handler, on CPUs of the
 * families it may find itself on. SYSENTER, SYSCALL, FS, GS and TSC_AUX never come here: they pass.
 */
#include "arch/x86/msr_policy.h"

#include "arch/x86/asm.h"
#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic.h"

enum msr_way {
    MSR_FAULT,  /* #GP(0) */
    MSR_VALUE,  /* reads: the row's value */
    MSR_IGNORE, /* writes: no effect */
    MSR_VLAPIC,
    MSR_BACKEND, /* in the control block */
    MSR_TSC,
};

/* Enabled, write-back by default, no ranges: the guest's page attributes alone decide (11.11.2). */
#define MTRR_DEFAULT 0x806u
#define MTRR_CAP_WC  0x400u
/* Fast strings; no branch trace store, no precise event sampling. */
#define MISC_ENABLE  0x1801u

static const struct msr_row {
    uint32_t first, last;
    uint8_t read, write; /* msr_way */
    uint64_t value;
} rows[] = {
    { 0x800, 0x8ff, MSR_VLAPIC, MSR_VLAPIC, 0 },
    { 0x6e0, 0x6e0, MSR_VLAPIC, MSR_VLAPIC, 0 },       /* TSC_DEADLINE */
    { 0x10, 0x10, MSR_TSC, MSR_IGNORE, 0 },            /* TSC: the machine's, all CPUs the same */
    { 0x17, 0x17, MSR_VALUE, MSR_FAULT, 0 },           /* PLATFORM_ID */
    { 0x1b, 0x1b, MSR_VLAPIC, MSR_VLAPIC, 0 },         /* APIC_BASE */
    { 0x3a, 0x3a, MSR_VALUE, MSR_FAULT, 1 },           /* FEATURE_CONTROL: locked, no VMX */
    { 0x79, 0x79, MSR_FAULT, MSR_IGNORE, 0 },          /* BIOS_UPDT_TRIG: microcode is ours */
    { 0x8b, 0x8b, MSR_VALUE, MSR_IGNORE, 0 },          /* BIOS_SIGN_ID, PATCH_LEVEL */
    { 0xce, 0xce, MSR_VALUE, MSR_FAULT, 0 },           /* PLATFORM_INFO */
    { 0xfe, 0xfe, MSR_VALUE, MSR_FAULT, MTRR_CAP_WC }, /* MTRRCAP: no ranges */
    { 0x179, 0x179, MSR_VALUE, MSR_FAULT, 0 },         /* MCG_CAP: no banks */
    { 0x17a, 0x17a, MSR_VALUE, MSR_IGNORE, 0 },        /* MCG_STATUS */
    { 0x1a0, 0x1a0, MSR_VALUE, MSR_IGNORE, MISC_ENABLE },
    { 0x1d9, 0x1d9, MSR_VALUE, MSR_IGNORE, 0 },    /* DEBUGCTL */
    { 0x277, 0x277, MSR_BACKEND, MSR_BACKEND, 0 }, /* PAT */
    { 0x2ff, 0x2ff, MSR_VALUE, MSR_IGNORE, MTRR_DEFAULT },
    { 0xc0000080, 0xc0000080, MSR_BACKEND, MSR_BACKEND, 0 },     /* EFER */
    { 0xc0010010, 0xc0010010, MSR_VALUE, MSR_IGNORE, 0 },        /* SYSCFG */
    { 0xc0010015, 0xc0010015, MSR_VALUE, MSR_IGNORE, 1u << 24 }, /* HWCR: TSC counts at P0 rate */
    { 0xc001001f, 0xc001001f, MSR_VALUE, MSR_IGNORE, 0 },        /* NB_CFG */
    { 0xc0010055, 0xc0010055, MSR_VALUE, MSR_IGNORE, 0 },        /* INT_PENDING_MSG: no C1E */
    { 0xc0010058, 0xc0010058, MSR_VALUE, MSR_FAULT, 0 },         /* MMIO_CONF_BASE: none */
    { 0xc0010112, 0xc0010113, MSR_VALUE, MSR_FAULT, 0 },         /* SMM address and mask: none */
    { 0xc0010114, 0xc0010114, MSR_VALUE, MSR_FAULT, 0x18 }, /* VM_CR: SVM disabled and locked */
    { 0xc0011020, 0xc0011023, MSR_VALUE, MSR_IGNORE, 0 },   /* LS_CFG .. DC_CFG */
    { 0xc0011029, 0xc0011029, MSR_VALUE, MSR_IGNORE, 2 },   /* DE_CFG: LFENCE serialises */
};

static const struct msr_row *row_of(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (msr >= rows[i].first && msr <= rows[i].last)
            return &rows[i];
    }
    return NULL;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    const struct msr_row *r = row_of(msr);

    switch (r ? r->read : MSR_FAULT) {
    case MSR_VALUE: *value = r->value; return true;
    case MSR_VLAPIC: return vlapic_msr_read(v->vlapic, msr, value);
    case MSR_BACKEND: return vcpu_ops->msr_get(v, msr, value);
    case MSR_TSC: *value = rdtsc(); return true;
    default: return false;
    }
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    const struct msr_row *r = row_of(msr);

    switch (r ? r->write : MSR_FAULT) {
    case MSR_IGNORE: return true;
    case MSR_VLAPIC: return vlapic_msr_write(v->vlapic, msr, value);
    case MSR_BACKEND: return vcpu_ops->msr_set(v, msr, value);
    default: return false;
    }
}
