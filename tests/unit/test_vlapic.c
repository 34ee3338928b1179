/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/vlapic.c arch/x86/vlapic_icr.c arch/x86/vlapic_timer.c */
/*
 * The virtual local APIC: priorities against a brute-force reading of the manual, destinations of
 * the ICR, the timer's three modes, and what raises #GP. The vCPU around it is a fake.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic.h"
#include "hv/vm.h"
#include "tests/platform/platform.h"

#define US 1000u /* ticks */

enum {
    X2_ID = 0x802,
    X2_VERSION,
    X2_TPR = 0x808,
    X2_PPR = 0x80a,
    X2_EOI,
    X2_LDR = 0x80d,
    X2_SVR = 0x80f,
    X2_ISR,
    X2_TMR = 0x818,
    X2_IRR = 0x820,
    X2_ESR = 0x828,
    X2_ICR = 0x830,
    X2_LVT_TIMER = 0x832,
    X2_LVT_LINT0 = 0x835,
    X2_LVT_ERROR = 0x837,
    X2_INITIAL,
    X2_CURRENT,
    X2_DIVIDE = 0x83e,
    X2_SELF,
    APIC_BASE = 0x1b,
    DEADLINE = 0x6e0
};

static struct vcpu vcpus[20];
static struct vlapic apics[20];
static struct vm vm;
static uint8_t cr8[20];
static uint64_t got[20][4]; /* vcpu_interrupt() */
static unsigned asked[20];  /* vcpu_ask() */
static struct timer *armed; /* the one timer of these tests */

void vcpu_interrupt(struct vcpu *v, uint8_t vector)
{
    got[v - vcpus][vector / 64] |= 1ull << vector % 64;
}

void vcpu_ask(struct vcpu *v, unsigned request)
{
    asked[v - vcpus] |= request;
}

void timer_set(struct timer *t, uint64_t when)
{
    t->when = when;
    t->armed = true;
    armed = t;
}

void timer_cancel(struct timer *t)
{
    t->armed = false;
    armed = NULL;
}

static uint8_t fake_cr8(struct vcpu *v)
{
    return cr8[v - vcpus];
}

static void fake_set_cr8(struct vcpu *v, uint8_t value)
{
    cr8[v - vcpus] = value;
}

static const struct vcpu_ops ops = { .cr8 = fake_cr8, .set_cr8 = fake_set_cr8 };
const struct vcpu_ops *vcpu_ops = &ops;

static int fresh(void **state)
{
    platform_fresh(state);
    vm = (struct vm){ .nvcpus = BOOT_VM_CPUS };
    memset(got, 0, sizeof(got));
    memset(asked, 0, sizeof(asked));
    memset(cr8, 0, sizeof(cr8));
    armed = NULL;
    for (unsigned i = 0; i < BOOT_VM_CPUS; i++) {
        vcpus[i] = (struct vcpu){ .index = i, .vm = &vm, .vlapic = &apics[i] };
        vm.vcpu[i] = &vcpus[i];
        vlapic_reset(&apics[i], &vcpus[i]);
    }
    return 0;
}

static struct vlapic *const a = &apics[0];

static uint64_t rd(uint32_t msr)
{
    uint64_t v = 0xdead;

    assert_true(vlapic_msr_read(a, msr, &v));
    return v;
}

static void wr(uint32_t msr, uint64_t v)
{
    assert_true(vlapic_msr_write(a, msr, v));
}

static void enable(void)
{
    wr(X2_SVR, 0x1ff);
}

/* The timer that is armed runs out. */
static void expire(void)
{
    assert_non_null(armed);
    struct timer *t = armed;
    uint64_t now = time_now();
    if (t->when > now)
        platform_pass_us((t->when - now) / US + 1);
    t->armed = false;
    armed = NULL;
    t->fn(t);
}

static bool irr(uint8_t vector)
{
    return rd(X2_IRR + vector / 32u) >> vector % 32 & 1;
}

static void power_on_state(void **)
{
    uint64_t v;

    assert_int_equal(rd(X2_ID), 0);
    assert_int_equal(rd(X2_VERSION), 0x00050014);
    assert_int_equal(rd(X2_SVR), 0xff);
    assert_int_equal(rd(X2_LDR), 1);
    assert_true(vlapic_msr_read(&apics[5], X2_LDR, &v));
    assert_int_equal(v, 1u << 5);
    for (unsigned i = X2_LVT_TIMER; i <= X2_LVT_ERROR; i++)
        assert_int_equal(rd(i), 0x10000);
    assert_int_equal(rd(APIC_BASE), 0xfee00d00); /* boot vCPU, enabled, x2APIC */
    assert_true(vlapic_msr_read(&apics[1], APIC_BASE, &v));
    assert_int_equal(v, 0xfee00c00);
    wr(APIC_BASE, 0xfee00d00);
    assert_false(vlapic_msr_write(a, APIC_BASE, 0xfee00900)); /* back to xAPIC */
    assert_false(vlapic_msr_write(a, APIC_BASE, 0xfed00d00)); /* elsewhere */
}

/* Every MSR of the range is a register with its own rights, or #GP. */
static void rights_of_registers(void **)
{
    static const struct {
        uint16_t first, last;
        bool r, w;
    } legal[] = {
        { 0x802, 0x803, 1, 0 }, { 0x808, 0x808, 1, 1 }, { 0x80a, 0x80a, 1, 0 },
        { 0x80b, 0x80b, 0, 1 }, { 0x80d, 0x80d, 1, 0 }, { 0x80f, 0x80f, 1, 1 },
        { 0x810, 0x827, 1, 0 }, { 0x828, 0x828, 1, 1 }, { 0x830, 0x830, 1, 1 },
        { 0x832, 0x838, 1, 1 }, { 0x839, 0x839, 1, 0 }, { 0x83e, 0x83e, 1, 1 },
        { 0x83f, 0x83f, 0, 1 },
    };

    for (uint32_t msr = 0x800; msr <= 0x8ff; msr++) {
        bool r = false, w = false;
        uint64_t v;
        for (unsigned i = 0; i < ARRAY_SIZE(legal); i++) {
            if (msr >= legal[i].first && msr <= legal[i].last) {
                r = legal[i].r;
                w = legal[i].w;
            }
        }
        assert_int_equal(vlapic_msr_read(a, msr, &v), r);
        assert_int_equal(vlapic_msr_write(a, msr, 0), w);
        assert_false(msr != X2_ICR && vlapic_msr_write(a, msr, 1ull << 40)); /* reserved */
    }
    assert_false(vlapic_msr_write(a, X2_EOI, 1));
    assert_false(vlapic_msr_write(a, X2_ESR, 1));
    assert_false(vlapic_msr_write(a, X2_TPR, 0x100));
    assert_false(vlapic_msr_write(a, X2_ICR, 1u << 13));
    assert_false(vlapic_msr_write(a, X2_LVT_TIMER, 0x400));
    assert_false(vlapic_msr_write(a, X2_DIVIDE, 4));
}

/* Random arrivals, deliveries, EOIs and TPR values against sets that are searched. */
static void priorities(void **)
{
    bool pending[256] = { 0 }, serving[256] = { 0 };

    srand(1);
    enable();
    for (unsigned step = 0; step < 20000; step++) {
        unsigned top = 0, best = 0, vector = 16 + (unsigned)rand() % 240,
                 t = (unsigned)rand() & 0xff;

        switch (rand() % 4) {
        case 0:
        case 1:
            vlapic_accept(a, (uint8_t)vector);
            pending[vector] = true;
            break;
        case 2: wr(X2_TPR, t); break;
        case 3:
            for (unsigned i = 0; i < 256; i++)
                top = serving[i] ? i : top;
            serving[top] = false;
            wr(X2_EOI, 0);
            break;
        }
        top = 0;
        for (unsigned i = 0; i < 256; i++) {
            top = serving[i] ? i : top;
            best = pending[i] ? i : best;
            assert_int_equal(irr((uint8_t)i), pending[i]);
        }
        t = (unsigned)rd(X2_TPR);
        unsigned ppr = t / 16 >= top / 16 ? t : top & 0xf0;
        assert_int_equal(rd(X2_PPR), ppr);
        assert_int_equal(vlapic_pending(a), best);
        assert_int_equal(vlapic_deliverable(a, (uint8_t)best), best / 16 > ppr / 16);
        assert_int_equal(vlapic_only_tpr(a, (uint8_t)best), best / 16 > top / 16);
        if (best / 16 > ppr / 16 && rand() % 2) {
            vlapic_deliver(a, (uint8_t)best);
            pending[best] = false;
            serving[best] = true;
            assert_int_equal(rd(X2_ISR + best / 32) >> best % 32 & 1, 1);
        }
    }
}

static void tpr_is_cr8(void **)
{
    wr(X2_TPR, 0x57);
    assert_int_equal(cr8[0], 5);
    assert_int_equal(rd(X2_TPR), 0x57);
    cr8[0] = 0xb; /* MOV to CR8 in the guest */
    assert_int_equal(rd(X2_TPR) >> 4, 0xb);
}

static void disabled_apic_takes_nothing(void **)
{
    vlapic_accept(a, 0x40);
    assert_int_equal(vlapic_pending(a), 0);
    wr(X2_LVT_ERROR, 0x30); /* stays masked while disabled */
    assert_int_equal(rd(X2_LVT_ERROR), 0x10030);
    enable();
    wr(X2_LVT_ERROR, 0x30);
    assert_int_equal(rd(X2_LVT_ERROR), 0x30);
    wr(X2_SVR, 0xff);
    assert_int_equal(rd(X2_LVT_ERROR), 0x10030);
}

static void writes_ask_for_attention(void **)
{
    vcpus[0].kicked = false;
    wr(X2_EOI, 0);
    assert_true(vcpus[0].kicked);
}

/* Bit per vCPU that got @vector. */
static unsigned receivers(uint8_t vector)
{
    unsigned set = 0;

    for (unsigned i = 0; i < BOOT_VM_CPUS; i++)
        set |= (unsigned)(got[i][vector / 64] >> vector % 64 & 1) << i;
    return set;
}

static void fixed_interrupts(void **)
{
    static const struct {
        uint64_t icr;
        unsigned to;
    } sent[] = {
        { 0x0000000300000000 | 0x4041, 1u << 3 },  /* physical */
        { 0x0000001000000000 | 0x4042, 0 },        /* nobody has that id */
        { 0xffffffff00000000 | 0x4043, 0xffff },   /* broadcast */
        { 0xffffffff00000000 | 0x4844, 0xffff },   /* logical broadcast */
        { 0x0000802100000000 | 0x4845, 0x8021 },   /* cluster 0 */
        { 0x0001802100000000 | 0x4846, 0 },        /* cluster 1 */
        { 0x0000000000000000 | 0x44047, 1u << 0 }, /* self */
        { 0x0000000000000000 | 0x84048, 0xffff },  /* all */
        { 0x0000000000000000 | 0xc4049, 0xfffe },  /* all others */
        { 0x0000802000000000 | 0x494a, 1u << 5 },  /* lowest priority: one of them */
    };

    enable();
    for (unsigned i = 0; i < ARRAY_SIZE(sent); i++) {
        wr(X2_ICR, sent[i].icr);
        assert_int_equal(rd(X2_ICR), sent[i].icr);
        assert_int_equal(receivers((uint8_t)sent[i].icr), sent[i].to);
    }
    wr(X2_SELF, 0x77);
    assert_true(irr(0x77));
}

static void start_up_interrupts(void **)
{
    wr(X2_ICR, 0x0000000200000000 | 0xc500); /* INIT, level, assert */
    assert_int_equal(asked[2], VCPU_INIT);
    asked[2] = 0;
    wr(X2_ICR, 0x0000000200000000 | 0x8500); /* INIT, level, de-assert */
    assert_int_equal(asked[2], 0);
    wr(X2_ICR, 0x0000000200000000 | 0x4608);
    assert_int_equal(asked[2], VCPU_SIPI);
    assert_int_equal(vcpus[2].sipi_page, 8);
    wr(X2_ICR, 0xc4400); /* NMI to all others */
    assert_int_equal(asked[0], 0);
    assert_int_equal(asked[1], VCPU_NMI);
    wr(X2_ICR, 0x0000000300000000 | 0x4200); /* SMI */
    assert_int_equal(asked[3], VCPU_NMI);
}

static void errors(void **)
{
    enable();
    wr(X2_LVT_ERROR, 0xe0);
    wr(X2_ICR, 0x0000000100000000 | 0x400f); /* vector 15 */
    assert_int_equal(receivers(15), 0);
    assert_true(irr(0xe0));
    assert_int_equal(rd(X2_ESR), 0); /* until written */
    wr(X2_ESR, 0);
    assert_int_equal(rd(X2_ESR), 0x20);
    wr(X2_ESR, 0);
    assert_int_equal(rd(X2_ESR), 0);
    wr(X2_SELF, 15);
    wr(X2_ESR, 0);
    assert_int_equal(rd(X2_ESR), 0x40);
    wr(X2_SELF, 16);
    assert_true(irr(16));
    wr(X2_ESR, 0);
    assert_int_equal(rd(X2_ESR), 0);
    wr(X2_LVT_ERROR, 0x05); /* an error interrupt that is itself illegal ends there */
    wr(X2_SELF, 3);
    wr(X2_ESR, 0);
    assert_int_equal(rd(X2_ESR), 0x40);
}

static void one_shot_timer(void **)
{
    static const unsigned divisor[] = { 2, 4, 8, 16, 32, 64, 128, 1 };

    enable();
    wr(X2_LVT_TIMER, 0x50);
    for (unsigned i = 0; i < 8; i++) {
        wr(X2_DIVIDE, (i & 3) | (i & 4) << 1);
        uint64_t before = time_now();
        wr(X2_INITIAL, 1000 * US);
        assert_in_range(armed->when - before, 1000 * US * divisor[i], 1000 * US * divisor[i] + US);
        assert_in_range(rd(X2_CURRENT), 999 * US, 1000 * US);
        platform_pass_us(500 * divisor[i]);
        assert_in_range(rd(X2_CURRENT), 499 * US, 500 * US);
        expire();
        assert_int_equal(rd(X2_CURRENT), 0);
        assert_null(armed);
        assert_true(irr(0x50));
        vlapic_deliver(a, 0x50);
        wr(X2_EOI, 0);
    }
    wr(X2_INITIAL, 1000);
    wr(X2_INITIAL, 0);
    assert_null(armed);
}

/* What is left goes on at the new rate. */
static void divider_changes_while_counting(void **)
{
    enable();
    wr(X2_LVT_TIMER, 0x50);
    wr(X2_DIVIDE, 0xb);
    wr(X2_INITIAL, 1000 * US);
    platform_pass_us(600);
    wr(X2_DIVIDE, 1); /* by 4 */
    assert_in_range(rd(X2_CURRENT), 399 * US, 400 * US);
    assert_in_range(armed->when - time_now(), 1596 * US, 1600 * US);
}

static void periodic_timer(void **)
{
    enable();
    wr(X2_DIVIDE, 0xb);
    wr(X2_LVT_TIMER, 0x20050);
    wr(X2_INITIAL, 100 * US);
    uint64_t first = armed->when;
    expire();
    assert_int_equal(armed->when, first + 100 * US); /* no drift */
    platform_pass_us(1000);
    expire();
    assert_int_equal((armed->when - first) % (100 * US), 0); /* what was missed is skipped */
    assert_true(armed->when > time_now());
    wr(X2_LVT_TIMER, 0x30050); /* masked: counts on */
    vlapic_deliver(a, 0x50);
    wr(X2_EOI, 0);
    expire();
    assert_non_null(armed);
    assert_false(irr(0x50));
    uint64_t now = time_now();
    wr(X2_INITIAL, 1); /* too short a period for anyone */
    assert_in_range(armed->when - now, 20 * US, 21 * US);
}

static void deadline_timer(void **)
{
    enable();
    wr(DEADLINE, 5000); /* not in that mode: ignored */
    assert_null(armed);
    wr(X2_LVT_TIMER, 0x40050);
    wr(X2_INITIAL, 1000);
    assert_null(armed);
    wr(DEADLINE, time_now() + 100 * US);
    uint64_t when = rd(DEADLINE);
    assert_int_equal(armed->when, when);
    assert_int_equal(rd(X2_CURRENT), 0);
    expire();
    assert_true(irr(0x50));
    assert_int_equal(rd(DEADLINE), 0);
    wr(DEADLINE, when);
    wr(DEADLINE, 0);
    assert_null(armed);
    wr(DEADLINE, when);
    wr(X2_LVT_TIMER, 0x50); /* leaving the mode disarms */
    assert_null(armed);
    assert_int_equal(rd(DEADLINE), 0);
}

static void stop_disarms(void **)
{
    enable();
    wr(X2_LVT_TIMER, 0x50);
    wr(X2_INITIAL, 1000);
    vlapic_stop(a);
    assert_null(armed);
    assert_int_equal(rd(X2_CURRENT), 0);
}

#define t(f) cmocka_unit_test_setup_teardown(f, fresh, platform_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(power_on_state),
        t(rights_of_registers),
        t(priorities),
        t(tpr_is_cr8),
        t(writes_ask_for_attention),
        t(disabled_apic_takes_nothing),
        t(fixed_interrupts),
        t(start_up_interrupts),
        t(errors),
        t(one_shot_timer),
        t(divider_changes_while_counting),
        t(periodic_timer),
        t(deadline_timer),
        t(stop_disarms),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
