/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/speculation.c */
/*
 * What CPUs need against speculation, by what they report: real ones first (CPUID 7 and MSR 0x10a
 * from the dumps that test_vmx_caps.c names), then row by row.
 */
#include "arch/x86/speculation.h"

#include "arch/x86/cpu.h"
#include "tests/platform/platform.h"

static struct cpuid leaf7, leaf7_2, amd8, amd21;
static uint64_t arch_capabilities;
static bool asked;

static uint64_t msr(uint32_t number)
{
    assert_int_equal(number, 0x10a);
    asked = true;
    return arch_capabilities;
}

static struct cpuid identify(uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0: return (struct cpuid){ .eax = 0x20 };
    case 7: return subleaf == 2 ? leaf7_2 : leaf7;
    case 0x80000000: return (struct cpuid){ .eax = 0x80000021 };
    case 0x80000008: return amd8;
    case 0x80000021: return amd21;
    default: return (struct cpuid){ 0 };
    }
}

static int fresh(void **)
{
    leaf7 = leaf7_2 = amd8 = amd21 = (struct cpuid){ 0 };
    arch_capabilities = 0;
    return 0;
}

static void real_cpus(void **)
{
    static const struct {
        const char *name;
        uint32_t subleaves, ebx, edx, edx2, says;
        unsigned needed;
        uint64_t control;
    } cpus_seen[] = {
        { "Skylake-SP", 0, 0xd39ffffb, 0x9c002400, 0, 0,
          SPECULATION_L1D | SPECULATION_BUFFERS | SPECULATION_RETURNS | SPECULATION_IBRS_OF_OLD |
              SPECULATION_STIBP | SPECULATION_IBPB,
          2 },
        { "Ice Lake-SP", 0, 0xf3bfbfff, 0xbc040412, 0, 0x1eb,
          SPECULATION_RETURNS | SPECULATION_IBRS | SPECULATION_IBPB, 1 },
        { "Sapphire Rapids", 2, 0xf3bfbffb, 0xffdd4430, 0x17, 0xa8fdeb,
          SPECULATION_RETURNS | SPECULATION_IBRS | SPECULATION_IBPB | SPECULATION_HISTORY, 0x401 },
        { "Granite Rapids", 2, 0xf3bfbffb, 0xffdd4430, 0x3f, 0x2da9fdeb,
          SPECULATION_RETURNS | SPECULATION_IBRS | SPECULATION_IBPB | SPECULATION_HISTORY, 0x401 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cpus_seen); i++) {
        leaf7 = (struct cpuid){ cpus_seen[i].subleaves, cpus_seen[i].ebx, 0, cpus_seen[i].edx };
        leaf7_2.edx = cpus_seen[i].edx2;
        arch_capabilities = cpus_seen[i].says;
        unsigned needed = speculation_needed(msr, identify);
        if (needed != cpus_seen[i].needed)
            fail_msg("%s: %x, not %x", cpus_seen[i].name, needed, cpus_seen[i].needed);
        assert_int_equal(speculation_control(needed), cpus_seen[i].control);
    }
}

/* Offered, spared, asked for (SDM 4 table 2-2). */
static void each_row(void **)
{
    enum { TELLS = 1u << 29, IBRS = 1u << 26, FLUSH = 1u << 28, CLEAR = 1u << 10, RTM = 1u << 11 };
    static const struct {
        uint32_t edx, ebx, says;
        unsigned needed; /* of what follows it */
        unsigned of;
    } rows[] = {
        { FLUSH, 0, 0, SPECULATION_L1D, ~0u },
        { FLUSH | TELLS, 0, 1, 0, ~0u }, /* not vulnerable */
        { FLUSH | TELLS, 0, 8, 0, ~0u }, /* below another hypervisor that flushes */
        { FLUSH | TELLS, 0, 2, SPECULATION_L1D, ~0u },
        { FLUSH, 0, 1, SPECULATION_L1D, ~0u }, /* without the MSR it says nothing */
        { CLEAR, 0, 0, SPECULATION_BUFFERS, ~0u },
        { CLEAR | TELLS, 0, 1u << 5, 0, ~0u },
        { CLEAR | TELLS, 0, 1u << 5 | 1u << 17, SPECULATION_BUFFERS, ~0u },
        { CLEAR | TELLS, 0, 1u << 5 | 1u << 28, SPECULATION_BUFFERS, ~0u },
        { CLEAR | TELLS, RTM, 1u << 5, SPECULATION_BUFFERS, ~0u }, /* transactions */
        { CLEAR | TELLS, RTM, 1u << 5 | 1u << 8, 0, ~0u },
        { IBRS, 0, 0, SPECULATION_IBRS_OF_OLD | SPECULATION_RETURNS | SPECULATION_IBPB, ~0u },
        { IBRS | TELLS, 0, 2, SPECULATION_IBRS | SPECULATION_RETURNS | SPECULATION_IBPB, ~0u },
        { IBRS | 1u << 27 | TELLS, 0, 2, 0, SPECULATION_STIBP },
        { IBRS | 1u << 27, 0, 0, SPECULATION_STIBP, SPECULATION_STIBP },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        leaf7 = (struct cpuid){ .ebx = rows[i].ebx, .edx = rows[i].edx };
        arch_capabilities = rows[i].says;
        asked = false;
        if ((speculation_needed(msr, identify) & rows[i].of) != rows[i].needed)
            fail_msg("row %u", i);
        assert_int_equal(asked, !!(rows[i].edx & TELLS));
    }
}

static void amd(void **)
{
    amd8.ebx = 1u << 12;
    assert_int_equal(speculation_needed(msr, identify), SPECULATION_RETURNS | SPECULATION_IBPB);
    amd8.ebx |= 1u << 17;
    amd21.eax = 1u << 8 | 1u << 5;
    unsigned needed = speculation_needed(msr, identify);
    assert_int_equal(needed, SPECULATION_RETURNS | SPECULATION_IBPB | SPECULATION_STIBP |
                                 SPECULATION_IBRS_BY_ITSELF | SPECULATION_BUFFERS);
    assert_int_equal(speculation_control(needed), 2);
}

/* The subleaf is looked at only where there is one. */
static void history(void **)
{
    leaf7_2.edx = 1u << 4;
    assert_int_equal(speculation_needed(msr, identify), 0);
    leaf7.eax = 2;
    assert_int_equal(speculation_needed(msr, identify), SPECULATION_HISTORY);
    leaf7.edx = 1u << 29;
    arch_capabilities = 1u << 20;
    assert_int_equal(speculation_needed(msr, identify), 0);
}

#define t(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = { t(real_cpus), t(each_row), t(amd), t(history) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
