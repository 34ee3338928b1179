/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why an entry was refused, in words: the instruction error, and the first control or guest-state
 * check (SDM 3C 27.2, 27.3) that the VMCS fails.
 */
#ifndef ARCH_X86_VMX_FAILURE_H
#define ARCH_X86_VMX_FAILURE_H

#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/vmcs.h"

struct vcpu;

#define VMX_FAIL_INVALID                                                                           \
    0u /* no current VMCS; else an instruction error, or an exit reason with bit 31 */

/* For the test: @read stands for VMREAD. NULL: no check that is known here fails. */
typedef uint64_t vmx_field_source(enum vmcs_field field);
const char *vmx_failure_what(uint64_t code);
const char *vmx_failure_control(const struct vmx_caps *caps, vmx_field_source *read);
const char *vmx_failure_guest(const struct vmx_caps *caps, vmx_field_source *read);

void vmx_failure_log(struct vcpu *v, uint64_t code);

#endif
