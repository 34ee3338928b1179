/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test accelerator of docs/accelerator.md: a PCIe function with ATS, PRI and PASID that copies,
 * fills, compares and checksums memory. It knows its requests only as an IOMMU sees them, through
 * `struct accel_bus`, so that it runs in host tests and in the device server alike.
 * Single threaded: the caller serialises. Nothing moves except in accel_run, so page requests,
 * responses and invalidations interleave with work as the caller decides.
 */
#ifndef TESTS_MODEL_ACCEL_H
#define TESTS_MODEL_ACCEL_H

#include "tests/model/vtd_model.h"

enum {
    ACCEL_VENDOR = 0x1b36,
    ACCEL_DEVICE = 0x5105,
    ACCEL_BAR0_SIZE = 0x4000,
    ACCEL_DEPTH = 64,        /* descriptors in flight */
    ACCEL_PRI_CAPACITY = 64, /* page requests outstanding */
    ACCEL_GROUP_PAGES = 8,   /* page requests in one group */
    ACCEL_RETRIES = 8,       /* requests for one page before status 3 */
    ACCEL_SLICE = 64,        /* page-sized steps in one accel_run */

    /* Configuration space: where the extended capabilities are. */
    ACCEL_CAP_ATS = 0x100,
    ACCEL_CAP_PRI = 0x110,
    ACCEL_CAP_PASID = 0x120,
};

enum accel_mischief {
    ACCEL_MUTE_INVALIDATION = 1u << 0,
    ACCEL_IGNORE_ALLOCATION = 1u << 1,
    ACCEL_WRONG_PASID = 1u << 2,
    ACCEL_KEEP_TLB = 1u << 3,
    ACCEL_STOP_MARKERS = 1u << 4,
    ACCEL_NO_LPIG = 1u << 5,
    ACCEL_VANISHED = 1u << 6,
};

/* What the device reaches. An interrupt is a 4-byte untranslated write without PASID through `dma`.
 */
struct accel_bus {
    void *ctx;
    /* ATS translation request (AT = 01); no_write: the NW flag. */
    void (*translate)(void *ctx, const struct vtd_request *req, bool no_write,
                      struct vtd_translation *out);
    /* Memory request, translated or not, within one page. 0, or not: unsupported request. */
    uint8_t (*dma)(void *ctx, const struct vtd_request *req, void *buf, size_t len);
    void (*page_request)(void *ctx, const struct vtd_page_request *req);
    /* System software broke a PCIe rule in configuration space, or in an answer to the device.
     * What a guest does to the BAR is never complained about. */
    void (*complain)(void *ctx, const char *rule, const char *text);
};

struct accel_stats {              /* since creation; no reset clears them */
    uint64_t descriptors, failed; /* completed; of these with a status other than 1 */
    uint64_t bytes;               /* data read plus data written */
    uint64_t page_requests, responses;
    uint64_t refused; /* DMA or translation refused by the unit */
    uint64_t translations, tlb_hits;
    uint64_t invalidations; /* device-TLB invalidations received */
    uint64_t interrupts;
};

struct accel;

struct accel *accel_create(uint16_t rid, const struct accel_bus *bus);
void accel_destroy(struct accel *a);

uint16_t accel_rid(const struct accel *a);
const struct accel_stats *accel_stats(const struct accel *a);
/* Bits that MISCHIEF has beyond what software writes; they survive every reset. */
void accel_set_mischief(struct accel *a, uint64_t bits);

/* Configuration space: size 1 to 8 bytes. */
uint64_t accel_config_read(const struct accel *a, uint32_t offset, unsigned size);
void accel_config_write(struct accel *a, uint32_t offset, unsigned size, uint64_t value);
/* BAR0: size 4 or 8, aligned; anything else reads 0 and writes nothing. */
uint64_t accel_mmio_read(const struct accel *a, uint32_t offset, unsigned size);
void accel_mmio_write(struct accel *a, uint32_t offset, unsigned size, uint64_t value);

/* Work at most ACCEL_SLICE steps. True: more can be done now (what waits for an answer does not
 * count). */
bool accel_run(struct accel *a);
/* Power-on state, as by FLR and more: the BAR and command register too. */
void accel_reset(struct accel *a);

/* The unit's side; the same contract as the functions of struct vtd_model_bus. */
bool accel_devtlb_invalidate(struct accel *a, int32_t pasid, bool global, uint64_t addr,
                             uint64_t size);
void accel_page_response(struct accel *a, int32_t pasid, uint16_t prgi, uint8_t code);

#endif
