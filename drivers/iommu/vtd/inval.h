/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each change of a structure must invalidate, and in which order: one table (Table
 * 28, 6.5.2.12).
 */
#ifndef DRIVERS_IOMMU_VTD_INVAL_H
#define DRIVERS_IOMMU_VTD_INVAL_H

#include "drivers/iommu/vtd/queue.h"

struct vtd_device;

enum vtd_change {
    VTD_NOTHING,
    VTD_ROOT_SET,             /* a new root table */
    VTD_CONTEXT_SET,          /* context entry present now; only if CM = 1 */
    VTD_CONTEXT_CHANGED,      /* changed or not present now; then VTD_CONTEXT_DOMAIN for each id */
    VTD_CONTEXT_DOMAIN,       /* an id the device used */
    VTD_DEVICE_CUT,           /* context entry not present now, device not to be spoken to */
    VTD_LEGACY_CHANGED,       /* legacy context entry changed or not present now */
    VTD_FAULTS_HIDDEN,        /* FPD of a context entry */
    VTD_PASID_SET,            /* PASID entry present now; only if CM = 1 */
    VTD_PASID_CHANGED,        /* one 16-byte piece of a present entry replaced */
    VTD_PASID_CLEARED,        /* not present now; it was second stage or nested */
    VTD_DOMAIN_FREED,         /* an id is to be used for something else */
    VTD_FIRST_STAGE_CHANGED,  /* pages of a first stage */
    VTD_FIRST_STAGE_REPLACED, /* all of one first stage */
    VTD_DOMAIN_CHANGED,       /* all first stages under an id; then the TLBs of its devices */
    VTD_SECOND_STAGE_CHANGED, /* pages of a second stage; then the TLBs of its devices: */
    VTD_DEVICE_TLB_PAGES,     /* one PASID (0: RID) */
    VTD_DEVICE_TLB_ALL,
    VTD_DEVICE_TLB_EVERY_PAGES, /* every PASID */
    VTD_DEVICE_TLB_EVERY_ALL,
    VTD_INTERRUPTS_CHANGED, /* interrupt table */
    VTD_INTERRUPT_CHANGED,  /* one entry of it that was present */
};

struct vtd_inval_args {
    struct iommu_unit *unit;
    struct vtd_device *device; /* its TLB is included if ATS is on */
    uint32_t did, pasid;       /* of the translation that was */
    uint64_t base, bytes;      /* pages: page aligned, bytes > 0 */
    uint16_t interrupt;        /* index of its entry */
    bool leaf;                 /* only leaves of a first stage changed */
};

/* Longest list that one change needs. */
#define VTD_INVAL_MAX 12u

/* The descriptors for one change, in order. @return how many. */
unsigned vtd_inval_list(enum vtd_change change, const struct vtd_inval_args *args,
                        struct vtd_desc desc[VTD_INVAL_MAX]);
/* Append the descriptors for one change; see vtd_queue_put. */
enum hv_status vtd_inval_put(enum vtd_change change, const struct vtd_inval_args *args,
                             uint64_t *first);
/* Append, submit, wait. */
enum hv_status vtd_inval_run(enum vtd_change change, const struct vtd_inval_args *args, bool drain);

/* The fewest aligned power-of-two blocks of pages that cover [base, base + bytes) without being
 * more than four times as large: one or two. Beyond 2^36 pages: 0, take everything. */
struct vtd_block {
    uint64_t base;
    unsigned mask; /* 2^mask pages */
};
unsigned vtd_inval_cover(uint64_t base, uint64_t bytes, struct vtd_block block[2]);

/* What every device-TLB descriptor of a device has in common. */
uint64_t vtd_inval_device_key(const struct vtd_device *v, bool pasid);

#endif
