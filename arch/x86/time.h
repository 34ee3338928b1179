/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The clock is the time-stamp counter. What CPUID or the loader says about its rate is believed
 * first; then it is measured.
 */
#ifndef ARCH_X86_TIME_H
#define ARCH_X86_TIME_H

#include <stdint.h>

/* @loader_hz: of the hand-over, 0: not known. time_now() and a first idea of its rate work from
 * here on. */
void time_early_init(uint64_t loader_hz);
/* Until the clock has gone on by @us. */
void time_wait_us(uint64_t us);
/* Exact; right from arch_time_init() on. */
uint64_t time_tsc_hz(void);

/* The clock and another counter, read at the same time. */
struct time_sample {
    uint64_t tsc;
    uint32_t count;
};
struct time_sample time_sample(uint32_t (*count)(void));

#endif
