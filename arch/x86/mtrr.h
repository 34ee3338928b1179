/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory types by the host's MTRRs (SDM 3A 12.11), read once on the boot CPU.
 */
#ifndef ARCH_X86_MTRR_H
#define ARCH_X86_MTRR_H

#include <stdint.h>

enum mtrr_type {
    MTRR_UNCACHED = 0,
    MTRR_WRITE_COMBINING = 1,
    MTRR_WRITE_THROUGH = 4,
    MTRR_WRITE_PROTECTED = 5,
    MTRR_WRITE_BACK = 6,
};

/* The type at @base, and how far from there it is the same, at most @limit bytes. Both are
 * multiples of 4 KiB; so is *size. */
enum mtrr_type mtrr_range(uint64_t base, uint64_t limit, uint64_t *size);

/* For the test: another source of MSRs, read again at the next call. @bits: of physical addresses.
 */
typedef uint64_t mtrr_msr_source(uint32_t msr);
void mtrr_source(mtrr_msr_source *msr, unsigned bits);

#endif
