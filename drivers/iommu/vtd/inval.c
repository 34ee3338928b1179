/* SPDX-License-Identifier: BSD-2-Clause */
/* What each change must invalidate: see inval_build.h for the table. */
#include "drivers/iommu/vtd/inval.h"

#include "drivers/iommu/vtd/inval_build.h"

unsigned vtd_inval_cover(uint64_t base, uint64_t bytes, struct vtd_block block[2])
{
    return vtd_inval_blocks(base, bytes, block);
}

/* MIP, PFSID (6.5.2.5, 6.5.2.6): the physical function, whose invalidations are throttled as one.
 */
uint64_t vtd_inval_device_key(const struct vtd_device *v, bool pasid)
{
    uint64_t key = (uint64_t)v->pci.queue_depth << (pasid ? 4 : 16);
    if (v->unit->hw.throttle)
        key |= (uint64_t)(v->physical & 15) << 12 | (uint64_t)(v->physical >> 4) << 52;
    return key;
}

unsigned vtd_inval_list(enum vtd_change change, const struct vtd_inval_args *args,
                        struct vtd_desc desc[VTD_INVAL_MAX])
{
    struct vtd_block block[2];
    unsigned n = vtd_inval_blocks(args->base, args->bytes, block);
    return vtd_inval_build(change, args, block, n, desc);
}

enum hv_status vtd_inval_put(enum vtd_change change, const struct vtd_inval_args *args,
                             uint64_t *first)
{
    struct vtd_desc desc[VTD_INVAL_MAX];
    unsigned n = vtd_inval_list(change, args, desc);
    return n ? vtd_queue_put(args->unit, desc, n, first) : HV_OK;
}

enum hv_status vtd_inval_run(enum vtd_change change, const struct vtd_inval_args *args, bool drain)
{
    struct vtd_desc desc[VTD_INVAL_MAX];
    unsigned n = vtd_inval_list(change, args, desc);
    return vtd_queue_execute(args->unit, desc, n, drain);
}
