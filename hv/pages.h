/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sluice's own memory: one pool of pages, every page charged to a quota. Pages are zeroed when
 * taken.
 */
#ifndef HV_PAGES_H
#define HV_PAGES_H

#include "hv/types.h"

#define PAGES_ORDER_MAX 10u /* 4 MiB */

/* What one owner may hold. limit and used are pages; guarded by the pool's lock. */
struct page_quota {
    uint64_t limit, used;
};

/* Give [base, base + size) to the pool. Page aligned. Boot only; may be called several times. */
void pages_add(paddr_t base, uint64_t size);

/* Take 2^order contiguous, naturally aligned, zeroed pages, charged to @quota (NULL: Sluice
 * itself). Returns HV_EQUOTA when the owner has used up its own, HV_ENOMEM when the pool is empty.
 * Lock: none needed. */
enum hv_status pages_alloc(struct page_quota *quota, unsigned order, void **out);
/* Give them back, to the same quota and order. NULL is allowed. */
void pages_free(struct page_quota *quota, unsigned order, void *pages);

/* Order of the smallest allocation that holds @bytes. */
static inline unsigned pages_order(uint64_t bytes)
{
    unsigned order = 0;

    while (PAGE_SIZE << order < bytes)
        order++;
    return order;
}

uint64_t pages_total(void);
uint64_t pages_used(void);

/* For tests: let the next @n allocations succeed and all after them fail with HV_ENOMEM; -1: no
 * limit. */
void pages_fail_after(int64_t n);

#endif
