/* SPDX-License-Identifier: BSD-2-Clause */
/* A function behind a unit: its PCI capabilities, PASID tables, and what it translates through. */
#ifndef DRIVERS_IOMMU_VTD_DEVICE_H
#define DRIVERS_IOMMU_VTD_DEVICE_H

#include "drivers/iommu/iommu.h"
#include "drivers/iommu/vtd/pcicaps.h"

#define VTD_USES_MAX    230u
#define VTD_ALIASES_MAX 33u /* as many functions as a VM can have, and the bridge's */

struct vtd_desc;

/* PASIDs (not the RID) that use one second stage. */
struct vtd_use {
    uint32_t id; /* domain id */
    uint32_t second_stage, nested;
    uint32_t pasids; /* all of them, xor'd: of a single user, its own */
};

/* One page, charged to the device's quota. Changes are serialised by the caller per device. */
struct vtd_device {
    struct iommu_device *dev;
    struct iommu_unit *unit;
    struct vtd_device *next, *next_failed;
    struct pcicaps pci;
    rid_t rid;
    rid_t physical; /* the function that a virtual one is of, else itself */
    bool rid_no_nesting, rid_no_walk_snoop, rid_no_page_snoop; /* of requests without PASID */
    uint8_t naliases;
    rid_t alias[VTD_ALIASES_MAX]; /* other ids that its requests may carry: same context entries */
    bool ats;                     /* on: the device TLB has to be told */
    _Atomic bool failed;          /* cut off: context entry not present for good */
    _Atomic bool pri;             /* page requests on */
    enum hv_status why;           /* of failed */
    enum hv_status stopped;       /* what vtd_device_stop answered */
    uint16_t outstanding;         /* page requests promised */
    uint64_t key, pasid_key;      /* vtd_inval_device_key */
    uint64_t *context;            /* its context entry, four qwords */
    uint64_t *dir;                /* PASID directory */
    uint32_t dir_entries;
    uint8_t dir_order, dir_pdts;
    uint32_t rid_did;    /* for nesting on the RID; 0: none yet */
    uint32_t rid_stage2; /* id of the second stage under the RID; 0: none */
    bool rid_nested;
    uint32_t nuses;
    struct vtd_use use[VTD_USES_MAX];
};

/* @no_ats: why ATS must stay off; NULL: it need not. */
enum hv_status vtd_device_add(struct iommu_device *dev, const char *no_ats);
void vtd_device_remove(struct iommu_device *dev);
/* What its requests without PASID must not be given; @properties: dmar_property. BLOCKED still. */
void vtd_device_limit(struct iommu_device *dev, unsigned properties);
enum hv_status vtd_device_stop(struct iommu_device *dev);
enum hv_status vtd_device_restart(struct iommu_device *dev);
void vtd_device_lost(struct iommu_device *dev, enum hv_status why);
enum hv_status vtd_page_requests_on(struct iommu_device *dev, uint16_t outstanding);
void vtd_page_requests_off(struct iommu_device *dev);

/* Where the device of @rid is noted, see unit.h: changed with queue.lock held. HV_ENOMEM. */
enum hv_status vtd_device_slot(struct iommu_unit *unit, rid_t rid, struct vtd_device ***slot);
/* With queue.lock held: block the whole device by its context entry and note it for
 * vtd_device_report.
 * @desc: the invalidations to be put into the queue. @return how many; 0: it was cut off already.
 */
unsigned vtd_device_cut(struct vtd_device *v, enum hv_status why, struct vtd_desc *desc);
/* Without the lock: the same, and wait. */
void vtd_device_fail(struct vtd_device *v, enum hv_status why);
/* Flush for devices that were cut off and whose own invalidations are not known to be done, if
 * there are such: until then a cached context may lead to what they translated through. */
enum hv_status vtd_device_flush_cuts(struct iommu_unit *unit);
/* Tell the core of the devices cut off. */
void vtd_device_report(struct iommu_unit *unit);

/* The device's use of a second stage by PASIDs; NULL: none. */
struct vtd_use *vtd_device_use(struct vtd_device *v, uint32_t id);

#endif
