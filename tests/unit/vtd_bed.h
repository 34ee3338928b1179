/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine for tests of the VT-d driver: the model as its units, functions with ATS, PRI and PASID
 * and a device TLB each, a guest's memory and first stage. Every complaint of the model fails the
 * test.
 */
#ifndef TESTS_UNIT_VTD_BED_H
#define TESTS_UNIT_VTD_BED_H

#include "drivers/iommu/iommu.h"
#include "tests/model/vtd_model.h"
#include "tests/platform/platform.h"
#include "tests/unit/flr_function.h"

#define BED_RAM      (16ull << 20) /* of the guest, from guest-physical 0 */
#define BED_NO_PASID (-1)

#define BED_A     0x0100u /* three full functions behind unit 0 */
#define BED_B     0x0108u
#define BED_C     0x0210u
#define BED_PLAIN 0x0300u /* no extended capabilities */
#define BED_FAR   0x8000u /* behind unit 1, if there is one */

struct bed_response {
    uint16_t rid, prgi;
    int32_t pasid;
    uint8_t code;
};

struct bed {
    struct vtd_model *model[IOMMU_UNITS_MAX];
    unsigned units;
    uint64_t others_without; /* of ECAP: what units but the first lack; set before they are made */
    bool silent[65536];      /* this device's TLB does not answer */
    bool dead;               /* register reads of completion never change: hardware hangs */
    /* The queue stands still and these registers are made up: a moment of hardware, held. */
    bool frozen;
    uint32_t frozen_fsts;
    uint64_t frozen_head, frozen_record;
    bool anonymous;         /* the unit does not tell whose device TLB did not answer (ITESID 0) */
    void (*on_relax)(void); /* whoever waits has waited a moment */
    rid_t flood; /* sends more page requests than fit before each order to the queue; 0: none */
    bool noncoherent; /* complain when hardware reads a line that was stored and not flushed */
    unsigned unflushed;
    uint16_t ats_capability;    /* of all functions; set before start to change it */
    unsigned complaints_wanted; /* what a test provokes on purpose */
    unsigned tlb_invalidations, interrupts;
    unsigned unanswered;                  /* invalidations that silent devices got */
    unsigned asked_absent;                /* and those that are in reset, or gone */
    uint64_t tlb_address[8], tlb_size[8]; /* the last ones, modulo 8 */
    void (*on_tlb)(void);                 /* a device TLB has been told */
    void (*on_response)(void);            /* the device has been answered */
    bool watch;                           /* after each register write, see whether DMA passes */
    unsigned leaks, message_leaks;        /* DMA; interrupts in compatibility format */
    const struct platform_pci *port; /* nothing passes while it is no bus master; NULL: no matter */
    uint32_t message_of_old;         /* event messages with this data are counted: */
    unsigned old_messages;
    void (*on_register)(uint32_t offset); /* after each register write */
    uint64_t tail_writes;                 /* of IQT */
    void (*on_store)(void);               /* called after each store that hardware could see */
    uint64_t stores; /* that hardware could see, and the bytes of the last one */
    unsigned last_store;
    struct bed_response response[4096];
    unsigned nresponses;
    struct iommu_page_request request[4096];
    unsigned nrequests, nrequests_done;
    struct iommu_fault fault[256];
    unsigned nfaults;
    struct iommu_device *failed[16];
    enum hv_status failed_why[16];
    unsigned nfailed;
    uint32_t raised_on, raised_vector; /* the last remapped interrupt that arrived */
    unsigned raised;                   /* how many */
    paddr_t ram;
    struct page_quota quota;
};
extern struct bed bed;

/* The machine without the driver; and with it, probed and started. */
void bed_make(const struct vtd_model_config *config, unsigned units);
void bed_start(const struct vtd_model_config *config, unsigned units);
struct vtd_model_config bed_config(void);
/* The DMAR table of the machine. */
size_t bed_dmar(uint8_t table[4096]);
extern const struct iommu_events bed_events;

int bed_fresh(void **state); /* cmocka set-up */
int bed_check(void **state); /* and tear-down: no complaint, nothing unflushed, quota given back */
#define bed_test(f) cmocka_unit_test_setup_teardown(f, bed_fresh, bed_check)

void bed_add(struct iommu_device *dev, rid_t rid); /* zeroed by it */
/* A second stage that maps the guest's memory, and its id on a unit. */
void bed_stage2(struct pt *pt, struct iommu_stage2 *s2, struct iommu_unit *unit);
void bed_stage2_gone(struct pt *pt, struct iommu_stage2 *s2);

/* First-stage tables in the guest's memory: pages are taken from the top down. */
gpaddr_t bed_root(void);
void bed_map(gpaddr_t root, uint64_t va, uint64_t gpa); /* gpa 0: not present */

/* One DMA read of 8 bytes. Each page of the guest starts with its own address + 1, unless written.
 */
uint8_t bed_read(rid_t rid, int32_t pasid, uint64_t address, uint64_t *value);
uint8_t bed_write(rid_t rid, int32_t pasid, uint64_t address, uint64_t value);
/* The same through the function's device TLB, which keeps what it got. false: no translation. */
bool bed_ats_read(rid_t rid, int32_t pasid, uint64_t address, uint64_t *value);

/* A stop marker is a request with neither. */
void bed_page_message(rid_t rid, int32_t pasid, uint64_t address, uint16_t group, bool last,
                      bool read);
void bed_page_request(rid_t rid, int32_t pasid, uint64_t address, uint16_t group, bool last);
struct platform_pci *bed_function(rid_t rid);
struct flr_function *bed_resettable(rid_t rid); /* the same; NULL: no such function */
/* The device writes 4 bytes to the interrupt range. @return the fault reason, 0: it went through.
 */
uint8_t bed_message(rid_t rid, uint32_t address, uint32_t data);
/* Deliver interrupts that the units sent. Remapped ones are noted, and go to whom irq_alloc_on gave
 * the vector, if to anybody. */
void bed_interrupts(void);

static inline struct iommu_target bed_nested(const struct iommu_stage2 *s2, gpaddr_t root)
{
    return (struct iommu_target){ IOMMU_NESTED, s2, root, 4 };
}

static inline struct iommu_target bed_second(const struct iommu_stage2 *s2)
{
    return (struct iommu_target){ IOMMU_SECOND_STAGE, s2, GPADDR(0), 0 };
}

#endif
