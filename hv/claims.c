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
    bool firmware;
} claims[CLAIMS_MAX];
static unsigned nclaims;

static enum hv_status add(uint64_t base, uint64_t size, bool firmware)
{
    if (size == 0 || base + size - 1 < base)
        return HV_ERANGE;
    if (nclaims == CLAIMS_MAX)
        return HV_ENOMEM;
    claims[nclaims++] = (struct claim){ base, base + size - 1, firmware };
    return HV_OK;
}

static void must_add(paddr_t base, uint64_t size, bool firmware)
{
    lock_take(&lock);
    enum hv_status status = add(base.v, size, firmware);
    lock_drop(&lock);
    hv_assert(status == HV_OK);
}

void claims_add(paddr_t base, uint64_t size)
{
    must_add(base, size, false);
}

void claims_add_firmware(paddr_t base, uint64_t size)
{
    must_add(base, size, true);
}

/* @but: not counted; NULL: all are. */
static bool overlaps(uint64_t base, uint64_t size, const struct claim *but)
{
    for (const struct claim *c = claims; c < claims + nclaims; c++) {
        if (c != but && base <= c->last && c->base <= base + size - 1)
            return true;
    }
    return false;
}

/* The one that all of it lies in. */
static const struct claim *firmware_around(uint64_t base, uint64_t size)
{
    for (const struct claim *c = claims; c < claims + nclaims; c++) {
        if (c->firmware && base >= c->base && size - 1 <= c->last - base && base <= c->last)
            return c;
    }
    return NULL;
}

enum hv_status claims_take_firmware(paddr_t base, uint64_t size)
{
    enum hv_status status = HV_EINVAL;

    lock_take(&lock);
    const struct claim *around = size ? firmware_around(base.v, size) : NULL;
    if (around)
        status = overlaps(base.v, size, around) ? HV_EEXIST : add(base.v, size, false);
    lock_drop(&lock);
    return status;
}

enum hv_status claims_take(paddr_t base, uint64_t size)
{
    lock_take(&lock);
    enum hv_status status = overlaps(base.v, size, NULL) ? HV_EEXIST : add(base.v, size, false);
    lock_drop(&lock);
    return status;
}

void claims_drop(paddr_t base, uint64_t size)
{
    lock_take(&lock);
    unsigned i = 0;
    while (i < nclaims &&
           (claims[i].firmware || claims[i].base != base.v || claims[i].last != base.v + size - 1))
        i++;
    bool found = i < nclaims;
    if (found)
        claims[i] = claims[--nclaims];
    lock_drop(&lock);
    hv_assert(found);
}
