/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The last steps: the hypervisor's image into place, tables for its first instructions, the jump.
 */
#ifndef BOOT_HANDOFF_H
#define BOOT_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "hv/bootinfo.h"

struct handoff {
    uint64_t entry; /* virtual */
    uint64_t cr3, stack;
    struct bootinfo *info;
};

/* Lay the ELF segments out in fresh memory; fills info->image and the entry. NULL: done; otherwise
 * what is wrong with the file. */
const char *handoff_load_image(struct boot_file file, struct handoff *out);
/* Tables and stack as hv/bootinfo.h promises, in info->loader, which the caller reserved. */
void handoff_build_tables(struct handoff *h, uint64_t memory, uint64_t size);
/* Bytes of loader memory needed for tables, stack and struct bootinfo. */
uint64_t handoff_memory(void);

[[noreturn]] void handoff_jump(const struct handoff *h);

#endif
