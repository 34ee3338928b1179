/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI tables of a VM: its CPUs (MADT), no legacy hardware (FADT, hardware-reduced), its PCI
 * bus (DSDT).
 */
#ifndef HV_VACPI_H
#define HV_VACPI_H

#include "hv/types.h"

struct vm;

/* One page, in the part of RAM that the memory map reserves. The RSDP is its first bytes. */
#define VACPI_TABLES 0xe0000ull

/* Write the tables into the VM's RAM, which reaches beyond them. vm->nvcpus is known. Boot. */
void vacpi_build(const struct vm *vm);

#endif
