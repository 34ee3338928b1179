/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual machine control structure: encodings of the fields that are used (SDM 3D appendix B),
 * and the instructions that reach the current one.
 */
#ifndef ARCH_X86_VMX_VMCS_H
#define ARCH_X86_VMX_VMCS_H

#include <stdint.h>

#include "arch/x86/asm.h"
#include "hv/log.h"

enum vmcs_field : uint32_t {
    VMCS_VPID = 0x0000,
    VMCS_POSTED_VECTOR = 0x0002,
    /* Segments in the order of their encoding: ES CS SS DS FS GS LDTR TR; 2 apart. */
    VMCS_GUEST_ES = 0x0800,
    VMCS_GUEST_CS = 0x0802,
    VMCS_GUEST_INTERRUPT_STATUS = 0x0810, /* RVI, SVI */
    VMCS_HOST_ES = 0x0c00,
    VMCS_HOST_CS = 0x0c02,
    VMCS_HOST_SS = 0x0c04,
    VMCS_HOST_DS = 0x0c06,
    VMCS_HOST_FS = 0x0c08,
    VMCS_HOST_GS = 0x0c0a,
    VMCS_HOST_TR = 0x0c0c,

    VMCS_IO_BITMAP_A = 0x2000,
    VMCS_IO_BITMAP_B = 0x2002,
    VMCS_MSR_BITMAP = 0x2004,
    VMCS_VIRTUAL_APIC = 0x2012,
    VMCS_POSTED_DESCRIPTOR = 0x2016,
    VMCS_EPTP = 0x201a,
    VMCS_EOI_EXIT_BITMAP = 0x201c, /* four of them, 2 apart */
    VMCS_ENCLS_BITMAP = 0x202e,
    VMCS_GUEST_PHYSICAL = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,

    VMCS_PIN_CONTROLS = 0x4000,
    VMCS_PRIMARY_CONTROLS = 0x4002,
    VMCS_EXCEPTION_BITMAP = 0x4004,
    VMCS_PF_ERROR_MASK = 0x4006,
    VMCS_PF_ERROR_MATCH = 0x4008,
    VMCS_CR3_TARGETS = 0x400a,
    VMCS_EXIT_CONTROLS = 0x400c,
    VMCS_EXIT_MSR_STORES = 0x400e,
    VMCS_EXIT_MSR_LOADS = 0x4010,
    VMCS_ENTRY_CONTROLS = 0x4012,
    VMCS_ENTRY_MSR_LOADS = 0x4014,
    VMCS_ENTRY_EVENT = 0x4016,
    VMCS_ENTRY_ERROR_CODE = 0x4018,
    VMCS_ENTRY_LENGTH = 0x401a,
    VMCS_TPR_THRESHOLD = 0x401c,
    VMCS_SECONDARY_CONTROLS = 0x401e,
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_EXIT_REASON = 0x4402,
    VMCS_EXIT_EVENT = 0x4404,
    VMCS_EXIT_ERROR_CODE = 0x4406,
    VMCS_VECTORING_EVENT = 0x4408,
    VMCS_VECTORING_ERROR_CODE = 0x440a,
    VMCS_EXIT_LENGTH = 0x440c,
    VMCS_GUEST_ES_LIMIT = 0x4800,
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_RIGHTS = 0x4814,
    VMCS_GUEST_CS_RIGHTS = 0x4816,
    VMCS_GUEST_SS_RIGHTS = 0x4818,
    VMCS_GUEST_LDTR_RIGHTS = 0x4820,
    VMCS_GUEST_TR_RIGHTS = 0x4822,
    VMCS_GUEST_INTERRUPTIBILITY = 0x4824,
    VMCS_GUEST_ACTIVITY = 0x4826,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_HOST_SYSENTER_CS = 0x4c00,

    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    VMCS_QUALIFICATION = 0x6400,
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806,
    VMCS_GUEST_CS_BASE = 0x6808,
    VMCS_GUEST_TR_BASE = 0x6814,
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_GUEST_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14, /* entry.S knows this number, too */
    VMCS_HOST_RIP = 0x6c16,
};

/* Events of entry, of exits, and of what a delivery was that an exit interrupted (24.8.3, 24.9.2).
 */
#define EVENT_VECTOR       0x000000ffu
#define EVENT_TYPE         0x00000700u
#define EVENT_INTERRUPT    0x00000000u
#define EVENT_NMI          0x00000200u
#define EVENT_EXCEPTION    0x00000300u
#define EVENT_INT          0x00000400u /* INT n */
#define EVENT_INT1         0x00000500u /* privileged software exception */
#define EVENT_INT3         0x00000600u /* INT3, INTO */
#define EVENT_HAS_CODE     0x00000800u
#define EVENT_IRET_UNBLOCK 0x00001000u /* of an exit: an IRET had ended the blocking of NMIs */
#define EVENT_VALID        0x80000000u

/* Interruptibility (24.4.2). */
#define BLOCKED_BY_STI    0x1u
#define BLOCKED_BY_MOV_SS 0x2u
#define BLOCKED_BY_NMI    0x8u

/* A field that the CPU does not have is a mistake of ours, not a guest's. */
static inline uint64_t vmcs_read(enum vmcs_field field)
{
    uint64_t value;
    bool failed;

    __asm__ volatile("vmread %2, %1"
                     : "=@ccbe"(failed), "=rm"(value)
                     : "r"((uint64_t)field)
                     : "memory");
    if (failed)
        panic("vmx: no field %x to read", (unsigned)field);
    return value;
}

static inline void vmcs_write(enum vmcs_field field, uint64_t value)
{
    bool failed;

    __asm__ volatile("vmwrite %1, %2"
                     : "=@ccbe"(failed)
                     : "rm"(value), "r"((uint64_t)field)
                     : "memory");
    if (failed)
        panic("vmx: no field %x to write", (unsigned)field);
}

static inline void vmcs_set(enum vmcs_field field, uint32_t bits)
{
    vmcs_write(field, vmcs_read(field) | bits);
}

static inline void vmcs_clear(enum vmcs_field field, uint32_t bits)
{
    vmcs_write(field, vmcs_read(field) & ~(uint64_t)bits);
}

#endif
