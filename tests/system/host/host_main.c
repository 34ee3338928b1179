/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of the host side from inside: linked with the hypervisor's own files in place of hv/main.c.
 * The first VM's cmdline says what to do: nothing: the checks, each a line "[host] @test NAME ok";
 * or the name of a fault to commit, whose report tests/system/test_host.py reads; or "bench".
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/apic.h"
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/image.h"
#include "arch/x86/irq.h"
#include "arch/x86/time.h"
#include "arch/x86/timer.h"
#include "arch/x86/vcpu.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/acpi.h"
#include "hv/lock.h"
#include "hv/log.h"
#include "hv/pages.h"
#include "hv/platform.h"
#include "hv/vm.h"
#include "tests/system/host/bench_tables.h"

#define MS (1000 * time_ticks_per_us())

static const struct bootinfo *info;
static uint64_t image_base;

static void say(const char *name, bool good, const char *what)
{
    char text[160];
    int n = snprintf(text, sizeof(text), "@test %s %s %s", name, good ? "ok" : "FAILED",
                     good ? "" : what);

    log_guest("host", text, (unsigned)n);
}

#define check(name, cond) say(name, cond, #cond)

/* Let interrupts come for @ms. */
static void pause_ms(uint64_t ms)
{
    timer_sleep_us(ms * 1000);
}

/* Run @fn on CPU @cpu, in an interrupt. */
static uint8_t call_vector;
static void (*volatile call_fn)(void);
static _Atomic unsigned calls;

static void called(void *ctx)
{
    (void)ctx;
    call_fn();
    atomic_fetch_add(&calls, 1);
}

static bool call_on(unsigned cpu, void (*fn)(void))
{
    unsigned before = atomic_load(&calls);

    call_fn = fn;
    apic_send(cpus[cpu]->apic_id, call_vector);
    for (uint64_t start = time_now(); time_now() - start < 1000 * MS; cpu_relax()) {
        if (atomic_load(&calls) != before)
            return true;
    }
    return false;
}

/* --- Checks ----------------------------------------------------------------------------------- */

/* Channel 2 of the 8254, which counts down and around. */
static uint32_t pit(void)
{
    outb(0x43, 0x80);
    uint32_t low = inb(0x42);
    return 0x10000 - (low | (uint32_t)inb(0x42) << 8);
}

/* Against the 8254 (1.193182 MHz, 55 ms around), of which the final rate knows nothing. */
static void check_clock(void)
{
    struct time_sample first, last;
    uint64_t us;

    outb(0x61, (inb(0x61) & ~2u) | 1);
    outb(0x43, 0xb4); /* mode 2 */
    outb(0x42, 0);
    outb(0x42, 0);
    for (unsigned tries = 0; tries < 5; tries++) {
        first = time_sample(pit);
        pause_ms(20);
        last = time_sample(pit);
        us = (last.tsc - first.tsc) / time_ticks_per_us();
        if (us < 40000) /* else this machine was held up */
            break;
    }
    uint64_t pit_us = ((last.count - first.count) & 0xffff) * 1000000ull / 1193182;

    check("clock", us >= 20000 && us > pit_us - pit_us / 200 && us < pit_us + pit_us / 200);
}

static struct timer timers[3];
static unsigned fired[3], order;
static bool early;

static void fire(struct timer *t)
{
    fired[t - timers] = ++order;
    early = early || time_now() < t->when;
}

static void check_timers(void)
{
    uint64_t now = time_now();

    for (unsigned i = 0; i < 3; i++)
        timers[i].fn = fire;
    timer_set(&timers[0], now + 30 * MS);
    timer_set(&timers[1], now + 10 * MS);
    timer_set(&timers[2], now + 5 * MS);
    timer_set(&timers[2], now + 20 * MS); /* replaces */
    pause_ms(60);
    check("timer-order", fired[1] == 1 && fired[2] == 2 && fired[0] == 3 && order == 3);
    check("timer-not-early", !early);
    timer_set(&timers[0], time_now() + 5 * MS);
    timer_set(&timers[1], time_now() + 5 * MS);
    timer_cancel(&timers[0]);
    timer_cancel(&timers[0]);
    pause_ms(30);
    check("timer-cancel", order == 4 && fired[1] == 4);
    timer_set(&timers[2], 1);
    check("timer-not-inside-set", order == 4);
    pause_ms(10);
    check("timer-in-the-past", order == 5);
}

static struct timer own[CPUS_MAX];
static _Atomic unsigned own_fired, strayed;

static void own_fire(struct timer *t)
{
    atomic_fetch_add(t == &own[cpu_index()] ? &own_fired : &strayed, 1);
}

static void own_set(void)
{
    own[cpu_index()].fn = own_fire;
    timer_set(&own[cpu_index()], time_now() + 5 * MS);
}

static void check_other_cpus(void)
{
    struct irq_message m;
    bool all = cpu_count() > 1;

    for (unsigned i = 0; i < 200; i++)
        all = all && call_on(1 + i % (cpu_count() - 1), own_set);
    check("no-lost-wakeup", all);
    pause_ms(50);
    check("timer-on-its-own-cpu", own_fired >= cpu_count() - 1 && strayed == 0);
    check("vectors-run-out", irq_alloc(called, NULL, &m) == HV_OK && m.data == call_vector + 1u);
    while (irq_alloc(called, NULL, &m) == HV_OK)
        ;
    check("vectors-in-range", m.data == VECTOR_IRQ_LAST && (m.address & 0xfff00fff) == 0xfee00000);
}

static _Atomic unsigned device_calls, device_strayed;

/* @ctx: the CPU on which it belongs. */
static void device_called(void *ctx)
{
    atomic_fetch_add((uintptr_t)ctx == cpu_index() ? &device_calls : &device_strayed, 1);
}

/* Each CPU has its own: the same vector is another one elsewhere, and a full CPU is no other's. */
static void check_device_vectors(void)
{
    struct irq_target first[CPUS_MAX] = { 0 }, t = { 0 };
    unsigned n = cpu_count(), taken = 1;
    bool good = true;

    for (unsigned i = 0; i < n; i++) {
        good = good && irq_alloc_on(i, device_called, (void *)(uintptr_t)i, &first[i]) == HV_OK;
        good = good && first[i].apic_id == cpus[i]->apic_id && first[i].vector == first[0].vector;
    }
    check("device-vectors", good);
    while (irq_alloc_on(0, device_called, (void *)(uintptr_t)1, &t) == HV_OK)
        taken++;
    check("device-vectors-run-out", taken == VECTOR_DEVICE_LAST - VECTOR_DEVICE_FIRST + 1u &&
                                        t.vector == VECTOR_DEVICE_LAST &&
                                        irq_alloc_on(1, device_called, NULL, &t) == HV_OK);
    for (unsigned v = first[0].vector + 1u; v <= VECTOR_DEVICE_LAST; v++)
        irq_free_on(0, (uint8_t)v);
    irq_free_on(1, t.vector);
    for (unsigned i = 0; i < n; i++) {
        apic_send(first[i].apic_id, first[i].vector);
        apic_send(first[i].apic_id, VECTOR_DEVICE_LAST); /* free again: nobody's, and no harm */
        pause_ms(5);
    }
    check("device-interrupts", device_calls == n && device_strayed == 0);
    for (unsigned i = 0; i < n; i++) {
        irq_free_on(i, first[i].vector);
        apic_send(first[i].apic_id, first[i].vector);
        pause_ms(5);
    }
    check("device-interrupts-end", device_calls == n && device_strayed == 0);
}

static unsigned ticks;

static void tick(void)
{
    ticks++;
}

static void check_periodic(void)
{
    platform_periodic(tick, 10000);
    pause_ms(500);
    check("periodic", ticks >= 25 && ticks <= 50); /* a busy machine loses some */
}

static struct lock lock = LOCK(RANK_VM);
static volatile unsigned counted;

static void count_up(void)
{
    for (unsigned i = 0; i < 300; i++) {
        lock_take(&lock);
        counted++;
        lock_drop(&lock);
    }
}

static void check_lock(void)
{
    unsigned before = atomic_load(&calls);

    call_fn = count_up;
    for (unsigned i = 1; i < cpu_count(); i++)
        apic_send(cpus[i]->apic_id, call_vector);
    count_up();
    for (uint64_t start = time_now();
         time_now() - start < 5000 * MS && atomic_load(&calls) - before < cpu_count() - 1;)
        cpu_relax();
    check("lock", counted == 300 * cpu_count());
    check("lock-try", lock_try(&lock) && !lock_try(&lock));
    lock_drop(&lock);
}

static void check_memory(void)
{
    alignas(16) uint64_t pair[4] = { 1, 2, 3, 4 };
    void *page;

    store128(pair + 2, 0x1111, 0x2222);
    check("store128", pair[0] == 1 && pair[1] == 2 && pair[2] == 0x1111 && pair[3] == 0x2222);
    check("page", pages_alloc(NULL, 0, &page) == HV_OK && phys_to_virt(virt_to_phys(page)) == page);
    check("mmio-refuses-ram", !mmio_map(virt_to_phys(page), PAGE_SIZE));
    check("mmio-refuses-wrap", !mmio_map(PADDR(~PAGE_MASK), 2 * PAGE_SIZE));
    check("no-user-bit", (read_cr4() & (CR4_SMEP | CR4_SMAP)) == (CR4_SMEP | CR4_SMAP));
    check("write-protect", read_cr0() & CR0_WP);
}

static void check_pci(void)
{
    uint32_t by_port = pci_config_read(0, 0, 4), by_port_8 = pci_config_read(0, 3, 1);
    struct acpi_ecam ecam;

    check("pci-ports-end-at-256", pci_config_read(0, 256, 4) == 0xffffffff);
    check("ecam",
          acpi_ecam(&ecam) == HV_OK && pci_config_ecam(ecam.base, ecam.first, ecam.last) == HV_OK);
    check("ecam-same", by_port != 0xffffffff && pci_config_read(0, 0, 4) == by_port &&
                           pci_config_read(0, 2, 2) == by_port >> 16 &&
                           pci_config_read(0, 3, 1) == by_port_8 && by_port_8 == by_port >> 24);
    check("pci-absent", pci_config_read(0x00f8 - 8, 0, 2) == 0xffff);
    check("pci-unaligned",
          pci_config_read(0, 1, 2) == 0xffff && pci_config_read(0, 0, 3) == 0xffffff);
}

static void check_log(void)
{
    struct log_limit limit = { 0 };
    unsigned allowed = 0;

    for (unsigned i = 0; i < 50; i++)
        allowed += log_allowed(&limit, 5);
    check("log-limit", allowed == 5 && limit.dropped == 45);
    log_guest("raw", "a\033[2Jb\rc", 8);
    log_info("host", "%0300d|", 1);
}

/* --- Faults ----------------------------------------------------------------------------------- */

static volatile int zero;
static volatile uint8_t code[1] = { 0xc3 };

static void divide(void)
{
    zero = 5 / zero;
}

static void null(void)
{
    zero = *(volatile int *)(uintptr_t)zero;
}

/* The loader mapped it here, and the direct map still does elsewhere. */
static void identity(void)
{
    zero = *(volatile int *)image_base;
}

static int deeper(volatile char *p)
{
    volatile char frame[512];

    frame[0] = p[0];
    return p[0] == 77 ? 1 : deeper(frame) + frame[0];
}

static void overflow(void)
{
    volatile char c = 0;

    zero = deeper(&c);
}

static void write_code(void)
{
    *(volatile uint8_t *)__text_start = 0;
}

static void write_constants(void)
{
    *(volatile uint8_t *)__rodata_start = 0;
}

static void write_code_by_direct_map(void)
{
    *(volatile uint8_t *)phys_to_virt(PADDR(image_base)) = 0;
}

static void run_data(void)
{
    ((void (*)(void))(uintptr_t)code)();
}

static void run_direct_map(void)
{
    ((void (*)(void))phys_to_virt(PADDR(image_base)))();
}

static void broken_invariant(void)
{
    hv_assert(zero == 1);
}

static void undefined(void)
{
    __asm__ volatile("ud2");
}

/* Indirect branches: to a function, and to the middle of one. */
static void nothing(void)
{
}

static void (*volatile indirect)(void) = nothing;

static void branch_astray(void)
{
    indirect();
    check("branch", true);
    indirect = (void (*)(void))((uintptr_t)nothing + 4);
    indirect();
}

/* As if a bank had found something. */
static void machine_check(void)
{
    wrmsr(0x402 + 4, 0x1234000);
    wrmsr(0x401 + 4, 0xb400000000000136); /* valid, uncorrected, with an address */
    __asm__ volatile("int $18");
}

static void undefined_elsewhere(void)
{
    call_on(cpu_count() - 1, undefined);
}

static void overflow_elsewhere(void)
{
    call_on(cpu_count() - 1, overflow);
}

/* The other VMs run on CPUs of their own. They run for
 * @ms before this goes on. @return how many. */
static unsigned run_guests(struct vm **vm, unsigned ms)
{
    unsigned n = 0;

    for (unsigned i = 1; i < info->nvms && i < cpu_count(); i++) {
        hv_assert(vm_create(&info->vm[i], &vm[n]) == HV_OK);
        vm_run(vm[n++]);
    }
    pause_ms(ms);
    return n;
}

static void broken_beside_guests(void)
{
    struct vm *vm[4];

    (void)run_guests(vm, 700);
    broken_invariant();
}

static uint64_t exits_of(const struct vm *vm)
{
    return *(const volatile uint64_t *)&vm->vcpu[0]->exits;
}

/* NMIs that nobody asked for, to this CPU and to those that run guests: all go on. */
static void nmis(void)
{
    enum { TIMES = 40 };
    struct vm *vm[4];
    unsigned n = run_guests(vm, 20);
    bool all = n > 0, go_on = true;

    for (unsigned i = 0; i < TIMES && all; i++) {
        for (unsigned c = 0; c <= n; c++) {
            unsigned before = atomic_load(&cpus[c]->nmis);
            apic_send_nmi(cpus[c]->apic_id);
            for (unsigned ms = 0; ms < 1000 && atomic_load(&cpus[c]->nmis) == before; ms++)
                pause_ms(1);
            all = all && atomic_load(&cpus[c]->nmis) == before + 1;
        }
    }
    check("nmi-counted", all);
    for (unsigned i = 0; i < n; i++) {
        uint64_t before = exits_of(vm[i]);
        pause_ms(10);
        go_on = go_on && exits_of(vm[i]) > before;
    }
    check("nmi-guests-go-on", go_on);
    machine_stop(info->reboot_when_done);
}

/* A guest is entered with what no CPU can have: an exception with vector 40. VMX. */
static void refused_entry(void)
{
    struct vm *vm[4];
    unsigned n = run_guests(vm, 20);

    hv_assert(n == 2);
    *(volatile uint32_t *)&((struct vmx *)vm[0]->vcpu[0]->backend)->event =
        EVENT_VALID | EVENT_EXCEPTION | 40;
    pause_ms(20);
    uint64_t other = exits_of(vm[1]);
    pause_ms(20);
    check("refused-alone", !atomic_load(&cpus[1]->vcpu) && exits_of(vm[1]) > other);
    machine_stop(info->reboot_when_done);
}

static const struct fault {
    const char *name;
    void (*commit)(void);
} faults[] = {
    { "divide", divide },
    { "null", null },
    { "identity", identity },
    { "overflow", overflow },
    { "write-code", write_code },
    { "write-constants", write_constants },
    { "write-code-by-direct-map", write_code_by_direct_map },
    { "run-data", run_data },
    { "run-direct-map", run_direct_map },
    { "assert", broken_invariant },
    { "assert-beside-guests", broken_beside_guests },
    { "branch-astray", branch_astray },
    { "machine-check", machine_check },
    { "nmi", nmis },
    { "refused-entry", refused_entry },
    { "undefined-elsewhere", undefined_elsewhere },
    { "overflow-elsewhere", overflow_elsewhere },
};

static void commit(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        if (strcmp(name, faults[i].name) == 0)
            faults[i].commit();
    }
    log_error("host", "survived: %s", name);
    machine_stop(info->reboot_when_done);
}

void hv_main(const struct bootinfo *boot)
{
    static struct acpi_madt madt;
    struct irq_message m;

    arch_early_init(boot);
    info = boot;
    image_base = boot->image.base;
    pages_add(PADDR(boot->pool.base), boot->pool.size);
    arch_paging_init(boot);
    if (acpi_init(boot) != HV_OK || acpi_madt(&madt) != HV_OK) { /* Bochs */
        memcpy(madt.apic_id, boot->apic_id, sizeof(madt.apic_id));
        madt.ncpus = boot->ncpus;
    }
    arch_irq_init(madt.ioapic, madt.nioapics);
    arch_time_init(acpi_pm_timer_port());
    hv_assert(vcpu_choose() == HV_OK);
    if (strcmp(boot->vm[0].cmdline, "absent-cpu") == 0) {
        madt.apic_id[madt.ncpus++] = 200;
        check("absent-cpu", arch_start_cpus(boot, madt.apic_id, madt.ncpus) == HV_ETIMEDOUT);
        machine_stop(true);
    }
    hv_assert(arch_start_cpus(boot, madt.apic_id, madt.ncpus) == HV_OK);
    hv_assert(irq_alloc(called, NULL, &m) == HV_OK);
    call_vector = (uint8_t)m.data;
    if (strcmp(boot->vm[0].cmdline, "bench") == 0) {
        bench_tables();
        machine_stop(true);
    }
    if (boot->vm[0].cmdline[0])
        commit(boot->vm[0].cmdline);
    check_clock();
    check_timers();
    check_periodic();
    check_lock();
    check_other_cpus();
    check_device_vectors();
    check_memory();
    check_pci();
    check_log();
    say("end", true, "");
    machine_stop(true);
}

/* The core's call when its last VM ends; there are none. */
void vm_last_ended(void)
{
    machine_stop(true);
}
