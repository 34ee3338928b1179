/* SPDX-License-Identifier: BSD-2-Clause */
/* A function behind a unit: coming, going, page requests on and off, and being cut off. */
#include "drivers/iommu/vtd/device.h"

#include "drivers/iommu/vtd/alias.h"
#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/dmar.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/pasid.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"
#include "hv/pci.h"

static_assert(sizeof(struct vtd_device) <= PAGE_SIZE, "a device is one page");

enum hv_status vtd_device_slot(struct iommu_unit *unit, rid_t rid, struct vtd_device ***slot)
{
    struct vtd_device ***bus = &unit->by_bus[rid >> 8];
    if (!*bus) {
        void *page;
        enum hv_status status = pages_alloc(NULL, 0, &page);
        if (status)
            return status;
        *bus = page;
    }
    *slot = &(*bus)[rid & 0xff];
    return HV_OK;
}

static void caps_fill(struct iommu_device *dev, struct vtd_device *v, const char *no_ats)
{
    const struct vtd_caps *hw = &v->unit->hw;
    if (dev->aliased) /* it has no extended configuration space, whatever is read there */
        v->pci = (struct pcicaps){ .rid = v->rid };
    else
        pcicaps_read(v->rid, &v->pci);
    dev->pasid_bits = v->pci.pasid_bits < hw->pasid_bits ? v->pci.pasid_bits : hw->pasid_bits;
    dev->ats = hw->device_tlb && v->pci.ats && v->pci.page_aligned && !no_ats;
    if (hw->device_tlb && v->pci.ats && !dev->ats)
        log_info("vtd", "%s: device %02x:%02x.%x: ATS stays off: %s", v->unit->name, v->rid >> 8,
                 v->rid >> 3 & 31, v->rid & 7,
                 no_ats ? no_ats : "its requests may not be page aligned");
    dev->pri_pasid_required = v->pci.pri_pasid;
    /* Responses carry the PASID of the request; a function with PASID that cannot take that is
     * undefined behaviour (PCIe 10.5.2.3). */
    dev->pri =
        dev->ats && hw->page_requests && v->pci.pri && (!dev->pasid_bits || v->pci.pri_pasid);
    dev->pri_capacity = dev->pri ? v->pci.pri_capacity : 0;
    dev->failed = false;
    v->ats = dev->ats && hw->scalable; /* else: see legacy.c */
    v->physical = pci_physical(v->rid);
    v->key = vtd_inval_device_key(v, false);
    v->pasid_key = vtd_inval_device_key(v, true);
}

/* Requests of the function find its tables from here on; BLOCKED. */
static enum hv_status admit(struct vtd_device *v)
{
    enum hv_status status = HV_OK;
    if (v->dev->pasid_bits)
        pcicaps_pasid(&v->pci, true); /* before ATS: undefined after */
    if (v->unit->hw.scalable)
        status = vtd_context_set(v);
    if (!status && v->ats)
        pcicaps_ats(&v->pci, true);
    return status;
}

/* The opposite: nothing of the function passes, and nothing of it is cached or under way. */
static enum hv_status shut_out(struct vtd_device *v)
{
    struct iommu_unit *unit = v->unit;
    bool pri = v->pri, failed = v->failed;
    pcicaps_pri_off(&v->pci);
    v->pri = false;
    /* One store blocks all PASIDs, and translated requests too. */
    lock_take(&unit->queue.lock);
    vtd_context_clear(v);
    lock_drop(&unit->queue.lock);
    enum hv_status status = vtd_context_invalidate(v, pri);
    if (!status && (pri || failed))
        status = vtd_prq_drain(v, -1);
    v->ats = false;
    pcicaps_ats(&v->pci, false);
    pcicaps_pasid(&v->pci, false);
    return status;
}

enum hv_status vtd_device_add(struct iommu_device *dev, const char *no_ats)
{
    struct iommu_unit *unit = dev->unit;
    struct vtd_device **slot;
    void *page;
    if (!unit || !unit->root)
        return HV_ENODEV;
    dev->driver = NULL;
    enum hv_status status = vtd_device_slot(unit, dev->rid, &slot);
    if (status)
        return status;
    if (*slot)
        return HV_EEXIST;
    status = pages_alloc(dev->quota, 0, &page);
    if (status)
        return status;
    struct vtd_device *v = page;
    v->dev = dev;
    v->unit = unit;
    v->rid = dev->rid;
    status = vtd_context_entry(unit, v->rid, &v->context);
    if (status)
        goto fail_page;
    caps_fill(dev, v, no_ats);
    if (unit->hw.scalable)
        status = vtd_pasid_tables_make(v);
    if (status)
        goto fail_page;

    lock_take(&unit->devices_lock);
    v->next = unit->devices;
    unit->devices = v;
    lock_drop(&unit->devices_lock);
    lock_take(&unit->queue.lock);
    *slot = v;
    lock_drop(&unit->queue.lock);
    dev->driver = v;

    if (dev->aliased)
        status = vtd_alias_add(v, dev->alias);
    if (!status)
        status = admit(v);
    if (status)
        vtd_device_remove(dev);
    return status;

fail_page:
    pages_free(dev->quota, 0, page);
    return status;
}

void vtd_device_limit(struct iommu_device *dev, unsigned properties)
{
    struct vtd_device *v = dev->driver;
    v->rid_no_walk_snoop = properties & DMAR_NO_WALK_SNOOP;
    v->rid_no_page_snoop = properties & DMAR_NO_PAGE_SNOOP;
    /* Nor without snooped walks: nobody flushes the guest's tables. */
    v->rid_no_nesting = properties & (DMAR_NO_NESTING | DMAR_NO_WALK_SNOOP);
}

/* Lock: the queue's. */
static void forget_failure(struct vtd_device *v)
{
    for (struct vtd_device **at = &v->unit->failures; *at; at = &(*at)->next_failed)
        if (*at == v) {
            *at = v->next_failed;
            break;
        }
}

void vtd_device_remove(struct iommu_device *dev)
{
    struct vtd_device *v = dev->driver;
    if (v && v->dev != dev)
        vtd_device_leave(dev);
    if (!v || v->dev != dev)
        return;
    struct iommu_unit *unit = v->unit;
    enum hv_status status = shut_out(v);

    lock_take(&unit->devices_lock);
    for (struct vtd_device **at = &unit->devices; *at; at = &(*at)->next)
        if (*at == v) {
            *at = v->next;
            break;
        }
    lock_drop(&unit->devices_lock);
    /* Requests find it under prq.lock, errors and faults under queue.lock. */
    lock_take(&unit->prq.lock);
    lock_take(&unit->queue.lock);
    unit->by_bus[v->rid >> 8][v->rid & 0xff] = NULL;
    for (unsigned i = 0; i < v->naliases; i++)
        unit->by_bus[v->alias[i] >> 8][v->alias[i] & 0xff] = NULL;
    forget_failure(v);
    unit->prq.promised -= v->outstanding;
    lock_drop(&unit->queue.lock);
    lock_drop(&unit->prq.lock);
    dev->driver = NULL;
    if (v->rid_did && !status)
        status = vtd_did_free(unit, v->rid_did);
    if (status) {
        /* Hardware may still walk them. */
        log_error("vtd", "%s: device %04x: not confirmed gone (%d): its tables are kept",
                  unit->name, v->rid, status);
        return;
    }
    if (v->dir)
        vtd_pasid_tables_free(v);
    pages_free(dev->quota, 0, v);
}

enum hv_status vtd_device_stop(struct iommu_device *dev)
{
    struct vtd_device *v = dev->driver;
    struct vtd_ticket ticket;
    if (!v)
        return HV_ENODEV;
    lock_take(&v->unit->queue.lock);
    v->why = HV_EIO;
    v->failed = dev->failed = true; /* it is asked nothing from here on */
    lock_drop(&v->unit->queue.lock);
    v->stopped = shut_out(v);
    /* What was asked before is answered or given up: not only what the last wait covers. */
    if (!v->stopped)
        v->stopped = vtd_queue_submit(v->unit, v->unit->queue.oldest, false, &ticket);
    if (!v->stopped)
        v->stopped = vtd_queue_wait(v->unit, ticket);
    return v->stopped;
}

enum hv_status vtd_device_restart(struct iommu_device *dev)
{
    struct vtd_device *v = dev->driver;
    if (!v)
        return HV_ENODEV;
    enum hv_status status = v->stopped;
    if (!status && v->rid_did)
        status = vtd_did_free(v->unit, v->rid_did);
    if (status)
        return status;
    v->rid_did = 0;
    if (v->dir)
        vtd_pasid_tables_trim(v);
    lock_take(&v->unit->queue.lock);
    forget_failure(v);
    v->failed = dev->failed = false;
    lock_drop(&v->unit->queue.lock);
    v->ats = dev->ats && v->unit->hw.scalable;
    status = admit(v);
    if (status)
        vtd_device_fail(v, status);
    return status;
}

void vtd_device_lost(struct iommu_device *dev, enum hv_status why)
{
    if (dev->driver)
        vtd_device_fail(dev->driver, why);
}

enum hv_status vtd_page_requests_on(struct iommu_device *dev, uint16_t outstanding)
{
    struct vtd_device *v = dev->driver;
    if (!v || !dev->pri)
        return HV_ENOTSUP;
    if (v->failed)
        return HV_EIO;
    if (v->pri)
        return HV_EEXIST;
    if (!outstanding || outstanding > dev->pri_capacity)
        return HV_ERANGE;
    if (!pcicaps_present(v->rid)) {
        vtd_device_fail(v, HV_ENODEV);
        return HV_EIO;
    }
    struct iommu_unit *unit = v->unit;
    lock_take(&unit->prq.lock);
    bool fits = unit->prq.promised + outstanding < PRQ_ENTRIES;
    if (fits)
        unit->prq.promised += outstanding;
    lock_drop(&unit->prq.lock);
    if (!fits)
        return HV_EBUSY;
    v->outstanding = outstanding;
    v->pri = true;
    enum hv_status status = vtd_context_page_requests(v, true);
    if (!status)
        status = pcicaps_pri_on(&v->pci, outstanding);
    if (status)
        vtd_page_requests_off(dev);
    if (status && !v->failed)
        vtd_device_fail(v, status);
    return v->failed ? v->why : HV_OK;
}

void vtd_page_requests_off(struct iommu_device *dev)
{
    struct vtd_device *v = dev->driver;
    if (!v || !v->pri)
        return;
    pcicaps_pri_off(&v->pci);
    v->pri = false;
    /* Invalidates the device TLB and waits behind all requests received: the drain of 7.10. */
    enum hv_status status = v->failed ? HV_OK : vtd_context_page_requests(v, false);
    if (!status)
        status = vtd_prq_drain(v, -1);
    if (status)
        vtd_device_fail(v, status);
    lock_take(&v->unit->prq.lock);
    v->unit->prq.promised -= v->outstanding;
    v->outstanding = 0;
    lock_drop(&v->unit->prq.lock);
}

unsigned vtd_device_cut(struct vtd_device *v, enum hv_status why, struct vtd_desc *desc)
{
    struct iommu_unit *unit = v->unit;
    if (v->failed)
        return 0;
    v->why = why;
    v->failed = true;
    v->dev->failed = true;
    vtd_context_clear(v);
    v->next_failed = unit->failures;
    unit->failures = v;
    log_error("vtd", "%s: device %02x:%02x.%x is blocked for good", unit->name, v->rid >> 8,
              v->rid >> 3 & 31, v->rid & 7);
    struct vtd_inval_args args = { .unit = unit, .device = v, .did = vtd_context_did(v) };
    return vtd_inval_list(VTD_DEVICE_CUT, &args, desc);
}

void vtd_device_fail(struct vtd_device *v, enum hv_status why)
{
    struct iommu_unit *unit = v->unit;
    struct vtd_desc desc[VTD_INVAL_MAX];
    lock_take(&unit->queue.lock);
    bool now = vtd_device_cut(v, why, desc);
    unit->cuts += now;
    lock_drop(&unit->queue.lock);
    if (now && vtd_device_flush_cuts(unit))
        log_error("vtd", "%s: device %04x: caches not flushed", unit->name, v->rid);
}

enum hv_status vtd_device_flush_cuts(struct iommu_unit *unit)
{
    struct vtd_inval_args args = { .unit = unit };
    lock_take(&unit->queue.lock);
    uint32_t cut = unit->cuts;
    bool flushed = cut == unit->cuts_flushed;
    lock_drop(&unit->queue.lock);
    if (flushed)
        return HV_OK;
    enum hv_status status = vtd_inval_run(VTD_ROOT_SET, &args, false); /* everything */
    if (status)
        return status;
    lock_take(&unit->queue.lock);
    if ((int32_t)(cut - unit->cuts_flushed) > 0) /* else another CPU was faster */
        unit->cuts_flushed = cut;
    lock_drop(&unit->queue.lock);
    return HV_OK;
}

void vtd_device_report(struct iommu_unit *unit)
{
    for (;;) {
        struct iommu_device *dev = NULL;
        enum hv_status why = HV_OK;
        lock_take(&unit->queue.lock);
        struct vtd_device *v = unit->failures;
        if (v) {
            dev = v->dev;
            why = v->why;
            unit->failures = v->next_failed;
        }
        lock_drop(&unit->queue.lock);
        if (!dev)
            return;
        unit->events->failed(dev, why);
    }
}
