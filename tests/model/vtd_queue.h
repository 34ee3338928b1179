/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the invalidation queue (vtd_queue.c) and what its descriptors do (vtd_invalidate.c).
 */
#ifndef TESTS_MODEL_VTD_QUEUE_H
#define TESTS_MODEL_VTD_QUEUE_H

#include "tests/model/vtd_internal.h"

enum {
    VTD_T_CC = 1,
    VTD_T_IOTLB,
    VTD_T_DTLB,
    VTD_T_IEC,
    VTD_T_WAIT,
    VTD_T_PIOTLB,
    VTD_T_PC,
    VTD_T_PDTLB,
    VTD_T_RESPONSE
};

static inline unsigned vtd_desc_type(const uint64_t q[4])
{
    return (unsigned)(vtd_bits(q[0], 11, 9) << 4 | vtd_bits(q[0], 3, 0));
}

/* Types 1, 2, 4, 6 and 7. */
void vtd_invalidate(struct vtd_model *m, const uint64_t q[4]);

#endif
