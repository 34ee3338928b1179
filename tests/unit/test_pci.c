/* SPDX-License-Identifier: BSD-2-Clause */
/* Enumeration through bridges, capability lists that lie, BAR sizing. */
#include <string.h>

#include "hv/pci.h"
#include "hv/pci_group.h"
#include "tests/platform/platform.h"

static struct platform_pci function[8];

static void endpoint(unsigned i, rid_t rid)
{
    platform_pci_endpoint(&function[i], rid, 0x1234, (uint16_t)(0x10 + i), 0, 0);
    platform_add_pci(&function[i]);
}

static void bridge(unsigned i, rid_t rid, uint8_t secondary)
{
    endpoint(i, rid);
    function[i].config[PCI_HEADER_TYPE] = 1;
    function[i].config[PCI_SECONDARY_BUS] = secondary;
}

struct found {
    unsigned n;
    rid_t rid[64];
};

static void note(void *ctx, rid_t rid)
{
    struct found *f = ctx;

    assert_true(f->n < 64);
    f->rid[f->n++] = rid;
}

static void each_function_is_found_once(void **state)
{
    struct found f = { 0 };
    static const rid_t want[] = { 0x0000, 0x0008, 0x000b, 0x0010, 0x0500, 0x0508 };
    (void)state;
    endpoint(0, pci_rid(0, 0, 0));
    endpoint(1, pci_rid(0, 1, 0));
    endpoint(2, pci_rid(0, 1, 3));
    function[1].config[PCI_HEADER_TYPE] = 0x80; /* has further functions */
    bridge(3, pci_rid(0, 2, 0), 5);
    endpoint(4, pci_rid(5, 0, 0));
    bridge(5, pci_rid(5, 1, 0), 0); /* a loop */
    endpoint(6, pci_rid(0, 0, 5));  /* function 0 says there is none */
    endpoint(7, pci_rid(7, 0, 0));  /* no bridge leads there */
    pci_each(note, &f);
    assert_int_equal(f.n, ARRAY_SIZE(want));
    for (unsigned i = 0; i < f.n; i++)
        assert_int_equal(f.rid[i], want[i]);
    assert_true(pci_present(pci_rid(0, 2, 0)));
    assert_false(pci_present(pci_rid(0, 3, 0)));
}

/* A server has several root buses; what is below their ports is found, and its path. */
static void buses_that_no_bridge_leads_to_are_roots(void **state)
{
    struct found f = { 0 };
    static const rid_t want[] = { 0x0008, 0x6a08, 0x6a10, 0xe700, 0x6b00 };
    rid_t path[PCI_PATH_MAX];
    (void)state;
    endpoint(0, pci_rid(0, 1, 0));
    endpoint(1, pci_rid(0x6a, 1, 0));
    bridge(2, pci_rid(0x6a, 2, 0), 0x6b);
    function[2].config[PCI_SUBORDINATE_BUS] = 0x6c;
    endpoint(3, pci_rid(0x6b, 0, 0));
    endpoint(4, pci_rid(0xe7, 0, 0));
    pci_each(note, &f);
    assert_int_equal(f.n, 1);
    f.n = 0;
    pci_find_roots();
    pci_each(note, &f);
    assert_int_equal(f.n, ARRAY_SIZE(want));
    for (unsigned i = 0; i < f.n; i++)
        assert_int_equal(f.rid[i], want[i]);
    assert_int_equal(pci_path(pci_rid(0x6b, 0, 0), path), 1);
    assert_int_equal(path[0], pci_rid(0x6a, 2, 0));
    assert_int_equal(pci_path(pci_rid(0xe7, 0, 0), path), 0);
    platform_fresh(state);
    pci_find_roots(); /* without functions: bus 0 again */
}

static void capability_lists_are_bounded(void **state)
{
    uint8_t *c = function[0].config;
    (void)state;
    endpoint(0, 0x20);
    platform_put(c, PCI_CAPABILITIES, 1, 0x40);
    platform_put(c, 0x40, 2, 0x5005);                /* MSI, next 0x50 */
    platform_put(c, 0x50, 2, 0x6210);                /* PCIe, next 0x62: low bits are reserved */
    platform_put(c, 0x60, 2, 0x4011);                /* MSI-X, back to the first */
    assert_int_equal(pci_capability(0x20, 0x10), 0); /* the status bit says no list */
    platform_put(c, PCI_STATUS, 2, 0x10);
    assert_int_equal(pci_capability(0x20, 5), 0x40);
    assert_int_equal(pci_capability(0x20, 0x10), 0x50);
    assert_int_equal(pci_capability(0x20, 0x11), 0x60);
    assert_int_equal(pci_capability(0x20, 9), 0); /* ends, in spite of the loop */
    platform_put(c, 0x60, 2, 0x2009);             /* a pointer into the header ends the list */
    assert_int_equal(pci_capability(0x20, 9), 0x60);
    assert_int_equal(pci_capability(0x20, 1), 0);

    assert_int_equal(pci_extended_capability(0x20, 0x1b), 0);
    platform_put(c, 0x100, 4, 0x1501000f); /* ATS, next 0x150 */
    platform_put(c, 0x150, 4, 0x2001001b);
    platform_put(c, 0x200, 4, 0x10010013); /* back to the first */
    assert_int_equal(pci_extended_capability(0x20, 0x0f), 0x100);
    assert_int_equal(pci_extended_capability(0x20, 0x1b), 0x150);
    assert_int_equal(pci_extended_capability(0x20, 0x13), 0x200);
    assert_int_equal(pci_extended_capability(0x20, 0x44), 0);
    assert_int_equal(pci_extended_capability(0x28, 0x0f), 0); /* absent function */
}

static bool decoded_while_sizing;

/* A function that notices when its BARs are written with decoding on. */
static uint32_t strict_read(void *ctx, unsigned offset, unsigned size)
{
    struct platform_pci *f = ctx;
    uint32_t value = 0;

    memcpy(&value, f->config + offset, size);
    return value;
}

static void strict_write(void *ctx, unsigned offset, unsigned size, uint32_t value)
{
    struct platform_pci *f = ctx;

    if (offset >= PCI_BAR0 && offset < PCI_BAR0 + 24)
        decoded_while_sizing |= f->config[PCI_COMMAND] & 3;
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = f->writable[offset + i];
        f->config[offset + i] =
            (uint8_t)((f->config[offset + i] & ~mask) | (value >> (8 * i) & mask));
    }
}

static void bars_are_sized_with_decoding_off(void **state)
{
    struct platform_pci *f = &function[0];
    struct pci_bar bar[PCI_BARS];
    uint8_t before[64];
    (void)state;
    endpoint(0, 0x20);
    f->ctx = f;
    f->read = strict_read;
    f->write = strict_write;
    platform_put(f->config, PCI_COMMAND, 2, 7);
    platform_put(f->config, 0x10, 4, 0xfe000000); /* 64 KiB, 32 bits */
    platform_put(f->writable, 0x10, 4, 0xffff0000);
    platform_put(f->config, 0x14, 8, 0x3800000000ull | 0xc); /* 8 GiB, 64 bits, prefetchable */
    platform_put(f->writable, 0x14, 8, ~0x1ffffffffull);
    platform_put(f->config, 0x1c, 4, 0xc001); /* IO, 32 ports */
    platform_put(f->writable, 0x1c, 4, 0xffe0);
    platform_put(f->config, 0x24, 4, 0xfd000004); /* says 64 bits, has no next register */
    platform_put(f->writable, 0x24, 4, 0xfffff000);
    memcpy(before, f->config, 64);
    decoded_while_sizing = false;
    pci_bars(0x20, bar);
    assert_false(decoded_while_sizing);
    assert_memory_equal(before, f->config, 64); /* all put back */
    assert_int_equal(bar[0].base, 0xfe000000);
    assert_int_equal(bar[0].size, 0x10000);
    assert_false(bar[0].wide);
    assert_int_equal(bar[1].base, 0x3800000000);
    assert_int_equal(bar[1].size, 8ull << 30);
    assert_true(bar[1].wide && bar[1].prefetchable);
    assert_int_equal(bar[2].size, 0);
    assert_true(bar[3].io);
    assert_int_equal(bar[3].size, 0);
    assert_int_equal(bar[4].size, 0);
    assert_int_equal(bar[5].size, 0x1000);
    assert_false(bar[5].wide);
}

/* --- Groups: what the IOMMU cannot keep apart ------------------------------------------------- */

static void pcie(unsigned i, unsigned kind)
{
    platform_put(function[i].config, PCI_STATUS, 2, 0x10);
    platform_put(function[i].config, PCI_CAPABILITIES, 1, 0x40);
    platform_put(function[i].config, 0x40, 2, 0x10);
    platform_put(function[i].config, 0x42, 2, kind << 4 | 2);
}

static void acs(unsigned i, unsigned offered, unsigned writable)
{
    platform_put(function[i].config, 0x100, 4, 0x0001000d);
    platform_put(function[i].config, 0x104, 2, offered);
    platform_put(function[i].writable, 0x106, 2, writable);
}

static void port(unsigned i, rid_t rid, unsigned kind, uint8_t secondary, uint8_t last)
{
    bridge(i, rid, secondary);
    function[i].config[PCI_SUBORDINATE_BUS] = last;
    if (kind)
        pcie(i, kind);
}

static void paths_lead_through_bridges(void **state)
{
    rid_t path[PCI_PATH_MAX];
    (void)state;
    port(0, pci_rid(0, 1, 0), 4, 1, 1);
    port(1, pci_rid(0, 2, 0), 4, 2, 9);
    port(2, pci_rid(2, 0, 0), 5, 3, 9);
    port(3, pci_rid(3, 4, 0), 6, 5, 5);
    endpoint(4, pci_rid(5, 0, 0));
    assert_int_equal(pci_path(pci_rid(5, 0, 0), path), 3);
    assert_int_equal(path[0], pci_rid(0, 2, 0));
    assert_int_equal(path[1], pci_rid(2, 0, 0));
    assert_int_equal(path[2], pci_rid(3, 4, 0));
    assert_int_equal(pci_path(pci_rid(1, 0, 0), path), 1);
    assert_int_equal(path[0], pci_rid(0, 1, 0));
    assert_int_equal(pci_path(pci_rid(0, 5, 0), path), 0);
    assert_int_equal(pci_path(pci_rid(0x80, 5, 0), path), 0); /* another root bus */
    function[3].config[PCI_SECONDARY_BUS] = 2;                /* a loop */
    assert_int_equal(pci_path(pci_rid(5, 0, 0), path), 2);
}

static void ports_keep_apart_only_with_acs(void **state)
{
    (void)state;
    port(0, pci_rid(0, 2, 0), 4, 2, 9);
    port(1, pci_rid(2, 0, 0), 5, 3, 9);
    port(2, pci_rid(3, 0, 0), 6, 4, 4);
    port(3, pci_rid(3, 1, 0), 6, 5, 5);
    endpoint(4, pci_rid(4, 0, 0));
    endpoint(5, pci_rid(5, 0, 0));
    rid_t one = pci_rid(4, 0, 0), two = pci_rid(5, 0, 0);
    acs(0, 0x1d, 0x1d);
    acs(2, 0x1d, 0x1d);
    acs(3, 0x1d, 0x1d);
    assert_int_equal(pci_group(one).id, one);
    assert_int_equal(pci_group(two).id, two);
    assert_int_equal(pci_config_read(pci_rid(3, 1, 0), 0x106, 2), 0x1d); /* it was turned on */
    acs(3, 0x1d, 0x19); /* requests to peers cannot be sent up */
    platform_put(function[3].config, 0x106, 2, 0);
    assert_int_equal(pci_group(two).id, pci_rid(2, 0, 0));
    assert_int_equal(pci_group(one).id, pci_rid(2, 0, 0)); /* its port keeps nobody from it */
    acs(3, 0x11, 0x11); /* not offered: no requests to peers at all */
    assert_int_equal(pci_group(two).id, two);
    platform_put(function[0].config, 0x100, 4, 0); /* the root port has none: all below it is one */
    assert_int_equal(pci_group(one).id, pci_rid(0, 2, 0));
    assert_int_equal(pci_group(two).id, pci_rid(0, 2, 0));
    assert_false(pci_group(one).aliased);
}

static void virtual_functions_have_a_physical_one(void **state)
{
    static const struct {
        rid_t rid, physical;
    } rows[] = { { 0x0018, 0x0018 }, { 0x0117, 0x0117 }, { 0x0118, 0x0018 }, { 0x0119, 0x0119 },
                 { 0x011a, 0x0018 }, { 0x011c, 0x0018 }, { 0x011e, 0x011e } };
    (void)state;
    endpoint(0, pci_rid(0, 3, 0));
    uint8_t *cap = &function[0].config[0x100];
    platform_put(cap, 0, 4, 0x00010010); /* SR-IOV */
    platform_put(cap, 0x10, 2, 3);       /* functions */
    platform_put(cap, 0x14, 2, 0x100);   /* the first: 01:03.0 */
    platform_put(cap, 0x16, 2, 2);       /* every second id */
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(pci_physical(rows[i].rid), rows[i].rid); /* not enabled */
    platform_put(cap, 0x08, 2, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(pci_physical(rows[i].rid), rows[i].physical);
    platform_put(cap, 0x10, 2, 1);
    platform_put(cap, 0x16, 2, 0);
    assert_int_equal(pci_physical(0x0118), 0x0018);
    assert_int_equal(pci_physical(0x0119), 0x0119);
}

static void functions_of_one_device(void **state)
{
    (void)state;
    endpoint(0, pci_rid(0, 3, 0));
    endpoint(1, pci_rid(0, 3, 1));
    endpoint(2, pci_rid(0, 4, 0));
    assert_int_equal(pci_group(pci_rid(0, 4, 0)).id, pci_rid(0, 4, 0));
    function[0].config[PCI_HEADER_TYPE] = 0x80;
    assert_int_equal(pci_group(pci_rid(0, 3, 1)).id, pci_rid(0, 3, 0));
    acs(1, 0x0c, 0x0c); /* the other one still reaches it */
    assert_int_equal(pci_group(pci_rid(0, 3, 1)).id, pci_rid(0, 3, 0));
    acs(0, 0x0c, 0x0c);
    assert_int_equal(pci_group(pci_rid(0, 3, 1)).id, pci_rid(0, 3, 1));
    assert_int_equal(pci_group(pci_rid(0, 3, 0)).id, pci_rid(0, 3, 0));
}

/* Root ports that are functions of one device, and a device with functions beyond the eighth. */
static void ports_and_functions_of_one_package(void **state)
{
    rid_t one = pci_rid(4, 0, 0), two = pci_rid(5, 0, 0), far = pci_rid(5, 2, 3);
    (void)state;
    port(0, pci_rid(0, 28, 0), 4, 4, 4);
    port(1, pci_rid(0, 28, 4), 4, 5, 5);
    endpoint(2, one);
    endpoint(3, two);
    function[0].config[PCI_HEADER_TYPE] = 0x81;
    assert_int_equal(pci_group(one).id, pci_rid(0, 28, 0));
    assert_int_equal(pci_group(two).id, pci_rid(0, 28, 0));
    acs(0, 0x1d, 0x1d);
    assert_int_equal(pci_group(one).id, pci_rid(0, 28, 0));
    acs(1, 0x1d, 0x1d);
    assert_int_equal(pci_group(one).id, one);
    assert_int_equal(pci_group(two).id, two);
    endpoint(4, far); /* another function of that device, as ARI numbers it */
    assert_int_equal(pci_group(two).id, pci_group(far).id);
    acs(3, 0x0c, 0x0c);
    acs(4, 0x0c, 0x0c);
    assert_int_equal(pci_group(two).id, two);
    assert_int_equal(pci_group(far).id, far);
}

/* A link whose port does not look at requester ids. */
static void who_may_carry_any_id(void **state)
{
    (void)state;
    port(0, pci_rid(0, 2, 0), 4, 2, 9);
    port(1, pci_rid(2, 0, 0), 5, 3, 9);
    port(2, pci_rid(3, 0, 0), 6, 4, 4);
    endpoint(3, pci_rid(4, 0, 0));
    endpoint(4, pci_rid(0, 5, 0));
    assert_true(pci_group(pci_rid(4, 0, 0)).unchecked);
    acs(0, 0x1d, 0x1d);
    assert_true(pci_group(pci_rid(4, 0, 0)).unchecked); /* that of the other ports of the switch */
    acs(2, 0x1c, 0x1c);
    assert_true(pci_group(pci_rid(4, 0, 0)).unchecked);
    acs(2, 0x1d, 0x1d);
    assert_false(pci_group(pci_rid(4, 0, 0)).unchecked);
    assert_false(pci_group(pci_rid(0, 5, 0)).unchecked);
}

/* A device that calls its requests translated does not get to its peers by that. */
static void nothing_goes_to_peers_directly(void **state)
{
    (void)state;
    port(0, pci_rid(0, 2, 0), 4, 2, 2);
    endpoint(1, pci_rid(2, 0, 0));
    acs(0, 0x5d, 0x5d);
    platform_put(function[0].config, 0x106, 2, 0x40); /* as firmware left it */
    assert_int_equal(pci_group(pci_rid(2, 0, 0)).id, pci_rid(2, 0, 0));
    assert_int_equal(pci_config_read(pci_rid(0, 2, 0), 0x106, 2), 0x1d);
    acs(0, 0x5d, 0x1d); /* that cannot be turned off */
    platform_put(function[0].config, 0x106, 2, 0x40);
    assert_int_equal(pci_group(pci_rid(2, 0, 0)).id, pci_rid(0, 2, 0));
}

static void conventional_buses_hide_who_asks(void **state)
{
    (void)state;
    port(0, pci_rid(0, 2, 0), 4, 2, 9);
    acs(0, 0x1d, 0x1d);
    port(1, pci_rid(2, 0, 0), 7, 3, 3); /* PCIe to PCI */
    endpoint(2, pci_rid(3, 1, 0));
    port(3, pci_rid(0, 30, 0), 0, 12, 12); /* PCI to PCI, without a PCIe capability */
    endpoint(4, pci_rid(12, 1, 0));
    struct pci_group a = pci_group(pci_rid(3, 1, 0)), b = pci_group(pci_rid(12, 1, 0));
    assert_true(a.aliased && b.aliased);
    assert_int_equal(a.id, pci_rid(2, 0, 0));
    assert_int_equal(b.id, pci_rid(0, 30, 0));
    assert_int_equal(a.alias, pci_rid(3, 0, 0));
    assert_int_equal(b.alias, pci_rid(0, 30, 0));
    /* One behind the other: the upper one lends its id. */
    port(5, pci_rid(3, 2, 0), 0, 5, 5);
    endpoint(6, pci_rid(5, 1, 0));
    function[1].config[PCI_SUBORDINATE_BUS] = 5;
    a = pci_group(pci_rid(5, 1, 0));
    assert_int_equal(a.id, pci_rid(2, 0, 0));
    assert_int_equal(a.alias, pci_rid(3, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(each_function_is_found_once),
        platform_test(buses_that_no_bridge_leads_to_are_roots),
        platform_test(capability_lists_are_bounded),
        platform_test(bars_are_sized_with_decoding_off),
        platform_test(paths_lead_through_bridges),
        platform_test(ports_keep_apart_only_with_acs),
        platform_test(virtual_functions_have_a_physical_one),
        platform_test(functions_of_one_device),
        platform_test(ports_and_functions_of_one_package),
        platform_test(nothing_goes_to_peers_directly),
        platform_test(who_may_carry_any_id),
        platform_test(conventional_buses_hide_who_asks),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
