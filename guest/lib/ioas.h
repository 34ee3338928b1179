/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls on IOASes (docs/abi.md, 32 to 38) as C functions; see guest/lib/sluice.h. */
#ifndef GUEST_LIB_IOAS_H
#define GUEST_LIB_IOAS_H

#include "guest/lib/sluice.h"

/* An aperture of [@first, @last]; 0, 0: all that 4 levels of tables reach. */
enum hv_status ioas_create(uint64_t first, uint64_t last, uint32_t *ioas);
/* Goes on until it is empty. */
enum hv_status ioas_destroy(uint32_t ioas);
/* @iova: a hint, and where it is then; with HC_IOAS_FIXED: where it shall be. Up to HC_IOAS_STEP
 * bytes. */
enum hv_status ioas_map(uint32_t ioas, uint32_t flags, uint64_t *iova, uint64_t gpa,
                        uint64_t bytes);
enum hv_status ioas_unmap(uint32_t ioas, uint32_t flags, uint64_t iova, uint64_t bytes,
                          uint64_t *done);
enum hv_status ioas_copy(uint32_t to, uint32_t from, uint64_t to_iova, uint64_t from_iova,
                         uint64_t bytes);
enum hv_status ioas_require(uint32_t ioas, const struct hc_iova_range *ranges, uint32_t count);
/* @count: room in @ranges, and how many there are then. */
enum hv_status ioas_ranges(uint32_t ioas, struct hc_iova_range *ranges, uint32_t *count);

#endif
