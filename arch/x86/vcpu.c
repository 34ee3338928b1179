/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a vCPU on its CPU, and how others reach it.
 *
 * Others store what they want (a posted vector, a request bit), then set `kicked`, and if it was
 * clear interrupt the CPU. The vCPU clears `kicked` first and looks at what is stored after that.
 * Both are atomic read-modify-writes of `kicked`, so they are ordered: if ours comes second, it
 * reads what the other stored before; if it comes first, the other finds the flag clear and
 * interrupts us. And that interrupt is not lost: between our last look at `kicked` and the guest's
 * entry or the sleep, interrupts are off, so it stays pending and ends either at once. Who finds
 * the flag set need not interrupt: whoever set it has done so or is about to, or it was this CPU
 * itself, which looks at the flag before it enters. A guest's entry therefore tests one flag.
 *
 * Where hardware takes posted vectors, a notification stands for flag and kick: in the guest the
 * CPU takes them without an exit, pending at an entry likewise; outside, its handler sets the flag.
 */
#include "arch/x86/vcpu.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/exit.h"
#include "arch/x86/irq.h"
#include "arch/x86/speculation.h"
#include "arch/x86/vlapic.h"
#include "arch/x86/vuart.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/vm.h"

const struct vcpu_ops *vcpu_ops;

#define NOTIFIED 1ull /* vcpu_posted.control */
static bool takes_posted;

/* What create makes, in one page; the VM's console lives with its first vCPU. */
struct vcpu_page {
    struct vcpu vcpu;
    struct vlapic vlapic;
    struct vuart vuart;
};
static_assert(sizeof(struct vcpu_page) <= PAGE_SIZE);

/* It came outside the guest, where hardware leaves what is posted to us. */
static void notified(void *)
{
    struct vcpu *v = atomic_load(&this_cpu()->vcpu);

    if (v)
        atomic_store_explicit(&v->kicked, true, memory_order_relaxed);
}

enum hv_status vcpu_choose(void)
{
    static const struct vcpu_ops *const backends[] = { &vcpu_vmx, &vcpu_svm };
    const char *missing[ARRAY_SIZE(backends)];

    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
        missing[i] = backends[i]->missing();
        if (!missing[i]) {
            vcpu_ops = backends[i];
            takes_posted = vcpu_ops->takes_posted && vcpu_ops->takes_posted();
            irq_handle(VECTOR_POSTED, notified, NULL);
            return HV_OK;
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++)
        log_error("vcpu", "this CPU cannot run guests with %s: it lacks %s", backends[i]->name,
                  missing[i]);
    return HV_ENOTSUP;
}

enum hv_status vcpu_create(struct vm *vm, unsigned index, unsigned cpu, struct vcpu **out)
{
    void *page;
    enum hv_status err;

    if (cpu >= cpu_count() || index >= BOOT_VM_CPUS)
        return HV_ERANGE;
    if (atomic_load(&cpus[cpu]->vcpu))
        return HV_EBUSY;
    err = pages_alloc(&vm->quota, 0, &page);
    if (err != HV_OK)
        return err;

    struct vcpu_page *p = page;
    struct vcpu *v = &p->vcpu;

    v->vm = vm;
    v->index = index;
    v->cpu = cpu;
    v->vlapic = &p->vlapic;
    v->state = VCPU_WAIT_SIPI;
    vlapic_reset(v->vlapic, v);
    err = vcpu_ops->create(v);
    if (err != HV_OK) {
        pages_free(&vm->quota, 0, page);
        return err;
    }
    if (index == 0)
        vm->vuart = &p->vuart;
    *out = v;
    return HV_OK;
}

void vcpu_destroy(struct vcpu *v)
{
    struct vm *vm = v->vm;

    if (v->index == 0) {
        vuart_flush(vm);
        vm->vuart = NULL;
    }
    exit_report(v);
    vcpu_ops->destroy(v);
    pages_free(&vm->quota, 0, v); /* first in its page */
}

/* --- From other CPUs ------------------------------------------------------------------------- */

static void kick(struct vcpu *v)
{
    if (!atomic_exchange(&v->kicked, true) && v->cpu != cpu_index())
        cpu_kick(v->cpu);
}

void vcpu_interrupt(struct vcpu *v, uint8_t vector)
{
    atomic_fetch_or(&v->posted.vector[vector / 64], 1ull << vector % 64);
    /* An APIC that is switched off takes nothing; hardware would. */
    if (!takes_posted || v->cpu == cpu_index() || !vlapic_enabled(v->vlapic))
        kick(v);
    else if (!(atomic_fetch_or(&v->posted.control, NOTIFIED) & NOTIFIED))
        apic_send(cpus[v->cpu]->apic_id, VECTOR_POSTED);
}

void vcpu_ask(struct vcpu *v, unsigned request)
{
    atomic_fetch_or(&v->request, request);
    kick(v);
}

void vcpu_stop(struct vcpu *v)
{
    vcpu_ask(v, VCPU_STOP);
}

void vcpu_table_changed(struct vm *vm)
{
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vcpu_ask(vm->vcpu[i], VCPU_FLUSH);
}

void vcpu_begin(struct vcpu *v, const struct vcpu_start *start)
{
    const struct vm *vm = v->vm;

    for (unsigned i = 0; i < vm->nvcpus; i++)
        atomic_store(&cpus[vm->vcpu[i]->cpu]->vcpu, vm->vcpu[i]);
    v->start = *start;
    vcpu_ask(v, VCPU_START);
}

/* --- On its own CPU -------------------------------------------------------------------------- */

static void start(struct vcpu *v, const struct vcpu_start *how)
{
    vcpu_ops->reset(v, how);
    v->nmi_pending = false;
    v->state = VCPU_RUNNING;
}

static void do_requests(struct vcpu *v, unsigned request)
{
    if (request & VCPU_INIT) {
        vlapic_stop(v->vlapic);
        vlapic_reset(v->vlapic, v);
        v->state = VCPU_WAIT_SIPI;
    }
    if ((request & VCPU_SIPI) && v->state == VCPU_WAIT_SIPI) {
        struct vcpu_start at = { .real_mode = true, .rip = (uint64_t)v->sipi_page << PAGE_SHIFT };

        start(v, &at);
    }
    if (request & VCPU_START) {
        speculation_new_guest();
        start(v, &v->start);
    }
    if (request & VCPU_NMI)
        v->nmi_pending = true;
    if (request & VCPU_FLUSH)
        vcpu_ops->flush(v);
    if (request & VCPU_STOP)
        v->state = VCPU_STOPPED;
}

static void take_posted(struct vcpu *v)
{
    if (takes_posted)
        atomic_fetch_and(&v->posted.control, ~NOTIFIED); /* who posts from now on notifies again */
    for (unsigned i = 0; i < ARRAY_SIZE(v->posted.vector); i++) {
        if (!atomic_load_explicit(&v->posted.vector[i], memory_order_relaxed))
            continue;
        for (uint64_t bits = atomic_exchange(&v->posted.vector[i], 0); bits; bits &= bits - 1)
            vlapic_accept(v->vlapic, (uint8_t)(i * 64 + (unsigned)__builtin_ctzll(bits)));
    }
}

/* Would an interrupt end HLT now? */
static bool wakes(struct vcpu *v)
{
    uint8_t vector = vlapic_pending(v->vlapic);

    return (v->nmi_pending && vcpu_ops->nmi_ready(v)) ||
           (vector && vlapic_deliverable(v->vlapic, vector) && vcpu_ops->interrupt_ready(v));
}

/* Inject what can be, and ask for a window for what cannot yet. What an interrupt in service holds
 * back needs none: the guest's EOI comes to us. */
static void deliver(struct vcpu *v)
{
    uint8_t vector = vlapic_pending(v->vlapic), window = 0;

    if (v->nmi_pending && vcpu_ops->nmi_ready(v)) {
        v->nmi_pending = false;
        vcpu_ops->inject_nmi(v);
    }
    if (vcpu_ops->offer && vcpu_ops->offer(v, vector))
        vector = 0;
    if (vector && vlapic_only_tpr(v->vlapic, vector)) {
        if (vlapic_deliverable(v->vlapic, vector) && vcpu_ops->interrupt_ready(v)) {
            vlapic_deliver(v->vlapic, vector);
            vcpu_ops->inject_interrupt(v, vector);
        } else {
            window = vector;
        }
    }
    vcpu_ops->want_window(v, window);
}

/* Do what was asked, sleep while there is nothing to run. @return false: stopped. */
static bool attend(struct vcpu *v)
{
    for (;;) {
        atomic_exchange(&v->kicked, false);
        unsigned request = atomic_exchange(&v->request, 0);

        if (request)
            do_requests(v, request);
        take_posted(v);
        if (v->state == VCPU_HALTED && wakes(v))
            v->state = VCPU_RUNNING;
        if (v->state == VCPU_RUNNING) {
            deliver(v);
            return true;
        }
        if (v->state == VCPU_STOPPED)
            return false;
        if (!atomic_load(&v->kicked))
            cpu_idle();
    }
}

static void run(struct vcpu *v)
{
    const struct vcpu_ops *ops = vcpu_ops;

    for (bool go = attend(v); go;
         go = !atomic_load_explicit(&v->kicked, memory_order_relaxed) || attend(v)) {
        struct vcpu_exit e = ops->run(v);

        v->exits++;
        v->exits_by[e.kind]++;
        exit_handlers[e.kind](v, &e);
    }
}

void vcpu_cpu_loop(void)
{
    struct cpu *c = this_cpu();

    for (;;) {
        struct vcpu *v = atomic_load(&c->vcpu);

        if (!v) {
            cpu_idle();
            continue;
        }
        run(v);
        vlapic_stop(v->vlapic);
        atomic_store(&c->vcpu, NULL);
        vm_vcpu_stopped(v->vm); /* the last one frees v */
    }
}
