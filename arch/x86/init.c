/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot CPU's first steps: from the loader's CPU state to one where a mistake is printed.
 */
#include "arch/x86/arch.h"
#include "arch/x86/cpu.h"
#include "arch/x86/paging.h"
#include "arch/x86/panic.h"
#include "arch/x86/time.h"
#include "arch/x86/trap.h"
#include "arch/x86/uart.h"
#include "hv/log.h"

static struct cpu boot_cpu = { .stacks = &boot_stacks, .online = true };

void arch_early_init(const struct bootinfo *boot)
{
    trap_init();
    cpu_init(&boot_cpu);
    cpu_register(&boot_cpu);
    panic_set_reboot(boot->reboot_when_done != 0);
    uart_init(boot->console_port);
    log_max = boot->log_level <= LOG_DEBUG ? (enum log_level)boot->log_level : LOG_INFO;
    time_early_init(boot->tsc_hz);
}
