/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts between the vCPUs of a VM: the interrupt command register, SDM 3A 11.6 and 11.12.9.
 */
#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic_internal.h"
#include "hv/vm.h"

#define ICR_LOGICAL   0x00800ull
#define ICR_DEASSERT  0x08000ull /* this pattern means: level-triggered and not asserted */
#define ICR_LEVEL     0x0c000ull
#define ICR_BROADCAST 0xffffffffu

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };
enum {
    MODE_FIXED,
    MODE_LOWEST,
    MODE_SMI,
    MODE_RESERVED3,
    MODE_NMI,
    MODE_INIT,
    MODE_SIPI,
    MODE_RESERVED7
};

static bool addressed(const struct vlapic *l, const struct vcpu *to, uint64_t icr)
{
    uint32_t dest = (uint32_t)(icr >> 32);
    uint32_t logical = vlapic_logical_id(to->index);

    switch (icr >> 18 & 3) {
    case SHORTHAND_SELF: return to == l->vcpu;
    case SHORTHAND_ALL: return true;
    case SHORTHAND_OTHERS: return to != l->vcpu;
    default:
        if (dest == ICR_BROADCAST)
            return true;
        if (icr & ICR_LOGICAL)
            return dest >> 16 == logical >> 16 && (dest & logical & 0xffff);
        return dest == to->index;
    }
}

static void send(struct vcpu *to, unsigned mode, uint8_t vector)
{
    switch (mode) {
    case MODE_FIXED:
    case MODE_LOWEST: vcpu_interrupt(to, vector); return;
    case MODE_NMI: vcpu_ask(to, VCPU_NMI); return;
    case MODE_INIT: vcpu_ask(to, VCPU_INIT); return;
    case MODE_SIPI:
        atomic_store(&to->sipi_page, vector);
        vcpu_ask(to, VCPU_SIPI);
        return;
    default: /* SMI and reserved modes go nowhere */ return;
    }
}

void vlapic_icr_write(struct vlapic *l, unsigned, uint64_t value)
{
    const struct vm *vm = l->vcpu->vm;
    unsigned mode = value >> 8 & 7;
    uint8_t vector = (uint8_t)value;

    l->icr = value;
    if (mode == MODE_INIT && (value & ICR_LEVEL) == ICR_DEASSERT)
        return; /* the second half of an old INIT sequence */
    if (mode <= MODE_LOWEST && vector < 16) {
        vlapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    for (unsigned i = 0; i < vm->nvcpus; i++) {
        if (!addressed(l, vm->vcpu[i], value))
            continue;
        send(vm->vcpu[i], mode, vector);
        if (mode == MODE_LOWEST) /* arbitration: the first one that is addressed */
            return;
    }
}
