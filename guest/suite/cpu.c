/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID and MSR policy, memory and ports outside the VM, XCR0. */
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

#define UD 6
#define GP 13

static void cpuid_leaves(void)
{
    uint32_t r[4];

    cpuid(1, 0, r);
    CHECK(r[2] >> 31 & 1);      /* a hypervisor is present */
    CHECK(r[2] >> 21 & 1);      /* x2APIC */
    CHECK(!(r[2] >> 5 & 1));    /* no VMX */
    CHECK(!(r[2] >> 3 & 1));    /* no MONITOR */
    CHECK_EQUAL(r[1] >> 24, 0); /* APIC id of the first vCPU */
    cpuid(0x80000001, 0, r);
    CHECK(!(r[2] >> 2 & 1)); /* no SVM */
    CHECK(r[3] >> 29 & 1);   /* long mode */
    cpuid(0x8000000a, 0, r);
    CHECK_EQUAL(r[0] | r[1] | r[3], 0); /* SVM revision and features are hidden */
    cpuid(SLUICE_CPUID_BASE, 0, r);
    CHECK_EQUAL(r[0], SLUICE_CPUID_BASE + 1);
    CHECK_EQUAL(r[1], SLUICE_CPUID_EBX);
    cpuid(SLUICE_CPUID_BASE + 1, 0, r);
    CHECK_EQUAL(r[0], SLUICE_ABI_VERSION);
    CHECK(r[3] > 1000); /* TSC in kHz */
}

static void read_msr(void *msr)
{
    (void)rdmsr((uint32_t)(uint64_t)msr);
}

struct msr_write {
    uint32_t msr;
    uint64_t value;
};

static void write_msr(void *argument)
{
    const struct msr_write *w = argument;

    wrmsr(w->msr, w->value);
}

static void msr_policy(void)
{
    static const uint32_t unknown[] = { 0x2, 0x12345, 0xc0010117 /* VM_HSAVE_PA */, 0x48d /* VMX */,
                                        0x4b564d00 /* another hypervisor */ };
    struct msr_write bad[] = {
        { 0xc0000080, rdmsr(0xc0000080) | 1u << 12 },   /* EFER.SVME */
        { 0xc0000080, rdmsr(0xc0000080) | 1ull << 40 }, /* reserved */
        { 0x1b, 0xfee00000 | 0x800 },                   /* x2APIC to xAPIC is not a legal step */
        { 0x1b, 0xfec00000 | 0xd00 },                   /* another base */
        { 0x12345, 1 },
        { 0x80f, 1ull << 20 }, /* reserved bit of SVR */
        { 0x808, 0x100 },      /* TPR beyond 8 bits */
    };

    for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        CHECK_EQUAL(try_exception(read_msr, (void *)(uint64_t)unknown[i], NULL), GP);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (try_exception(write_msr, &bad[i], NULL) != GP)
            check_failed("WRMSR must be refused", __FILE__, __LINE__, bad[i].msr, i);
    CHECK_EQUAL(rdmsr(0xc0000080) >> 12 & 1, 0);
    /* What an OS does at start must work. */
    wrmsr(0xc0000102, 0x1234); /* kernel GS base */
    CHECK_EQUAL(rdmsr(0xc0000102), 0x1234);
    wrmsr(0xc0000082, 0x5678); /* LSTAR */
    CHECK_EQUAL(rdmsr(0xc0000082), 0x5678);
    wrmsr(0x277, 0x0007040600070406); /* PAT */
    CHECK_EQUAL(rdmsr(0x277), 0x0007040600070406);
}

static void touch_read(void *address)
{
    (void)*(volatile uint64_t *)address;
}

static void touch_write(void *address)
{
    *(volatile uint64_t *)address = 1;
}

static void memory_outside(void)
{
    uint64_t places[] = { memory_bytes() + 0x100000, 0xbff00000, 0xfee00000, 0xfff00000 };

    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        CHECK_EQUAL(try_exception(touch_read, (void *)places[i], NULL), GP);
        CHECK_EQUAL(try_exception(touch_write, (void *)places[i], NULL), GP);
    }
}

static void ports(void)
{
    CHECK_EQUAL(inb(0x60), 0xff); /* no keyboard controller */
    CHECK_EQUAL(inb(0x2f8 + 5), 0xff);
    CHECK_EQUAL(inl(0x80), 0xffffffff);
    CHECK_EQUAL(inb(0x3f8 + 5) & 0x60, 0x60); /* our console: transmitter empty */
    outb(0x3f8 + 7, 0x5a);
    CHECK_EQUAL(inb(0x3f8 + 7), 0x5a); /* its scratch register */
}

static void xsetbv(void *value)
{
    uint64_t v = (uint64_t)value;

    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static void set_cr4(void *value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value));
}

static void xcr0(void)
{
    uint32_t r[4];
    uint64_t cr4;

    cpuid(1, 0, r);
    if (!(r[2] >> 26 & 1)) { /* no XSAVE here: then XSETBV does not exist */
        CHECK_EQUAL(try_exception(xsetbv, (void *)1, NULL), UD);
        return;
    }
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    CHECK_EQUAL(try_exception(set_cr4, (void *)(cr4 | 1u << 18), NULL), -1);
    CHECK_EQUAL(try_exception(xsetbv, (void *)0, NULL), GP); /* x87 is always on */
    CHECK_EQUAL(try_exception(xsetbv, (void *)(1ull << 63 | 1), NULL), GP);
    CHECK_EQUAL(try_exception(xsetbv, (void *)5, NULL), GP); /* AVX without SSE */
    CHECK_EQUAL(try_exception(xsetbv, (void *)3, NULL), -1);
}

static void privileged(void *which)
{
    switch ((uint64_t)which) {
    case 0: __asm__ volatile("vmrun" : : "a"(0)); break;
    case 1: __asm__ volatile("stgi"); break;
    case 2: __asm__ volatile("clgi"); break;
    case 3: __asm__ volatile("vmload" : : "a"(0)); break;
    case 4: __asm__ volatile("vmxoff"); break;
    }
}

static void no_nested_virtualisation(void)
{
    for (uint64_t i = 0; i <= 4; i++)
        CHECK_EQUAL(try_exception(privileged, (void *)i, NULL), UD);
}

static void time_runs(void)
{
    uint64_t before = rdtsc(), now;

    for (unsigned i = 0; i < 1000; i++) {
        now = rdtsc();
        CHECK(now >= before);
        before = now;
    }
}

const struct check cpu_checks[] = {
    { "cpuid", cpuid_leaves },
    { "msr_policy", msr_policy },
    { "memory_outside", memory_outside },
    { "ports", ports },
    { "xcr0", xcr0 },
    { "no_nested_virtualisation", no_nested_virtualisation },
    { "time_runs", time_runs },
    { NULL, NULL },
};
