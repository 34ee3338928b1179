/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A software VT-d remapping unit, written from the specification (5.10) alone. It is strict:
 * whatever the specification forbids software to do is reported through `complain`, and fails the
 * test. It caches as hard as hardware may: an entry stays until the exact descriptor that must
 * remove it, and an invalidation is carried out as late as 6.5.2.12 allows: at a wait, not before.
 * Not modelled, and refused by vtd_model_create: host permission tables, TDX Connect, virtual and
 * enhanced commands, perfmon. Single threaded: the caller serialises; the bus may call back.
 * Used by host unit tests, fuzzers and the vfio-user server.
 */
#ifndef TESTS_MODEL_VTD_MODEL_H
#define TESTS_MODEL_VTD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vtd_model;

/* What the unit reaches outside itself. Addresses are host physical. */
struct vtd_model_bus {
    void *ctx;
    /* Read or write memory; false: no memory there (hardware sees an abort). */
    bool (*read)(void *ctx, uint64_t hpa, void *buf, size_t len);
    bool (*write)(void *ctx, uint64_t hpa, const void *buf, size_t len);
    /* 64-bit compare and swap; *expected is updated on mismatch, as C11 does. */
    bool (*cas64)(void *ctx, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped);
    /* An interrupt message leaves the unit (already remapped, or an event of its own). Destination
     * id: 7:0 in addr 19:12, 31:8 in addr 63:40. A remapped one has the level bit (14) set (5.1.4).
     */
    void (*interrupt)(void *ctx, uint64_t addr, uint32_t data);
    /* Device-TLB invalidation reaches a device. pasid < 0: without PASID; global: all PASIDs.
     * size 0 means the whole address space (addr is 0 then).
     * Return false: the device does not answer (the unit times out, ITE). */
    bool (*devtlb_invalidate)(void *ctx, uint16_t rid, int32_t pasid, bool global, uint64_t addr,
                              uint64_t size);
    /* A page group response reaches a device. pasid < 0: without. code: 0, 1 or 0xf. */
    void (*page_response)(void *ctx, uint16_t rid, int32_t pasid, uint16_t prgi, uint8_t code);
    /* Software broke a rule of the specification. `rule` is a short stable name such as
     * "gcmd-two-bits"; `text` explains, with the section. */
    void (*complain)(void *ctx, const char *rule, const char *text);
};

struct vtd_model_config {
    uint32_t version;   /* VER, e.g. 0x60 */
    uint64_t cap, ecap; /* as read by software */
    uint8_t haw;        /* host address width, bits */
    bool cache_hard;    /* keep stale entries as long as allowed (default in tests) */
    uint32_t slow;      /* commands need this many status reads before they show done */
    uint64_t seed;      /* choices the specification leaves open */
};

struct vtd_model *vtd_model_create(const struct vtd_model_config *config,
                                   const struct vtd_model_bus *bus);
void vtd_model_destroy(struct vtd_model *m);
/* A full-featured configuration: scalable, nested, PASID 20 bits, PRS, QI, IR, DT, coherent. */
struct vtd_model_config vtd_model_default_config(void);

/* Register access by software. size: 4 or 8, aligned. */
uint64_t vtd_model_mmio_read(struct vtd_model *m, uint32_t offset, unsigned size);
void vtd_model_mmio_write(struct vtd_model *m, uint32_t offset, unsigned size, uint64_t value);
/* Let time pass: the unit does pending work (queue, one-shot commands). Register access does too.
 */
void vtd_model_run(struct vtd_model *m);

enum vtd_access { VTD_READ, VTD_WRITE, VTD_ATOMIC };

struct vtd_request {
    uint16_t rid;
    bool pasid_present, privileged, translated; /* translated: AT = 10 */
    uint32_t pasid;
    enum vtd_access access;
    uint64_t addr; /* one request never crosses a 4 KiB page */
};

/* Blocked as Unsupported Request without a fault reason: AT != 00 while TES = 0, a translated
 * request with PASID that the unit does not take, a protected memory region, no memory at the
 * address. */
#define VTD_BLOCKED 0xff

/* An untranslated (or translated) memory request. On success *hpa is where it lands.
 * Returns 0, VTD_BLOCKED, or the fault reason of 7.1.3 (blocked: the device sees UR). Interrupts
 * (dword writes to FEEx_xxxx without PASID) go through vtd_model_dma only: here they are 0x29. */
uint8_t vtd_model_access(struct vtd_model *m, const struct vtd_request *req, uint64_t *hpa);
/* The same with the data moved; an interrupt write (FEEx_xxxx) goes through remapping.
 * len may cross pages. Returns 0 or the fault reason of the first blocked piece. len = 0 with
 * VTD_READ is a zero-length read; VTD_ATOMIC swaps buf with memory. */
uint8_t vtd_model_dma(struct vtd_model *m, const struct vtd_request *req, void *buf, size_t len);

enum vtd_completion { VTD_TC_SUCCESS, VTD_TC_UR, VTD_TC_CA };
struct vtd_translation {
    enum vtd_completion status;
    bool r, w, u, n, priv; /* permissions granted, untranslated-only, non-snoop, privileged */
    uint64_t hpa;          /* page base */
    uint64_t size;         /* bytes, power of two */
};
/* An ATS translation request (AT = 01). no_write: the NW flag. */
void vtd_model_translate(struct vtd_model *m, const struct vtd_request *req, bool no_write,
                         struct vtd_translation *out);

struct vtd_page_request {
    uint16_t rid, prgi;
    bool pasid_present, privileged, read, write, lpig;
    uint32_t pasid;
    uint64_t addr;
};
/* A PCIe page request message. Hardware's automatic answers come back through page_response. */
void vtd_model_page_request(struct vtd_model *m, const struct vtd_page_request *req);

/* A device-TLB invalidation completion that nobody asked for (ICE, 6.5.2.11). */
void vtd_model_unexpected_completion(struct vtd_model *m, uint16_t rid);

/* Optional, for harnesses that see each store of software. Called after a store of len bytes (a
 * 16-byte store in one call): lets the unit check that a table entry in use is changed only by
 * clearing P, or by a single store that leaves it consistent (6.2.3.1). */
void vtd_model_memory_written(struct vtd_model *m, uint64_t hpa, size_t len);
/* Optional: software flushed these bytes from the processor caches. With ECAP.C = 0 or SMPWCS = 0,
 * a table read of a line that was written (above) and not flushed since is a complaint. */
void vtd_model_cache_flush(struct vtd_model *m, uint64_t hpa, size_t len);

/* For tests: number of complaints so far, and the text of the last one ("" if none). */
unsigned vtd_model_complaints(const struct vtd_model *m, const char **last);

#endif
