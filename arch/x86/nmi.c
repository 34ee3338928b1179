/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/nmi.h"

#include <stdatomic.h>

#include "arch/x86/apic.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/irq.h"
#include "hv/log.h"

#define LINES_PER_SECOND 2u

/* The PC's NMI status and control port: two sources, and for each a bit that disarms it. */
#define PORT_REASON 0x61
#define SERR        0x80u
#define IOCHK       0x40u
#define CONTROL     0x03u /* timer gate and speaker */
#define SERR_OFF    0x04u
#define IOCHK_OFF   0x08u

static _Atomic unsigned reasons; /* SERR, IOCHK: of all since the last line */

/* What is disarmed and armed again can be seen the next time. */
static uint8_t take_reason(void)
{
    uint8_t port = inb(PORT_REASON);

    if (port & (SERR | IOCHK)) {
        outb(PORT_REASON, (port & CONTROL) | SERR_OFF | IOCHK_OFF);
        outb(PORT_REASON, port & CONTROL);
    }
    return port & (SERR | IOCHK);
}

void nmi_seen(void)
{
    struct cpu *c = this_cpu();

    if (c->index == 0) /* where chipsets send them */
        atomic_fetch_or(&reasons, take_reason());
    atomic_fetch_add(&c->nmis, 1);
    if (apic_ready())
        apic_send(c->apic_id, VECTOR_NMI_SEEN);
}

static void tell(void *)
{
    static struct log_limit limit;

    if (!log_allowed(&limit, LINES_PER_SECOND))
        return;
    unsigned why = atomic_exchange(&reasons, 0);
    log_warn("nmi", "CPU %u: %u so far that nobody asked for%s%s", cpu_index(),
             atomic_load(&this_cpu()->nmis), why & SERR ? "; system error (SERR)" : "",
             why & IOCHK ? "; channel check (IOCHK)" : "");
}

void nmi_init(void)
{
    irq_handle(VECTOR_NMI_SEEN, tell, NULL);
}
