/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices come at boot and go with their VM. What hardware tells of them (faults, failures) becomes
 * events of the VM that owns them.
 */
#include "hv/device.h"

#include "hv/bond.h"
#include "hv/direct.h"
#include "hv/flr.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/interrupt.h"
#include "hv/iopf.h"
#include "hv/log.h"
#include "hv/pci.h"
#include "hv/pci_group.h"
#include "hv/platform.h"
#include "hv/rings.h"
#include "hv/shadow.h"
#include "hv/sva.h"
#include "hv/vpci.h"

const struct iommu_ops *iommu = &iommu_none;

/* RANK_UPCALL: guards the table of all devices by requester id, and the one below. An upcall may
 * begin before a device is removed and run after: it looks the device up here and counts as its
 * holder until it is done with it. No more than a look is done with the lock held. */
static struct lock live_lock = LOCK(RANK_UPCALL);
static struct device *live[256];

/* By unit: entries of its page request queue, devices that share them. */
static struct {
    uint32_t queue, sharers;
} unit_requests[IOMMU_UNITS_MAX];

static struct device **live_slot(rid_t rid)
{
    return &live[(rid ^ rid >> 8) & 255];
}

static void live_add(struct device *d)
{
    lock_take(&live_lock);
    d->next_live = *live_slot(d->io.rid);
    *live_slot(d->io.rid) = d;
    lock_drop(&live_lock);
}

/* On return no upcall is at it, and none will be. */
static void live_remove(struct device *d)
{
    struct device **link = live_slot(d->io.rid);

    lock_take(&live_lock);
    while (*link != d)
        link = &(*link)->next_live;
    *link = d->next_live;
    lock_drop(&live_lock);
    while (atomic_load(&d->holders))
        cpu_relax();
}

struct device *device_hold(rid_t rid)
{
    lock_take(&live_lock);
    struct device *d = *live_slot(rid);
    while (d && d->io.rid != rid)
        d = d->next_live;
    if (d)
        d->holders++;
    lock_drop(&live_lock);
    return d;
}

void device_release(struct device *d)
{
    d->holders--;
}

/* One more, or one less, device with page requests shares the queue of its unit. */
static void share_requests(const struct device *d, int by)
{
    uint32_t free = iommu->page_requests_free(d->io.unit);

    if (!d->io.pri)
        return;
    lock_take(&live_lock);
    if (!unit_requests[d->caps->index].sharers) /* nothing is promised yet */
        unit_requests[d->caps->index].queue = free;
    unit_requests[d->caps->index].sharers += (uint32_t)by;
    lock_drop(&live_lock);
}

/* The one of the VM that hardware cannot tell @d from, else @d. */
static struct device *first_of(const struct vm *vm, struct device *d, const struct pci_group *group)
{
    for (unsigned i = 0; i < vm->ndevices && group->aliased; i++) {
        if (vm->device[i]->io.aliased && vm->device[i]->io.alias == group->alias)
            return vm->device[i]->first;
    }
    return d;
}

/* Where interrupts are not remapped a function can raise any interrupt of the machine, by a write
 * to the interrupt range; no unit and no table of ours is asked. */
static enum hv_status check_interrupts(const struct device *d, const struct boot_pci *pci)
{
    rid_t rid = d->io.rid;

    if (d->caps->interrupts || (pci->flags & BOOT_PCI_ANY_INTERRUPT))
        return HV_OK;
    log_error("device",
              "vm %s, line %u: %s does not remap interrupts: function %02x:%02x.%x could raise any "
              "interrupt of the machine. It is refused unless the line says interrupts=any",
              d->vm->name, d->line, d->caps->name, rid >> 8, rid >> 3 & 31, rid & 7);
    return HV_EBUSY;
}

enum hv_status device_add(struct vm *vm, const struct boot_pci *pci)
{
    void *page;

    hv_assert(vm->rings && vm->sva);
    static_assert(sizeof(struct device) <= PAGE_SIZE);
    if (vm->ndevices == ARRAY_SIZE(vm->device))
        return HV_ERANGE;
    struct iommu_unit *unit = iommu->unit_of(pci->rid);
    if (!unit)
        return HV_ENOTSUP;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);
    if (status != HV_OK)
        return status;
    struct device *d = page;
    const struct pci_group group = pci_group(pci->rid);
    *d = (struct device){
        .io = { .rid = pci->rid,
                .unit = unit,
                .quota = &vm->quota,
                .owner = d,
                .aliased = group.aliased,
                .alias = group.alias,
                .ats_wanted = pci->flags & BOOT_PCI_ATS_OFF  ? IOMMU_ATS_OFF
                              : pci->flags & BOOT_PCI_ATS_ON ? IOMMU_ATS_ON
                                                             : IOMMU_ATS_AUTO },
        .caps = iommu->caps(unit),
        .vm = vm,
        .first = first_of(vm, d, &group),
        .handle = vm->ndevices,
        .vrid = vpci_rid(vm->ndevices),
        .line = pci->line,
    };
    status = check_interrupts(d, pci);
    if (status == HV_OK)
        status = domain_prepare(d);
    if (status != HV_OK)
        goto fail;
    status = d->first == d ? iommu->device_add(&d->io) : iommu->device_join(&d->io, &d->first->io);
    if (status != HV_OK)
        goto fail;
    status = direct_take(d, pci->flags & BOOT_PCI_MAP_FIRMWARE);
    if (status != HV_OK) {
        iommu->device_remove(&d->io);
        goto fail;
    }
    share_requests(d, 1);
    vm->device[vm->ndevices++] = d;
    live_add(d);
    return HV_OK;

fail:
    pages_free(&vm->quota, 0, d);
    return status;
}

uint32_t device_page_requests(const struct device *d)
{
    if (!d->io.pri)
        return 0;
    lock_take(&live_lock);
    uint32_t share = unit_requests[d->caps->index].queue / unit_requests[d->caps->index].sharers;
    lock_drop(&live_lock);
    return d->io.pri_capacity < share ? d->io.pri_capacity : share;
}

static void device_remove(struct device *d)
{
    iopf_off(d); /* what is still asked is refused by the driver from here on */
    share_requests(d, -1);
    live_remove(d); /* nobody may be at it, in the driver either, when it goes */
    iommu->device_remove(&d->io);
    pages_free(&d->vm->quota, 0, d);
}

void device_end(struct vm *vm)
{
    for (unsigned i = 0; i < vm->ndevices; i++)
        (void)device_present(vm->device[i]); /* what is gone is not waited for */
    interrupt_end(vm);
    if (vm->rings)
        rings_end(vm);
    if (vm->sva)
        sva_end(vm);
    while (vm->ndevices) {
        device_remove(vm->device[--vm->ndevices]);
        vm->device[vm->ndevices] = NULL;
    }
    if (vm->sva)
        sva_destroy(vm);
    direct_end(vm);
    if (vm->rings)
        rings_destroy(vm);
}

/* --- Upcalls of the driver; any CPU, no lock held --------------------------------------------- */

static void log_stray_fault(const struct iommu_fault *fault)
{
    static struct log_limit limit;

    if (log_allowed(&limit, 10))
        log_warn("iommu", "%02x:%02x.%x, nobody's device: %s at %#lx", fault->rid >> 8,
                 fault->rid >> 3 & 31, fault->rid & 7, fault->text,
                 (unsigned long)fault->address.v);
}

/* What it means to the guest, who knows nothing of the tables that the unit walked. */
static enum iommu_fault_class explain(const struct device *d, const struct iommu_fault *fault)
{
    enum iommu_fault_class class = fault->class;

    if (d->caps->nested || (class != IOMMU_FAULT_FIRST_STAGE && class != IOMMU_FAULT_SECOND_STAGE))
        return class;
    lock_take(&d->vm->rings->events);
    const struct bond *bond = bond_find(d, fault->pasid_present ? fault->pasid : HC_PASID_NONE);
    class = IOMMU_FAULT_SECOND_STAGE;
    if (bond && bond->space->kind == HC_DOMAIN_NESTED &&
        guest_walk(d->vm, bond->space->root, bond->space->levels, fault->address, fault->write,
                   false) != GUEST_WALK_OUTSIDE)
        class = IOMMU_FAULT_FIRST_STAGE;
    lock_drop(&d->vm->rings->events);
    return class;
}

static void on_fault(struct iommu_device *, const struct iommu_fault *fault)
{
    struct device *d = device_hold(fault->rid);

    if (!d) {
        log_stray_fault(fault);
        return;
    }
    static_assert((int)IOMMU_FAULT_BLOCKED == HC_FAULT_BLOCKED &&
                  (int)IOMMU_FAULT_FIRST_STAGE == HC_FAULT_FIRST_STAGE &&
                  (int)IOMMU_FAULT_SECOND_STAGE == HC_FAULT_SECOND_STAGE &&
                  (int)IOMMU_FAULT_ADDRESS == HC_FAULT_ADDRESS &&
                  (int)IOMMU_FAULT_INTERRUPT == HC_FAULT_INTERRUPT);
    rings_event(d->vm, &(struct hc_event){
                           .type = HC_EVENT_FAULT,
                           .device = d->handle,
                           .pasid = fault->pasid_present ? fault->pasid : HC_PASID_NONE,
                           .flags = (fault->write ? HC_PRQ_WRITE : HC_PRQ_READ) |
                                    (fault->pasid_present ? HC_PRQ_PASID : 0) |
                                    (fault->last ? HC_FAULT_LAST : 0),
                           .address = fault->class == IOMMU_FAULT_INTERRUPT
                                          ? fault->address.v
                                          : fault->address.v & ~PAGE_MASK,
                           .reason = (uint32_t)explain(d, fault),
                           .detail = fault->code,
                       });
    device_release(d);
}

/* The same as device_hold() for who may be gone: @dev is not looked into. */
static struct device *hold_by_address(const struct iommu_device *dev)
{
    lock_take(&live_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(live); i++) {
        for (struct device *d = live[i]; d; d = d->next_live) {
            if (&d->io != dev)
                continue;
            d->holders++;
            lock_drop(&live_lock);
            return d;
        }
    }
    lock_drop(&live_lock);
    return NULL;
}

static void tell_failed(struct device *d, enum hv_status why)
{
    rid_t rid = d->io.rid;
    bool gone = why == HV_ENODEV;

    if (gone && atomic_exchange(&d->gone, true))
        return;
    if (gone)
        log_error("iommu", "%s: device %02x:%02x.%x is gone", d->vm->name, rid >> 8, rid >> 3 & 31,
                  rid & 7);
    else
        log_error("iommu", "%s: device %02x:%02x.%x failed (%d) and is blocked", d->vm->name,
                  rid >> 8, rid >> 3 & 31, rid & 7, why);
    /* Its groups have nobody to be answered. */
    (void)iopf_drop(d, NULL, false);
    rings_event(d->vm, &(struct hc_event){
                           .type = gone ? HC_EVENT_DEVICE_GONE : HC_EVENT_DEVICE_FAILED,
                           .device = d->handle,
                           .pasid = HC_PASID_NONE,
                           .reason = (uint32_t)why,
                       });
}

static void on_failed(struct iommu_device *dev, enum hv_status why)
{
    struct device *d = hold_by_address(dev);

    if (!d)
        return;
    if (d->io.failed && device_present(d)) /* else it was reset meanwhile, or that is told */
        tell_failed(d, why);
    device_release(d);
}

/* While it is reset it does not answer either. */
static bool silent(const struct device *d)
{
    return pci_config_read(d->io.rid, PCI_VENDOR, 4) == UINT32_MAX && !d->resetting &&
           pci_config_read(d->io.rid, PCI_VENDOR, 4) == UINT32_MAX;
}

void device_lost(struct device *d)
{
    if (!d->io.aliased) /* else others use what it is attached to */
        iommu->device_fail(&d->io, HV_ENODEV);
    tell_failed(d, HV_ENODEV);
}

bool device_present(struct device *d)
{
    if (!d->gone && silent(d))
        device_lost(d);
    return !d->gone;
}

/* Of all devices the one with the next requester id, held. */
static struct device *hold_next(rid_t after)
{
    struct device *next = NULL;

    lock_take(&live_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(live); i++) {
        for (struct device *d = live[i]; d; d = d->next_live) {
            /* Counted on the circle, from @after on. */
            if (!next || (rid_t)(d->io.rid - after - 1) < (rid_t)(next->io.rid - after - 1))
                next = d;
        }
    }
    if (next)
        next->holders++;
    lock_drop(&live_lock);
    return next;
}

void device_tick(void)
{
    static unsigned ticks;
    static rid_t last;

    if (++ticks % DEVICE_TICKS)
        return;
    struct device *d = hold_next(last);
    if (!d)
        return;
    last = d->io.rid;
    (void)device_present(d);
    device_release(d);
}

const struct iommu_events device_events = {
    .page_request = iopf_page_request,
    .page_requests_done = iopf_page_requests_done,
    .fault = on_fault,
    .failed = on_failed,
};

/* --- Calls ------------------------------------------------------------------------------------ */

bool device_resets(const struct device *d)
{
    return !d->io.aliased && flr_offered(d->io.rid);
}

/* Width of canonical addresses whose lower half is translated. */
static uint32_t first_stage_bits(const struct iommu_caps *caps)
{
    unsigned levels = domain_walks(caps, 5) ? 5 : 4;
    uint64_t end = shadow_end(caps, levels);

    return end ? 64 - (uint32_t)__builtin_clzll(end) : levels == 5 ? 57 : 48;
}

static bool has_firmware(const struct device *d)
{
    for (unsigned i = 0; i < d->io.nreserved; i++) {
        if (d->io.reserved[i].firmware)
            return true;
    }
    return false;
}

static uint32_t flags_of(const struct device *d)
{
    const struct iommu_caps *caps = d->caps;
    bool shadow = shadow_end(caps, 4) != 0;

    return (has_firmware(d) ? HC_DEVICE_FIRMWARE : 0) | (d->io.ats ? HC_DEVICE_ATS : 0) |
           (d->io.pri ? HC_DEVICE_PRI | HC_DEVICE_NEEDS_IOPF : 0) |
           (d->io.pasid_bits ? HC_DEVICE_PASID : 0) | (caps->nested ? HC_DEVICE_NESTED : 0) |
           (shadow ? HC_DEVICE_SHADOW : 0) | (domain_walks(caps, 5) ? HC_DEVICE_FS_5LEVEL : 0) |
           (caps->first_stage_1g || shadow ? HC_DEVICE_FS_1G : 0) |
           (device_resets(d) ? HC_DEVICE_RESETS : 0);
}

enum hv_status device_hc_info(struct vm *vm, const void *arg, uint64_t *value)
{
    const uint64_t *reg = arg;
    struct device *d = device_get(vm, reg[0]);

    if (!d)
        return HV_ENODEV;
    bool there = device_present(d);
    struct hc_device_info info = {
        .device = d->handle,
        .rid = d->vrid,
        .flags = flags_of(d),
        .unit = d->caps->index,
        .pasid_bits = d->io.pasid_bits,
        .page_requests = iopf_allowance(d),
        .state = !there                ? HC_DEVICE_GONE
                 : d->first->io.failed ? HC_DEVICE_FAILED
                                       : HC_DEVICE_OK,
        .group = d->io.aliased ? d->first->handle + 1 : 0,
        .iopf = d->iopf,
        .first_stage_bits = first_stage_bits(d->caps),
        .interrupts = d->caps->interrupts ? INTERRUPTS : 0,
    };
    return guest_copy_out(vm, GPADDR(reg[1]), reg[2], sizeof(info), sizeof(info), &info, value);
}
