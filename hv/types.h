/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses that carry their meaning. Crossing from one kind to another takes a named function.
 */
#ifndef HV_TYPES_H
#define HV_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"

typedef struct {
    uint64_t v;
} paddr_t; /* host physical */
typedef struct {
    uint64_t v;
} gpaddr_t; /* guest physical */
typedef struct {
    uint64_t v;
} iova_t; /* what a device puts on the bus */
typedef struct {
    uint64_t v;
} ptaddr_t; /* input address of a page table, whichever it is */

#define PADDR(x)  ((paddr_t){ (x) })
#define GPADDR(x) ((gpaddr_t){ (x) })
#define IOVA(x)   ((iova_t){ (x) })
#define PTADDR(x) ((ptaddr_t){ (x) })

#define PAGE_SHIFT 12u
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (PAGE_SIZE - 1)

#define PASID_BITS_MAX 20u
#define PASID_RID      0u /* the PASID under which requests without PASID are translated */

/* A function for what seldom happens. It saves what its caller has in registers, so that callers on
 * a hot path have nothing to save for its sake. */
#define SELDOM __attribute__((cold, noinline, preserve_most))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* PCI requester id: bus 15:8, device 7:3, function 2:0. Segment 0 throughout. */
typedef uint16_t rid_t;

#endif
