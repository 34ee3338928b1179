/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices: PCI functions with their requester id, each owned by one VM for the VM's whole life. A
 * handle is the index in vm->device[].
 *
 * Life of what a VM holds of devices (vm.c calls, nobody else):
 *   vm_create, RAM known: rings_create, sva_create, then device_add for each function;
 *   end of the VM, no vCPU runs any more: device_end, which undoes all of it in the order
 * interrupts, delivery of events, bonds, domains, spaces, PASIDs, devices with their groups, rings.
 * It may be called after any part of the above.
 */
#ifndef HV_DEVICE_H
#define HV_DEVICE_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"
#include "hv/vm.h"

struct bond;
struct interrupt;
struct iopf;

struct device {
    struct iommu_device io;        /* rid, unit, what the function can */
    const struct iommu_caps *caps; /* of its unit */
    struct vm *vm;
    struct device *first; /* of those that share a requester id, itself if alone: it has the bond */
    struct device *next_live; /* hv/device.c: of the same slot */
    _Atomic uint32_t holders; /* of device_hold() */
    _Atomic bool gone;        /* not there any more: failed for good */
    _Atomic bool resetting;   /* hv/reset.c; changed with the VM's lock */
    uint32_t handle;
    rid_t vrid;    /* where the VM sees it */
    uint16_t line; /* of the configuration, for messages */
    /* Guarded by the VM's lock and the event lock: written with both, read with either. */
    struct bond *rid_bond; /* what requests without PASID translate through; NULL: BLOCKED */
    uint32_t iopf;         /* hc_iopf_category, 0: off */
    struct iopf *groups;   /* while on */
    uint64_t generation;   /* of groups while off: what cookies were given out up to */
    /* Guarded by the VM's lock. */
    uint32_t bonds;               /* SVA bonds */
    uint32_t all_bonds;           /* all there are */
    uint32_t ending;              /* where sva_end_device() goes on: a PASID */
    uint32_t iopf_bonds;          /* those that rely on page requests */
    uint32_t ram_domains;         /* bonds, SVA or not, over the VM's RAM: IDENTITY and NESTED */
    struct interrupt *interrupts; /* hv/interrupt.c: one page, once there was one */
};

extern const struct iommu_ops *iommu;           /* chosen at boot; iommu_none until then */
extern const struct iommu_events device_events; /* for iommu->probe */

/* Take a function into @vm as its next device, BLOCKED; in the order of the configuration, so
 * that handles follow the slots of hv/vpci.h.
 * HV_ENOTSUP: behind no unit; HV_EEXIST: taken; HV_ERANGE: one too many; HV_ENOMEM, HV_EQUOTA; of
 * direct_take. On error nothing is held. Boot, before the VM runs. */
enum hv_status device_add(struct vm *vm, const struct boot_pci *pci);
/* Release everything the VM holds of devices, rings and address spaces. Cannot fail. */
void device_end(struct vm *vm);

/* For upcalls of the driver, which may come late: is there still a device with this requester id?
 * On success the device and its VM stay until device_release(), which must not take longer than
 * hardware does: their end waits for it. Lock: none, or the VM's. */
struct device *device_hold(rid_t rid);
void device_release(struct device *d);

/* NULL: not a device of this VM. */
static inline struct device *device_get(const struct vm *vm, uint64_t handle)
{
    return handle < vm->ndevices ? vm->device[handle] : NULL;
}

/* Can it be reset alone? */
bool device_resets(const struct device *d);
/* Does the function still answer? If not it fails at once, and its VM is told. Lock: none, or the
 * VM's. */
bool device_present(struct device *d);
/* It is gone, whatever answers in its place. Lock: none, or the VM's. */
void device_lost(struct device *d);
/* Look at one after the other, one each DEVICE_TICKS calls. Boot CPU; no lock held. */
#define DEVICE_TICKS 20u
void device_tick(void);

/* Most page requests the device can be promised: its own limit and its share of the unit's queue.
 */
uint32_t device_page_requests(const struct device *d);

#endif
