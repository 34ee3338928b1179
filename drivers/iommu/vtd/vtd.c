/* SPDX-License-Identifier: BSD-2-Clause */
/* Intel VT-d behind the IOMMU contract: the units of a machine. */
#include "drivers/iommu/iommu.h"

#include "drivers/iommu/vtd/alias.h"
#include "drivers/iommu/vtd/batch.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/dmar.h"
#include "drivers/iommu/vtd/intremap.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/pages.h"
#include "hv/pci.h"

static struct dmar dmar;
static struct iommu_unit *units; /* dmar.nunits of them */

/* One function whose walks or pages must not be snooped: the tables of its unit are flushed, and
 * their leaves ask for nothing. */
static void limit_snooping(unsigned index)
{
    struct iommu_caps *caps = &units[index].caps;
    for (unsigned i = 0; i < dmar.properties.n; i++) {
        const struct dmar_claim *c = &dmar.properties.claim[i];
        if (vtd_dmar_unit_of(&dmar, c->first) != (int)index)
            continue;
        if (c->what & DMAR_NO_WALK_SNOOP)
            caps->coherent_tables = false;
        if (c->what & DMAR_NO_PAGE_SNOOP && caps->second_stage_format == &pt_format_vtd2_snoop)
            caps->second_stage_format = &pt_format_vtd2;
    }
}

static enum hv_status probe_units(const struct iommu_events *events)
{
    enum hv_status result = HV_OK;
    for (unsigned i = 0; i < dmar.nunits && (!result || result == HV_ENOTSUP); i++) {
        enum hv_status status =
            vtd_unit_probe(&units[i], i, dmar.unit[i].base, dmar.unit[i].size, events);
        if (status) /* look at the others too: all that is missing is logged */
            result = status;
        limit_snooping(i);
    }
    return result;
}

static enum hv_status vtd_probe(const void *table, size_t length, const struct iommu_events *events)
{
    void *memory = NULL;
    enum hv_status status = vtd_dmar_parse(table, length, &dmar);
    unsigned order = pages_order(dmar.nunits * sizeof *units);
    if (!status)
        status = pages_alloc(NULL, order, &memory);
    units = memory;
    if (!status)
        status = probe_units(events);
    if (status) {
        dmar.nunits = 0;
        pages_free(NULL, order, memory);
    }
    return status;
}

static enum hv_status vtd_start(void)
{
    enum hv_status status = dmar.nunits ? vtd_batch_start() : HV_ENODEV;
    for (unsigned i = 0; i < dmar.nunits && !status; i++)
        status = vtd_unit_start(&units[i]);
    return status;
}

static unsigned vtd_unit_count(void)
{
    return dmar.nunits;
}

struct iommu_unit *vtd_unit(unsigned index)
{
    return index < dmar.nunits ? &units[index] : NULL;
}

static const struct iommu_caps *vtd_caps(const struct iommu_unit *unit)
{
    return &unit->caps;
}

static struct iommu_unit *vtd_unit_of(rid_t rid)
{
    int index =
        vtd_dmar_unit_of(&dmar, pci_physical(rid)); /* a virtual function's is its own (8.3.3) */
    return index < 0 ? NULL : vtd_unit((unsigned)index);
}

static enum hv_status vtd_add(struct iommu_device *dev)
{
    enum hv_status status = vtd_dmar_reserve(&dmar, dev);
    if (status)
        return status;
    if (dev->aliased && vtd_unit_of(dev->alias) != dev->unit)
        return HV_ENOTSUP; /* its requests go past the unit */
    const char *why = "the configuration says so";
    bool ats =
        dev->ats_wanted == IOMMU_ATS_ON ||
        (dev->ats_wanted == IOMMU_ATS_AUTO && vtd_dmar_ats(&dmar, pci_physical(dev->rid), &why));
    status = vtd_device_add(dev, ats ? NULL : why);
    if (!status)
        vtd_device_limit(dev, vtd_dmar_properties(&dmar, dev->rid));
    return status;
}

static enum hv_status vtd_join(struct iommu_device *dev, struct iommu_device *first)
{
    enum hv_status status = vtd_dmar_reserve(&dmar, dev);
    return status ? status : vtd_device_join(dev, first);
}

static uint32_t vtd_page_requests_free(const struct iommu_unit *unit)
{
    return unit->prq.ring ? PRQ_ENTRIES - 1 - unit->prq.promised : 0;
}

static void vtd_poll(void)
{
    for (unsigned i = 0; i < dmar.nunits; i++)
        vtd_unit_poll(&units[i]);
}

const struct iommu_ops iommu_vtd = {
    .name = "vtd",
    .probe = vtd_probe,
    .start = vtd_start,
    .unit_count = vtd_unit_count,
    .unit = vtd_unit,
    .caps = vtd_caps,
    .unit_of = vtd_unit_of,
    .device_add = vtd_add,
    .device_join = vtd_join,
    .device_remove = vtd_device_remove,
    .device_stop = vtd_device_stop,
    .device_restart = vtd_device_restart,
    .device_fail = vtd_device_lost,
    .stage2_create = vtd_stage2_create,
    .stage2_destroy = vtd_stage2_destroy,
    .stage2_changed = vtd_stage2_changed,
    .attach = vtd_attach,
    .block = vtd_block,
    .page_requests_on = vtd_page_requests_on,
    .page_requests_off = vtd_page_requests_off,
    .page_requests_free = vtd_page_requests_free,
    .irq_map = vtd_irq_map,
    .irq_unmap = vtd_irq_unmap,
    .invalidate = vtd_batch_invalidate,
    .respond = vtd_batch_respond,
    .flush = vtd_batch_flush,
    .poll = vtd_poll,
};
