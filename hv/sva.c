/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bind and unbind. A bind of a root that the VM knows joins its space; of a new root makes a space
 * with a PASID of its own; a second bind of the same device only counts.
 */
#include "hv/sva.h"

#include "hv/attach.h"
#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/hypercall.h"
#include "hv/ioas.h"
#include "hv/log.h"
#include "hv/rings.h"

#define HANDLE_SERIAL (1u << IDMAP_BITS) /* handles: serial 31:20, number 19:0 */

static struct slab *objects(struct vm *vm)
{
    return &vm->sva->objects;
}

enum hv_status sva_create(struct vm *vm)
{
    void *page;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);

    static_assert(sizeof(struct sva) <= PAGE_SIZE);
    if (status != HV_OK)
        return status;
    vm->sva = page;
    vm->sva->pasids.quota = vm->sva->handles.quota = vm->sva->roots.quota = &vm->quota;
    vm->sva->ioases.quota = &vm->quota;
    vm->sva->fill_lock.rank = RANK_FILL;
    objects(vm)->quota = &vm->quota;
    vm->sva->run.pages = INVALIDATE_RUN;
    return HV_OK;
}

#define BONDS_PER_LOOK  64u
#define SPACES_PER_CALL 1024u   /* all with the VM's lock: a few hundredths of a second, */
#define END_STEP_US     100000u /* or where hardware is waited for, no bond after that */

/* This may be the CPU that the units interrupt, and a VM can have a million bonds. */
static void look_up(unsigned n)
{
    if (n % BONDS_PER_LOOK == 0)
        iommu->poll();
}

enum hv_status sva_end_device(struct device *d)
{
    const struct sva *sva = d->vm->sva;
    uint64_t start = time_now(), most = END_STEP_US * time_ticks_per_us();

    if (d->rid_bond)
        bond_free(d->rid_bond);
    for (unsigned n = 1; d->all_bonds && n <= SPACES_PER_CALL && time_now() - start <= most; n++) {
        uint32_t id = idmap_next(&sva->pasids, d->ending);
        struct bond *bond = id < IDMAP_SIZE ? bond_find(d, id) : NULL;
        d->ending = id < IDMAP_SIZE ? id + 1 : 0; /* round: bonds are made between calls, too */
        if (bond)
            bond_free(bond);
        look_up(n);
    }
    return d->all_bonds ? HV_EAGAIN : HV_OK;
}

static void end_bonds(struct vm *vm)
{
    struct sva *sva = vm->sva;
    unsigned n = 0;

    for (unsigned i = 0; i < vm->ndevices; i++) {
        if (vm->device[i]->rid_bond)
            bond_free(vm->device[i]->rid_bond);
    }
    for (uint32_t id = 0; (id = idmap_next(&sva->pasids, id)) < IDMAP_SIZE; id++) {
        struct space *space = idmap_get(&sva->pasids, id);
        for (struct bond *bond = space->bonds, *next; bond; bond = next) {
            next = bond->next; /* the last one takes the space with it */
            bond_free(bond);
            look_up(++n);
        }
    }
}

void sva_end(struct vm *vm)
{
    end_bonds(vm);
    demand_settle(vm);
    ioas_end(vm);
    domain_end(vm);
    hv_assert(objects(vm)->objects == 0);
}

void sva_destroy(struct vm *vm)
{
    pages_free(&vm->quota, 0, vm->sva);
    vm->sva = NULL;
}

/* The space to join, NULL: a new one. */
static enum hv_status choose_space(const struct device *device, const struct hc_sva_bind *in,
                                   const struct space_spec *spec, struct space **out)
{
    struct vm *vm = device->vm;
    struct space *space = space_of_root(vm, spec->root);

    *out = space;
    if (in->pasid != HC_PASID_ANY && (in->pasid == PASID_RID || in->pasid >> device->io.pasid_bits))
        return HV_ERANGE;
    if (space) {
        if (!space_is(space, spec))
            return HV_EINVAL; /* known with another depth */
        if (in->pasid != HC_PASID_ANY && in->pasid != space->pasid)
            return HV_EEXIST;
        return space->pasid >> device->io.pasid_bits ? HV_ERANGE : HV_OK;
    }
    if (in->pasid == HC_PASID_ANY)
        return HV_OK;
    *out = idmap_get(&vm->sva->pasids, in->pasid);
    return *out && !space_is(*out, spec) ? HV_EEXIST : HV_OK;
}

/* Make @bond's first reference: a handle, and the root known as an SVA space. */
static enum hv_status take_up(struct bond *bond)
{
    struct sva *sva = bond->space->vm->sva;
    uint32_t number;

    enum hv_status status = idmap_add(&sva->handles, 0, IDMAP_SIZE, bond, &number);
    if (status != HV_OK)
        return status;
    status = space_publish(bond->space);
    if (status != HV_OK) {
        idmap_clear(&sva->handles, number);
        return status;
    }
    bond->handle = number | sva->serial++ * HANDLE_SERIAL;
    bond->refs = 1;
    bond->device->bonds++;
    return HV_OK;
}

/* Whoever of those who bound it wants page requests gets them for all. */
static void want_faults(struct bond *bond, bool wants)
{
    struct device *device = bond->device;
    struct lock *events = &device->vm->rings->events;

    if (bond->refs > 1 && !wants)
        return;
    if (bond->faults != wants) {
        lock_take(events);
        bond->faults = wants;
        lock_drop(events);
    }
    if (wants && device->io.pri && !bond->iopf) {
        bond->iopf = true;
        device->iopf_bonds++;
    }
}

enum hv_status sva_hc_bind(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_sva_bind *in = arg;
    struct device *device = device_get(vm, in->device);
    struct space_spec spec = {
        .kind = HC_DOMAIN_NESTED,
        .root = GPADDR(in->root),
        .levels = (uint8_t)in->levels,
    };
    bool wants = !(in->flags & HC_BIND_NO_IOPF);
    struct space *space;

    if ((in->flags & ~(uint32_t)HC_BIND_NO_IOPF) || in->reserved)
        return HV_EINVAL;
    if (!device)
        return HV_ENODEV;
    if (device->io.failed)
        return HV_EIO;
    enum hv_status status = attach_check_root(device, in->root, in->levels);
    if (status != HV_OK)
        return status;
    if (!device->io.pasid_bits)
        return HV_ENOTSUP;
    status = choose_space(device, in, &spec, &space);
    if (status != HV_OK)
        return status;
    if (wants && device->io.pri && !(device->iopf & HC_IOPF_BIND))
        return HV_EORDER;

    struct bond *bond = space ? bond_find(device, space->pasid) : NULL;
    bool fresh = !bond;
    if (bond && bond->refs == UINT32_MAX)
        return HV_ERANGE;
    status =
        bond ? bond_restore(bond) : bond_make(device, in->pasid, space, &spec, wants, NULL, &bond);
    if (status != HV_OK)
        return status;
    if (bond->refs)
        bond->refs++;
    else
        status = take_up(bond);
    if (status != HV_OK) {
        if (fresh)
            bond_free(bond);
        return status;
    }
    want_faults(bond, wants);
    vm->stats.binds++;
    *value = bond->handle | (uint64_t)bond->space->pasid << 32;
    return HV_OK;
}

enum hv_status sva_hc_unbind(struct vm *vm, const void *arg, uint64_t *value)
{
    const uint64_t *reg = arg;
    struct bond *bond = idmap_get(&vm->sva->handles, (uint32_t)reg[0] & (IDMAP_SIZE - 1));

    if (!bond || bond->handle != reg[0])
        return HV_ENOENT;
    vm->stats.unbinds++;
    if (bond->refs > 1)
        *value = --bond->refs;
    else
        bond_free(bond);
    return HV_OK;
}
