/* SPDX-License-Identifier: BSD-2-Clause */
/* 32-bit code: without paging, with PAE, with two levels. */
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

#define PRESENT 0x001u
#define LARGE   0x083u /* present, writable, 4 MiB */

extern uint64_t kernel_root[512], excursion_tables[4];
extern uint32_t excursion_two_levels[1024], excursion_seen[16], excursion_magic, excursion_intel;
extern uint32_t excursion_gp_gate[2];
extern char excursion_call[], excursion_refused[];
void excursion(void);

static void protected_mode(void)
{
    const uint64_t *pdpt = (const uint64_t *)(kernel_root[0] & ~0xfffull);
    uint32_t gp = (uint32_t)(uint64_t)excursion_refused;
    static const unsigned calls[] = { 0, 3, 10 };

    excursion_intel = intel_cpu();
    if (excursion_intel)
        excursion_call[2] = (char)0xc1; /* the last byte of VMCALL */
    for (unsigned i = 0; i < 4; i++)    /* nothing but Present may be set in these */
        excursion_tables[i] = (pdpt[i] & ~0xfffull) | PRESENT;
    for (uint32_t i = 0; i < 1024; i++)
        excursion_two_levels[i] = i << 22 | LARGE;
    excursion_two_levels[256] = LARGE; /* 1 GiB: the first again */
    excursion_gp_gate[0] = 24u << 16 | (gp & 0xffff);
    excursion_gp_gate[1] = (gp & 0xffff0000) | 0x8e00;
    excursion();
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQUAL(excursion_seen[calls[i]], HV_OK);
        CHECK_EQUAL(excursion_seen[calls[i] + 1], SLUICE_ABI_VERSION);
        CHECK_EQUAL(excursion_seen[calls[i] + 2], SLUICE_CPUID_EBX);
    }
    CHECK_EQUAL(excursion_seen[6], excursion_magic);
    CHECK_EQUAL(excursion_seen[7], excursion_magic);
    CHECK_EQUAL(excursion_seen[8], excursion_magic);
    CHECK_EQUAL(excursion_seen[9],
                excursion_intel); /* AMD looks at the pointers when it uses them */
    CHECK_EQUAL(excursion_seen[13], excursion_magic);
    CHECK_EQUAL(rdmsr(0xc0000080) & 0x500, 0x500); /* back in long mode */
}

const struct check mode_checks[] = {
    { "protected_mode", protected_mode },
    { NULL, NULL },
};
