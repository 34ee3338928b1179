/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One remapping unit: probe, take-over, commands (9.1, 9.2 of the programming order in 11.4.4.1).
 *
 * Firmware may hand over with anything on. The order of take-over keeps devices from memory
 * throughout: tables are switched under TE where hardware can do it, else protected memory ranges
 * cover the moment, and where there are none, no function masters the bus.
 */
#include "drivers/iommu/vtd/unit.h"

#include <stdio.h>

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/masters.h"
#include "hv/log.h"

enum hv_status vtd_wait32(volatile void *regs, struct reg32 reg, uint32_t mask, uint32_t value)
{
    uint64_t deadline = time_now() + UNIT_COMMAND_US * time_ticks_per_us();
    while ((reg_read32(regs, reg) & mask) != value) {
        if (time_now() > deadline && (reg_read32(regs, reg) & mask) != value) {
            log_error("vtd", "register %x: %08x after %u us, want %08x of %08x", reg.offset,
                      reg_read32(regs, reg), UNIT_COMMAND_US, value, mask);
            return HV_ETIMEDOUT;
        }
        cpu_relax();
    }
    return HV_OK;
}

void vtd_unit_flush(const struct iommu_unit *unit, const void *p, size_t size)
{
    if (!unit->hw.coherent)
        cache_flush(p, size);
}

enum hv_status vtd_unit_command(struct iommu_unit *unit, uint32_t bit, bool on)
{
    uint32_t now = reg_read32(unit->regs, VTD_GSTS), levels = now & GSTS_LEVELS;
    bool one_shot = bit & ~GSTS_LEVELS;
    if (!one_shot && !(now & bit) == !on)
        return HV_OK;
    reg_write32(unit->regs, VTD_GCMD, on ? levels | bit : levels & ~bit);
    return vtd_wait32(unit->regs, VTD_GSTS, bit, on ? bit : 0);
}

enum hv_status vtd_unit_probe(struct iommu_unit *unit, unsigned index, paddr_t base, uint64_t size,
                              const struct iommu_events *events)
{
    snprintf(unit->name, sizeof unit->name, "vtd%u", index);
    unit->base = base;
    unit->events = events;
    unit->queue.lock.rank = RANK_QUEUE;
    unit->prq.lock.rank = unit->faults.lock.rank = unit->devices_lock.rank =
        unit->interrupts.lock.rank = RANK_DEVICE;
    unit->regs = mmio_map(base, size);
    if (!unit->regs)
        return HV_ENOMEM;
    uint64_t cap = reg_read64(unit->regs, VTD_CAP), ecap = reg_read64(unit->regs, VTD_ECAP);
    if (cap == UINT64_MAX && ecap == UINT64_MAX) {
        log_error("vtd", "%s: no unit at %#lx", unit->name, (unsigned long)base.v);
        return HV_EINVAL;
    }
    vtd_caps_decode(reg_read32(unit->regs, VTD_VER), cap, ecap, &unit->hw);
    if (unit->hw.size > size) { /* older tables tell no size */
        unit->regs = mmio_map(base, unit->hw.size);
        if (!unit->regs)
            return HV_ENOMEM;
    }
    vtd_caps_publish(&unit->hw, &unit->caps);
    unit->caps.name = unit->name;
    unit->caps.index = index;
    log_info("vtd", "%s: at %#lx, version %x, cap %lx, ecap %lx", unit->name, (unsigned long)base.v,
             unit->hw.version, (unsigned long)cap, (unsigned long)ecap);
    return vtd_caps_check(&unit->hw, unit->name);
}

static enum hv_status protect(struct iommu_unit *unit, bool on)
{
    if (!unit->hw.protected_low && !unit->hw.protected_high)
        return HV_OK;
    /* Firmware's ranges may cover less, and cannot change while they are on. Translation is on now.
     */
    if (on && reg_read32(unit->regs, VTD_PMEN) & PMEN_PRS) {
        enum hv_status status = protect(unit, false);
        if (status)
            return status;
    }
    if (on) { /* everything: [0, 4 GiB) and from there up */
        if (unit->hw.protected_low) {
            reg_write32(unit->regs, VTD_PLMBASE, 0);
            reg_write32(unit->regs, VTD_PLMLIMIT, UINT32_MAX);
        }
        if (unit->hw.protected_high) {
            reg_write64(unit->regs, VTD_PHMBASE, 1ull << 32);
            reg_write64(unit->regs, VTD_PHMLIMIT, UINT64_MAX);
        }
    }
    reg_write32(unit->regs, VTD_PMEN, on ? PMEN_EPM : 0);
    return vtd_wait32(unit->regs, VTD_PMEN, PMEN_PRS, on ? PMEN_PRS : 0);
}

static uint64_t table_mode(const struct iommu_unit *unit)
{
    return unit->hw.scalable ? RTADDR_SCALABLE : 0;
}

/* Stop what firmware or an earlier system left running, so that ours can be set up. */
static enum hv_status quiesce(struct iommu_unit *unit)
{
    uint32_t gsts = reg_read32(unit->regs, VTD_GSTS);
    enum hv_status status = HV_OK;
    reg_write32(unit->regs, VTD_FECTL, EVENT_MASK);
    reg_write32(unit->regs, VTD_IECTL, EVENT_MASK);
    if (unit->hw.page_requests)
        reg_write32(unit->regs, VTD_PECTL, EVENT_MASK);
    bool same = (reg_read64(unit->regs, VTD_RTADDR) & RTADDR_TTM) == table_mode(unit);
    if (gsts & GCMD_TE && !same && !unit->hw.root_flushes) {
        /* The table mode cannot change under translation (11.4.5). */
        log_info("vtd", "%s: found translating in another mode: off for a moment", unit->name);
        if (!unit->hw.protected_low || !unit->hw.protected_high)
            vtd_masters_off();
        status = protect(unit, true);
        if (!status)
            status = vtd_unit_command(unit, GCMD_TE, false);
    }
    vtd_fault_clear(unit); /* a pending error stops the queue from running dry */
    if (!status && gsts & GCMD_QIE) {
        uint64_t deadline = time_now() + UNIT_COMMAND_US * time_ticks_per_us();
        while (reg_read64(unit->regs, VTD_IQH) != reg_read64(unit->regs, VTD_IQT)) {
            if (time_now() > deadline) {
                log_error("vtd", "%s: queue found on does not run dry", unit->name);
                return HV_ETIMEDOUT;
            }
            cpu_relax();
        }
        status = vtd_unit_command(unit, GCMD_QIE, false);
    }
    reg_write32(unit->regs, VTD_ICS, ICS_IWC);
    if (unit->hw.page_requests)
        reg_write32(unit->regs, VTD_PRS, PRS_PPR | PRS_PRO);
    return status;
}

static enum hv_status root_set(struct iommu_unit *unit)
{
    void *root;
    enum hv_status status = pages_alloc(NULL, 0, &root);
    if (status)
        return status;
    vtd_unit_flush(unit, root, PAGE_SIZE);
    reg_write64(unit->regs, VTD_RTADDR, virt_to_phys(root).v | table_mode(unit));
    status = vtd_unit_command(unit, GCMD_SRTP, true);
    if (status)
        return status;
    struct vtd_inval_args args = { .unit = unit };
    status = vtd_inval_run(VTD_ROOT_SET, &args, false);
    unit->root = root;
    return status;
}

static void fault_interrupt(void *ctx)
{
    struct iommu_unit *unit = ctx;
    vtd_fault_process(unit);
    vtd_queue_errors(unit);
    vtd_device_report(unit);
}

static void page_request_interrupt(void *ctx)
{
    vtd_prq_process(ctx);
}

/* The four registers of an event lie in a row: control, data, address, upper address. */
static enum hv_status event_on(struct iommu_unit *unit, struct reg32 control,
                               void (*handler)(void *ctx))
{
    struct irq_message m;
    enum hv_status status = irq_alloc(handler, unit, &m);
    if (status)
        return status;
    reg_write32(unit->regs, (struct reg32){ control.offset + 4 }, m.data);
    reg_write32(unit->regs, (struct reg32){ control.offset + 8 }, m.address);
    reg_write32(unit->regs, (struct reg32){ control.offset + 12 }, m.upper_address);
    reg_write32(unit->regs, control, 0);
    return HV_OK;
}

enum hv_status vtd_unit_start(struct iommu_unit *unit)
{
    enum hv_status status = quiesce(unit);
    if (!status)
        status = vtd_dids_start(unit);
    if (!status)
        status = vtd_queue_start(unit);
    if (!status)
        status = root_set(unit);
    if (!status)
        status = vtd_unit_command(unit, GCMD_TE, true); /* nothing is present: all BLOCKED */
    if (!status)
        status = protect(unit, false); /* only now: translation holds the devices */
    if (!status)
        vtd_masters_on();
    if (!status)
        status = vtd_intremap_start(unit);
    if (!status)
        status = event_on(unit, VTD_FECTL, fault_interrupt);
    if (!status && unit->hw.page_requests) {
        status = vtd_prq_start(unit);
        if (!status)
            status = event_on(unit, VTD_PECTL, page_request_interrupt);
    }
    if (status)
        log_error("vtd", "%s: take-over failed: %d, GSTS %08x FSTS %08x", unit->name, status,
                  reg_read32(unit->regs, VTD_GSTS), reg_read32(unit->regs, VTD_FSTS));
    return status;
}

void vtd_unit_poll(struct iommu_unit *unit)
{
    if (!unit->root)
        return;
    fault_interrupt(unit);
    vtd_prq_process(unit);
}
