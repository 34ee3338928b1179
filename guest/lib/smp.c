/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/smp.h"

#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/runtime.h"

#define TRAMPOLINE  0x8000ull /* SIPI vector 8 */
#define STACK_PAGES 4
#define ICR_INIT    0x4500ull
#define ICR_SIPI    0x4600ull

extern char secondary_begin[], secondary_end[];
extern uint64_t secondary_stack;
static void (*volatile start_function)(uint32_t id);
static volatile uint32_t arrived;

void smp_secondary(void);

void smp_secondary(void)
{
    void (*fn)(uint32_t) = start_function;

    interrupts_init();
    arrived = 1;
    fn(apic_id());
    for (;;)
        __asm__ volatile("cli; hlt");
}

bool smp_start(uint32_t id, void (*fn)(uint32_t id))
{
    uint64_t begin = rdtsc();

    memcpy((void *)TRAMPOLINE, secondary_begin, (size_t)(secondary_end - secondary_begin));
    secondary_stack = (uint64_t)pages_new(STACK_PAGES) + STACK_PAGES * PAGE;
    start_function = fn;
    arrived = 0;
    apic_send_raw((uint64_t)id << 32 | ICR_INIT);
    apic_send_raw((uint64_t)id << 32 | ICR_SIPI | TRAMPOLINE >> 12);
    while (!arrived)
        if (rdtsc() - begin > 1000000 * ticks_per_us())
            return false;
    return true;
}
