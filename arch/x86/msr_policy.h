/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest's RDMSR and WRMSR do, where the hardware does not pass them: one row a range.
 */
#ifndef ARCH_X86_MSR_POLICY_H
#define ARCH_X86_MSR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* @return false: inject #GP(0). */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);

#endif
