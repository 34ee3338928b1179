/* SPDX-License-Identifier: BSD-2-Clause */
/* The interrupt table of a unit: entries (9.9), their messages (5.1.2), what makes changes known.
 */
#include "drivers/iommu/vtd/intremap.h"

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"
#include "hv/pages.h"

enum : uint64_t {
    IRTE_PRESENT = 1u << 0,
    IRTE_NO_FAULT = 1u << 1,    /* FPD, honoured also while not present */
    IRTE_KEPT = 1u << 8,        /* for software: a former one may still be cached */
    IRTE_SOURCE_ID = 1u << 18,  /* of the upper half: SVT = 1, SQ = 0: all of SID must match */
    IRTE_SOURCE_BUS = 2u << 18, /* SVT = 2: its bus is in [SID 15:8, SID 7:0] */
    ENTRY_BYTES = 16,
    ENTRIES_MAX = 1u << 16,

    MESSAGE = 0xfee00010, /* remappable; SHV = 0: the data does not matter */
};

/* 256 entries for each CPU: more than it has vectors. */
static uint32_t entries_needed(void)
{
    uint32_t n = 256;
    while (n < 256 * cpu_count() && n < ENTRIES_MAX)
        n *= 2;
    return n;
}

static enum hv_status make_table(struct iommu_unit *unit)
{
    struct vtd_intremap *t = &unit->interrupts;
    uint32_t entries = entries_needed();
    unsigned order = pages_order(entries * ENTRY_BYTES);
    void *table, *used;
    enum hv_status status = pages_alloc(NULL, order, &table);
    if (status)
        return status;
    status = pages_alloc(NULL, pages_order(entries / 8), &used);
    if (status) {
        pages_free(NULL, order, table);
        return status;
    }
    t->table = table;
    t->used = used;
    t->entries = entries;
    vtd_unit_flush(unit, table, entries * ENTRY_BYTES);
    return HV_OK;
}

enum hv_status vtd_intremap_start(struct iommu_unit *unit)
{
    if (!unit->hw.remap_interrupts)
        return HV_OK; /* told by caps.c */
    enum hv_status status = make_table(unit);
    if (status)
        return status;
    /* Found on, it stays on: the table is switched under it. But EIME cannot change then; no guest
     * runs yet, and interrupts are off. */
    uint64_t mode = unit->hw.x2apic_interrupts ? IRTA_EIME : 0;
    if ((reg_read64(unit->regs, VTD_IRTA) & IRTA_EIME) != mode)
        status = vtd_unit_command(unit, GCMD_IRE, false);
    if (status)
        return status;
    uint64_t size = (uint64_t)__builtin_ctz(unit->interrupts.entries) - 1; /* 2^(S + 1) entries */
    reg_write64(unit->regs, VTD_IRTA, virt_to_phys(unit->interrupts.table).v | size | mode);
    struct vtd_inval_args args = { .unit = unit };
    status = vtd_unit_command(unit, GCMD_SIRTP, true);
    if (!status)
        status = vtd_inval_run(VTD_INTERRUPTS_CHANGED, &args, false);
    if (!status)
        status = vtd_unit_command(unit, GCMD_CFI, false);
    if (!status)
        status = vtd_unit_command(unit, GCMD_IRE, true);
    return status;
}

/* --- Entries ---------------------------------------------------------------------------------- */

static enum hv_status take(struct vtd_intremap *t, uint32_t *index)
{
    enum hv_status status = HV_ENOMEM;
    lock_take(&t->lock);
    for (uint32_t w = 0; w < t->entries / 64 && status; w++) {
        if (!~t->used[w])
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(~t->used[w]);
        t->used[w] |= 1ull << bit;
        *index = 64 * w + bit;
        status = HV_OK;
    }
    lock_drop(&t->lock);
    return status;
}

static void give_back(struct vtd_intremap *t, uint32_t index)
{
    lock_take(&t->lock);
    t->used[index / 64] &= ~(1ull << index % 64);
    lock_drop(&t->lock);
}

static uint32_t message_of(uint32_t index)
{
    return (uint32_t)MESSAGE | (index & 0x7fff) << 5 | (index >> 15) << 2;
}

/* One store, so hardware never sees half of it; then nobody remembers the former one. */
static enum hv_status publish(struct iommu_unit *unit, uint32_t index, uint64_t lo, uint64_t hi)
{
    uint64_t *entry = unit->interrupts.table + 2 * index;
    bool cached = unit->hw.caching_mode || entry[0] & (IRTE_PRESENT | IRTE_KEPT);
    store128(entry, lo, hi);
    vtd_unit_flush(unit, entry, ENTRY_BYTES);
    if (!cached)
        return HV_OK;
    struct vtd_inval_args args = { .unit = unit, .interrupt = (uint16_t)index };
    enum hv_status status = vtd_inval_run(VTD_INTERRUPT_CHANGED, &args, false);
    if (status)
        store64(entry, lo | IRTE_KEPT);
    return status;
}

/* Fixed delivery, edge, physical destination: with EIME an x2APIC id, else 8 bits of it (9.9). */
static uint64_t irte_low(const struct iommu_unit *unit, const struct irq_target *to)
{
    uint64_t id = unit->hw.x2apic_interrupts ? to->apic_id : (uint64_t)to->apic_id << 8;
    return id << 32 | (uint64_t)to->vector << 16 | IRTE_PRESENT;
}

/* Who may send the message: the function alone, or, behind a bridge to conventional PCI, whoever
 * carries the id that the bridge lends it: one on the function's bus (some bridges let a function
 * keep its own), or the bridge's (3.12). */
static uint64_t source_of(const struct iommu_device *dev)
{
    rid_t bus = dev->rid >> 8;
    if (!dev->aliased)
        return dev->rid | IRTE_SOURCE_ID;
    return dev->alias >> 8 == bus ? (uint64_t)bus << 8 | bus | IRTE_SOURCE_BUS
                                  : dev->alias | IRTE_SOURCE_ID;
}

static bool reaches(const struct iommu_unit *unit, const struct irq_target *to)
{
    return unit->hw.x2apic_interrupts || to->apic_id < 0xff; /* 0xff: all of them */
}

static enum hv_status unsupported(struct iommu_unit *unit)
{
    if (!atomic_exchange(&unit->interrupts.told, true))
        log_warn("vtd",
                 "%s: ECAP bit 3, IR interrupt remapping, is missing: interrupts of devices "
                 "cannot be given to guests",
                 unit->name);
    return HV_ENOTSUP;
}

enum hv_status vtd_irq_map(struct iommu_device *dev, struct iommu_irq *irq,
                           const struct irq_target *to)
{
    struct vtd_device *v = dev->driver;
    if (!v)
        return HV_ENODEV;
    struct iommu_unit *unit = v->unit;
    if (!unit->interrupts.table)
        return unsupported(unit);
    if (to && !reaches(unit, to))
        return HV_ERANGE;
    if (!irq->mapped) {
        uint32_t index;
        enum hv_status status = take(&unit->interrupts, &index);
        if (status)
            return status;
        *irq = (struct iommu_irq){ .mapped = true, .handle = index, .address = message_of(index) };
    }
    return to ? publish(unit, irq->handle, irte_low(unit, to), source_of(dev))
              : publish(unit, irq->handle, IRTE_NO_FAULT, 0);
}

enum hv_status vtd_irq_unmap(struct iommu_device *dev, struct iommu_irq *irq)
{
    struct vtd_device *v = dev->driver;
    if (!v || !irq->mapped)
        return HV_OK;
    irq->mapped = false;
    enum hv_status status = publish(v->unit, irq->handle, 0, 0);
    if (status) /* what may still be cached is nobody else's */
        log_error("vtd", "%s: interrupt entry %u: not confirmed gone (%d): never used again",
                  v->unit->name, (unsigned)irq->handle, status);
    else
        give_back(&v->unit->interrupts, irq->handle);
    return status;
}

/* The index is there for these reasons only (7.2.1.1). */
uint64_t vtd_intremap_blamed(uint8_t reason, uint64_t index)
{
    bool known = reason != 0x20 && reason != 0x25 && reason != 0x29 && reason < 0x2a;
    return known ? message_of((uint32_t)index & 0xffff) : MESSAGE & ~0xfffull;
}
