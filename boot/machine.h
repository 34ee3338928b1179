/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loader asks of the machine itself, to check a configuration before anything is started.
 */
#ifndef BOOT_MACHINE_H
#define BOOT_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* The ACPI root pointer that firmware published; 0: none. */
uint64_t machine_rsdp(void);
/* Enabled CPUs in the MADT (ACPI 6.5, 5.2.12); without one: 0. */
uint32_t machine_cpus(uint64_t rsdp);
/* Does a PCI function of segment 0 answer? */
bool machine_has_pci(uint16_t rid);
/* CPUID: 64-bit mode with 1 GiB pages, no-execute. */
bool machine_has_1g(void);
bool machine_has_nx(void);

#endif
