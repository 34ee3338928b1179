/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sluice.cfg: text in, checked description out. Knows neither firmware nor files, so that the same
 * source is tested on the host. docs/configuration.md describes the format.
 */
#ifndef BOOT_CONFIG_H
#define BOOT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/bootinfo.h"

#define CONFIG_PATH 128u

struct config_path {
    char text[CONFIG_PATH]; /* "" if not given */
    uint32_t line;
};

struct config_vm {
    char name[BOOT_NAME];
    uint32_t line;                /* of the section */
    uint32_t seen;                /* keys given, a bit each */
    uint64_t memory, memory_base; /* bytes; base only if placed */
    bool placed;
    uint32_t memory_line, cpus_line;
    uint32_t cpus, cpu[BOOT_VM_CPUS];
    struct config_path kernel, ramdisk;
    char cmdline[BOOT_CMDLINE];
    uint32_t table_quota;
    uint32_t npci;
    struct boot_pci pci[BOOT_VM_PCI];
};

struct config {
    uint32_t line, seen; /* of [hypervisor] */
    struct config_path image;
    uint64_t memory;
    uint32_t memory_line;
    uint32_t log_level, iommu, deadline_ms, reboot_when_done;
    uint32_t console_port;
    uint32_t nvms;
    struct config_vm vm[BOOT_VMS_MAX];
};

/* What is wrong, and where; line 0: the file as a whole. */
struct config_error {
    uint32_t line;
    char text[160];
};

/* Read @text (@length bytes, need not end in NUL) into @out, which the caller zeroed. False: @error
 * says why, @out is to be thrown away. Checks all that can be known without the machine: keys,
 * numbers, overlaps, a CPU or function named twice. */
bool config_parse(const char *text, size_t length, struct config *out, struct config_error *error);

/* "file:line: text" of checks made later goes the same way: fill @error and return false. */
bool config_fail(struct config_error *error, uint32_t line, const char *text, const char *name);

#endif
