/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rules of IOAS, Domain, Attach, SVA and IOPF say, for tests: lists of mappings, of
 * reservations, of pages of first stages and of what each PASID of each device translates through,
 * looked through from end to end each time. Written from the rules; nothing of the hypervisor is
 * used but the ABI. IOASes are in ioas_ref.c, all else in sva_ref.c.
 */
#ifndef TESTS_UNIT_IOAS_REF_H
#define TESTS_UNIT_IOAS_REF_H

#include <stdbool.h>

#include "sluice/hypercall.h"
#include "sluice/status.h"

#define REF_IOASES   4u
#define REF_DEVICES  8u
#define REF_PASIDS   9u         /* slots; 0: the RID */
#define REF_ANY      REF_PASIDS /* as a slot: Sluice picks one */
#define REF_MAPPINGS 256u
#define REF_ROOTS    4u
#define REF_PAGES    24u
#define REF_OPEN     8u
#define REF_UNITS    4u
#define REF_RAM      5120u /* pages of RAM, at most */

struct ref_range {
    uint64_t first, last;
};

struct ref_mapping {
    uint64_t first, last, gpa;
    uint32_t access; /* HC_IOAS_READ and so on, HC_IOAS_ON_DEMAND */
};

struct ref_ioas {
    bool there;
    struct ref_range aperture, required[HC_IOAS_REQUIRED_MAX];
    unsigned nrequired;
    struct ref_mapping mapping[REF_MAPPINGS];
    unsigned nmappings;
    struct ref_range reserved[REF_MAPPINGS];
    unsigned nreserved;
};

/* Facts about the machine. */
struct ref_device {
    unsigned depths;     /* of its unit: bit n, n + 3 levels */
    unsigned width;      /* bits of address */
    bool nested, shadow; /* first stages of the guest: walked by the unit, composed by Sluice */
    bool writable_is_readable; /* tables in first-stage format */
    unsigned pasid_bits;       /* 0: none */
    bool pri, resets;
    unsigned unit;
    bool large; /* tables of its unit have leaves of 2 MiB */
    struct ref_range reserved[4];
    unsigned nreserved;
};

/* A page that a first stage of the guest has. */
struct ref_page {
    uint64_t va, gpa; /* gpa: anywhere */
    bool write, user, dirty;
};

struct ref_root {
    struct ref_page page[REF_PAGES];
    unsigned n;
};

struct ref_target {
    enum hc_domain domain;
    unsigned ioas, root; /* indices */
    uint32_t refs;       /* SVA binds */
    uint64_t bond;       /* its handle, if refs */
    bool blocked;        /* by an attach over a bind */
    bool faults, iopf;   /* page requests go to the guest; the bond relies on that */
};

/* A group of page requests that the guest has and has not answered. */
struct ref_group {
    unsigned device, slot, number;
    uint64_t cookie, address;
    bool write;
};

/* An answer that the device must have got. */
struct ref_answer {
    unsigned device, slot, number;
    uint8_t code;
};

struct ref {
    struct ref_range ram[2];
    struct ref_device device[REF_DEVICES];
    unsigned ndevices;
    struct ref_ioas ioas[REF_IOASES];
    struct ref_root root[REF_ROOTS];
    struct ref_target target[REF_DEVICES][REF_PASIDS];
    bool sva[REF_PASIDS];            /* its address space is the one SVA space of its root */
    uint32_t iopf[REF_DEVICES];      /* categories */
    bool absent[REF_UNITS][REF_RAM]; /* pages of RAM that are on demand there */
    bool failed[REF_DEVICES];        /* BLOCKED for good */
    struct ref_group open[REF_OPEN];
    unsigned nopen;
    struct ref_answer due[REF_OPEN + 1];
    unsigned ndue;
};

extern const uint32_t ref_pasids[REF_PASIDS]; /* their numbers, ascending from slot 1 */

/* The calls; @ioas is an index of ours. @value as the ABI says. */
enum hv_status ref_create(struct ref *r, unsigned ioas, const struct hc_ioas_create *in);
enum hv_status ref_destroy(struct ref *r, unsigned ioas);
enum hv_status ref_map(struct ref *r, unsigned ioas, const struct hc_ioas_map *in, uint64_t *value);
enum hv_status ref_unmap(struct ref *r, unsigned ioas, const struct hc_ioas_unmap *in,
                         uint64_t *value);
/* @most: stop after so many bytes, as if memory had run out there. */
enum hv_status ref_copy(struct ref *r, unsigned to, unsigned from, const struct hc_ioas_copy *in,
                        uint64_t most, uint64_t *value);
enum hv_status ref_require(struct ref *r, unsigned ioas, const struct hc_iova_range *list,
                           unsigned count);
/* Ascending, none touching the next. @return how many. */
unsigned ref_allowed(const struct ref *r, unsigned ioas, struct ref_range *out);
/* May that IOAS be attached to a device, as it is now? */
enum hv_status ref_check_ioas(const struct ref *r, unsigned ioas, unsigned device);
/* @pasid: a slot. */
enum hv_status ref_attach(struct ref *r, unsigned device, unsigned pasid, struct ref_target target);
/* @slot: which one is wanted, or REF_ANY; on success, which one it is. */
enum hv_status ref_bind(struct ref *r, unsigned device, unsigned root, uint32_t flags,
                        unsigned *slot);
/* @left: references. */
enum hv_status ref_unbind(struct ref *r, unsigned device, unsigned slot, uint64_t *left);
enum hv_status ref_iopf_enable(struct ref *r, unsigned device, uint32_t categories);
enum hv_status ref_iopf_disable(struct ref *r, unsigned device);
/* Everything of it ends, and it is as at the start. */
enum hv_status ref_reset(struct ref *r, unsigned device);
/* The device did not answer: it is BLOCKED for good, and nobody answers it any more. */
void ref_fail(struct ref *r, unsigned device);
/* Has a PASID a meaning? */
bool ref_carried(const struct ref *r, unsigned slot);
/* Is a first stage of the guest attached there, even if BLOCKED for now? */
bool ref_has_root(const struct ref *r, unsigned device, unsigned slot);

enum hv_status ref_memory(struct ref *r, const struct hc_memory_on_demand *in, uint64_t *value);

enum ref_request { REF_INVALID, REF_SUCCESS, REF_GUEST };
/* Who answers a page request, for a read and perhaps a write, and what; what is on demand comes. */
enum ref_request ref_page_request(struct ref *r, unsigned device, unsigned slot, uint64_t address,
                                  bool write);
/* The group of index @i is answered. */
void ref_answered(struct ref *r, unsigned i, uint8_t code);
/* By the guest, so that what it has supplied comes where Sluice walks its tables. */
void ref_guest_answered(struct ref *r, unsigned i, uint8_t code);
/* What an IOAS on demand asks of a device: that it can ask. */
bool ref_has_demand(const struct ref *r, unsigned ioas);
enum hv_status ref_may_ask(const struct ref *r, unsigned device);
/* A page of a first stage, NULL: absent. */
struct ref_page *ref_page(struct ref *r, unsigned root, uint64_t va);
bool ref_in_ram(const struct ref *r, uint64_t gpa, uint64_t bytes);
/* Where a DMA of a device goes: guest physical. MAYBE: there, if it was asked for already, which
 * depends on who asked for what around it and whose tables are shared. */
enum ref_reach { REF_NO, REF_MAYBE, REF_YES };
enum ref_reach ref_ioas_translate(const struct ref *r, unsigned ioas, uint64_t address, bool write,
                                  bool writable_is_readable, uint64_t *gpa);
/* Is that page mapped on demand there, for a read and perhaps a @write? */
bool ref_ioas_serves(const struct ref *r, unsigned ioas, uint64_t address, bool write);
enum ref_reach ref_translate(const struct ref *r, unsigned device, unsigned pasid, uint64_t address,
                             bool write, uint64_t *gpa);

#endif
