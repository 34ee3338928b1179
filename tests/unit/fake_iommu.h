/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An IOMMU driver that remembers: for tests of the core without hardware. It keeps what each
 * (device, PASID) translates through, what was invalidated and answered (and whether that was
 * flushed), fails on order, and checks that the core keeps the contract of drivers/iommu/iommu.h.
 */
#ifndef TESTS_UNIT_FAKE_IOMMU_H
#define TESTS_UNIT_FAKE_IOMMU_H

#include "drivers/iommu/iommu.h"

#define FAKE_DEVICES 8u
#define FAKE_LOG     1024u
#define FAKE_IRQS    256u

extern const struct iommu_ops fake_iommu;

struct fake_target {
    enum iommu_kind kind;
    uint8_t levels;
    uint32_t stage2;
    uint64_t root;
};

struct fake_answer {
    struct iommu_device *dev;
    struct iommu_page_request last;
    bool success, flushed;
    uint32_t after; /* invalidations ordered before it */
};

struct fake_inval {
    struct iommu_inval what;
    bool flushed;
};

struct fake_irq {
    struct iommu_device *dev; /* NULL: free */
    bool on;
    struct irq_target to;
};

/* What a function is to be; set before device_add. */
struct fake_function {
    rid_t rid;
    unsigned unit;
    uint8_t pasid_bits;
    bool ats, pri;
    uint16_t pri_capacity;
    struct iommu_reserved firmware; /* an RMRR; last 0: none */
};

struct fake {
    struct iommu_caps caps[IOMMU_UNITS_MAX];
    unsigned units;
    uint32_t queue; /* page request entries of each unit */
    struct fake_function function[FAKE_DEVICES];
    bool threads; /* other threads take the event locks, too: not checked */
    bool function_made[FAKE_DEVICES];
    struct iommu_device *device[FAKE_DEVICES]; /* who is in, same index as function */
    struct fake_target *target[FAKE_DEVICES];  /* by PASID */
    uint32_t high[FAKE_DEVICES];               /* one past the largest PASID seen */
    uint32_t promised[FAKE_DEVICES];           /* 0: page requests off */
    uint32_t stage2_live, stage2_made;
    /* logs; counts go on when a log is full */
    struct fake_answer answer[FAKE_LOG];
    struct fake_inval inval[FAKE_LOG];
    uint32_t answers, invals;
    uint32_t stops, restarts;
    uint32_t attaches, blocks, flushes, unflushed, polls;
    /* what fails: the next call of this function returns this */
    struct fake_irq irq[FAKE_IRQS]; /* by handle */
    unsigned irq_changes;           /* that cost an invalidation, or would */
    enum hv_status fail_irq, fail_irq_late, fail_irq_unmap; /* late: after the change is made */
    enum hv_status fail_attach, fail_stage2, fail_device_add, fail_requests_on, fail_flush;
    enum hv_status fail_stage2_destroy, fail_stop;
    enum hv_status
        fail_poll;    /* at the next look, the first device is found to have failed with it */
    bool fail_device; /* with fail_attach or fail_flush: the first device fails with it */
    /* called inside block() and page_requests_off(), as a driver that drains may */
    void (*drain)(void *ctx);
    void (*on_invalidate)(void *ctx); /* called inside invalidate() */
    void (*on_respond)(void *ctx);    /* and inside respond() */
    void *ctx;
};
extern struct fake fake;

/* Two units with everything, no functions. Frees what an earlier test left. */
void fake_reset(void);
/* Target of a (device, PASID); BLOCKED for a device that is not in or has failed. */
struct fake_target fake_target(rid_t rid, uint32_t pasid);
/* (device, PASID)s that are not BLOCKED. */
unsigned fake_attached(void);
/* As the hardware: a request arrives; ends of a batch are told apart. */
void fake_request(rid_t rid, const struct iommu_page_request *req);
/* A device writes to the interrupt range. @return whether somebody's handler ran. */
bool fake_interrupt(rid_t rid, uint32_t address);
void fake_fail(struct iommu_device *dev, enum hv_status why);
/* Mix everything that tests call "state" into one number. */
uint64_t fake_digest(uint64_t hash);

#endif
