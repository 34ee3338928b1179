/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DMAR table. Input: a byte (bit 0: the rest is the whole table as it is; else what follows its
 * 48-byte header, which is made here with right length and checksum), the secondary and subordinate
 * bus of two bridges, the table.
 */
#include "drivers/iommu/vtd/dmar.h"
#include "tests/fuzz/fuzz.h"
#include "tests/platform/platform.h"

#define HEADER 48u

static void add_bridge(struct platform_pci *f, rid_t rid, unsigned secondary, unsigned subordinate)
{
    memset(f, 0, sizeof(*f));
    f->rid = rid;
    platform_put(f->config, 0, 4, 0x12348086);
    f->config[0x0e] = 1;
    platform_put(f->config, 0x18, 3, rid >> 8 | secondary << 8 | subordinate << 16);
    platform_add_pci(f);
}

static size_t make_table(uint8_t *table, struct feed in, bool raw)
{
    if (raw) {
        memcpy(table, in.at, in.left);
        return in.left;
    }
    size_t length = HEADER + in.left;
    uint8_t sum = 0;
    memset(table, 0, HEADER);
    memcpy(table, "DMAR", 4);
    platform_put(table, 4, 4, length);
    memcpy(table + HEADER, in.at, in.left);
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + table[i]);
    table[9] = (uint8_t)-sum;
    return length;
}

static void check_units(const struct dmar *d)
{
    must(d->nunits >= 1 && d->nunits <= IOMMU_UNITS_MAX);
    for (unsigned i = 0; i < d->nunits; i++) {
        const struct dmar_unit *u = &d->unit[i];
        must(u->base.v && u->size >= PAGE_SIZE && (u->base.v & (u->size - 1)) == 0);
        must(u->base.v + (u->size - 1) >= u->base.v);
        for (unsigned j = 0; j < i; j++)
            must(u->base.v + (u->size - 1) < d->unit[j].base.v ||
                 d->unit[j].base.v + (d->unit[j].size - 1) < u->base.v);
    }
}

static void check_list(const struct dmar_list *list, unsigned whats)
{
    must(list->n <= DMAR_CLAIMS_MAX);
    for (unsigned i = 0; i < list->n; i++)
        must(list->claim[i].first <= list->claim[i].last && list->claim[i].what < whats);
}

/* Who is claimed is behind a unit of segment 0 that claims it, by a claim as narrow as any; and
 * what else the table says of it can be told. */
static void check_function(const struct dmar *d, rid_t rid)
{
    int unit = vtd_dmar_unit_of(d, rid);
    uint32_t narrowest = UINT32_MAX, own = UINT32_MAX;
    struct iommu_device device = { .rid = rid };
    const char *why = NULL;

    must(unit < (int)d->nunits && (unit < 0 || d->unit[unit].segment == 0));
    for (unsigned i = 0; i < d->scopes.n; i++) {
        const struct dmar_claim *c = &d->scopes.claim[i];
        if (rid < c->first || rid > c->last)
            continue;
        uint32_t width = (uint32_t)(c->last - c->first);
        narrowest = width < narrowest ? width : narrowest;
        if (c->what == unit && width < own)
            own = width;
    }
    must((unit < 0) == (narrowest == UINT32_MAX) && own == narrowest);
    if (!vtd_dmar_ats(d, rid, &why))
        must(why && *why);
    enum hv_status status = vtd_dmar_reserve(d, &device);
    must(status == HV_OK || status == HV_ENOTSUP);
    must(device.nreserved >= 1 && device.nreserved <= IOMMU_RESERVED_MAX);
}

static void check_functions(const struct dmar *d, const struct dmar_list *list)
{
    for (unsigned i = 0; i < list->n && i < 8; i++) {
        check_function(d, list->claim[i].first);
        check_function(d, list->claim[i].last);
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static struct platform_pci bridge[2];
    static struct dmar d, again;
    struct feed in = { data, size };
    bool raw = feed_8(&in) & 1;

    for (unsigned i = 0; i < 2; i++) {
        unsigned secondary = feed_8(&in);
        add_bridge(&bridge[i], (rid_t)(0xe0 + 8 * i), secondary, feed_8(&in));
    }
    uint8_t *table = malloc(HEADER + in.left);
    size_t length = make_table(table, in, raw);
    enum hv_status status = vtd_dmar_parse(table, length, &d);

    must(status == HV_OK || status == HV_ENODEV || status == HV_EINVAL || status == HV_ENOTSUP);
    must(vtd_dmar_parse(table, length, &again) == status);
    if (status == HV_OK) {
        must(memcmp(&d, &again, sizeof(d)) == 0);
        check_units(&d);
        must(d.nreserved <= DMAR_RESERVED_MAX);
        check_list(&d.scopes, d.nunits);
        check_list(&d.reserved_for, d.nreserved);
        check_list(&d.ats_ports, UINT8_MAX + 1);
        check_list(&d.ats_integrated, UINT8_MAX + 1);
        check_list(&d.properties, UINT8_MAX + 1);
        check_functions(&d, &d.scopes);
        check_functions(&d, &d.reserved_for);
        check_functions(&d, &d.ats_ports);
        check_functions(&d, &d.properties);
        check_function(&d, (rid_t)length);
        /* One byte short, or one byte wrong, it is no table. */
        uint32_t told;
        memcpy(&told, table + 4, 4);
        must(vtd_dmar_parse(table, told - 1, &again) == HV_EINVAL);
        table[told - 1] ^= 1;
        must(vtd_dmar_parse(table, length, &again) == HV_EINVAL);
    }
    free(table);
}
