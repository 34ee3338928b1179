/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Floating-point and vector state. Sluice does not use it and a CPU has one vCPU, so the guest's
 * stays in the registers from exit to entry; XCR0 is the guest's, too.
 */
#ifndef ARCH_X86_XSTATE_H
#define ARCH_X86_XSTATE_H

#include <stdbool.h>
#include <stdint.h>

/* Let this CPU keep guest state. Each CPU, once. */
void xstate_enable(void);
/* XCR0 bits that guests may set. Same on all CPUs. */
uint64_t xstate_allowed(void);
/* All registers of the calling CPU as after reset. */
void xstate_reset(void);
/* XSETBV of the guest. @return false: #GP(0). */
bool xstate_set(uint32_t index, uint64_t value);

#endif
