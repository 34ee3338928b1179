/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The last lines of a VM and of the machine: one for people, and lines `@hv <vm> <key> <value>` (vm
 * '-': Sluice itself) for programs.
 */
#ifndef HV_REPORT_H
#define HV_REPORT_H

#include <stdint.h>

struct vm;

void report_vm(const struct vm *vm);

/* Ticks since Sluice was entered, and its memory, as they are now: the first guest starts. */
void report_boot(uint64_t entered);
void report_machine(void);

#endif
