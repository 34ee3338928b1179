/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/claims.h"

#include "hv/bootinfo.h"
#include "hv/lock.h"
#include "hv/log.h"

/* The memory map, registers of units and IO APICs, and BARs. Looked at only at boot and when a VM
 * ends. */
#define CLAIMS_MAX (BOOT_MEMORY_MAX + 768u)

static struct lock lock = LOCK(RANK_PAGES); /* the table */
static struct claim {
    uint64_t base, last; /* inclusive */
} claims[CLAIMS_MAX];
static unsigned nclaims;

static enum hv_status add(uint64_t base, uint64_t size)
{
    if (size == 0 || base + size - 1 < base)
        return HV_ERANGE;
    if (nclaims == CLAIMS_MAX)
        return HV_ENOMEM;
    claims[nclaims++] = (struct claim){ base, base + size - 1 };
    return HV_OK;
}

void claims_add(paddr_t base, uint64_t size)
{
    lock_take(&lock);
    enum hv_status status = add(base.v, size);
    lock_drop(&lock);
    hv_assert(status == HV_OK);
}

static bool overlaps(uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < nclaims; i++) {
        if (base <= claims[i].last && claims[i].base <= base + size - 1)
            return true;
    }
    return false;
}

enum hv_status claims_take(paddr_t base, uint64_t size)
{
    lock_take(&lock);
    enum hv_status status = overlaps(base.v, size) ? HV_EEXIST : add(base.v, size);
    lock_drop(&lock);
    return status;
}

void claims_drop(paddr_t base, uint64_t size)
{
    lock_take(&lock);
    unsigned i = 0;
    while (i < nclaims && (claims[i].base != base.v || claims[i].last != base.v + size - 1))
        i++;
    bool found = i < nclaims;
    if (found)
        claims[i] = claims[--nclaims];
    lock_drop(&lock);
    hv_assert(found);
}
