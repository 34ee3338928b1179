/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every exit ends here, in a table by kind. Whatever a guest does ends in a value, an exception in
 * the guest, or the end of that guest.
 *
 * For guests: an access outside the VM's memory and devices raises #GP(0), as there is no decoder
 * to finish the instruction with all ones. String IO (INS, OUTS) raises #UD for the same reason.
 */
#include "arch/x86/exit.h"

#include "arch/x86/cpuid_policy.h"
#include "arch/x86/io.h"
#include "arch/x86/irq.h"
#include "arch/x86/msr_policy.h"
#include "arch/x86/time.h"
#include "arch/x86/xstate.h"
#include "hv/hypercall.h"
#include "hv/platform.h"
#include "hv/vm.h"

enum { VECTOR_DB = 1, VECTOR_UD = 6, VECTOR_GP = 13 };

#define COMPLAINTS 5u /* lines a second and vCPU */

#define complain(v, format, ...)                                                                   \
    do {                                                                                           \
        if (log_allowed(&(v)->complaints, COMPLAINTS))                                             \
            log_warn((v)->vm->name, "vCPU %u at %lx: " format, (v)->index,                         \
                     (unsigned long)(v)->rip __VA_OPT__(, ) __VA_ARGS__);                          \
    } while (0)

static void triple_fault(struct vcpu *v)
{
    log_error(v->vm->name, "vCPU %u: triple fault at %lx", v->index, (unsigned long)v->rip);
    vm_end(v->vm, VM_END_TRIPLE_FAULT, 0);
}

static void raise(struct vcpu *v, uint8_t vector, bool has_code, uint32_t code)
{
    if (!vcpu_ops->inject_exception(v, vector, has_code, code))
        triple_fault(v);
}

/* Behind the instruction. A trap of it comes before any interrupt. @return whether there is one. */
static bool skip(struct vcpu *v)
{
    bool traced = vcpu_ops->skip(v);

    if (__builtin_expect(traced, 0))
        raise(v, VECTOR_DB, false, 0);
    return traced;
}

static void on_none(struct vcpu *, const struct vcpu_exit *)
{
}

/* Apart, as HC_NULL has no arguments that would have to be gathered. */
[[gnu::noinline]] static void call_with_arguments(struct vcpu *v)
{
    struct hypercall_regs regs = {
        v->reg[REG_RAX],
        { v->reg[REG_RDI], v->reg[REG_RSI], v->reg[REG_RDX], v->reg[REG_R10], v->reg[REG_R8] },
    };
    uint64_t value = 0;
    enum hv_status status = hypercall(v, &regs, &value);

    v->reg[REG_RAX] = (uint64_t)(int64_t)status;
    v->reg[REG_RDX] = value;
}

static void on_hypercall(struct vcpu *v, const struct vcpu_exit *)
{
    if (vcpu_ops->cpl(v) != 0) {
        raise(v, VECTOR_UD, false, 0);
        return;
    }
    if (v->reg[REG_RAX] == HC_NULL) {
        v->reg[REG_RAX] = HV_OK;
        v->reg[REG_RDX] = hypercall_null();
    } else {
        call_with_arguments(v);
    }
    skip(v);
}

static void on_cpuid(struct vcpu *v, const struct vcpu_exit *)
{
    struct cpuid_view view = {
        .index = v->index,
        .nvcpus = v->vm->nvcpus,
        .osxsave = vcpu_ops->cr4(v) & CR4_OSXSAVE,
        .features = (uint32_t)stats_features(v->vm),
        .vmmcall = vcpu_ops->hypercall_vmmcall,
        .tsc_khz = (uint32_t)(time_tsc_hz() / 1000),
    };
    struct cpuid r = cpuid_policy(&view, (uint32_t)v->reg[REG_RAX], (uint32_t)v->reg[REG_RCX]);

    v->reg[REG_RAX] = r.eax;
    v->reg[REG_RBX] = r.ebx;
    v->reg[REG_RCX] = r.ecx;
    v->reg[REG_RDX] = r.edx;
    skip(v);
}

static void on_msr_read(struct vcpu *v, const struct vcpu_exit *)
{
    uint32_t msr = (uint32_t)v->reg[REG_RCX];
    uint64_t value = 0;

    if (!msr_read(v, msr, &value)) {
        complain(v, "RDMSR %x refused", msr);
        raise(v, VECTOR_GP, true, 0);
        return;
    }
    v->reg[REG_RAX] = (uint32_t)value;
    v->reg[REG_RDX] = value >> 32;
    skip(v);
}

static uint64_t edx_eax(const struct vcpu *v)
{
    return v->reg[REG_RDX] << 32 | (uint32_t)v->reg[REG_RAX];
}

static void on_msr_write(struct vcpu *v, const struct vcpu_exit *)
{
    uint32_t msr = (uint32_t)v->reg[REG_RCX];

    if (!msr_write(v, msr, edx_eax(v))) {
        complain(v, "WRMSR %x = %lx refused", msr, (unsigned long)edx_eax(v));
        raise(v, VECTOR_GP, true, 0);
        return;
    }
    skip(v);
}

static void on_io(struct vcpu *v, const struct vcpu_exit *e)
{
    uint64_t mask = e->io.size == 4 ? 0xffffffff : (1ull << e->io.size * 8) - 1;
    uint64_t *rax = &v->reg[REG_RAX];

    if (e->io.string) {
        complain(v, "string IO at port %x is not offered", e->io.port);
        raise(v, VECTOR_UD, false, 0);
        return;
    }
    if (!e->io.in)
        io_write(v, e->io.port, e->io.size, (uint32_t)(*rax & mask));
    else if (e->io.size == 4)
        *rax = io_read(v, e->io.port, 4); /* a 32-bit result clears the upper half */
    else
        *rax = (*rax & ~mask) | (io_read(v, e->io.port, e->io.size) & mask);
    skip(v);
}

/* It sleeps in vcpu.c until something can wake it. */
static void on_hlt(struct vcpu *v, const struct vcpu_exit *)
{
    if (skip(v))
        return;
    atomic_store_explicit(&v->state, VCPU_HALTED, memory_order_relaxed);
    atomic_store_explicit(&v->kicked, true, memory_order_relaxed);
}

static void on_xsetbv(struct vcpu *v, const struct vcpu_exit *)
{
    if (vcpu_ops->cpl(v) != 0 || !xstate_set((uint32_t)v->reg[REG_RCX], edx_eax(v))) {
        raise(v, VECTOR_GP, true, 0);
        return;
    }
    skip(v);
}

static void on_memory(struct vcpu *v, const struct vcpu_exit *e)
{
    complain(v, "%s %lx, which is not its memory",
             e->memory.fetch   ? "runs at"
             : e->memory.write ? "writes"
                               : "reads",
             (unsigned long)e->memory.gpa);
    raise(v, VECTOR_GP, true, 0);
}

static void on_interrupt(struct vcpu *, const struct vcpu_exit *)
{
    irq_window();
}

static void on_window(struct vcpu *v, const struct vcpu_exit *)
{
    vcpu_ops->want_window(v, 0);
    atomic_store_explicit(&v->kicked, true, memory_order_relaxed);
}

static void on_exception(struct vcpu *v, const struct vcpu_exit *e)
{
    raise(v, e->exception.vector, e->exception.has_code, e->exception.code);
}

static void on_skip(struct vcpu *v, const struct vcpu_exit *)
{
    skip(v);
}

static void on_undefined(struct vcpu *v, const struct vcpu_exit *e)
{
    complain(v, "instruction not offered, exit code %lx", (unsigned long)e->raw.code);
    raise(v, VECTOR_UD, false, 0);
}

static void on_denied(struct vcpu *v, const struct vcpu_exit *)
{
    raise(v, VECTOR_GP, true, 0);
}

static void on_shutdown(struct vcpu *v, const struct vcpu_exit *)
{
    triple_fault(v);
}

static void on_bad_state(struct vcpu *v, const struct vcpu_exit *e)
{
    log_error(v->vm->name, "vCPU %u: entry at %lx refused, exit code %lx", v->index,
              (unsigned long)v->rip, (unsigned long)e->raw.code);
    vm_end(v->vm, VM_END_BAD_STATE, e->raw.code);
}

exit_handler *const exit_handlers[EXIT_KINDS] = {
    [EXIT_NONE] = on_none,
    [EXIT_HYPERCALL] = on_hypercall,
    [EXIT_CPUID] = on_cpuid,
    [EXIT_MSR_READ] = on_msr_read,
    [EXIT_MSR_WRITE] = on_msr_write,
    [EXIT_IO] = on_io,
    [EXIT_HLT] = on_hlt,
    [EXIT_XSETBV] = on_xsetbv,
    [EXIT_MEMORY] = on_memory,
    [EXIT_INTERRUPT] = on_interrupt,
    [EXIT_WINDOW] = on_window,
    [EXIT_EXCEPTION] = on_exception,
    [EXIT_SKIP] = on_skip,
    [EXIT_UNDEFINED] = on_undefined,
    [EXIT_DENIED] = on_denied,
    [EXIT_SHUTDOWN] = on_shutdown,
    [EXIT_BAD_STATE] = on_bad_state,
};

void exit_report(const struct vcpu *v)
{
    static const char *const names[EXIT_KINDS] = {
        [EXIT_NONE] = "none",
        [EXIT_HYPERCALL] = "hypercall",
        [EXIT_CPUID] = "cpuid",
        [EXIT_MSR_READ] = "rdmsr",
        [EXIT_MSR_WRITE] = "wrmsr",
        [EXIT_IO] = "io",
        [EXIT_HLT] = "hlt",
        [EXIT_XSETBV] = "xsetbv",
        [EXIT_MEMORY] = "memory",
        [EXIT_INTERRUPT] = "interrupt",
        [EXIT_WINDOW] = "window",
        [EXIT_EXCEPTION] = "exception",
        [EXIT_SKIP] = "skipped",
        [EXIT_UNDEFINED] = "undefined",
        [EXIT_DENIED] = "denied",
        [EXIT_SHUTDOWN] = "shutdown",
        [EXIT_BAD_STATE] = "bad state",
    };

    for (unsigned i = 0; i < EXIT_KINDS; i++) {
        if (v->exits_by[i])
            log_debug(v->vm->name, "vCPU %u: %lu exits: %s", v->index,
                      (unsigned long)v->exits_by[i], names[i]);
    }
}
