/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bond is entered in all tables before hardware may use it, because a page request can follow at
 * once, and is taken out of them before hardware is told to stop, so that what still arrives
 * meanwhile finds nobody and is answered INVALID.
 */
#include "hv/bond.h"

#include "hv/device.h"
#include "hv/iopf.h"
#include "hv/log.h"
#include "hv/rings.h"
#include "hv/shadow.h"

#define ROOT_SLOT(root) ((uint32_t)((root).v >> PAGE_SHIFT) & (IDMAP_SIZE - 1))

struct bond *bond_find(const struct device *device, uint32_t pasid)
{
    if (pasid == HC_PASID_NONE)
        return device->rid_bond;
    const struct space *space = idmap_get(&device->vm->sva->pasids, pasid);
    struct bond *bond = space ? space->bonds : NULL;
    while (bond && bond->device != device)
        bond = bond->next;
    return bond;
}

bool space_is(const struct space *space, const struct space_spec *spec)
{
    return space->kind == spec->kind && space->root.v == spec->root.v &&
           space->levels == spec->levels;
}

struct space *space_of_root(const struct vm *vm, gpaddr_t root)
{
    struct space *space = idmap_get(&vm->sva->roots, ROOT_SLOT(root));

    while (space && space->root.v != root.v)
        space = space->next;
    return space;
}

/* --- Tables, each change with the event lock held --------------------------------------------- */

static void link_bond(struct bond *bond)
{
    bond->next = bond->space->bonds;
    bond->space->bonds = bond;
    bond->device->all_bonds++;
    if (bond->space->pasid == PASID_RID)
        bond->device->rid_bond = bond;
}

static void unlink_bond(struct bond *bond)
{
    struct bond **link = &bond->space->bonds;

    while (*link != bond)
        link = &(*link)->next;
    *link = bond->next;
    bond->device->all_bonds--;
    if (bond->device->rid_bond == bond)
        bond->device->rid_bond = NULL;
}

/* Put @bond in the place of @old; a new space takes its number. */
static enum hv_status enter(struct bond *bond, uint32_t pasid, struct bond *old)
{
    struct space *space = bond->space;
    struct vm *vm = space->vm;
    struct sva *sva = vm->sva;
    enum hv_status status = HV_OK;

    lock_take(&vm->rings->events);
    if (pasid == HC_PASID_ANY)
        status = idmap_add(&sva->pasids, PASID_RID + 1, 1u << bond->device->io.pasid_bits, space,
                           &space->pasid);
    else if (space->pasid != PASID_RID && !space->bonds)
        status = idmap_set(&sva->pasids, space->pasid, space);
    if (status == HV_OK) {
        if (old)
            unlink_bond(old);
        link_bond(bond);
    }
    lock_drop(&vm->rings->events);
    return status;
}

/* Take @bond out; @old, if any, comes back. */
static void leave(struct bond *bond, struct bond *old)
{
    struct vm *vm = bond->space->vm;

    lock_take(&vm->rings->events);
    unlink_bond(bond);
    if (old) {
        link_bond(old);
        if (old->space->pasid != PASID_RID && old->space != bond->space)
            hv_assert(idmap_set(&vm->sva->pasids, old->space->pasid, old->space) == HV_OK);
    }
    lock_drop(&vm->rings->events);
}

/* --- SVA spaces by root, guarded by the VM's lock alone --------------------------------------- */

enum hv_status space_publish(struct space *space)
{
    struct sva *sva = space->vm->sva;

    if (space->sva)
        return HV_OK;
    struct space *head = idmap_get(&sva->roots, ROOT_SLOT(space->root));
    enum hv_status status = idmap_set(&sva->roots, ROOT_SLOT(space->root), space);
    if (status == HV_OK) {
        space->next = head;
        space->sva = true;
    }
    return status;
}

static void unpublish(struct space *space)
{
    struct sva *sva = space->vm->sva;
    uint32_t slot = ROOT_SLOT(space->root);
    struct space *head = idmap_get(&sva->roots, slot);

    if (head != space) {
        while (head->next != space)
            head = head->next;
        head->next = space->next;
    } else if (space->next) {
        hv_assert(idmap_set(&sva->roots, slot, space->next) == HV_OK);
    } else {
        idmap_clear(&sva->roots, slot);
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

/* Give a space back that has no bond. @known: the number still means it. */
static void space_free(struct space *space, bool known)
{
    struct vm *vm = space->vm;
    struct sva *sva = vm->sva;

    if (space->sva)
        unpublish(space);
    if (known && space->pasid != PASID_RID) {
        lock_take(&vm->rings->events);
        idmap_clear(&sva->pasids, space->pasid);
        lock_drop(&vm->rings->events);
    }
    slab_free(&sva->objects, space);
}

/* Free what is out of all tables and no longer attached. */
static void discard(struct bond *bond, bool known)
{
    struct space *space = bond->space;
    struct sva *sva = space->vm->sva;
    struct device *device = bond->device;

    if (bond->refs) {
        idmap_clear(&sva->handles, bond->handle & (IDMAP_SIZE - 1));
        device->bonds--;
        device->iopf_bonds -= bond->iopf;
    }
    domain_put(space, device, bond->domain, false);
    slab_free(&sva->objects, bond);
    if (!space->bonds)
        space_free(space, known);
}

/* Answer what is open before the PASID goes: the device may wait for it. */
static void drop_groups(struct bond *bond)
{
    if (iopf_drop(bond->device, bond, !bond->device->io.failed))
        (void)iommu->flush(); /* an error of a device is told by its upcall */
}

static enum hv_status attach(struct bond *bond)
{
    struct iommu_target target = domain_target(bond->space, bond->domain);

    return iommu->attach(&bond->device->io, bond->space->pasid, &target);
}

enum hv_status bond_make(struct device *device, uint32_t pasid, struct space *space,
                         const struct space_spec *spec, bool faults, struct bond *old,
                         struct bond **out)
{
    struct vm *vm = device->vm;
    struct sva *sva = vm->sva;
    bool new_space = !space;
    void *object;

    enum hv_status status = slab_alloc(&sva->objects, &object);
    if (status != HV_OK)
        return status;
    struct bond *bond = object;
    if (new_space) {
        status = slab_alloc(&sva->objects, &object);
        if (status != HV_OK)
            goto fail_bond;
        space = object;
        *space = (struct space){
            .vm = vm,
            .kind = (uint8_t)spec->kind,
            .root = spec->root,
            .levels = spec->levels,
            .pasid = pasid == HC_PASID_NONE ? PASID_RID : pasid,
        };
    }
    *bond = (struct bond){ .space = space, .device = device, .attached = true, .faults = faults };
    status = domain_get(space, device, &bond->domain);
    if (status != HV_OK)
        goto fail_space;
    status = enter(bond, new_space ? pasid : space->pasid, old);
    if (status != HV_OK)
        goto fail_domain;
    status = attach(bond);
    if (status != HV_OK)
        goto fail_entered;
    if (old) {
        drop_groups(old);
        discard(old, false);
    }
    *out = bond;
    return HV_OK;

fail_entered:
    leave(bond, old);
    drop_groups(bond);
    if (new_space && !old && space->pasid != PASID_RID) {
        lock_take(&vm->rings->events);
        idmap_clear(&sva->pasids, space->pasid);
        lock_drop(&vm->rings->events);
    }
fail_domain:
    domain_put(space, device, bond->domain, true);
fail_space:
    if (new_space)
        slab_free(&sva->objects, space);
fail_bond:
    slab_free(&sva->objects, bond);
    return status;
}

/* While nothing was attached, the guest had nothing to invalidate. */
static enum hv_status freshen(const struct bond *bond)
{
    const struct domain *domain = bond->domain;

    for (const struct bond *b = bond->space->bonds; b; b = b->next) {
        if (b->domain == domain && b->attached)
            return HV_OK;
    }
    return domain->shadow ? shadow_drop_all(domain->shadow) : HV_OK;
}

enum hv_status bond_restore(struct bond *bond)
{
    struct vm *vm = bond->space->vm;

    if (bond->attached)
        return HV_OK;
    enum hv_status status = freshen(bond);
    if (status != HV_OK)
        return status;
    lock_take(&vm->rings->events);
    bond->attached = true;
    lock_drop(&vm->rings->events);
    status = attach(bond);
    if (status != HV_OK)
        bond_block(bond);
    return status;
}

void bond_block(struct bond *bond)
{
    struct vm *vm = bond->space->vm;

    lock_take(&vm->rings->events);
    bool was = bond->attached;
    bond->attached = false; /* page requests find nobody from here on */
    lock_drop(&vm->rings->events);
    if (!was)
        return;
    drop_groups(bond);
    (void)iommu->block(&bond->device->io, bond->space->pasid);
}

void bond_free(struct bond *bond)
{
    bond_block(bond);
    leave(bond, NULL);
    discard(bond, true);
}
