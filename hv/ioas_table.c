/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table is built from the mappings there are when the first unit needs it, and then follows each
 * change. It is kept when its last user goes, so that replacing domains costs no building; but not
 * one that is too shallow for all that the IOAS may hold once it limits nobody any more.
 */
#include "hv/ioas_table.h"

#include "hv/bond.h"
#include "hv/demand.h"
#include "hv/device.h"
#include "hv/ioas.h"
#include "hv/log.h"
#include "hv/platform.h"
#include "hv/stage2.h"
#include "hv/vm.h"

#define LEVELS_MIN 3u
#define LEVELS_MAX 5u
#define BUILD_RUNS 1024u /* of one call */

static uint64_t reach(unsigned levels)
{
    return (1ull << (PAGE_SHIFT + 9 * levels)) - 1;
}

/* The fewest levels that hold all addresses wanted, else the most there are; 0: none. */
static unsigned levels_for(const struct ioas *ioas, const struct iommu_caps *caps)
{
    unsigned depths = caps->second_stage_depths, best = 0;

    if (!caps->second_stage)
        return 0;
    for (unsigned levels = LEVELS_MIN; levels <= LEVELS_MAX; levels++) {
        if (!(depths >> (levels - LEVELS_MIN) & 1))
            continue;
        best = levels;
        if (reach(levels) >= ioas_end_wanted(ioas))
            break;
    }
    return best;
}

uint64_t ioas_table_limit(const struct ioas *ioas, const struct iommu_caps *caps)
{
    unsigned levels = levels_for(ioas, caps);
    uint64_t width = (1ull << caps->input_bits) - 1;

    if (!levels)
        return 0;
    return reach(levels) < width ? reach(levels) : width;
}

/* --- Building --------------------------------------------------------------------------------- */

static paddr_t host_address(const struct ioas *ioas, uint64_t gpa, uint64_t bytes)
{
    const void *ram = vm_ram(ioas->vm, GPADDR(gpa), bytes);

    hv_assert(ram); /* checked when it was mapped; RAM does not change */
    return virt_to_phys(ram);
}

static unsigned perm_of(uint32_t access)
{
    return (access & IOVA_READ ? PT_R : 0) | (access & IOVA_WRITE ? PT_W : 0) |
           (access & IOVA_UNCACHED ? (unsigned)PT_UC : 0);
}

static enum hv_status map_one(const struct ioas *ioas, struct ioas_table *table,
                              struct iova_range range, uint64_t gpa, uint32_t access)
{
    uint64_t bytes = range.last - range.first + 1;

    return pt_map(&table->pt, PTADDR(range.first), host_address(ioas, gpa, bytes), bytes,
                  perm_of(access));
}

/* Is it in every table? */
static bool laid(const struct interval *n)
{
    return (n->flags & (IOVA_MAPPED | IOVA_DEMAND)) == IOVA_MAPPED;
}

static bool continues(const struct interval *a, const struct interval *b)
{
    return b && b->first == a->last + 1 && laid(b) &&
           b->value == a->value + (b->first - a->first) && !((a->flags ^ b->flags) & IOVA_ACCESS);
}

/* Mappings that continue each other are mapped as one, for large leaves. */
static enum hv_status build(struct ioas *ioas, struct ioas_table *table)
{
    const struct interval_set *set = &ioas->iova.set;

    for (unsigned runs = 0; runs < BUILD_RUNS; runs++) {
        const struct interval *n = interval_from(set, table->built), *end = n;
        if (!n) {
            table->built = UINT64_MAX;
            return HV_OK;
        }
        for (const struct interval *next; runs < BUILD_RUNS; end = next, runs++) {
            next = interval_next(set, end);
            if (!laid(n) || !continues(end, next) || next->last - n->first >= IOVA_STEP)
                break;
        }
        if (laid(n)) {
            enum hv_status status = map_one(ioas, table, (struct iova_range){ n->first, end->last },
                                            n->value, n->flags & IOVA_ACCESS);
            if (status != HV_OK)
                return status;
        }
        table->built = end->last + 1;
    }
    return HV_EAGAIN;
}

static void table_free(struct ioas *ioas, struct ioas_table *table)
{
    struct ioas_table **link = &ioas->tables;

    while (*link != table)
        link = &(*link)->next;
    *link = table->next;
    if (!table->walked)
        pt_destroy(&table->pt);
    slab_free(ioas->iova.segments, table);
}

/* 1G leaves only where there are 2M ones, as pt_create does. */
static unsigned large_of(const struct iommu_caps *caps)
{
    return caps->second_stage_large & 1 ? caps->second_stage_large & 3u : 0;
}

static bool agrees(const struct ioas_table *table, const struct iommu_caps *caps, unsigned levels)
{
    const struct pt *pt = &table->pt;

    return pt->format == caps->second_stage_format && pt->levels == levels &&
           pt->large == large_of(caps) && pt->flush == !caps->coherent_tables;
}

static enum hv_status table_get(struct ioas *ioas, const struct iommu_caps *caps,
                                struct ioas_table **out)
{
    const unsigned levels = levels_for(ioas, caps);
    struct ioas_table *table = ioas->tables;
    enum hv_status status = HV_OK;

    if (!levels)
        return HV_ENOTSUP;
    while (table && !agrees(table, caps, levels))
        table = table->next;
    if (!table) {
        void *object;
        status = slab_alloc(ioas->iova.segments, &object);
        if (status != HV_OK)
            return status;
        table = object;
        status = pt_create(&table->pt, caps->second_stage_format, &ioas->vm->quota, levels,
                           large_of(caps), !caps->coherent_tables);
        if (status == HV_OK)
            status = direct_map(ioas->vm, &table->pt);
        if (status != HV_OK) {
            pt_destroy(&table->pt);
            slab_free(ioas->iova.segments, table);
            return status == HV_ERANGE ? HV_ENOTSUP : status;
        }
        table->next = ioas->tables;
        ioas->tables = table;
    }
    *out = table;
    if (table->built != UINT64_MAX)
        status = build(ioas, table);
    if (status != HV_OK && status != HV_EAGAIN)
        table_free(ioas, table);
    return status;
}

/* --- Units ------------------------------------------------------------------------------------ */

enum hv_status ioas_table_get(struct ioas *ioas, struct iommu_unit *hw, struct ioas_unit **out)
{
    struct ioas_table *table;
    void *object;

    for (struct ioas_unit *u = ioas->units; u; u = u->next) {
        if (u->hw.unit == hw) {
            *out = u;
            return HV_OK;
        }
    }
    enum hv_status status = table_get(ioas, iommu->caps(hw), &table);
    if (status != HV_OK)
        return status;
    status = slab_alloc(ioas->iova.segments, &object);
    if (status != HV_OK)
        goto fail_table;
    struct ioas_unit *u = object;
    status = stage2_make(ioas->vm, hw, &table->pt, &u->hw);
    if (status != HV_OK)
        goto fail_unit;
    u->table = table;
    u->caching_mode = iommu->caps(hw)->caching_mode;
    u->next = ioas->units;
    ioas->units = u;
    table->units++;
    *out = u;
    return HV_OK;

fail_unit:
    slab_free(ioas->iova.segments, object);
fail_table:
    if (!table->units)
        table_free(ioas, table);
    return status;
}

void ioas_table_drop(struct ioas *ioas, struct ioas_unit *unit)
{
    struct ioas_table *table = unit->table;
    struct ioas_unit **link = &ioas->units;

    demand_settle(ioas->vm);
    while (*link != unit)
        link = &(*link)->next;
    *link = unit->next;
    table->walked |= stage2_end(ioas->vm, &unit->hw) != HV_OK;
    slab_free(ioas->iova.segments, unit);
    if (--table->units == 0)
        table_free(ioas, table);
}

void ioas_table_drop_all(struct ioas *ioas)
{
    while (ioas->units)
        ioas_table_drop(ioas, ioas->units);
    while (ioas->tables) /* not finished */
        table_free(ioas, ioas->tables);
}

/* --- Changes ---------------------------------------------------------------------------------- */

/* In every unit that walks @table (NULL: any), whether a device uses it now or not: what one had
 * cached before it was blocked may still be there. */
static enum hv_status changed(struct ioas *ioas, const struct ioas_table *table,
                              struct iova_range range)
{
    enum hv_status result = HV_OK;

    for (struct ioas_unit *u = ioas->units; u; u = u->next) {
        if (table && u->table != table)
            continue;
        enum hv_status status =
            iommu->stage2_changed(&u->hw, GPADDR(range.first), range.last - range.first + 1);
        if (status != HV_OK)
            result = status;
    }
    return result;
}

/* A table being built has the mappings that begin below `built`. */
static bool in_table(const struct ioas_table *table, struct iova_range range)
{
    return table->built == UINT64_MAX || range.first < table->built;
}

/* Lay @range, whose ends are mapped, around what firmware has in the table (hv/direct.h), which
 * lies in holes. @return how many pieces. */
static unsigned around_firmware(const struct ioas *ioas, struct iova_range range,
                                struct iova_range piece[DIRECT_MAX + 1])
{
    unsigned n = 1;

    piece[0] = range;
    for (unsigned d = 0; d < ioas->vm->ndirect; d++) {
        const struct direct *hole = &ioas->vm->direct[d];
        for (unsigned i = 0; i < n; i++) {
            if (hole->last < piece[i].first || hole->first > piece[i].last)
                continue;
            piece[n++] = (struct iova_range){ hole->last + 1, piece[i].last };
            piece[i].last = hole->first - 1;
            break;
        }
    }
    return n;
}

static void unmap_one(const struct ioas *ioas, struct ioas_table *table, struct iova_range range,
                      struct pt_freed *freed)
{
    struct iova_range piece[DIRECT_MAX + 1];

    for (unsigned i = around_firmware(ioas, range, piece); i--;) {
        enum hv_status status =
            pt_unmap(&table->pt, PTADDR(piece[i].first), piece[i].last - piece[i].first + 1, freed);
        hv_assert(status == HV_OK); /* split before, or mapped as it is */
    }
}

static void undo_map(struct ioas *ioas, const struct ioas_table *failed, struct iova_range range)
{
    for (struct ioas_table *t = ioas->tables; t != failed; t = t->next) {
        struct pt_freed freed = { 0 };
        if (!in_table(t, range))
            continue;
        unmap_one(ioas, t, range, &freed);
        if (changed(ioas, t, range) == HV_OK) /* a device may have used it meanwhile */
            pt_release(&t->pt, &freed);
    }
}

enum hv_status ioas_table_map(struct ioas *ioas, struct iova_range range, uint64_t gpa,
                              uint32_t kind)
{
    for (struct ioas_table *t = ioas->tables, *next; t; t = next) {
        next = t->next;
        /* Nobody walks a table that is still being built: if it is too shallow now, it goes. */
        if (!t->units && reach(t->pt.levels) < range.last) {
            table_free(ioas, t);
            continue;
        }
        if (kind & IOVA_DEMAND || !in_table(t, range))
            continue;
        enum hv_status status = map_one(ioas, t, range, gpa, kind);
        if (status != HV_OK) {
            undo_map(ioas, t, range);
            return status;
        }
        if (t->built <= range.last)
            t->built = range.last + 1;
    }
    if (kind & IOVA_DEMAND)
        return HV_OK;
    for (struct ioas_unit *u = ioas->units; u; u = u->next) {
        if (u->caching_mode)
            (void)iommu->stage2_changed(&u->hw, GPADDR(range.first), range.last - range.first + 1);
    }
    return HV_OK;
}

/* Around @page, which is a hole of @hole bytes in @table and mapped by @n: 2 MiB if mapping, unit
 * and hole are so large, else the page. */
static struct iova_range granule(const struct ioas *ioas, const struct ioas_table *table,
                                 const struct interval *n, uint64_t page, uint64_t hole)
{
    const uint64_t first = page & ~(DEMAND_LARGE - 1), last = page | (DEMAND_LARGE - 1);

    if ((table->pt.large & 1) && hole >= DEMAND_LARGE && first >= n->first && last <= n->last &&
        !(host_address(ioas, n->value + (first - n->first), DEMAND_LARGE).v & (DEMAND_LARGE - 1)))
        return (struct iova_range){ first, last };
    return (struct iova_range){ page, page + PAGE_MASK };
}

enum hv_status ioas_table_fill(struct ioas *ioas, struct ioas_unit *unit,
                               const struct iommu_page_request *req)
{
    const uint64_t page = req->address.v & ~PAGE_MASK;
    const struct interval *n = ioas->demand ? interval_from(&ioas->iova.set, page) : NULL;
    struct pt_leaf leaf;

    if (!n || n->first > page || !(n->flags & IOVA_DEMAND) ||
        (req->read && !(n->flags & IOVA_READ)) || (req->write && !(n->flags & IOVA_WRITE)))
        return HV_EFAULT;
    if (pt_lookup(&unit->table->pt, PTADDR(page), &leaf))
        return HV_OK; /* another request brought it */
    const struct iova_range range = granule(ioas, unit->table, n, page, leaf.size);
    enum hv_status status = map_one(ioas, unit->table, range, n->value + (range.first - n->first),
                                    n->flags & IOVA_ACCESS);
    if (status != HV_OK)
        return status;
    ioas->vm->sva->filled++;
    if (iommu->caps(unit->hw.unit)->caching_mode) /* it is there; who does not answer is told */
        (void)iommu->stage2_changed(&unit->hw, GPADDR(range.first), range.last - range.first + 1);
    return HV_OK;
}

/* What must be invalidated if @range goes: large leaves at its ends as a whole, also when the rest
 * of them stays (VT-d 6.5.2.3: the address mask is that of the page that may be cached). */
static struct iova_range with_leaves(const struct ioas *ioas, struct iova_range range)
{
    struct iova_range all = range;
    struct pt_leaf leaf;

    for (const struct ioas_table *t = ioas->tables; t; t = t->next) {
        if (pt_lookup(&t->pt, PTADDR(range.first), &leaf) &&
            (range.first & ~(leaf.size - 1)) < all.first)
            all.first = range.first & ~(leaf.size - 1);
        if (pt_lookup(&t->pt, PTADDR(range.last), &leaf) &&
            (range.last | (leaf.size - 1)) > all.last)
            all.last = range.last | (leaf.size - 1);
    }
    return all;
}

/* Make both ends of @range borders in every table, so that none can fail when others are done. */
static enum hv_status split_all(struct ioas *ioas, struct iova_range range)
{
    for (struct ioas_table *t = ioas->tables; t; t = t->next) {
        enum hv_status status = pt_split(&t->pt, PTADDR(range.first));
        if (status == HV_OK)
            status = pt_split(&t->pt, PTADDR(range.last + 1));
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

enum hv_status ioas_table_unmap(struct ioas *ioas, struct iova_range range, bool *done)
{
    struct ioas_table *t = ioas->tables;
    struct pt_freed freed = { 0 };
    enum hv_status status = HV_OK;

    *done = false;
    if (!t) {
        *done = true;
        return HV_OK;
    }
    const struct iova_range all = with_leaves(ioas, range);
    if (t->next || ioas->vm->ndirect) {
        status = split_all(ioas, range);
        for (; t && status == HV_OK; t = t->next)
            unmap_one(ioas, t, range, &freed);
    } else {
        status = pt_unmap(&t->pt, PTADDR(range.first), range.last - range.first + 1, &freed);
    }
    if (status != HV_OK)
        goto fail;
    *done = true;
    status = changed(ioas, NULL, all);
    if (status == HV_OK)
        pt_release(&ioas->tables->pt, &freed); /* all are charged to the same quota */
    else
        log_error("ioas", "%s: pages of tables cannot be confirmed unused: kept", ioas->vm->name);
    return status;

fail: /* some leaves may be split, and still be cached as they were */
    (void)changed(ioas, NULL, all);
    return status;
}
