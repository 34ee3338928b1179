/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under a bare-metal guest: start, console, memory, failure. A guest supplies
 * guest_main(). Kernel addresses are guest physical (one to one, low 4 GiB).
 */
#ifndef GUEST_LIB_RUNTIME_H
#define GUEST_LIB_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ull

/* The guest proper, on the first vCPU, interrupts off, Sluice found. Its result is the shutdown
 * code. */
int guest_main(void);

/* Console, newline included by the caller. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say why and end this VM with code 99. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Value of "name=" on the command line as a number (0x allowed), or @otherwise. */
uint64_t option(const char *name, uint64_t otherwise);
/* Is "name" a word, or a "name=", on the command line? Points behind the '='. NULL: no. */
const char *option_text(const char *name);

/* @n contiguous zeroed pages; never fails but by fail(). */
void *pages_new(uint64_t n);
uint64_t memory_bytes(void);

/* Ticks of the TSC a microsecond, as Sluice says. */
uint64_t ticks_per_us(void);

#endif
