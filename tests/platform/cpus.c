/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUs and time. Time moves only when somebody looks at it or waits. */
#include "tests/platform/machine.h"

#define TICKS_PER_US 1000u

static _Atomic uint64_t now;
static unsigned count = 1;
static _Thread_local unsigned current; /* each thread is a CPU of its own */

void cpus_fresh(void)
{
    now = 1;
    count = 1;
    current = 0;
}

uint64_t time_now(void)
{
    return now += TICKS_PER_US / 10;
}

uint64_t time_ticks_per_us(void)
{
    return TICKS_PER_US;
}

void cpu_relax(void)
{
    now += TICKS_PER_US;
    machine_relax();
}

void cpu_wait_us(uint32_t us)
{
    locks_none();
    for (uint64_t end = now + (uint64_t)us * TICKS_PER_US; now < end;)
        cpu_relax();
}

void platform_pass_us(uint64_t us)
{
    now += us * TICKS_PER_US;
}

void platform_set_cpus(unsigned n, unsigned cpu)
{
    count = n;
    current = cpu;
}

unsigned cpu_index(void)
{
    return current;
}

unsigned cpu_count(void)
{
    return count;
}
