/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: the DMAR table: what is found in good ones, and that bad ones are refused. */
#include "drivers/iommu/vtd/dmar.h"

#include <stdlib.h>
#include <string.h>

#include "tests/platform/platform.h"

static uint8_t table[4096];
static size_t length;
static struct dmar dmar;

static void seal(void)
{
    uint8_t sum = 0;
    platform_put(table, 4, 4, length);
    table[9] = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + table[i]);
    table[9] = (uint8_t)-sum;
}

static void begin(void)
{
    memset(table, 0, sizeof table);
    platform_put(table, 0, 4, 0x52414d44); /* DMAR */
    length = 48;
}

static size_t unit(uint64_t base, uint8_t flags, uint16_t segment)
{
    size_t at = length;
    platform_put(table, (unsigned)at + 2, 2, 16);
    table[at + 4] = flags;
    platform_put(table, (unsigned)at + 6, 2, segment);
    platform_put(table, (unsigned)at + 8, 8, base);
    length += 16;
    return at;
}

/* To the unit at @at: path of n pairs. */
static void scope(size_t at, uint8_t type, uint8_t bus, unsigned n, const uint8_t *path)
{
    uint8_t size = (uint8_t)(6 + 2 * n);
    table[length] = type;
    table[length + 1] = size;
    table[length + 5] = bus;
    memcpy(table + length + 6, path, 2 * n);
    length += size;
    table[at + 2] = (uint8_t)(table[at + 2] + size);
}

static enum hv_status parse(void)
{
    seal();
    return vtd_dmar_parse(table, length, &dmar);
}

static struct platform_pci bridge, inner;

static void bridges(void)
{
    platform_pci_endpoint(&bridge, 0x0010, 1, 1, 0, 0); /* 00:02.0, buses 4-6 */
    bridge.config[0x0e] = 1;
    bridge.config[0x19] = 4;
    bridge.config[0x1a] = 6;
    platform_pci_endpoint(&inner, 0x0408, 1, 1, 0, 0); /* 04:01.0, bus 5 */
    inner.config[0x0e] = 0x81;
    inner.config[0x19] = 5;
    inner.config[0x1a] = 5;
    platform_add_pci(&bridge);
    platform_add_pci(&inner);
}

static void scopes_find_their_unit(void **state)
{
    (void)state;
    bridges();
    begin();
    size_t at = unit(0xfed90000, 0, 0);
    scope(at, 1, 0, 1, (const uint8_t[]){ 2, 1 });             /* endpoint 00:02.1 */
    scope(at, 1, 0, 3, (const uint8_t[]){ 2, 0, 1, 0, 3, 2 }); /* through both bridges: 05:03.2 */
    scope(at, 3, 0xf0, 1, (const uint8_t[]){ 0, 0 });          /* an IOAPIC is no device */
    at = unit(0xfed91000, 0, 0);
    scope(at, 2, 0, 1, (const uint8_t[]){ 2, 0 }); /* bridge 00:02.0 and what is behind */
    at = unit(0xfed92000, 0, 1);                   /* another segment has no devices here */
    scope(at, 1, 0, 1, (const uint8_t[]){ 9, 0 });
    unit(0xfed93000, 1, 0);
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(dmar.nunits, 4);
    static const struct {
        rid_t rid;
        int unit;
    } want[] = { { 0x0011, 0 }, { 0x051a, 0 }, { 0x0010, 1 }, { 0x0400, 1 }, { 0x0500, 1 },
                 { 0x06ff, 1 }, { 0x0700, 3 }, { 0x0048, 3 }, { 0xf000, 3 }, { 0, 3 } };
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
        assert_int_equal(vtd_dmar_unit_of(&dmar, want[i].rid), want[i].unit);
}

static void without_a_unit_for_all_the_rest_has_none(void **state)
{
    (void)state;
    begin();
    size_t at = unit(0xfed90000, 0, 0);
    scope(at, 1, 3, 1, (const uint8_t[]){ 1, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(vtd_dmar_unit_of(&dmar, 0x0308), 0);
    assert_int_equal(vtd_dmar_unit_of(&dmar, 0x0309), -1);
}

static void other_structures_are_skipped(void **state)
{
    (void)state;
    begin();
    static const uint16_t types[] = { 1, 4, 7, 999 };
    unit(0xfed90000, 1, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        platform_put(table, (unsigned)length, 2, types[i]);
        platform_put(table, (unsigned)length + 2, 2, 24);
        length += 24;
    }
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(dmar.nunits, 1);
    assert_true(platform_logged("RMRR"));
}

/* Firmware's memory is kept out of its own functions' address spaces, and interrupts out of all. */
static void reserved_memory_belongs_to_its_functions(void **state)
{
    struct iommu_device dev = { .rid = 0x0308 };

    (void)state;
    begin();
    unit(0xfed90000, 1, 0);
    size_t at = length;
    platform_put(table, (unsigned)at, 2, 1);
    platform_put(table, (unsigned)at + 2, 2, 24);
    platform_put(table, (unsigned)at + 8, 8, 0x7f000000);
    platform_put(table, (unsigned)at + 16, 8, 0x7f2fffff);
    length += 24;
    scope(at, 1, 3, 1, (const uint8_t[]){ 1, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(vtd_dmar_reserve(&dmar, &dev), HV_OK);
    assert_int_equal(dev.nreserved, 2);
    assert_true(dev.reserved[0].first == 0xfee00000 && dev.reserved[0].last == 0xfeefffff);
    assert_true(dev.reserved[1].first == 0x7f000000 && dev.reserved[1].last == 0x7f2fffff);
    dev.rid = 0x0309;
    assert_int_equal(vtd_dmar_reserve(&dmar, &dev), HV_OK);
    assert_int_equal(dev.nreserved, 1);

    platform_put(table, (unsigned)at + 16, 8, 0x7effffff); /* ends before it begins */
    assert_int_equal(parse(), HV_EINVAL);
    platform_put(table, (unsigned)at + 16, 8, 0x7f2fffff);
    table[at + 25] = 6; /* a scope too short for a path */
    assert_int_equal(parse(), HV_EINVAL);
}

/* A structure of @size bytes. */
static size_t structure(uint16_t type, size_t size)
{
    size_t at = length;
    memset(table + at, 0, size);
    platform_put(table, (unsigned)at, 2, type);
    platform_put(table, (unsigned)at + 2, 2, size);
    length += size;
    return at;
}

/* ATS is a matter of trust: only where firmware says that it was validated. */
static void ats_only_where_firmware_allows_it(void **state)
{
    const char *why = NULL;
    (void)state;
    bridges(); /* port 00:02.0 with buses 4 to 6 */
    begin();
    unit(0xfed90000, 1, 0);
    assert_int_equal(parse(), HV_OK);
    assert_true(vtd_dmar_ats(&dmar, 0x0018, &why)); /* integrated, and no list of those */
    assert_false(vtd_dmar_ats(&dmar, 0x0500, &why));
    assert_non_null(strstr(why, "ATSR"));

    size_t at = structure(2, 8);
    table[at + 6] = 1; /* of another segment */
    scope(at, 2, 0, 1, (const uint8_t[]){ 2, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_false(vtd_dmar_ats(&dmar, 0x0500, &why));
    table[at + 6] = 0;
    assert_int_equal(parse(), HV_OK);
    assert_true(vtd_dmar_ats(&dmar, 0x0500, &why)); /* two bridges below that port */
    assert_true(vtd_dmar_ats(&dmar, 0x0408, &why));
    table[at + 8 + 6] = 3; /* 00:03.0 is another */
    assert_int_equal(parse(), HV_OK);
    assert_false(vtd_dmar_ats(&dmar, 0x0500, &why));
    table[at + 4] = 1; /* all ports */
    assert_int_equal(parse(), HV_OK);
    assert_true(vtd_dmar_ats(&dmar, 0x0500, &why));

    at = structure(5, 8);
    scope(at, 1, 0, 1, (const uint8_t[]){ 3, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_true(vtd_dmar_ats(&dmar, 0x0018, &why));
    assert_false(vtd_dmar_ats(&dmar, 0x0020, &why)); /* not on the list */
    assert_non_null(strstr(why, "SATC"));
    table[at + 9] = 7; /* its scope's length */
    assert_int_equal(parse(), HV_EINVAL);
}

/* SIDP: what a function must not be given, and whose device TLB is sound. It stands for SATC, too.
 */
static void properties_of_functions(void **state)
{
    const char *why = NULL;
    (void)state;
    bridges();
    begin();
    unit(0xfed90000, 1, 0);
    scope(structure(5, 8), 1, 0, 1, (const uint8_t[]){ 4, 0 }); /* SATC: 00:04.0 */
    size_t at = structure(6, 8);
    scope(at, 1, 0, 1, (const uint8_t[]){ 3, 0 });
    table[at + 8 + 2] = 0x1f;
    scope(at, 2, 0, 1, (const uint8_t[]){ 2, 0 }); /* a bridge has no flags */
    table[at + 16 + 2] = 0xff;
    scope(at, 1, 0, 3, (const uint8_t[]){ 2, 0, 1, 0, 3, 2 }); /* 05:03.2 */
    table[at + 24 + 2] = 0x08;
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(vtd_dmar_properties(&dmar, 0x0018) & 15, 15);
    assert_int_equal(vtd_dmar_properties(&dmar, 0x0010), 0);
    assert_int_equal(vtd_dmar_properties(&dmar, 0x0408), 0);
    assert_int_equal(vtd_dmar_properties(&dmar, 0x051a), DMAR_ATC_HARDENED);
    assert_true(vtd_dmar_ats(&dmar, 0x0018, &why));
    assert_true(vtd_dmar_ats(&dmar, 0x051a, &why));  /* its port is in no ATSR */
    assert_false(vtd_dmar_ats(&dmar, 0x0020, &why)); /* SATC counts no more */
    assert_non_null(strstr(why, "SIDP"));
    table[at + 6] = 1; /* of another segment: nothing of it */
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(vtd_dmar_properties(&dmar, 0x0018), 0);
    assert_true(vtd_dmar_ats(&dmar, 0x0020, &why));
    table[at + 9] = 7; /* its scope's length */
    assert_int_equal(parse(), HV_EINVAL);
}

static void nodes_and_names(void **state)
{
    (void)state;
    begin();
    unit(0xfed90000, 0, 0);
    unit(0xfed91000, 1, 0);
    size_t at = structure(3, 20);
    platform_put(table, (unsigned)at + 8, 8, 0xfed91000);
    platform_put(table, (unsigned)at + 16, 4, 7);
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(dmar.unit[1].node, 7);
    assert_int_equal(dmar.unit[0].node, DMAR_NODE_NONE);
    platform_put(table, (unsigned)at + 8, 8, 0xfed92000);
    assert_int_equal(parse(), HV_OK);
    assert_true(platform_logged("memory node for no unit"));
    at = structure(4, 12);
    memcpy(table + at + 8, "\\_SB", 4);
    assert_int_equal(parse(), HV_EINVAL);
    assert_true(platform_logged("name without end"));
    table[at + 11] = 0;
    assert_int_equal(parse(), HV_OK);
    static const uint8_t least[] = { 16, 24, 8, 20, 9, 8, 8 };
    for (unsigned type = 0; type < ARRAY_SIZE(least); type++) {
        begin();
        unit(0xfed90000, 1, 0);
        structure((uint16_t)type, least[type] - 1u);
        platform_clear_log();
        assert_int_equal(parse(), HV_EINVAL);
        assert_true(platform_logged("short "));
    }
}

/* An RMRR for a bridge is for what is behind it. */
static void reserved_memory_behind_a_bridge(void **state)
{
    struct iommu_device dev = { .rid = 0x0530 };
    (void)state;
    bridges();
    begin();
    unit(0xfed90000, 1, 0);
    size_t at = structure(1, 24);
    platform_put(table, (unsigned)at + 8, 8, 0x7f000000);
    platform_put(table, (unsigned)at + 16, 8, 0x7f2fffff);
    scope(at, 2, 0, 1, (const uint8_t[]){ 2, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_int_equal(vtd_dmar_reserve(&dmar, &dev), HV_OK);
    assert_int_equal(dev.nreserved, 2);
    assert_true(dev.reserved[1].firmware && !dev.reserved[0].firmware);
    dev.rid = 0x0700;
    assert_int_equal(vtd_dmar_reserve(&dmar, &dev), HV_OK);
    assert_int_equal(dev.nreserved, 1);
}

static void refused(enum hv_status got, enum hv_status wanted, const char *words)
{
    assert_int_equal(got, wanted);
    if (!platform_logged(words))
        print_error("not named: %s\n", words);
    assert_true(platform_logged(words));
    platform_clear_log();
}

static void bad_tables_are_refused(void **state)
{
    (void)state;
    assert_int_equal(vtd_dmar_parse(NULL, 0, &dmar), HV_ENODEV);
    begin();
    assert_int_equal(parse(), HV_ENODEV); /* no unit */
    platform_clear_log();

    begin();
    unit(0, 1, 0);
    refused(parse(), HV_EINVAL, "register base at offset 48"); /* none */
    begin();
    unit(0xfed90800, 1, 0);
    refused(parse(), HV_EINVAL, "register base at offset 48"); /* not aligned */
    begin();
    table[unit(0xfed91000, 1, 0) + 5] = 1; /* two pages, aligned to one */
    refused(parse(), HV_EINVAL, "register base at offset 48");
    begin();
    unit(0xfed90000, 0, 0);
    unit(0xfed90000, 1, 0);
    refused(parse(), HV_EINVAL, "overlapping units at offset 64"); /* twice the same */
    begin();
    table[unit(0xfed90000, 0, 0) + 5] = 2;
    unit(0xfed93000, 1, 0); /* within the other's four pages */
    refused(parse(), HV_EINVAL, "overlapping units at offset 64");
    begin();
    unit(0xfed90000, 1, 0);
    unit(0xfed91000, 1, 0);
    refused(parse(), HV_EINVAL, "second unit for all devices at offset 64");
    begin();
    for (unsigned i = 0; i < IOMMU_UNITS_MAX + 1; i++)
        unit(0xfed00000 + i * 0x1000, 0, 0);
    refused(parse(), HV_ENOTSUP, "more than 16 units"); /* one would be left alone */

    begin();
    size_t at = unit(0xfed90000, 1, 0);
    table[at + 2] = 0; /* no end */
    refused(parse(), HV_EINVAL, "structure length at offset 48");
    table[at + 2] = 15;
    refused(parse(), HV_EINVAL, "short DRHD at offset 48");
    table[at + 2] = 17; /* past the end */
    refused(parse(), HV_EINVAL, "structure length at offset 48");
    table[at + 2] = 16;
    assert_int_equal(parse(), HV_OK);
    table[20]++;
    refused(vtd_dmar_parse(table, length, &dmar), HV_EINVAL, "checksum");
    table[20]--;
    platform_put(table, 4, 4, length + 1); /* longer than it is */
    refused(vtd_dmar_parse(table, length, &dmar), HV_EINVAL, "table length");
    table[0] = 'X';
    refused(parse(), HV_EINVAL, "no header");

    static const uint8_t sizes[] = { 0, 1, 6, 7, 9, 10, 200 };
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        begin();
        at = unit(0xfed90000, 0, 0);
        scope(at, 1, 0, 1, (const uint8_t[]){ 1, 0 });
        table[at + 17] = sizes[i];
        refused(parse(), HV_EINVAL, "device scope length at offset 64");
    }
}

/* Paths that lead nowhere are told and left out; they claim nothing. */
static void paths_that_lead_nowhere(void **state)
{
    (void)state;
    bridges();
    begin();
    size_t at = unit(0xfed90000, 0, 0);
    scope(at, 1, 0, 2, (const uint8_t[]){ 7, 0, 1, 0 }); /* 00:07.0 is absent */
    scope(at, 1, 0, 1, (const uint8_t[]){ 32, 0 });      /* no such device number */
    scope(at, 1, 0, 1, (const uint8_t[]){ 0, 8 });
    inner.config[0x19] = 9; /* subordinate below secondary */
    scope(at, 2, 4, 1, (const uint8_t[]){ 1, 0 });
    assert_int_equal(parse(), HV_OK);
    assert_true(platform_logged("device scope at offset 64 leads nowhere"));
    assert_int_equal(dmar.scopes.n, 1);
    assert_int_equal(vtd_dmar_unit_of(&dmar, 0x0408), 0);
}

/* Every truncation and 100,000 mutations: no access out of bounds (sanitizers), no endless loop. */
static void mutations(void **state)
{
    (void)state;
    bridges();
    begin();
    size_t at = unit(0xfed90000, 0, 0);
    scope(at, 1, 0, 3, (const uint8_t[]){ 2, 0, 1, 0, 3, 2 });
    scope(at, 2, 0, 1, (const uint8_t[]){ 2, 0 });
    unit(0xfed93000, 1, 0);
    at = structure(1, 24);
    platform_put(table, (unsigned)at + 16, 8, 0xfff);
    scope(at, 1, 0, 1, (const uint8_t[]){ 2, 1 });
    scope(structure(2, 8), 2, 0, 1, (const uint8_t[]){ 2, 0 });
    structure(3, 20);
    structure(4, 12);
    scope(structure(5, 8), 1, 0, 1, (const uint8_t[]){ 3, 0 });
    seal();
    size_t whole = length;
    for (size_t cut = 0; cut < whole; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); /* the sanitizer watches its end */
        memcpy(exact, table, cut);
        assert_int_not_equal(vtd_dmar_parse(exact, cut, &dmar), HV_OK);
        free(exact);
    }
    srand(7);
    unsigned good = 0;
    uint8_t *block = calloc(1, sizeof table);
    uint8_t *exact = block + sizeof table - whole; /* its end is watched */
    for (unsigned i = 0; i < 100000; i++) {
        memcpy(exact, table, whole);
        for (int n = rand() % 4 + 1; n--;)
            exact[36 + (size_t)rand() % (whole - 36)] = (uint8_t)rand();
        uint8_t sum = 0;
        for (size_t k = 0; k < whole; k++)
            sum = (uint8_t)(sum + exact[k]);
        exact[9] = (uint8_t)(exact[9] - sum);
        good += vtd_dmar_parse(exact, whole, &dmar) == HV_OK;
        assert_in_range(dmar.nunits, 0, IOMMU_UNITS_MAX);
        platform_clear_log();
    }
    free(block);
    assert_in_range(good, 1000, 99000); /* both ways were walked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(scopes_find_their_unit),
        platform_test(without_a_unit_for_all_the_rest_has_none),
        platform_test(other_structures_are_skipped),
        platform_test(reserved_memory_belongs_to_its_functions),
        platform_test(ats_only_where_firmware_allows_it),
        platform_test(properties_of_functions),
        platform_test(nodes_and_names),
        platform_test(reserved_memory_behind_a_bridge),
        platform_test(bad_tables_are_refused),
        platform_test(paths_that_lead_nowhere),
        platform_test(mutations),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
