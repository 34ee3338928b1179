/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One entry into the guest, and what ended it: a row per reason says what it is for the shared code
 * (SDM 3D appendix C). Reasons without a row are of controls that are never set.
 */
#include "arch/x86/irq.h"
#include "arch/x86/speculation.h"
#include "arch/x86/vlapic.h"
#include "arch/x86/vmx/failure.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/vm.h"

enum { VECTOR_DB = 1, VECTOR_NMI = 2, VECTOR_DF = 8, VECTOR_MC = 18 };

#define REASON               0x0000ffffu
#define REASON_REFUSED       0x80000000u /* the entry failed: state or MSRs of the guest */
#define REASON_MACHINE_CHECK 41u

struct exit_row {
    uint8_t kind; /* vcpu_exit_kind, of all that decode does not decide */
    bool known;   /* the row exists */
    void (*decode)(struct vcpu *v, struct vcpu_exit *e);
};

/* The exit came in the middle of an IRET that had unblocked NMIs already (28.2.3): it runs again.
 */
static void iret_again(uint64_t information, bool double_fault)
{
    if ((information & EVENT_IRET_UNBLOCK) && !double_fault &&
        !(vmcs_read(VMCS_VECTORING_EVENT) & EVENT_VALID))
        vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, BLOCKED_BY_NMI);
}

/* NMIs are the host's, and so are machine checks: our own handlers take them. */
static void decode_exception(struct vcpu *v, struct vcpu_exit *e)
{
    uint32_t event = (uint32_t)vmcs_read(VMCS_EXIT_EVENT);
    uint8_t vector = event & EVENT_VECTOR;

    iret_again(event, vector == VECTOR_DF);
    if ((event & EVENT_TYPE) == EVENT_NMI) {
        e->kind = EXIT_NONE;
        __asm__ volatile("int $2" ::: "memory");
        return;
    }
    if (vector == VECTOR_MC)
        __asm__ volatile("int $18" ::: "memory");
    if (vector == VECTOR_DB) {
        vmx_debug_hit(vmcs_read(VMCS_QUALIFICATION));
        if ((event & EVENT_TYPE) == EVENT_INT1)
            ((struct vmx *)v->backend)->int1_length = (uint32_t)vmcs_read(VMCS_EXIT_LENGTH);
    }
    e->exception.vector = vector;
    e->exception.has_code = event & EVENT_HAS_CODE;
    e->exception.code = e->exception.has_code ? (uint32_t)vmcs_read(VMCS_EXIT_ERROR_CODE) : 0;
}

/* Acknowledged by the exit: it is this one vector, whose handler runs here. */
static void decode_interrupt(struct vcpu *, struct vcpu_exit *)
{
    uint32_t event = (uint32_t)vmcs_read(VMCS_EXIT_EVENT);

    if (event & EVENT_VALID)
        irq_dispatch(event & EVENT_VECTOR);
}

/* Table 28-5 */
static void decode_io(struct vcpu *, struct vcpu_exit *e)
{
    uint64_t q = vmcs_read(VMCS_QUALIFICATION);

    e->io.port = (uint16_t)(q >> 16);
    e->io.size = (q & 7) + 1;
    e->io.in = q & 8;
    e->io.string = q & 0x30; /* string, REP */
}

/* Table 28-7 */
static void decode_memory(struct vcpu *, struct vcpu_exit *e)
{
    uint64_t q = vmcs_read(VMCS_QUALIFICATION);

    iret_again(q, false);
    e->memory.gpa = vmcs_read(VMCS_GUEST_PHYSICAL);
    e->memory.write = q & 2;
    e->memory.fetch = q & 4;
}

static void decode_cr(struct vcpu *v, struct vcpu_exit *e)
{
    e->raw.code = vmcs_read(VMCS_EXIT_REASON);
    e->kind = vmx_cr_access(v, vmcs_read(VMCS_QUALIFICATION));
}

/* After a write of an APIC register that hardware has stored, but not acted on: a self IPI with a
 * vector that does not exist (29.1.5). */
static void decode_apic_write(struct vcpu *v, struct vcpu_exit *)
{
    uint64_t at = vmcs_read(VMCS_QUALIFICATION) & 0xff0;
    const struct vmx *s = v->backend;

    (void)vlapic_msr_write(v->vlapic, 0x800 + (uint32_t)(at >> 4),
                           *(const uint32_t *)(s->apic_page + at));
}

static void decode_raw(struct vcpu *, struct vcpu_exit *e)
{
    e->raw.code = vmcs_read(VMCS_EXIT_REASON);
}

static const struct exit_row exits[] = {
#define ROW(reason, ...) [reason] = { __VA_ARGS__, .known = true }
    ROW(0, EXIT_EXCEPTION, .decode = decode_exception),
    ROW(1, EXIT_INTERRUPT, .decode = decode_interrupt),
    ROW(2, EXIT_SHUTDOWN),                        /* triple fault */
    ROW(3, EXIT_NONE),                            /* INIT: the CPU is being held; it goes on here */
    ROW(7, EXIT_WINDOW),                          /* for interrupts */
    ROW(8, EXIT_WINDOW),                          /* for NMIs */
    ROW(9, EXIT_UNDEFINED, .decode = decode_raw), /* task switch */
    ROW(10, EXIT_CPUID),
    ROW(11, EXIT_UNDEFINED, .decode = decode_raw), /* GETSEC */
    ROW(12, EXIT_HLT),
    ROW(13, EXIT_SKIP),   /* INVD: would lose what the host has in its caches */
    ROW(15, EXIT_DENIED), /* RDPMC */
    ROW(17, EXIT_UNDEFINED, .decode = decode_raw), /* RSM */
    ROW(18, EXIT_HYPERCALL),
    ROW(19, EXIT_UNDEFINED, .decode = decode_raw), /* VMCLEAR */
    ROW(20, EXIT_UNDEFINED, .decode = decode_raw), /* VMLAUNCH */
    ROW(21, EXIT_UNDEFINED, .decode = decode_raw), /* VMPTRLD */
    ROW(22, EXIT_UNDEFINED, .decode = decode_raw), /* VMPTRST */
    ROW(23, EXIT_UNDEFINED, .decode = decode_raw), /* VMREAD */
    ROW(24, EXIT_UNDEFINED, .decode = decode_raw), /* VMRESUME */
    ROW(25, EXIT_UNDEFINED, .decode = decode_raw), /* VMWRITE */
    ROW(26, EXIT_UNDEFINED, .decode = decode_raw), /* VMXOFF */
    ROW(27, EXIT_UNDEFINED, .decode = decode_raw), /* VMXON */
    ROW(28, EXIT_NONE, .decode = decode_cr),
    ROW(30, EXIT_IO, .decode = decode_io),
    ROW(31, EXIT_MSR_READ),
    ROW(32, EXIT_MSR_WRITE),
    ROW(36, EXIT_UNDEFINED, .decode = decode_raw), /* MWAIT */
    ROW(39, EXIT_UNDEFINED, .decode = decode_raw), /* MONITOR */
    ROW(43, EXIT_WINDOW),                          /* CR8 is low enough */
    ROW(48, EXIT_MEMORY, .decode = decode_memory),
    ROW(50, EXIT_UNDEFINED, .decode = decode_raw), /* INVEPT */
    ROW(53, EXIT_UNDEFINED, .decode = decode_raw), /* INVVPID */
    ROW(54, EXIT_SKIP), /* WBINVD: would stall every guest; DMA is snooped */
    ROW(55, EXIT_XSETBV),
    ROW(56, EXIT_NONE, .decode = decode_apic_write),
    ROW(59, EXIT_UNDEFINED, .decode = decode_raw), /* VMFUNC */
    ROW(60, EXIT_UNDEFINED, .decode = decode_raw), /* ENCLS */
    ROW(76, EXIT_UNDEFINED, .decode = decode_raw), /* SEAMCALL: no control turns these two off */
    ROW(77, EXIT_UNDEFINED, .decode = decode_raw), /* TDCALL */
#undef ROW
};

static struct vcpu_exit bad_state(struct vcpu *v, uint64_t code)
{
    struct vcpu_exit e = { .kind = EXIT_BAD_STATE, .raw.code = code };

    vmx_failure_log(v, code);
    return e;
}

struct vcpu_exit vmx_run(struct vcpu *v)
{
    struct vmx *s = v->backend;
    struct vcpu_exit e;

    s->int1_length = 0;
    vmx_put_event(s);
    vmcs_write(VMCS_GUEST_RSP, v->reg[REG_RSP]);
    vmcs_write(VMCS_GUEST_RIP, v->rip);
    speculation_before_entry();
    unsigned failed = vmx_enter(v->reg, s->launched);
    speculation_after_exit();
    if (failed)
        return bad_state(v, failed == 1 ? VMX_FAIL_INVALID : vmcs_read(VMCS_INSTRUCTION_ERROR));

    uint32_t reason = (uint32_t)vmcs_read(VMCS_EXIT_REASON);
    if (reason & REASON_REFUSED) {
        if ((reason & REASON) ==
            REASON_MACHINE_CHECK) /* ours, as in the guest; it does not return */
            __asm__ volatile("int $18" ::: "memory");
        return bad_state(v, reason);
    }
    s->launched = true;
    v->reg[REG_RSP] = vmcs_read(VMCS_GUEST_RSP);
    v->rip = vmcs_read(VMCS_GUEST_RIP);
    vmx_take_event(s);

    reason &= REASON;
    if (reason >= ARRAY_SIZE(exits) || !exits[reason].known) {
        e.kind = EXIT_BAD_STATE;
        e.raw.code = reason;
        log_error(v->vm->name, "vCPU %u: exit %u is not expected, qualification %lx", v->index,
                  (unsigned)reason, (unsigned long)vmcs_read(VMCS_QUALIFICATION));
        return e;
    }
    e.kind = exits[reason].kind;
    if (exits[reason].decode)
        exits[reason].decode(v, &e);
    return e;
}
