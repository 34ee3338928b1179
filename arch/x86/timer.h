/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadline timers, a few per CPU, on the local APIC's timer. A timer belongs to the CPU that sets
 * it; only that CPU may set or cancel it. The memory is the caller's.
 */
#ifndef ARCH_X86_TIMER_H
#define ARCH_X86_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timer {
    uint64_t when;              /* time_now() at which to run */
    void (*fn)(struct timer *); /* in irq_window() or cpu_idle(), disarmed; may set it again */
    struct timer *next;
    bool armed;
};

/* Run @t->fn once, at @when or soon after; in the past: at the next irq_window(). Replaces the
 * former deadline if it was set. Never runs inside this call. */
void timer_set(struct timer *t, uint64_t when);
void timer_cancel(struct timer *t);

/* Sleep; interrupts are taken meanwhile. Boot only. */
void timer_sleep_us(uint64_t us);

/* Boot CPU, once the clock's rate is known; then on each other CPU. */
void timer_init(void);
void timer_cpu_init(void);

#endif
