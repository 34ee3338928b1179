/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rules of IOAS, Domain and Attach say, for tests: lists of mappings and of reservations,
 * looked through from end to end each time. Written from the rules; nothing of the hypervisor is
 * used but the ABI.
 */
#ifndef TESTS_UNIT_IOAS_REF_H
#define TESTS_UNIT_IOAS_REF_H

#include <stdbool.h>

#include "sluice/hypercall.h"
#include "sluice/status.h"

#define REF_IOASES   4u
#define REF_DEVICES  8u
#define REF_PASIDS   4u /* slot 0: the RID */
#define REF_MAPPINGS 256u

struct ref_range {
    uint64_t first, last;
};

struct ref_mapping {
    uint64_t first, last, gpa;
    uint32_t access; /* HC_IOAS_READ and so on */
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
    unsigned depths; /* of its unit: bit n, n + 3 levels */
    unsigned width;  /* bits of address */
    bool nested;
    struct ref_range reserved[4];
    unsigned nreserved;
};

struct ref_target {
    enum hc_domain domain;
    unsigned ioas;
    uint64_t root;
};

struct ref {
    struct ref_range ram[2];
    struct ref_device device[REF_DEVICES];
    unsigned ndevices;
    struct ref_ioas ioas[REF_IOASES];
    struct ref_target target[REF_DEVICES][REF_PASIDS];
};

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
enum hv_status ref_attach(struct ref *r, unsigned device, unsigned pasid, struct ref_target target);

/* Where a DMA of a device goes: guest physical. False: refused. */
bool ref_translate(const struct ref *r, unsigned device, unsigned pasid, uint64_t address,
                   bool write, uint64_t *gpa);

#endif
