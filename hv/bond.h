/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Spaces and bonds: what a PASID of the VM means, and which devices use it. Both ways to attach go
 * through here: SVA bind (hv/sva.c) and plain attach (hv/attach.c).
 *
 * Within a VM a PASID means one address space, whatever device carries it (VT-d 6.2.3.1:
 * first-stage caches are tagged with domain and PASID, not with the requester id). The RID of a
 * device is a space of its own without a PASID; its caches are tagged apart by the driver. Nothing
 * is ever attached without a bond, so a (device, PASID) that has none is BLOCKED.
 */
#ifndef HV_BOND_H
#define HV_BOND_H

#include "hv/domain.h"
#include "hv/idmap.h"
#include "hv/invalidate.h"
#include "hv/lock.h"
#include "hv/slab.h"
#include "hv/types.h"
#include "sluice/hypercall.h"

struct device;
struct shadow;
struct vm;

struct space {
    gpaddr_t root;      /* NESTED; PAGING: handle of the IOAS */
    struct bond *bonds; /* each device at most once */
    struct domain *domains;
    struct space *next; /* SVA spaces whose roots share a slot of sva.roots */
    struct vm *vm;
    uint32_t pasid; /* PASID_RID: a RID's own */
    uint8_t kind;   /* hc_domain, but BLOCKED */
    uint8_t levels;
    bool sva; /* the one SVA space of its root, in sva.roots */
};
static_assert(sizeof(struct space) <= SLAB_OBJECT);

struct bond {
    struct bond *next; /* of the same space */
    struct space *space;
    struct device *device;
    struct domain *domain;
    uint32_t refs;   /* SVA binds; 0: plain attach */
    uint32_t handle; /* if refs */
    uint32_t groups; /* open page-request groups; guarded by the event lock */
    bool attached;   /* false: BLOCKED by a plain attach over a bind */
    bool faults;     /* page requests go to the guest */
    bool iopf;       /* counted in device->iopf_bonds */
};
static_assert(sizeof(struct bond) <= SLAB_OBJECT);

/* Per VM. Guarded by the VM's lock; `pasids`, bond lists and device->rid_bond are written with the
 * event lock held as well, so that either lock is enough to read them. */
struct sva {
    struct idmap pasids;  /* to struct space */
    struct idmap handles; /* low 20 bits of a bond handle to struct bond */
    struct idmap ioases;  /* low 20 bits of a handle to struct ioas */
    struct idmap roots;   /* low 20 bits of a root's page number to a list of SVA spaces */
    struct slab objects;  /* spaces, bonds, domains */
    struct second_stage *second[IOMMU_UNITS_MAX];
    uint32_t stage2s[IOMMU_UNITS_MAX]; /* by unit: hv/stage2.h */
    uint32_t serial;                   /* makes handles differ over time */
    uint64_t filled;                   /* leaves put in on demand; guarded by fill_lock */
    struct lock fill_lock;             /* RANK_FILL: the tables that page requests fill */
    struct shadow *shadows;
    uint32_t nshadows;
    struct invalidate_run run;
};

/* Bond of (device, PASID), NULL: none. @pasid: HC_PASID_NONE is the RID. Lock: the VM's or events.
 */
struct bond *bond_find(const struct device *device, uint32_t pasid);

/* What a space is to be: the fields that make two the same. */
struct space_spec {
    enum hc_domain kind;
    gpaddr_t root;
    uint8_t levels;
};
bool space_is(const struct space *space, const struct space_spec *spec);
/* The VM's SVA space of a root, NULL: none. Lock: the VM's. */
struct space *space_of_root(const struct vm *vm, gpaddr_t root);
/* Make @space the SVA space of its root, if it is not yet. HV_EQUOTA, HV_ENOMEM. Lock: the VM's. */
enum hv_status space_publish(struct space *space);

/** Make (device, pasid) translate through @space, in place of @old (NULL: it was BLOCKED).
 *  @space: one that the VM knows by @pasid, or NULL: a new one after @spec. @pasid: HC_PASID_NONE,
 *  HC_PASID_ANY (with @space NULL: the lowest free one that the device can carry), or a number in
 * the device's range whose space, if any, has no other bond than @old. @faults: of the bond. Lock:
 * the VM's. @return HV_OK; on any error nothing has changed, but that after HV_ETIMEDOUT and HV_EIO
 * the device is BLOCKED as a whole. HV_ERANGE: no PASID is free. */
enum hv_status bond_make(struct device *device, uint32_t pasid, struct space *space,
                         const struct space_spec *spec, bool faults, struct bond *old,
                         struct bond **out);
/* Attach again after bond_block. As iommu->attach. */
enum hv_status bond_restore(struct bond *bond);
/* BLOCKED, drained, invalidated; open groups answered INVALID; the bond stays. Cannot fail. */
void bond_block(struct bond *bond);
/* bond_block, then free it and, with the last bond, its space and PASID. Cannot fail. */
void bond_free(struct bond *bond);

#endif
