/* SPDX-License-Identifier: BSD-2-Clause */
/* vtd_queue_put for callers that know their number of descriptors: it unrolls to two stores for
 * each. */
#ifndef DRIVERS_IOMMU_VTD_QUEUE_PUT_H
#define DRIVERS_IOMMU_VTD_QUEUE_PUT_H

#include "drivers/iommu/vtd/unit.h"

#define VTD_HOT __attribute__((always_inline)) static inline

VTD_HOT enum hv_status vtd_queue_put_inline(struct iommu_unit *unit, const struct vtd_desc *desc,
                                            unsigned n, uint64_t *first)
{
    struct vtd_queue *q = &unit->queue;
    enum hv_status status = HV_OK;
    lock_take(&q->lock);
    if (__builtin_expect(q->tail + n >= q->limit, 0)) /* and a wait behind them */
        status = vtd_queue_make_room(unit, n);
    if (!status) {
        uint64_t tail = q->tail;
        if (!*first)
            *first = q->next;
        q->tail = tail + n;
        for (unsigned i = 0; i < n; i++) {
            uint64_t *entry = q->ring + ((tail + i) % QUEUE_ENTRIES << q->shift);
            entry[0] = desc[i].q0;
            entry[1] = desc[i].q1;
        }
    }
    lock_drop(&q->lock);
    return status;
}

#endif
