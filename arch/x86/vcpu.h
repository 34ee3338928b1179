/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU contract, on one page. The core sees struct vcpu and the functions at the end; the
 * backends (svm/, vmx/) implement struct vcpu_ops; arch/x86/exit.c between them handles every exit
 * the same way for both. A vCPU is pinned to one CPU, which runs nothing else.
 */
#ifndef ARCH_X86_VCPU_H
#define ARCH_X86_VCPU_H

#include "hv/lock.h"
#include "hv/log.h"
#include "hv/pt.h"
#include "hv/types.h"

struct vm;
struct vlapic;

/* General registers in the order of their encoding (SDM 2A 2.2.1.2). */
/* clang-format off */
enum vcpu_reg { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REGS };
/* clang-format on */

enum vcpu_state { VCPU_WAIT_SIPI, VCPU_RUNNING, VCPU_HALTED, VCPU_STOPPED };

/* What others ask of a vCPU; done by its own CPU before the next entry. */
enum vcpu_request {
    VCPU_START = 1u << 0, /* vcpu_begin() */
    VCPU_INIT = 1u << 1,  /* wait for SIPI */
    VCPU_SIPI = 1u << 2,  /* if it waits: start in real mode at sipi_page */
    VCPU_NMI = 1u << 3,
    VCPU_FLUSH = 1u << 4, /* second stage narrowed */
    VCPU_STOP = 1u << 5,
};

enum vcpu_exit_kind {
    EXIT_NONE, /* handled inside the backend */
    EXIT_HYPERCALL,
    EXIT_CPUID,
    EXIT_MSR_READ,
    EXIT_MSR_WRITE,
    EXIT_IO,
    EXIT_HLT,
    EXIT_XSETBV,
    EXIT_MEMORY,    /* second-stage violation */
    EXIT_INTERRUPT, /* host interrupt or kick: run the host's handlers, then go on */
    EXIT_WINDOW,    /* the guest can take an interrupt now */
    EXIT_EXCEPTION, /* intercepted so that delivering it cannot hang the CPU: give it back */
    EXIT_SKIP,      /* has no effect in a guest: step over it */
    EXIT_UNDEFINED, /* an instruction we do not offer: inject #UD */
    EXIT_DENIED,    /* inject #GP(0) */
    EXIT_SHUTDOWN,  /* triple fault */
    EXIT_BAD_STATE, /* entry refused: the VM is stopped, with the backend's reason in the log */
    EXIT_KINDS,
};

struct vcpu_exit {
    enum vcpu_exit_kind kind;
    union {
        struct {
            uint16_t port;
            uint8_t size;
            bool in, string;
        } io;
        struct {
            uint64_t gpa;
            bool write, fetch;
        } memory;
        struct {
            uint8_t vector;
            bool has_code;
            uint32_t code;
        } exception;
        struct {
            uint64_t code;
        } raw; /* BAD_STATE, UNDEFINED: the backend's own number */
    };
};

/* Where a vCPU starts: PVH entry (32-bit protected, paging off) or SIPI (real mode, rip = page). */
struct vcpu_start {
    bool real_mode;
    uint64_t rip, rbx;
};

/* Interrupts raised by others, by vector; drained before entry. As hardware wants it, which where
 * it can takes them in the guest: 64 bytes, aligned (SDM 3C 30.6). */
struct vcpu_posted {
    _Atomic uint64_t vector[4];
    _Atomic uint64_t control; /* bit 0: a notification is on its way */
    uint64_t reserved[3];
};

struct vcpu {
    alignas(
        64) struct vcpu_posted posted; /* first in its page: Bochs 3.0 refuses any other place */
    uint64_t reg[REGS];                /* guest's, exact between exits; for entry.S */
    uint64_t rip;
    struct vm *vm;
    unsigned index, cpu; /* within the VM (= its APIC id); host CPU */
    void *backend;       /* VMCB, VMCS and what belongs to them */
    struct vlapic *vlapic;
    _Atomic bool kicked; /* something to do before the next entry; see vcpu.c */
    _Atomic enum vcpu_state state;
    _Atomic unsigned request;  /* vcpu_request */
    _Atomic uint8_t sipi_page; /* 4 KiB units; valid with VCPU_SIPI */
    bool nmi_pending;
    struct vcpu_start start; /* valid with VCPU_START */
    uint64_t exits;          /* all reasons */
    uint64_t exits_by[EXIT_KINDS];
    struct log_limit complaints; /* about what the guest does; the log is not its to flood */
};

/* A backend. All but missing and create run on the vCPU's own CPU, interrupts off. */
struct vcpu_ops {
    const char *name;
    const struct pt_format *second_stage; /* CPU-side guest-physical table */
    unsigned second_stage_levels;
    unsigned (*second_stage_large)(void); /* its leaves, as struct pt has them */
    uint32_t hypercall_vmmcall;           /* CPUID 0x40000001 ECX */
    /* NULL, or the name of what this CPU lacks (CPUID leaf or MSR bit). Changes nothing. */
    const char *(*missing)(void);
    enum hv_status (*cpu_enable)(void);       /* on each CPU, once */
    enum hv_status (*create)(struct vcpu *v); /* all resources; charged to the VM's quota */
    void (*destroy)(struct vcpu *v);
    void (*reset)(struct vcpu *v, const struct vcpu_start *start);
    struct vcpu_exit (*run)(struct vcpu *v); /* one world switch; interrupts off around it */
    /* Over the instruction that exited. true: the guest traces it (RFLAGS.TF), and DR6 says so: it
     * is to get #DB. */
    bool (*skip)(struct vcpu *v);
    /* Events. inject_* only if *_ready says so, and one event an entry; exceptions always, they
     * combine with what was being delivered (SDM 3A 6.15); false: that makes a triple fault. */
    bool (*interrupt_ready)(struct vcpu *v);
    void (*inject_interrupt)(struct vcpu *v, uint8_t vector);
    bool (*nmi_ready)(struct vcpu *v);
    void (*inject_nmi)(struct vcpu *v);
    bool (*inject_exception)(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code);
    /* EXIT_WINDOW as soon as the guest could take @vector (0: none), by its IF and CR8, or the NMI
     * that is pending. */
    void (*want_window)(struct vcpu *v, uint8_t vector);
    /* NULL, or: hardware delivers by itself (vlapic_use_page). @vector is the highest pending, 0:
     * none. false: on this CPU it does not; inject. */
    bool (*offer)(struct vcpu *v, uint8_t vector);
    /* NULL, or: does hardware take what is posted, when notified in the guest? */
    bool (*takes_posted)(void);
    uint8_t (*cr8)(struct vcpu *v); /* task priority, vector bits 7:4 */
    void (*set_cr8)(struct vcpu *v, uint8_t cr8);
    uint8_t (*cpl)(struct vcpu *v);
    uint64_t (*cr4)(struct vcpu *v);
    /* Guest MSRs that live in the control block (EFER, PAT); false: not one, or a bad value. */
    bool (*msr_get)(struct vcpu *v, uint32_t msr, uint64_t *value);
    bool (*msr_set)(struct vcpu *v, uint32_t msr, uint64_t value);
    void (*flush)(struct vcpu *v); /* drop cached guest translations on the next entry */
};

extern const struct vcpu_ops vcpu_svm, vcpu_vmx;
extern const struct vcpu_ops *vcpu_ops; /* chosen by vcpu_choose() */

/* --- For the core ---------------------------------------------------------------------------- */

/* Choose the backend, before the other CPUs start. HV_ENOTSUP: the log says what this CPU lacks. */
enum hv_status vcpu_choose(void);
/* Create vCPU @index of @vm on host CPU @cpu, waiting for SIPI. Index 0 first. Boot CPU. */
enum hv_status vcpu_create(struct vm *vm, unsigned index, unsigned cpu, struct vcpu **out);
/* Before the VM ran, or after its vm_vcpu_stopped(). Index 0 last. */
void vcpu_destroy(struct vcpu *v);
/* Enter at @start when its CPU next looks: the boot vCPU of a VM, when all of them are created. */
void vcpu_begin(struct vcpu *v, const struct vcpu_start *start);
/* Raise @vector (32 to 255) in the guest, edge; from any CPU. Kicks the host CPU if needed. */
void vcpu_interrupt(struct vcpu *v, uint8_t vector);
/* The same for a vcpu_request. */
void vcpu_ask(struct vcpu *v, unsigned request);
/* Ask it to leave the guest for good; does not wait. vm_vcpu_stopped() tells when. Any CPU. */
void vcpu_stop(struct vcpu *v);
/* Second stage of @vm narrowed: every vCPU leaves the guest and flushes. Does not wait. */
void vcpu_table_changed(struct vm *vm);
/* The loop of a CPU: runs its vCPU whenever there is one, sleeps otherwise. Does not return. */
[[noreturn]] void vcpu_cpu_loop(void);

#endif
