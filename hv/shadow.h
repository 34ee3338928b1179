/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow translation, for units that do not nest: the guest's first stage composed with where the
 * VM's RAM is, in one table of Sluice's per (space, unit), in the format of the unit. It holds what
 * was asked for (page requests, the guest's notices) until the guest invalidates it; it may be
 * dropped as a whole at any time, as it can be filled again. Each leaf was true when it was made: a
 * guest that changes its tables and does not say so keeps a stale translation of its own RAM.
 *
 * One lock per VM (struct sva.fill_lock, RANK_FILL) guards its shadow tables and their list. A
 * guest's entry is read, and the leaf made of it, with the lock held; a drop takes it, too: so what
 * was read before an invalidation does not appear after it. Only the lower half of first-stage
 * addresses is shadowed: units walk no upper half in second-stage format.
 */
#ifndef HV_SHADOW_H
#define HV_SHADOW_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

#define SHADOWS_MAX 1024u /* of one VM: leaves domain ids to the others */

struct device;
struct space;
struct vm;

struct shadow {
    struct shadow *next; /* of the VM */
    const struct space *space;
    const struct iommu_caps *caps;
    struct pt table;
    struct iommu_stage2 hw;
    uint64_t end; /* addresses below it are shadowed */
    bool empty;
};

/* Where the addresses end that the unit can translate for a first stage of @levels levels by a
 * shadow table; 0: it cannot, or needs none. */
uint64_t shadow_end(const struct iommu_caps *caps, unsigned levels);

/* An empty one for @space on the unit of @device. HV_ENOTSUP; HV_EQUOTA, HV_ENOMEM. Lock: the VM's.
 */
enum hv_status shadow_make(const struct space *space, const struct device *device,
                           struct shadow **out);
/* Nothing translates through it any more. Lock: the VM's. */
void shadow_free(struct shadow *shadow);

/** Make the page of @address usable for a read or a @write, if the guest's first stage says so.
 * Sets its accessed and dirty bits; a page that is not dirty is not writable until it is asked for.
 *  Lock: fill_lock.
 *  @return HV_OK: it can be used; HV_ENOENT: the guest's first stage does not allow it; HV_EFAULT:
 *          that leads outside the VM's RAM; HV_ERANGE: no address that the unit can translate;
 *          HV_EQUOTA, HV_ENOMEM: not even after shadows of the VM were dropped. */
enum hv_status shadow_fill(struct shadow *shadow, iova_t address, bool write);
/* Fill what the guest's first stage has in [address, address + bytes): for reads, and what is dirty
 * for writes, too. HV_OK, also if there is nothing; HV_EQUOTA, HV_ENOMEM: a part, and nothing was
 * dropped for it. Lock: the VM's. */
enum hv_status shadow_notice(struct shadow *shadow, iova_t address, uint64_t bytes);

/* Forget [address, address + bytes); pages[0..n); everything. Large leaves go as a whole. On HV_OK
 * nothing of it is left in the table or in a cache. HV_ETIMEDOUT, HV_EIO: it is out of the table,
 * but the unit does not confirm. Lock: the VM's. */
enum hv_status shadow_drop(struct shadow *shadow, iova_t address, uint64_t bytes);
enum hv_status shadow_drop_pages(struct shadow *shadow, const iova_t *page, unsigned n);
enum hv_status shadow_drop_all(struct shadow *shadow);
/* All of a VM's, on @unit (NULL: on any), which gives their pages back to its quota. @dropped:
 * whether there was one. Lock: not fill_lock. */
enum hv_status shadow_drop_vm(struct vm *vm, const struct iommu_unit *unit, bool *dropped);

#endif
