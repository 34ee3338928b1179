/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The address space of a process: 4-level tables whose first entry is the kernel's (supervisor
 * only), all else user pages. The CPU (space_enter) and devices (bound by root) use the same
 * tables.
 */
#ifndef GUEST_LIB_SPACE_H
#define GUEST_LIB_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define SPACE_USER_BASE 0x8000000000ull /* first user address: 512 GiB */

struct space {
    uint64_t *root;
};

struct space space_new(void);
/* The same without the kernel, for devices alone: all addresses are its own. */
struct space space_of_devices(void);
/* Map or replace one page. The caller invalidates what the device or the CPU may have cached. */
void space_map(struct space *s, uint64_t va, uint64_t gpa, bool writable);
/* Set its accessed and dirty bits, as if it had been read and written: for devices that cannot ask.
 */
void space_mark(struct space *s, uint64_t va);
/* Make a page absent; its old frame is returned, 0 if there was none. */
uint64_t space_unmap(struct space *s, uint64_t va);
/* The frame behind a page, 0 if absent. */
uint64_t space_lookup(const struct space *s, uint64_t va);
/* Let the CPU run on this space, so that it sees what the process and its devices see. */
void space_enter(const struct space *s);
/* Back to the kernel's own. */
void space_leave(void);

#endif
