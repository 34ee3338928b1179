/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Invalidation of what the guest changed in its first stages: each order becomes one for each
 * device that may have cached something of it. Nothing is flushed here; the caller batches, and
 * ends with invalidate_send() and iommu->flush().
 */
#include "hv/invalidate.h"

#include <string.h>

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/shadow.h"

#define ARRAY_MAX 256u

static enum hv_status check(const struct hc_invalidate *in)
{
    if ((in->flags & ~(uint32_t)HC_INVALIDATE_LEAF) | in->reserved)
        return HV_EINVAL;
    if (in->kind > HC_INVALIDATE_MAPPED)
        return HV_EINVAL;
    if (in->kind == HC_INVALIDATE_PASID || in->kind == HC_INVALIDATE_DOMAIN)
        return in->address | in->bytes ? HV_EINVAL : HV_OK;
    if ((in->address | in->bytes) & PAGE_MASK)
        return HV_EALIGN;
    if (!in->bytes)
        return HV_EINVAL;
    if (in->kind == HC_INVALIDATE_MAPPED && in->bytes > HC_MAPPED_MAX)
        return HV_ERANGE;
    return in->address + (in->bytes - 1) < in->address ? HV_ERANGE : HV_OK;
}

/* Where Sluice itself holds what the guest's tables said. */
static enum hv_status order_shadow(struct shadow *shadow, const struct hc_invalidate *in)
{
    if (in->kind == HC_INVALIDATE_MAPPED)
        return shadow_notice(shadow, IOVA(in->address), in->bytes);
    return in->kind == HC_INVALIDATE_RANGE ? shadow_drop(shadow, IOVA(in->address), in->bytes)
                                           : shadow_drop_all(shadow);
}

static void order(const struct bond *bond, const struct hc_invalidate *in)
{
    if (!bond->attached || bond->domain->shadow || in->kind == HC_INVALIDATE_MAPPED)
        return;
    iommu->invalidate(&(struct iommu_inval){
        .dev = &bond->device->io,
        .pasid = bond->space->pasid,
        .kind = in->kind == HC_INVALIDATE_RANGE ? IOMMU_INVAL_RANGE : IOMMU_INVAL_PASID,
        .leaf = in->flags & HC_INVALIDATE_LEAF,
        .address = IOVA(in->address),
        .bytes = in->bytes,
    });
}

/* All of a space; the shadows also when nothing is attached. */
static enum hv_status order_all(const struct space *space, const struct hc_invalidate *in)
{
    enum hv_status result = HV_OK;

    for (const struct domain *d = space->domains; d; d = d->next) {
        enum hv_status status = d->shadow ? order_shadow(d->shadow, in) : HV_OK;
        if (status != HV_OK)
            result = status;
    }
    for (const struct bond *bond = space->bonds; bond; bond = bond->next)
        order(bond, in);
    return result;
}

void invalidate_send_run(struct invalidate_run *run)
{
    bool one = run->pages == 1;

    for (const struct domain *d = run->space->domains; d; d = d->next) {
        enum hv_status status =
            d->shadow ? shadow_drop_pages(d->shadow, run->page, run->pages) : HV_OK;
        if (status != HV_OK)
            run->status = status;
    }
    for (const struct bond *bond = run->space->bonds; bond; bond = bond->next) {
        if (!bond->attached || bond->domain->shadow)
            continue;
        iommu->invalidate(&(struct iommu_inval){
            .dev = &bond->device->io,
            .pasid = run->space->pasid,
            .kind = one ? IOMMU_INVAL_RANGE : IOMMU_INVAL_PAGES,
            .leaf = run->leaf,
            .address = run->page[0],
            .bytes = PAGE_SIZE,
            .page = run->page,
            .pages = run->pages,
        });
    }
    run->space = NULL;
    run->pages = INVALIDATE_RUN; /* no order is like those of none */
}

static void add_page(struct vm *vm, const struct space *space, const struct hc_invalidate *in)
{
    struct invalidate_run *run = &vm->sva->run;
    bool leaf = in->flags & HC_INVALIDATE_LEAF;

    if (run->space != space || run->leaf != leaf || run->pages == INVALIDATE_RUN) {
        invalidate_send(run);
        run->space = space;
        run->leaf = leaf;
        run->pages = 0;
        memcpy(run->like, in, sizeof(run->like));
    }
    run->page[run->pages++] = IOVA(in->address);
}

/* A PASID: every device that carries it. */
static enum hv_status by_pasid(struct vm *vm, const struct hc_invalidate *in)
{
    if (in->device)
        return HV_EINVAL;
    if (in->pasid >= IDMAP_SIZE || in->pasid == PASID_RID)
        return HV_ERANGE;
    const struct space *space = idmap_get(&vm->sva->pasids, in->pasid);
    if (!space || space->kind != HC_DOMAIN_NESTED)
        return HV_ENOENT;
    if (in->kind == HC_INVALIDATE_RANGE && in->bytes == PAGE_SIZE) {
        add_page(vm, space, in);
        return HV_OK;
    }
    if (in->kind == HC_INVALIDATE_MAPPED)
        invalidate_send(&vm->sva->run); /* what was ordered before is not to go after */
    return order_all(space, in);
}

/* The first stage of a device's RID. */
static enum hv_status by_rid(const struct vm *vm, const struct hc_invalidate *in)
{
    const struct device *d = device_get(vm, in->device);

    if (!d)
        return HV_ENODEV;
    d = d->first;
    if (!d->rid_bond || d->rid_bond->space->kind != HC_DOMAIN_NESTED)
        return HV_ENOENT;
    return order_all(d->rid_bond->space, in);
}

/* All first stages of the VM on the device's unit. */
static enum hv_status by_unit(struct vm *vm, const struct hc_invalidate *in)
{
    const struct device *named = device_get(vm, in->device);
    bool any;

    if (!named)
        return HV_ENODEV;
    if (in->pasid)
        return HV_EINVAL;
    if (!named->caps->nested)
        return shadow_drop_vm(vm, named->io.unit, &any);
    /* Once a flush: a device may take an order for each of its PASIDs, and the others wait
     * meanwhile. */
    if (vm->sva->run.units >> named->caps->index & 1)
        return HV_OK;
    vm->sva->run.units |= (uint16_t)(1u << named->caps->index);
    for (unsigned i = 0; i < vm->ndevices; i++) {
        struct device *d = vm->device[i];
        if (d->io.unit == named->io.unit)
            iommu->invalidate(&(struct iommu_inval){ .dev = &d->io, .kind = IOMMU_INVAL_ALL });
    }
    return HV_OK;
}

enum hv_status invalidate_hc(struct vm *vm, const void *arg, uint64_t *)
{
    const struct hc_invalidate *in = arg;

    enum hv_status status = check(in);
    if (status != HV_OK)
        return status;
    if (in->kind == HC_INVALIDATE_DOMAIN)
        status = by_unit(vm, in);
    else
        status = in->pasid == HC_PASID_NONE ? by_rid(vm, in) : by_pasid(vm, in);
    vm->stats.invalidations += status == HV_OK;
    return status;
}

enum hv_status invalidate_hc_array(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_invalidate_array *in = arg;
    struct hc_invalidate one;

    if (in->flags)
        return HV_EINVAL;
    if (in->count == 0 || in->count > ARRAY_MAX)
        return HV_ERANGE;
    if (in->entries & PAGE_MASK || in->entry_size & 7)
        return HV_EALIGN;
    if (in->entry_size < HC_INVALIDATE_MIN || in->entry_size > PAGE_SIZE)
        return in->entry_size > PAGE_SIZE ? HV_E2BIG : HV_E2SMALL;
    for (; *value < in->count; ++*value) {
        gpaddr_t at = GPADDR(in->entries + *value * in->entry_size);
        enum hv_status status = guest_copy_struct(vm, at, HC_INVALIDATE_MIN, sizeof(one), &one);
        if (status == HV_OK && one.size != in->entry_size)
            status = HV_EINVAL;
        if (status == HV_OK)
            status = invalidate_hc(vm, &one, NULL);
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}
