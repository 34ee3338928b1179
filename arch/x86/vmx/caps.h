/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CPU's VMX can do, as its capability MSRs tell it (SDM 3D appendix A), and what of it is
 * used: a table for each control field. Pure functions of those MSRs: the unit tests drive them
 * with the recorded ones of many CPUs.
 */
#ifndef ARCH_X86_VMX_CAPS_H
#define ARCH_X86_VMX_CAPS_H

#include <stdint.h>

#include "arch/x86/asm.h"

enum vmx_field { VMX_PIN, VMX_PRIMARY, VMX_SECONDARY, VMX_EXIT, VMX_ENTRY, VMX_FIELDS };

/* Bits of the fields that code names (SDM 3C 24.6 to 24.8); the tables in caps.c have all. */
enum {
    PIN_POSTED = 1u << 7,
    PRIMARY_INTERRUPT_WINDOW = 1u << 2,
    PRIMARY_NMI_WINDOW = 1u << 22,
    SECONDARY_X2APIC = 1u << 4,
    SECONDARY_APIC_REGISTERS = 1u << 8,
    SECONDARY_INTERRUPT_DELIVERY = 1u << 9,
    SECONDARY_ENCLS = 1u << 15,
    ENTRY_LONG_MODE = 1u << 9,
};

struct vmx_caps {
    uint64_t feature_control;      /* 0x3a */
    uint64_t basic;                /* 0x480 */
    uint64_t controls[VMX_FIELDS]; /* 31:0 bits that must be 1, 63:32 bits that may be 1 */
    uint64_t misc;                 /* 0x485 */
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1; /* 0x486 to 0x489 */
    uint64_t ept_vpid;                                       /* 0x48c */
    bool vmx, rdtscp, invpcid;                               /* CPUID */
    bool small_pages; /* large leaves of EPT would let a guest stop the machine */
};

/* Read them all, with sources given. MSRs that this CPU does not have are not touched and count as
 * 0. */
typedef uint64_t vmx_msr_source(uint32_t msr);
typedef struct cpuid vmx_cpuid_source(uint32_t leaf, uint32_t subleaf);
void vmx_caps_read(struct vmx_caps *caps, vmx_msr_source *msr, vmx_cpuid_source *id);

/* The name of the first thing that this CPU lacks, with its MSR and bit; NULL: nothing. */
const char *vmx_caps_missing(const struct vmx_caps *caps);

/* The fields' values, of a CPU that lacks nothing. Options are on where the CPU has them. */
struct vmx_setup {
    uint32_t controls[VMX_FIELDS];
    bool apicv;     /* registers and delivery of interrupts are hardware's */
    bool posted;    /* other CPUs post interrupts without an exit; with apicv only */
    unsigned large; /* leaves of EPT, as struct pt has it */
    bool invept_single, invvpid_single;
};
void vmx_caps_setup(const struct vmx_caps *caps, struct vmx_setup *setup);

/* The name of the first control of @value that this CPU does not allow; NULL: all are. */
const char *vmx_caps_refused(const struct vmx_caps *caps, enum vmx_field field, uint32_t value);

#endif
