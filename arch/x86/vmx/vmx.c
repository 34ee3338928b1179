/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel VMX with EPT and unrestricted guests: what a CPU needs to run a vCPU, and what a vCPU
 * needs. A CPU runs one vCPU only, so the VMCS is the CPU's and one VPID serves all. The IO bitmaps
 * intercept every port, the MSR bitmap all but what passes; both are shared by all guests.
 */
#include "arch/x86/vmx/vmx.h"

#include <string.h>

#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/guest_state.h"
#include "arch/x86/vlapic.h"
#include "arch/x86/vmx/ept.h"
#include "arch/x86/xstate.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/vm.h"

#define MSR_FEATURE_CONTROL 0x3au
#define FEATURE_LOCKED      0x1u
#define FEATURE_VMX         0x4u
#define REVISION            0x7fffffffu /* IA32_VMX_BASIC */

struct vmx_caps vmx_caps;
struct vmx_setup vmx_setup;

static uint64_t vmcs_of[CPUS_MAX]; /* physical */

/* Of the MSRs that pass (bitmaps.c) those that are not in the VMCS: at a start as after reset. */
static const uint32_t msrs_cleared[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
                                         0xc0000102 };

static const char *vmx_missing(void)
{
    vmx_caps_read(&vmx_caps, rdmsr, cpuid);
    const char *missing = vmx_caps_missing(&vmx_caps);
    if (missing)
        return missing;
    vmx_caps_setup(&vmx_caps, &vmx_setup);
    return NULL;
}

/* Every CPU must do what the boot CPU promised. */
static bool same_as_boot(void)
{
    struct vmx_caps caps;
    struct vmx_setup setup;

    vmx_caps_read(&caps, rdmsr, cpuid);
    const char *missing = vmx_caps_missing(&caps);
    if (missing) {
        log_error("vmx", "CPU %u lacks %s", cpu_index(), missing);
        return false;
    }
    vmx_caps_setup(&caps, &setup);
    for (unsigned f = 0; f < VMX_FIELDS; f++) {
        const char *refused = vmx_caps_refused(&caps, f, vmx_setup.controls[f]);
        if (refused) {
            log_error("vmx", "CPU %u, unlike CPU 0, lacks %s", cpu_index(), refused);
            return false;
        }
    }
    return true;
}

/* VMXON and the VMCS: a page each, that begin with the revision that the CPU tells (24.2). */
static enum hv_status make_region(uint64_t *pa)
{
    void *page;
    enum hv_status err = pages_alloc(NULL, 0, &page);

    if (err != HV_OK)
        return err;
    *(uint32_t *)page = vmx_caps.basic & REVISION;
    *pa = virt_to_phys(page).v;
    return HV_OK;
}

/* What the capabilities decided. */
static void report(void)
{
    log_info("vmx", "interrupts by %s; EPT leaves up to %s",
             vmx_setup.posted  ? "hardware, posted"
             : vmx_setup.apicv ? "hardware, not posted"
                               : "injection",
             vmx_setup.large & 2   ? "1G"
             : vmx_setup.large & 1 ? "2M"
                                   : "4K");
}

static void unlock_feature_control(void)
{
    uint64_t value = rdmsr(MSR_FEATURE_CONTROL);

    if (!(value & FEATURE_LOCKED))
        wrmsr(MSR_FEATURE_CONTROL, value | FEATURE_VMX | FEATURE_LOCKED);
}

static enum hv_status vmx_cpu_enable(void)
{
    uint64_t region;
    bool failed;

    if (!same_as_boot())
        return HV_ENOTSUP;
    enum hv_status err = make_region(&region);
    if (err == HV_OK)
        err = make_region(&vmcs_of[cpu_index()]);
    if (err != HV_OK)
        return err;
    unlock_feature_control();
    xstate_enable();
    write_cr0((read_cr0() | vmx_caps.cr0_fixed0) & vmx_caps.cr0_fixed1);
    write_cr4(read_cr4() | vmx_caps.cr4_fixed0 | CR4_VMXE);
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    if (failed) {
        log_error("vmx", "CPU %u: VMXON is refused", cpu_index());
        return HV_ENOTSUP;
    }
    ept_flush_all();
    if (cpu_index() == 0)
        report();
    return HV_OK;
}

/* Our own page, then the virtual-APIC page. */
static enum hv_status vmx_create(struct vcpu *v)
{
    void *pages;
    enum hv_status err = vmx_make_bitmaps();

    if (err == HV_OK && v->index == 0)
        err = ept_follow_mtrrs(v->vm);
    if (err == HV_OK)
        err = pages_alloc(&v->vm->quota, 1, &pages);
    if (err != HV_OK)
        return err;

    struct vmx *s = pages;

    s->apic_page = (uint8_t *)pages + PAGE_SIZE;
    s->apic_page_pa = virt_to_phys(s->apic_page).v;
    if (vmx_setup.apicv)
        vlapic_use_page(v->vlapic, s->apic_page);
    v->backend = s;
    return HV_OK;
}

static void vmx_destroy(struct vcpu *v)
{
    pages_free(&v->vm->quota, 1, v->backend);
    v->backend = NULL;
}

static void vmx_reset(struct vcpu *v, const struct vcpu_start *start)
{
    struct vmx *s = v->backend;

    if (!s->loaded)
        vmx_load(v, vmcs_of[v->cpu]);
    vmx_guest_state(start);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs_cleared); i++)
        wrmsr(msrs_cleared[i], 0);
    s->primary = vmx_setup.controls[VMX_PRIMARY];
    s->event = 0;
    s->apic_page[0x80] = 0;
    ept_flush(&v->vm->npt);
    memset(v->reg, 0, sizeof(v->reg));
    v->reg[REG_RBX] = start->rbx;
    v->rip = start->real_mode ? 0 : start->rip;
    xstate_reset();
}

static uint8_t vmx_cr8(struct vcpu *v)
{
    return vmx_tpr_class(v->backend);
}

static void vmx_set_cr8(struct vcpu *v, uint8_t cr8)
{
    ((struct vmx *)v->backend)->apic_page[0x80] = (uint8_t)(cr8 << 4);
}

static uint8_t vmx_cpl(struct vcpu *)
{
    return vmcs_read(VMCS_GUEST_SS_RIGHTS) >> 5 & 3;
}

static uint64_t vmx_cr4(struct vcpu *)
{
    uint64_t owned = vmx_cr4_owned();

    return (vmcs_read(VMCS_GUEST_CR4) & ~owned) | (vmcs_read(VMCS_CR4_SHADOW) & owned);
}

static bool vmx_msr_get(struct vcpu *, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_EFER: *value = vmcs_read(VMCS_GUEST_EFER); return true;
    case MSR_PAT: *value = vmcs_read(VMCS_GUEST_PAT); return true;
    default: return false;
    }
}

static bool vmx_msr_set(struct vcpu *, uint32_t msr, uint64_t value)
{
    uint64_t efer;

    switch (msr) {
    case MSR_EFER:
        efer = vmcs_read(VMCS_GUEST_EFER);
        if (!efer_valid(value, efer, vmcs_read(VMCS_GUEST_CR0)))
            return false;
        vmcs_write(VMCS_GUEST_EFER, (value & ~EFER_LMA) | (efer & EFER_LMA));
        return true;
    case MSR_PAT:
        if (!pat_valid(value))
            return false;
        vmcs_write(VMCS_GUEST_PAT, value);
        return true;
    default: return false;
    }
}

/* RVI; SVI in bits 15:8 is hardware's (24.4.2). */
static bool vmx_offer(struct vcpu *, uint8_t vector)
{
    if (!vmx_setup.apicv)
        return false;

    uint64_t status = vmcs_read(VMCS_GUEST_INTERRUPT_STATUS);
    if ((status & 0xff) != vector)
        vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, (status & ~0xffull) | vector);
    return true;
}

static bool vmx_takes_posted(void)
{
    return vmx_setup.posted;
}

static void vmx_flush_guest(struct vcpu *v)
{
    ept_flush(&v->vm->npt);
}

static unsigned vmx_second_stage_large(void)
{
    return vmx_setup.large;
}

const struct vcpu_ops vcpu_vmx = {
    .name = "VMX",
    .second_stage = &pt_format_ept,
    .second_stage_levels = 4,
    .second_stage_large = vmx_second_stage_large,
    .hypercall_vmmcall = 0,
    .missing = vmx_missing,
    .cpu_enable = vmx_cpu_enable,
    .create = vmx_create,
    .destroy = vmx_destroy,
    .reset = vmx_reset,
    .run = vmx_run,
    .skip = vmx_skip,
    .interrupt_ready = vmx_interrupt_ready,
    .inject_interrupt = vmx_inject_interrupt,
    .nmi_ready = vmx_nmi_ready,
    .inject_nmi = vmx_inject_nmi,
    .inject_exception = vmx_inject_exception,
    .want_window = vmx_want_window,
    .offer = vmx_offer,
    .takes_posted = vmx_takes_posted,
    .cr8 = vmx_cr8,
    .set_cr8 = vmx_set_cr8,
    .cpl = vmx_cpl,
    .cr4 = vmx_cr4,
    .msr_get = vmx_msr_get,
    .msr_set = vmx_msr_set,
    .flush = vmx_flush_guest,
};
