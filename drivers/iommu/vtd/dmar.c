/* SPDX-License-Identifier: BSD-2-Clause */
/* The DMAR table: parsing and validation (chapter 8). Segment 0 alone has devices of ours. */
#include "drivers/iommu/vtd/dmar.h"

#include <string.h>

#include "hv/log.h"
#include "hv/platform.h"

enum {
    HEADER = 48, /* ACPI header, width, flags, reserved */
    TYPE_DRHD = 0,
    TYPE_RMRR = 1,
    SCOPE_ENDPOINT = 1,
    SCOPE_BRIDGE = 2,
    SCOPE_NAMESPACE = 5,
    INCLUDE_ALL = 1,
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

static enum hv_status claim(struct dmar *d, rid_t first, rid_t last, unsigned unit)
{
    if (d->nclaims == DMAR_CLAIMS_MAX) {
        log_error("vtd", "DMAR table: more than %u device scopes", DMAR_CLAIMS_MAX);
        return HV_ENOTSUP;
    }
    d->claim[d->nclaims++] = (struct dmar_claim){ first, last, (uint8_t)unit };
    return HV_OK;
}

static enum hv_status scope_claim(struct dmar *d, const struct cursor *scope, size_t length,
                                  unsigned unit)
{
    unsigned type = (unsigned)get(scope, 0, 1);
    if (type != SCOPE_ENDPOINT && type != SCOPE_BRIDGE && type != SCOPE_NAMESPACE)
        return HV_OK; /* IOAPIC, HPET: interrupt sources */
    rid_t rid;
    if (!walk(scope, length, &rid)) {
        log_warn("vtd", "DMAR table: device scope at offset %lu leads nowhere", scope->at);
        return HV_OK;
    }
    enum hv_status status = claim(d, rid, rid, unit);
    if (status || type != SCOPE_BRIDGE || !is_bridge(rid))
        return status;
    uint32_t buses = pci_config_read(rid, PCI_BUSES, 4);
    unsigned secondary = buses >> 8 & 0xff, subordinate = buses >> 16 & 0xff;
    if (!secondary || subordinate < secondary)
        return HV_OK; /* not configured: nothing can be behind it */
    return claim(d, (rid_t)(secondary << 8), (rid_t)(subordinate << 8 | 0xff), unit);
}

static enum hv_status unit_add(struct dmar *d, const struct cursor *c, size_t length)
{
    if (length < 16)
        return bad("short unit", c->at);
    struct dmar_unit u = {
        .base = PADDR(get(c, 8, 8)),
        .size = PAGE_SIZE << get(c, 5, 1) % 16, /* Size, 3:0 */
        .segment = (uint16_t)get(c, 6, 2),
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

    struct cursor scope = { c->table, c->at + 16, c->at + length };
    while (scope.at < scope.end) {
        size_t size = scope.end - scope.at >= 8 ? get(&scope, 1, 1) : 0;
        if (size < 8 || size % 2 || size > scope.end - scope.at)
            return bad("device scope length", scope.at);
        enum hv_status status = u.segment ? HV_OK : scope_claim(d, &scope, size, index);
        if (status)
            return status;
        scope.at += size;
    }
    if (u.segment || !(get(c, 4, 1) & INCLUDE_ALL))
        return HV_OK;
    for (unsigned i = 0; i < d->nclaims; i++)
        if (d->claim[i].first == 0 && d->claim[i].last == 0xffff)
            return bad("second unit for all devices", c->at);
    return claim(d, 0, 0xffff, index);
}

/* Reserved memory (8.4): nothing is mapped for it. Its devices are BLOCKED like all others until
 * attached. */
static enum hv_status reserved_add(struct dmar *d, const struct cursor *c, size_t length)
{
    if (length < 24)
        return bad("short RMRR", c->at);
    struct iommu_reserved range = { get(c, 8, 8) & ~PAGE_MASK, get(c, 16, 8) | PAGE_MASK };
    if (range.last < range.first)
        return bad("RMRR limit", c->at);
    log_warn("vtd", "RMRR %#lx-%#lx not mapped: its device's DMA there is blocked",
             (unsigned long)range.first, (unsigned long)range.last);
    struct cursor scope = { c->table, c->at + 24, c->at + length };
    while (scope.at < scope.end && !get(c, 6, 2)) {
        size_t size = scope.end - scope.at >= 8 ? get(&scope, 1, 1) : 0;
        if (size < 8 || size % 2 || size > scope.end - scope.at)
            return bad("device scope length", scope.at);
        rid_t rid;
        if (walk(&scope, size, &rid)) {
            if (d->nreserved == DMAR_RESERVED_MAX) {
                log_error("vtd", "DMAR table: more than %u RMRR scopes", DMAR_RESERVED_MAX);
                return HV_ENOTSUP;
            }
            d->reserved[d->nreserved++] = (struct dmar_reserved){ rid, range };
        }
        scope.at += size;
    }
    return HV_OK;
}

enum hv_status vtd_dmar_reserve(const struct dmar *d, struct iommu_device *dev)
{
    dev->nreserved = 0;
    dev->reserved[dev->nreserved++] = (struct iommu_reserved){ 0xfee00000, 0xfeefffff };
    for (unsigned i = 0; i < d->nreserved; i++) {
        if (d->reserved[i].rid != dev->rid)
            continue;
        if (dev->nreserved == IOMMU_RESERVED_MAX)
            return HV_ENOTSUP;
        dev->reserved[dev->nreserved++] = d->reserved[i].range;
    }
    return HV_OK;
}

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
        enum hv_status status = type == TYPE_DRHD   ? unit_add(out, &c, size)
                                : type == TYPE_RMRR ? reserved_add(out, &c, size)
                                                    : HV_OK;
        if (status)
            return status;
        c.at += size;
    }
    return out->nunits ? HV_OK : HV_ENODEV;
}

int vtd_dmar_unit_of(const struct dmar *d, rid_t rid)
{
    /* The narrowest claim wins: an endpoint's own over its bridge's over all devices. */
    int best = -1;
    unsigned width = UINT32_MAX;
    for (unsigned i = 0; i < d->nclaims; i++) {
        const struct dmar_claim *c = &d->claim[i];
        if (rid >= c->first && rid <= c->last && (unsigned)(c->last - c->first) < width) {
            width = (unsigned)(c->last - c->first);
            best = c->unit;
        }
    }
    return best;
}
