/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host side of a CPU, as hv_main() uses it. start.S enters hv_main() on the boot CPU, on a
 * stack of ours, still on the loader's tables. Then hv_main() calls, in this order and once each:
 *
 *   arch_early_init     descriptors, traps, serial log; the log and panic() work from here on
 *   pages_add           the pool of the hand-over
 *   arch_paging_init    our own tables; the loader's memory is no longer in use, but its bootinfo
 *                       can still be read
 *   (read ACPI)
 *   pci_config_ecam     if there is an MCFG
 *   arch_irq_init       local and IO APICs; irq_alloc() works from here on
 *   arch_time_init      clock and timers; time_now() worked before, with a guessed rate
 *   arch_start_cpus     every CPU; cpu_count() is right from here on
 *   vcpu_cpu_loop       never returns
 *
 * Interrupts stay off, except in irq_window() and cpu_idle() (arch/x86/irq.h).
 */
#ifndef ARCH_X86_ARCH_H
#define ARCH_X86_ARCH_H

#include "hv/bootinfo.h"
#include "hv/types.h"

/* hv/main.c; @boot lies in the direct map. */
[[noreturn]] void hv_main(const struct bootinfo *boot);

void arch_early_init(const struct bootinfo *boot);

/* Panics if the pool is too small: nothing could run. */
void arch_paging_init(const struct bootinfo *boot);

/* @ioapic: physical bases from the MADT. Every input of them is masked. */
void arch_irq_init(const uint64_t *ioapic, unsigned nioapics);

/* @pm_timer_port: from the FADT, 0: none. Only looked at when nothing better gives the TSC's rate.
 */
void arch_time_init(uint16_t pm_timer_port);

/* Start the CPUs with these APIC ids (those enabled in the MADT; the boot CPU's own is skipped
 * where it stands) and enable vcpu_ops on every CPU, the boot CPU too; vcpu_ops must have been
 * chosen. The others end up in vcpu_cpu_loop(). @return HV_OK; HV_ETIMEDOUT: a CPU did not come;
 * HV_ENOTSUP: its vCPU backend did not start; HV_ENOMEM; HV_ERANGE: more than CPUS_MAX. The log
 * names the CPU. Boot must stop then: a late CPU may still run through the trampoline. */
enum hv_status arch_start_cpus(const struct bootinfo *boot, const uint32_t *apic_id, unsigned n);

/* Configuration space of buses [@first, @last] is at @base (of bus 0) as memory. Without it,
 * offsets above 255 read as all ones. */
enum hv_status pci_config_ecam(paddr_t base, uint8_t first, uint8_t last);

/* Stop every CPU, then reset the machine or halt. */
[[noreturn]] void machine_stop(bool reboot);

#endif
