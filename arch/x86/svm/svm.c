/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AMD SVM with nested paging: the VMCB of a vCPU, and what a CPU needs to run one. A CPU runs one
 * vCPU only, so one ASID serves all of them. The IO bitmap intercepts every port, the MSR bitmap
 * all but what VMLOAD and VMSAVE swap; both are shared by all guests.
 */
#include "arch/x86/svm/svm.h"

#include <string.h>

#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/guest_state.h"
#include "arch/x86/xstate.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/vm.h"

#define MSR_VM_CR    0xc0010114u
#define MSR_HSAVE_PA 0xc0010117u
#define VM_CR_SVMDIS 0x10u
#define CPUID_SVM    0x8000000au
#define SVM_NP       (1u << 0) /* CPUID 0x8000000a EDX */
#define SVM_NRIPS    (1u << 3)
#define GUEST_ASID   1u /* 0 is the host's */

#define IOPM_ORDER  2u /* 12 KiB used, APM 2 15.10.1 */
#define MSRPM_ORDER 1u /* 8 KiB, APM 2 15.11 */

bool svm_has_nrips;

static uint64_t host_vmcb[CPUS_MAX]; /* host's FS, GS, TR, ...; physical */
static uint64_t iopm, msrpm;         /* physical; 0: not made yet */

/* MSRs that the guest reads and writes directly: its own, in the VMCB, or of no use to the host. */
static const uint32_t msrs_passed[] = {
    0x174,      0x175,      0x176,                  /* SYSENTER_CS, ESP, EIP */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000100, 0xc0000101, 0xc0000102,             /* FS, GS, kernel GS base */
    0xc0000103,                                     /* TSC_AUX: Sluice does not use it */
};

static const char *svm_missing(void)
{
    if (cpuid(0x80000000, 0).eax < CPUID_SVM || !(cpuid(0x80000001, 0).ecx & 4))
        return "SVM (CPUID 0x80000001 ECX bit 2)";
    if (!(cpuid(CPUID_SVM, 0).edx & SVM_NP))
        return "nested paging (CPUID 0x8000000a EDX bit 0)";
    if (cpuid(CPUID_SVM, 0).ebx <= GUEST_ASID)
        return "address space ids (CPUID 0x8000000a EBX)";
    if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
        return "SVM, disabled by firmware (MSR VM_CR bit 4)";
    return NULL;
}

static enum hv_status svm_cpu_enable(void)
{
    void *save, *host;
    enum hv_status err = pages_alloc(NULL, 0, &save);

    if (err != HV_OK)
        return err;
    err = pages_alloc(NULL, 0, &host);
    if (err != HV_OK) {
        pages_free(NULL, 0, save);
        return err;
    }
    svm_has_nrips = cpuid(CPUID_SVM, 0).edx & SVM_NRIPS;
    xstate_enable();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_HSAVE_PA, virt_to_phys(save).v);
    host_vmcb[cpu_index()] = virt_to_phys(host).v;
    __asm__ volatile("vmsave %%rax" ::"a"(host_vmcb[cpu_index()]) : "memory");
    return HV_OK;
}

/* Two bits per MSR, read and write; three ranges of 2 KiB each. */
static void msrpm_pass(uint8_t *map, uint32_t msr)
{
    uint32_t range = msr >= 0xc0010000 ? 2 : msr >= 0xc0000000 ? 1 : 0;
    uint32_t bit = (msr & 0x1fff) * 2;

    map[range * 0x800 + bit / 8] &= (uint8_t)~(3u << bit % 8);
}

static enum hv_status make_bitmaps(void)
{
    void *io, *msr;
    enum hv_status err;

    if (iopm)
        return HV_OK;
    err = pages_alloc(NULL, IOPM_ORDER, &io);
    if (err != HV_OK)
        return err;
    err = pages_alloc(NULL, MSRPM_ORDER, &msr);
    if (err != HV_OK) {
        pages_free(NULL, IOPM_ORDER, io);
        return err;
    }
    memset(io, 0xff, PAGE_SIZE << IOPM_ORDER);
    memset(msr, 0xff, PAGE_SIZE << MSRPM_ORDER);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs_passed); i++)
        msrpm_pass(msr, msrs_passed[i]);
    iopm = virt_to_phys(io).v;
    msrpm = virt_to_phys(msr).v;
    return HV_OK;
}

static enum hv_status svm_create(struct vcpu *v)
{
    void *pages;
    enum hv_status err = make_bitmaps();

    if (err == HV_OK)
        err = pages_alloc(&v->vm->quota, 1, &pages);
    if (err != HV_OK)
        return err;

    struct vmcb *c = pages;
    struct svm *s = (void *)(c + 1);

    s->vmcb = c;
    s->vmcb_pa = virt_to_phys(c).v;
    s->host_pa = host_vmcb[v->cpu];
    svm_intercepts(c);
    c->iopm = iopm;
    c->msrpm = msrpm;
    c->asid = GUEST_ASID;
    c->virtual_interrupt = VINTR_MASKING;
    c->nested = 1;
    c->ncr3 = virt_to_phys(v->vm->npt.root).v;
    v->backend = s;
    return HV_OK;
}

static void svm_destroy(struct vcpu *v)
{
    struct svm *s = v->backend;

    pages_free(&v->vm->quota, 1, s->vmcb);
    v->backend = NULL;
}

/* --- State at a start: as after reset (APM 2 14.1.3), but for what the kind of start changes */

enum {
    ATTR_CODE16 = 0x09b,
    ATTR_DATA16 = 0x093,
    ATTR_CODE32 = 0xc9b,
    ATTR_DATA32 = 0xc93,
    ATTR_LDT = 0x082,
    ATTR_TSS = 0x08b
};

#define PAT_RESET 0x0007040600070406ull

static void svm_reset(struct vcpu *v, const struct vcpu_start *start)
{
    struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;
    uint16_t data = start->real_mode ? ATTR_DATA16 : ATTR_DATA32;
    uint32_t limit = start->real_mode ? 0xffff : 0xffffffff;
    struct vmcb_segment flat = { 0, data, limit, 0 };

    memset(&c->es, 0, sizeof(*c) - offsetof(struct vmcb, es));
    c->es = c->ss = c->ds = c->fs = c->gs = flat;
    c->cs = (struct vmcb_segment){ 0, ATTR_CODE32, limit, 0 };
    if (start->real_mode) {
        c->cs.attributes = ATTR_CODE16;
        c->cs.base = start->rip;
        c->cs.selector = (uint16_t)(start->rip >> 4);
    }
    c->gdtr.limit = c->idtr.limit = start->real_mode ? 0xffff : 0;
    c->ldtr = (struct vmcb_segment){ 0, ATTR_LDT, 0xffff, 0 };
    c->tr = (struct vmcb_segment){ 0, ATTR_TSS, start->real_mode ? 0xffff : 0x67, 0 };
    c->cr0 = start->real_mode ? CR0_ET : CR0_ET | CR0_PE;
    c->efer = EFER_SVME;
    c->dr6 = 0xffff0ff0;
    c->dr7 = 0x400;
    c->rflags = 2;
    c->pat = PAT_RESET;

    c->event = 0;
    c->interrupt_shadow = 0;
    c->virtual_interrupt = VINTR_MASKING;
    c->tlb_control = TLB_FLUSH_ALL;
    s->nmi_blocked = false;
    s->iret_rip = IRET_NONE;
    s->stepping = false;
    c->intercept_cr = 0;
    c->intercept[(VMEXIT_IRET - 0x60) / 32] &= ~(1u << (VMEXIT_IRET - 0x60) % 32);

    memset(v->reg, 0, sizeof(v->reg));
    v->reg[REG_RBX] = start->rbx;
    v->rip = start->real_mode ? 0 : start->rip;
    xstate_reset();
}

static uint8_t svm_cr8(struct vcpu *v)
{
    return ((struct svm *)v->backend)->vmcb->virtual_interrupt & VINTR_TPR;
}

static void svm_set_cr8(struct vcpu *v, uint8_t cr8)
{
    struct vmcb *c = ((struct svm *)v->backend)->vmcb;

    c->virtual_interrupt = (c->virtual_interrupt & ~VINTR_TPR) | (cr8 & VINTR_TPR);
}

static uint8_t svm_cpl(struct vcpu *v)
{
    return ((struct svm *)v->backend)->vmcb->cpl;
}

static uint64_t svm_cr4(struct vcpu *v)
{
    return ((struct svm *)v->backend)->vmcb->cr4;
}

static bool svm_msr_get(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    const struct vmcb *c = ((struct svm *)v->backend)->vmcb;

    switch (msr) {
    case MSR_EFER: *value = c->efer & ~EFER_SVME; return true;
    case MSR_PAT: *value = c->pat; return true;
    default: return false;
    }
}

static bool svm_msr_set(struct vcpu *v, uint32_t msr, uint64_t value)
{
    struct vmcb *c = ((struct svm *)v->backend)->vmcb;

    switch (msr) {
    case MSR_EFER:
        if (!efer_valid(value, c->efer, c->cr0))
            return false;
        c->efer = (value & ~EFER_LMA) | (c->efer & EFER_LMA) | EFER_SVME;
        return true;
    case MSR_PAT:
        if (!pat_valid(value))
            return false;
        c->pat = value;
        return true;
    default: return false;
    }
}

static void svm_flush(struct vcpu *v)
{
    ((struct svm *)v->backend)->vmcb->tlb_control = TLB_FLUSH_ALL;
}

/* 1 GiB leaves have a CPUID bit, 2 MiB ones are always there. */
static unsigned svm_second_stage_large(void)
{
    return cpuid(0x80000001, 0).edx >> 26 & 1 ? 3 : 1;
}

const struct vcpu_ops vcpu_svm = {
    .name = "SVM",
    .second_stage = &pt_format_npt,
    .second_stage_levels = 4,
    .second_stage_large = svm_second_stage_large,
    .hypercall_vmmcall = 1,
    .missing = svm_missing,
    .cpu_enable = svm_cpu_enable,
    .create = svm_create,
    .destroy = svm_destroy,
    .reset = svm_reset,
    .run = svm_run,
    .skip = svm_skip,
    .interrupt_ready = svm_interrupt_ready,
    .inject_interrupt = svm_inject_interrupt,
    .nmi_ready = svm_nmi_ready,
    .inject_nmi = svm_inject_nmi,
    .inject_exception = svm_inject_exception,
    .want_window = svm_want_window,
    .cr8 = svm_cr8,
    .set_cr8 = svm_set_cr8,
    .cpl = svm_cpl,
    .cr4 = svm_cr4,
    .msr_get = svm_msr_get,
    .msr_set = svm_msr_set,
    .flush = svm_flush,
};
