/* SPDX-License-Identifier: BSD-2-Clause */
/* No remapping hardware: no units, so no device can be given to a guest. */
#include "drivers/iommu/iommu.h"

static enum hv_status probe(const void *table, size_t length, const struct iommu_events *events)
{
    (void)table, (void)length, (void)events;
    return HV_OK;
}

static enum hv_status start(void)
{
    return HV_OK;
}

static unsigned unit_count(void)
{
    return 0;
}

static struct iommu_unit *unit(unsigned index)
{
    (void)index;
    return NULL;
}

static const struct iommu_caps *caps(const struct iommu_unit *u)
{
    (void)u;
    return NULL;
}

static struct iommu_unit *unit_of(rid_t rid)
{
    (void)rid;
    return NULL;
}

static enum hv_status device_add(struct iommu_device *dev)
{
    (void)dev;
    return HV_ENOTSUP;
}

static enum hv_status device_join(struct iommu_device *dev, struct iommu_device *first)
{
    (void)dev, (void)first;
    return HV_ENOTSUP;
}

static void device_nothing(struct iommu_device *dev)
{
    (void)dev;
}

static enum hv_status device_refused(struct iommu_device *dev)
{
    (void)dev;
    return HV_ENOTSUP;
}

static void device_fail(struct iommu_device *dev, enum hv_status why)
{
    (void)dev, (void)why;
}

static enum hv_status stage2_create(struct iommu_unit *u, const struct pt *table,
                                    struct iommu_stage2 *out)
{
    (void)u, (void)table, (void)out;
    return HV_ENOTSUP;
}

static enum hv_status stage2_destroy(struct iommu_stage2 *stage2)
{
    (void)stage2;
    return HV_OK;
}

static enum hv_status stage2_changed(struct iommu_stage2 *stage2, gpaddr_t base, uint64_t bytes)
{
    (void)stage2, (void)base, (void)bytes;
    return HV_OK;
}

static enum hv_status attach(struct iommu_device *dev, uint32_t pasid,
                             const struct iommu_target *target)
{
    (void)dev, (void)pasid, (void)target;
    return HV_ENOTSUP;
}

static enum hv_status block(struct iommu_device *dev, uint32_t pasid)
{
    (void)dev, (void)pasid;
    return HV_OK;
}

static enum hv_status page_requests_on(struct iommu_device *dev, uint16_t outstanding)
{
    (void)dev, (void)outstanding;
    return HV_ENOTSUP;
}

static uint32_t page_requests_free(const struct iommu_unit *u)
{
    (void)u;
    return 0;
}

static enum hv_status irq_map(struct iommu_device *dev, struct iommu_irq *irq,
                              const struct irq_target *to)
{
    (void)dev, (void)irq, (void)to;
    return HV_ENOTSUP;
}

static enum hv_status irq_unmap(struct iommu_device *dev, struct iommu_irq *irq)
{
    (void)dev, (void)irq;
    return HV_OK;
}

static void invalidate(const struct iommu_inval *inval)
{
    (void)inval;
}

static void respond(struct iommu_device *dev, const struct iommu_page_request *last, bool success)
{
    (void)dev, (void)last, (void)success;
}

static enum hv_status flush(void)
{
    return HV_OK;
}

static void poll(void)
{
}

const struct iommu_ops iommu_none = {
    .name = "none",
    .probe = probe,
    .start = start,
    .unit_count = unit_count,
    .unit = unit,
    .caps = caps,
    .unit_of = unit_of,
    .device_add = device_add,
    .device_join = device_join,
    .device_remove = device_nothing,
    .device_stop = device_refused,
    .device_restart = device_refused,
    .device_fail = device_fail,
    .stage2_create = stage2_create,
    .stage2_destroy = stage2_destroy,
    .stage2_changed = stage2_changed,
    .attach = attach,
    .block = block,
    .page_requests_on = page_requests_on,
    .page_requests_off = device_nothing,
    .page_requests_free = page_requests_free,
    .irq_map = irq_map,
    .irq_unmap = irq_unmap,
    .invalidate = invalidate,
    .respond = respond,
    .flush = flush,
    .poll = poll,
};
