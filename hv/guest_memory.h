/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only ways from a guest address to memory. The guest may change its memory at any moment: it
 * is copied in once, and only the copy is judged. vm_ram() itself is declared in hv/vm.h.
 */
#ifndef HV_GUEST_MEMORY_H
#define HV_GUEST_MEMORY_H

#include "hv/types.h"

struct vm;

/** Copy in a size-first structure of the ABI.
 *  @min, @known: bytes of its first and of this version. @out: @known bytes; what the caller's
 *  version does not have is zero, and out's size field holds the size that was checked.
 *  @return HV_EALIGN not 8-byte aligned; HV_EFAULT not wholly in RAM; HV_E2SMALL; HV_E2BIG longer
 * than a page, or non-zero bytes past @known. */
enum hv_status guest_copy_struct(const struct vm *vm, gpaddr_t gpa, uint32_t min, uint32_t known,
                                 void *out);
/** The same checks for a structure whose bytes are already a copy: @avail bytes at @in. */
enum hv_status guest_check_struct(const void *in, uint32_t avail, uint32_t min, uint32_t known,
                                  void *out);
/** Fill a size-first structure of the guest's: its @size bytes at most, @known at most.
 *  @in: @known bytes; its size field is written as the number of bytes given.
 *  @return HV_EALIGN, HV_EFAULT, HV_E2SMALL (less than @min). */
enum hv_status guest_copy_out(const struct vm *vm, gpaddr_t gpa, uint64_t size, uint32_t min,
                              uint32_t known, void *in, uint64_t *written);

/* What the guest's own first stage says about an access. */
enum guest_walk {
    GUEST_WALK_ABSENT,  /* absent or without permission: the guest can serve it */
    GUEST_WALK_RAM,     /* present and lands in the VM's RAM */
    GUEST_WALK_OUTSIDE, /* a table or the page lies outside the VM's RAM: nobody can serve it */
};

/** Walk a first stage as the unit would (VT-d 9.7, SDM 3A 4.5). Each entry is read once; at most
 *  @levels reads. @root is in RAM (checked when it was attached). */
enum guest_walk guest_walk(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                           bool write, bool privileged);

/** The same, and what the unit meets on its way: the tables, from the root down, and the page.
 *  @out: gets their addresses, @n of them, all in RAM. */
#define GUEST_PATH_MAX 6u
enum guest_walk guest_walk_path(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                                bool write, bool privileged, gpaddr_t out[GUEST_PATH_MAX],
                                unsigned *n);

/* Where an access goes, and what may be kept of it. */
struct guest_leaf {
    gpaddr_t page; /* of 4 KiB */
    uint64_t size; /* of the guest's own leaf */
    bool write;    /* later writes need not be seen: it is writable, and dirty already */
};

/** The same for an access of a user, with what hardware would leave in the entries: accessed, and
 *  after a write dirty. A bit is set by compare and swap, so an entry that the guest changes
 *  meanwhile is left as it is, and the walk starts again, a few times at most: then ABSENT.
 *  @out: for RAM. */
enum guest_walk guest_walk_mark(const struct vm *vm, gpaddr_t root, unsigned levels, iova_t address,
                                bool write, struct guest_leaf *out);

#endif
