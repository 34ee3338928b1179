/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/vmx/failure.h"

#include "arch/x86/asm.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/vm.h"

#define REFUSED 0x80000000u

static const struct {
    uint32_t code;
    const char *what;
} words[] = {
    { VMX_FAIL_INVALID, "there is no current VMCS" },
    { 4, "VMLAUNCH of a VMCS that is not clear" },
    { 5, "VMRESUME of a VMCS that was not launched" },
    { 7, "invalid control fields" },
    { 8, "invalid host state" },
    { 12, "a VMCS field that this CPU does not have" },
    { 26, "events are blocked by MOV SS in the host" },
    { REFUSED | 33, "invalid guest state" },
    { REFUSED | 34, "loading of MSRs" },
    { REFUSED | 41, "machine check" },
};

const char *vmx_failure_what(uint64_t code)
{
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (words[i].code == code)
            return words[i].what;
    }
    return "a reason that Sluice does not name";
}

void vmx_failure_log(struct vcpu *v, uint64_t code)
{
    const char *culprit = NULL;

    if (code == 7)
        culprit = vmx_failure_control(&vmx_caps, vmcs_read);
    else if (code == (REFUSED | 33))
        culprit = vmx_failure_guest(&vmx_caps, vmcs_read);
    log_error(v->vm->name, "vCPU %u: entry refused: %s%s%s", v->index, vmx_failure_what(code),
              culprit ? ": " : "", culprit ? culprit : "");
    if (code != VMX_FAIL_INVALID)
        log_error(
            v->vm->name, "vCPU %u: cr0 %lx cr3 %lx cr4 %lx efer %lx rflags %lx", v->index,
            (unsigned long)vmcs_read(VMCS_GUEST_CR0), (unsigned long)vmcs_read(VMCS_GUEST_CR3),
            (unsigned long)vmcs_read(VMCS_GUEST_CR4), (unsigned long)vmcs_read(VMCS_GUEST_EFER),
            (unsigned long)vmcs_read(VMCS_GUEST_RFLAGS));
}
