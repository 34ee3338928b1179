/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors that the hardware finds in itself (SDM 3B chapter 16). One that raises #MC stops the
 * machine: whose data was lost cannot be known, and the last thing to do is to say what is.
 */
#ifndef ARCH_X86_MACHINE_CHECK_H
#define ARCH_X86_MACHINE_CHECK_H

/* Each CPU: have every bank report. What the banks hold from before is told, and cleared. */
void machine_check_enable(void);
/* Into the log, for a panic: what the calling CPU's banks hold. */
void machine_check_report(void);

#endif
