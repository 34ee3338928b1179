/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

static const char *running;
static unsigned failures, in_this;

void check_failed(const char *what, const char *file, int line, uint64_t got, uint64_t wanted)
{
    print("@test %s FAILED %s:%d: got %#lx, wanted %#lx\n", running, file, line, got, wanted);
    print("    %s\n", what);
    in_this++;
}

bool intel_cpu(void)
{
    uint32_t r[4];

    cpuid(0, 0, r);
    return r[2] == 0x6c65746e; /* ntel */
}

static void run(const struct check *checks)
{
    for (; checks->name; checks++) {
        running = checks->name;
        in_this = 0;
        checks->run();
        failures += in_this != 0;
        if (!in_this)
            print("@test %s ok\n", running);
    }
}

/* An IDT without room: the first exception becomes a triple fault. */
[[noreturn]] static void triple_fault(void)
{
    const struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = { 0, 0 };

    __asm__ volatile("lidt %0; ud2" : : "m"(none));
    __builtin_unreachable();
}

int guest_main(void)
{
    run(cpu_checks);
    run(trap_checks);
    run(mode_checks);
    run(interrupt_checks);
    run(pci_checks);
    run(call_checks);
    run(smp_checks);
    print("suite: %u checks failed\n", failures);
    if (option_text("end") && !strncmp(option_text("end"), "triple", 6)) {
        print("ending with a triple fault\n");
        triple_fault();
    }
    return failures ? 1 : 0;
}
