/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses that devices see, each a single one of exactly its width.
 */
#include "hv/platform.h"

#include "arch/x86/asm.h"

uint32_t mmio_read32(const volatile void *base, uint32_t offset)
{
    return *(const volatile uint32_t *)((const volatile char *)base + offset);
}

uint64_t mmio_read64(const volatile void *base, uint32_t offset)
{
    return *(const volatile uint64_t *)((const volatile char *)base + offset);
}

void mmio_write32(volatile void *base, uint32_t offset, uint32_t value)
{
    /* What was stored to memory before comes first: uncached stores are not passed by others (SDM
     * 3A 9.2.2), so the compiler is all that has to be held. */
    __asm__ volatile("" ::: "memory");
    *(volatile uint32_t *)((volatile char *)base + offset) = value;
}

void mmio_write64(volatile void *base, uint32_t offset, uint64_t value)
{
    __asm__ volatile("" ::: "memory");
    *(volatile uint64_t *)((volatile char *)base + offset) = value;
}

void store64(uint64_t *p, uint64_t value)
{
    __asm__ volatile("movq %1, %0" : "=m"(*p) : "er"(value) : "memory");
}

void store64_run(uint64_t *p, unsigned n, uint64_t value, uint64_t step)
{
#pragma clang loop unroll_count(4)
    for (; n != 0; n--, p++, value += step)
        __asm__ volatile("movq %1, %0" : "=m"(*p) : "r"(value) : "memory");
}

/* Without vector registers CMPXCHG16B is the one 16-byte store. The first try fails if the guess of
 * what is there was wrong, and brings the truth. */
void store128(uint64_t p[2], uint64_t lo, uint64_t hi)
{
    uint64_t old_lo = p[0], old_hi = p[1];

    __asm__ volatile("1: lock cmpxchg16b %0\n\t"
                     "jnz 1b"
                     : "+m"(*(unsigned __int128 *)p), "+a"(old_lo), "+d"(old_hi)
                     : "b"(lo), "c"(hi)
                     : "memory", "cc");
}

/* CLFLUSHOPT where there is one (CPUID 7 EBX 23); the line size is CPUID 1 EBX 15:8 in 8 bytes. */
void cache_flush(const void *start, size_t size)
{
    static uint32_t line;
    static bool optimised;

    if (size == 0)
        return;
    if (line == 0) {
        optimised = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx >> 23 & 1);
        line = (cpuid(1, 0).ebx >> 8 & 0xff) * 8;
    }
    uintptr_t end = (uintptr_t)start + size;
    for (uintptr_t p = (uintptr_t)start & ~(uintptr_t)(line - 1); p < end; p += line) {
        if (optimised)
            __asm__ volatile("clflushopt %0" ::"m"(*(const char *)p) : "memory");
        else
            __asm__ volatile("clflush %0" ::"m"(*(const char *)p) : "memory");
    }
    __asm__ volatile("mfence" ::: "memory");
}
