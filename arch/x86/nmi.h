/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NMIs that nobody here asked for: a button, a bus that reports an error, a management controller.
 * They are counted where they come, in whatever code that is, and told where a lock may be taken.
 * The machine goes on: what is broken for good says so by a machine check.
 */
#ifndef ARCH_X86_NMI_H
#define ARCH_X86_NMI_H

/* Tell of them from here on. Boot CPU, with interrupts set up. */
void nmi_init(void);
/* One came to the calling CPU. From the trap handler. */
void nmi_seen(void);

#endif
