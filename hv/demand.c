/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RAM on demand is what is absent from a unit's second stage: the table is the only record of it,
 * with a count of its bytes. So what was put in on one unit is still absent on another, and what a
 * device has asked for is as it was before.
 */
#include "hv/demand.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/ioas.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/shadow.h"

/* --- Who may ---------------------------------------------------------------------------------- */

enum hv_status demand_check(const struct device *d)
{
    if (d->iopf & HC_IOPF_MAP)
        return HV_OK;
    return d->io.pri ? HV_EORDER : HV_ENOTSUP;
}

static struct second_stage *second_of(const struct vm *vm, const struct iommu_caps *caps)
{
    return vm->sva->second[caps->index];
}

enum hv_status demand_check_ram(const struct device *d)
{
    return second_of(d->vm, d->caps)->absent ? demand_check(d) : HV_OK;
}

bool demand_in_use(const struct device *d)
{
    const struct idmap *ioases = &d->vm->sva->ioases;

    if (!(d->iopf & HC_IOPF_MAP))
        return false;
    if (d->ram_domains && second_of(d->vm, d->caps)->absent)
        return true;
    for (uint32_t id = 0; (id = idmap_next(ioases, id)) < IDMAP_SIZE; id++) {
        const struct ioas *ioas = idmap_get(ioases, id);
        if (ioas->demand && ioas->attached[d->handle])
            return true;
    }
    return false;
}

void demand_settle(struct vm *vm)
{
    lock_take(&vm->sva->fill_lock);
    lock_drop(&vm->sva->fill_lock);
}

/* --- Requests; lock: fill_lock ---------------------------------------------------------------- */

/* Around @gpa: 2 MiB if all of them are a hole in @s and in RAM in one piece, else its page. */
static uint64_t granule(const struct vm *vm, const struct second_stage *s, uint64_t gpa,
                        uint64_t hole)
{
    const uint64_t first = gpa & ~(DEMAND_LARGE - 1);

    if (!(s->table.large & 1) || hole < DEMAND_LARGE)
        return PAGE_SIZE;
    const void *ram = vm_ram(vm, GPADDR(first), DEMAND_LARGE);
    return ram && !(virt_to_phys(ram).v & (DEMAND_LARGE - 1)) ? DEMAND_LARGE : PAGE_SIZE;
}

/* Put in what is RAM and a hole of @s throughout. */
static enum hv_status put_in(struct vm *vm, struct second_stage *s, uint64_t gpa, uint64_t bytes)
{
    paddr_t hpa = virt_to_phys(vm_ram(vm, GPADDR(gpa), bytes));
    enum hv_status status = pt_map(&s->table, PTADDR(gpa), hpa, bytes, PT_R | PT_W | PT_X);

    if (status != HV_OK)
        return status;
    s->absent -= bytes;
    if (iommu->caps(s->hw.unit)->caching_mode) /* it is there; who does not answer is told */
        (void)iommu->stage2_changed(&s->hw, GPADDR(gpa), bytes);
    return HV_OK;
}

enum hv_status demand_ram(struct vm *vm, const struct iommu_caps *caps, gpaddr_t gpa, bool ask,
                          uint64_t *bytes)
{
    struct second_stage *s = second_of(vm, caps);
    struct pt_leaf leaf;

    if (pt_lookup(&s->table, PTADDR(gpa.v), &leaf)) {
        *bytes = leaf.size;
        return HV_OK;
    }
    if (!ask)
        return HV_ENOENT;
    *bytes = granule(vm, s, gpa.v, leaf.size);
    enum hv_status status = put_in(vm, s, gpa.v & ~(*bytes - 1), *bytes);
    vm->sva->filled += status == HV_OK;
    return status;
}

/* What the unit meets on its way through a first stage: tables of the guest's, then the page. What
 * the guest's tables do not allow is the guest's, also if some of them were absent. */
static enum hv_status serve_walk(struct vm *vm, const struct iommu_caps *caps,
                                 const struct space *space, const struct iommu_page_request *req)
{
    gpaddr_t path[GUEST_PATH_MAX];
    uint64_t bytes;
    unsigned n;

    enum guest_walk found = guest_walk_path(vm, space->root, space->levels, req->address,
                                            req->write, req->privileged, path, &n);
    if (found == GUEST_WALK_OUTSIDE)
        return HV_EFAULT;
    for (unsigned i = 0; i < n; i++) {
        enum hv_status status = demand_ram(vm, caps, path[i], true, &bytes);
        if (status != HV_OK)
            return status;
    }
    return found == GUEST_WALK_RAM ? HV_OK : HV_ENOENT;
}

enum hv_status demand_serve(const struct device *d, const struct space *space,
                            const struct domain *domain, const struct iommu_page_request *req)
{
    struct vm *vm = d->vm;
    uint64_t bytes;

    if (domain->ioas)
        return ioas_table_fill(domain->ioas, domain->ioas_unit, req);
    if (domain->shadow) /* its unit takes no privileged DMA: nothing helps those */
        return req->privileged ? HV_ENOENT : shadow_fill(domain->shadow, req->address, req->write);
    if (space->kind == HC_DOMAIN_NESTED)
        return serve_walk(vm, d->caps, space, req);
    if (!vm_ram(vm, GPADDR(req->address.v), PAGE_SIZE))
        return HV_EFAULT;
    return demand_ram(vm, d->caps, GPADDR(req->address.v), true, &bytes);
}

/* --- The call; lock: the VM's, and fill_lock -------------------------------------------------- */

/* The next of the VM's second stages from @i on, NULL: no more. */
static struct second_stage *next_second(const struct vm *vm, unsigned *i)
{
    while (*i < IOMMU_UNITS_MAX) {
        struct second_stage *s = vm->sva->second[(*i)++];
        if (s)
            return s;
    }
    return NULL;
}

/* Where the leaf or hole around @at ends, or @end. */
static uint64_t run_end(const struct pt_leaf *leaf, uint64_t at, uint64_t end)
{
    uint64_t stop = (at | (leaf->size - 1)) + 1;

    return stop < end ? stop : end;
}

static uint64_t present_bytes(const struct second_stage *s, uint64_t first, uint64_t end)
{
    uint64_t bytes = 0;
    struct pt_leaf leaf;

    for (uint64_t at = first, next; at < end; at = next) {
        bool there = pt_lookup(&s->table, PTADDR(at), &leaf);
        next = run_end(&leaf, at, end);
        bytes += there ? next - at : 0;
    }
    return bytes;
}

/* How leaves at the ends may be cached: as a whole (VT-d 6.5.2.3). */
static void widen(const struct second_stage *s, uint64_t first, uint64_t end, uint64_t *from,
                  uint64_t *to)
{
    struct pt_leaf leaf;

    if (pt_lookup(&s->table, PTADDR(first), &leaf) && (first & ~(leaf.size - 1)) < *from)
        *from = first & ~(leaf.size - 1);
    if (pt_lookup(&s->table, PTADDR(end - 1), &leaf) && ((end - 1) | (leaf.size - 1)) >= *to)
        *to = ((end - 1) | (leaf.size - 1)) + 1;
}

static enum hv_status changed(const struct vm *vm, uint64_t from, uint64_t to)
{
    enum hv_status result = HV_OK;
    struct second_stage *s;

    for (unsigned i = 0; (s = next_second(vm, &i)) != NULL;) {
        enum hv_status status = iommu->stage2_changed(&s->hw, GPADDR(from), to - from);
        if (status != HV_OK)
            result = status;
    }
    return result;
}

/* Make both ends borders everywhere, so that no unit can fail when others are done. */
static enum hv_status split_all(const struct vm *vm, uint64_t first, uint64_t end)
{
    struct second_stage *s;

    for (unsigned i = 0; (s = next_second(vm, &i)) != NULL;) {
        enum hv_status status = pt_split(&s->table, PTADDR(first));
        if (status == HV_OK)
            status = pt_split(&s->table, PTADDR(end));
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

static enum hv_status take_out(const struct vm *vm, uint64_t first, uint64_t end)
{
    struct pt_freed freed = { 0 };
    uint64_t from = first, to = end;
    struct second_stage *s, *any = NULL;

    for (unsigned i = 0; (s = next_second(vm, &i)) != NULL;)
        widen(s, first, end, &from, &to);
    enum hv_status status = split_all(vm, first, end);
    if (status != HV_OK) {
        (void)changed(vm, from, to); /* split leaves may be cached as they were */
        return status;
    }
    for (unsigned i = 0; (s = next_second(vm, &i)) != NULL; any = s) {
        s->absent += present_bytes(s, first, end);
        status = pt_unmap(&s->table, PTADDR(first), end - first, &freed);
        hv_assert(status == HV_OK); /* split before */
    }
    status = changed(vm, from, to);
    if (status == HV_OK && any)
        pt_release(&any->table, &freed); /* all are charged to the same quota */
    else if (status != HV_OK)
        log_error("demand", "%s: pages of tables cannot be confirmed unused: kept", vm->name);
    return status;
}

static enum hv_status put_back(struct vm *vm, uint64_t first, uint64_t end)
{
    struct second_stage *s;
    struct pt_leaf leaf;

    for (unsigned i = 0; (s = next_second(vm, &i)) != NULL;) {
        for (uint64_t at = first, next; s->absent && at < end; at = next) {
            bool there = pt_lookup(&s->table, PTADDR(at), &leaf);
            next = run_end(&leaf, at, end);
            enum hv_status status = there ? HV_OK : put_in(vm, s, at, next - at);
            if (status != HV_OK)
                return status;
        }
    }
    return HV_OK;
}

static enum hv_status check(const struct vm *vm, const struct hc_memory_on_demand *in)
{
    if (in->flags & ~(uint32_t)HC_MEMORY_PRESENT)
        return HV_EINVAL;
    if ((in->gpa | in->bytes) & PAGE_MASK)
        return HV_EALIGN;
    if (!in->bytes)
        return HV_EINVAL;
    if (!vm_ram(vm, GPADDR(in->gpa), in->bytes))
        return HV_EFAULT;
    if (!(stats_features(vm) & HC_FEATURE_ON_DEMAND))
        return HV_ENOTSUP;
    for (unsigned i = 0; i < vm->ndevices && !(in->flags & HC_MEMORY_PRESENT); i++) {
        const struct device *d = vm->device[i];
        enum hv_status status = d->ram_domains ? demand_check(d) : HV_OK;
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

enum hv_status demand_hc_memory(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_memory_on_demand *in = arg;
    const bool present = in->flags & HC_MEMORY_PRESENT;
    enum hv_status status = check(vm, in);
    bool any;

    if (status != HV_OK)
        return status;
    const uint64_t bytes = in->bytes < HC_MEMORY_STEP ? in->bytes : HC_MEMORY_STEP,
                   end = in->gpa + bytes;
    lock_take(&vm->sva->fill_lock);
    status = present ? put_back(vm, in->gpa, end) : take_out(vm, in->gpa, end);
    lock_drop(&vm->sva->fill_lock);
    if (!present && status != HV_EQUOTA && status != HV_ENOMEM) {
        enum hv_status dropped = shadow_drop_vm(vm, NULL, &any); /* they were made of it */
        status = status == HV_OK ? dropped : status;
    }
    if (status != HV_OK)
        return status;
    *value = bytes;
    return bytes < in->bytes ? HV_EAGAIN : HV_OK;
}
