/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/cpuid_policy.c arch/x86/msr_policy.c */
/*
 * What a guest learns of the CPU, on hardware that answers all ones everywhere (so whatever passes
 * passes), and on hardware that answers zero; and what its MSR accesses do.
 */
#include "arch/x86/cpuid_policy.h"
#include "arch/x86/msr_policy.h"
#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic.h"
#include "arch/x86/xstate.h"
#include "sluice/hypercall.h"
#include "tests/platform/platform.h"

#define ALL 0xffffffffu

static uint64_t xstate = 0x7;
static struct cpuid_view view;

uint64_t xstate_allowed(void)
{
    return xstate;
}

static struct cpuid ones(uint32_t leaf, uint32_t)
{
    if (leaf == 0)
        return (struct cpuid){ 0x20, 1, 2, 3 };
    if (leaf == 0x80000000)
        return (struct cpuid){ 0x80000021, 1, 2, 3 };
    return (struct cpuid){ ALL, ALL, ALL, ALL };
}

/* An old CPU: leaf 5 is its last. Above it answers garbage, as real ones do. */
static struct cpuid old(uint32_t leaf, uint32_t)
{
    if ((leaf & 0x7fffffff) == 0)
        return (struct cpuid){ leaf + 5, 1, 2, 3 };
    return leaf > (leaf & 0x80000000) + 5 ? (struct cpuid){ ALL, ALL, ALL, ALL }
                                          : (struct cpuid){ 0 };
}

static struct cpuid ask(uint32_t leaf, uint32_t subleaf)
{
    return cpuid_filter(&view, ones, leaf, subleaf);
}

static int fresh(void **state)
{
    view = (struct cpuid_view){
        .index = 2, .nvcpus = 5, .features = 3, .vmmcall = true, .tsc_khz = 2000000
    };
    xstate = 7;
    return platform_fresh(state);
}

static void nothing_of_virtualisation(void **)
{
    struct cpuid c = ask(1, 0);

    assert_false(c.ecx & 1u << 5);                       /* VMX */
    assert_false(c.ecx & (1u << 3 | 1u << 6));           /* MONITOR, SMX */
    assert_true(c.ecx & 1u << 31);                       /* under a hypervisor */
    assert_true(c.ecx & 1u << 21);                       /* x2APIC */
    assert_false(ask(0x80000001, 0).ecx & 1u << 2);      /* SVM */
    assert_false(ask(0x80000001, 0).ecx & 1u << 12);     /* SKINIT */
    assert_int_equal(ask(0x8000000a, 0).edx, 0);         /* SVM features */
    assert_false(ask(7, 0).ebx & 1u << 2);               /* SGX */
    assert_false(ask(7, 0).edx & (1u << 26 | 1u << 29)); /* SPEC_CTRL, ARCH_CAPABILITIES MSRs */
    assert_int_equal(ask(0xa, 0).eax, 0);                /* performance counters */
    assert_int_equal(ask(5, 0).ecx, 0);                  /* MWAIT */
}

/* Leaves and subleaves that no row names read as 0. */
static void unknown_is_zero(void **)
{
    static const uint32_t leaf[][2] = { { 3, 0 },          { 7, 1 },          { 0xd, 32 },
                                        { 0x12, 0 },       { 0x14, 0 },       { 0x17, 0 },
                                        { 0x40000002, 0 }, { 0x80000009, 0 }, { 0x8000001e, 0 },
                                        { 0xc0000000, 0 }, { ALL, 0 } };

    for (unsigned i = 0; i < ARRAY_SIZE(leaf); i++) {
        struct cpuid c = ask(leaf[i][0], leaf[i][1]);
        assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
    }
}

static void identity(void **)
{
    struct cpuid c = ask(1, 0);

    assert_int_equal(c.ebx >> 24, 2);
    assert_int_equal(c.ebx >> 16 & 0xff, 5);
    assert_true(c.edx & 1u << 28);
    assert_false(c.ecx & 1u << 27);
    view.osxsave = true;
    assert_true(ask(1, 0).ecx & 1u << 27);
    view.nvcpus = 1;
    assert_false(ask(1, 0).edx & 1u << 28);
    assert_int_equal(ask(0, 0).eax, 0x16);
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000008);
}

static void topology(void **)
{
    for (uint32_t sub = 0; sub < 4; sub++) {
        struct cpuid c = ask(0xb, sub);
        assert_int_equal(c.edx, 2);
        assert_int_equal(c.ecx & 0xff, sub);
        assert_int_equal(c.ecx >> 8, sub == 0 ? 1 : sub == 1 ? 2 : 0);
        assert_int_equal(c.eax, sub == 1 ? 3 : 0); /* 5 vCPUs take 3 bits */
        assert_int_equal(c.ebx, sub == 0 ? 1 : sub == 1 ? 5 : 0);
    }
    assert_int_equal(ask(4, 0).eax >> 14, 0); /* no sharing of caches or packages */
    assert_int_equal(ask(0x80000008, 0).ecx, 4);
}

static void extended_state(void **)
{
    assert_int_equal(ask(0xd, 0).eax, 7);
    assert_int_equal(ask(0xd, 0).edx, 0);
    assert_int_equal(ask(0xd, 1).eax, 7); /* not XSAVES */
    assert_int_equal(ask(0xd, 2).eax, ALL);
    assert_int_equal(ask(0xd, 5).eax, 0);
    assert_int_equal(ask(0xd, 9).eax, 0);
    xstate = 0xe7;
    assert_int_equal(ask(0xd, 5).eax, ALL);
}

static void hypervisor_leaves(void **)
{
    struct cpuid c = ask(SLUICE_CPUID_BASE, 0);

    assert_int_equal(c.eax, SLUICE_CPUID_BASE + 1);
    assert_memory_equal(&c.ebx, "SluiceHyperv", 12);
    c = ask(SLUICE_CPUID_BASE + 1, 0);
    assert_int_equal(c.eax, SLUICE_ABI_VERSION);
    assert_int_equal(c.ebx, 3);
    assert_int_equal(c.ecx, 1);
    assert_int_equal(c.edx, 2000000);
    c = ask(SLUICE_CPUID_BASE + 0x100, 0); /* keeps Linux in x2APIC mode, and promises nothing */
    assert_memory_equal(&c.ebx, "KVMKVMKVM\0\0\0", 12);
    c = ask(SLUICE_CPUID_BASE + 0x101, 0);
    assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
}

static void old_hardware(void **)
{
    struct cpuid c = cpuid_filter(&view, old, 7, 0);

    assert_int_equal(c.eax | c.ebx | c.ecx | c.edx, 0);
    assert_int_equal(cpuid_filter(&view, old, 0, 0).eax, 0xb); /* topology needs no hardware */
    assert_int_equal(cpuid_filter(&view, old, 0xb, 1).ebx, 5);
    assert_int_equal(cpuid_filter(&view, old, 0xd, 0).eax, 0);
    assert_int_equal(cpuid_filter(&view, old, 0x80000008, 0).eax, 0);
    assert_int_equal(cpuid_filter(&view, old, 1, 0).ecx,
                     1u << 21 | 1u << 24 | 1u << 31); /* what is not hardware's */
}

/* --- MSRs */

static uint32_t vlapic_saw, backend_saw;

bool vlapic_msr_read(struct vlapic *, uint32_t msr, uint64_t *value)
{
    vlapic_saw = msr;
    *value = 0x11;
    return true;
}

bool vlapic_msr_write(struct vlapic *, uint32_t msr, uint64_t)
{
    vlapic_saw = msr;
    return msr != 0x8ff;
}

static bool backend_get(struct vcpu *, uint32_t msr, uint64_t *value)
{
    backend_saw = msr;
    *value = 0x22;
    return true;
}

static bool backend_set(struct vcpu *, uint32_t msr, uint64_t value)
{
    backend_saw = msr;
    return value != 0xbad;
}

static const struct vcpu_ops ops = { .msr_get = backend_get, .msr_set = backend_set };
const struct vcpu_ops *vcpu_ops = &ops;

static void msrs_by_their_owner(void **)
{
    static const uint32_t vlapics[] = { 0x1b, 0x6e0, 0x800, 0x830, 0x8ff };
    static const uint32_t backends[] = { 0x277, 0xc0000080 };
    struct vcpu v = { 0 };
    uint64_t value;

    for (unsigned i = 0; i < ARRAY_SIZE(vlapics); i++) {
        assert_true(msr_read(&v, vlapics[i], &value));
        assert_int_equal(value, 0x11);
        assert_int_equal(vlapic_saw, vlapics[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
        assert_true(msr_read(&v, backends[i], &value));
        assert_int_equal(value, 0x22);
        assert_true(msr_write(&v, backends[i], 1));
        assert_int_equal(backend_saw, backends[i]);
        assert_false(msr_write(&v, backends[i], 0xbad));
    }
    assert_false(msr_write(&v, 0x8ff, 0));
}

static void msrs_that_are_constant(void **)
{
    struct vcpu v = { 0 };
    uint64_t value;

    assert_true(msr_read(&v, 0x3a, &value));
    assert_int_equal(value, 1); /* VMX is locked away */
    assert_false(msr_write(&v, 0x3a, 5));
    assert_true(msr_read(&v, 0xfe, &value));
    assert_int_equal(value & 0x1ff, 0); /* no MTRR ranges, fixed or variable */
    assert_true(msr_write(&v, 0x2ff, 0));
    assert_true(msr_read(&v, 0x2ff, &value));
    assert_int_equal(value, 0x806);
    assert_true(msr_read(&v, 0xc0010114, &value));
    assert_true(value & 0x10);                /* SVM is disabled */
    assert_true(msr_write(&v, 0x79, 0x1000)); /* microcode: no effect here */
    assert_false(msr_read(&v, 0x79, &value));
}

/* What would reach the machine, or nobody knows, is refused. */
static void msrs_refused(void **)
{
    static const uint32_t msrs[] = { 0x38f, 0x48,       0x49,       0x186,      0x199,
                                     0x1fc, 0x400,      0x480,      0x7ff,      0x900,
                                     0xda0, 0xc0010000, 0xc0010117, 0xc0011004, 0x12345678 };
    struct vcpu v = { 0 };
    uint64_t value;

    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        assert_false(msr_read(&v, msrs[i], &value));
        assert_false(msr_write(&v, msrs[i], 0));
    }
}

#define t(f) cmocka_unit_test_setup_teardown(f, fresh, platform_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(nothing_of_virtualisation),
        t(unknown_is_zero),
        t(identity),
        t(topology),
        t(extended_state),
        t(hypervisor_leaves),
        t(old_hardware),
        t(msrs_by_their_owner),
        t(msrs_that_are_constant),
        t(msrs_refused),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
