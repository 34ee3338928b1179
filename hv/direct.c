/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/direct.h"

#include "hv/bond.h"
#include "hv/claims.h"
#include "hv/device.h"
#include "hv/log.h"
#include "hv/vm.h"

static enum hv_status refuse(const struct device *d, const struct direct *r, enum hv_status status,
                             const char *why)
{
    rid_t rid = d->io.rid;

    log_error(
        "device",
        "vm %s, line %u: firmware uses memory %#lx-%#lx through function %02x:%02x.%x (RMRR): "
        "%s",
        d->vm->name, d->line, (unsigned long)r->first, (unsigned long)r->last, rid >> 8,
        rid >> 3 & 31, rid & 7, why);
    return status;
}

static uint64_t size_of(const struct direct *r)
{
    return r->last - r->first + 1;
}

/* Is there anything of the VM at these guest addresses? */
static bool collides(const struct vm *vm, const struct direct *r)
{
    struct pt_leaf leaf;

    for (uint64_t at = r->first; at - r->first < size_of(r); at += PAGE_SIZE) {
        if (pt_lookup(&vm->npt, PTADDR(at), &leaf))
            return true;
    }
    return false;
}

static enum hv_status map_one(const struct direct *r, struct pt *table)
{
    return pt_map(table, PTADDR(r->first), PADDR(r->first), size_of(r), PT_R | PT_W);
}

/* Out of the second stages that there are: nothing was attached since it came in. */
static void take_back(struct vm *vm, unsigned n)
{
    while (vm->ndirect > n) {
        const struct direct *r = &vm->direct[--vm->ndirect];
        for (unsigned i = 0; i < IOMMU_UNITS_MAX; i++) {
            struct second_stage *s = vm->sva->second[i];
            struct pt_freed freed = { 0 };
            if (!s)
                continue;
            enum hv_status status = pt_unmap(&s->table, PTADDR(r->first), size_of(r), &freed);
            hv_assert(status == HV_OK); /* its leaves are its own */
            pt_release(&s->table, &freed);
        }
        claims_drop(PADDR(r->first), size_of(r));
    }
}

static enum hv_status map_everywhere(struct vm *vm, const struct direct *r)
{
    enum hv_status status = HV_OK;

    for (unsigned i = 0; i < IOMMU_UNITS_MAX && status == HV_OK; i++) {
        if (vm->sva->second[i])
            status = map_one(r, &vm->sva->second[i]->table);
    }
    return status;
}

/* false: not yet. @status: HV_EINVAL if only a part of it is. */
static bool has(const struct vm *vm, const struct direct *r, enum hv_status *status)
{
    for (const struct direct *o = vm->direct; o < vm->direct + vm->ndirect; o++) {
        if (r->last < o->first || r->first > o->last)
            continue;
        *status = r->first >= o->first && r->last <= o->last ? HV_OK : HV_EINVAL;
        return true;
    }
    return false;
}

static enum hv_status take(const struct device *d, const struct direct *r)
{
    struct vm *vm = d->vm;
    enum hv_status status;

    if (has(vm, r, &status))
        return status == HV_OK ? HV_OK
                               : refuse(d, r, status, "a part of that is another function's");
    if (vm->ndirect == DIRECT_MAX)
        return refuse(d, r, HV_ERANGE, "that is one range too many for a VM");
    if (collides(vm, r))
        return refuse(d, r, HV_EEXIST,
                      "it must lie at this address for the VM, too, which has RAM or a BAR there: "
                      "give it less memory");
    status = claims_take_firmware(PADDR(r->first), size_of(r));
    if (status == HV_EEXIST)
        return refuse(d, r, status, "another VM has it, through a function of its own");
    if (status != HV_OK)
        return refuse(d, r, status, "but does not call that memory reserved in the memory map");
    vm->direct[vm->ndirect++] = *r;
    status = map_everywhere(vm, r);
    if (status != HV_OK)
        return refuse(d, r, status, "it does not fit into the VM's tables");
    log_warn("device", "%s: memory %#lx-%#lx of firmware can be reached by its devices (rmrr=map)",
             vm->name, (unsigned long)r->first, (unsigned long)r->last);
    return HV_OK;
}

enum hv_status direct_take(const struct device *d, bool map)
{
    const unsigned before = d->vm->ndirect;
    enum hv_status status = HV_OK;

    for (unsigned i = 0; i < d->io.nreserved && status == HV_OK; i++) {
        const struct direct r = { d->io.reserved[i].first, d->io.reserved[i].last };
        if (!d->io.reserved[i].firmware)
            continue;
        status = map ? take(d, &r)
                     : refuse(d, &r, HV_EBUSY,
                              "it is not given to a VM, unless the line says rmrr=map behind it, "
                              "which lets the VM's devices reach that memory");
    }
    if (status != HV_OK)
        take_back(d->vm, before);
    return status;
}

enum hv_status direct_map(const struct vm *vm, struct pt *table)
{
    enum hv_status status = HV_OK;

    for (unsigned i = 0; i < vm->ndirect && status == HV_OK; i++)
        status = map_one(&vm->direct[i], table);
    return status;
}

void direct_end(struct vm *vm)
{
    while (vm->ndirect) {
        const struct direct *r = &vm->direct[--vm->ndirect];
        claims_drop(PADDR(r->first), size_of(r));
    }
}
