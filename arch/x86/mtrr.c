/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fixed ranges of the first MiB are not looked at: no VM's RAM lies there (2 MiB aligned, and
 * the firmware keeps the first). They count as one range of their own type.
 */
#include "arch/x86/mtrr.h"

#include "arch/x86/asm.h"
#include "hv/types.h"

#define MSR_CAP     0xfeu
#define MSR_DEFAULT 0x2ffu
#define MSR_BASE    0x200u /* base and mask of each range */
#define ENABLED     (1u << 11)
#define VALID       (1u << 11) /* of a mask */
#define RANGES_MAX  32u

static mtrr_msr_source *source = rdmsr;
static unsigned address_bits;
static bool is_read;
static uint8_t type_otherwise;
static unsigned nranges;
static struct range {
    uint64_t base, mask;
    uint8_t type;
} ranges[RANGES_MAX];

void mtrr_source(mtrr_msr_source *msr, unsigned bits)
{
    source = msr;
    address_bits = bits;
    is_read = false;
}

static void read_all(void)
{
    uint64_t top = source(MSR_DEFAULT);
    unsigned n = source(MSR_CAP) & 0xff;

    if (!address_bits)
        address_bits =
            cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
    const uint64_t address = ((1ull << address_bits) - 1) & ~PAGE_MASK;

    is_read = true;
    nranges = 0;
    type_otherwise = top & ENABLED ? top & 0xff : MTRR_UNCACHED;
    for (unsigned i = 0; (top & ENABLED) && i < n && nranges < RANGES_MAX; i++) {
        uint64_t base = source(MSR_BASE + 2 * i), mask = source(MSR_BASE + 2 * i + 1);
        if (mask & VALID)
            ranges[nranges++] =
                (struct range){ base & mask & address, mask & address, base & 0xff };
    }
}

/* Where ranges overlap: uncached wins, then write-through over write-back (12.11.4.1). */
static enum mtrr_type type_at(uint64_t address)
{
    bool hit = false;
    uint8_t type = type_otherwise;

    for (unsigned i = 0; i < nranges; i++) {
        if ((address & ranges[i].mask) != ranges[i].base)
            continue;
        if (!hit || ranges[i].type < type)
            type = ranges[i].type;
        hit = true;
    }
    return type;
}

/* Types change only where a mask's lowest bit does. */
static uint64_t step(void)
{
    uint64_t least = 1ull << 52;

    for (unsigned i = 0; i < nranges; i++) {
        uint64_t low = ranges[i].mask & -ranges[i].mask;
        least = low && low < least ? low : least;
    }
    return least;
}

enum mtrr_type mtrr_range(uint64_t base, uint64_t limit, uint64_t *size)
{
    if (!is_read)
        read_all();

    enum mtrr_type type = type_at(base);
    uint64_t s = step(), at = base;

    do
        at = (at | (s - 1)) + 1;
    while (at - base < limit && type_at(at) == type);
    *size = at - base < limit ? at - base : limit;
    return type;
}
