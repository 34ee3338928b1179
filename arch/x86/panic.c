/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/panic.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "arch/x86/apic.h"
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/image.h"
#include "hv/log.h"

#define STOP_WAIT_US 200000u
#define FRAMES_MAX   24u
#define NOBODY       0xffffffffu

static bool reboot_after;
static _Atomic uint32_t stopper = NOBODY; /* index of the CPU that stops the others */

void panic_set_reboot(bool reboot)
{
    reboot_after = reboot;
}

bool panic_stopping(void)
{
    return atomic_load(&stopper) != NOBODY;
}

void panic_stopped(void)
{
    atomic_store(&this_cpu()->stopped, true);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* A CPU other than this one that still runs; cpu_count(): none. */
static unsigned next_running(unsigned i)
{
    while (i < cpu_count() &&
           (i == cpu_index() || !atomic_load(&cpus[i]->online) || atomic_load(&cpus[i]->stopped)))
        i++;
    return i;
}

static bool all_stopped(void)
{
    return next_running(0) == cpu_count();
}

/* First by NMI, so that they can still say that they stopped; a CPU that does not answer gets INIT.
 */
static void stop_others(void)
{
    if (all_stopped())
        return;
    apic_send_nmi_others();
    for (uint64_t start = time_now(); time_now() - start < STOP_WAIT_US * time_ticks_per_us();) {
        if (all_stopped())
            return;
        cpu_relax();
    }
    for (unsigned i = next_running(0); i < cpu_count(); i = next_running(i + 1))
        log_error("panic", "CPU %u does not stop: it is held in INIT", i);
    apic_send_init_others();
}

void panic_begin(void)
{
    uint32_t nobody = NOBODY;

    if (atomic_compare_exchange_strong(&stopper, &nobody, cpu_index())) {
        log_emergency();
        stop_others();
        return;
    }
    if (nobody != cpu_index())
        panic_stopped();
    log_error("panic", "another fault while stopping");
    machine_stop(reboot_after);
}

void panic_end(void)
{
    log_error("panic", reboot_after ? "stopped; resetting the machine" : "stopped");
    machine_stop(reboot_after);
}

void machine_stop(bool reboot)
{
    uint32_t nobody = NOBODY;

    __asm__ volatile("cli");
    if (!atomic_compare_exchange_strong(&stopper, &nobody, cpu_index()) && nobody != cpu_index())
        panic_stopped();
    log_emergency(); /* a CPU that is stopped may hold the log */
    stop_others();
    if (reboot) {
        const struct [[gnu::packed]] {
            uint16_t limit;
            uint64_t base;
        } no_idt = { 0, 0 };

        /* Chipset reset control, keyboard controller, triple fault. */
        outb(0xcf9, 0x02);
        outb(0xcf9, 0x06);
        for (unsigned i = 0; i < 1000; i++)
            (void)inb(0x80);
        outb(0x64, 0xfe);
        for (unsigned i = 0; i < 1000; i++)
            (void)inb(0x80);
        __asm__ volatile("lidt %0; int3" ::"m"(no_idt) : "memory");
    }
    for (;;)
        __asm__ volatile("cli; hlt");
}

static bool within(uint64_t address, const uint8_t *area, size_t size)
{
    return address - (uint64_t)area <= size - 16;
}

/* Two words at @address lie in one stack of this CPU, outside the guard pages. */
static bool in_stack(uint64_t address)
{
    const struct cpu_stacks *s = this_cpu()->stacks;
    bool in = within(address, s->main, sizeof(s->main));

    for (unsigned i = 0; i < CPU_STACK_TRAPS; i++)
        in = in || within(address, s->trap[i].stack, sizeof(s->trap[i].stack));
    return in && address % 8 == 0;
}

static void frame_line(uint64_t rip)
{
    if (rip >= (uint64_t)__text_start && rip < (uint64_t)__text_end)
        log_error("trace", "%016lx  image + 0x%lx", rip, rip - (uint64_t)__image_start);
    else
        log_error("trace", "%016lx  not in the image", rip);
}

void backtrace(uint64_t rip, uint64_t rbp)
{
    frame_line(rip);
    /* A caller's frame lies above, so the walk ends even on a broken stack. */
    for (unsigned n = 0; n < FRAMES_MAX && in_stack(rbp); n++) {
        const uint64_t *frame = (const uint64_t *)rbp; /* saved RBP, return address */
        if (frame[1] == 0)
            return;
        frame_line(frame[1]);
        if (frame[0] <= rbp)
            return;
        rbp = frame[0];
    }
}

void panic(const char *format, ...)
{
    char text[160];
    va_list args;

    panic_begin();
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_error("panic", "%s (CPU %u)", text, cpu_index());
    backtrace((uint64_t)__builtin_return_address(0), *(uint64_t *)__builtin_frame_address(0));
    panic_end();
}
