/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/guest_state.c arch/x86/vmx/caps.c */
/* build: arch/x86/vmx/failure_checks.c arch/x86/vmx/failure.c */
/*
 * A refused entry is explained: one thing wrong in an otherwise good VMCS, and the words that name
 * it.
 */
#include <string.h>

#include "arch/x86/vmx/failure.h"
#include "arch/x86/vmx/vmx.h"
#include "tests/platform/platform.h"

/* The globals of vmx.c, which vmx_failure_log() uses. */
struct vmx_caps vmx_caps;

static const struct vmx_caps caps = {
    .controls = { [VMX_PIN] = 0x000000ff00000016,
                  [VMX_PRIMARY] = 0xfff9fffe04006172,
                  [VMX_SECONDARY] = 0x025d3fff00000000,
                  [VMX_EXIT] = 0x01ffffff00036dfb,
                  [VMX_ENTRY] = 0x0003ffff000011fb },
    .cr0_fixed0 = 0x80000021,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0x3727ff,
};

/* A guest in 64-bit mode with an interrupt to be delivered; fields that are not here are 0. */
static const struct field {
    enum vmcs_field field;
    uint64_t value;
} good[] = {
    { VMCS_PIN_CONTROLS, 0x3f },
    { VMCS_PRIMARY_CONTROLS, 0xb6206df2 },
    { VMCS_SECONDARY_CONTROLS, 0x10ea },
    { VMCS_EXIT_CONTROLS, 0x3fefff },
    { VMCS_ENTRY_CONTROLS, 0xd3ff },
    { VMCS_EPTP, 0x12301e },
    { VMCS_VIRTUAL_APIC, 0x456000 },
    { VMCS_ENTRY_EVENT, 0x80000040 },
    { VMCS_GUEST_CR0, 0x80000031 },
    { VMCS_GUEST_CR4, 0x2060 },
    { VMCS_GUEST_EFER, 0xd01 },
    { VMCS_GUEST_PAT, 0x0007040600070406 },
    { VMCS_GUEST_RFLAGS, 0x202 },
    { VMCS_GUEST_CS_RIGHTS, 0xa09b },
    { VMCS_GUEST_SS_RIGHTS, 0xc093 },
    { VMCS_GUEST_LDTR_RIGHTS, 0x82 },
    { VMCS_GUEST_TR_RIGHTS, 0x8b },
    { VMCS_GUEST_ES_LIMIT, 0xffffffff },
    { VMCS_GUEST_ES_RIGHTS, 0xc093 },
    { VMCS_GUEST_ES_LIMIT + 2, 0xffffffff },
    { VMCS_GUEST_ES_LIMIT + 4, 0xffffffff },
    { VMCS_GUEST_ES_LIMIT + 14, 0x67 },
    { VMCS_GUEST_RIP, 0xffff800000001000 },
    { VMCS_LINK_POINTER, ~0ull },
};

static struct field changed[2];
static uint64_t vpid;

static uint64_t read(enum vmcs_field field)
{
    for (unsigned i = 0; i < ARRAY_SIZE(changed) && field != VMCS_VPID; i++) { /* 0: empty */
        if (changed[i].field == field)
            return changed[i].value;
    }
    if (field == VMCS_VPID)
        return vpid;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        if (good[i].field == field)
            return good[i].value;
    }
    return 0;
}

static int fresh(void **)
{
    memset(changed, 0, sizeof(changed));
    vpid = 1;
    return 0;
}

static void nothing_wrong(void **)
{
    assert_null(vmx_failure_control(&caps, read));
    assert_null(vmx_failure_guest(&caps, read));
    /* As after SIPI: real mode. */
    static const struct field real[][2] = {
        { { VMCS_GUEST_RFLAGS, 0x202 }, { VMCS_GUEST_INTERRUPTIBILITY, 8 } },
        { { VMCS_GUEST_INTERRUPTIBILITY, 1 }, { VMCS_ENTRY_EVENT, 0 } },
        { { VMCS_GUEST_LDTR_RIGHTS, 0x10000 }, { VMCS_GUEST_SS_RIGHTS, 0x10000 } },
        { { VMCS_ENTRY_EVENT, 0x80000b0d }, { VMCS_ENTRY_ERROR_CODE, 0xffff } },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(real); i++) {
        memcpy(changed, real[i], sizeof(changed));
        assert_null(vmx_failure_control(&caps, read));
        assert_null(vmx_failure_guest(&caps, read));
    }
}

struct wrong {
    struct field field[2];
    const char *says;
};

static void each(const struct wrong *w, unsigned n,
                 const char *(*explain)(const struct vmx_caps *, vmx_field_source *))
{
    for (unsigned i = 0; i < n; i++) {
        memcpy(changed, w[i].field, sizeof(changed));
        const char *said = explain(&caps, read);
        if (!said || !strstr(said, w[i].says))
            fail_msg("%u: field %x = %lx: \"%s\", not \"%s\"", i, (unsigned)w[i].field[0].field,
                     (unsigned long)w[i].field[0].value, said ? said : "nothing", w[i].says);
    }
}

static void controls(void **)
{
    static const struct wrong wrong[] = {
        { { { VMCS_PIN_CONTROLS, 0x29 } }, "does not name" },
        { { { VMCS_PRIMARY_CONTROLS, 0xb6206df2 & ~2u } }, "does not name" },
        { { { VMCS_SECONDARY_CONTROLS, 0x80ea } }, "ENCLS" },
        { { { VMCS_EXIT_CONTROLS, 0x3fefff & ~1u } }, "does not name" },
        { { { VMCS_ENTRY_CONTROLS, 0xd3fe } }, "does not name" },
        { { { VMCS_EPTP, 0x123018 } }, "EPT pointer" },
        { { { VMCS_EPTP, 0x12309e } }, "EPT pointer" },
        { { { VMCS_EPTP, 0x123006 } }, "EPT pointer" },
        { { { VMCS_VIRTUAL_APIC, 0x456010 } }, "virtual-APIC" },
        { { { VMCS_TPR_THRESHOLD, 16 } }, "threshold" },
        { { { VMCS_ENTRY_EVENT, 0x80000203 } }, "vector" },
        { { { VMCS_ENTRY_EVENT, 0x80000320 } }, "vector" },
        { { { VMCS_ENTRY_EVENT, 0x80000b06 } }, "error code" },
        { { { VMCS_ENTRY_EVENT, 0x80000b0d }, { VMCS_ENTRY_ERROR_CODE, 0x10000 } }, "error code" },
        { { { VMCS_ENTRY_EVENT, 0x80000b0d }, { VMCS_GUEST_CR0, 0x30 } }, "error code" },
        { { { VMCS_ENTRY_EVENT, 0x80000840 } }, "error code" },
    };

    each(wrong, ARRAY_SIZE(wrong), vmx_failure_control);
    memset(changed, 0, sizeof(changed));
    vpid = 0;
    assert_string_equal(vmx_failure_control(&caps, read), "VPID is 0");
}

static void guest(void **)
{
    static const struct wrong wrong[] = {
        { { { VMCS_GUEST_CR0, 0x80000011 } }, "CR0: bits" },
        { { { VMCS_GUEST_CR0, 0x180000031 } }, "CR0: bits" },
        { { { VMCS_GUEST_CR0, 0x80000030 } }, "CR0: PG" },
        { { { VMCS_GUEST_CR4, 0x60 } }, "CR4: bits" },
        { { { VMCS_GUEST_CR4, 0x402060 } }, "CR4: bits" },
        { { { VMCS_GUEST_CR4, 0x2040 } }, "CR4: PAE" },
        { { { VMCS_GUEST_CR0, 0x31 } }, "CR4: PAE" }, /* 64-bit mode without paging */
        { { { VMCS_GUEST_EFER, 0x901 } }, "EFER" },
        { { { VMCS_GUEST_EFER, 0xc01 } }, "EFER" },
        { { { VMCS_GUEST_EFER, 0x1d01 } }, "EFER" },
        { { { VMCS_ENTRY_CONTROLS, 0xd1ff } }, "EFER" },
        { { { VMCS_GUEST_PAT, 0x0007040600070402 } }, "PAT" },
        { { { VMCS_GUEST_RFLAGS, 0x200 } }, "RFLAGS" },
        { { { VMCS_GUEST_RFLAGS, 0x20a } }, "RFLAGS" },
        { { { VMCS_GUEST_RFLAGS, 0x20202 } }, "RFLAGS" },
        { { { VMCS_GUEST_CS_RIGHTS, 0x1a09b } }, "CS" },
        { { { VMCS_GUEST_CS_RIGHTS, 0xe09b } }, "CS" },
        { { { VMCS_GUEST_CS_RIGHTS, 0xa01b } }, "CS" },
        { { { VMCS_GUEST_SS_RIGHTS, 0xc09b } }, "SS" },
        { { { VMCS_GUEST_TR_RIGHTS, 0x83 } }, "TR" },
        { { { VMCS_GUEST_TR_RIGHTS, 0x1008b } }, "TR" },
        { { { VMCS_GUEST_LDTR_RIGHTS, 0x8b } }, "LDTR" },
        { { { VMCS_GUEST_ES_LIMIT, 0x12345 } }, "limit" },
        { { { VMCS_GUEST_ES_LIMIT + 14, 0x100000 } }, "limit" },
        { { { VMCS_GUEST_RIP, 1ull << 48 } }, "RIP" },
        { { { VMCS_GUEST_RIP, 1ull << 32 }, { VMCS_GUEST_CS_RIGHTS, 0xc09b } }, "RIP" },
        { { { VMCS_GUEST_ACTIVITY, 4 } }, "activity" },
        { { { VMCS_GUEST_INTERRUPTIBILITY, 3 } }, "interruptibility" },
        { { { VMCS_GUEST_INTERRUPTIBILITY, 0x20 } }, "interruptibility" },
        { { { VMCS_GUEST_INTERRUPTIBILITY, 1 }, { VMCS_GUEST_RFLAGS, 2 } }, "interruptibility" },
        { { { VMCS_GUEST_INTERRUPTIBILITY, 2 } }, "cannot take an interrupt" },
        { { { VMCS_GUEST_RFLAGS, 2 } }, "cannot take an interrupt" },
        { { { VMCS_ENTRY_EVENT, 0x80000202 }, { VMCS_GUEST_INTERRUPTIBILITY, 8 } }, "an NMI" },
        { { { VMCS_LINK_POINTER, 0 } }, "link pointer" },
    };

    each(wrong, ARRAY_SIZE(wrong), vmx_failure_guest);
}

static void instruction_errors(void **)
{
    assert_string_equal(vmx_failure_what(7), "invalid control fields");
    assert_string_equal(vmx_failure_what(8), "invalid host state");
    assert_string_equal(vmx_failure_what(0x80000021), "invalid guest state");
    assert_string_equal(vmx_failure_what(0x80000022), "loading of MSRs");
    assert_string_equal(vmx_failure_what(VMX_FAIL_INVALID), "there is no current VMCS");
    assert_non_null(strstr(vmx_failure_what(99), "does not name"));
}

#define t(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(nothing_wrong),
        t(controls),
        t(guest),
        t(instruction_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
