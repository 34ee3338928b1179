/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bench for the tests of the VT-d model: a small memory, a recording bus, and tables written by
 * hand from the layouts of chapter 9. It shares nothing with the model but its public interface.
 */
#ifndef TESTS_MODEL_VTD_TESTBED_H
#define TESTS_MODEL_VTD_TESTBED_H

#include "tests/model/vtd_model.h"

enum { BED_BYTES = 8 << 20, BED_LOG = 64 };
#define BED_BASE UINT64_C(0x10000000)

struct bed {
    struct vtd_model_config cfg;
    struct vtd_model *m;
    uint8_t *mem;
    uint64_t next, root, queue, status, prq, irt;
    uint32_t tail, wait_value;
    bool hooks; /* report each store with vtd_model_memory_written */

    unsigned complaints, interrupts, invalidations, responses;
    char rule[64]; /* of the last complaint */
    uint64_t msi_addr;
    uint32_t msi_data;
    struct {
        uint16_t rid;
        int32_t pasid;
        bool global;
        uint64_t addr, size;
    } inv[BED_LOG];
    struct {
        uint16_t rid;
        int32_t pasid;
        uint16_t prgi;
        uint8_t code;
    } resp[BED_LOG];
    bool silent;                   /* devices do not answer device-TLB requests */
    unsigned cas_fail;             /* so many compare-and-swaps find the memory gone */
    unsigned cas_race;             /* so many find that the entry has changed meanwhile */
    void (*on_inv)(struct bed *b); /* called inside of a device-TLB invalidation */
    uint64_t seen;                 /* for on_inv */
};

/* A unit with the default capabilities; change b->cfg between these two. */
void bed_config(struct bed *b);
void bed_start(struct bed *b);
void bed_stop(struct bed *b);
/* Queue with 256-bit (or, dw = 0, 128-bit) descriptors, root table in mode ttm, TE. */
void bed_enable(struct bed *b, unsigned ttm, bool dw);

uint64_t bed_page(struct bed *b); /* a fresh zeroed page */
uint64_t bed_pages(struct bed *b, unsigned n);
uint64_t bed_get(struct bed *b, uint64_t hpa);
void bed_put(struct bed *b, uint64_t hpa, uint64_t value);
void bed_put16(struct bed *b, uint64_t hpa, uint64_t lo, uint64_t hi);

uint64_t bed_read(struct bed *b, uint32_t offset); /* 64-bit register */
uint32_t bed_read32(struct bed *b, uint32_t offset);
void bed_write(struct bed *b, uint32_t offset, uint64_t v);
void bed_write32(struct bed *b, uint32_t offset, uint32_t v);
void bed_gcmd(struct bed *b, unsigned bit, bool on); /* as 11.4.4.1 says, and poll */

/* Tables of scalable mode. dir_flags: bits 11:0 of the context entry but P. */
uint64_t bed_context(struct bed *b, uint16_t rid, uint64_t flags, uint32_t rid_pasid);
uint64_t bed_context_at(struct bed *b, uint16_t rid);
uint64_t bed_pasid(struct bed *b, uint16_t rid, uint32_t pasid); /* address of the entry */
void bed_pe(struct bed *b, uint16_t rid, uint32_t pasid, uint64_t q0, uint64_t q1, uint64_t q2);
uint64_t bed_legacy(struct bed *b, uint16_t rid, uint64_t lo, uint64_t hi);
/* Map one page; `shift` 12, 21 or 30. Returns the address of the leaf. Tables are allocated with
 * flags `dir`; first stage: entries are GPA = HPA (identity) unless the test does otherwise. */
uint64_t bed_map(struct bed *b, uint64_t table, unsigned levels, uint64_t addr, unsigned shift,
                 uint64_t leaf, uint64_t dir);

/* Queue one descriptor without telling; bed_kick moves the tail; bed_wait adds a wait and checks
 * it. */
void bed_desc(struct bed *b, uint64_t q0, uint64_t q1);
void bed_kick(struct bed *b);
bool bed_wait(struct bed *b);
bool bed_do(struct bed *b, uint64_t q0, uint64_t q1); /* descriptor, wait */

/* One access. pasid < 0: without. */
uint8_t bed_access(struct bed *b, uint16_t rid, int32_t pasid, enum vtd_access how, uint64_t addr,
                   uint64_t *hpa);
uint8_t bed_access_priv(struct bed *b, uint16_t rid, int32_t pasid, enum vtd_access how,
                        uint64_t addr, uint64_t *hpa);
struct vtd_translation bed_ats(struct bed *b, uint16_t rid, int32_t pasid, uint64_t addr, bool nw);
uint8_t bed_translated(struct bed *b, uint16_t rid, int32_t pasid, uint64_t addr);
/* Reason in fault record i, 0 if F is clear; then cleared. */
uint8_t bed_fault(struct bed *b, unsigned i);
void bed_clear_faults(struct bed *b);
bool bed_complained(struct bed *b, const char *rule); /* exactly one, by this name; resets */
bool bed_quiet(struct bed *b);                        /* no complaint so far */

#endif
