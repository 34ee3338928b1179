/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator's parts, for its own files only: configuration space, device-TLB, page requests,
 * descriptors.
 */
#ifndef TESTS_MODEL_ACCEL_INTERNAL_H
#define TESTS_MODEL_ACCEL_INTERNAL_H

#include "tests/model/accel.h"
#include "tests/model/pci_config.h"

#define ACCEL_PAGE        4096u
#define ACCEL_TLB_ENTRIES 4096u
#define ACCEL_PRG_COUNT   512u /* page request group index: 9 bits */
#define ACCEL_IMS_COUNT   16u

enum accel_status { /* completion record */
                    ACCEL_DONE = 1,
                    ACCEL_REFUSED = 2,
                    ACCEL_PR_INVALID = 3,
                    ACCEL_PR_FAILURE = 4,
                    ACCEL_ATS_ABORT = 5,
                    ACCEL_MALFORMED = 6,
                    ACCEL_ABORTED = 7,
};

enum accel_operation { OP_NOP, OP_COPY, OP_FILL, OP_COMPARE, OP_CRC, OP_COUNT };

enum { /* descriptor flags */
       FLAG_ATS = 1,
       FLAG_PAGE_REQUESTS = 2,
       FLAG_INTERRUPT = 4,
       FLAG_RECORD_UNTRANSLATED = 8,
};

enum { /* ERROR */
       ERROR_MALFORMED = 1,
       ERROR_DISABLED = 2,
       ERROR_FULL = 4,
       ERROR_RECORD = 8,
};

struct accel_descriptor { /* as written to the portal */
    uint32_t pasid;       /* bits 19:0; bit 20 valid */
    uint8_t operation, flags;
    uint16_t ims;
    uint64_t source, destination, size, pattern, record, cookie, reserved;
};
static_assert(sizeof(struct accel_descriptor) == 64);

struct accel_record { /* as written to memory; status goes last */
    uint8_t status, result;
    uint16_t page_requests;
    uint32_t crc;
    uint64_t bytes, fault, cookie;
};
static_assert(sizeof(struct accel_record) == 32);

enum accel_operand { OPERAND_SOURCE, OPERAND_DESTINATION, OPERAND_RECORD, OPERAND_COUNT };

enum accel_job_state {
    JOB_FREE,
    JOB_RUN,
    JOB_ANSWER, /* waits for the answer to its page request group */
    JOB_CREDIT, /* waits for room in the page request allocation */
};

struct accel_job {
    enum accel_job_state state;
    bool recording; /* the work is over, the completion record is being written */
    struct accel_descriptor d;
    struct accel_record record;
    uint64_t done; /* bytes */
    uint32_t crc;
    uint64_t asked_page[OPERAND_COUNT]; /* last page requested, and how often */
    uint8_t asked[OPERAND_COUNT];
    enum accel_operand waits_for; /* the operand of the last group */
    uint8_t answer;               /* its page response code; PRG_NONE: none yet, or used */
};

struct accel_group { /* a page request group on its way */
    bool used;
    bool lost;     /* forgotten by a reset: a late answer is no surprise */
    uint8_t pages; /* of the allocation */
    int job;       /* index, or -1: its descriptor is gone */
    int32_t pasid; /* as sent; -1: without */
};

struct accel_tlb_entry {
    bool used, r, w, untranslated_only;
    int32_t pasid; /* -1: without */
    uint64_t addr, size, hpa;
};

struct accel_ims {
    uint64_t addr;
    uint32_t data;
    bool masked, pending;
};

struct accel {
    uint16_t rid;
    struct accel_bus bus;
    struct accel_stats stats;
    struct pci_config config;

    /* ATS: stopped by a bad completion until software enables it again. */
    bool ats_stopped;
    struct accel_tlb_entry tlb[ACCEL_TLB_ENTRIES];
    unsigned tlb_used, tlb_victim; /* entries below tlb_used may be in use */

    /* PRI */
    bool pri_stopped; /* by a response failure, until software enables it again */
    struct accel_group groups[ACCEL_PRG_COUNT];
    unsigned next_prgi, outstanding; /* outstanding: page requests, not groups */

    /* BAR0 */
    bool enabled;
    bool held; /* CTRL bit 2: descriptors are taken, none makes a step */
    uint64_t error, erraddr, done, bytes, pagereqs;
    uint64_t mischief, mischief_floor;
    struct accel_ims ims[ACCEL_IMS_COUNT];
    uint8_t portal[64];
    unsigned portal_filled; /* bytes written in order so far; > 64: out of order */

    struct accel_job jobs[ACCEL_DEPTH];
    unsigned next_job; /* where the next slice begins */
};

/* accel_config.c */
void accel_config_reset(struct accel *a);
bool accel_may_dma(const struct accel *a); /* Bus Master */
bool accel_ats_on(const struct accel *a);  /* enabled, and not stopped */
bool accel_pri_on(const struct accel *a);
bool accel_pasid_on(const struct accel *a);
uint32_t accel_pri_allocation(const struct accel *a);
void accel_pri_set_status(struct accel *a, uint16_t set, uint16_t clear);

enum { /* PRI status */
       PRI_RESPONSE_FAILURE = 1u << 0,
       PRI_UNEXPECTED_GROUP = 1u << 1,
       PRI_STATUS_STOPPED = 1u << 8,
       PRI_PASID_REQUIRED = 1u << 15,
};

/* accel_tlb.c */
enum accel_lookup { LOOKUP_OK, LOOKUP_DENIED, LOOKUP_ABORT };
/* Translation of one address, from the device-TLB or by an ATS request, for reading or writing. */
enum accel_lookup accel_tlb_lookup(struct accel *a, int32_t pasid, uint64_t addr, bool write,
                                   struct accel_tlb_entry *out);
void accel_tlb_clear(struct accel *a);

/* accel_pri.c */
/* Ask for the pages of [addr, end) from addr on that lack permission, as one group for job, which
 * then waits. False: no room in the allocation now. PRI is on; the caller has checked. */
bool accel_pri_ask(struct accel *a, int job, uint64_t addr, uint64_t end, bool write);
void accel_pri_forget(struct accel *a); /* FLR: nothing is outstanding any more */
void accel_pri_orphan(struct accel *a, int job);
unsigned accel_pri_outstanding(const struct accel *a);

/* accel_work.c */
void accel_submit(struct accel *a, const struct accel_descriptor *d);
void accel_abort_all(struct accel *a); /* status 7 to every descriptor */
void accel_drop_all(struct accel *a);  /* no record: the bus is gone */
void accel_wake(struct accel *a);      /* room in the allocation, or page requests ended */
void accel_answer(struct accel *a, int job, uint8_t code);
void accel_interrupt(struct accel *a, unsigned index);
unsigned accel_in_flight(const struct accel *a);

static inline int32_t accel_pasid_of(const struct accel_descriptor *d)
{
    return (d->pasid >> 20) & 1 ? (int32_t)(d->pasid & 0xfffff) : -1;
}

static inline uint64_t accel_mischief(const struct accel *a)
{
    return a->mischief | a->mischief_floor;
}

/* Pulled out: on the bus there is nothing any more, until power on. */
static inline bool accel_vanished(const struct accel *a)
{
    return accel_mischief(a) & ACCEL_VANISHED;
}

static inline struct vtd_request accel_request(const struct accel *a, int32_t pasid, uint64_t addr,
                                               bool write)
{
    return (struct vtd_request){ .rid = a->rid,
                                 .pasid_present = pasid >= 0,
                                 .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
                                 .access = write ? VTD_WRITE : VTD_READ,
                                 .addr = addr };
}

#define PRG_NONE 0xff

#endif
