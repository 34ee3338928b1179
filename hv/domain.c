/* SPDX-License-Identifier: BSD-2-Clause */
/* Second stages are built once, from the VM's RAM; domains come and go with the bonds of a space.
 */
#include "hv/domain.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/direct.h"
#include "hv/ioas.h"
#include "hv/log.h"
#include "hv/shadow.h"
#include "hv/stage2.h"

/* Map the VM's RAM, as large as the unit allows, and what firmware has in it. */
static enum hv_status map_ram(struct vm *vm, struct pt *table)
{
    for (unsigned i = 0; i < vm->nram; i++) {
        const struct vm_ram *ram = &vm->ram[i];
        enum hv_status status =
            pt_map(table, PTADDR(ram->gpa.v), ram->hpa, ram->size, PT_R | PT_W | PT_X);
        if (status != HV_OK)
            return status;
    }
    return direct_map(vm, table);
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
    status = stage2_make(vm, unit, &s->table, &s->hw);
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
        if (stage2_end(vm, &s->hw) == HV_OK)
            pt_destroy(&s->table);
        else
            log_error("iommu", "%s: hardware may still walk its second stage, which is kept",
                      vm->name);
        pages_free(&vm->quota, 0, s);
        vm->sva->second[i] = NULL;
    }
    stage2_leave(vm);
}

static bool fits(const struct domain *domain, const struct device *device)
{
    return domain->stage2->unit == device->io.unit;
}

bool domain_walks(const struct iommu_caps *caps, unsigned levels)
{
    return caps->nested ? caps->first_stage_levels >> (levels - 4) & 1
                        : shadow_end(caps, levels) != 0;
}

static struct domain *find(const struct space *space, const struct device *device)
{
    struct domain *d = space->domains;

    while (d && !fits(d, device))
        d = d->next;
    return d;
}

/* What a new domain translates through; that of an IOAS is there already. */
static enum hv_status fill_in(struct domain *d, const struct space *space,
                              const struct device *device)
{
    if (d->ioas) {
        d->stage2 = &d->ioas_unit->hw;
    } else if (space->kind == HC_DOMAIN_NESTED && !device->caps->nested) {
        enum hv_status status = shadow_make(space, device, &d->shadow);
        if (status != HV_OK)
            return status;
        d->stage2 = &d->shadow->hw;
    } else {
        d->stage2 = &space->vm->sva->second[device->caps->index]->hw;
    }
    return HV_OK;
}

enum hv_status domain_get(struct space *space, struct device *device, struct domain **out)
{
    struct slab *objects = &space->vm->sva->objects;
    struct domain made = { .users = 1 };
    enum hv_status status = HV_OK;
    void *object;

    if (space->kind == HC_DOMAIN_NESTED && !domain_walks(device->caps, space->levels))
        return HV_ENOTSUP;
    if (space->kind == HC_DOMAIN_PAGING) { /* an IOAS counts each device */
        made.ioas = ioas_find(space->vm, space->root.v);
        status = ioas_attach(made.ioas, device, &made.ioas_unit);
    } else {
        status = demand_check_ram(device);
    }
    if (status != HV_OK)
        return status;
    device->ram_domains += !made.ioas;
    struct domain *d = find(space, device);
    if (d) {
        d->users++;
        *out = d;
        return HV_OK;
    }
    status = slab_alloc(objects, &object);
    if (status != HV_OK)
        goto fail;
    status = fill_in(&made, space, device);
    if (status != HV_OK)
        goto fail_object;
    d = object;
    *d = made;
    d->next = space->domains;
    space->domains = d;
    *out = d;
    return HV_OK;

fail_object:
    slab_free(objects, object);
fail:
    if (made.ioas)
        ioas_detach(made.ioas, device, made.ioas_unit, true);
    else
        device->ram_domains--;
    return status;
}

void domain_put(struct space *space, struct device *device, struct domain *domain, bool undo)
{
    if (domain->ioas)
        ioas_detach(domain->ioas, device, domain->ioas_unit, undo);
    else
        device->ram_domains--;
    if (--domain->users)
        return;
    struct domain **link = &space->domains;
    while (*link != domain)
        link = &(*link)->next;
    *link = domain->next;
    if (domain->shadow)
        shadow_free(domain->shadow);
    slab_free(&space->vm->sva->objects, domain);
}

struct iommu_target domain_target(const struct space *space, const struct domain *domain)
{
    return (struct iommu_target){
        .kind =
            space->kind == HC_DOMAIN_NESTED && !domain->shadow ? IOMMU_NESTED : IOMMU_SECOND_STAGE,
        .stage2 = domain->stage2,
        .root = space->root,
        .levels = space->levels,
    };
}
