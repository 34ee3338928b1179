/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VMCS is filled with, as tables: the controls and the host's side once, the guest's side at
 * every start (SDM 3C 24.4 to 24.8).
 */
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/irq.h"
#include "arch/x86/vmx/ept.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/vm.h"

#define PAT_RESET 0x0007040600070406ull

enum { VECTOR_DB = 1, VECTOR_AC = 17, VECTOR_MC = 18 };

struct row {
    enum vmcs_field field;
    uint64_t value;
};

static void write_rows(const struct row *row, unsigned n)
{
    for (; n--; row++)
        vmcs_write(row->field, row->value);
}

static void controls(const struct vcpu *v)
{
    const struct vmx *s = v->backend;
    const uint32_t *c = vmx_setup.controls;
    const struct row rows[] = {
        { VMCS_PIN_CONTROLS, c[VMX_PIN] },
        { VMCS_PRIMARY_CONTROLS, c[VMX_PRIMARY] },
        { VMCS_SECONDARY_CONTROLS, c[VMX_SECONDARY] },
        { VMCS_EXIT_CONTROLS, c[VMX_EXIT] },
        { VMCS_VPID, VMX_GUEST_VPID },
        { VMCS_EPTP, ept_pointer(&v->vm->npt) },
        { VMCS_IO_BITMAP_A, vmx_io_bitmaps },
        { VMCS_IO_BITMAP_B, vmx_io_bitmaps + PAGE_SIZE },
        { VMCS_MSR_BITMAP, vmx_msr_bitmap },
        { VMCS_VIRTUAL_APIC, s->apic_page_pa },
        /* #DB and #AC can be raised by their own delivery, for ever, with no interrupt between. */
        { VMCS_EXCEPTION_BITMAP, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC },
        { VMCS_PF_ERROR_MASK, 0 },
        { VMCS_PF_ERROR_MATCH, 0 },
        { VMCS_CR3_TARGETS, 0 },
        { VMCS_EXIT_MSR_STORES, 0 },
        { VMCS_EXIT_MSR_LOADS, 0 },
        { VMCS_ENTRY_MSR_LOADS, 0 },
        { VMCS_CR0_MASK, VMX_CR0_OWNED },
        { VMCS_CR4_MASK, vmx_cr4_owned() },
        { VMCS_LINK_POINTER, ~0ull },
    };

    write_rows(rows, ARRAY_SIZE(rows));
    if (c[VMX_SECONDARY] & SECONDARY_ENCLS)
        vmcs_write(VMCS_ENCLS_BITMAP, ~0ull);
}

/* Where hardware keeps the APIC. All interrupts are edge-triggered: no EOI exits. */
static void apic(const struct vcpu *v)
{
    if (!vmx_setup.apicv)
        return;
    for (unsigned i = 0; i < 4; i++)
        vmcs_write(VMCS_EOI_EXIT_BITMAP + 2 * i, 0);
    vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, 0);
    if (!vmx_setup.posted)
        return;
    vmcs_write(VMCS_POSTED_VECTOR, VECTOR_POSTED);
    vmcs_write(VMCS_POSTED_DESCRIPTOR, virt_to_phys(&v->posted).v);
}

static void host_state(void)
{
    struct cpu *c = this_cpu();
    struct [[gnu::packed]] {
        uint16_t limit;
        uint64_t base;
    } idtr;

    __asm__ volatile("sidt %0" : "=m"(idtr));
    const struct row rows[] = {
        { VMCS_HOST_CS, SEL_CODE },
        { VMCS_HOST_SS, SEL_DATA },
        { VMCS_HOST_DS, SEL_DATA },
        { VMCS_HOST_ES, SEL_DATA },
        { VMCS_HOST_FS, 0 },
        { VMCS_HOST_GS, 0 },
        { VMCS_HOST_TR, SEL_TSS },
        { VMCS_HOST_FS_BASE, 0 },
        { VMCS_HOST_GS_BASE, (uint64_t)c },
        { VMCS_HOST_TR_BASE, (uint64_t)&c->tss },
        { VMCS_HOST_GDTR_BASE, (uint64_t)c->gdt },
        { VMCS_HOST_IDTR_BASE, idtr.base },
        { VMCS_HOST_SYSENTER_CS, 0 },
        { VMCS_HOST_SYSENTER_ESP, 0 },
        { VMCS_HOST_SYSENTER_EIP, 0 },
        { VMCS_HOST_CR0, read_cr0() },
        { VMCS_HOST_CR3, read_cr3() },
        { VMCS_HOST_CR4, read_cr4() },
        { VMCS_HOST_PAT, rdmsr(MSR_PAT) },
        { VMCS_HOST_EFER, rdmsr(MSR_EFER) },
        { VMCS_HOST_RIP, (uint64_t)vmx_exit },
    };

    write_rows(rows, ARRAY_SIZE(rows));
}

void vmx_load(struct vcpu *v, uint64_t vmcs)
{
    struct vmx *s = v->backend;
    bool failed;

    __asm__ volatile("vmclear %1; vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    hv_assert(!failed);
    controls(v);
    apic(v);
    host_state();
    s->loaded = true;
    s->launched = false;
}

/* --- The guest's side at a start: as after reset (SDM 3A 10.1.1), but for what it changes ----- */

enum {
    RIGHTS_CODE16 = 0x009b,
    RIGHTS_DATA16 = 0x0093,
    RIGHTS_CODE32 = 0xc09b,
    RIGHTS_DATA32 = 0xc093,
    RIGHTS_LDT = 0x0082,
    RIGHTS_TSS = 0x008b
};
enum { SEG_CS = 1, SEG_LDTR = 6, SEG_TR = 7, SEGMENTS = 8 };

struct segment {
    uint64_t base;
    uint32_t limit, rights;
    uint16_t selector;
};

/* The four tables of segment fields have the same order; bases and selectors are 2 apart, as the
 * rest. */
static void write_segment(unsigned n, struct segment s)
{
    vmcs_write(VMCS_GUEST_ES + 2 * n, s.selector);
    vmcs_write(VMCS_GUEST_ES_BASE + 2 * n, s.base);
    vmcs_write(VMCS_GUEST_ES_LIMIT + 2 * n, s.limit);
    vmcs_write(VMCS_GUEST_ES_RIGHTS + 2 * n, s.rights);
}

static const struct start_row {
    enum vmcs_field field;
    uint64_t real, flat; /* SIPI; PVH entry */
} start_rows[] = {
    { VMCS_GUEST_CR0, CR0_ET | CR0_NE, CR0_ET | CR0_NE | CR0_PE },
    { VMCS_CR0_SHADOW, CR0_ET, CR0_ET | CR0_PE },
    { VMCS_GUEST_CR3, 0, 0 },
    { VMCS_GUEST_CR4, CR4_VMXE | CR4_MCE, CR4_VMXE | CR4_MCE },
    { VMCS_CR4_SHADOW, 0, 0 },
    { VMCS_GUEST_EFER, 0, 0 },
    { VMCS_GUEST_PAT, PAT_RESET, PAT_RESET },
    { VMCS_GUEST_DR7, 0x400, 0x400 },
    { VMCS_GUEST_RFLAGS, 2, 2 },
    { VMCS_GUEST_GDTR_BASE, 0, 0 },
    { VMCS_GUEST_GDTR_LIMIT, 0xffff, 0 },
    { VMCS_GUEST_IDTR_BASE, 0, 0 },
    { VMCS_GUEST_IDTR_LIMIT, 0xffff, 0 },
    { VMCS_GUEST_SYSENTER_CS, 0, 0 },
    { VMCS_GUEST_SYSENTER_ESP, 0, 0 },
    { VMCS_GUEST_SYSENTER_EIP, 0, 0 },
    { VMCS_GUEST_DEBUGCTL, 0, 0 },
    { VMCS_GUEST_PENDING_DEBUG, 0, 0 },
    { VMCS_GUEST_INTERRUPTIBILITY, 0, 0 },
    { VMCS_GUEST_ACTIVITY, 0, 0 },
    { VMCS_ENTRY_EVENT, 0, 0 },
    { VMCS_TPR_THRESHOLD, 0, 0 },
};

void vmx_guest_state(const struct vcpu_start *start)
{
    bool real = start->real_mode;
    uint32_t limit = real ? 0xffff : 0xffffffff;
    struct segment data = { 0, limit, real ? RIGHTS_DATA16 : RIGHTS_DATA32, 0 };
    struct segment code = { 0, limit, RIGHTS_CODE32, 0 };

    if (real)
        code = (struct segment){ start->rip, limit, RIGHTS_CODE16, (uint16_t)(start->rip >> 4) };
    for (unsigned n = 0; n < SEG_LDTR; n++)
        write_segment(n, n == SEG_CS ? code : data);
    write_segment(SEG_LDTR, (struct segment){ 0, 0xffff, RIGHTS_LDT, 0 });
    write_segment(SEG_TR, (struct segment){ 0, real ? 0xffff : 0x67, RIGHTS_TSS, 0 });
    for (unsigned i = 0; i < ARRAY_SIZE(start_rows); i++)
        vmcs_write(start_rows[i].field, real ? start_rows[i].real : start_rows[i].flat);
    vmcs_write(VMCS_ENTRY_CONTROLS, vmx_setup.controls[VMX_ENTRY]);
    vmcs_write(VMCS_PRIMARY_CONTROLS, vmx_setup.controls[VMX_PRIMARY]);
    if (vmx_setup.apicv)
        vmcs_write(VMCS_GUEST_INTERRUPT_STATUS, 0);
    /* Not in the VMCS; the host does not use them. */
    __asm__ volatile("mov %0, %%cr2; mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3; "
                     "mov %1, %%dr6"
                     :
                     : "r"(0ull), "r"(0xffff0ff0ull));
}
