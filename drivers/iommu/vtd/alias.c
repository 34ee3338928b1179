/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu/vtd/alias.h"

#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

enum hv_status vtd_alias_add(struct vtd_device *v, rid_t rid)
{
    struct iommu_unit *unit = v->unit;
    struct vtd_device **slot;
    uint64_t *entry;
    enum hv_status status = vtd_device_slot(unit, rid, &slot);
    if (!status)
        status = vtd_context_entry(unit, rid, &entry);
    if (status || *slot == v) /* the bridge's id is that of a function, too */
        return status;
    if (*slot)
        return HV_EEXIST;
    if (v->naliases == VTD_ALIASES_MAX)
        return HV_ERANGE;
    lock_take(&unit->queue.lock);
    *slot = v;
    v->alias[v->naliases++] = rid;
    lock_drop(&unit->queue.lock);
    return vtd_context_follow(v);
}

enum hv_status vtd_device_join(struct iommu_device *dev, struct iommu_device *first)
{
    struct vtd_device *v = first->driver;
    if (!v || !first->aliased || dev->alias != first->alias)
        return HV_EINVAL;
    if (dev->unit != v->unit)
        return HV_ENOTSUP;
    dev->driver = v;
    enum hv_status status = vtd_alias_add(v, dev->rid);
    if (status)
        vtd_device_leave(dev);
    return status;
}

void vtd_device_leave(struct iommu_device *dev)
{
    struct vtd_device *v = dev->driver;
    struct iommu_unit *unit = v->unit;
    unsigned i = 0;
    dev->driver = NULL;
    while (i < v->naliases && v->alias[i] != dev->rid)
        i++;
    if (i == v->naliases || dev->rid == v->dev->alias)
        return; /* others carry this one as well */
    lock_take(&unit->queue.lock);
    vtd_context_clear_one(v, 1 + i);
    lock_drop(&unit->queue.lock);
    if (vtd_context_invalidate(v, false)) /* it may still translate as the others do */
        log_error("vtd", "%s: device %04x: not confirmed gone", unit->name, dev->rid);
    lock_take(&unit->queue.lock);
    unit->by_bus[dev->rid >> 8][dev->rid & 0xff] = NULL;
    v->alias[i] = v->alias[--v->naliases];
    lock_drop(&unit->queue.lock);
}
