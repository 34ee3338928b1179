/* SPDX-License-Identifier: BSD-2-Clause */
/* The DMAR table: parsing and validation (chapter 8). Segment 0 alone has devices of ours. */
#include "drivers/iommu/vtd/dmar.h"

#include <string.h>

#include "hv/log.h"
#include "hv/pci.h"
#include "hv/platform.h"

enum {
    HEADER = 48, /* ACPI header, width, flags, reserved */
    TYPE_DRHD = 0,
    TYPE_RMRR = 1,
    TYPE_ATSR = 2,
    TYPE_RHSA = 3,
    TYPE_ANDD = 4,
    TYPE_SATC = 5,
    TYPE_SIDP = 6,
    SCOPE_FLAGS = 256, /* in place of what a claim says: the flags of its scope */
    SCOPE_ENDPOINT = 1,
    SCOPE_BRIDGE = 2,
    SCOPE_NAMESPACE = 5,
    INCLUDE_ALL = 1,  /* DRHD; ATSR: all ports */
    PCI_BUSES = 0x18, /* type 1 header: primary, secondary, subordinate bus number */
};

/* Firmware's bytes, in bounds [at, end). */
struct cursor {
    const uint8_t *table;
    size_t at, end;
};

static uint64_t get(const struct cursor *c, size_t offset, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, c->table + c->at + offset, bytes); /* little endian, as the CPU */
    return v;
}

static enum hv_status bad(const char *what, size_t offset)
{
    log_error("vtd", "DMAR table: %s at offset %lu", what, offset);
    return HV_EINVAL;
}

static bool is_bridge(rid_t rid)
{
    uint32_t type = pci_config_read(rid, 0x0e, 1);
    return pci_config_read(rid, 0, 4) != UINT32_MAX && (type & 0x7f) == 1;
}

/* Follow a scope's path (8.3.1): all elements but the last are bridges. false: it leads nowhere. */
static bool walk(const struct cursor *scope, size_t length, rid_t *out)
{
    uint8_t bus = (uint8_t)get(scope, 5, 1);
    for (size_t at = 6;; at += 2) {
        unsigned dev = (unsigned)get(scope, at, 1), fn = (unsigned)get(scope, at + 1, 1);
        if (dev > 31 || fn > 7)
            return false;
        rid_t rid = (rid_t)(bus << 8 | dev << 3 | fn);
        if (at + 2 >= length) {
            *out = rid;
            return true;
        }
        if (!is_bridge(rid))
            return false;
        bus = (uint8_t)(pci_config_read(rid, PCI_BUSES, 4) >> 8);
    }
}

/* --- Scopes ----------------------------------------------------------------------------------- */

static enum hv_status put(struct dmar_list *list, rid_t first, rid_t last, unsigned what)
{
    if (list->n == DMAR_CLAIMS_MAX) {
        log_error("vtd", "DMAR table: more than %u device scopes", DMAR_CLAIMS_MAX);
        return HV_ENOTSUP;
    }
    list->claim[list->n++] = (struct dmar_claim){ first, last, (uint8_t)what };
    return HV_OK;
}

/* The functions that a scope means: the one at its end, and what is behind it if that is a bridge.
 */
static enum hv_status scope_put(struct dmar_list *list, const struct cursor *scope, size_t length,
                                unsigned what)
{
    unsigned type = (unsigned)get(scope, 0, 1);
    if (type != SCOPE_ENDPOINT && type != SCOPE_BRIDGE && type != SCOPE_NAMESPACE)
        return HV_OK; /* IOAPIC, HPET: interrupt sources */
    if (what == SCOPE_FLAGS && type == SCOPE_BRIDGE)
        return HV_OK; /* flags are for functions (8.3.1) */
    if (what == SCOPE_FLAGS)
        what = (unsigned)get(scope, 2, 1);
    rid_t rid;
    if (!walk(scope, length, &rid)) {
        log_warn("vtd", "DMAR table: device scope at offset %lu leads nowhere", scope->at);
        return HV_OK;
    }
    enum hv_status status = put(list, rid, rid, what);
    if (status || type != SCOPE_BRIDGE || !is_bridge(rid))
        return status;
    uint32_t buses = pci_config_read(rid, PCI_BUSES, 4);
    unsigned secondary = buses >> 8 & 0xff, subordinate = buses >> 16 & 0xff;
    if (!secondary || subordinate < secondary)
        return HV_OK; /* not configured: nothing can be behind it */
    return put(list, (rid_t)(secondary << 8), (rid_t)(subordinate << 8 | 0xff), what);
}

/* All scopes from @offset of a structure on. Those of other segments are checked, and left out. */
static enum hv_status scopes_put(struct dmar_list *list, const struct cursor *c, size_t length,
                                 size_t offset, unsigned what)
{
    struct cursor scope = { c->table, c->at + offset, c->at + length };
    bool ours = !get(c, 6, 2);
    while (scope.at < scope.end) {
        size_t size = scope.end - scope.at >= 8 ? get(&scope, 1, 1) : 0;
        if (size < 8 || size % 2 || size > scope.end - scope.at)
            return bad("device scope length", scope.at);
        enum hv_status status = ours ? scope_put(list, &scope, size, what) : HV_OK;
        if (status)
            return status;
        scope.at += size;
    }
    return HV_OK;
}

static const struct dmar_claim *find(const struct dmar_list *list, rid_t rid)
{
    /* The narrowest claim wins: an endpoint's own over its bridge's over all devices. */
    const struct dmar_claim *best = NULL;
    for (unsigned i = 0; i < list->n; i++) {
        const struct dmar_claim *c = &list->claim[i];
        if (rid >= c->first && rid <= c->last &&
            (!best || c->last - c->first < best->last - best->first))
            best = c;
    }
    return best;
}

/* --- Structures, by type ---------------------------------------------------------------------- */

static enum hv_status unit_add(struct dmar *d, const struct cursor *c, size_t length)
{
    struct dmar_unit u = {
        .base = PADDR(get(c, 8, 8)),
        .size = PAGE_SIZE << get(c, 5, 1) % 16, /* Size, 3:0 */
        .segment = (uint16_t)get(c, 6, 2),
        .node = DMAR_NODE_NONE,
    };
    if (!u.base.v || u.base.v & (u.size - 1) || u.base.v + u.size < u.base.v)
        return bad("register base", c->at);
    for (unsigned i = 0; i < d->nunits; i++)
        if (u.base.v < d->unit[i].base.v + d->unit[i].size && d->unit[i].base.v < u.base.v + u.size)
            return bad("overlapping units", c->at);
    if (d->nunits == IOMMU_UNITS_MAX) {
        log_error("vtd", "DMAR table: more than %u units", IOMMU_UNITS_MAX);
        return HV_ENOTSUP;
    }
    unsigned index = d->nunits++;
    d->unit[index] = u;
    enum hv_status status = scopes_put(&d->scopes, c, length, 16, index);
    if (status || u.segment || !(get(c, 4, 1) & INCLUDE_ALL))
        return status;
    for (unsigned i = 0; i < d->scopes.n; i++)
        if (d->scopes.claim[i].first == 0 && d->scopes.claim[i].last == 0xffff)
            return bad("second unit for all devices", c->at);
    return put(&d->scopes, 0, 0xffff, index);
}

/* Reserved memory (8.4): firmware, or the function for it, goes on using it. Nothing is mapped
 * here: all functions start BLOCKED, and those without an owner stay so. */
static enum hv_status reserved_add(struct dmar *d, const struct cursor *c, size_t length)
{
    struct iommu_reserved range = { get(c, 8, 8) & ~PAGE_MASK, get(c, 16, 8) | PAGE_MASK, true };
    if (range.last < range.first)
        return bad("RMRR limit", c->at);
    if (d->nreserved == DMAR_RESERVED_MAX) {
        log_error("vtd", "DMAR table: more than %u RMRRs", DMAR_RESERVED_MAX);
        return HV_ENOTSUP;
    }
    log_warn("vtd", "RMRR %#lx-%#lx: blocked, unless a VM has its function with rmrr=map",
             (unsigned long)range.first, (unsigned long)range.last);
    d->reserved[d->nreserved] = range;
    return scopes_put(&d->reserved_for, c, length, 24, d->nreserved++);
}

/* Root ports behind which ATS may be on (8.5). */
static enum hv_status ports_add(struct dmar *d, const struct cursor *c, size_t length)
{
    if (get(c, 4, 1) & INCLUDE_ALL && !get(c, 6, 2)) {
        d->ats_all_ports = true;
        return HV_OK;
    }
    return scopes_put(&d->ats_ports, c, length, 8, 0);
}

/* Integrated functions whose device TLB may be on (8.8). */
static enum hv_status integrated_add(struct dmar *d, const struct cursor *c, size_t length)
{
    d->ats_listed = d->ats_listed || !get(c, 6, 2);
    return scopes_put(&d->ats_integrated, c, length, 8, 0);
}

/* What must not be used for requests without PASID of a function, and whose device TLB may be on
 * (8.9, 8.3.1). It takes the place of SATC. */
static enum hv_status properties_add(struct dmar *d, const struct cursor *c, size_t length)
{
    d->properties_listed = d->properties_listed || !get(c, 6, 2);
    return scopes_put(&d->properties, c, length, 8, SCOPE_FLAGS);
}

/* The memory node next to a unit (8.6). Units come before: types ascend. */
static enum hv_status node_add(struct dmar *d, const struct cursor *c, size_t length)
{
    (void)length;
    for (unsigned i = 0; i < d->nunits; i++) {
        if (d->unit[i].base.v == get(c, 8, 8)) {
            d->unit[i].node = (uint32_t)get(c, 16, 4);
            return HV_OK;
        }
    }
    log_warn("vtd", "DMAR table: a memory node for no unit at offset %lu", c->at);
    return HV_OK;
}

/* The name of an ACPI device that a scope of type 5 means (8.7): nothing but its scope matters
 * here. */
static enum hv_status name_check(struct dmar *d, const struct cursor *c, size_t length)
{
    (void)d;
    if (!memchr(c->table + c->at + 8, 0, length - 8))
        return bad("ACPI name without end", c->at);
    log_info("vtd", "DMAR table: ACPI device %u", (unsigned)get(c, 7, 1));
    return HV_OK;
}

static const struct structure {
    const char *name;
    size_t least; /* bytes */
    enum hv_status (*add)(struct dmar *d, const struct cursor *c, size_t length);
} structures[] = {
    [TYPE_DRHD] = { "DRHD", 16, unit_add },      [TYPE_RMRR] = { "RMRR", 24, reserved_add },
    [TYPE_ATSR] = { "ATSR", 8, ports_add },      [TYPE_RHSA] = { "RHSA", 20, node_add },
    [TYPE_ANDD] = { "ANDD", 9, name_check },     [TYPE_SATC] = { "SATC", 8, integrated_add },
    [TYPE_SIDP] = { "SIDP", 8, properties_add },
};

enum hv_status vtd_dmar_parse(const void *table, size_t length, struct dmar *out)
{
    memset(out, 0, sizeof *out);
    if (!table || !length)
        return HV_ENODEV;
    struct cursor c = { table, 0, length };
    if (length < HEADER || memcmp(table, "DMAR", 4))
        return bad("no header", 0);
    size_t end = get(&c, 4, 4);
    if (end < HEADER || end > length)
        return bad("table length", 4);
    uint8_t sum = 0;
    for (size_t i = 0; i < end; i++)
        sum = (uint8_t)(sum + c.table[i]);
    if (sum)
        return bad("checksum", 9);

    c.at = HEADER;
    c.end = end;
    while (c.at < c.end) {
        size_t size = c.end - c.at >= 4 ? get(&c, 2, 2) : 0;
        if (size < 4 || size > c.end - c.at)
            return bad("structure length", c.at);
        unsigned type = (unsigned)get(&c, 0, 2);
        const struct structure *s = type < ARRAY_SIZE(structures) ? &structures[type] : NULL;
        if (s && size < s->least) {
            log_error("vtd", "DMAR table: short %s at offset %lu", s->name, c.at);
            return HV_EINVAL;
        }
        enum hv_status status = s ? s->add(out, &c, size) : HV_OK;
        if (status)
            return status;
        c.at += size;
    }
    return out->nunits ? HV_OK : HV_ENODEV;
}

/* --- What was found --------------------------------------------------------------------------- */

enum hv_status vtd_dmar_reserve(const struct dmar *d, struct iommu_device *dev)
{
    dev->nreserved = 0;
    dev->reserved[dev->nreserved++] = (struct iommu_reserved){ 0xfee00000, 0xfeefffff, false };
    for (unsigned i = 0; i < d->reserved_for.n; i++) {
        const struct dmar_claim *c = &d->reserved_for.claim[i];
        if (dev->rid < c->first || dev->rid > c->last)
            continue;
        if (dev->nreserved == IOMMU_RESERVED_MAX)
            return HV_ENOTSUP;
        dev->reserved[dev->nreserved++] = d->reserved[c->what];
    }
    return HV_OK;
}

unsigned vtd_dmar_properties(const struct dmar *d, rid_t rid)
{
    const struct dmar_claim *c = find(&d->properties, rid);
    return c ? c->what : 0;
}

bool vtd_dmar_ats(const struct dmar *d, rid_t rid, const char **why)
{
    rid_t bridge[PCI_PATH_MAX];
    unsigned n = pci_path(rid, bridge);
    if (vtd_dmar_properties(d, rid) & DMAR_ATC_HARDENED)
        return true;
    if (!n && d->properties_listed) {
        *why = "its device TLB is not among those that firmware calls validated (SIDP)";
        return false;
    }
    if (!n) {
        *why = "it is not among the integrated functions that firmware lists (SATC)";
        return !d->ats_listed || find(&d->ats_integrated, rid);
    }
    *why = "firmware does not list its root port (ATSR)";
    return d->ats_all_ports || find(&d->ats_ports, bridge[0]);
}

int vtd_dmar_unit_of(const struct dmar *d, rid_t rid)
{
    const struct dmar_claim *c = find(&d->scopes, rid);
    return c ? c->what : -1;
}
