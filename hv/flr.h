/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Function level reset (PCIe 6.6.2): the function forgets everything, its configuration space is
 * put back as it was. Several can be reset at once: begin each, wait once, end each. Nobody else
 * touches the configuration space of a function meanwhile.
 */
#ifndef HV_FLR_H
#define HV_FLR_H

#include "hv/types.h"

#define FLR_WAIT_US  100000u  /* it may take so long before it can be looked at */
#define FLR_READY_US 1000000u /* and so long after that, until it answers */

#define FLR_FIELDS 20u

/* What configuration space held; a value for each field of the table in flr.c. */
struct flr {
    rid_t rid;
    bool begun;
    uint32_t id, command;
    uint32_t value[FLR_FIELDS];
};

bool flr_offered(rid_t rid);
/* Stop its DMA, wait (for no longer than FLR_WAIT_US) for what is under way, and reset it.
 * HV_ENODEV: it does not answer; HV_ENOTSUP: not offered; nothing has been done. Lock: none. */
enum hv_status flr_begin(rid_t rid, struct flr *out);
/* FLR_WAIT_US later: wait until it answers, and put configuration space back. HV_ENODEV: it is not
 * there any more, or something else is; HV_ETIMEDOUT: it does not come back. Nothing if it was not
 * begun. Lock: none. */
enum hv_status flr_end(struct flr *f);

#endif
