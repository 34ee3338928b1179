/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual x2APIC of one vCPU: self IPI, priority, timer, HLT. */
#include "guest/lib/interrupts.h"

#include "guest/lib/cpu.h"
#include "guest/suite/suite.h"

#define X2APIC_TPR   0x808
#define X2APIC_PPR   0x80a
#define X2APIC_SELF  0x83f
#define ICR_SELF     0x40000ull
#define ICR_SELF_NMI 0x44400ull
#define LOW          0x51
#define HIGH         0x91

static volatile uint32_t order[8], seen;

static void note(struct interrupt_frame *frame)
{
    if (seen < 8)
        order[seen] = (uint32_t)frame->vector;
    seen++;
}

static void prepare(void)
{
    seen = 0;
    interrupt_handler(LOW, note);
    interrupt_handler(HIGH, note);
}

/* Let what is pending in. */
static void open_window(void)
{
    interrupts_on();
    pause_once();
    interrupts_off();
}

static void self_ipi(void)
{
    prepare();
    wrmsr(X2APIC_SELF, LOW);
    open_window();
    CHECK_EQUAL(seen, 1);
    apic_send_raw(ICR_SELF | LOW);
    open_window();
    CHECK_EQUAL(seen, 2);
    apic_send(apic_id(), LOW);
    open_window();
    CHECK_EQUAL(seen, 3);
}

static void priority(void)
{
    prepare();
    wrmsr(X2APIC_SELF, LOW);
    wrmsr(X2APIC_SELF, HIGH);
    wrmsr(X2APIC_SELF, LOW); /* pending already: stays one */
    open_window();
    CHECK_EQUAL(seen, 2);
    CHECK_EQUAL(order[0], HIGH);
    CHECK_EQUAL(order[1], LOW);

    prepare();
    wrmsr(X2APIC_TPR, 0x60);
    CHECK_EQUAL(rdmsr(X2APIC_PPR), 0x60);
    wrmsr(X2APIC_SELF, LOW);
    wrmsr(X2APIC_SELF, HIGH);
    open_window();
    CHECK_EQUAL(seen, 1);
    CHECK_EQUAL(order[0], HIGH);
    wrmsr(X2APIC_TPR, 0);
    open_window();
    CHECK_EQUAL(seen, 2);
    CHECK_EQUAL(order[1], LOW);
}

static void held_back(void)
{
    prepare();
    wrmsr(X2APIC_SELF, LOW);
    for (unsigned i = 0; i < 100; i++)
        pause_once();
    CHECK_EQUAL(seen, 0);                                    /* IF is off */
    CHECK_EQUAL(rdmsr(0x820 + LOW / 32) >> LOW % 32 & 1, 1); /* IRR */
    open_window();
    CHECK_EQUAL(seen, 1);
    CHECK_EQUAL(rdmsr(0x820 + LOW / 32) >> LOW % 32 & 1, 0);
}

static void timer(void)
{
    uint64_t begin, took;

    prepare();
    apic_timer(1000, LOW); /* calibrates */
    while (!seen)
        sleep_once();
    begin = rdtsc();
    apic_timer(20000, LOW);
    while (seen < 2)
        sleep_once();
    took = (rdtsc() - begin) / ticks_per_us();
    /* Never early; how late depends on a machine that others use too. */
    CHECK(took >= 19000);
    if (took > 2000000)
        check_failed("the timer was more than two seconds late", __FILE__, __LINE__, took, 20000);
    apic_timer(1000, LOW);
    apic_timer(0, LOW);
    begin = rdtsc();
    while (rdtsc() - begin < 5000 * ticks_per_us())
        open_window();
    CHECK_EQUAL(seen, 2); /* stopped */
}

static volatile uint32_t nmis, nested;

/* The first one asks for another, which waits for an IRET: the first one's, or that of an
 * interrupt, which does not have to wait. */
static void on_nmi(struct interrupt_frame *frame)
{
    (void)frame;
    if (++nmis != 1)
        return;
    apic_send_raw(ICR_SELF_NMI);
    interrupts_on();
    for (unsigned i = 0; i < 20; i++)
        inb(0x3fd); /* leaves the guest */
    nested = nmis;
    wrmsr(X2APIC_SELF, LOW);
    for (unsigned i = 0; i < 20; i++)
        inb(0x3fd);
    nested |= nmis << 8;
}

static void nmi(void)
{
    prepare();
    nmis = 0;
    interrupt_handler(2, on_nmi);
    apic_send_raw(ICR_SELF_NMI);
    for (unsigned i = 0; i < 20; i++)
        inb(0x3fd);
    CHECK_EQUAL(nested, 0x201);
    CHECK_EQUAL(seen, 1);
    nmis = 1; /* one alone, from code that lets interrupts in */
    interrupts_on();
    apic_send_raw(ICR_SELF_NMI);
    interrupts_off();
    CHECK_EQUAL(nmis, 2);
    interrupt_handler(2, NULL);
}

static void storm(void)
{
    prepare();
    for (unsigned i = 0; i < 2000; i++) {
        wrmsr(X2APIC_SELF, i & 1 ? LOW : HIGH);
        open_window();
    }
    CHECK_EQUAL(seen, 2000);
}

const struct check interrupt_checks[] = {
    { "self_ipi", self_ipi }, { "priority", priority },     { "held_back", held_back },
    { "timer", timer },       { "interrupt_storm", storm }, { "nmi", nmi },
    { NULL, NULL },
};
