/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_iommu.h"

#include <stdlib.h>
#include <string.h>

#include "hv/device.h"
#include "hv/log.h"
#include "hv/rings.h"
#include "tests/platform/platform.h"

#define PASIDS (1u << PASID_BITS_MAX)

struct fake fake;

/* A unit is nothing but its number. */
static char unit_object[IOMMU_UNITS_MAX];

static unsigned unit_index(const struct iommu_unit *u)
{
    return (unsigned)((const char *)u - unit_object);
}

static struct iommu_unit *unit(unsigned index)
{
    return index < fake.units ? (struct iommu_unit *)&unit_object[index] : NULL;
}

static unsigned function_of(rid_t rid)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        if (fake.function[i].rid == rid && rid)
            return i;
    }
    return FAKE_DEVICES;
}

/* No function of the driver may be called with an event lock held: it could not make an upcall. */
static void check_locks(const struct iommu_device *dev)
{
    const struct device *d = dev ? dev->owner : NULL;

    if (d && d->vm->rings && !fake.threads &&
        atomic_load(&d->vm->rings->events.next) != atomic_load(&d->vm->rings->events.owner))
        panic("fake iommu: called with the event lock held");
}

static unsigned index_of(const struct iommu_device *dev)
{
    unsigned i = function_of(dev->rid);

    if (i == FAKE_DEVICES || fake.device[i] != dev)
        panic("fake iommu: device %04x is not in", dev->rid);
    check_locks(dev);
    return i;
}

static enum hv_status take_failure(enum hv_status *failure)
{
    enum hv_status status = *failure;

    *failure = HV_OK;
    return status;
}

void fake_fail(struct iommu_device *dev, enum hv_status why)
{
    unsigned i = index_of(dev);

    dev->failed = true;
    memset(fake.target[i], 0, PASIDS * sizeof(struct fake_target));
    device_events.failed(dev, why);
}

void fake_reset(void)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        free(fake.target[i]);
    fake = (struct fake){ .units = 2, .queue = 256 };
    for (unsigned i = 0; i < IOMMU_UNITS_MAX; i++) {
        fake.caps[i] = (struct iommu_caps){
            .name = "fake",
            .index = i,
            .nested = true,
            .second_stage = true,
            .first_stage = true,
            .device_tlb = true,
            .page_requests = true,
            .pasid_bits = 20,
            .first_stage_levels = 1,
            .first_stage_1g = true,
            .second_stage_levels = 4,
            .second_stage_large = 3,
            .input_bits = 48,
            .interrupts = true,
            .coherent_tables = true,
            .second_stage_format = &pt_format_vtd2,
        };
    }
}

struct fake_target fake_target(rid_t rid, uint32_t pasid)
{
    unsigned i = function_of(rid);

    return i < FAKE_DEVICES && fake.target[i] ? fake.target[i][pasid] : (struct fake_target){ 0 };
}

unsigned fake_attached(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        for (uint32_t p = 0; fake.target[i] && p < fake.high[i]; p++)
            n += fake.target[i][p].kind != IOMMU_BLOCKED;
    }
    return n;
}

void fake_request(rid_t rid, const struct iommu_page_request *req)
{
    device_events.page_request(fake.device[function_of(rid)], req);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    for (unsigned i = 0; i < 8; i++)
        hash = (hash ^ (word >> (8 * i) & 0xff)) * 0x100000001b3ull;
    return hash;
}

uint64_t fake_digest(uint64_t hash)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        hash = mix(hash, fake.promised[i]);
        for (uint32_t p = 0; fake.target[i] && p < fake.high[i]; p++) {
            struct fake_target t = fake.target[i][p];
            if (t.kind == IOMMU_BLOCKED)
                continue;
            hash = mix(hash, (uint64_t)p << 32 | t.stage2);
            hash = mix(hash, t.root | t.levels);
            hash = mix(hash, t.kind);
        }
    }
    for (unsigned i = 0; i < FAKE_IRQS; i++) {
        const struct fake_irq *f = &fake.irq[i];
        if (!f->dev)
            continue;
        hash = mix(hash, (uint64_t)i << 32 | (uint64_t)f->on << 8 | f->to.vector);
        hash = mix(hash, f->to.apic_id);
    }
    hash = mix(hash, fake.stage2_live);
    return mix(hash, (uint64_t)fake.answers << 32 | fake.invals);
}

/* --- The contract ----------------------------------------------------------------------------- */

static enum hv_status probe(const void *, size_t, const struct iommu_events *)
{
    return HV_OK;
}

static enum hv_status start(void)
{
    return HV_OK;
}

static unsigned unit_count(void)
{
    return fake.units;
}

static const struct iommu_caps *caps(const struct iommu_unit *u)
{
    return &fake.caps[unit_index(u)];
}

static struct iommu_unit *unit_of(rid_t rid)
{
    unsigned i = function_of(rid);

    return i < FAKE_DEVICES ? unit(fake.function[i].unit) : NULL;
}

/* There is a function to each device; a test may have made one of its own. */
static void make_function(unsigned i, rid_t rid)
{
    static struct platform_pci functions[FAKE_DEVICES];

    if (pci_config_read(rid, 0, 4) != UINT32_MAX)
        return;
    platform_pci_endpoint(&functions[i], rid, 0x1234, 0x5678, 0, 0);
    if (!fake.function_made[i])
        platform_add_pci(&functions[i]);
    fake.function_made[i] = true;
}

static enum hv_status add(struct iommu_device *dev)
{
    unsigned i = function_of(dev->rid);
    enum hv_status status = take_failure(&fake.fail_device_add);

    if (status != HV_OK)
        return status;
    if (fake.device[i])
        return HV_EEXIST;
    const struct fake_function *f = &fake.function[i];
    make_function(i, f->rid);
    dev->pasid_bits = f->pasid_bits;
    dev->ats = f->ats;
    dev->pri = f->pri;
    dev->pri_capacity = f->pri_capacity;
    if (f->firmware.last)
        dev->reserved[dev->nreserved++] = f->firmware;
    fake.device[i] = dev;
    fake.target[i] = calloc(PASIDS, sizeof(struct fake_target));
    return HV_OK;
}

static void forget(struct iommu_device *dev)
{
    unsigned i = index_of(dev);

    if (fake.promised[i])
        panic("fake iommu: device removed with page requests on");
    free(fake.target[i]);
    fake.target[i] = NULL;
    fake.device[i] = NULL;
}

static enum hv_status stop(struct iommu_device *dev)
{
    unsigned i = index_of(dev);

    if (fake.promised[i])
        panic("fake iommu: device stopped with page requests on");
    for (uint32_t p = 0; p < fake.high[i]; p++) {
        if (fake.target[i][p].kind != IOMMU_BLOCKED)
            panic("fake iommu: device stopped with something attached");
    }
    dev->failed = true;
    fake.stops++;
    return take_failure(&fake.fail_stop);
}

static enum hv_status restart(struct iommu_device *dev)
{
    (void)index_of(dev);
    dev->failed = false;
    fake.restarts++;
    return HV_OK;
}

static void lost(struct iommu_device *dev, enum hv_status)
{
    unsigned i = index_of(dev);

    dev->failed = true;
    memset(fake.target[i], 0, PASIDS * sizeof(struct fake_target));
}

static enum hv_status stage2_create(struct iommu_unit *u, const struct pt *table,
                                    struct iommu_stage2 *out)
{
    enum hv_status status = take_failure(&fake.fail_stage2);

    if (status != HV_OK)
        return status;
    *out = (struct iommu_stage2){ .unit = u, .table = table, .id = ++fake.stage2_made };
    fake.stage2_live++;
    return HV_OK;
}

static enum hv_status stage2_destroy(struct iommu_stage2 *stage2)
{
    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        for (uint32_t p = 0; fake.target[i] && p < fake.high[i]; p++) {
            if (fake.target[i][p].kind != IOMMU_BLOCKED && fake.target[i][p].stage2 == stage2->id)
                panic("fake iommu: second stage destroyed while in use");
        }
    }
    fake.stage2_live--;
    return take_failure(&fake.fail_stage2_destroy);
}

static enum hv_status stage2_changed(struct iommu_stage2 *, gpaddr_t, uint64_t)
{
    return HV_OK;
}

static enum hv_status attach(struct iommu_device *dev, uint32_t pasid,
                             const struct iommu_target *target)
{
    unsigned i = index_of(dev);
    enum hv_status status = take_failure(&fake.fail_attach);

    if (status != HV_OK) {
        if (fake.fail_device)
            fake_fail(dev, status);
        return status;
    }
    if (dev->failed)
        return HV_EIO;
    if (target->kind == IOMMU_BLOCKED || target->stage2->unit != dev->unit)
        panic("fake iommu: bad target");
    if (pasid >> dev->pasid_bits && pasid != PASID_RID)
        return HV_ERANGE;
    fake.attaches++;
    dev->how = fake.target[i][pasid].kind == IOMMU_BLOCKED ? IOMMU_HITLESS : IOMMU_BLOCKED_WINDOW;
    if (pasid >= fake.high[i])
        fake.high[i] = pasid + 1;
    fake.target[i][pasid] = (struct fake_target){
        .kind = target->kind,
        .levels = target->levels,
        .stage2 = target->stage2->id,
        .root = target->root.v,
    };
    return HV_OK;
}

static void drained(void)
{
    if (!fake.drain)
        return;
    fake.drain(fake.ctx);
    device_events.page_requests_done();
}

static enum hv_status block(struct iommu_device *dev, uint32_t pasid)
{
    unsigned i = index_of(dev);

    fake.blocks++;
    dev->how = fake.target[i][pasid].kind == IOMMU_BLOCKED ? IOMMU_SAME : IOMMU_HITLESS;
    fake.target[i][pasid] = (struct fake_target){ 0 };
    drained();
    return HV_OK;
}

static uint32_t page_requests_free(const struct iommu_unit *u)
{
    uint32_t left = fake.queue;

    for (unsigned i = 0; i < FAKE_DEVICES; i++) {
        if (fake.device[i] && fake.device[i]->unit == u)
            left -= fake.promised[i];
    }
    return left;
}

static enum hv_status page_requests_on(struct iommu_device *dev, uint16_t outstanding)
{
    unsigned i = index_of(dev);
    enum hv_status status = take_failure(&fake.fail_requests_on);

    if (status != HV_OK)
        return status;
    if (fake.promised[i] || !outstanding || outstanding > page_requests_free(dev->unit))
        panic("fake iommu: page requests on twice, or for more than the queue holds");
    fake.promised[i] = outstanding;
    return HV_OK;
}

static void page_requests_off(struct iommu_device *dev)
{
    drained();
    fake.promised[index_of(dev)] = 0;
}

static enum hv_status irq_map(struct iommu_device *dev, struct iommu_irq *irq,
                              const struct irq_target *to)
{
    enum hv_status status = take_failure(&fake.fail_irq);

    (void)index_of(dev);
    if (!fake.caps[unit_index(dev->unit)].interrupts)
        return HV_ENOTSUP;
    if (status != HV_OK)
        return status;
    if (!irq->mapped) {
        uint32_t free = 0;
        while (free < FAKE_IRQS && fake.irq[free].dev)
            free++;
        if (free == FAKE_IRQS)
            return HV_ENOMEM;
        *irq = (struct iommu_irq){ true, free, 0xfee00010 | free << 5, 0 };
    }
    struct fake_irq *f = &fake.irq[irq->handle];
    f->dev = dev;
    f->on = to;
    f->to = to ? *to : (struct irq_target){ 0 };
    fake.irq_changes++;
    return take_failure(&fake.fail_irq_late);
}

static enum hv_status irq_unmap(struct iommu_device *dev, struct iommu_irq *irq)
{
    (void)index_of(dev);
    if (irq->mapped)
        fake.irq[irq->handle] = (struct fake_irq){ 0 };
    irq->mapped = false;
    fake.irq_changes++;
    return take_failure(&fake.fail_irq_unmap);
}

bool fake_interrupt(rid_t rid, uint32_t address)
{
    const struct fake_irq *f = &fake.irq[address >> 5 & 0xff];

    return f->dev && f->dev->rid == rid && f->on &&
           platform_interrupt_on(f->to.apic_id, f->to.vector);
}

static void invalidate(const struct iommu_inval *inval)
{
    (void)index_of(inval->dev);
    for (unsigned i = 0; inval->kind == IOMMU_INVAL_PAGES && i < inval->pages; i++) {
        struct iommu_inval one = *inval;
        one.kind = IOMMU_INVAL_RANGE;
        one.address = inval->page[i];
        one.bytes = PAGE_SIZE;
        invalidate(&one);
    }
    if (inval->kind == IOMMU_INVAL_PAGES)
        return;
    if (fake.invals < FAKE_LOG)
        fake.inval[fake.invals] = (struct fake_inval){ .what = *inval };
    fake.invals++;
    fake.unflushed++;
    if (fake.on_invalidate)
        fake.on_invalidate(fake.ctx);
}

static void respond(struct iommu_device *dev, const struct iommu_page_request *last, bool success)
{
    (void)index_of(dev);
    if (fake.answers < FAKE_LOG)
        fake.answer[fake.answers] = (struct fake_answer){
            .dev = dev,
            .last = *last,
            .success = success,
            .after = fake.invals,
        };
    fake.answers++;
    fake.unflushed++;
    if (fake.on_respond)
        fake.on_respond(fake.ctx);
}

static enum hv_status flush(void)
{
    for (unsigned i = 0; i < FAKE_LOG && i < fake.answers; i++)
        fake.answer[i].flushed = true;
    for (unsigned i = 0; i < FAKE_LOG && i < fake.invals; i++)
        fake.inval[i].flushed = true;
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        check_locks(fake.device[i]);
    fake.flushes++;
    fake.unflushed = 0;
    enum hv_status status = take_failure(&fake.fail_flush);
    if (status != HV_OK && fake.fail_device)
        fake_fail(fake.device[0], status);
    return status;
}

static void poll(void)
{
    enum hv_status status = take_failure(&fake.fail_poll);

    fake.polls++;
    if (status != HV_OK)
        fake_fail(fake.device[0], status);
}

const struct iommu_ops fake_iommu = {
    .name = "fake",
    .probe = probe,
    .start = start,
    .unit_count = unit_count,
    .unit = unit,
    .caps = caps,
    .unit_of = unit_of,
    .device_add = add,
    .device_remove = forget,
    .device_stop = stop,
    .device_restart = restart,
    .device_fail = lost,
    .stage2_create = stage2_create,
    .stage2_destroy = stage2_destroy,
    .stage2_changed = stage2_changed,
    .attach = attach,
    .block = block,
    .page_requests_on = page_requests_on,
    .page_requests_off = page_requests_off,
    .page_requests_free = page_requests_free,
    .irq_map = irq_map,
    .irq_unmap = irq_unmap,
    .invalidate = invalidate,
    .respond = respond,
    .flush = flush,
    .poll = poll,
};
