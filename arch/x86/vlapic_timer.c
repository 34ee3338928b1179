/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual APIC timer, SDM 3A 11.5.4, on a timer of the host. Its clock before the divider is
 * the TSC, so that a guest that knows one knows the other; time_now() is the TSC, and the guest's
 * TSC has no offset.
 */
#include "arch/x86/vlapic_internal.h"

#include "arch/x86/vcpu.h"
#include "hv/platform.h"

#define PERIOD_MIN_US 20u /* a shorter one would leave the CPU to its own interrupts */

static uint32_t mode(const struct vlapic *l)
{
    return l->lvt[LVT_TIMER] & LVT_TIMER_MODE;
}

/* Divide by 2, 4, ... 128, and 1 for 7; bit 2 of the register is not used. */
static unsigned divide_shift(const struct vlapic *l)
{
    return (((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7;
}

static uint64_t period(const struct vlapic *l)
{
    uint64_t ticks = (uint64_t)l->count << divide_shift(l);
    uint64_t least = mode(l) == LVT_TIMER_PERIODIC ? PERIOD_MIN_US * time_ticks_per_us() : 1;

    return ticks > least ? ticks : least;
}

static void arm(struct vlapic *l, uint64_t deadline)
{
    l->deadline = deadline;
    if (deadline)
        timer_set(&l->timer, deadline);
    else
        timer_cancel(&l->timer);
}

void vlapic_timer_fired(struct timer *t)
{
    struct vlapic *l = (void *)((char *)t - offsetof(struct vlapic, timer));
    uint64_t now = time_now();

    if (mode(l) == LVT_TIMER_PERIODIC && l->count) {
        uint64_t p = period(l);
        uint64_t next = l->deadline + p;

        /* Ticks that were missed are lost, as they are while interrupts are off. */
        arm(l, next > now ? next : now + p - (now - l->deadline) % p);
    } else {
        l->deadline = 0;
    }
    vlapic_local(l, LVT_TIMER);
}

void vlapic_timer_mode(struct vlapic *l, uint32_t lvt)
{
    /* Changing to or from TSC-deadline disarms, 11.5.4.1. */
    if ((lvt & LVT_TIMER_MODE) != mode(l) &&
        ((lvt & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE || mode(l) == LVT_TIMER_DEADLINE)) {
        arm(l, 0);
        l->count = 0;
    }
}

uint64_t vlapic_timer_initial(struct vlapic *l, unsigned)
{
    return l->count;
}

void vlapic_timer_start(struct vlapic *l, unsigned, uint64_t count)
{
    if (mode(l) == LVT_TIMER_DEADLINE)
        return; /* ignored, 11.5.4.1 */
    l->count = (uint32_t)count;
    arm(l, count ? time_now() + period(l) : 0);
}

uint64_t vlapic_timer_count(struct vlapic *l, unsigned)
{
    uint64_t now = time_now();

    if (mode(l) == LVT_TIMER_DEADLINE || !l->deadline || now >= l->deadline)
        return 0;

    uint64_t left = (l->deadline - now) >> divide_shift(l);
    return left < l->count ? left : l->count;
}

uint64_t vlapic_timer_divide(struct vlapic *l, unsigned)
{
    return l->divide;
}

void vlapic_timer_set_divide(struct vlapic *l, unsigned n, uint64_t value)
{
    uint64_t left = vlapic_timer_count(l, n);

    l->divide = (uint32_t)value;
    /* What is left to count goes on at the new rate. */
    if (mode(l) != LVT_TIMER_DEADLINE && l->deadline)
        arm(l, time_now() + (left << divide_shift(l)));
}

uint64_t vlapic_timer_deadline(struct vlapic *l)
{
    return mode(l) == LVT_TIMER_DEADLINE ? l->deadline : 0;
}

void vlapic_timer_set_deadline(struct vlapic *l, uint64_t tsc)
{
    if (mode(l) == LVT_TIMER_DEADLINE)
        arm(l, tsc);
}
