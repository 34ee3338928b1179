/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/time.h"

#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/irq.h"
#include "arch/x86/panic.h"
#include "arch/x86/timer.h"
#include "hv/log.h"
#include "hv/platform.h"

#define WINDOW       10000u /* counts to measure by: right to 100 ppm */
#define WINDOW_ROUGH 500u
#define ROUNDS       3u
#define LOOKS        5u
#define GIVE_UP      (1ull << 30) /* ticks without the end of a window: a quarter second to a second */
#define GUESS_PER_US 1000u

static uint64_t ticks_per_us = GUESS_PER_US;
static uint64_t tsc_hz;
static const char *source; /* of the rate; NULL: it is a guess */

uint64_t time_now(void)
{
    return rdtsc();
}

uint64_t time_tsc_hz(void)
{
    return tsc_hz;
}

uint64_t time_ticks_per_us(void)
{
    return ticks_per_us;
}

void time_wait_us(uint64_t us)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < us * ticks_per_us;)
        cpu_relax();
}

void cpu_wait_us(uint32_t us)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < us * ticks_per_us;) {
        irq_window();
        cpu_relax();
    }
}

/* Leaf 0x15: the ratio to the crystal, and its rate where the CPU knows it; leaf 0x16: the base
 * frequency in MHz, which is the TSC's where the crystal's is not told (SDM 3B 18.7.3). */
static uint64_t hz_from_cpuid(void)
{
    uint32_t last = cpuid(0, 0).eax;

    if (last < 0x15)
        return 0;
    struct cpuid ratio = cpuid(0x15, 0);
    if (ratio.eax == 0 || ratio.ebx == 0)
        return 0;
    if (ratio.ecx != 0)
        return (uint64_t)ratio.ecx * ratio.ebx / ratio.eax;
    return last >= 0x16 ? (cpuid(0x16, 0).eax & 0xffff) * 1000000ull : 0;
}

/* A hypervisor below us may tell it, in kHz (leaf 0x40000010, as VMware and KVM do). */
static uint64_t hz_from_hypervisor(void)
{
    if (!(cpuid(1, 0).ecx >> 31) || cpuid(0x40000000, 0).eax < 0x40000010)
        return 0;
    return cpuid(0x40000010, 0).eax * 1000ull;
}

/* One look at the clock and at another counter, the tightest of a few: an interruption between the
 * reads (a hypervisor below us, SMM) spreads them. */
struct time_sample time_sample(uint32_t (*count)(void))
{
    struct time_sample best = { 0, 0 };
    uint64_t tightest = UINT64_MAX;

    for (unsigned i = 0; i < LOOKS; i++) {
        uint64_t before = rdtsc();
        uint32_t n = count();
        uint64_t spread = rdtsc() - before;
        if (spread < tightest) {
            tightest = spread;
            best = (struct time_sample){ before + spread / 2, n };
        }
    }
    return best;
}

/* Let @count go on by @window (it counts up at @hz, modulo @mask + 1). 0: it does not. */
static uint64_t hz_from_counter(uint32_t (*count)(void), uint32_t hz, uint32_t mask,
                                uint32_t window)
{
    struct time_sample first = time_sample(count), last;

    do {
        last = time_sample(count);
        if (last.tsc - first.tsc > GIVE_UP)
            return 0;
    } while (((last.count - first.count) & mask) < window);
    return (last.tsc - first.tsc) * hz / ((last.count - first.count) & mask);
}

/* Channel 2 of the 8254, started at 65536, counts down (port 0x43: latch it). */
static uint32_t pit_count(void)
{
    outb(0x43, 0x80);
    uint32_t low = inb(0x42);
    return 0x10000 - (low | (uint32_t)inb(0x42) << 8);
}

static uint64_t hz_from_pit(uint32_t window)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        outb(0x61, (inb(0x61) & ~2u) | 1); /* gate on, speaker off */
        outb(0x43, 0xb0);                  /* channel 2, both bytes, mode 0 */
        outb(0x42, 0);
        outb(0x42, 0);
        uint64_t hz = hz_from_counter(pit_count, 1193182, 0xffff, window);
        if (!(inb(0x61) & 0x20)) /* it has not passed 0 unseen in the meantime */
            return hz;
    }
    return 0;
}

static uint16_t pm_port;

static uint32_t pm_count(void)
{
    return inl(pm_port);
}

/* ACPI 6.5 4.8.3.3: at least 24 bits, 4.7 s until it wraps. */
static uint64_t hz_from_pm_timer(uint16_t port)
{
    pm_port = port;
    return port != 0 ? hz_from_counter(pm_count, 3579545, 0xffffff, WINDOW) : 0;
}

static bool take(uint64_t hz, const char *from)
{
    if (hz < 1000000)
        return false;
    tsc_hz = hz;
    ticks_per_us = (hz + 500000) / 1000000;
    source = from;
    return true;
}

void time_early_init(uint64_t loader_hz)
{
    if (!take(loader_hz, "loader") && !take(hz_from_cpuid(), "CPUID 0x15") &&
        !take(hz_from_hypervisor(), "CPUID 0x40000010")) {
        (void)take(hz_from_pit(WINDOW_ROUGH), NULL); /* good enough for the log */
    }
}

/* The PM timer counts faster than the 8254, and is read at once. */
void arch_time_init(uint16_t pm_timer_port)
{
    if (!source && !take(hz_from_pm_timer(pm_timer_port), "ACPI PM timer") &&
        !take(hz_from_pit(WINDOW), "8254")) {
        log_error("time", "the TSC's rate is not known: no CPUID 0x15, no ACPI PM timer, no 8254");
        panic_end();
    }
    if (!(cpuid(0x80000007, 0).edx >> 8 & 1))
        log_debug("time", "the TSC may change its rate (CPUID 0x80000007 EDX bit 8 is 0)");
    log_info("time", "TSC %lu kHz (%s)", tsc_hz / 1000, source);
    timer_init();
}
