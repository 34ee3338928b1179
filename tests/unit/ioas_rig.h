/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM with devices behind one, two or four units that can do different things, with the VT-d
 * driver and the unit model beneath: for tests of IOASes. Functions have device TLBs that keep what
 * they got.
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
#define RIG_ROOT     0x11000ull  /* an empty first stage */
#define RIG_RESERVED 0x600000ull /* 1 MiB, of device 1 */

struct rig {
    struct vm *vm;
    unsigned units;
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
/* End the VM. @return pages of its quota, and mappings of the device TLBs, that are left: 0. */
unsigned rig_end(void);

enum hv_status rig_call(uint64_t number, uint64_t a0, uint64_t *value);
/* A call with a structure; @by_ring: through the command ring. */
enum hv_status rig_struct(uint64_t number, const void *in, size_t size, bool by_ring,
                          uint64_t *value);

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
