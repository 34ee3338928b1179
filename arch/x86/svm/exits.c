/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One entry into the guest, and what ended it. A row of the table says what an exit is for the
 * shared code and how long its instruction is: many processors, and QEMU, do not tell (no NRIPS).
 * Where they do not, a prefix before such an instruction makes the guest go on in the middle of it.
 */
#include "arch/x86/speculation.h"
#include "arch/x86/svm/svm.h"

#include "hv/log.h"
#include "hv/vm.h"

struct exit_row {
    uint8_t kind;   /* vcpu_exit_kind, of all that decode does not decide */
    uint8_t length; /* of the instruction; 0: not one that is skipped */
    bool on_demand; /* not intercepted from the start */
    bool known;     /* the row exists */
    void (*decode)(struct vcpu *v, const struct vmcb *c, struct vcpu_exit *e);
};

/* APM 2 15.10.2 */
static void decode_io(struct vcpu *v, const struct vmcb *c, struct vcpu_exit *e)
{
    struct svm *s = v->backend;

    s->next_rip = c->exit_info2;
    e->io.port = (uint16_t)(c->exit_info1 >> 16);
    e->io.size = c->exit_info1 >> 4 & 7; /* one of three bits: 1, 2, 4 bytes */
    e->io.in = c->exit_info1 & 1;
    e->io.string = c->exit_info1 & 0xc; /* STR, REP */
}

static void decode_msr(struct vcpu *, const struct vmcb *c, struct vcpu_exit *e)
{
    e->kind = c->exit_info1 & 1 ? EXIT_MSR_WRITE : EXIT_MSR_READ;
}

static void decode_exception(struct vcpu *, const struct vmcb *c, struct vcpu_exit *e)
{
    e->exception.vector = (uint8_t)(c->exit_code - VMEXIT_EXCEPTION);
    e->exception.has_code = e->exception.vector == 17; /* #AC */
    e->exception.code = (uint32_t)c->exit_info1;
}

/* Ours, not the guest's: our own handler prints what is known and stops the machine. */
static void decode_machine_check(struct vcpu *, const struct vmcb *, struct vcpu_exit *)
{
    __asm__ volatile("int $18" ::: "memory");
}

static void decode_iret(struct vcpu *v, const struct vmcb *, struct vcpu_exit *)
{
    svm_iret(v);
}

/* Without an instruction decoder these cannot be told apart: they are in the log by code. */
static void decode_raw(struct vcpu *, const struct vmcb *c, struct vcpu_exit *e)
{
    e->raw.code = c->exit_code;
}

static const struct exit_row exits[VMEXIT_TABLE_END - VMEXIT_EXCEPTION] = {
#define ROW(code, ...)         [VMEXIT_##code - VMEXIT_EXCEPTION] = { __VA_ARGS__, .known = true }
#define EXCEPTION(vector, ...) [vector] = { EXIT_EXCEPTION, __VA_ARGS__, .known = true }
    /* #DB and #AC can be raised by their own delivery, for ever, with no interrupt between. */
    EXCEPTION(1, .decode = decode_exception),
    EXCEPTION(17, .decode = decode_exception),
    EXCEPTION(18, .decode = decode_machine_check),
    ROW(INTR, EXIT_INTERRUPT),
    ROW(NMI, EXIT_NONE), /* taken by the host's handler at STGI, as is SMI */
    ROW(SMI, EXIT_NONE),
    ROW(INIT, EXIT_NONE),
    ROW(VINTR, EXIT_WINDOW),
    ROW(RDPMC, EXIT_DENIED),
    ROW(CPUID, EXIT_CPUID, 2),
    ROW(RSM, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(IRET, EXIT_NONE, .on_demand = true, .decode = decode_iret),
    ROW(INVD, EXIT_SKIP, 2), /* would lose what the host has in its caches */
    ROW(HLT, EXIT_HLT, 1),
    ROW(INVLPGA, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(IOIO, EXIT_IO, .decode = decode_io),
    ROW(MSR, EXIT_MSR_READ, 2, .decode = decode_msr),
    ROW(FERR_FREEZE, EXIT_NONE),
    ROW(SHUTDOWN, EXIT_SHUTDOWN),
    ROW(VMRUN, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(VMMCALL, EXIT_HYPERCALL, 3),
    ROW(VMLOAD, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(VMSAVE, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(STGI, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(CLGI, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(SKINIT, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(WBINVD, EXIT_SKIP, 2), /* would stall every guest; DMA of guests is snooped */
    ROW(MONITOR, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(MWAIT, EXIT_UNDEFINED, .decode = decode_raw),
    ROW(XSETBV, EXIT_XSETBV, 3),
    ROW(RDPRU, EXIT_UNDEFINED, .decode = decode_raw),
#undef EXCEPTION
#undef ROW
};

void svm_intercepts(struct vmcb *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(exits); i++) {
        if (!exits[i].known || exits[i].on_demand)
            continue;
        if (i < 32)
            c->intercept_exception |= 1u << i;
        else
            c->intercept[i / 32 - 1] |= 1u << i % 32;
    }
}

/* Codes outside the table: second-stage violations (APM 2 15.25.6), writes of CR8 while an
 * interrupt waits, and what we never asked for. */
static void decode_other(struct vcpu *v, const struct vmcb *c, struct vcpu_exit *e)
{
    if (c->exit_code == VMEXIT_NPF) {
        e->kind = EXIT_MEMORY;
        e->memory.gpa = c->exit_info2;
        e->memory.write = c->exit_info1 & 2;
        e->memory.fetch = c->exit_info1 & 16;
        return;
    }
    if (c->exit_code == VMEXIT_CR8_WRITE) {
        e->kind = EXIT_NONE;
        svm_cr8_write(v);
        return;
    }
    e->kind = EXIT_BAD_STATE;
    e->raw.code = c->exit_code;
    log_error(v->vm->name, "vCPU %u: VMCB cr0 %lx cr3 %lx cr4 %lx efer %lx rflags %lx", v->index,
              (unsigned long)c->cr0, (unsigned long)c->cr3, (unsigned long)c->cr4,
              (unsigned long)c->efer, (unsigned long)c->rflags);
}

struct vcpu_exit svm_run(struct vcpu *v)
{
    struct svm *s = v->backend;
    struct vmcb *c = s->vmcb;
    struct vcpu_exit e;

    c->rax = v->reg[REG_RAX];
    c->rsp = v->reg[REG_RSP];
    c->rip = v->rip;
    speculation_before_entry();
    svm_enter(v->reg, s->vmcb_pa, s->host_pa);
    speculation_after_exit();
    v->reg[REG_RAX] = c->rax;
    v->reg[REG_RSP] = c->rsp;
    v->rip = c->rip;
    c->tlb_control = TLB_KEEP;
    if (c->exit_event & EVENT_VALID)
        svm_redeliver(c);
    if (s->stepping && svm_step_end(v)) {
        e.kind = EXIT_NONE;
        return e;
    }

    uint64_t i = c->exit_code - VMEXIT_EXCEPTION;
    if (i >= ARRAY_SIZE(exits) || !exits[i].known) {
        decode_other(v, c, &e);
        return e;
    }
    e.kind = exits[i].kind;
    s->next_rip = svm_has_nrips ? c->next_rip : v->rip + exits[i].length;
    if (exits[i].decode)
        exits[i].decode(v, c, &e);
    return e;
}
