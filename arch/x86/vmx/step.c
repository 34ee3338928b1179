/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Over the instruction that exited, and what #DB needs that is not delivered by hardware alone.
 */
#include "arch/x86/guest_state.h"
#include "arch/x86/vmx/vmx.h"

#define DR6_INVERTED 0x00010800ull /* RTM and bus lock: 0 is hit */
#define DR6_STEP     0x00004000ull
#define DR7_GD       0x2000u
#define RIGHTS_L     0x2000u

void vmx_debug_hit(uint64_t hit)
{
    uint64_t dr6 = (read_dr6() & ~0xfull) | DR6_INVERTED | hit;

    write_dr6(dr6 ^ (hit & DR6_INVERTED));
    vmcs_clear(VMCS_GUEST_DR7, DR7_GD);
}

static bool long_code(void)
{
    return (vmcs_read(VMCS_ENTRY_CONTROLS) & ENTRY_LONG_MODE) &&
           (vmcs_read(VMCS_GUEST_CS_RIGHTS) & RIGHTS_L);
}

bool vmx_skip(struct vcpu *v)
{
    uint64_t length = vmcs_read(VMCS_EXIT_LENGTH), rflags = vmcs_read(VMCS_GUEST_RFLAGS);
    uint64_t blocked = vmcs_read(VMCS_GUEST_INTERRUPTIBILITY);
    /* A wrap is rare, and where it matters (27.3.1.4), it is out of 32 bits. */
    bool crosses = (v->rip ^ (v->rip + length)) >> 32;

    v->rip = rip_behind(v->rip, length, !crosses || long_code());
    if (blocked & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS))
        vmcs_write(VMCS_GUEST_INTERRUPTIBILITY,
                   blocked & ~(uint64_t)(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS));
    if (rflags & RFLAGS_RF)
        vmcs_write(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
    if (rflags & RFLAGS_TF)
        vmx_debug_hit(DR6_STEP);
    return rflags & RFLAGS_TF;
}
