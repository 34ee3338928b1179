/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EPT beyond the table itself (hv/pt.c, pt_format_ept): its pointer, what the CPU keeps of it, and
 * memory types.
 */
#ifndef ARCH_X86_VMX_EPT_H
#define ARCH_X86_VMX_EPT_H

#include <stdint.h>

#include "hv/pt.h"

struct vm;

/* For the VMCS (24.6.11). */
uint64_t ept_pointer(const struct pt *pt);

/* Forget translations, on the calling CPU: all; those of one table and of guests' own tables. */
void ept_flush_all(void);
void ept_flush(const struct pt *pt);

/* The MTRRs do not count for a guest's accesses, EPT says the type instead (28.2.7.2): RAM that
 * they do not call write-back becomes uncached in @vm's table, too. Before anything runs. */
enum hv_status ept_follow_mtrrs(struct vm *vm);

#endif
