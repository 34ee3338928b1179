/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI tables of the firmware. Every pointer and length in them is checked against the memory map,
 * and every table's checksum, before anything in it is believed.
 */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include "hv/bootinfo.h"
#include "hv/platform.h"
#include "hv/types.h"

#define ACPI_IOAPICS_MAX 16u

/* Find and check the root table. HV_ENODEV: none; HV_EINVAL: broken (the log says how). */
enum hv_status acpi_init(const struct bootinfo *boot);

/* The first table with this signature that is sound, with its header; NULL: none. */
const void *acpi_find(const char *signature, size_t *length);

/* CPUs that are enabled and IO APICs, from the MADT. */
struct acpi_madt {
    uint32_t apic_id[CPUS_MAX];
    unsigned ncpus;
    uint64_t ioapic[ACPI_IOAPICS_MAX];
    unsigned nioapics;
};
/* HV_ENODEV: no MADT; HV_EINVAL: an entry leaves the table; HV_ERANGE: more CPUs or IO APICs. */
enum hv_status acpi_madt(struct acpi_madt *out);

/* Configuration space of segment 0, from the MCFG: bus 0 would be at base. HV_ENODEV: none. */
struct acpi_ecam {
    paddr_t base;
    uint8_t first, last;
};
enum hv_status acpi_ecam(struct acpi_ecam *out);

/* IO port of the PM timer, from the FADT; 0: none. */
uint16_t acpi_pm_timer_port(void);

#endif
