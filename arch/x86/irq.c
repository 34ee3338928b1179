/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/irq.h"

#include "arch/x86/apic.h"
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/ioapic.h"
#include "arch/x86/panic.h"
#include "hv/log.h"

#define LIMIT_PER_SECOND 10u

static struct irq {
    void (*fn)(void *ctx);
    void *ctx;
} irqs[256];
static unsigned next_vector = VECTOR_IRQ_FIRST;

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

void irq_dispatch(unsigned vector)
{
    const struct irq *irq = &irqs[vector];

    if (vector == VECTOR_SPURIOUS) /* takes no end of interrupt (SDM 3A 11.9) */
        return;
    apic_eoi();
    if (irq->fn)
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

void cpu_kick(unsigned cpu)
{
    apic_send(cpus[cpu]->apic_id, VECTOR_KICK);
}
