/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI 3.0: 6.1 (header), 6.2.5.1 (BAR sizing), 6.7 (capabilities); PCIe 7.6.3 (extended ones). */
#include "hv/pci.h"

#include "hv/platform.h"

bool pci_present(rid_t rid)
{
    uint32_t id = pci_config_read(rid, PCI_VENDOR, 2);

    return id != 0xffff && id != 0;
}

static struct roots {
    uint8_t bus[256];
    unsigned n;
} roots = { .n = 1 };

/* Buses still to look at, and those ever queued: each is visited once, whatever the bridges say. */
struct scan {
    void (*fn)(void *ctx, rid_t rid);
    void *ctx;
    uint8_t queue[256];
    unsigned head, tail;
    bool seen[256];
};

static void queue_bus(struct scan *s, unsigned bus)
{
    if (s->seen[bus])
        return;
    s->seen[bus] = true;
    s->queue[s->tail++] = (uint8_t)bus;
}

static void scan_device(struct scan *s, unsigned bus, unsigned device)
{
    bool many = pci_config_read(pci_rid(bus, device, 0), PCI_HEADER_TYPE, 1) & 0x80;

    for (unsigned function = 0; function < (many ? 8u : 1u); function++) {
        rid_t rid = pci_rid(bus, device, function);
        if (!pci_present(rid))
            continue;
        s->fn(s->ctx, rid);
        if ((pci_config_read(rid, PCI_HEADER_TYPE, 1) & 0x7f) == 1)
            queue_bus(s, pci_config_read(rid, PCI_SECONDARY_BUS, 1));
    }
}

static bool scan_bus(struct scan *s, unsigned bus)
{
    bool any = false;

    for (unsigned device = 0; device < 32; device++) {
        if (!pci_present(pci_rid(bus, device, 0)))
            continue;
        scan_device(s, bus, device);
        any = true;
    }
    return any;
}

static void scan_queue(struct scan *s)
{
    while (s->head < s->tail)
        scan_bus(s, s->queue[s->head++]);
}

void pci_each(void (*fn)(void *ctx, rid_t rid), void *ctx)
{
    struct scan s = { .fn = fn, .ctx = ctx };

    for (unsigned i = 0; i < roots.n; i++)
        queue_bus(&s, roots.bus[i]);
    scan_queue(&s);
}

static void ignore(void *ctx, rid_t rid)
{
    (void)ctx, (void)rid;
}

/* Upwards: a bridge leads to buses with higher numbers than its own. */
void pci_find_roots(void)
{
    struct scan s = { .fn = ignore };

    roots.n = 0;
    for (unsigned bus = 0; bus < 256; bus++) {
        if (s.seen[bus])
            continue;
        s.seen[bus] = true;
        if (scan_bus(&s, bus) || bus == 0)
            roots.bus[roots.n++] = (uint8_t)bus;
        scan_queue(&s);
    }
}

enum {
    EXT_SRIOV = 0x10,
    SRIOV_CONTROL = 0x08, /* VF enable 0 */
    SRIOV_NUMBER = 0x10,  /* of virtual functions */
    SRIOV_FIRST = 0x14,   /* offset from the physical one's id */
    SRIOV_STRIDE = 0x16,
};

struct owner {
    rid_t rid, physical;
};

static void owns(void *ctx, rid_t rid)
{
    struct owner *o = ctx;
    unsigned at = pci_extended_capability(rid, EXT_SRIOV);

    if (!at || !(pci_config_read(rid, at + SRIOV_CONTROL, 2) & 1))
        return;
    uint32_t first = pci_config_read(rid, at + SRIOV_FIRST, 2);
    uint32_t stride = pci_config_read(rid, at + SRIOV_STRIDE, 2);
    uint32_t n = pci_config_read(rid, at + SRIOV_NUMBER, 2);
    uint32_t off = (uint32_t)o->rid - rid - first;

    if (o->rid < rid + first || !n)
        return;
    if (stride ? off % stride == 0 && off / stride < n : off == 0)
        o->physical = rid;
}

rid_t pci_physical(rid_t rid)
{
    struct owner o = { rid, rid };

    pci_each(owns, &o);
    return o.physical;
}

/* The bridge that leads on towards a bus. Buses below have higher numbers, so this ends. */
struct lead {
    unsigned bus, best; /* best: secondary number of the last bridge on the path so far */
    rid_t rid;
    bool found;
};

static void leads(void *ctx, rid_t rid)
{
    struct lead *l = ctx;
    unsigned secondary = pci_config_read(rid, PCI_SECONDARY_BUS, 1);

    if ((pci_config_read(rid, PCI_HEADER_TYPE, 1) & 0x7f) != 1 || secondary <= l->best ||
        secondary <= rid >> 8 || l->bus < secondary ||
        l->bus > pci_config_read(rid, PCI_SUBORDINATE_BUS, 1))
        return;
    if (!l->found || secondary < pci_config_read(l->rid, PCI_SECONDARY_BUS, 1))
        l->rid = rid;
    l->found = true;
}

unsigned pci_path(rid_t rid, rid_t bridge[PCI_PATH_MAX])
{
    struct lead l = { .bus = rid >> 8 };
    unsigned n = 0;

    while (n < PCI_PATH_MAX) {
        l.found = false;
        pci_each(leads, &l);
        if (!l.found)
            break;
        bridge[n++] = l.rid;
        l.best = pci_config_read(l.rid, PCI_SECONDARY_BUS, 1);
    }
    return n;
}

unsigned pci_capability(rid_t rid, uint8_t id)
{
    if (!(pci_config_read(rid, PCI_STATUS, 2) & 0x10))
        return 0;
    unsigned at = pci_config_read(rid, PCI_CAPABILITIES, 1) & 0xfc;

    for (unsigned n = 0; n < (256 - 64) / 4 && at >= 0x40; n++) {
        uint32_t header = pci_config_read(rid, at, 2);
        if ((header & 0xff) == id)
            return at;
        at = (header >> 8) & 0xfc;
    }
    return 0;
}

unsigned pci_extended_capability(rid_t rid, uint16_t id)
{
    unsigned at = PCI_EXTENDED;

    for (unsigned n = 0; n < (4096 - 256) / 4 && at >= PCI_EXTENDED; n++) {
        uint32_t header = pci_config_read(rid, at, 4);
        if (header == 0 || header == ~0u)
            return 0;
        if ((header & 0xffff) == id)
            return at;
        at = (header >> 20) & 0xffc;
    }
    return 0;
}

static uint32_t size_mask(rid_t rid, unsigned reg)
{
    uint32_t before = pci_config_read(rid, reg, 4);

    pci_config_write(rid, reg, 4, ~0u);
    uint32_t mask = pci_config_read(rid, reg, 4);
    pci_config_write(rid, reg, 4, before);
    return mask;
}

/* @return how many registers this BAR takes. */
static unsigned size_bar(rid_t rid, unsigned index, struct pci_bar *bar)
{
    unsigned reg = PCI_BAR0 + 4 * index;
    uint64_t base = pci_config_read(rid, reg, 4), mask = size_mask(rid, reg);

    if (mask & 1) {
        *bar = (struct pci_bar){ .io = true };
        return 1;
    }
    bool wide = (mask & 6) == 4 && index + 1 < PCI_BARS;
    *bar = (struct pci_bar){ .wide = wide, .prefetchable = mask & 8 };
    mask &= ~0xfull;
    if (wide) {
        base |= (uint64_t)pci_config_read(rid, reg + 4, 4) << 32;
        mask |= (uint64_t)size_mask(rid, reg + 4) << 32;
    } else if (mask) {
        mask |= 0xffffffffull << 32;
    }
    if (mask) {
        bar->base = base & mask;
        bar->size = mask & -mask; /* the lowest writable bit */
    }
    return wide ? 2 : 1;
}

void pci_bars(rid_t rid, struct pci_bar bar[PCI_BARS])
{
    uint32_t command = pci_config_read(rid, PCI_COMMAND, 2);

    pci_config_write(rid, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (unsigned i = 0; i < PCI_BARS; i++)
        bar[i] = (struct pci_bar){ 0 };
    for (unsigned i = 0; i < PCI_BARS;)
        i += size_bar(rid, i, &bar[i]);
    pci_config_write(rid, PCI_COMMAND, 2, command);
}
