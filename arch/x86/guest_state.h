/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a CPU would say to a guest's state, where a backend has to say it: the same for both.
 */
#ifndef ARCH_X86_GUEST_STATE_H
#define ARCH_X86_GUEST_STATE_H

#include <stdint.h>

#define RFLAGS_TF 0x00100ull
#define RFLAGS_IF 0x00200ull
#define RFLAGS_RF 0x10000ull

/* Delivering exception @first raised @second (SDM 3A table 6-5). */
enum exceptions { EXCEPTIONS_SECOND, EXCEPTIONS_DOUBLE_FAULT, EXCEPTIONS_SHUTDOWN };
enum exceptions exceptions_combine(unsigned first, unsigned second);

/* Writes of MSRs; false: #GP(0). @efer, @cr0: as they are. */
bool pat_valid(uint64_t value);
bool efer_valid(uint64_t value, uint64_t efer, uint64_t cr0);

/* RIP behind an instruction of @length bytes: it wraps where code is not 64-bit. */
uint64_t rip_behind(uint64_t rip, uint64_t length, bool long_code);

#endif
