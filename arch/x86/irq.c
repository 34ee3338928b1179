/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/irq.h"

#include "arch/x86/apic.h"
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/nmi.h"
#include "arch/x86/panic.h"
#include "hv/lock.h"
#include "hv/log.h"
#include "hv/pages.h"

#define LIMIT_PER_SECOND 10u

static struct irq {
    void (*fn)(void *ctx);
    void *ctx;
} irqs[256];
static unsigned next_vector = VECTOR_IRQ_FIRST;

#define DEVICE_VECTORS (VECTOR_DEVICE_LAST - VECTOR_DEVICE_FIRST + 1)
#define FREE_WAIT_US   10000000ull

/* Vectors of guests' devices on one CPU. That CPU reads without a lock: it says that it is at it,
 * then looks; who frees clears first, then looks whether it is at it. */
struct device_irqs {
    _Atomic bool running;
    struct device_irq {
        void (*_Atomic fn)(void *ctx); /* NULL: free */
        void *ctx;
    } irq[DEVICE_VECTORS];
};
static_assert(sizeof(struct device_irqs) <= PAGE_SIZE);

/* RANK_DEVICE: which vectors are taken, and the pages, which stay. */
static struct lock device_lock = LOCK(RANK_DEVICE);
static struct device_irqs *_Atomic device_irqs[CPUS_MAX];

static void kicked(void *ctx)
{
    (void)ctx;
}

static void apic_error(void *ctx)
{
    static struct log_limit limit;
    uint32_t errors = apic_errors();

    (void)ctx;
    if (log_allowed(&limit, LIMIT_PER_SECOND))
        log_warn("apic", "error status 0x%x on CPU %u", (unsigned)errors, cpu_index());
}

static void unknown(unsigned vector)
{
    static struct log_limit limit;

    if (log_allowed(&limit, LIMIT_PER_SECOND))
        log_warn("irq", "vector 0x%x on CPU %u belongs to nobody", vector, cpu_index());
}

/* One that was freed while its interrupt was on the way is nobody's: no reason to complain. */
static void dispatch_device(unsigned vector)
{
    struct device_irqs *mine = atomic_load(&device_irqs[cpu_index()]);

    if (!mine) {
        unknown(vector);
        return;
    }
    struct device_irq *irq = &mine->irq[vector - VECTOR_DEVICE_FIRST];
    atomic_store(&mine->running, true);
    void (*fn)(void *ctx) = atomic_load(&irq->fn);
    if (fn)
        fn(irq->ctx);
    atomic_store_explicit(&mine->running, false, memory_order_release);
}

void irq_dispatch(unsigned vector)
{
    const struct irq *irq = &irqs[vector];

    if (vector == VECTOR_SPURIOUS) /* takes no end of interrupt (SDM 3A 11.9) */
        return;
    apic_eoi();
    if (vector >= VECTOR_DEVICE_FIRST && vector <= VECTOR_DEVICE_LAST)
        dispatch_device(vector);
    else if (irq->fn)
        irq->fn(irq->ctx);
    else
        unknown(vector);
}

void irq_handle(unsigned vector, void (*fn)(void *ctx), void *ctx)
{
    irqs[vector] = (struct irq){ fn, ctx };
}

void arch_irq_init(const uint64_t *ioapic, unsigned nioapics)
{
    struct cpu *c = this_cpu();

    if (!apic_present()) {
        log_error("apic", "this CPU has no x2APIC (CPUID 1 ECX bit 21)");
        panic_end();
    }
    pic_mask();
    for (unsigned i = 0; i < nioapics; i++)
        ioapic_mask(PADDR(ioapic[i]));
    c->apic_id = apic_init();
    irq_handle(VECTOR_KICK, kicked, NULL);
    irq_handle(VECTOR_APIC_ERROR, apic_error, NULL);
    nmi_init();
}

/* SDM 3A 11.11: fixed delivery, edge. Id bits 31:8 only reach hardware that knows them (VT-d). */
enum hv_status irq_alloc(void (*handler)(void *ctx), void *ctx, struct irq_message *out)
{
    uint32_t id = cpus[0]->apic_id;

    if (next_vector > VECTOR_IRQ_LAST)
        return HV_ENOMEM;
    irq_handle(next_vector, handler, ctx);
    *out = (struct irq_message){ .address = 0xfee00000u | (id & 0xff) << 12,
                                 .upper_address = id & ~0xffu,
                                 .data = next_vector };
    next_vector++;
    return HV_OK;
}

/* Lock: device_lock. */
static enum hv_status device_irqs_of(unsigned cpu, struct device_irqs **out)
{
    void *page;
    enum hv_status status = HV_OK;

    *out = atomic_load(&device_irqs[cpu]);
    if (!*out) {
        status = pages_alloc(NULL, 0, &page);
        if (status == HV_OK)
            atomic_store(&device_irqs[cpu], *out = page);
    }
    return status;
}

enum hv_status irq_alloc_on(unsigned cpu, void (*handler)(void *ctx), void *ctx,
                            struct irq_target *out)
{
    struct device_irqs *of;
    unsigned i = 0;

    lock_take(&device_lock);
    enum hv_status status = device_irqs_of(cpu, &of);
    if (status == HV_OK) {
        while (i < DEVICE_VECTORS && atomic_load(&of->irq[i].fn))
            i++;
        status = i < DEVICE_VECTORS ? HV_OK : HV_EBUSY;
    }
    if (status == HV_OK) {
        of->irq[i].ctx = ctx;
        atomic_store(&of->irq[i].fn, handler);
        *out = (struct irq_target){ cpus[cpu]->apic_id, (uint8_t)(VECTOR_DEVICE_FIRST + i) };
    }
    lock_drop(&device_lock);
    return status;
}

void irq_free_on(unsigned cpu, uint8_t vector)
{
    struct device_irqs *of = atomic_load(&device_irqs[cpu]);
    uint64_t start = time_now();

    atomic_store(&of->irq[vector - VECTOR_DEVICE_FIRST].fn, NULL);
    while (atomic_load(&of->running)) {
        if (time_now() - start > FREE_WAIT_US * time_ticks_per_us())
            panic("irq: CPU %u does not leave an interrupt", cpu);
        cpu_relax();
    }
}

void cpu_kick(unsigned cpu)
{
    apic_send(cpus[cpu]->apic_id, VECTOR_KICK);
}
