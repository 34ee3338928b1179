/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that tests its own virtual CPU and says "@test NAME ok" or "@test NAME FAILED ...":
 * hypercalls, CPUID, MSRs, exceptions, timer, interrupts between vCPUs, sleep. Words on the command
 * line: end=triple      then end with a triple fault; end=double: of another kind; end=reset: by
 * port end=hang        then spin for ever on every vCPU but the first, which shuts down calls=N
 * measure N null hypercalls and say the shortest, in ticks rounds=N        of ping-pong between
 * vCPUs
 */
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"
#include "guest/lib/smp.h"

enum { V_IPI = 0x40, V_TIMER = 0x50, V_HIGH = 0x90 };

static unsigned failed;
static volatile unsigned seen[256];
static bool intel; /* then calls are made with VMCALL */

static void check(const char *name, bool good)
{
    print("@test %s %s\n", name, good ? "ok" : "FAILED");
    failed += !good;
}

static void count(struct interrupt_frame *f)
{
    seen[f->vector]++;
}

/* With interrupts on, for at most @us. */
static bool comes(uint8_t vector, unsigned n, uint64_t us)
{
    uint64_t begin = rdtsc();

    interrupts_on();
    while (seen[vector] < n && rdtsc() - begin < us * ticks_per_us())
        pause_once();
    interrupts_off();
    return seen[vector] >= n;
}

/* --- what raises an exception */

static void read_msr(void *msr)
{
    rdmsr((uint32_t)(uintptr_t)msr);
}

static void write_msr(void *msr)
{
    wrmsr((uint32_t)(uintptr_t)msr, ~0ull);
}

static void touch(void *address)
{
    *(volatile uint32_t *)address = 1;
}

static void run_at(void *address)
{
    ((void (*)(void))address)();
}

static void string_io(void *)
{
    static const char text[] = "x";
    const char *p = text;

    __asm__ volatile("outsb" : "+S"(p) : "d"(0x3f8) : "memory");
}

static void vmrun(void *)
{
    __asm__ volatile("vmrun %%rax" : : "a"(0x1000) : "memory");
}

static void mwait(void *)
{
    __asm__ volatile("mwait" : : "a"(0), "c"(0));
}

static void rdpmc(void *)
{
    __asm__ volatile("rdpmc" : : "c"(0) : "rax", "rdx");
}

static void set_xcr0(void *value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"(value), "d"(0));
}

static void int3(void *)
{
    __asm__ volatile("int3");
}

/* Steps with the trap flag: #DB, which the hypervisor takes first and gives back. */
static void on_debug(struct interrupt_frame *f)
{
    if (++seen[1] == 3)
        f->rflags &= ~0x100ull;
}

static void single_step(void)
{
    interrupt_handler(1, on_debug);
    __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop; nop; nop" : : : "memory", "cc");
    check("exception.debug", seen[1] == 3);
}

static void divide(void *zero)
{
    __asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; divl %0"
                     :
                     : "r"((uint32_t)(uintptr_t)zero)
                     : "rax", "rdx");
}

static void exceptions(void)
{
    static const struct {
        const char *name;
        void (*fn)(void *);
        uint64_t argument;
        int vector;
    } raising[] = {
        { "exception.divide", divide, 0, 0 },
        { "exception.breakpoint", int3, 0, 3 },
        { "msr.unknown-read", read_msr, 0x12345, 13 },
        { "msr.unknown-write", write_msr, 0x12345, 13 },
        { "msr.svm-hidden", write_msr, 0xc0010117, 13 },
        { "msr.efer-reserved", write_msr, 0xc0000080, 13 },
        { "msr.pat-bad", write_msr, 0x277, 13 },
        { "msr.apic-base-fixed", write_msr, 0x1b, 13 },
        { "msr.x2apic-reserved", write_msr, 0x80b, 13 },
        { "memory.beyond", touch, 0xb0000000, 13 },
        { "memory.beyond-code", run_at, 0xb0000000, 13 },
        { "memory.apic-page", touch, 0xfee00000, 13 },
        { "io.string", string_io, 0, 6 },
        { "instruction.vmrun", vmrun, 0, 6 },
        { "instruction.mwait", mwait, 0, 6 },
        { "instruction.rdpmc", rdpmc, 0, 13 },
    };

    for (unsigned i = 0; i < sizeof(raising) / sizeof(raising[0]); i++) {
        int vector = try_exception(raising[i].fn, (void *)raising[i].argument, NULL);

        if (vector != raising[i].vector)
            print("%s: vector %d\n", raising[i].name, vector);
        check(raising[i].name, vector == raising[i].vector);
    }
    single_step();
}

/* --- CPUID, MSRs, extended state */

static void identity(void)
{
    uint32_t r[4];

    cpuid(1, 0, r);
    check("cpuid.hypervisor", r[2] >> 31);
    check("cpuid.x2apic", r[2] >> 21 & 1);
    check("cpuid.no-vmx", !(r[2] >> 5 & 1));
    cpuid(0x80000001, 0, r);
    check("cpuid.no-svm", !(r[2] >> 2 & 1));
    cpuid(0x40000000, 0, r);
    check("cpuid.sluice", memcmp(&r[1], "SluiceHyperv", 12) == 0);
    cpuid(0xb, 0, r);
    check("cpuid.id", r[3] == apic_id());
    cpuid(0x8000000a, 0, r);
    check("cpuid.svm-leaf-empty", !(r[0] | r[1] | r[2] | r[3]));
}

static void msrs(void)
{
    wrmsr(0xc0000082, 0x123456789abc); /* LSTAR: passes */
    check("msr.lstar", rdmsr(0xc0000082) == 0x123456789abc);
    wrmsr(0xc0000102, 0x8000); /* kernel GS base */
    check("msr.kernel-gs", rdmsr(0xc0000102) == 0x8000);
    check("msr.efer", (rdmsr(0xc0000080) & 0x1d00) == 0xd00); /* LMA LME NXE, no SVME */
    wrmsr(0x277, 0x0007040600070406);
    check("msr.pat", rdmsr(0x277) == 0x0007040600070406);
    wrmsr(0x2ff, 0);
    check("msr.mtrr", rdmsr(0x2ff) == 0x806 && (rdmsr(0xfe) & 0x1ff) == 0);
    check("msr.tsc", rdmsr(0x10) - rdtsc() + (1ull << 40) > (1ull << 39));
}

static void extended_state(void)
{
    uint32_t r[4], lo, hi;

    cpuid(1, 0, r);
    if (!(r[2] >> 26 & 1))
        return;
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1u << 18 | 1u << 9));
    cpuid(1, 0, r);
    check("xsave.osxsave", r[2] >> 27 & 1);
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    check("xsave.reset", lo == 1 && hi == 0);
    set_xcr0((void *)3);
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    check("xsave.set", lo == 3 && hi == 0);
    check("xsave.bad", try_exception(set_xcr0, (void *)2, NULL) == 13 &&
                           try_exception(set_xcr0, (void *)0x203, NULL) == 13);
}

static void io(void)
{
    uint32_t wide;

    check("io.absent-reads-ones", inb(0x2f8) == 0xff && inl(0x1234) == 0xffffffff);
    outb(0x2f8, 1);
    outb(0x3ff, 0xa5);
    check("io.scratch", inb(0x3ff) == 0xa5);
    __asm__ volatile("movl $0x11223344, %%eax; inb $0x60, %%al" : "=a"(wide));
    check("io.keeps-upper", wide == 0x112233ff);
}

/* --- control registers: bits that a backend keeps for itself look as on bare metal */

static void set_cr4(void *value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value));
}

/* @bit can be set and cleared, and reads back. */
static bool toggles(uint32_t bit, bool cr4)
{
    uint64_t before, set, after;

    if (cr4)
        __asm__ volatile("mov %%cr4, %0; mov %0, %1; xor %3, %1; mov %1, %%cr4; mov %%cr4, %1\n\t"
                         "mov %0, %%cr4; mov %%cr4, %2"
                         : "=&r"(before), "=&r"(set), "=&r"(after)
                         : "r"((uint64_t)bit));
    else
        __asm__ volatile("mov %%cr0, %0; mov %0, %1; xor %3, %1; mov %1, %%cr0; mov %%cr0, %1\n\t"
                         "mov %0, %%cr0; mov %%cr0, %2"
                         : "=&r"(before), "=&r"(set), "=&r"(after)
                         : "r"((uint64_t)bit));
    return set == (before ^ bit) && after == before;
}

static volatile uint64_t trap_rip;

static void on_trap(struct interrupt_frame *f)
{
    seen[1]++;
    trap_rip = f->rip;
}

static void control_registers(void)
{
    uint64_t cr4, next;

    check("cr0.ne", toggles(0x20, false));
    check("cr0.cd", toggles(0x40000000, false));
    check("cr4.mce", toggles(0x40, true));
    check("cr4.pge", toggles(0x80, true));
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    if (intel) { /* QEMU 11 does not raise #GP in a guest on SVM: it ends the guest */
        check("cr4.vmxe", try_exception(set_cr4, (void *)(cr4 | 0x2000), NULL) == 13);
        check("cr4.reserved", try_exception(set_cr4, (void *)(cr4 | 1ull << 40), NULL) == 13);
    }

    interrupt_handler(1, on_trap);
    seen[1] = 0;
    __asm__ volatile(".byte 0xf1; lea (%%rip), %0" : "=r"(next)); /* INT1 */
    check("exception.int1", seen[1] == 1 && trap_rip == next - 7);
}

/* --- interrupts */

static void timer(void)
{
    seen[V_TIMER] = 0;
    uint64_t begin = rdtsc();
    apic_timer(2000, V_TIMER);
    check("timer.one-shot", comes(V_TIMER, 1, 500000));
    check("timer.not-early", rdtsc() - begin >= 1900 * ticks_per_us());

    seen[V_TIMER] = 0;
    wrmsr(0x832, 0x20000 | V_TIMER); /* periodic, 1 ms */
    wrmsr(0x838, 1000 * ticks_per_us());
    check("timer.periodic", comes(V_TIMER, 3, 500000));
    wrmsr(0x838, 0);
    comes(V_TIMER, ~0u, 3000);
    unsigned stopped = seen[V_TIMER];
    comes(V_TIMER, ~0u, 5000);
    check("timer.stops", seen[V_TIMER] == stopped);

    seen[V_TIMER] = 0;
    wrmsr(0x832, 0x40000 | V_TIMER); /* TSC deadline */
    wrmsr(0x6e0, rdtsc() + 1000 * ticks_per_us());
    check("timer.deadline", comes(V_TIMER, 1, 500000) && rdmsr(0x6e0) == 0);
    seen[V_TIMER] = 0;
    wrmsr(0x6e0, 1); /* long past */
    check("timer.deadline-past", comes(V_TIMER, 1, 500000));

    /* Sleep, with the timer as the only thing that can wake us. */
    for (unsigned i = 1; i <= 20; i++) {
        wrmsr(0x6e0, rdtsc() + i * i * ticks_per_us());
        while (seen[V_TIMER] < i + 1)
            sleep_once();
    }
    check("timer.hlt", seen[V_TIMER] == 21);
}

/* CR8 holds a self-IPI back, and lets it in with no exit of its own. */
static void priority(void)
{
    seen[V_IPI] = seen[V_HIGH] = 0;
    __asm__ volatile("mov %0, %%cr8" : : "r"(5ull));
    check("priority.tpr-is-cr8", rdmsr(0x808) == 0x50);
    wrmsr(0x83f, V_IPI);
    wrmsr(0x83f, V_HIGH);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    check("priority.held-back", seen[V_IPI] == 0 && seen[V_HIGH] == 1);
    check("priority.irr", rdmsr(0x820 + V_IPI / 32) >> V_IPI % 32 & 1);
    interrupts_on();
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
    __asm__ volatile("nop; nop");
    interrupts_off();
    check("priority.let-in", seen[V_IPI] == 1);

    /* The same class is held back, too, while CR8 changes often. */
    __asm__ volatile("mov %0, %%cr8" : : "r"(4ull));
    wrmsr(0x83f, V_IPI);
    for (uint64_t i = 15; i >= 4; i--)
        __asm__ volatile("mov %0, %%cr8; sti; nop; cli" : : "r"(i));
    check("priority.same-class", seen[V_IPI] == 1);
    __asm__ volatile("sti; mov %0, %%cr8; nop; nop; cli" : : "r"(3ull));
    check("priority.class-above", seen[V_IPI] == 2);
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
}

/* An interrupt that arrives while interrupts are off waits for STI, and for the instruction after.
 */
static void shadow(void)
{
    unsigned between;

    seen[V_IPI] = 0;
    wrmsr(0x83f, V_IPI);
    check("interrupt.waits", seen[V_IPI] == 0);
    __asm__ volatile("sti; movl %1, %0; nop; cli" : "=r"(between) : "m"(seen[V_IPI]));
    check("interrupt.shadow", between == 0 && seen[V_IPI] == 1);
}

static volatile uint64_t nmi_rip;

static void on_nmi(struct interrupt_frame *f)
{
    seen[2]++;
    nmi_rip = f->rip;
    if (seen[2] == 1) { /* held back until this handler returns */
        apic_send_raw((uint64_t)apic_id() << 32 | 0x4400);
        for (unsigned i = 0; i < 3; i++)
            inb(0x3fd);
        if (seen[2] != 1)
            seen[2] = 100;
    }
}

static void nmi(void)
{
    interrupt_handler(2, on_nmi);
    apic_send_raw((uint64_t)apic_id() << 32 | 0x4400);
    interrupts_on();
    for (unsigned i = 0; i < 3; i++)
        inb(0x3fd);
    interrupts_off();
    if (seen[2] != 2)
        print("nmi: %u\n", seen[2]);
    check("interrupt.nmi", seen[2] == 2);
}

/* --- further vCPUs */

static volatile uint32_t others, turns;

static void other(uint32_t id)
{
    others |= 1u << id;
    for (;;) {
        unsigned before = seen[V_IPI + id];
        while (seen[V_IPI + id] == before)
            sleep_once();
        turns++;
        apic_send(0, V_HIGH); /* an answer */
    }
}

static void several(uint32_t n)
{
    check("smp.absent", !option("absent", 0) || !smp_start(n, other));
    for (uint32_t i = 1; i < n; i++) {
        interrupt_handler((uint8_t)(V_IPI + i), count);
        check("smp.start", smp_start(i, other));
    }
    for (uint64_t t = rdtsc(); others != (1u << n) - 2 && rdtsc() - t < 1000000 * ticks_per_us();)
        pause_once();
    check("smp.all", others == (1u << n) - 2);

    /* Ping-pong between sleepers: one lost wake-up would stop it. */
    seen[V_HIGH] = 0;
    unsigned rounds = (unsigned)option("rounds", 200);
    for (unsigned i = 0; i < rounds; i++) {
        apic_send(1 + i % (n - 1), (uint8_t)(V_IPI + 1 + i % (n - 1)));
        while (seen[V_HIGH] == i)
            sleep_once();
    }
    check("smp.ping-pong", turns == rounds);
    seen[V_HIGH] = 0;
    turns = 0;
    for (uint32_t i = 1; i < n; i++) /* logical destination, then all others */
        apic_send_raw((1ull << i) << 32 | 0x800 | (V_IPI + i));
    check("smp.logical", comes(V_HIGH, 1, 500000));
}

/* --- user mode: a hypercall from there is #UD */

extern uint64_t kernel_root[512];
extern char user_call[], user_back[];
void user_enter(uint64_t stack);

/* From @stack in ring 3; back at user_back, on the stack of before. */
__asm__(".text\n"
        "user_enter:\n"
        "    pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "    movq %rsp, user_saved\n"
        "    pushq $0x2b; pushq %rdi; pushq $2; pushq $0x23; pushq $user_call; iretq\n"
        "user_call:\n"
        "    xorl %eax, %eax; vmmcall; hlt\n"
        "user_back:\n"
        "    movq user_saved, %rsp\n"
        "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx; ret\n"
        ".data\n"
        "user_saved: .quad 0\n"
        ".text\n");

static void on_user(struct interrupt_frame *f)
{
    seen[f->vector] = f->rip == (uint64_t)user_call + 2 && (f->cs & 3) == 3;
    f->rip = (uint64_t)user_back;
    f->cs = 8;
    f->ss = 16;
}

static void user_mode(void)
{
    static uint8_t stack[2][4096] __attribute__((aligned(16)));
    static uint32_t tss[26];
    static uint64_t gdt[8] = { 0,
                               0x00af9b000000ffff,
                               0x00cf93000000ffff,
                               0x00cf9b000000ffff,
                               0x00affb000000ffff,
                               0x00cff3000000ffff };
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = { sizeof(gdt) - 1, (uint64_t)gdt };
    uint64_t *pdpt = (uint64_t *)(kernel_root[0] & ~0xfffull);
    uint64_t *pd = (uint64_t *)(pdpt[0] & ~0xfffull);
    uint64_t base = (uint64_t)tss, rsp0 = (uint64_t)(stack[0] + sizeof(stack[0]));

    if (intel)
        user_call[4] = (char)0xc1; /* the last byte of VMCALL */
    kernel_root[0] |= 4;
    pdpt[0] |= 4;
    pd[0] |= 4;
    write_cr3(read_cr3());
    memcpy(&tss[1], &rsp0, sizeof(rsp0));
    gdt[6] = 0x0000890000000067 | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    gdt[7] = base >> 32;
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(0x30));
    interrupt_handler(6, on_user);
    user_enter((uint64_t)(stack[1] + sizeof(stack[1])));
    interrupt_handler(6, NULL);
    check("call.user-refused", seen[6] == 1);
}

static void spin(struct interrupt_frame *)
{
    for (;;)
        pause_once();
}

/* --- the end */

static void end(const char *how)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = { 0, 0 };

    if (strncmp(how, "triple", 6) == 0)
        __asm__ volatile("lidt %0; ud2" : : "m"(none));
    if (strncmp(how, "reset", 5) == 0)
        outb(0xcf9, 6);
    if (strncmp(how, "double", 6) == 0) { /* stack and descriptors outside our memory */
        __asm__ volatile("mov %0, %%rsp; push %%rax" : : "r"(0xb0000000ull));
    }
    if (strncmp(how, "hang", 4) == 0) {
        interrupt_handler(V_IPI + 1, spin);
        apic_send_raw(0xc4000 | (V_IPI + 1));
        comes(V_TIMER, ~0u, 10000);
    }
}

int guest_main(void)
{
    struct hc_vm_info info = { 0 };
    uint64_t value = 0;

    uint32_t vendor[4];

    print("mini: first vCPU runs\n");
    cpuid(0, 0, vendor);
    intel = vendor[2] == 0x6c65746e; /* ntel */
    interrupts_init();
    for (unsigned v = 32; v < 256; v++)
        interrupt_handler((uint8_t)v, count);
    check("call.null",
          sluice_call(HC_NULL, 0, 0, 0, &value) == HV_OK && value == SLUICE_ABI_VERSION);
    check("call.unknown", sluice_call(63, 0, 0, 0, &value) == HV_ENOSYS);

    uint64_t best = ~0ull;
    for (uint64_t i = option("calls", 0); i; i--) {
        uint64_t begin = rdtsc();
        uint64_t number = HC_NULL;
        if (intel)
            __asm__ volatile("vmcall" : "+a"(number) : : "rdx", "memory");
        else
            __asm__ volatile("vmmcall" : "+a"(number) : : "rdx", "memory");
        uint64_t t = rdtsc() - begin;
        best = t < best ? t : best;
    }
    if (option("calls", 0))
        print("mini: null hypercall %lu ticks\n", best);

    identity();
    msrs();
    extended_state();
    io();
    exceptions();
    control_registers();
    shadow();
    priority();
    nmi();
    user_mode();
    timer();
    if (sluice_vm_info(&info) == HV_OK) {
        uint32_t r[4];

        cpuid(0x40000001, 0, r);
        check("cpuid.features", r[0] == info.version && r[1] == info.features && r[2] == !intel);
        check("vm.info", info.size == sizeof(info) && info.memory >= memory_bytes());
    }
    uint32_t vcpus = (uint32_t)option("vcpus", info.vcpus ? info.vcpus : 1);
    if (vcpus > 1)
        several(vcpus);
    print("mini: %u failed\n", failed);
    if (option_text("end"))
        end(option_text("end"));
    return (int)failed;
}
