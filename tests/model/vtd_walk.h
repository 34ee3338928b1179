/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the walks of the VT-d model: first stage, second stage, and what joins them.
 */
#ifndef TESTS_MODEL_VTD_WALK_H
#define TESTS_MODEL_VTD_WALK_H

#include "tests/model/vtd_internal.h"

enum { VTD_PS = 7 };     /* page size bit, both stages */
enum { VTD_TRIES = 16 }; /* bound on re-reading an entry that keeps changing */

static inline unsigned vtd_level_shift(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

static inline uint64_t vtd_align_down(uint64_t v, unsigned shift)
{
    return v & ~(BIT64(shift) - 1);
}

static inline uint64_t vtd_entry_at(uint64_t table, uint64_t addr, unsigned level)
{
    return table + (addr >> vtd_level_shift(level) & 0x1ff) * 8;
}

/* What a walk needs to know of its PASID-table or context entry. */
struct vtd_stage2 {
    uint64_t root;
    unsigned levels, width;
    bool ssade, snoop, legacy;
};

struct vtd_ss_result {
    uint64_t hpa; /* of the page, aligned to shift */
    unsigned shift;
    bool r, w, snp, dirty;
};

/* When the dirty flag of the leaf is due: never, when W is granted, when R and W are. */
enum vtd_ss_dirty { SS_CLEAN, SS_DIRTY_W, SS_DIRTY_RW };

struct vtd_stage2 vtd_second_of(const struct vtd_model *m, const struct vtd_ask *ask);
enum vtd_ss_dirty vtd_second_dirty(const struct vtd_ask *ask);
uint8_t vtd_second_walk(struct vtd_model *m, const struct vtd_ask *ask, const struct vtd_stage2 *s,
                        uint64_t gpa, enum vtd_ss_dirty dirty, struct vtd_ss_result *out);
uint8_t vtd_first_walk(struct vtd_model *m, const struct vtd_ask *ask, struct vtd_xlat *out);
/* Set flags in an entry. Returns 0, `failed`, or 0xff when the entry has changed: read it again. */
uint8_t vtd_walk_set_flags(struct vtd_model *m, const struct vtd_ask *ask, uint64_t at,
                           uint64_t old, uint64_t flags, uint8_t failed);

#endif
