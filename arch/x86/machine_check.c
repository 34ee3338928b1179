/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/machine_check.h"

#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "hv/log.h"

#define MCG_CAP     0x179u
#define MCG_STATUS  0x17au
#define MCG_CTL     0x17bu
#define BANK(n)     (0x400u + 4 * (n)) /* control, status, address, further information */
#define HAS_MCG_CTL (1u << 8)

/* Of a bank's status. */
#define VALID     (1ull << 63)
#define HAS_MORE  (1ull << 59)
#define HAS_PLACE (1ull << 58)

static unsigned banks(void)
{
    const uint32_t both = 1u << 7 | 1u << 14; /* MCE, MCA */

    return (cpuid(1, 0).edx & both) == both ? rdmsr(MCG_CAP) & 0xff : 0;
}

static void tell(enum log_level level, const char *when)
{
    for (unsigned i = 0, n = banks(); i < n; i++) {
        uint64_t status = rdmsr(BANK(i) + 1);
        if (status & VALID)
            log_line(level, "mce", "CPU %u%s, bank %u: status %016lx address %lx more %lx",
                     cpu_index(), when, i, (unsigned long)status,
                     status & HAS_PLACE ? (unsigned long)rdmsr(BANK(i) + 2) : 0ul,
                     status & HAS_MORE ? (unsigned long)rdmsr(BANK(i) + 3) : 0ul);
    }
}

void machine_check_enable(void)
{
    unsigned n = banks();

    tell(LOG_WARN, ", from before the start");
    if (n && (rdmsr(MCG_CAP) & HAS_MCG_CTL))
        wrmsr(MCG_CTL, ~0ull);
    for (unsigned i = 0; i < n; i++) {
        wrmsr(BANK(i), ~0ull);
        wrmsr(BANK(i) + 1, 0);
    }
}

void machine_check_report(void)
{
    if (banks())
        log_error("mce", "CPU %u: global status %lx", cpu_index(),
                  (unsigned long)rdmsr(MCG_STATUS));
    tell(LOG_ERROR, "");
}
