/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/apic.h"

#include "arch/x86/asm.h"
#include "arch/x86/irq.h"

/* MSRs (SDM 3A table 11-6) */
enum {
    APIC_ID = 0x802,
    APIC_VERSION = 0x803,
    APIC_TPR = 0x808,
    APIC_EOI = 0x80b,
    APIC_SVR = 0x80f,
    APIC_ISR = 0x810,
    APIC_ESR = 0x828,
    APIC_LVT_CMCI = 0x82f,
    APIC_ICR = 0x830,
    APIC_LVT_TIMER = 0x832,
    APIC_LVT_THERMAL = 0x833,
    APIC_LVT_PERF = 0x834,
    APIC_LVT_LINT0 = 0x835,
    APIC_LVT_LINT1 = 0x836,
    APIC_LVT_ERROR = 0x837,
    APIC_TIMER_COUNT = 0x838,
    APIC_TIMER_LEFT = 0x839,
    APIC_TIMER_DIVIDE = 0x83e,
};

#define BASE_ENABLE  (1ull << 11)
#define BASE_X2APIC  (1ull << 10)
#define SVR_ENABLE   (1u << 8)
#define LVT_MASKED   (1u << 16)
#define LVT_NMI      (4u << 8)
#define LVT_DEADLINE (2u << 17)
#define DIVIDE_BY_1  0xbu

#define ICR_NMI    (4u << 8)
#define ICR_INIT   (5u << 8)
#define ICR_SIPI   (6u << 8)
#define ICR_ASSERT (1u << 14)
#define ICR_OTHERS (3u << 18) /* all but self */

bool apic_present(void)
{
    return cpuid(1, 0).ecx >> 21 & 1;
}

bool apic_ready(void)
{
    return rdmsr(MSR_APIC_BASE) & BASE_X2APIC;
}

/* What firmware took and never finished would hold back lower vectors for ever. */
static void finish_in_service(void)
{
    for (unsigned i = 0; i < 8; i++) {
        for (uint64_t bits = rdmsr(APIC_ISR + i); bits != 0; bits &= bits - 1)
            apic_eoi();
    }
}

uint32_t apic_init(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    /* Off to x2APIC is no allowed step, so by way of xAPIC (SDM 3A 11.12.5). */
    if (!(base & BASE_ENABLE))
        wrmsr(MSR_APIC_BASE, base |= BASE_ENABLE);
    if (!(base & BASE_X2APIC))
        wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);

    wrmsr(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    unsigned last_lvt = rdmsr(APIC_VERSION) >> 16 & 0xff;
    wrmsr(APIC_LVT_TIMER, LVT_MASKED);
    wrmsr(APIC_LVT_LINT0, LVT_MASKED);
    wrmsr(APIC_LVT_LINT1, LVT_NMI);
    wrmsr(APIC_LVT_ERROR, VECTOR_APIC_ERROR);
    if (last_lvt >= 4)
        wrmsr(APIC_LVT_PERF, LVT_MASKED);
    if (last_lvt >= 5)
        wrmsr(APIC_LVT_THERMAL, LVT_MASKED);
    if (last_lvt >= 6)
        wrmsr(APIC_LVT_CMCI, LVT_MASKED);
    wrmsr(APIC_ESR, 0);
    wrmsr(APIC_TPR, 0);
    finish_in_service();
    return (uint32_t)rdmsr(APIC_ID);
}

void apic_eoi(void)
{
    wrmsr(APIC_EOI, 0);
}

uint32_t apic_errors(void)
{
    wrmsr(APIC_ESR, 0);
    return (uint32_t)rdmsr(APIC_ESR);
}

/* The write to the ICR is not ordered after earlier stores by itself (SDM 3A 11.12.3). */
static void send(uint32_t apic_id, uint32_t command)
{
    __asm__ volatile("mfence; lfence" ::: "memory");
    wrmsr(APIC_ICR, (uint64_t)apic_id << 32 | command);
}

void apic_send(uint32_t apic_id, uint8_t vector)
{
    send(apic_id, ICR_ASSERT | vector);
}

void apic_send_init(uint32_t apic_id)
{
    send(apic_id, ICR_ASSERT | ICR_INIT);
}

void apic_send_sipi(uint32_t apic_id, uint8_t page)
{
    send(apic_id, ICR_ASSERT | ICR_SIPI | page);
}

void apic_send_nmi(uint32_t apic_id)
{
    send(apic_id, ICR_ASSERT | ICR_NMI);
}

void apic_send_nmi_others(void)
{
    send(0, ICR_OTHERS | ICR_ASSERT | ICR_NMI);
}

void apic_send_init_others(void)
{
    send(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
}

void apic_timer_mode(bool tsc_deadline)
{
    wrmsr(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    wrmsr(APIC_LVT_TIMER, VECTOR_TIMER | (tsc_deadline ? LVT_DEADLINE : 0));
    /* The mode comes before the first deadline (SDM 3A 11.5.4.1). */
    __asm__ volatile("mfence; lfence" ::: "memory");
}

void apic_timer_start(uint32_t count)
{
    wrmsr(APIC_TIMER_COUNT, count);
}

/* QEMU's -icount looks at its clock only where a translated block has one instruction, or in its
 * last. The shadow of a load of SS makes it one; on hardware it costs nothing. */
uint32_t apic_timer_left(void)
{
    uint32_t left;

    __asm__ volatile("mov %%ss, %%eax; mov %%eax, %%ss; rdmsr"
                     : "=a"(left)
                     : "c"(APIC_TIMER_LEFT)
                     : "rdx", "memory");
    return left;
}
