/* SPDX-License-Identifier: BSD-2-Clause */
/* Second stages are built once, from the VM's RAM; domains come and go with the bonds of a space.
 */
#include "hv/domain.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/ioas.h"
#include "hv/log.h"

/* Map the VM's RAM, as large as the unit allows. */
static enum hv_status map_ram(struct vm *vm, struct pt *table)
{
    for (unsigned i = 0; i < vm->nram; i++) {
        const struct vm_ram *ram = &vm->ram[i];
        enum hv_status status =
            pt_map(table, PTADDR(ram->gpa.v), ram->hpa, ram->size, PT_R | PT_W | PT_X);
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

static enum hv_status second_make(struct vm *vm, struct iommu_unit *unit, struct second_stage **out)
{
    const struct iommu_caps *caps = iommu->caps(unit);
    void *object;

    if (!caps->second_stage)
        return HV_ENOTSUP;
    enum hv_status status = pages_alloc(&vm->quota, 0, &object);
    if (status != HV_OK)
        return status;
    struct second_stage *s = object;
    status = pt_create(&s->table, caps->second_stage_format, &vm->quota, caps->second_stage_levels,
                       caps->second_stage_large, !caps->coherent_tables);
    if (status != HV_OK)
        goto fail_object;
    status = map_ram(vm, &s->table);
    if (status != HV_OK)
        goto fail_table;
    status = iommu->stage2_create(unit, &s->table, &s->hw);
    if (status != HV_OK)
        goto fail_table;
    *out = s;
    return HV_OK;

fail_table:
    pt_destroy(&s->table);
fail_object:
    pages_free(&vm->quota, 0, object);
    return status;
}

/* Kept until the VM ends: it depends on nothing that changes. */
enum hv_status domain_prepare(struct device *device)
{
    struct second_stage **slot = &device->vm->sva->second[device->caps->index];

    hv_assert(device->vm->nram > 0);
    return *slot ? HV_OK : second_make(device->vm, device->io.unit, slot);
}

void domain_end(struct vm *vm)
{
    for (unsigned i = 0; i < IOMMU_UNITS_MAX; i++) {
        struct second_stage *s = vm->sva->second[i];
        if (!s)
            continue;
        if (iommu->stage2_destroy(&s->hw) == HV_OK)
            pt_destroy(&s->table);
        else
            log_error("iommu", "%s: hardware may still walk its second stage, which is kept",
                      vm->name);
        pages_free(&vm->quota, 0, s);
        vm->sva->second[i] = NULL;
    }
}

static bool fits(const struct domain *domain, const struct device *device)
{
    return domain->stage2->unit == device->io.unit;
}

static enum hv_status check_unit(const struct space *space, const struct device *device)
{
    const struct iommu_caps *caps = device->caps;

    if (space->kind != HC_DOMAIN_NESTED)
        return HV_OK;
    if (!caps->nested || !(caps->first_stage_levels >> (space->levels - 4) & 1))
        return HV_ENOTSUP;
    return HV_OK;
}

/* What the domain is made of. An IOAS counts each device. */
static enum hv_status choose(const struct space *space, const struct device *device,
                             struct domain *d)
{
    enum hv_status status = check_unit(space, device);

    *d = (struct domain){ .users = 1 };
    if (status != HV_OK)
        return status;
    if (space->kind != HC_DOMAIN_PAGING) {
        d->stage2 = &space->vm->sva->second[device->caps->index]->hw;
        return HV_OK;
    }
    d->ioas = ioas_find(space->vm, space->root.v);
    status = ioas_attach(d->ioas, device, &d->ioas_unit);
    if (status == HV_OK)
        d->stage2 = &d->ioas_unit->hw;
    return status;
}

enum hv_status domain_get(struct space *space, struct device *device, struct domain **out)
{
    struct slab *objects = &space->vm->sva->objects;
    struct domain made;
    void *object;

    enum hv_status status = choose(space, device, &made);
    if (status != HV_OK)
        return status;
    for (struct domain *d = space->domains; d; d = d->next) {
        if (fits(d, device)) {
            d->users++;
            *out = d;
            return HV_OK;
        }
    }
    status = slab_alloc(objects, &object);
    if (status != HV_OK)
        goto fail;
    struct domain *d = object;
    *d = made;
    d->next = space->domains;
    space->domains = d;
    *out = d;
    return HV_OK;

fail:
    if (made.ioas)
        ioas_detach(made.ioas, device, made.ioas_unit, true);
    return status;
}

void domain_put(struct space *space, const struct device *device, struct domain *domain, bool undo)
{
    if (domain->ioas)
        ioas_detach(domain->ioas, device, domain->ioas_unit, undo);
    if (--domain->users)
        return;
    struct domain **link = &space->domains;
    while (*link != domain)
        link = &(*link)->next;
    *link = domain->next;
    slab_free(&space->vm->sva->objects, domain);
}

struct iommu_target domain_target(const struct space *space, const struct domain *domain)
{
    return (struct iommu_target){
        .kind = space->kind == HC_DOMAIN_NESTED ? IOMMU_NESTED : IOMMU_SECOND_STAGE,
        .stage2 = domain->stage2,
        .root = space->root,
        .levels = space->levels,
    };
}
