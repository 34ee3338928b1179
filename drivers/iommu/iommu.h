/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IOMMU contract: what a hypervisor core asks of remapping hardware, in words of no vendor. The
 * driver knows units, devices (requester ids) and translations; it knows no VM.
 *
 * Translation targets are set per (device, PASID); PASID_RID stands for requests without PASID. A
 * target is never changed in place so that hardware could see half of it. BLOCKED needs no memory
 * and cannot fail: it is the state of every device after iommu_start(), after
 * iommu_device_remove(), and after every error. Nothing ever passes through untranslated.
 *
 * Locks: the driver takes its own (RANK_DEVICE, RANK_QUEUE). Calls that change a device's targets
 * are serialised by the caller per device. Calls return after hardware has completed them.
 */
#ifndef DRIVERS_IOMMU_IOMMU_H
#define DRIVERS_IOMMU_IOMMU_H

#include "hv/pages.h"
#include "hv/platform.h"
#include "hv/pt.h"
#include "hv/types.h"

#define IOMMU_UNITS_MAX 16u

struct iommu_unit; /* the driver's */

/* What a unit offers; decoded once. */
struct iommu_caps {
    const char *name; /* "vtd0" */
    unsigned index;
    bool nested; /* first stage over second stage, per PASID */
    bool second_stage, first_stage;
    bool device_tlb, page_requests;
    uint8_t pasid_bits;         /* 0: none */
    uint8_t first_stage_levels; /* bit n: n + 4 levels (bit 0: 4, bit 1: 5) */
    bool first_stage_1g;
    uint8_t second_stage_levels; /* levels to build second-stage tables with */
    uint8_t second_stage_large;  /* as struct pt.large */
    uint8_t second_stage_depths; /* what it could walk as well; bit n: n + 3 levels */
    uint32_t domains; /* second stages, and devices that nest without PASID: so many in all; 0: any
                         number */
    uint8_t input_bits;   /* width of the addresses that a second stage can take */
    bool interrupts;      /* irq_map works */
    bool coherent_tables; /* paging structures are snooped */
    bool caching_mode;    /* what is not mapped may be cached: added second-stage mappings need
                             stage2_changed too */
    const struct pt_format *second_stage_format;
};

/* Addresses that are not translated for a function, or not freely: interrupt messages, firmware's
 * own. */
#define IOMMU_RESERVED_MAX 8u
struct iommu_reserved {
    uint64_t first, last;
    bool firmware; /* memory that firmware goes on using through this function */
};

/* How hardware came from one target of a (device, PASID) to another. */
enum iommu_how { /* same meaning and order as hc_attach_how */
                 IOMMU_SAME,
                 IOMMU_HITLESS,        /* in one store */
                 IOMMU_BLOCKED_WINDOW, /* BLOCKED in between */
};

/* The wish of who owns the machine; AUTO: as firmware says. */
enum iommu_ats { IOMMU_ATS_AUTO, IOMMU_ATS_ON, IOMMU_ATS_OFF };

/* A function behind a unit. The driver fills the second half. */
struct iommu_device {
    rid_t rid;
    struct iommu_unit *unit;
    struct page_quota *quota; /* pays for its tables */
    void *owner;              /* the core's; handed back in events */
    /* Its requests may carry this id in place of its own, as do those of others behind the same
     * bridge to conventional PCI (VT-d 3.12). Such a function has neither PASID nor ATS. */
    bool aliased;
    rid_t alias;
    enum iommu_ats ats_wanted;

    uint8_t pasid_bits;      /* min of function and unit; 0: no PASID */
    bool ats, pri;           /* the function and the unit can */
    bool pri_pasid_required; /* page-group responses carry a PASID */
    uint16_t pri_capacity;   /* outstanding requests the function could have */
    uint8_t nreserved;
    struct iommu_reserved reserved[IOMMU_RESERVED_MAX]; /* page aligned */
    enum iommu_how how;        /* of the last attach or block; SAME also when it was refused */
    bool failed;               /* hardware error: BLOCKED for good */
    struct vtd_device *driver; /* the driver's own */
};

/* A second-stage table as one unit knows it (for VT-d: with its domain id). One per (VM, unit).
 * First stages over it are told apart by PASID, those of RIDs by the driver's own means. */
struct iommu_stage2 {
    struct iommu_unit *unit;
    const struct pt *table;
    uint32_t id;
};

enum iommu_kind { IOMMU_BLOCKED, IOMMU_SECOND_STAGE, IOMMU_NESTED };

struct iommu_target {
    enum iommu_kind kind;
    const struct iommu_stage2 *stage2; /* both kinds but BLOCKED */
    gpaddr_t root;                     /* NESTED: first-stage root */
    uint8_t levels;                    /* NESTED: 4 or 5 */
};

struct iommu_page_request {
    rid_t rid;
    bool pasid_present, read, write, privileged, last;
    uint32_t pasid;
    uint16_t group; /* 9 bits */
    iova_t address; /* page base */
};

enum iommu_fault_class { /* same meaning and order as hc_fault_reason */
                         IOMMU_FAULT_OTHER,
                         IOMMU_FAULT_BLOCKED,
                         IOMMU_FAULT_FIRST_STAGE,
                         IOMMU_FAULT_SECOND_STAGE,
                         IOMMU_FAULT_ADDRESS,
                         IOMMU_FAULT_INTERRUPT,
};

struct iommu_fault {
    rid_t rid;
    bool pasid_present, write;
    uint32_t pasid;
    iova_t address; /* page base; INTERRUPT: the message's address as far as it is known */
    enum iommu_fault_class class;
    uint8_t code;     /* the unit's own */
    const char *text; /* in words */
    bool last;        /* there were too many: no more are told of this function */
};

/* An interrupt of a device: the one message by which this device, and no other, raises it. Zeroed
 * before irq_map; address and data stay the same until irq_unmap. */
struct iommu_irq {
    bool mapped;
    uint32_t handle;        /* the driver's own */
    uint32_t address, data; /* what the device writes where; upper address bits are 0 */
};

/* Upcalls; no driver lock is held. Made only from poll() and from the units' interrupts, never from
 * within another call, so a lock held around those is safe. @dev is NULL when no device of ours has
 * that rid. One that began before device_remove() may still be running when that returns. */
struct iommu_events {
    void (*page_request)(struct iommu_device *dev, const struct iommu_page_request *req);
    /* After the last of a run of page requests: the time to raise interrupts. */
    void (*page_requests_done)(void);
    void (*fault)(struct iommu_device *dev, const struct iommu_fault *fault);
    void (*failed)(struct iommu_device *dev, enum hv_status why);
};

enum iommu_inval_kind { IOMMU_INVAL_RANGE, IOMMU_INVAL_PASID, IOMMU_INVAL_ALL, IOMMU_INVAL_PAGES };
struct iommu_inval { /* first-stage changes under one device's target */
    struct iommu_device *dev;
    uint32_t pasid; /* PASID_RID for the RID; ignored for ALL (every PASID of this device's
                       second stage) */
    enum iommu_inval_kind kind;
    bool leaf;      /* only leaf entries changed */
    iova_t address; /* RANGE: page aligned */
    uint64_t bytes;
    const iova_t *page; /* PAGES: single pages of 4 KiB, anywhere; at least one */
    unsigned pages;
};

struct iommu_ops {
    const char *name;
    /* Find and check all units from the DMAR table (@table, @length bytes, untrusted firmware
     * data). What is missing is logged with unit and capability. HV_ENODEV: no table; HV_EINVAL:
     * bad table; HV_ENOTSUP: a unit lacks something needed. Touches no unit's state. Boot. */
    enum hv_status (*probe)(const void *table, size_t length, const struct iommu_events *events);
    /* Take all units over and turn translation on with every device BLOCKED. HV_EIO, HV_ETIMEDOUT,
     * HV_ENOMEM: translation may be on or off; do not run guests. Boot. */
    enum hv_status (*start)(void);
    unsigned (*unit_count)(void);
    struct iommu_unit *(*unit)(unsigned index);
    const struct iommu_caps *(*caps)(const struct iommu_unit *unit);
    struct iommu_unit *(*unit_of)(rid_t rid); /* NULL: behind none */

    /* Take a function in: @dev has rid, unit, quota, owner. Reads its capabilities, enables PASID
     * and ATS in order; BLOCKED. HV_EEXIST: rid already in. */
    enum hv_status (*device_add)(struct iommu_device *dev);
    /* Take a function in that has the same alias as @first, which is in and BLOCKED: one cannot be
     * told from the other, so what @first is attached to is for both. @dev as for device_add; of
     * all calls it is for irq_map, irq_unmap and device_remove, before that of @first. Faults of
     * both are told of @first. HV_EEXIST, HV_ENOMEM; HV_ENOTSUP: behind another unit. */
    enum hv_status (*device_join)(struct iommu_device *dev, struct iommu_device *first);
    /* Block everything, turn PRI, ATS and PASID off, drain, free. Cannot fail. */
    void (*device_remove)(struct iommu_device *dev);
    /* The function is about to be reset: block everything, turn PRI, ATS and PASID off, drain. It
     * counts as failed from here on, and nothing that it would have to answer is sent to it. Page
     * requests are off already. HV_ETIMEDOUT, HV_EIO: the unit does not confirm. */
    enum hv_status (*device_stop)(struct iommu_device *dev);
    /* After device_stop and a reset: as device_add left it, BLOCKED; what made it fail before is
     * over. HV_ETIMEDOUT, HV_EIO: it stays failed, as the unit did not, or does not, confirm. */
    enum hv_status (*device_restart)(struct iommu_device *dev);
    /* It is gone (HV_ENODEV) or broken, as the caller knows: as if hardware had told. Nothing if it
     * has failed already. */
    void (*device_fail)(struct iommu_device *dev, enum hv_status why);

    enum hv_status (*stage2_create)(struct iommu_unit *unit, const struct pt *table,
                                    struct iommu_stage2 *out);
    /* No target may use it any more. HV_ETIMEDOUT, HV_EIO: hardware may still walk the table, which
     * is to be kept. */
    enum hv_status (*stage2_destroy)(struct iommu_stage2 *stage2);
    /* Mappings of a second stage were removed or narrowed: nothing stale is left on return. No
     * device that it is attached to is removed meanwhile. */
    enum hv_status (*stage2_changed)(struct iommu_stage2 *stage2, gpaddr_t base, uint64_t bytes);

    /* Replace what (dev, pasid) translates through. Checks target against unit and device:
     * HV_ENOTSUP, HV_ERANGE (PASID); HV_EQUOTA, HV_ENOMEM: unchanged. HV_ETIMEDOUT, HV_EIO: the
     * device is BLOCKED. */
    enum hv_status (*attach)(struct iommu_device *dev, uint32_t pasid,
                             const struct iommu_target *target);
    /* BLOCKED, then all caches invalidated and page requests of it drained. Cannot fail;
     * HV_ETIMEDOUT or HV_EIO only reports that the whole device had to be blocked. */
    enum hv_status (*block)(struct iommu_device *dev, uint32_t pasid);

    /* Allow up to @outstanding page requests of this device / no more of them (drained). */
    enum hv_status (*page_requests_on)(struct iommu_device *dev, uint16_t outstanding);
    void (*page_requests_off)(struct iommu_device *dev);
    /* Entries of the unit's page request queue not yet promised to devices. */
    uint32_t (*page_requests_free)(const struct iommu_unit *unit);

    /* Let the message of @irq raise what @to says, or (NULL) nothing, silently. The first time an
     * entry is taken; nobody else's message raises it, and any other message of the device is a
     * fault. On return the former target is raised no more. HV_ENOTSUP: the unit cannot tell
     * devices' interrupts apart; HV_ENOMEM: no entry left; HV_ERANGE: a CPU it cannot reach.
     * HV_EIO, HV_ETIMEDOUT: the unit does not answer; a former target may still be raised. */
    enum hv_status (*irq_map)(struct iommu_device *dev, struct iommu_irq *irq,
                              const struct irq_target *to);
    /* Refuse it from now on and give the entry back. HV_EIO, HV_ETIMEDOUT: as above; the entry is
     * lost. */
    enum hv_status (*irq_unmap)(struct iommu_device *dev, struct iommu_irq *irq);

    /* Batched work: any number of calls to these three, then flush, which waits once. Per CPU,
     * units may be mixed. An error of one device never stops the others: it is reported by
     * `failed`. */
    void (*invalidate)(const struct iommu_inval *inval);
    void (*respond)(struct iommu_device *dev, const struct iommu_page_request *last, bool success);
    enum hv_status (*flush)(void);

    /* Look for page requests, faults and errors now, without an interrupt (timers, tests, drains).
     */
    void (*poll)(void);
};

extern const struct iommu_ops iommu_vtd;  /* Intel VT-d, scalable mode */
extern const struct iommu_ops iommu_none; /* no hardware: every device HV_ENOTSUP */

#endif
