/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM with devices behind one, two or four units that can do different things, with the VT-d
 * driver and the unit model beneath: for tests of IOASes, attach and SVA. Functions have device
 * TLBs that keep what they got; every other one has page requests.
 */
#ifndef TESTS_UNIT_IOAS_RIG_H
#define TESTS_UNIT_IOAS_RIG_H

#include "hv/vm.h"
#include "tests/model/vtd_model.h"
#include "tests/platform/platform.h"
#include "tests/unit/ioas_ref.h"

#define RIG_RAM_LOW  (16ull << 20)
#define RIG_RAM_HIGH (4ull << 20)
#define RIG_COMMANDS 0x200000ull
#define RIG_SCRATCH  0x10000ull
#define RIG_ROOT(n)  (0x20000ull + (n) * PAGE_SIZE) /* first stages of the guest; then tables */
#define RIG_EVENTS   0x210000ull
#define RIG_RESERVED 0x600000ull /* 1 MiB, of device 1 */

/* Kinds of units. The first three nest, and differ in what their second stages can be. The fourth
 * could, but does not snoop. */
enum { RIG_SECOND_STAGE = 4, RIG_FIRST_STAGE = 5, RIG_LEGACY = 6, RIG_KINDS = 7 };

struct rig_response {
    unsigned device;
    uint32_t pasid;
    uint16_t number;
    uint8_t code;
};

struct rig {
    struct vm *vm;
    unsigned units;
    uint8_t kind[4];
    bool silent[REF_DEVICES]; /* its TLB does not answer */
    struct rig_response response[16];
    unsigned nresponses;
    uint64_t next_table; /* of first stages */
    struct vtd_model *model[4];
    rid_t rid[REF_DEVICES];
    unsigned unit_of[REF_DEVICES];
    unsigned complaints;
    uint64_t used_when_told; /* pages of the VM's quota at the last device-TLB invalidation */
    char complaint[200];
};
extern struct rig rig;

/* Start it. @units: 1, 2 or 4; two devices each. The facts of it go to @ref. */
void rig_start(unsigned units, struct ref *ref);
/* The same of units of these kinds. */
void rig_start_of(const uint8_t *kinds, unsigned units, struct ref *ref);
/* End the VM. @return pages of its quota, and mappings of the device TLBs, that are left: 0. */
unsigned rig_end(void);

enum hv_status rig_call(uint64_t number, uint64_t a0, uint64_t *value);
/* A call with a structure; @by_ring: through the command ring. */
enum hv_status rig_struct(uint64_t number, const void *in, size_t size, bool by_ring,
                          uint64_t *value);

/* Make the entry of @va in a first stage: 0, or gpa and bits as hardware has them. */
void rig_first_stage(unsigned root, uint64_t va, uint64_t entry);
/* A device asks for a page, in a group of one. */
void rig_request(unsigned device, uint32_t pasid, uint64_t address, bool write, uint16_t number);
/* The next event but faults and failures; false: none. */
bool rig_event(struct hc_event *out);

void rig_relax(void *); /* for tests with hooks of their own: the units work */

/* One DMA as the unit translates it: where it lands. @ats: through the device TLB. */
bool rig_translate(unsigned device, uint32_t pasid, uint64_t address, bool write, bool ats,
                   uint64_t *hpa);
/* Every entry of the device TLBs: is it what @ask says? @return the first that is not, or NULL. */
struct rig_atc {
    bool valid, r, w;
    unsigned device;
    uint32_t pasid;
    uint64_t address, size, hpa;
};
extern struct rig_atc rig_atc[32];

#endif
