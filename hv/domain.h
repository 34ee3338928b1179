/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Second stages and domains. A second stage is the VM's RAM as one IOMMU unit can walk it: one per
 * (VM, unit), built for the first device there. A domain is a translation that can be attached on
 * one unit: a space (hv/bond.h) has one per unit on which it is used, made when a device meets a
 * unit that none of its domains fits.
 */
#ifndef HV_DOMAIN_H
#define HV_DOMAIN_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

struct vm;
struct device;
struct space;

struct second_stage {
    struct pt table; /* guarded by sva.fill_lock */
    struct iommu_stage2 hw;
    _Atomic uint64_t absent; /* bytes of RAM that are on demand; written with fill_lock */
};

struct ioas;
struct ioas_unit;
struct shadow;

struct domain {
    struct domain *next;               /* of the same space */
    const struct iommu_stage2 *stage2; /* the VM's on this unit, the IOAS's, or the shadow's */
    struct shadow *shadow;             /* NESTED on a unit that does not nest */
    struct ioas *ioas;                 /* PAGING */
    struct ioas_unit *ioas_unit;
    uint32_t users; /* bonds */
};

/* Build the second stage of the device's unit, if it is the VM's first there. The VM's RAM is
 * known. HV_ENOTSUP; HV_EQUOTA, HV_ENOMEM and others of stage2_create. Boot. */
enum hv_status domain_prepare(struct device *device);
/* Can the unit translate through first stages of that many levels, by nesting or by a shadow? */
bool domain_walks(const struct iommu_caps *caps, unsigned levels);
/** The domain of @space for @device's unit, made if there is none; one more user of it.
 *  @return HV_ENOTSUP the unit cannot (kind, levels); HV_EQUOTA, HV_ENOMEM. Nothing has changed
 * then. Lock: the VM's. */
enum hv_status domain_get(struct space *space, struct device *device, struct domain **out);
/* One user, @device, less; the last one frees it. No target of it may use it any more. @undo: it
 * never did. Lock: the VM's. */
void domain_put(struct space *space, struct device *device, struct domain *domain, bool undo);
/* What to ask of the driver. */
struct iommu_target domain_target(const struct space *space, const struct domain *domain);
/* Free the VM's second stages; nothing is attached any more. */
void domain_end(struct vm *vm);

#endif
