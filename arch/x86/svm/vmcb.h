/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual machine control block (APM 2 appendix B): control area, then state-save area. Fields
 * we never touch are reserved here; the block is zeroed when it is made.
 */
#ifndef ARCH_X86_SVM_VMCB_H
#define ARCH_X86_SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

struct vmcb_segment {
    uint16_t selector;
    uint16_t attributes; /* descriptor bits 55:52 and 47:40 */
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    /* Control area, B-1 */
    uint32_t intercept_cr, intercept_dr;
    uint32_t intercept_exception;
    uint32_t intercept[3]; /* 00Ch, 010h, 014h: numbered as exit codes 060h onwards */
    uint8_t reserved0[0x03c - 0x018];
    uint16_t pause_threshold, pause_count;
    uint64_t iopm, msrpm; /* host physical */
    uint64_t tsc_offset;
    uint32_t asid;
    uint8_t tlb_control;
    uint8_t reserved1[3];
    uint64_t virtual_interrupt; /* VINTR_x */
    uint64_t interrupt_shadow;  /* bit 0; bit 1: guest's IF, for SEV */
    uint64_t exit_code;
    uint64_t exit_info1, exit_info2;
    uint64_t exit_event; /* EVENT_x: what was being delivered */
    uint64_t nested;     /* bit 0: nested paging */
    uint8_t reserved2[0x0a8 - 0x098];
    uint64_t event; /* EVENT_x: to deliver at entry */
    uint64_t ncr3;
    uint64_t lbr_control;
    uint32_t clean, reserved3; /* 0: nothing is known to be unchanged */
    uint64_t next_rip;         /* with NRIPS */
    uint8_t reserved4[0x400 - 0x0d0];

    /* State-save area, B-2 */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved5[0x4cb - 0x4a0];
    uint8_t cpl;
    uint32_t reserved6;
    uint64_t efer;
    uint8_t reserved7[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved8[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved9[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    uint8_t reserved10[0x668 - 0x648];
    uint64_t pat, debugctl;
    uint8_t reserved11[0x1000 - 0x678];
};

static_assert(offsetof(struct vmcb, iopm) == 0x040);
static_assert(offsetof(struct vmcb, virtual_interrupt) == 0x060);
static_assert(offsetof(struct vmcb, exit_code) == 0x070);
static_assert(offsetof(struct vmcb, nested) == 0x090);
static_assert(offsetof(struct vmcb, event) == 0x0a8);
static_assert(offsetof(struct vmcb, next_rip) == 0x0c8);
static_assert(offsetof(struct vmcb, es) == 0x400);
static_assert(offsetof(struct vmcb, efer) == 0x4d0);
static_assert(offsetof(struct vmcb, cr4) == 0x548);
static_assert(offsetof(struct vmcb, rip) == 0x578);
static_assert(offsetof(struct vmcb, rsp) == 0x5d8);
static_assert(offsetof(struct vmcb, cr2) == 0x640);
static_assert(offsetof(struct vmcb, pat) == 0x668);
static_assert(sizeof(struct vmcb) == 0x1000);

/* virtual_interrupt, 060h */
#define VINTR_TPR        0x0full
#define VINTR_PENDING    (1ull << 8)
#define VINTR_IGNORE_TPR (1ull << 20)
#define VINTR_MASKING    (1ull << 24) /* physical interrupts: host's IF; V_TPR: guest's CR8 */

#define INTERCEPT_CR8_WRITE (1u << 24) /* intercept_cr */

/* event and exit_event, APM 2 15.20 */
#define EVENT_VECTOR     0xffull
#define EVENT_TYPE       (7ull << 8)
#define EVENT_INTERRUPT  (0ull << 8)
#define EVENT_NMI        (2ull << 8)
#define EVENT_EXCEPTION  (3ull << 8)
#define EVENT_SOFTWARE   (4ull << 8)
#define EVENT_HAS_CODE   (1ull << 11)
#define EVENT_VALID      (1ull << 31)
#define EVENT_CODE_SHIFT 32

#define TLB_KEEP      0u
#define TLB_FLUSH_ALL 1u

/* Exit codes, APM 2 appendix C. 040h + vector: exceptions. The others up to 0a3h are the bits of
 * intercept[0..2], counted from 060h. */
enum vmcb_exit {
    VMEXIT_CR8_WRITE = 0x018,
    VMEXIT_EXCEPTION = 0x040,
    VMEXIT_INTR = 0x060,
    VMEXIT_NMI = 0x061,
    VMEXIT_SMI = 0x062,
    VMEXIT_INIT = 0x063,
    VMEXIT_VINTR = 0x064,
    VMEXIT_RDPMC = 0x06f,
    VMEXIT_CPUID = 0x072,
    VMEXIT_RSM = 0x073,
    VMEXIT_IRET = 0x074,
    VMEXIT_INVD = 0x076,
    VMEXIT_HLT = 0x078,
    VMEXIT_INVLPGA = 0x07a,
    VMEXIT_IOIO = 0x07b,
    VMEXIT_MSR = 0x07c,
    VMEXIT_FERR_FREEZE = 0x07e,
    VMEXIT_SHUTDOWN = 0x07f,
    VMEXIT_VMRUN = 0x080,
    VMEXIT_VMMCALL = 0x081,
    VMEXIT_VMLOAD = 0x082,
    VMEXIT_VMSAVE = 0x083,
    VMEXIT_STGI = 0x084,
    VMEXIT_CLGI = 0x085,
    VMEXIT_SKINIT = 0x086,
    VMEXIT_WBINVD = 0x089,
    VMEXIT_MONITOR = 0x08a,
    VMEXIT_MWAIT = 0x08b,
    VMEXIT_XSETBV = 0x08d,
    VMEXIT_RDPRU = 0x08e,
    VMEXIT_TABLE_END = 0x0a0, /* codes below are in the exit table */
    VMEXIT_NPF = 0x400,
};

#endif
