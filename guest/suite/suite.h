/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest may rely on, checked from inside: CPU, interrupts, vCPUs, PCI view, the calls'
 * answers to bad input. Prints one "@test NAME ok" or "@test NAME FAILED ..." per check.
 */
#ifndef GUEST_SUITE_SUITE_H
#define GUEST_SUITE_SUITE_H

#include "guest/lib/runtime.h"

struct check {
    const char *name;
    void (*run)(void);
};

/* Of the running check: note a failure and go on. */
void check_failed(const char *what, const char *file, int line, uint64_t got, uint64_t wanted);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            check_failed(#cond, __FILE__, __LINE__, 0, 0);                                         \
    } while (0)
#define CHECK_EQUAL(a, b)                                                                          \
    do {                                                                                           \
        uint64_t got_ = (uint64_t)(a), wanted_ = (uint64_t)(b);                                    \
        if (got_ != wanted_)                                                                       \
            check_failed(#a " == " #b, __FILE__, __LINE__, got_, wanted_);                         \
    } while (0)

/* Calls are made with VMCALL, and traps are a real CPU's: what differs is in docs/architecture.md.
 */
bool intel_cpu(void);

extern const struct check cpu_checks[], trap_checks[], mode_checks[], interrupt_checks[],
    smp_checks[], pci_checks[], call_checks[];

#endif
