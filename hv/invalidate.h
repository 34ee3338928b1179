/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Orders of single pages on their way to the driver. Guests invalidate page after page of one
 * process: such a run is collected and goes to each device at once.
 */
#ifndef HV_INVALIDATE_H
#define HV_INVALIDATE_H

#include "hv/types.h"
#include "sluice/hypercall.h"

#define INVALIDATE_RUN 64u

struct vm;
struct space;

/* A structure's 8-byte words, whatever their fields. */
typedef uint64_t __attribute__((may_alias)) word_t;

/* Guarded by the VM's lock. */
struct invalidate_run {
    iova_t page[INVALIDATE_RUN];
    const struct space *space; /* NULL: none collected */
    uint32_t pages;
    bool leaf;
    uint16_t units;        /* by index: all of the VM there is ordered since the last flush */
    enum hv_status status; /* what units said to orders on shadows since the last flush */
    /* size, flags, kind, pasid, device, reserved of the orders in it; of none: pages is full */
    word_t like[3];
};

/* Is @order (a hc_invalidate of this version) like those in the run but for its address? Then it is
 * checked already, and now part of the run. */
static inline bool invalidate_again(struct invalidate_run *run, const word_t *order)
{
    word_t other = (order[0] ^ run->like[0]) | (order[1] ^ run->like[1]) |
                   (order[2] ^ run->like[2]) | (order[3] & PAGE_MASK) | (order[4] ^ PAGE_SIZE);

    static_assert(offsetof(struct hc_invalidate, address) == 24 &&
                  offsetof(struct hc_invalidate, bytes) == 32);
    if (other || run->pages == INVALIDATE_RUN)
        return false;
    run->page[run->pages++] = IOVA(order[3]);
    return true;
}

/* Pass on what is collected. Lock: the VM's. */
__attribute__((noinline)) void invalidate_send_run(struct invalidate_run *run);

static inline void invalidate_send(struct invalidate_run *run)
{
    if (run->space)
        invalidate_send_run(run);
}

#endif
