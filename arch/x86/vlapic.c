/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers and priorities. vlapic_icr.c sends, vlapic_timer.c counts.
 */
#include "arch/x86/vlapic.h"

#include <string.h>

#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic_internal.h"

#define APIC_BASE_MSR 0x1bu
#define DEADLINE_MSR  0x6e0u
#define APIC_BASE     0xfee00c00ull /* enabled, x2APIC; SDM 3A 11.12.1 */
#define APIC_BASE_BSP 0x100ull

#define VERSION 0x00050014u /* LVT entries - 1, integrated APIC */

static unsigned highest(const struct vlapic_vectors *map)
{
    for (unsigned i = 8; i-- > 0;) {
        if (map->word[i].bits)
            return i * 32 + 31 - (unsigned)__builtin_clz(map->word[i].bits);
    }
    return 0;
}

static void set(struct vlapic_vectors *map, unsigned vector)
{
    map->word[vector / 32].bits |= 1u << vector % 32;
}

static void clear(struct vlapic_vectors *map, unsigned vector)
{
    map->word[vector / 32].bits &= ~(1u << vector % 32);
}

void vlapic_reset(struct vlapic *l, struct vcpu *v)
{
    struct vlapic_vectors *irr = l->irr ? l->irr : &l->own_irr;
    struct vlapic_vectors *isr = l->isr ? l->isr : &l->own_isr;

    *l = (struct vlapic){ .vcpu = v, .id = v->index, .svr = 0xff, .irr = irr, .isr = isr };
    memset(irr, 0, sizeof(*irr));
    memset(isr, 0, sizeof(*isr));
    for (unsigned i = 0; i < LVTS; i++)
        l->lvt[i] = LVT_MASKED;
    l->timer.fn = vlapic_timer_fired;
}

void vlapic_use_page(struct vlapic *l, uint8_t *page)
{
    l->isr = (struct vlapic_vectors *)(page + 0x100);
    l->irr = (struct vlapic_vectors *)(page + 0x200);
}

bool vlapic_enabled(const struct vlapic *l)
{
    return l->svr & SVR_ENABLED;
}

void vlapic_stop(struct vlapic *l)
{
    timer_cancel(&l->timer);
    l->deadline = 0;
}

/* --- Priorities, SDM 3A 11.8.3 and 11.8.4 ---------------------------------------------------- */

static uint8_t tpr(const struct vlapic *l)
{
    return (uint8_t)(vcpu_ops->cr8(l->vcpu) << 4 | l->tpr_low);
}

static uint8_t ppr(const struct vlapic *l)
{
    unsigned t = tpr(l), in_service = highest(l->isr);

    return (uint8_t)(t >> 4 >= in_service >> 4 ? t : in_service & 0xf0);
}

void vlapic_accept(struct vlapic *l, uint8_t vector)
{
    if (vector < 16) {
        vlapic_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    if (l->svr & SVR_ENABLED)
        set(l->irr, vector);
}

uint8_t vlapic_pending(const struct vlapic *l)
{
    return (uint8_t)highest(l->irr);
}

bool vlapic_only_tpr(const struct vlapic *l, uint8_t vector)
{
    return vector >> 4 > highest(l->isr) >> 4;
}

bool vlapic_deliverable(const struct vlapic *l, uint8_t vector)
{
    return vlapic_only_tpr(l, vector) && vector >> 4 > vcpu_ops->cr8(l->vcpu);
}

void vlapic_deliver(struct vlapic *l, uint8_t vector)
{
    clear(l->irr, vector);
    set(l->isr, vector);
}

/* --- Errors, 11.5.3 -------------------------------------------------------------------------- */

void vlapic_error(struct vlapic *l, uint32_t bit)
{
    if (l->esr_next & bit)
        return;
    l->esr_next |= bit;
    vlapic_local(l, LVT_ERROR); /* whose own vector may be illegal: noted above, so that ends */
}

void vlapic_local(struct vlapic *l, enum vlapic_lvt which)
{
    if (!(l->lvt[which] & LVT_MASKED)) {
        vlapic_accept(l, (uint8_t)l->lvt[which]);
        atomic_store_explicit(&l->vcpu->kicked, true, memory_order_relaxed);
    }
}

/* --- Registers, 11.12.1.2 -------------------------------------------------------------------- */

static uint64_t read_id(struct vlapic *l, unsigned)
{
    return l->id;
}

static uint64_t read_version(struct vlapic *, unsigned)
{
    return VERSION;
}

static uint64_t read_tpr(struct vlapic *l, unsigned)
{
    return tpr(l);
}

static void write_tpr(struct vlapic *l, unsigned, uint64_t value)
{
    l->tpr_low = value & 0xf;
    vcpu_ops->set_cr8(l->vcpu, (uint8_t)(value >> 4));
}

static uint64_t read_ppr(struct vlapic *l, unsigned)
{
    return ppr(l);
}

static void write_eoi(struct vlapic *l, unsigned, uint64_t)
{
    unsigned vector = highest(l->isr);

    clear(l->isr, vector);
}

static uint64_t read_ldr(struct vlapic *l, unsigned)
{
    return vlapic_logical_id(l->id);
}

static uint64_t read_svr(struct vlapic *l, unsigned)
{
    return l->svr;
}

static void write_svr(struct vlapic *l, unsigned, uint64_t value)
{
    l->svr = (uint32_t)value;
    if (value & SVR_ENABLED)
        return;
    for (unsigned i = 0; i < LVTS; i++)
        l->lvt[i] |= LVT_MASKED; /* 11.4.7.2 */
}

/* ISR, TMR and IRR are eight registers of 32 vectors each. */
static uint64_t read_isr(struct vlapic *l, unsigned n)
{
    return l->isr->word[n].bits;
}

static uint64_t read_irr(struct vlapic *l, unsigned n)
{
    return l->irr->word[n].bits;
}

static uint64_t read_zero(struct vlapic *, unsigned)
{
    return 0;
}

static uint64_t read_esr(struct vlapic *l, unsigned)
{
    return l->esr;
}

static void write_esr(struct vlapic *l, unsigned, uint64_t)
{
    l->esr = l->esr_next;
    l->esr_next = 0;
}

static uint64_t read_icr(struct vlapic *l, unsigned)
{
    return l->icr;
}

static void write_self_ipi(struct vlapic *l, unsigned, uint64_t value)
{
    vlapic_accept(l, (uint8_t)value);
}

static uint64_t read_lvt(struct vlapic *l, unsigned n)
{
    return l->lvt[n];
}

static void write_lvt(struct vlapic *l, unsigned n, uint64_t value)
{
    if (!(l->svr & SVR_ENABLED))
        value |= LVT_MASKED;
    if (n == LVT_TIMER)
        vlapic_timer_mode(l, (uint32_t)value);
    l->lvt[n] = (uint32_t)value;
}

static const struct reg_row {
    uint16_t first, last; /* MSR - 0x800 */
    uint64_t writable;    /* other bits must be 0, else #GP */
    uint64_t (*read)(struct vlapic *l, unsigned n);
    void (*write)(struct vlapic *l, unsigned n, uint64_t value);
} regs[] = {
    { 0x0b, 0x0b, 0, NULL, write_eoi }, /* first: the frequent one */
    { 0x30, 0x30, 0xffffffff000ccfff, read_icr, vlapic_icr_write },
    { 0x02, 0x02, 0, read_id, NULL },
    { 0x03, 0x03, 0, read_version, NULL },
    { 0x08, 0x08, 0xff, read_tpr, write_tpr },
    { 0x0a, 0x0a, 0, read_ppr, NULL },
    { 0x0d, 0x0d, 0, read_ldr, NULL },
    { 0x0f, 0x0f, 0x3ff, read_svr, write_svr },
    { 0x10, 0x17, 0, read_isr, NULL },
    { 0x18, 0x1f, 0, read_zero, NULL }, /* TMR */
    { 0x20, 0x27, 0, read_irr, NULL },
    { 0x28, 0x28, 0, read_esr, write_esr },
    { 0x32, 0x32, 0x700ff, read_lvt, write_lvt },
    { 0x33, 0x36, 0x1a7ff, read_lvt, write_lvt }, /* thermal, performance, LINT0, LINT1 */
    { 0x37, 0x37, 0x100ff, read_lvt, write_lvt },
    { 0x38, 0x38, 0xffffffff, vlapic_timer_initial, vlapic_timer_start },
    { 0x39, 0x39, 0, vlapic_timer_count, NULL },
    { 0x3e, 0x3e, 0xb, vlapic_timer_divide, vlapic_timer_set_divide },
    { 0x3f, 0x3f, 0xff, NULL, write_self_ipi },
};

static const struct reg_row *row_of(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        if (msr - 0x800 >= regs[i].first && msr - 0x800 <= regs[i].last)
            return &regs[i];
    }
    return NULL;
}

/* The number that read_lvt() and the others get: 0x833 belongs to the row after the timer's. */
static unsigned number_in(const struct reg_row *r, uint32_t msr)
{
    return r->first >= 0x32 && r->first <= 0x37 ? msr - 0x832 : msr - 0x800 - r->first;
}

static uint64_t apic_base(const struct vlapic *l)
{
    return APIC_BASE | (l->id == 0 ? APIC_BASE_BSP : 0);
}

bool vlapic_msr_read(struct vlapic *l, uint32_t msr, uint64_t *value)
{
    if (msr == APIC_BASE_MSR) {
        *value = apic_base(l);
        return true;
    }
    if (msr == DEADLINE_MSR) {
        *value = vlapic_timer_deadline(l);
        return true;
    }

    const struct reg_row *r = row_of(msr);
    if (!r || !r->read)
        return false;
    *value = r->read(l, number_in(r, msr));
    return true;
}

bool vlapic_msr_write(struct vlapic *l, uint32_t msr, uint64_t value)
{
    if (msr == APIC_BASE_MSR)
        return value == apic_base(l);
    if (msr == DEADLINE_MSR) {
        vlapic_timer_set_deadline(l, value);
        return true;
    }

    const struct reg_row *r = row_of(msr);
    if (!r || !r->write || (value & ~r->writable))
        return false;
    r->write(l, number_in(r, msr), value);
    /* Whatever it was, something may be deliverable now. */
    atomic_store_explicit(&l->vcpu->kicked, true, memory_order_relaxed);
    return true;
}
