/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events into a guest, and its writes of control registers, on a VMCS that is an array: the sources
 * are compiled here with VMREAD and VMWRITE replaced.
 */
/* build: arch/x86/guest_state.c */
#define read_dr6   cpu_read_dr6
#define write_dr6  cpu_write_dr6
#define vmcs_read  cpu_vmcs_read
#define vmcs_write cpu_vmcs_write
#define vmcs_set   cpu_vmcs_set
#define vmcs_clear cpu_vmcs_clear
#include "arch/x86/vmx/vmcs.h"
#undef read_dr6
#undef write_dr6
#undef vmcs_read
#undef vmcs_write
#undef vmcs_set
#undef vmcs_clear

#include <string.h>

#include "tests/platform/platform.h"

static uint64_t vmcs[0x8000], debug_status;

static uint64_t read_dr6(void)
{
    return debug_status;
}

static void write_dr6(uint64_t value)
{
    debug_status = value;
}

static uint64_t vmcs_read(enum vmcs_field field)
{
    return vmcs[field];
}

static void vmcs_write(enum vmcs_field field, uint64_t value)
{
    vmcs[field] = value;
}

static void vmcs_clear(enum vmcs_field field, uint32_t bits)
{
    vmcs[field] &= ~(uint64_t)bits;
}

#include "arch/x86/vmx/control_regs.c" // NOLINT(bugprone-suspicious-include)
#include "arch/x86/vmx/event.c"        // NOLINT(bugprone-suspicious-include)
#include "arch/x86/vmx/step.c"         // NOLINT(bugprone-suspicious-include)

#define STI_BLOCKS    1u
#define MOV_SS_BLOCKS 2u
#define NMI_BLOCKS    8u

struct vmx_caps vmx_caps = { .cr4_fixed1 = 0x3727ff };

static uint8_t apic_page[PAGE_SIZE];
static struct vmx s;
static struct vcpu v;

static int fresh(void **)
{
    memset(vmcs, 0, sizeof(vmcs));
    memset(apic_page, 0, sizeof(apic_page));
    s = (struct vmx){ .apic_page = apic_page, .primary = 0xb6206df2 };
    v = (struct vcpu){ .backend = &s };
    vmcs[VMCS_GUEST_RFLAGS] = 0x202;
    vmcs[VMCS_GUEST_CR0] = 0x80000031;
    debug_status = 0xffff0ff0;
    return 0;
}

static void interrupts_wait_for_if_and_shadows(void **)
{
    assert_true(vmx_interrupt_ready(&v));
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = STI_BLOCKS;
    assert_false(vmx_interrupt_ready(&v));
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = MOV_SS_BLOCKS;
    assert_false(vmx_interrupt_ready(&v));
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = NMI_BLOCKS; /* does not hold interrupts back */
    assert_true(vmx_interrupt_ready(&v));
    vmcs[VMCS_GUEST_RFLAGS] = 2;
    assert_false(vmx_interrupt_ready(&v));
    vmcs[VMCS_GUEST_RFLAGS] = 0x202;
    vmx_inject_interrupt(&v, 0x40);
    assert_false(vmx_interrupt_ready(&v)); /* one event an entry */
    assert_false(vmx_nmi_ready(&v));
    vmx_put_event(&s);
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x80000040);
    assert_true(vmx_interrupt_ready(&v));
}

static void nmis_wait_for_each_other(void **)
{
    static const unsigned blocks[] = { STI_BLOCKS, MOV_SS_BLOCKS, NMI_BLOCKS };

    vmcs[VMCS_GUEST_RFLAGS] = 2; /* IF does not matter */
    assert_true(vmx_nmi_ready(&v));
    for (unsigned i = 0; i < ARRAY_SIZE(blocks); i++) {
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = blocks[i];
        assert_false(vmx_nmi_ready(&v));
    }
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = 0;
    vmx_inject_nmi(&v);
    vmx_put_event(&s);
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x80000202);
}

/* SDM 3A table 6-5: what was being delivered, what its delivery raised, what the guest gets. */
static void faults_combine(void **)
{
    enum { TRIPLE = 256 };
    static const struct {
        uint32_t first; /* as the exit tells it; 0: nothing */
        uint8_t second;
        unsigned vector;
    } rows[] = {
        { 0, 13, 13 },
        { 0, 14, 14 },
        { 0x80000b0d, 13, 8 },  /* #GP, #GP */
        { 0x80000b0d, 14, 14 }, /* #GP, #PF: one after the other */
        { 0x80000b0e, 14, 8 },
        { 0x80000b0e, 11, 8 },
        { 0x80000b0e, 6, 6 }, /* benign: #UD */
        { 0x80000b08, 13, TRIPLE },
        { 0x80000b08, 14, TRIPLE },
        { 0x80000b08, 1, 1 },
        { 0x80000300, 10, 8 },
        { 0x80000040, 13, 13 }, /* an interrupt is acknowledged already, and lost */
        { 0x80000202, 14, 14 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        fresh(NULL);
        vmcs[VMCS_VECTORING_EVENT] = rows[i].first;
        vmx_take_event(&s);
        bool delivered = vmx_inject_exception(&v, rows[i].second, true, 0x18);
        assert_int_equal(delivered, rows[i].vector != TRIPLE);
        if (!delivered)
            continue;
        vmx_put_event(&s);
        assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x80000b00 | rows[i].vector);
        assert_int_equal(vmcs[VMCS_ENTRY_ERROR_CODE], rows[i].vector == 8 ? 0 : 0x18);
    }
}

static void exceptions_end_shadows_and_real_mode_has_no_codes(void **)
{
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = STI_BLOCKS | NMI_BLOCKS;
    vmcs[VMCS_GUEST_CR0] = 0x30;
    assert_true(vmx_inject_exception(&v, 13, true, 0));
    vmx_put_event(&s);
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x8000030d);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], NMI_BLOCKS);
}

static void int1_returns_behind_itself(void **)
{
    s.int1_length = 1;
    assert_true(vmx_inject_exception(&v, 1, false, 0));
    vmx_put_event(&s);
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x80000501);
    assert_int_equal(vmcs[VMCS_ENTRY_LENGTH], 1);
    s.int1_length = 0;
    assert_true(vmx_inject_exception(&v, 1, false, 0));
    vmx_put_event(&s);
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0x80000301);
}

/* A delivery that an exit interrupted is made again; instructions run again by themselves. */
static void deliveries_go_on(void **)
{
    static const struct {
        uint32_t vectoring, again;
    } rows[] = {
        { 0, 0 },
        { 0x40, 0 },                /* not valid */
        { 0x80000040, 0x80000040 }, /* interrupt */
        { 0x80000202, 0x80000202 }, /* NMI */
        { 0x80000b0e, 0x80000b0e }, /* #PF */
        { 0x80001b0e, 0x80000b0e }, /* undefined bit 12 */
        { 0x80000480, 0 },          /* INT 0x80 */
        { 0x80000501, 0 },          /* INT1 */
        { 0x80000603, 0 },          /* INT3 */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        fresh(NULL);
        vmcs[VMCS_VECTORING_EVENT] = rows[i].vectoring;
        vmcs[VMCS_VECTORING_ERROR_CODE] = 6;
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = NMI_BLOCKS;
        vmx_take_event(&s);
        vmx_put_event(&s);
        assert_int_equal(vmcs[VMCS_ENTRY_EVENT], rows[i].again);
        if (rows[i].again & EVENT_HAS_CODE)
            assert_int_equal(vmcs[VMCS_ENTRY_ERROR_CODE], 6);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY],
                         rows[i].again == 0x80000202 ? 0 : NMI_BLOCKS);
    }
}

static void window(uint8_t vector, uint32_t windows, unsigned threshold)
{
    vmx_want_window(&v, vector);
    assert_int_equal(s.primary & 0x00400004, windows);
    assert_int_equal(s.primary & ~0x00400004u, 0xb6206df2 & ~0x00400004u);
    assert_int_equal(vmcs[VMCS_TPR_THRESHOLD], threshold);
}

static void windows(void **)
{
    window(0x51, PRIMARY_INTERRUPT_WINDOW, 0);
    assert_int_equal(vmcs[VMCS_PRIMARY_CONTROLS], s.primary);
    window(0, 0, 0);
    assert_int_equal(vmcs[VMCS_PRIMARY_CONTROLS], s.primary);
    apic_page[0x80] = 0x50; /* the same class is held back: until CR8 is below it */
    window(0x51, 0, 5);
    window(0x61, PRIMARY_INTERRUPT_WINDOW, 0);
    v.nmi_pending = true;
    window(0, PRIMARY_NMI_WINDOW, 0);
    window(0x61, PRIMARY_NMI_WINDOW | PRIMARY_INTERRUPT_WINDOW, 0); /* it need not wait */
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = STI_BLOCKS;
    window(0, PRIMARY_INTERRUPT_WINDOW, 0);
}

static enum vcpu_exit_kind mov_to(unsigned cr, uint64_t value)
{
    v.reg[REG_R9] = value;
    return vmx_cr_access(&v, 9u << 8 | cr);
}

static void control_registers(void **)
{
    vmcs[VMCS_ENTRY_CONTROLS] = 0xd3ff;
    assert_int_equal(mov_to(0, 0xc0000011), EXIT_NONE); /* CD on, NE off: the shadow has it */
    assert_int_equal(vmcs[VMCS_CR0_SHADOW], 0xc0000011);
    assert_int_equal(mov_to(0, 0xa0000031), EXIT_DENIED); /* NW without CD */
    assert_int_equal(vmcs[VMCS_CR0_SHADOW], 0xc0000011);
    assert_int_equal(mov_to(4, 0x60), EXIT_NONE); /* MCE */
    assert_int_equal(vmcs[VMCS_CR4_SHADOW], 0x60);
    static const uint64_t refused[] = { 0x2020, 0x4020, 0x400020, 0x800020, 1ull << 40 | 0x20,
                                        0x820 /* UMIP, which this CPU lacks */ };
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(mov_to(4, refused[i]), EXIT_DENIED);
    assert_int_equal(vmcs[VMCS_CR4_SHADOW], 0x60);
    assert_int_equal(vmx_cr4_owned() & 0x3727bf, 0x2000); /* VMXE of what the CPU has, and MCE */
    assert_int_equal(vmx_cr4_owned() & 0x40, 0x40);
    vmcs[VMCS_ENTRY_CONTROLS] = 0xd1ff; /* 32-bit code: the register's lower half */
    assert_int_equal(mov_to(4, 1ull << 40 | 0x20), EXIT_NONE);
    assert_int_equal(vmcs[VMCS_CR4_SHADOW], 0x20);
    assert_int_equal(mov_to(3, 0), EXIT_UNDEFINED);
    assert_int_equal(vmx_cr_access(&v, 1u << 4 | 0), EXIT_UNDEFINED); /* MOV from CR0 */
}

/* Over an instruction of 3 bytes. */
static bool skip_from(uint64_t rip, uint64_t rflags, bool long_mode, uint32_t cs)
{
    fresh(NULL);
    v.rip = rip;
    vmcs[VMCS_EXIT_LENGTH] = 3;
    vmcs[VMCS_GUEST_RFLAGS] = rflags;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = STI_BLOCKS | NMI_BLOCKS;
    vmcs[VMCS_ENTRY_CONTROLS] = long_mode ? 0xd3ff : 0xd1ff;
    vmcs[VMCS_GUEST_CS_RIGHTS] = cs;
    vmcs[VMCS_GUEST_DR7] = 0x2400; /* GD */
    return vmx_skip(&v);
}

static void skips(void **)
{
    assert_false(skip_from(0xfffffffe, 0x202, true, 0xa09b));
    assert_int_equal(v.rip, 0x100000001);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], NMI_BLOCKS);
    assert_int_equal(debug_status, 0xffff0ff0);
    assert_int_equal(vmcs[VMCS_GUEST_DR7], 0x2400);
    assert_false(skip_from(0xfffffffe, 0x202, true, 0xc09b)); /* compatibility mode */
    assert_int_equal(v.rip, 1);
    assert_false(skip_from(0xfffffffe, 0x202, false, 0xa09b)); /* L means nothing there */
    assert_int_equal(v.rip, 1);
    assert_false(skip_from(0xffff800000001000, 0x10202, true, 0xa09b));
    assert_int_equal(v.rip, 0xffff800000001003);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], 0x202); /* RF holds for one instruction */
}

static void traced_skips(void **)
{
    assert_true(skip_from(0x1000, 0x302, true, 0xa09b));
    assert_int_equal(v.rip, 0x1003);
    assert_int_equal(debug_status, 0xffff4ff0);
    assert_int_equal(vmcs[VMCS_GUEST_DR7], 0x400);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], 0x302);
    debug_status = 0xffff0ff3; /* breakpoints of before */
    vmx_debug_hit(0x10004);
    assert_int_equal(debug_status, 0xfffe0ff4); /* in a transaction: that bit is inverted */
}

#define t(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(interrupts_wait_for_if_and_shadows),
        t(nmis_wait_for_each_other),
        t(faults_combine),
        t(exceptions_end_shadows_and_real_mode_has_no_codes),
        t(int1_returns_behind_itself),
        t(deliveries_go_on),
        t(windows),
        t(control_registers),
        t(skips),
        t(traced_skips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
