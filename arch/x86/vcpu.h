/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU contract, on one page. The core sees struct vcpu and the functions at the end; the backends
 * (svm/, vmx/) implement struct vcpu_ops; arch/x86/exit.c between them handles every exit the same
 * way for both. A vCPU is pinned to one CPU, which runs nothing else.
 */
#ifndef ARCH_X86_VCPU_H
#define ARCH_X86_VCPU_H

#include "hv/lock.h"
#include "hv/pt.h"
#include "hv/types.h"

struct vm;
struct vlapic;

/* General registers in the order of their encoding (SDM 2A 2.2.1.2). */
enum vcpu_reg { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REGS };

enum vcpu_state { VCPU_WAIT_SIPI, VCPU_RUNNING, VCPU_HALTED, VCPU_STOPPED };

struct vcpu {
    uint64_t reg[REGS];    /* guest's; RAX, RSP and RIP are exact between exits */
    uint64_t rip;
    struct vm *vm;
    unsigned index, cpu;   /* within the VM (= its APIC id); host CPU */
    _Atomic enum vcpu_state state;
    _Atomic bool kicked;   /* something to do before the next entry */
    _Atomic uint64_t posted[4]; /* interrupts raised by others, by vector; drained before entry */
    struct vlapic *vlapic;
    void *backend;         /* VMCB, VMCS and what belongs to them */
    uint64_t exits;        /* all reasons */
};

enum vcpu_exit_kind {
    EXIT_NONE,        /* handled inside the backend */
    EXIT_HYPERCALL, EXIT_CPUID, EXIT_MSR_READ, EXIT_MSR_WRITE, EXIT_IO, EXIT_HLT, EXIT_XSETBV,
    EXIT_MEMORY,      /* second-stage violation */
    EXIT_INTERRUPT,   /* host interrupt or kick: run the host's handlers, then go on */
    EXIT_WINDOW,      /* the guest can take an interrupt now */
    EXIT_SHUTDOWN,    /* triple fault */
    EXIT_BAD_STATE,   /* entry refused: the VM is stopped, with the backend's reason in the log */
    EXIT_UNDEFINED,   /* an instruction we do not offer: inject #UD */
    EXIT_KINDS,
};

struct vcpu_exit {
    enum vcpu_exit_kind kind;
    union {
        struct { uint16_t port; uint8_t size; bool in, string; } io;
        struct { uint64_t gpa; bool write, fetch; } memory;
    };
};

/* Where a vCPU starts: PVH entry (32-bit protected, paging off) or SIPI (real mode). */
struct vcpu_start { bool real_mode; uint64_t rip, rbx; };

struct vcpu_ops {
    const char *name;
    const struct pt_format *second_stage; /* CPU-side guest-physical table */
    unsigned second_stage_levels;
    /* NULL, or the name of what this CPU lacks (CPUID leaf or MSR bit). Changes nothing. */
    const char *(*missing)(void);
    enum hv_status (*cpu_enable)(void);   /* on each CPU, once */
    enum hv_status (*create)(struct vcpu *v);  /* all resources; charged to the VM's quota */
    void (*destroy)(struct vcpu *v);
    void (*reset)(struct vcpu *v, const struct vcpu_start *start);
    struct vcpu_exit (*run)(struct vcpu *v);   /* one world switch; interrupts off around it */
    void (*skip)(struct vcpu *v);              /* step over the instruction that exited */
    /* Inject now (only if ready says so), or ask for EXIT_WINDOW. */
    bool (*interrupt_ready)(struct vcpu *v);
    void (*inject_interrupt)(struct vcpu *v, uint8_t vector);
    void (*want_window)(struct vcpu *v, bool on);
    void (*inject_exception)(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code);
    uint8_t (*cpl)(struct vcpu *v);
    /* Guest MSRs that live in the control block (EFER, STAR.., FS/GS base, PAT); false: not one. */
    bool (*msr_get)(struct vcpu *v, uint32_t msr, uint64_t *value);
    bool (*msr_set)(struct vcpu *v, uint32_t msr, uint64_t value);
    void (*table_changed)(struct vm *vm);      /* second stage narrowed: flush before next entry */
};

extern const struct vcpu_ops vcpu_svm;
extern const struct vcpu_ops *vcpu_ops;        /* chosen at boot from CPUID */

/* --- For the core ------------------------------------------------------------------------------- */

/* Create vCPU @index of @vm on host CPU @cpu, waiting for SIPI. */
enum hv_status vcpu_create(struct vm *vm, unsigned index, unsigned cpu, struct vcpu **out);
void vcpu_destroy(struct vcpu *v);
/* Enter at @start when its CPU next looks (the boot vCPU of a VM). */
void vcpu_begin(struct vcpu *v, const struct vcpu_start *start);
/* Raise @vector (32 to 255) in the guest, edge; from any CPU. Kicks the host CPU if needed. */
void vcpu_interrupt(struct vcpu *v, uint8_t vector);
/* Ask it to leave the guest for good; does not wait. vm_vcpu_stopped() tells when. Any CPU. */
void vcpu_stop(struct vcpu *v);
/* The loop of a CPU: runs its vCPU whenever there is one, sleeps otherwise. Does not return. */
[[noreturn]] void vcpu_cpu_loop(void);

#endif
