/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts of devices to their VM: set-up, the way in, floods. */
#include "hv/interrupt.h"

#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/hypercall.h"
#include "hv/rings.h"

/* The handler reads without a lock: `to` in one piece, so that vCPU and vector belong together. All
 * else is guarded by the VM's lock, but window and count, which are the handler's. */
struct interrupt {
    struct device *device;  /* NULL: never used */
    struct interrupt *next; /* of the VM's silenced ones */
    struct iommu_irq irq;   /* mapped: it is on */
    struct irq_target host; /* on the CPU of its vCPU */
    _Atomic uint32_t to;    /* vCPU 31:8, the guest's vector 7:0 */
    uint16_t index;
    bool silenced;
    _Atomic uint32_t count;  /* raised in this window */
    _Atomic uint64_t window; /* when it began; of a silenced one: when that began */
};

static_assert(INTERRUPT_QUIET_US >= INTERRUPT_WINDOW_US); /* after it a new window begins */
static_assert(sizeof(struct interrupt) * (INTERRUPTS + 1) <= PAGE_SIZE);

static struct vcpu *target(const struct interrupt *i)
{
    return i->device->vm->vcpu[atomic_load(&i->to) >> 8];
}

static void post(struct interrupt *i)
{
    uint32_t to = atomic_load(&i->to);

    vcpu_interrupt(i->device->vm->vcpu[to >> 8], (uint8_t)to);
}

/* --- The way in: on the CPU of the vCPU, interrupts off --------------------------------------- */

static bool floods(struct interrupt *i)
{
    uint64_t now = time_now();

    if (now - i->window >= INTERRUPT_WINDOW_US * time_ticks_per_us()) {
        i->window = now;
        i->count = 0;
    }
    return ++i->count > INTERRUPT_BURST;
}

/* Whoever frees interrupts holds the VM's lock and waits for handlers: so only try it. While
 * somebody else of this VM holds it the flood goes on, and the next of its interrupts tries again.
 */
static void silence(struct interrupt *i)
{
    struct vm *vm = i->device->vm;
    bool done = false;

    if (!lock_try(&vm->lock))
        return;
    if (i->irq.mapped && !i->silenced) {
        (void)iommu->irq_map(&i->device->io, &i->irq, NULL);
        i->window = time_now();
        i->silenced = done = true;
        i->next = vm->silenced;
        vm->silenced = i;
    }
    lock_drop(&vm->lock);
    if (done)
        rings_event(vm, &(struct hc_event){ .type = HC_EVENT_INTERRUPT_FLOOD,
                                            .device = i->device->handle,
                                            .pasid = HC_PASID_NONE,
                                            .group = i->index });
}

static void raised(void *ctx)
{
    struct interrupt *i = ctx;

    post(i);
    if (floods(i))
        silence(i);
}

void interrupt_tick(struct vm *vm)
{
    if (!atomic_load(&vm->silenced) || !lock_try(&vm->lock))
        return;
    struct interrupt *i = vm->silenced, *left = NULL, *next;
    for (; i; i = next) {
        next = i->next;
        if (time_now() - i->window < INTERRUPT_QUIET_US * time_ticks_per_us()) {
            i->next = left;
            left = i;
            continue;
        }
        i->silenced = false;
        (void)iommu->irq_map(&i->device->io, &i->irq, &i->host);
        post(i);
    }
    vm->silenced = left;
    lock_drop(&vm->lock);
}

/* --- Set-up; lock: the VM's ------------------------------------------------------------------- */

static enum hv_status interrupt_of(struct device *d, uint32_t index, struct interrupt **out)
{
    void *page;

    if (!d->interrupts) {
        enum hv_status status = pages_alloc(&d->vm->quota, 0, &page);
        if (status != HV_OK)
            return status;
        d->interrupts = page;
    }
    *out = &d->interrupts[index];
    (*out)->device = d;
    (*out)->index = (uint16_t)index;
    return HV_OK;
}

/* None is on. */
static void free_all(struct device *d)
{
    pages_free(&d->vm->quota, 0, d->interrupts);
    d->interrupts = NULL;
}

static void forget_silence(struct interrupt *i)
{
    struct vm *vm = i->device->vm;
    struct interrupt *all = vm->silenced, **link = &all;

    if (!i->silenced)
        return;
    while (*link != i)
        link = &(*link)->next;
    *link = i->next;
    vm->silenced = all;
    i->silenced = false;
}

static void off(struct interrupt *i)
{
    forget_silence(i);
    (void)iommu->irq_unmap(&i->device->io, &i->irq);
    irq_free_on(target(i)->cpu, i->host.vector);
}

/* A vector on the new CPU, then the entry, then the old one goes: an interrupt on its way at this
 * time arrives here or there. */
static enum hv_status move(struct interrupt *i, uint32_t vcpu, uint8_t vector)
{
    struct device *d = i->device;
    struct irq_target host;
    unsigned cpu = d->vm->vcpu[vcpu]->cpu;

    enum hv_status status = irq_alloc_on(cpu, raised, i, &host);
    if (status != HV_OK)
        return status;
    struct irq_target old = i->host;
    bool was_on = i->irq.mapped;
    unsigned old_cpu = was_on ? target(i)->cpu : 0;
    uint32_t old_to = atomic_exchange(&i->to, vcpu << 8 | vector);
    status = iommu->irq_map(&d->io, &i->irq, i->silenced ? NULL : &host);
    if (status == HV_OK || status == HV_EIO || status == HV_ETIMEDOUT) { /* the entry is written */
        i->host = host;
        if (was_on)
            irq_free_on(old_cpu, old.vector);
        if (status != HV_OK)
            off(i);
    } else {
        atomic_store(&i->to, old_to);
        irq_free_on(cpu, host.vector);
    }
    return status;
}

enum hv_status interrupt_on(struct device *d, uint32_t index, uint32_t vcpu, uint8_t vector,
                            struct iommu_irq *out)
{
    struct interrupt *i;

    if (d->first->io.failed)
        return HV_EIO;
    bool first = !d->interrupts;
    enum hv_status status = interrupt_of(d, index, &i);
    if (status != HV_OK)
        return status;
    if (i->irq.mapped && d->vm->vcpu[vcpu] == target(i))
        atomic_store(&i->to, vcpu << 8 | vector);
    else
        status = move(i, vcpu, vector);
    *out = i->irq;
    if (first && status != HV_OK)
        free_all(d);
    return status;
}

enum hv_status interrupt_off(struct device *d, uint32_t index)
{
    if (!d->interrupts || !d->interrupts[index].irq.mapped)
        return HV_ENOENT;
    off(&d->interrupts[index]);
    return HV_OK;
}

void interrupt_end(struct vm *vm)
{
    lock_take(&vm->lock);
    for (unsigned n = 0; n < vm->ndevices; n++) {
        struct device *d = vm->device[n];
        if (!d->interrupts)
            continue;
        for (uint32_t i = 0; i <= INTERRUPTS; i++)
            (void)interrupt_off(d, i);
        free_all(d);
    }
    lock_drop(&vm->lock);
}

enum hv_status interrupt_hc(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_device_irq *in = arg;
    struct device *d = device_get(vm, in->device);
    struct iommu_irq message;

    if (in->flags)
        return HV_EINVAL;
    if (!d)
        return HV_ENODEV;
    if (in->index >= INTERRUPTS)
        return HV_ERANGE;
    if (!in->vector)
        return in->vcpu ? HV_EINVAL : interrupt_off(d, in->index);
    if (in->vector < 32 || in->vector > 255 || in->vcpu >= vm->nvcpus)
        return HV_ERANGE;
    enum hv_status status = interrupt_on(d, in->index, in->vcpu, (uint8_t)in->vector, &message);
    if (status == HV_OK)
        *value = (uint64_t)message.data << 32 | message.address;
    return status;
}
