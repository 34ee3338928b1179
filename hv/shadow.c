/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow tables. The driver sees a second stage like others; each has a domain id of its own.
 *
 * Drops round to whole leaves, so they split nothing, need no page and cannot fail. Pages of tables
 * are given back when the unit has confirmed that it forgot them.
 */
#include "hv/shadow.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/stage2.h"

#define LEVELS_MIN 3u
#define LEVELS_MAX 5u
#define ROOM_US    50000u

static uint64_t reach(unsigned levels)
{
    return 1ull << (PAGE_SHIFT + 9 * levels);
}

/* The fewest levels that reach as far as the lower half of a first stage of @levels, else the most
 * there are; 0: none. Four levels have no use for a fifth. */
static unsigned depth_for(const struct iommu_caps *caps, unsigned levels)
{
    unsigned best = 0;

    for (unsigned n = LEVELS_MIN; n <= LEVELS_MAX; n++) {
        if (!(caps->second_stage_depths >> (n - LEVELS_MIN) & 1))
            continue;
        best = n;
        if (n >= levels)
            break;
    }
    return best;
}

uint64_t shadow_end(const struct iommu_caps *caps, unsigned levels)
{
    if (caps->nested || !caps->second_stage || !caps->pasid_bits || levels < 4 || levels > 5)
        return 0;
    unsigned depth = depth_for(caps, levels);
    if (!depth || (levels == 5 && depth < 5))
        return 0;
    uint64_t end = reach(levels) / 2, width = 1ull << caps->input_bits;
    end = reach(depth) < end ? reach(depth) : end;
    return width < end ? width : end;
}

static struct lock *lock_of(const struct vm *vm)
{
    return &vm->sva->fill_lock;
}

enum hv_status shadow_make(const struct space *space, const struct device *device,
                           struct shadow **out)
{
    const struct iommu_caps *caps = device->caps;
    uint64_t end = shadow_end(caps, space->levels);
    struct vm *vm = space->vm;
    void *page;

    if (!end)
        return HV_ENOTSUP;
    if (vm->sva->nshadows == SHADOWS_MAX)
        return HV_EQUOTA;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);
    if (status != HV_OK)
        return status;
    struct shadow *s = page;
    *s = (struct shadow){ .space = space, .caps = caps, .end = end, .empty = true };
    status =
        pt_create(&s->table, caps->second_stage_format, &vm->quota, depth_for(caps, space->levels),
                  caps->second_stage_large, !caps->coherent_tables);
    if (status != HV_OK)
        goto fail_page;
    status = stage2_make(vm, device->io.unit, &s->table, &s->hw);
    if (status != HV_OK)
        goto fail_table;
    lock_take(lock_of(vm));
    s->next = vm->sva->shadows;
    vm->sva->shadows = s;
    vm->sva->nshadows++;
    lock_drop(lock_of(vm));
    *out = s;
    return HV_OK;

fail_table:
    pt_destroy(&s->table);
fail_page:
    pages_free(&vm->quota, 0, s);
    return status;
}

void shadow_free(struct shadow *shadow)
{
    struct vm *vm = shadow->space->vm;
    struct shadow **link = &vm->sva->shadows;

    lock_take(lock_of(vm)); /* who found it before its bond was taken out is done with it now */
    while (*link != shadow)
        link = &(*link)->next;
    *link = shadow->next;
    vm->sva->nshadows--;
    lock_drop(lock_of(vm));
    if (stage2_end(vm, &shadow->hw) == HV_OK)
        pt_destroy(&shadow->table);
    else
        log_error("shadow", "%s: hardware may still walk a shadow, which is kept", vm->name);
    pages_free(&vm->quota, 0, shadow);
}

/* --- Dropping; lock: fill_lock ---------------------------------------------------------------- */

/* What was taken out of a table and may still be cached. */
struct dropped {
    uint64_t first, last; /* first > last: nothing */
    struct pt_freed tables;
};
#define NOTHING { .first = UINT64_MAX }

/* Take [first, last] out of the table, widened to whole leaves. */
static void take_out(struct shadow *s, uint64_t first, uint64_t last, struct dropped *d)
{
    struct pt_leaf leaf;

    if (first >= s->end)
        return;
    if (last >= s->end)
        last = s->end - 1;
    if (pt_lookup(&s->table, PTADDR(first), &leaf))
        first &= ~(leaf.size - 1);
    else if (last - first < PAGE_SIZE)
        return; /* a page that is not there: nobody has it */
    if (pt_lookup(&s->table, PTADDR(last), &leaf))
        last |= leaf.size - 1;
    enum hv_status status = pt_unmap(&s->table, PTADDR(first), last - first + 1, &d->tables);
    hv_assert(status == HV_OK); /* splits nothing */
    d->first = first < d->first ? first : d->first;
    d->last = last > d->last ? last : d->last;
}

/* Nobody has it any more. */
static enum hv_status forget(struct shadow *s, struct dropped *d)
{
    if (d->first > d->last)
        return HV_OK;
    enum hv_status status = iommu->stage2_changed(&s->hw, GPADDR(d->first), d->last - d->first + 1);
    if (status == HV_OK)
        pt_release(&s->table, &d->tables);
    else
        log_error("shadow", "%s: pages of tables cannot be confirmed unused: kept",
                  s->space->vm->name);
    return status;
}

static enum hv_status drop(struct shadow *s, uint64_t first, uint64_t last)
{
    struct dropped d = NOTHING;

    take_out(s, first, last, &d);
    return forget(s, &d);
}

/* Costs nothing the second time, however often a guest wants it. */
static enum hv_status drop_all(struct shadow *s)
{
    if (s->empty)
        return HV_OK;
    enum hv_status status = drop(s, 0, s->end - 1);
    s->empty = status == HV_OK;
    return status;
}

/* The first of the VM's that holds something, number *n or one behind; *n: the next number. */
static struct shadow *next_full(const struct vm *vm, const struct iommu_unit *unit, unsigned *n)
{
    struct shadow *s = vm->sva->shadows;
    unsigned i = 0;

    while (s && (i < *n || s->empty || (unit && s->hw.unit != unit))) {
        s = s->next;
        i++;
    }
    *n = i + 1;
    return s;
}

/* Of all shadows as many as go in that time: an upcall has others to serve. A few are enough. */
static enum hv_status make_room(const struct vm *vm)
{
    uint64_t start = time_now();
    struct shadow *s;

    for (unsigned n = 0; (s = next_full(vm, NULL, &n)) != NULL;) {
        enum hv_status status = drop_all(s);
        if (status != HV_OK)
            return status;
        if (time_now() - start > ROOM_US * time_ticks_per_us())
            break;
    }
    return HV_OK;
}

/* --- Filling; lock: fill_lock ----------------------------------------------------------------- */

/* The leaf of @size bytes around @address, if guest and RAM have so much in one piece there. */
static enum hv_status map_leaf(struct shadow *s, uint64_t address, const struct guest_leaf *leaf,
                               uint64_t size)
{
    uint64_t in = address & ~(size - 1), gpa = leaf->page.v & ~(size - 1);
    const void *ram = vm_ram(s->space->vm, GPADDR(gpa), size);

    if (!ram || (virt_to_phys(ram).v & (size - 1)))
        return HV_EALIGN;
    return pt_map(&s->table, PTADDR(in), virt_to_phys(ram), size,
                  PT_R | PT_X | (leaf->write ? PT_W : 0));
}

/* As large as it goes. The guest's leaves are aligned in both address spaces; RAM need not be. */
static enum hv_status map(struct shadow *s, uint64_t address, const struct guest_leaf *leaf)
{
    enum hv_status status = HV_EALIGN;
    uint64_t size = 1ull << 30;

    for (unsigned bit = 1; size > PAGE_SIZE; size >>= 9, bit--) {
        if (!(s->table.large >> bit & 1) || size > leaf->size)
            continue;
        status = map_leaf(s, address, leaf, size);
        if (status != HV_EALIGN && status != HV_EEXIST) /* EEXIST: smaller ones lie there */
            break;
    }
    if (size == PAGE_SIZE)
        status = map_leaf(s, address, leaf, size);
    s->empty = s->empty && status != HV_OK;
    if (status == HV_OK && s->caps->caching_mode)
        status = iommu->stage2_changed(&s->hw, GPADDR(address & ~(size - 1)), size);
    return status;
}

/* Of a page that is there: HV_OK if it suffices now, HV_ENOENT if it was another one and is gone.
 */
static enum hv_status amend(struct shadow *s, uint64_t address, const struct pt_leaf *have,
                            const struct guest_leaf *leaf)
{
    const void *ram = vm_ram(s->space->vm, leaf->page, PAGE_SIZE);
    uint64_t first = address & ~(have->size - 1);

    if (have->out.v == virt_to_phys(ram).v) {
        if ((have->perm & PT_W) || !leaf->write)
            return HV_OK;
        if (have->size <= leaf->size) { /* else neighbours would become writable with it */
            pt_grant(&s->table, PTADDR(address), PT_W);
            return iommu->stage2_changed(&s->hw, GPADDR(first), have->size);
        }
    }
    enum hv_status status = drop(s, first, first + have->size - 1);
    return status == HV_OK ? HV_ENOENT : status;
}

/* @ask: for a page request, which brings what is on demand. */
static enum hv_status fill(struct shadow *s, iova_t address, bool write, bool ask)
{
    const struct space *space = s->space;
    const uint64_t page = address.v & ~PAGE_MASK;
    struct guest_leaf leaf;
    struct pt_leaf have;

    if (page >= s->end)
        return HV_ERANGE;
    switch (guest_walk_mark(space->vm, space->root, space->levels, IOVA(page), write, &leaf)) {
    case GUEST_WALK_ABSENT: return HV_ENOENT;
    case GUEST_WALK_OUTSIDE: return HV_EFAULT;
    case GUEST_WALK_RAM: break;
    }
    uint64_t most;
    enum hv_status status = demand_ram(space->vm, s->caps, leaf.page, ask, &most);
    if (status != HV_OK)
        return status;
    leaf.size = most < leaf.size ? most : leaf.size;
    if (pt_lookup(&s->table, PTADDR(page), &have)) {
        status = amend(s, page, &have, &leaf);
        if (status != HV_ENOENT)
            return status;
    }
    return map(s, page, &leaf);
}

enum hv_status shadow_fill(struct shadow *shadow, iova_t address, bool write)
{
    enum hv_status status = fill(shadow, address, write, true);

    if (status != HV_EQUOTA && status != HV_ENOMEM)
        return status;
    status = make_room(shadow->space->vm);
    return status == HV_OK ? fill(shadow, address, write, true) : status;
}

/* --- Calls; lock: the VM's -------------------------------------------------------------------- */

enum hv_status shadow_notice(struct shadow *shadow, iova_t address, uint64_t bytes)
{
    struct lock *lock = lock_of(shadow->space->vm);
    enum hv_status status = HV_OK;

    lock_take(lock);
    for (uint64_t done = 0; done < bytes; done += PAGE_SIZE) {
        status = fill(shadow, IOVA(address.v + done), false, false);
        if (status != HV_OK && status != HV_ENOENT && status != HV_EFAULT && status != HV_ERANGE)
            break;
        status = HV_OK;
    }
    lock_drop(lock);
    return status;
}

enum hv_status shadow_drop(struct shadow *shadow, iova_t address, uint64_t bytes)
{
    struct lock *lock = lock_of(shadow->space->vm);

    lock_take(lock);
    enum hv_status status = drop(shadow, address.v, address.v + (bytes - 1));
    lock_drop(lock);
    return status;
}

enum hv_status shadow_drop_pages(struct shadow *shadow, const iova_t *page, unsigned n)
{
    struct lock *lock = lock_of(shadow->space->vm);
    struct dropped d = NOTHING;

    lock_take(lock);
    for (unsigned i = 0; i < n; i++)
        take_out(shadow, page[i].v, page[i].v + PAGE_MASK, &d);
    enum hv_status status = forget(shadow, &d);
    lock_drop(lock);
    return status;
}

enum hv_status shadow_drop_all(struct shadow *shadow)
{
    struct lock *lock = lock_of(shadow->space->vm);

    lock_take(lock);
    enum hv_status status = drop_all(shadow);
    lock_drop(lock);
    return status;
}

enum hv_status shadow_drop_vm(struct vm *vm, const struct iommu_unit *unit, bool *dropped)
{
    enum hv_status result = HV_OK;
    struct shadow *s;
    unsigned n = 0;

    *dropped = false;
    do { /* page requests have their turn in between: each may wait for hardware */
        lock_take(lock_of(vm));
        s = next_full(vm, unit, &n);
        enum hv_status status = s ? drop_all(s) : HV_OK;
        lock_drop(lock_of(vm));
        *dropped |= s != NULL;
        if (status != HV_OK)
            result = status;
    } while (s);
    return result;
}
