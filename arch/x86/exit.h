/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens after an exit, the same for every backend.
 */
#ifndef ARCH_X86_EXIT_H
#define ARCH_X86_EXIT_H

#include "arch/x86/vcpu.h"

typedef void exit_handler(struct vcpu *v, const struct vcpu_exit *e);

/* By vcpu_exit_kind; none is NULL. */
extern exit_handler *const exit_handlers[EXIT_KINDS];

/* Into the log, for debugging: how many exits there were of each kind. */
void exit_report(const struct vcpu *v);

#endif
