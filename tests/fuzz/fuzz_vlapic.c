/* SPDX-License-Identifier: BSD-2-Clause */
/* build: arch/x86/vlapic.c arch/x86/vlapic_icr.c arch/x86/vlapic_timer.c */
/*
 * A guest's x2APIC registers. Input: steps of 10 bytes: what (write, read, interrupt, deliver,
 * timer, time), register, value.
 */
#include "arch/x86/vcpu.h"
#include "arch/x86/vlapic.h"
#include "hv/vm.h"
#include "tests/fuzz/fuzz.h"
#include "tests/platform/platform.h"

#define CPUS 3u

static struct vcpu vcpus[CPUS];
static struct vlapic apics[CPUS];
static struct vm vm;
static uint8_t cr8;
static struct timer *armed;
static unsigned sent;

void vcpu_interrupt(struct vcpu *v, uint8_t vector)
{
    must(v >= vcpus && v < vcpus + CPUS && vector >= 16);
    sent++;
}

void vcpu_ask(struct vcpu *v, unsigned request)
{
    must(v >= vcpus && v < vcpus + CPUS && request);
    sent++;
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

static uint8_t get_cr8(struct vcpu *v)
{
    (void)v;
    return cr8;
}

static void set_cr8(struct vcpu *v, uint8_t value)
{
    (void)v;
    must(value < 16);
    cr8 = value;
}

static const struct vcpu_ops ops = { .cr8 = get_cr8, .set_cr8 = set_cr8 };
const struct vcpu_ops *vcpu_ops = &ops;

static uint64_t value_of(uint32_t msr)
{
    uint64_t value = 0;

    must(vlapic_msr_read(apics, msr, &value));
    return value;
}

/* The highest vector in eight registers from @msr on. */
static unsigned highest(uint32_t msr)
{
    unsigned found = 0;

    for (uint32_t i = 0; i < 8; i++) {
        uint64_t bits = value_of(msr + i);
        must(bits >> 32 == 0);
        for (unsigned v = 0; bits && v < 32; v++)
            found = bits >> v & 1 ? i * 32 + v : found;
    }
    return found;
}

/* What holds after any step. */
static void check(void)
{
    unsigned in_service = highest(0x810), pending = highest(0x820), tpr = (unsigned)value_of(0x808);

    must(value_of(0x1b) == 0xfee00d00 && value_of(0x802) == 0 && value_of(0x80d) == 1);
    must((value_of(0x810) & 0xffff) == 0 && (value_of(0x820) & 0xffff) == 0);
    for (uint32_t i = 0; i < 8; i++)
        must(value_of(0x818 + i) == 0);
    must(tpr < 256 && tpr >> 4 == cr8);
    must(value_of(0x80a) == (tpr >> 4 >= in_service >> 4 ? tpr : in_service & 0xf0));
    must(vlapic_pending(apics) == pending);
    must(vlapic_deliverable(apics, (uint8_t)pending) ==
         (pending >> 4 > in_service >> 4 && pending >> 4 > cr8));
    must(value_of(0x80f) >> 32 == 0 && vlapic_enabled(apics) == (value_of(0x80f) >> 8 & 1));
    must((value_of(0x828) & ~0x60ull) == 0);
    must(value_of(0x839) <= value_of(0x838));
    if (!vlapic_enabled(apics)) {
        for (uint32_t i = 0x832; i <= 0x837; i++)
            must(value_of(i) & 0x10000); /* 11.4.7.2 */
    }
    must(!armed || (armed == &apics->timer && armed->armed && apics->deadline == armed->when));
    must(armed || !apics->deadline);
}

static void write_msr(uint32_t msr, uint64_t value)
{
    struct vlapic before = apics[0];
    unsigned sent_before = sent;
    uint8_t cr8_before = cr8;

    if (!vlapic_msr_write(apics, msr, value)) { /* #GP changes nothing */
        must(memcmp(&before, &apics[0], sizeof(before)) == 0);
        must(sent == sent_before && cr8 == cr8_before);
    }
}

static void read_msr(uint32_t msr)
{
    struct vlapic before = apics[0];
    uint64_t value;

    (void)vlapic_msr_read(apics, msr, &value);
    must(memcmp(&before, &apics[0], sizeof(before)) == 0);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct feed in = { data, size };

    vm = (struct vm){ .nvcpus = CPUS };
    cr8 = 0;
    armed = NULL;
    for (unsigned i = 0; i < CPUS; i++) {
        vcpus[i] = (struct vcpu){ .index = i, .vm = &vm, .vlapic = &apics[i] };
        vm.vcpu[i] = &vcpus[i];
        memset(&apics[i], 0, sizeof(apics[i]));
        vlapic_reset(&apics[i], &vcpus[i]);
    }
    for (unsigned n = 0; in.left && n < 100; n++) {
        uint8_t what = feed_8(&in), reg = feed_8(&in);
        uint64_t value = feed_take(&in, 8);
        uint32_t msr = reg == 0xfe ? 0x1b : reg == 0xff ? 0x6e0 : 0x800u + reg;
        unsigned pending = vlapic_pending(apics);

        switch (what % 6) {
        case 0: write_msr(msr, value); break;
        case 1: read_msr(msr); break;
        case 2: vlapic_accept(apics, (uint8_t)value); break;
        case 3:
            if (pending && vlapic_deliverable(apics, (uint8_t)pending))
                vlapic_deliver(apics, (uint8_t)pending);
            break;
        case 4:
            if (armed) {
                armed->armed = false;
                armed = NULL;
                apics->timer.fn(&apics->timer);
            }
            break;
        default: platform_pass_us(value & 0xffffff); break;
        }
        check();
    }
    vlapic_stop(apics);
    must(!armed && !apics->deadline);
}
