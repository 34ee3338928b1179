/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/vmx/caps.c */
/*
 * The VMX set-up tables against the capability MSRs of CPUs. Where the values come from:
 *
 *  skylake_sp, icelake_sp, sapphire_rapids, granite_rapids
 *      dumps of real servers, by AIDA64, as InstLatX64 collects them: CPUID 50654h in a dual-socket
 *      C621E board, 606A6h, 806F8h, A06D1h (two sockets each); every CPU of each said the same.
 *  skylake_x, icelake_u, broadwell, tigerlake, arrow_lake
 *      dumps of real machines that Bochs keeps in its cpudb.
 *  kvm_apicv, kvm_plain
 *      what Linux computes for a nested guest (nested_vmx_setup_ctls_msrs()) from skylake_x, with
 *      and without enable_apicv.
 *  cloud
 *      printed by a kernel module in a nested guest of a public cloud, which does not let NMI
 *      windows exit. Only 0x481 to 0x484 and 0x48b were printed; the rest is kvm_plain's.
 */
#include <stdio.h>
#include <string.h>

#include "arch/x86/vmx/caps.h"
#include "tests/platform/platform.h"

enum { N = 20 };

struct model {
    const char *name;
    const char *missing; /* a part of it; NULL: can run guests */
    bool apicv, posted;
    struct {
        uint32_t msr;
        uint64_t value;
    } msr[N];
};

#define FIXED                                                                                      \
    { 0x486, 0x80000021 }, { 0x487, 0xffffffff }, { 0x488, 0x2000 }, { 0x489, 0x3727ff },          \
        { 0x3a, 5 }

static const struct model models[] = {
    { "skylake_x",
      NULL,
      true,
      true,
      { { 0x480, 0x00da040000000004 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0x025d3fff00000000 },
        { 0x48c, 0x00000f0106734141 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x01ffffff00036dfb },
        { 0x490, 0x0003ffff000011fb },
        FIXED } },
    { "icelake_u",
      NULL,
      true,
      true,
      { { 0x480, 0x00da050000000013 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0x335fbfff00000000 },
        { 0x48c, 0x00000f0106734141 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x037fffff00036dfb },
        { 0x490, 0x0006ffff000011fb },
        FIXED } },
    { "skylake_sp",
      NULL,
      true,
      true,
      { { 0x480, 0x00da040000000004 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0x025f7fff00000000 },
        { 0x48c, 0x00000f0106734141 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x01ffffff00036dfb },
        { 0x490, 0x0003ffff000011fb },
        { 0x486, 0x80000021 },
        { 0x487, 0xffffffff },
        { 0x488, 0x2000 },
        { 0x489, 0x7767ff },
        { 0x3a, 0x5 } } },
    { "icelake_sp",
      NULL,
      true,
      true,
      { { 0x480, 0x00da050000000013 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0x4bdfffff00000000 },
        { 0x48c, 0x00000f01067341c1 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x037fffff00036dfb },
        { 0x490, 0x0006ffff000011fb },
        { 0x486, 0x80000021 },
        { 0x487, 0xffffffff },
        { 0x488, 0x2000 },
        { 0x489, 0x777fff },
        { 0x3a, 0x5 } } },
    { "sapphire_rapids",
      NULL,
      true,
      true,
      { { 0x480, 0x03da050000000013 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0xcfff3fff00000000 },
        { 0x48c, 0x00010f0106f341c1 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfffbfffe04006172 },
        { 0x48f, 0xff7fffff00036dfb },
        { 0x490, 0x007effff000011fb },
        { 0x486, 0x80000021 },
        { 0x487, 0xffffffff },
        { 0x488, 0x2000 },
        { 0x489, 0x3f77fff },
        { 0x3a, 0x5 } } },
    { "granite_rapids",
      NULL,
      true,
      true,
      { { 0x480, 0x03da050000000013 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0xcfff7fff00000000 },
        { 0x48c, 0x00010f0106f341c1 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfffbfffe04006172 },
        { 0x48f, 0xff7fffff00036dfb },
        { 0x490, 0x007effff000011fb },
        { 0x486, 0x80000021 },
        { 0x487, 0xffffffff },
        { 0x488, 0x2000 },
        { 0x489, 0x3f77fff },
        { 0x3a, 0x5 } } },
    { "broadwell",
      NULL,
      false,
      false,
      { { 0x480, 0x00da040000000012 },
        { 0x485, 0x300481e5 },
        { 0x48b, 0x00057cff00000000 },
        { 0x48c, 0x00000f0106334141 },
        { 0x48d, 0x0000007f00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x007fffff00036dfb },
        { 0x490, 0x0000ffff000011fb },
        FIXED } },
    { "tigerlake",
      NULL,
      true,
      true,
      { { 0x480, 0x01da050000000013 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0x035f3fff00000000 },
        { 0x48c, 0x00000f0106f34141 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfffbfffe04006172 },
        { 0x48f, 0x137fffff00036dfb },
        { 0x490, 0x0016ffff000011fb },
        { 0x486, 0x80000021 },
        { 0x487, 0xffffffff },
        { 0x488, 0x2000 },
        { 0x489, 0xff2fff },
        { 0x3a, 0x5 } } },
    { "arrow_lake",
      NULL,
      true,
      true,
      { { 0x480, 0x03da060000000015 },
        { 0x485, 0x7004c1e7 },
        { 0x48b, 0xc75f7fff00000000 },
        { 0x48c, 0x00000f0106f34141 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfffbfffe04006172 },
        { 0x48f, 0xff7fffff00036dfb },
        { 0x490, 0x007effff000011fb },
        FIXED } },
    { "kvm_apicv",
      NULL,
      true,
      true,
      { { 0x480, 0x00d8100011e57ed0 },
        { 0x485, 0x20000065 },
        { 0x48b, 0x00137bff00000000 },
        { 0x48c, 0x00000f0106334041 },
        { 0x48d, 0x000000ff00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x007fefff00036dfb },
        { 0x490, 0x0000d3ff000011fb },
        FIXED } },
    { "kvm_plain",
      NULL,
      false,
      false,
      { { 0x480, 0x00d8100011e57ed0 },
        { 0x485, 0x20000065 },
        { 0x48b, 0x001378ff00000000 },
        { 0x48c, 0x00000f0106334041 },
        { 0x48d, 0x0000007f00000016 },
        { 0x48e, 0xfff9fffe04006172 },
        { 0x48f, 0x007fefff00036dfb },
        { 0x490, 0x0000d3ff000011fb },
        FIXED } },
    { "cloud",
      "NMI-window exiting (primary control 22)",
      false,
      false,
      { { 0x480, 0x00d8100011e57ed0 },
        { 0x485, 0x20000065 },
        { 0x48b, 0x000051ff00000000 },
        { 0x48c, 0x00000f0106334041 },
        { 0x48d, 0x0000003f00000016 },
        { 0x48e, 0xf7b9fffe04006172 },
        { 0x48f, 0x003fefff00036dfb },
        { 0x490, 0x0000d3ff000011fb },
        FIXED } },
};

static const struct model *now;
static struct cpuid leaf1, leaf7, leaf81;
static uint64_t arch_capabilities;

/* An MSR that the CPU does not have raises #GP there, and fails the test here. */
static uint64_t read(uint32_t msr)
{
    if (msr == 0x10a)
        return arch_capabilities;
    for (unsigned i = 0; i < N; i++) {
        if (now->msr[i].msr == msr)
            return now->msr[i].value;
    }
    fail_msg("%s has no MSR %x", now->name, (unsigned)msr);
    return 0;
}

static struct cpuid identify(uint32_t leaf, uint32_t)
{
    switch (leaf) {
    case 0: return (struct cpuid){ .eax = 0x16 };
    case 1: return leaf1;
    case 7: return leaf7;
    case 0x80000000: return (struct cpuid){ .eax = 0x80000008 };
    case 0x80000001: return leaf81;
    default: return (struct cpuid){ 0 };
    }
}

static struct vmx_caps caps_of(const struct model *m)
{
    struct vmx_caps caps;

    now = m;
    vmx_caps_read(&caps, read, identify);
    return caps;
}

static int fresh(void **)
{
    leaf1 = (struct cpuid){ .ecx = 1u << 5 };
    leaf7 = (struct cpuid){ .ebx = 1u << 10 };  /* INVPCID */
    leaf81 = (struct cpuid){ .edx = 1u << 27 }; /* RDTSCP */
    arch_capabilities = 0;
    return 0;
}

static void each_model(void **)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        const struct model *m = &models[i];
        struct vmx_caps caps = caps_of(m);
        struct vmx_setup setup;
        const char *missing = vmx_caps_missing(&caps);

        if (m->missing) {
            assert_non_null(missing);
            assert_non_null(strstr(missing, m->missing));
            continue;
        }
        if (missing)
            fail_msg("%s lacks %s", m->name, missing);
        vmx_caps_setup(&caps, &setup);
        assert_int_equal(setup.apicv, m->apicv);
        assert_int_equal(setup.posted, m->posted);
        assert_int_equal(setup.large, 3);
        for (unsigned f = 0; f < VMX_FIELDS; f++)
            assert_null(vmx_caps_refused(&caps, f, setup.controls[f]));
        /* What Sluice stands on, by SDM numbers rather than by its own table. */
        assert_int_equal(setup.controls[VMX_PIN] & 0x29, 0x29);
        assert_int_equal(setup.controls[VMX_PRIMARY] & 0xb2200c80, 0xb2200c80);
        assert_int_equal(setup.controls[VMX_PRIMARY] & 0x00418004, 0); /* windows, CR3 */
        assert_int_equal(setup.controls[VMX_SECONDARY] & 0x10ea, 0x10ea);
        assert_int_equal(setup.controls[VMX_EXIT] & 0x3c8204, 0x3c8204);
        assert_int_equal(setup.controls[VMX_ENTRY] & 0xc204, 0xc004);
    }
}

/* Whatever control is set: on a CPU without it Sluice either refuses by that name, or goes without.
 */
static void each_control_taken_away(void **)
{
    static const char *const field_name[] = { "pin-based", "primary", "secondary", "exit",
                                              "entry" };
    unsigned refused = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        struct vmx_caps caps = caps_of(&models[i]);
        struct vmx_setup setup;

        if (models[i].missing)
            continue;
        vmx_caps_setup(&caps, &setup);
        for (unsigned bit = 0; bit < VMX_FIELDS * 32; bit++) {
            unsigned f = bit / 32;
            struct vmx_caps less = caps;
            struct vmx_setup without;
            char expected[40];

            if (!(setup.controls[f] >> bit % 32 & 1) || (caps.controls[f] >> bit % 32 & 1))
                continue; /* not set; or always so */
            less.controls[f] &= ~(1ull << (32 + bit % 32));
            snprintf(expected, sizeof(expected), "(%s control %u)", field_name[f], bit % 32);
            const char *missing = vmx_caps_missing(&less);
            if (missing) {
                refused++;
                if (!strstr(missing, expected))
                    fail_msg("%s without %s: %s", models[i].name, expected, missing);
            } else {
                vmx_caps_setup(&less, &without);
                assert_false(without.controls[f] >> bit % 32 & 1);
                for (unsigned k = 0; k < VMX_FIELDS; k++)
                    assert_null(vmx_caps_refused(&less, k, without.controls[k]));
            }
        }
    }
    assert_in_range(refused, 100, 1000);
}

static void forced_controls_are_refused(void **)
{
    static const struct {
        enum vmx_field field;
        unsigned bit;
        const char *name;
    } forced[] = {
        { VMX_PRIMARY, 15, "(primary control 15)" }, /* CR3 load: before the true MSRs */
        { VMX_PRIMARY, 2, "(primary control 2)" },   { VMX_PRIMARY, 23, "(primary control 23)" },
        { VMX_ENTRY, 9, "(entry control 9)" },       { VMX_SECONDARY, 0, "(secondary control 0)" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(forced); i++) {
        struct vmx_caps caps = caps_of(&models[0]);

        caps.controls[forced[i].field] |= 1ull << forced[i].bit;
        const char *missing = vmx_caps_missing(&caps);
        assert_non_null(missing);
        assert_non_null(strstr(missing, forced[i].name));
    }
}

static void capabilities_by_name(void **)
{
    static const struct {
        size_t at;
        uint64_t bits;
        const char *name;
    } rows[] = {
        { offsetof(struct vmx_caps, basic), 1ull << 55, "MSR 0x480 bit 55" },
        { offsetof(struct vmx_caps, basic), 6ull << 50, "MSR 0x480 bits 53:50" },
        { offsetof(struct vmx_caps, misc), 1u << 5, "MSR 0x485 bit 5" },
        { offsetof(struct vmx_caps, ept_vpid), 1u << 6, "MSR 0x48c bit 6" },
        { offsetof(struct vmx_caps, ept_vpid), 1u << 14, "MSR 0x48c bit 14" },
        { offsetof(struct vmx_caps, ept_vpid), 1u << 20, "MSR 0x48c bit 20" },
        { offsetof(struct vmx_caps, ept_vpid), 1u << 26, "MSR 0x48c bit 26" },
        { offsetof(struct vmx_caps, ept_vpid), 1ull << 32, "MSR 0x48c bit 32" },
        { offsetof(struct vmx_caps, ept_vpid), 1ull << 42, "MSR 0x48c bit 42" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vmx_caps caps = caps_of(&models[0]);

        *(uint64_t *)((char *)&caps + rows[i].at) &= ~rows[i].bits;
        const char *missing = vmx_caps_missing(&caps);
        assert_non_null(missing);
        assert_non_null(strstr(missing, rows[i].name));
    }
}

static void firmware_lock(void **)
{
    static const struct {
        uint64_t value;
        bool good;
    } rows[] = {
        { 0, true }, { 1, false }, { 5, true }, { 3, false }, { 4, true }, { 0xff05, true }
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vmx_caps caps = caps_of(&models[0]);

        caps.feature_control = rows[i].value;
        const char *missing = vmx_caps_missing(&caps);
        assert_int_equal(!missing, rows[i].good);
        if (missing)
            assert_non_null(strstr(missing, "VT-x"));
    }
}

/* Nothing is read that such a CPU does not have. */
static void poor_cpus(void **)
{
    static const struct model none = { .name = "no VMX" };
    static const struct model old = { .name = "no secondary controls",
                                      .msr = { { 0x3a, 0 },
                                               { 0x480, 0x001a040000000007 },
                                               { 0x481, 0x0000001f00000016 },
                                               { 0x482, 0x77b9fffe0401e172 },
                                               { 0x483, 0x0003efff00036dff },
                                               { 0x484, 0x00001fff000011ff },
                                               { 0x485, 0x000403c0 },
                                               { 0x486, 0x80000021 },
                                               { 0x487, 0xffffffff },
                                               { 0x488, 0x2000 },
                                               { 0x489, 0x27ff } } };
    struct vmx_caps caps = caps_of(&old);

    assert_int_equal(caps.ept_vpid, 0);
    assert_non_null(strstr(vmx_caps_missing(&caps), "MSR 0x480 bit 55"));
    caps.basic |= 1ull << 55; /* then the first control that is not there */
    assert_non_null(strstr(vmx_caps_missing(&caps), "(pin-based control 5)"));
    leaf1.ecx = 0;
    caps = caps_of(&none);
    assert_non_null(strstr(vmx_caps_missing(&caps), "CPUID 1 ECX bit 5"));
}

/* RDTSCP and INVPCID are wanted where the CPU has the instruction, and only there. */
static void instructions(void **)
{
    struct vmx_caps caps = caps_of(&models[0]);
    struct vmx_setup setup;

    caps.controls[VMX_SECONDARY] &= ~(1ull << (32 + 3) | 1ull << (32 + 12));
    assert_non_null(strstr(vmx_caps_missing(&caps), "RDTSCP"));
    caps.rdtscp = false;
    assert_non_null(strstr(vmx_caps_missing(&caps), "INVPCID"));
    caps.invpcid = false;
    assert_null(vmx_caps_missing(&caps));
    vmx_caps_setup(&caps, &setup);
    assert_int_equal(setup.controls[VMX_SECONDARY] & (1u << 3 | 1u << 12), 0);
}

static void smaller_pages(void **)
{
    struct vmx_caps caps = caps_of(&models[0]);
    struct vmx_setup setup;

    caps.ept_vpid &= ~(1ull << 17 | 1ull << 25 | 1ull << 41);
    vmx_caps_setup(&caps, &setup);
    assert_int_equal(setup.large, 1);
    assert_false(setup.invept_single || setup.invvpid_single);
    caps.ept_vpid &= ~(1ull << 16);
    vmx_caps_setup(&caps, &setup);
    assert_int_equal(setup.large, 0);
}

static void refused_by_name(void **)
{
    struct vmx_caps caps = caps_of(&models[0]);

    assert_non_null(
        strstr(vmx_caps_refused(&caps, VMX_PIN, 0x16 | 1u << 7 | 1u << 9), "Sluice does not name"));
    caps.controls[VMX_PIN] &= ~(1ull << 39);
    assert_non_null(strstr(vmx_caps_refused(&caps, VMX_PIN, 0x16 | 1u << 7), "posted"));
    assert_non_null(vmx_caps_refused(&caps, VMX_PIN, 0x29)); /* what must be 1 is 0 */
}

/* CVE-2018-12207: by what the CPU says, below another hypervisor, and by its model. */
static void page_sizes(void **)
{
    static const struct {
        uint32_t signature;
        bool tells, says, below;
        unsigned large;
    } rows[] = {
        { 0x50654, false, false, false, 0 }, /* Skylake-SP */
        { 0x50657, true, true, false, 3 },   /* Cascade Lake */
        { 0x50657, true, false, false, 0 },  { 0x50654, false, true, false, 0 },
        { 0x50654, false, false, true, 3 },  { 0x306d4, false, false, false, 0 }, /* Broadwell */
        { 0x906ed, true, false, false, 0 },                                       /* Coffee Lake */
        { 0x606a6, true, true, false, 3 },   { 0x606a6, false, false, false, 3 }, /* Ice Lake-SP */
        { 0x806f8, true, true, false, 3 },  /* Sapphire Rapids */
        { 0xa0652, true, false, false, 0 }, /* Comet Lake */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vmx_setup setup;

        leaf1.eax = rows[i].signature;
        leaf1.ecx = 1u << 5 | (rows[i].below ? 1u << 31 : 0);
        leaf7.edx = rows[i].tells ? 1u << 29 : 0;
        arch_capabilities = rows[i].says ? 1u << 6 : ~(1ull << 6);
        struct vmx_caps caps = caps_of(&models[0]);
        vmx_caps_setup(&caps, &setup);
        assert_int_equal(setup.large, rows[i].large);
    }
}

#define t(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(each_model),           t(each_control_taken_away), t(forced_controls_are_refused),
        t(capabilities_by_name), t(firmware_lock),           t(poor_cpus),
        t(instructions),         t(smaller_pages),           t(refused_by_name),
        t(page_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
