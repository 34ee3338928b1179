/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/svm/event.c arch/x86/guest_state.c */
/*
 * Events into an SVM guest: how exceptions combine (SDM 3A table 6-5), what of an interrupted
 * delivery is delivered again, when an interrupt may go in, and the step over a write of CR8.
 */
#include "arch/x86/svm/svm.h"
#include "tests/platform/platform.h"

#define IF 0x200ull
#define TF 0x100ull

static struct vmcb c;
static struct svm svm;
static struct vcpu v;

static int fresh(void **state)
{
    c = (struct vmcb){ .rflags = 2 | IF, .dr6 = 0xffff0ff0, .virtual_interrupt = VINTR_MASKING };
    svm = (struct svm){ .vmcb = &c, .iret_rip = IRET_NONE };
    v = (struct vcpu){ .backend = &svm, .rip = 0x1000 };
    return platform_fresh(state);
}

enum class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE };

static enum class class_of(unsigned vector) {
    switch (vector){
        case 0 : case 10 : case 11 : case 12 : case 13 : return CONTRIBUTORY;
        case 14 : return PAGE_FAULT;
        case 8 : return DOUBLE;
        default : return BENIGN;
    }
}

static void exceptions_combine(void **)
{
    enum { SECOND, FAULT, TRIPLE };
    /* [first][second]; a double fault is never the second by itself */
    static const uint8_t table[4][3] = {
        [BENIGN] = { SECOND, SECOND, SECOND },
        [CONTRIBUTORY] = { SECOND, FAULT, SECOND },
        [PAGE_FAULT] = { SECOND, FAULT, FAULT },
        [DOUBLE] = { SECOND, TRIPLE, TRIPLE },
    };

    for (unsigned first = 0; first < 20; first++) {
        for (unsigned second = 0; second < 20; second++) {
            if (second == 8)
                continue;
            c.event = EVENT_VALID | EVENT_EXCEPTION | first;
            bool alive = svm_inject_exception(&v, (uint8_t)second, true, 0x55);
            unsigned expected = table[class_of(first)][class_of(second)];

            assert_int_equal(alive, expected != TRIPLE);
            if (expected == SECOND)
                assert_int_equal(c.event, EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_CODE | second |
                                              0x55ull << 32);
            if (expected == FAULT)
                assert_int_equal(c.event, EVENT_VALID | EVENT_EXCEPTION | EVENT_HAS_CODE | 8);
        }
    }
    c.event = EVENT_VALID | EVENT_INTERRUPT | 13; /* vector 13 of another kind */
    assert_true(svm_inject_exception(&v, 13, false, 0));
    assert_int_equal(c.event, EVENT_VALID | EVENT_EXCEPTION | 13);
    c.event = EVENT_EXCEPTION | 13; /* not valid: a left-over */
    assert_true(svm_inject_exception(&v, 6, false, 0));
    assert_int_equal(c.event, EVENT_VALID | EVENT_EXCEPTION | 6);
}

static uint64_t redelivered(uint64_t event)
{
    c.event = 0;
    c.exit_event = EVENT_VALID | event;
    svm_redeliver(&c);
    return c.event;
}

static void interrupted_deliveries(void **)
{
    const uint64_t fault = EVENT_EXCEPTION | EVENT_HAS_CODE | 14 | 7ull << 32;

    assert_int_equal(redelivered(EVENT_INTERRUPT | 0x40), EVENT_VALID | EVENT_INTERRUPT | 0x40);
    assert_int_equal(redelivered(EVENT_NMI | 2), EVENT_VALID | EVENT_NMI | 2);
    assert_int_equal(redelivered(fault), EVENT_VALID | fault);
    assert_int_equal(redelivered(EVENT_SOFTWARE | 0x80), 0); /* INT n runs again */
    assert_int_equal(redelivered(EVENT_EXCEPTION | 3), 0);   /* INT3 */
    assert_int_equal(redelivered(EVENT_EXCEPTION | 4), 0);   /* INTO */
    assert_int_not_equal(redelivered(EVENT_INTERRUPT | 3), 0);
}

static void when_an_interrupt_may_go_in(void **)
{
    assert_true(svm_interrupt_ready(&v));
    c.rflags = 2;
    assert_false(svm_interrupt_ready(&v));
    c.rflags = 2 | IF;
    c.interrupt_shadow = 1;
    assert_false(svm_interrupt_ready(&v));
    c.interrupt_shadow = 0;
    svm_inject_interrupt(&v, 0x31);
    assert_int_equal(c.event, EVENT_VALID | 0x31);
    assert_false(svm_interrupt_ready(&v)); /* one a time */
    assert_false(svm_nmi_ready(&v));
}

static void windows(void **)
{
    c.virtual_interrupt |= 5; /* CR8 */
    svm_want_window(&v, 0x61);
    assert_int_equal(c.virtual_interrupt, VINTR_MASKING | VINTR_PENDING | VINTR_IGNORE_TPR | 5);
    assert_true(c.intercept_cr & INTERCEPT_CR8_WRITE);
    svm_want_window(&v, 0x5f); /* held back by CR8: only its write can let it in */
    assert_false(c.virtual_interrupt & VINTR_PENDING);
    assert_true(c.intercept_cr & INTERCEPT_CR8_WRITE);
    svm_want_window(&v, 0);
    assert_false(c.virtual_interrupt & VINTR_PENDING);
    assert_int_equal(c.intercept_cr, 0);
}

static void nmi_waits_for_iret(void **)
{
    const unsigned iret = 1u << (VMEXIT_IRET - 0x60);

    assert_true(svm_nmi_ready(&v));
    svm_inject_nmi(&v);
    assert_int_equal(c.event, EVENT_VALID | EVENT_NMI | 2);
    assert_true(c.intercept[0] & iret);
    c.event = 0; /* delivered */
    assert_false(svm_nmi_ready(&v));
    v.nmi_pending = true; /* no window helps the second one: it would open at once, and again */
    svm_want_window(&v, 0);
    assert_false(c.virtual_interrupt & VINTR_PENDING);
    svm_want_window(&v, 0x61); /* but an interrupt need not wait */
    assert_true(c.virtual_interrupt & VINTR_PENDING);
    svm_want_window(&v, 0);
    v.rip = 0x2000;
    svm_iret(&v);
    assert_false(c.intercept[0] & iret);
    assert_false(svm_nmi_ready(&v)); /* IRET has yet to run, */
    assert_true(c.virtual_interrupt & VINTR_PENDING);
    assert_int_equal(c.interrupt_shadow, 1); /* and runs before this window opens */
    v.rip = 0x1000;
    assert_true(svm_nmi_ready(&v));
}

/* The exit that ends a step, with DR6 as the CPU leaves it; result: nothing for the guest. */
static bool step(uint64_t rflags, uint64_t dr6_before, uint64_t exit, uint64_t dr6_after)
{
    c.rflags = rflags;
    c.dr6 = dr6_before;
    v.kicked = false;
    svm_cr8_write(&v);
    assert_true(svm.stepping);
    assert_true(c.rflags & TF);
    assert_int_equal(c.intercept_cr, 0);
    c.exit_code = exit;
    c.dr6 = dr6_after;
    bool own = svm_step_end(&v);
    assert_false(svm.stepping);
    assert_int_equal(c.rflags, rflags);
    assert_true(v.kicked); /* look again what CR8 lets in */
    return own;
}

static void step_over_cr8(void **)
{
    svm_cr8_write(&v); /* nothing goes in meanwhile: it would see our trap flag */
    assert_false(svm_interrupt_ready(&v) || svm_nmi_ready(&v));
    svm_want_window(&v, 0x61);
    assert_int_equal(c.intercept_cr, 0);
    assert_false(c.virtual_interrupt & VINTR_PENDING);
    svm_step_end(&v);
    assert_true(svm_interrupt_ready(&v) && svm_nmi_ready(&v));

    const uint64_t db = VMEXIT_EXCEPTION + 1, clear = 0xffff0ff0, bs = 0x4000;

    assert_true(step(2 | IF, clear, db, clear | bs));
    assert_int_equal(c.dr6, clear); /* the guest sees nothing of it */
    assert_true(step(2 | IF, clear | 1, db, clear | bs));
    assert_int_equal(c.dr6, clear | 1);                     /* nor loses what was there */
    assert_false(step(2 | IF | TF, clear, db, clear | bs)); /* it steps itself */
    assert_int_equal(c.dr6, clear | bs);
    assert_false(step(2 | IF, clear, db, clear | bs | 2)); /* a breakpoint of its own */
    assert_int_equal(c.dr6, clear | 2);
    assert_false(step(2 | IF, clear, VMEXIT_INTR, clear)); /* a host interrupt came first */
    assert_int_equal(c.dr6, clear);
}

static void skips(void **)
{
    c.interrupt_shadow = 1;
    c.rflags = 2 | IF | 0x10000; /* RF */
    svm.next_rip = 0x1003;
    assert_false(svm_skip(&v));
    assert_int_equal(v.rip, 0x1003);
    assert_int_equal(c.interrupt_shadow, 0);
    assert_int_equal(c.rflags, 2 | IF);
    assert_int_equal(c.dr6, 0xffff0ff0);
    c.rflags = 2 | TF;
    assert_true(svm_skip(&v));
    assert_int_equal(c.dr6, 0xffff4ff0);
    assert_int_equal(c.rflags, 2 | TF);
}

#define t(f) cmocka_unit_test_setup_teardown(f, fresh, platform_check)

int main(void)
{
    const struct CMUnitTest tests[] = {
        t(exceptions_combine),
        t(interrupted_deliveries),
        t(when_an_interrupt_may_go_in),
        t(windows),
        t(nmi_waits_for_iret),
        t(step_over_cr8),
        t(skips),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
