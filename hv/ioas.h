/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IOAS: an IO address space that the guest fills by explicit map and unmap, to attach to any RID or
 * (RID, PASID) of its devices (HC_DOMAIN_PAGING). hv/iova.h keeps its addresses, hv/ioas_table.h
 * its tables; this is the object: its life, where its addresses may lie, and the calls.
 */
#ifndef HV_IOAS_H
#define HV_IOAS_H

#include "hv/bootinfo.h"
#include "hv/ioas_table.h"
#include "hv/iova.h"
#include "sluice/hypercall.h"

#define IOAS_MAX 1024u /* of one VM: leaves domain ids to the others */

struct device;
struct vm;

struct ioas {
    struct vm *vm;
    uint32_t handle;
    uint32_t now;                   /* devices attached, by bit */
    uint32_t listed;                /* those that iova.allowed speaks of */
    uint32_t attached[BOOT_VM_PCI]; /* of them, by device */
    struct iova_range aperture;
    uint32_t nrequired; /* 0: no list was given */
    uint32_t nnext;
    uint64_t demand; /* bytes mapped on demand; as long as there are any, page requests look at
                        `iova`, and changes of it take sva.fill_lock, too */
    struct ioas_table *tables;
    struct ioas_unit *units;
    struct iova_range required[HC_IOAS_REQUIRED_MAX];
    struct iova_range
        next[IOVA_ALLOWED_MAX]; /* what `allowed` is to become; while a call looks at it */
    struct iova iova;
};

/* NULL: no such one in this VM. Lock: the VM's. */
struct ioas *ioas_find(const struct vm *vm, uint64_t handle);
/* Bring iova.allowed up to date: before it is asked. */
SELDOM void ioas_relist(struct ioas *ioas);
static inline void ioas_refresh(struct ioas *ioas)
{
    if (ioas->listed != ioas->now)
        ioas_relist(ioas);
}
/* The end of the addresses it wants to have: of the list, else of the aperture. */
uint64_t ioas_end_wanted(const struct ioas *ioas);

/** One more (device, PASID) translates through @ioas.
 *  @return HV_ENOTSUP the unit, or the device what is on demand, cannot; HV_EORDER category MAP is
 *          not on, and something is on demand; HV_EREQUIRED, HV_EBUSY it would take away addresses
 * that are required, or in use; HV_EAGAIN a table is being built: call again; HV_EQUOTA, HV_ENOMEM.
 *          Nothing has changed then. Lock: the VM's. */
enum hv_status ioas_attach(struct ioas *ioas, const struct device *device, struct ioas_unit **out);
/* One less. @undo: the attach did not come about, leave nothing of it. */
void ioas_detach(struct ioas *ioas, const struct device *device, struct ioas_unit *unit, bool undo);
/* Give up a table that is kept for nobody on @unit. False: @vm has none. Lock: the VM's. */
bool ioas_give_up(struct vm *vm, const struct iommu_unit *unit);
/* The VM ends; nothing is attached. */
void ioas_end(struct vm *vm);

#endif
