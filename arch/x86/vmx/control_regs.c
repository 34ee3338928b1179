/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bits of CR0 and CR4 that are not the guest's alone: those VMX fixes, those that would reach
 * beyond the guest, and features that it is not offered. It reads them from a shadow; a write that
 * changes one exits (SDM 3C 26.3). A good write changes the shadow and is then executed again: now
 * it changes nothing of ours, does not exit, and hardware makes all other checks and reloads what
 * depends on it.
 */
#include "arch/x86/asm.h"
#include "arch/x86/vmx/vmx.h"

/* VME PVI TSD DE PSE PAE PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 FSGSBASE PCIDE OSXSAVE SMEP SMAP: the
 * guest's own where the CPU has them. In effect MCE is 1: a machine check must not shut the CPU
 * down. */
#define CR4_FREE 0x00371fbfull

uint64_t vmx_cr4_owned(void)
{
    return ~(CR4_FREE & vmx_caps.cr4_fixed1);
}

/* SDM 3A 2.5: NW without CD is refused. */
static bool cr0_good(uint64_t value)
{
    return !(value & CR0_NW) || (value & CR0_CD);
}

static bool cr4_good(uint64_t value)
{
    return !(value & vmx_cr4_owned() & ~CR4_MCE);
}

static const struct control_reg {
    enum vmcs_field mask, shadow;
    bool (*good)(uint64_t value);
} control_regs[] = {
    [0] = { VMCS_CR0_MASK, VMCS_CR0_SHADOW, cr0_good },
    [4] = { VMCS_CR4_MASK, VMCS_CR4_SHADOW, cr4_good },
};

/* Table 28-3. Of MOV to CR0 and CR4; nothing else exits with the controls we set. */
enum vcpu_exit_kind vmx_cr_access(struct vcpu *v, uint64_t qualification)
{
    unsigned number = qualification & 15, kind = qualification >> 4 & 3;
    uint64_t value = v->reg[qualification >> 8 & 15];

    if ((number != 0 && number != 4) || kind != 0)
        return EXIT_UNDEFINED;
    if (!(vmcs_read(VMCS_ENTRY_CONTROLS) & ENTRY_LONG_MODE))
        value = (uint32_t)value;

    const struct control_reg *r = &control_regs[number];
    if (!r->good(value))
        return EXIT_DENIED;
    vmcs_write(r->shadow, value);
    return EXIT_NONE;
}
