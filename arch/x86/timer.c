/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A CPU has two or three timers, so a plain list is its queue. The APIC's timer is set for the
 * earliest: in TSC-deadline mode where the CPU has it, else one-shot, with a measured rate.
 */
#include "arch/x86/timer.h"

#include "arch/x86/apic.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/irq.h"
#include "arch/x86/time.h"
#include "hv/log.h"

#define CALIBRATE_US 500u
#define REACH        (1ull << 30) /* ticks of one shot at most; a later deadline takes several */

static bool deadline_mode;
static uint64_t
    apic_per_tick; /* one-shot mode: APIC timer counts in a TSC tick, 32.32 fixed point */

static void program(const struct cpu *c)
{
    uint64_t first = UINT64_MAX;

    for (const struct timer *t = c->timers; t; t = t->next)
        first = t->when < first ? t->when : first;
    if (deadline_mode) {
        wrmsr(MSR_TSC_DEADLINE, c->timers ? first : 0);
        return;
    }
    uint64_t now = time_now();
    uint64_t ticks = first <= now ? 0 : first - now < REACH ? first - now : REACH;
    apic_timer_start(c->timers ? (uint32_t)(ticks * apic_per_tick >> 32) + 1 : 0);
}

static void unlink_timer(struct cpu *c, struct timer *t)
{
    struct timer **link = &c->timers;

    while (*link != t)
        link = &(*link)->next;
    *link = t->next;
    t->armed = false;
}

void timer_set(struct timer *t, uint64_t when)
{
    struct cpu *c = this_cpu();

    t->when = when;
    if (!t->armed) {
        t->armed = true;
        t->next = c->timers;
        c->timers = t;
    }
    program(c);
}

void timer_cancel(struct timer *t)
{
    struct cpu *c = this_cpu();

    if (!t->armed)
        return;
    unlink_timer(c, t);
    program(c);
}

static struct timer *first_due(const struct cpu *c, uint64_t now)
{
    for (struct timer *t = c->timers; t; t = t->next) {
        if (t->when <= now)
            return t;
    }
    return NULL;
}

static void wake(struct timer *t)
{
    (void)t;
}

void timer_sleep_us(uint64_t us)
{
    struct timer t = { .fn = wake };

    timer_set(&t, time_now() + us * time_ticks_per_us());
    while (t.armed)
        cpu_idle();
}

/* A timer that always sets itself into the past gets no more turns than there are timers. */
static void expired(void *ctx)
{
    struct cpu *c = this_cpu();
    uint64_t now = time_now();
    unsigned turns = 0;
    struct timer *t;

    (void)ctx;
    for (t = c->timers; t; t = t->next)
        turns++;
    while (turns-- != 0 && (t = first_due(c, now))) {
        unlink_timer(c, t);
        t->fn(t);
    }
    program(c);
}

static void calibrate(void)
{
    apic_timer_start(UINT32_MAX);
    struct time_sample first = time_sample(apic_timer_left);
    time_wait_us(CALIBRATE_US);
    struct time_sample last = time_sample(apic_timer_left);
    apic_timer_start(0);

    uint32_t counts = first.count - last.count; /* downwards */
    uint64_t ticks = last.tsc - first.tsc;
    if (counts == 0 || ticks == 0)
        panic("timer: the APIC timer does not count");
    apic_per_tick = ((uint64_t)counts << 32) / ticks;
    log_debug("timer", "one-shot, %lu kHz",
              (apic_per_tick * time_ticks_per_us() >> 22) * 1000 >> 10);
}

void timer_init(void)
{
    irq_handle(VECTOR_TIMER, expired, NULL);
    deadline_mode = cpuid(1, 0).ecx >> 24 & 1;
    timer_cpu_init();
    if (deadline_mode)
        log_debug("timer", "TSC deadline");
    else
        calibrate();
}

void timer_cpu_init(void)
{
    apic_timer_mode(deadline_mode);
}

static struct {
    struct timer timer;
    void (*fn)(void);
    uint64_t period;
} periodic;

static void periodic_tick(struct timer *t)
{
    uint64_t now = time_now();

    /* Ticks that were missed are not made up for. */
    t->when += periodic.period;
    timer_set(t, t->when > now ? t->when : now + periodic.period);
    periodic.fn();
}

void platform_periodic(void (*fn)(void), uint32_t period_us)
{
    hv_assert(cpu_index() == 0 && !periodic.fn && period_us != 0);
    periodic.fn = fn;
    periodic.period = period_us * time_ticks_per_us();
    periodic.timer.fn = periodic_tick;
    timer_set(&periodic.timer, time_now() + periodic.period);
}
