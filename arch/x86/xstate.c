/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/xstate.h"

#include "arch/x86/asm.h"

/* XCR0, SDM 1 13.3: x87, SSE, AVX, and the three parts of AVX-512. */
#define XCR0_X87    0x01ull
#define XCR0_SSE    0x02ull
#define XCR0_AVX    0x04ull
#define XCR0_AVX512 0xe0ull

#define MSR_XSS      0xda0u
#define CPUID_XSAVES 0x8u /* leaf 0xd, subleaf 1, EAX */

#define CR0_EM         0x4ull
#define CR0_TS         0x8ull
#define CR4_OSFXSR     0x200ull
#define CR4_OSXMMEXCPT 0x400ull

static uint64_t allowed = XCR0_X87; /* the same value is stored by every CPU */

/* An XSAVE image of 64 + 512 bytes whose header says: everything in its initial state; its legacy
 * part is the FXSAVE image after reset, for CPUs without XSAVE. SDM 1 13.4. */
static const struct {
    uint16_t fcw, fsw, ftw, fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t rest[480];
    uint64_t header[8];
} initial [[gnu::aligned(64)]] = { .fcw = 0x37f, .mxcsr = 0x1f80 };

static void xsetbv(uint64_t value)
{
    __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

void xstate_enable(void)
{
    uint64_t cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;

    if (cpuid(1, 0).ecx & 1u << 26)
        cr4 |= CR4_OSXSAVE;
    write_cr0(read_cr0() & ~(CR0_EM | CR0_TS));
    write_cr4(read_cr4() | cr4);
    if (cr4 & CR4_OSXSAVE) {
        struct cpuid c = cpuid(0xd, 0);

        /* A guest that can execute XRSTORS (AMD has no control for it) finds none of a
         * supervisor's. */
        if (cpuid(0xd, 1).eax & CPUID_XSAVES)
            wrmsr(MSR_XSS, 0);
        allowed = (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512) & ((uint64_t)c.edx << 32 | c.eax);
    }
}

uint64_t xstate_allowed(void)
{
    return allowed;
}

void xstate_reset(void)
{
    if (!(read_cr4() & CR4_OSXSAVE)) {
        __asm__ volatile("fxrstor64 %0" ::"m"(initial));
        return;
    }
    xsetbv(allowed);
    __asm__ volatile("xrstor64 %0" ::"m"(initial), "a"(-1), "d"(-1));
    xsetbv(XCR0_X87);
}

bool xstate_set(uint32_t index, uint64_t value)
{
    if (index != 0 || (value & ~allowed) || !(value & XCR0_X87) || !(read_cr4() & CR4_OSXSAVE))
        return false;
    if ((value & XCR0_AVX) && !(value & XCR0_SSE))
        return false;
    if ((value & XCR0_AVX512) && ((value & XCR0_AVX512) != XCR0_AVX512 || !(value & XCR0_AVX)))
        return false;
    xsetbv(value);
    return true;
}
