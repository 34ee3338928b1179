/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of the machine: the first CPU that gets here stops the others and prints.
 */
#ifndef ARCH_X86_PANIC_H
#define ARCH_X86_PANIC_H

#include <stdbool.h>
#include <stdint.h>

/* What panic_end() does once all is printed. */
void panic_set_reboot(bool reboot);

/* Stops the other CPUs. Returns only on the CPU that is first. A second fault on that CPU ends at
 * once. */
void panic_begin(void);
[[noreturn]] void panic_end(void);

/* The NMI that stops a CPU: is one on its way, and its end. */
bool panic_stopping(void);
[[noreturn]] void panic_stopped(void);

/* Print the chain of callers: @rip, then up the frame pointers as long as they lie in a stack of
 * ours. */
void backtrace(uint64_t rip, uint64_t rbp);

#endif
