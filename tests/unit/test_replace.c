/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Replacing domains under DMA: every domain after every other, by the call, on a RID and on a
 * PASID, on each kind of unit. The device reads, with and without its TLB, and writes after each
 * single store of the driver that hardware could see: it finds what was, what is, or nothing, and
 * "nothing" only where the call then tells so. Once with a unit that keeps all that it may, once
 * with one that keeps nothing and fetches entries anew each time.
 */
#include <string.h>

#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define BIT(n)  (1ull << (n))
#define VA      0x7000ull
#define NOTHING 0ull

enum station { BLOCKED, IDENTITY, PAGING, PAGING_2, NESTED, NESTED_2, STATIONS };
static const char *const names[STATIONS] = { "BLOCKED",  "IDENTITY", "PAGING",
                                             "PAGING 2", "NESTED",   "NESTED 2" };
/* Which page the device finds at VA, and so which value in it. */
static const uint64_t page_of[STATIONS] = { NOTHING, VA, 0x20000, 0x30000, 0x40000, 0x50000 };

enum { S = HC_ATTACH_SAME, H = HC_ATTACH_HITLESS, B = HC_ATTACH_BLOCKED_WINDOW };

/* What the call has to answer, from row to column. */
typedef uint8_t how_table[STATIONS][STATIONS];
static const how_table nests = {
    { S, H, H, H, H, H }, /* BLOCKED: one store makes an entry present, and one ends it */
    { H, S, H, H, B, B }, /* IDENTITY: another second stage is one piece with its domain id; */
    { H, H, S, H, B, B }, /* PAGING: a first stage is in a second piece */
    { H, H, H, S, B, B }, { H, B, B, B, S, H }, /* NESTED: another root is one piece */
    { H, B, B, B, H, S },
};
static const how_table one_stage = { /* a shadow is a second stage like any other */
                                     { S, H, H, H, H, H }, { H, S, H, H, H, H },
                                     { H, H, S, H, H, H }, { H, H, H, S, H, H },
                                     { H, H, H, H, S, H }, { H, H, H, H, H, S }
};
static const how_table first_stage_format = { /* the domain id and the root are in two pieces */
                                              { S, H, H, H, H, H }, { H, S, B, B, B, B },
                                              { H, B, S, B, B, B }, { H, B, B, S, B, B },
                                              { H, B, B, B, S, B }, { H, B, B, B, B, S }
};

static const struct kind {
    const char *name;
    uint64_t without; /* of ECAP */
    const how_table *how;
    bool pasids, shadows;
} kinds[] = {
    { "nested", 0, &nests, true, false },
    { "second stage only", BIT(26) | BIT(47), &one_stage, true, true },
    { "first stage only", BIT(26) | BIT(46), &first_stage_format, true, true },
    { "legacy", BIT(26) | BIT(29) | BIT(40) | BIT(42) | BIT(43) | BIT(46) | BIT(47) | BIT(48),
      &one_stage, false, false },
};

static struct vm *vm;
static uint64_t root_of[STATIONS];

static uint64_t new_ioas(uint64_t gpa)
{
    struct hc_ioas_create in = { 0 };
    uint64_t ioas;

    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &in, sizeof(in), &ioas), HV_OK);
    struct hc_ioas_map map = {
        .flags = HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_FIXED,
        .ioas = (uint32_t)ioas,
        .iova = VA,
        .gpa = gpa,
        .bytes = PAGE_SIZE,
    };
    assert_int_equal(call_with(vm, HC_IOAS_MAP, map), HV_OK);
    return ioas;
}

static uint64_t new_root(uint64_t gpa)
{
    gpaddr_t root = bed_root();

    bed_map(root, VA, gpa);
    return root.v;
}

static void start(const struct kind *kind, bool hard)
{
    struct vtd_model_config config = bed_config();
    uint8_t table[4096];

    assert_int_equal(bed_fresh(NULL), 0);
    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    config.ecap &= ~kind->without;
    config.cache_hard = hard;
    bed_make(&config, 1);
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, 0 }), HV_OK);
    root_of[PAGING] = new_ioas(page_of[PAGING]);
    root_of[PAGING_2] = new_ioas(page_of[PAGING_2]);
    root_of[NESTED] = new_root(page_of[NESTED]);
    root_of[NESTED_2] = new_root(page_of[NESTED_2]);
}

static void stop(void)
{
    abi_free_vm(vm);
    assert_int_equal(bed_check(NULL), 0);
}

static enum hv_status attach_to(uint32_t pasid, enum station to, uint64_t *how)
{
    static const enum hc_domain domains[STATIONS] = { HC_DOMAIN_BLOCKED, HC_DOMAIN_IDENTITY,
                                                      HC_DOMAIN_PAGING,  HC_DOMAIN_PAGING,
                                                      HC_DOMAIN_NESTED,  HC_DOMAIN_NESTED };
    struct hc_attach in = {
        .pasid = pasid,
        .domain = domains[to],
        .levels = domains[to] == HC_DOMAIN_NESTED ? 4 : 0,
        .root = root_of[to],
    };

    return call_struct(vm, HC_ATTACH, &in, sizeof(in), how);
}

/* --- The device ------------------------------------------------------------------------------- */

static struct {
    int32_t pasid;
    uint64_t was, is;
    unsigned looks, refused;
    bool looking;
} device;

static uint64_t value_at(enum station s)
{
    return page_of[s] == NOTHING ? NOTHING : page_of[s] + 1;
}

static void found(bool through, uint64_t value, const char *by)
{
    device.looks++;
    device.refused += !through;
    if (through && value != device.was && value != device.is)
        fail_msg("%s reads %#llx between %#llx and %#llx", by, (unsigned long long)value,
                 (unsigned long long)device.was, (unsigned long long)device.is);
}

/* Where did a write go? Pages that are neither must keep what they have. */
static void write_one(uint64_t mark)
{
    uint64_t before[STATIONS];
    unsigned changed = 0;

    for (unsigned s = 1; s < STATIONS; s++)
        before[s] = *(uint64_t *)ram(vm, page_of[s] + 8);
    bool through = bed_write(BED_A, device.pasid, VA + 8, mark) == 0;
    for (unsigned s = 1; s < STATIONS; s++) {
        uint64_t after = *(uint64_t *)ram(vm, page_of[s] + 8);
        if (after == before[s])
            continue;
        changed++;
        assert_int_equal(after, mark);
        assert_true(value_at(s) == device.was || value_at(s) == device.is);
    }
    assert_int_equal(changed, through);
    device.looks++;
    device.refused += !through;
}

static void dma(void)
{
    static uint64_t mark = 1;
    uint64_t value = 0;

    if (device.looking) /* the unit sets accessed bits: stores that are no change of ours */
        return;
    device.looking = true;
    bool through = bed_read(BED_A, device.pasid, VA, &value) == 0;
    found(through, value, "DMA");
    through = bed_ats_read(BED_A, device.pasid, VA, &value);
    found(through, value, "DMA through the device TLB");
    write_one(++mark << 32);
    device.looking = false;
}

/* A shadow holds what was asked for or told of. */
static void fill_shadow(const struct kind *kind, uint32_t pasid, enum station s)
{
    struct hc_invalidate in = {
        .kind = HC_INVALIDATE_MAPPED,
        .pasid = pasid,
        .address = VA,
        .bytes = PAGE_SIZE,
    };

    if (kind->shadows && s >= NESTED)
        assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
}

static void pass(const struct kind *kind, uint32_t pasid, enum station from, enum station to)
{
    uint64_t how = ~0ull;
    uint8_t wanted = (*kind->how)[from][to];

    assert_int_equal(attach_to(pasid, from, NULL), HV_OK);
    fill_shadow(kind, pasid, from);
    device.pasid = pasid == HC_PASID_NONE ? BED_NO_PASID : (int32_t)pasid;
    device.was = device.is = value_at(from);
    device.looks = device.refused = 0;
    dma();
    assert_int_equal(device.refused, from == BLOCKED ? 3 : 0);
    device.is = value_at(to);
    device.looks = device.refused = 0;
    bed.on_store = dma;
    assert_int_equal(attach_to(pasid, to, &how), HV_OK);
    bed.on_store = NULL;
    if (how != wanted)
        fail_msg("%s, %s: %s to %s is told as %u", kind->name, pasid + 1 ? "PASID" : "RID",
                 names[from], names[to], (unsigned)how);
    /* A new shadow is empty. */
    bool full = from != BLOCKED && to != BLOCKED && !(kind->shadows && to >= NESTED);
    if (how == HC_ATTACH_SAME)
        assert_int_equal(device.looks, 0);
    else
        assert_true(device.looks > 0);
    if (how != HC_ATTACH_BLOCKED_WINDOW && full)
        assert_int_equal(device.refused, 0);
    if (how == HC_ATTACH_BLOCKED_WINDOW)
        assert_true(device.refused > 0);
    /* What was is over. */
    fill_shadow(kind, pasid, to);
    device.was = device.is;
    device.refused = 0;
    dma();
    assert_int_equal(device.refused, to == BLOCKED ? 3 : 0);
    bed_interrupts();
}

static void every_replacement_is_told_as_it_is(void **state)
{
    static const uint32_t pasids[] = { HC_PASID_NONE, 1, 0xfffff };

    (void)state;
    for (unsigned k = 0; k < 2 * ARRAY_SIZE(kinds); k++) {
        const struct kind *kind = &kinds[k / 2];
        start(kind, k & 1);
        for (unsigned p = 0; p < (kind->pasids ? ARRAY_SIZE(pasids) : 1); p++) {
            unsigned end = kind->pasids ? STATIONS : NESTED;
            for (unsigned from = 0; from < end; from++) {
                for (unsigned to = 0; to < end; to++)
                    pass(kind, pasids[p], from, to);
            }
            assert_int_equal(attach_to(pasids[p], BLOCKED, NULL), HV_OK);
        }
        stop();
    }
}

/* Nothing is told of a replacement that was refused, and nothing seen of it. */
static void a_refused_one_shows_nothing(void **state)
{
    uint64_t how = ~0ull;

    (void)state;
    start(&kinds[0], false);
    assert_int_equal(attach_to(5, NESTED, NULL), HV_OK);
    device.pasid = 5;
    device.was = device.is = value_at(NESTED);
    device.looks = device.refused = 0;
    bed.on_store = dma;
    root_of[PAGING] = 4711;
    assert_int_equal(attach_to(5, PAGING, &how), HV_ENOENT);
    assert_int_equal(how, 0);
    vm->quota.limit = vm->quota.used;
    assert_int_equal(attach_to(64, IDENTITY, &how), HV_EQUOTA); /* wants a table of its own */
    bed.on_store = NULL;
    vm->quota.limit = 100000;
    assert_int_equal(how, 0);
    assert_int_equal(device.refused, 0);
    dma();
    assert_int_equal(device.refused, 0);
    stop();
}

/* A first stage at address 0 differs from none in the first piece alone, but there hardware could
 * mix what it has of both under their one domain id. */
static void a_root_at_0_is_no_exception(void **state)
{
    uint64_t how;

    (void)state;
    start(&kinds[0], true);
    *(uint64_t *)ram(vm, 0) = *(uint64_t *)ram(vm, root_of[NESTED]);
    root_of[NESTED] = 0;
    assert_int_equal(attach_to(5, IDENTITY, NULL), HV_OK);
    for (unsigned i = 0; i < 4; i++) {
        enum station to = i & 1 ? IDENTITY : NESTED;
        assert_int_equal(attach_to(5, to, &how), HV_OK);
        assert_int_equal(how, HC_ATTACH_BLOCKED_WINDOW);
        device.pasid = 5;
        device.was = device.is = value_at(to);
        device.refused = 0;
        dma();
        assert_int_equal(device.refused, 0);
    }
    stop();
}

/* The device does not answer the invalidation: BLOCKED for good, and nothing is told but that. */
static void an_error_tells_nothing_else(void **state)
{
    uint64_t how = ~0ull;

    (void)state;
    start(&kinds[0], true);
    assert_int_equal(attach_to(5, IDENTITY, NULL), HV_OK);
    bed.silent[BED_A] = true;
    assert_int_equal(attach_to(5, PAGING, &how), HV_EIO);
    assert_int_equal(how, 0);
    bed.silent[BED_A] = false;
    device.pasid = 5;
    device.refused = 0;
    device.was = device.is = NOTHING;
    dma();
    assert_int_equal(device.refused, 3);
    assert_int_equal(attach_to(5, BLOCKED, &how), HV_OK);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_replacement_is_told_as_it_is),
        cmocka_unit_test(a_refused_one_shows_nothing),
        cmocka_unit_test(a_root_at_0_is_no_exception),
        cmocka_unit_test(an_error_tells_nothing_else),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
