/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/ioas_rig.c tests/unit/ioas_ref.c tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * IOASes, rule by rule, where random calls (test_ioas_random.c) do not reach: what one call may do
 * at most, how tables are shared and kept, large leaves, memory that runs out in the middle, units
 * that fail, and what goes with the VM.
 */
#include <string.h>

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/ioas.h"
#include "tests/unit/ioas_rig.h"

#define RW    (HC_IOAS_READ | HC_IOAS_WRITE)
#define FIXED HC_IOAS_FIXED
#define NONE  HC_PASID_NONE

static struct ref facts;
static uint64_t value;

static uint32_t create(void)
{
    assert_int_equal(rig_struct(HC_IOAS_CREATE, &(struct hc_ioas_create){ 0 },
                                sizeof(struct hc_ioas_create), false, &value),
                     HV_OK);
    return (uint32_t)value;
}

static enum hv_status map(uint32_t ioas, uint32_t flags, uint64_t iova, uint64_t gpa,
                          uint64_t bytes)
{
    struct hc_ioas_map in = {
        .flags = flags, .ioas = ioas, .iova = iova, .gpa = gpa, .bytes = bytes
    };
    value = 0;
    return rig_struct(HC_IOAS_MAP, &in, sizeof(in), false, &value);
}

static enum hv_status unmap(uint32_t ioas, uint32_t flags, uint64_t iova, uint64_t bytes)
{
    struct hc_ioas_unmap in = { .flags = flags, .ioas = ioas, .iova = iova, .bytes = bytes };

    value = 0;
    return rig_struct(HC_IOAS_UNMAP, &in, sizeof(in), false, &value);
}

static enum hv_status copy(uint32_t to, uint32_t from, uint32_t flags, uint64_t to_iova,
                           uint64_t from_iova, uint64_t bytes)
{
    struct hc_ioas_copy in = { .flags = flags,
                               .to = to,
                               .from = from,
                               .to_iova = to_iova,
                               .from_iova = from_iova,
                               .bytes = bytes };
    value = 0;
    return rig_struct(HC_IOAS_COPY, &in, sizeof(in), false, &value);
}

static enum hv_status attach(uint32_t device, uint32_t pasid, enum hc_domain domain, uint64_t root)
{
    struct hc_attach in = { .device = device, .pasid = pasid, .domain = domain, .root = root };

    return rig_struct(HC_ATTACH, &in, sizeof(in), false, NULL);
}

static bool reaches(uint32_t device, uint32_t pasid, uint64_t iova, uint64_t gpa)
{
    uint64_t hpa;

    return rig_translate(device, pasid, iova, false, false, &hpa) &&
           hpa == virt_to_phys(vm_ram(rig.vm, GPADDR(gpa), 1)).v;
}

static struct ioas *object(uint32_t ioas)
{
    return ioas_find(rig.vm, ioas);
}

static unsigned count_tables(uint32_t ioas)
{
    unsigned n = 0;

    for (const struct ioas_table *t = object(ioas)->tables; t; t = t->next)
        n++;
    return n;
}

static int start_4(void **state)
{
    (void)state;
    rig_start(4, &facts);
    return 0;
}

static int finish(void **state)
{
    bool good = !rig.complaints && rig_end() == 0;

    (void)state;
    return good && !rig.complaints ? 0 : -1;
}

/* --- Bounded calls ---------------------------------------------------------------------------- */

static void unmap_stops_after_256_mappings_and_goes_on(void **state)
{
    uint32_t ioas = create();
    uint64_t sum = 0;
    unsigned calls = 0;
    enum hv_status status;

    (void)state;
    assert_int_equal(attach(0, 7, HC_DOMAIN_PAGING, ioas), HV_OK);
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(map(ioas, RW | FIXED, i * 0x3000ull, 0x800000, PAGE_SIZE), HV_OK);
    do {
        status = unmap(ioas, HC_IOAS_ALL, 0, 0);
        assert_true(value <= 256 * PAGE_SIZE);
        sum += value;
        calls++;
        /* What the calls so far have done is gone; the rest is there. */
        uint64_t next = sum / PAGE_SIZE * 0x3000;
        assert_false(reaches(0, 7, next - 0x3000, 0x800000));
        assert_int_equal(reaches(0, 7, next, 0x800000), next < 600 * 0x3000ull);
    } while (status == HV_EAGAIN);
    assert_int_equal(status, HV_OK);
    assert_int_equal(calls, 3);
    assert_int_equal(sum, 600 * PAGE_SIZE);
    assert_int_equal(unmap(ioas, HC_IOAS_ALL, 0, 0), HV_ENOENT);
}

static void destroy_stops_after_256_mappings_and_goes_on(void **state)
{
    uint32_t ioas = create();
    uint64_t before = rig.vm->quota.used;
    unsigned calls = 1;

    (void)state;
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(map(ioas, RW | FIXED, i * 0x3000ull, 0x800000, PAGE_SIZE), HV_OK);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(map(ioas, HC_IOAS_RESERVE | FIXED, 0x1000 + i * 0x3000ull, 0, PAGE_SIZE),
                         HV_OK);
    assert_true(rig.vm->quota.used > before);
    while (rig_call(HC_IOAS_DESTROY, ioas, NULL) == HV_EAGAIN)
        calls++;
    assert_int_equal(calls, 4);
    assert_int_equal(rig_call(HC_IOAS_DESTROY, ioas, NULL), HV_ENOENT);
}

static void a_map_over_more_than_256_reservations_goes_on(void **state)
{
    uint32_t ioas = create();
    uint64_t done = 0, bytes = 400 * PAGE_SIZE;
    unsigned calls = 0;
    enum hv_status status;

    (void)state;
    assert_int_equal(attach(0, NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(map(ioas, HC_IOAS_RESERVE | FIXED, i * PAGE_SIZE, 0, PAGE_SIZE), HV_OK);
    do {
        status = map(ioas, RW | FIXED, done, 0x800000 + done, bytes - done);
        done += value;
        calls++;
    } while (status == HV_EAGAIN);
    assert_int_equal(status, HV_OK);
    assert_int_equal(done, bytes);
    assert_int_equal(calls, 2);
    assert_true(reaches(0, NONE, 399 * PAGE_SIZE, 0x800000 + 399 * PAGE_SIZE));
}

/* More than HC_IOAS_STEP mapped: the same RAM many times is enough to get there. It ends in the
 * middle of a mapping. */
static void a_call_reaches_a_gibibyte(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0, 0, 3 * PAGE_SIZE), HV_OK);
    for (unsigned i = 1; i < 80; i++)
        assert_int_equal(map(ioas, RW | FIXED, i * (16ull << 20), 0, 16 << 20), HV_OK);
    assert_int_equal(unmap(ioas, 0, 0, 80ull << 24), HV_EAGAIN);
    assert_true(value == HC_IOAS_STEP);
    assert_int_equal(unmap(ioas, 0, 0, 80ull << 24), HV_OK);
    assert_true(value == (79ull << 24) + 3 * PAGE_SIZE - HC_IOAS_STEP);
    assert_int_equal(map(ioas, HC_IOAS_RESERVE, 0, 0, 1ull << 40), HV_OK); /* costs nothing */
}

static void copy_stops_after_256_mappings(void **state)
{
    uint32_t from = create(), to = create();

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(map(from, RW | FIXED, i * PAGE_SIZE, 0x800000, PAGE_SIZE), HV_OK);
    assert_int_equal(copy(to, from, 0, 0, 0, 300 * PAGE_SIZE), HV_ERANGE); /* whole or not at all */
    assert_int_equal(unmap(to, HC_IOAS_ALL, 0, 0), HV_ENOENT);
    assert_int_equal(copy(to, from, FIXED, 0, 0, 300 * PAGE_SIZE), HV_EAGAIN);
    assert_true(value == 256 * PAGE_SIZE);
    assert_int_equal(copy(to, from, FIXED, value, value, 300 * PAGE_SIZE - value), HV_OK);
    assert_true(value == 44 * PAGE_SIZE);
}

/* A large IOAS is built for a new unit by several attaches; maps and unmaps meanwhile are not lost.
 */
static void attach_builds_a_large_table_in_parts(void **state)
{
    uint32_t ioas = create();
    unsigned calls = 1;
    enum hv_status status;

    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(map(ioas, RW | FIXED, i * 0x2000ull, 0x800000, PAGE_SIZE), HV_OK);
    while ((status = attach(0, NONE, HC_DOMAIN_PAGING, ioas)) == HV_EAGAIN) {
        assert_false(reaches(0, NONE, 0, 0x800000));
        assert_int_equal(unmap(ioas, 0, 0x2000 * calls, PAGE_SIZE), HV_OK);
        assert_int_equal(map(ioas, RW | FIXED, 0x1000 + 0x2000 * calls, 0x900000, PAGE_SIZE),
                         HV_OK);
        assert_int_equal(unmap(ioas, 0, 0x2000 * (2999 - calls), PAGE_SIZE), HV_OK);
        calls++;
    }
    assert_int_equal(status, HV_OK);
    assert_int_equal(calls, 3);
    for (unsigned i = 1; i < calls; i++) {
        assert_false(reaches(0, NONE, 0x2000 * i, 0x800000));
        assert_true(reaches(0, NONE, 0x1000 + 0x2000 * i, 0x900000));
        assert_false(reaches(0, NONE, 0x2000 * (2999 - i), 0x800000));
    }
    assert_true(reaches(0, NONE, 0, 0x800000));
    assert_true(reaches(0, NONE, 0x2000 * 2900, 0x800000));
}

/* --- Tables ----------------------------------------------------------------------------------- */

static void units_that_agree_share_a_table_and_others_do_not(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(attach(0, NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(1, 5, HC_DOMAIN_PAGING, ioas), HV_OK); /* the same unit */
    assert_int_equal(count_tables(ioas), 1);
    assert_ptr_equal(object(ioas)->units->next, NULL);
    assert_int_equal(attach(4, 5, HC_DOMAIN_PAGING, ioas), HV_OK); /* no 1G leaves there */
    assert_int_equal(count_tables(ioas), 2);
    assert_int_equal(attach(6, 5, HC_DOMAIN_PAGING, ioas), HV_OK); /* not snooped */
    assert_int_equal(count_tables(ioas), 3);
    assert_int_equal(map(ioas, RW | FIXED, 0x5000, 0x805000, PAGE_SIZE), HV_OK);
    assert_true(reaches(0, NONE, 0x5000, 0x805000) && reaches(1, 5, 0x5000, 0x805000) &&
                reaches(4, 5, 0x5000, 0x805000) && reaches(6, 5, 0x5000, 0x805000));
}

static void a_table_stays_when_its_last_device_goes(void **state)
{
    uint32_t ioas = create(), other = create();
    uint64_t made;

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0x5000, 0x805000, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    const struct ioas_table *table = object(ioas)->tables;
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, other), HV_OK);
    assert_ptr_equal(object(ioas)->tables, table);
    /* It follows meanwhile, and nothing of before is cached. */
    assert_int_equal(unmap(ioas, 0, 0x5000, PAGE_SIZE), HV_OK);
    assert_int_equal(map(ioas, RW | FIXED, 0x5000, 0x906000, PAGE_SIZE), HV_OK);
    made = rig.vm->quota.used;
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(rig.vm->quota.used, made);
    assert_true(reaches(0, 5, 0x5000, 0x906000));
}

/* Unit 1 has three levels only: when its device goes, the IOAS is as wide as before. */
static void a_shallow_table_goes_with_its_last_device(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(attach(2, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(map(ioas, RW | FIXED, 1ull << 40, 0x805000, PAGE_SIZE), HV_ERANGE);
    assert_int_equal(attach(2, 5, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(count_tables(ioas), 0);
    assert_int_equal(map(ioas, RW | FIXED, 1ull << 40, 0x805000, PAGE_SIZE), HV_OK);
    uint64_t used = rig.vm->quota.used;
    assert_int_equal(attach(2, 5, HC_DOMAIN_PAGING, ioas), HV_EBUSY);
    assert_int_equal(rig.vm->quota.used, used);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_true(reaches(0, 5, 1ull << 40, 0x805000));
}

static void the_end_of_the_required_list_sets_the_depth(void **state)
{
    static const struct {
        uint64_t last;
        unsigned levels;
    } cases[] = { { (1ull << 39) - 1, 3 }, { (1ull << 39) + 0xfff, 4 }, { (1ull << 48) - 1, 4 } };
    struct hc_iova_range *list = vm_ram(rig.vm, GPADDR(0x30000), 32);

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t ioas = create();
        struct hc_ioas_ranges in = { .ioas = ioas, .count = 2, .ranges = 0x30000 };
        list[0] = (struct hc_iova_range){ 0, 0xffffff };
        list[1] = (struct hc_iova_range){ 0x2000000000, cases[i].last };
        assert_int_equal(rig_struct(HC_IOAS_REQUIRE_IOVA, &in, sizeof(in), false, NULL), HV_OK);
        assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
        assert_int_equal(object(ioas)->tables->pt.levels, cases[i].levels);
        assert_int_equal(map(ioas, RW | FIXED, 0x1000000, 0x800000, PAGE_SIZE), HV_ERANGE);
        assert_int_equal(map(ioas, RW, 0x1000000, 0x800000, PAGE_SIZE), HV_OK);
        assert_true(value == 0x2000000000);
        assert_int_equal(attach(0, 5, HC_DOMAIN_BLOCKED, 0), HV_OK);
    }
}

static void without_a_list_the_hint_sets_the_depth(void **state)
{
    (void)state;
    for (unsigned levels = 3; levels <= 5; levels++) {
        struct hc_ioas_create in = { .levels = levels };
        assert_int_equal(rig_struct(HC_IOAS_CREATE, &in, sizeof(in), false, &value), HV_OK);
        uint32_t ioas = (uint32_t)value;
        assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
        assert_int_equal(object(ioas)->tables->pt.levels, levels);
        assert_int_equal(attach(0, 5, HC_DOMAIN_BLOCKED, 0), HV_OK);
    }
}

/* --- Large leaves ----------------------------------------------------------------------------- */

static uint64_t leaf_size(uint32_t ioas, uint64_t iova)
{
    struct pt_leaf leaf;

    return pt_lookup(&object(ioas)->tables->pt, PTADDR(iova), &leaf) ? leaf.size : 0;
}

static void runs_of_guest_memory_become_large_leaves(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(map(ioas, RW, 0x1000, 0x400000, 4 << 20), HV_OK);
    assert_int_equal(leaf_size(ioas, value), 2 << 20);
    assert_int_equal(map(ioas, RW, 0x1000, 0x401000, 4 << 20), HV_OK);
    assert_int_equal(value & 0x1fffff, 0x1000); /* placed so that the middle fits */
    assert_int_equal(leaf_size(ioas, value), PAGE_SIZE);
    assert_int_equal(leaf_size(ioas, value + 0x200000), 2 << 20);
    assert_int_equal(map(ioas, RW | FIXED, 0x40001000, 0x400000, 4 << 20), HV_OK);
    assert_int_equal(leaf_size(ioas, 0x40201000), PAGE_SIZE);
}

/* Mappings made one by one before the attach, but contiguous, are large in a table built later. */
static void a_table_built_later_joins_what_continues(void **state)
{
    uint32_t ioas = create();

    (void)state;
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(
            map(ioas, RW | FIXED, 0x200000 + i * PAGE_SIZE, 0x400000 + i * PAGE_SIZE, PAGE_SIZE),
            HV_OK);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(leaf_size(ioas, 0x200000), 2 << 20);
    /* They are still mappings of their own. */
    assert_int_equal(unmap(ioas, HC_IOAS_EXACT, 0x203000, PAGE_SIZE), HV_OK);
    assert_false(reaches(0, 5, 0x203000, 0x403000));
    assert_true(reaches(0, 5, 0x202000, 0x402000) && reaches(0, 5, 0x204000, 0x404000));
}

/* The rest of a large leaf is there at every moment while a part of it goes. */
static struct {
    bool on;
    unsigned stores, missing;
} watch;

/* The table itself is looked at: a unit may have the old leaf cached, which would hide a gap. */
static const struct pt *watched;

static void watch_store(void *, uint64_t, unsigned)
{
    struct pt_leaf leaf;

    if (!watch.on)
        return;
    watch.stores++;
    for (uint64_t at = 0; at < 2 << 20; at += 0x40000) {
        if (at != 0x80000) /* what goes */
            watch.missing += !pt_lookup(watched, PTADDR(0x200000 + at), &leaf);
    }
}

static void splitting_leaves_no_gap(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0x200000, 0x400000, 2 << 20), HV_OK);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    platform_set_hooks(&(struct platform_hooks){ .store = watch_store, .relax = rig_relax });
    watch = (typeof(watch)){ .on = true };
    watched = &object(ioas)->tables->pt;
    assert_int_equal(unmap(ioas, 0, 0x280000, 0x10000), HV_OK);
    watch.on = false;
    assert_true(watch.stores >= 16);
    assert_int_equal(watch.missing, 0);
    assert_false(reaches(0, 5, 0x280000, 0x480000));
}

/* What was cached as one large page must go as one, though most of it stays mapped (VT-d 6.5.2.3).
 */
static void a_large_page_is_forgotten_as_a_whole(void **state)
{
    uint32_t ioas = create();
    uint64_t hpa;

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0x200000, 0x400000, 2 << 20), HV_OK);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_true(reaches(0, 5, 0x3f0000, 0x5f0000)); /* the unit has it now */
    assert_int_equal(unmap(ioas, 0, 0x200000, 0x1000), HV_OK);
    assert_false(reaches(0, 5, 0x200000, 0x400000));
    assert_true(rig_translate(0, 5, 0x3f0000, false, true, &hpa));
    for (unsigned i = 0; i < ARRAY_SIZE(rig_atc); i++)
        assert_false(rig_atc[i].valid && rig_atc[i].address <= 0x200000);
    assert_int_equal(unmap(ioas, 0, 0x300000, 2 << 20), HV_OK);
    assert_false(reaches(0, 5, 0x3f0000, 0x5f0000));
    assert_true(reaches(0, 5, 0x2f0000, 0x4f0000));
}

/* Pages of tables stay taken as long as the unit could walk them. */
static void tables_are_freed_after_the_unit_forgot_them(void **state)
{
    uint32_t ioas = create();

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0x5000, 0x800000, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(6, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_true(reaches(6, 5, 0x5000, 0x800000));
    uint64_t before = rig.vm->quota.used;
    rig.used_when_told = 0;
    assert_int_equal(unmap(ioas, 0, 0x5000, PAGE_SIZE), HV_OK);
    assert_int_equal(rig.used_when_told, before);
    assert_true(rig.vm->quota.used < before);
}

/* --- Memory ends ------------------------------------------------------------------------------ */

static void exhaustion_is_a_status_and_changes_nothing(void **state)
{
    uint32_t ioas = create();
    unsigned refused = 0;

    (void)state;
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(2, 5, HC_DOMAIN_PAGING, ioas), HV_OK); /* a second table */
    for (unsigned i = 0; i < 64; i++) {
        /* Each pages_fail_after() fails at another point of one map. */
        uint64_t iova = 0x40000000ull * (i + 1), used = rig.vm->quota.used;
        enum hv_status status;
        for (int budget = 0;; budget++) {
            pages_fail_after(budget);
            status = map(ioas, RW | FIXED, iova, 0x800000, 3 * PAGE_SIZE);
            pages_fail_after(-1);
            if (status == HV_OK)
                break;
            refused++;
            assert_int_equal(status, HV_ENOMEM);
            assert_int_equal(rig.vm->quota.used, used);
            assert_false(reaches(0, 5, iova, 0x800000));
            assert_false(reaches(2, 5, iova, 0x800000));
        }
        assert_true(reaches(0, 5, iova, 0x800000) && reaches(2, 5, iova, 0x800000));
    }
    assert_true(refused > 64);
    rig.vm->quota.limit = rig.vm->quota.used;
    assert_int_equal(map(ioas, RW | FIXED, 0x3f00000000, 0x800000, PAGE_SIZE), HV_EQUOTA);
    assert_int_equal(unmap(ioas, 0, 0x40000000, PAGE_SIZE), HV_OK); /* needs none */
    rig.vm->quota.limit = 100000;
}

/* Two tables of which each has to split a leaf: both do it, or none. */
static void an_unmap_without_memory_leaves_every_table_as_it_was(void **state)
{
    uint32_t ioas = create();
    unsigned refused = 0;

    (void)state;
    assert_int_equal(map(ioas, RW | FIXED, 0x200000, 0x400000, 2 << 20), HV_OK);
    assert_int_equal(attach(0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(4, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    for (int budget = 0;; budget++) {
        pages_fail_after(budget);
        enum hv_status status = unmap(ioas, 0, 0x280000, 0x1000);
        pages_fail_after(-1);
        bool there = status != HV_OK;
        assert_int_equal(reaches(0, 5, 0x280000, 0x480000), there);
        assert_int_equal(reaches(4, 5, 0x280000, 0x480000), there);
        assert_true(reaches(0, 5, 0x281000, 0x481000) && reaches(4, 5, 0x27f000, 0x47f000));
        if (!there)
            break;
        assert_int_equal(status, HV_ENOMEM);
        refused++;
    }
    assert_true(refused >= 2);
}

/* --- Rings, life ------------------------------------------------------------------------------ */

static void every_call_works_by_ring(void **state)
{
    struct hc_ioas_create c = { 0 };
    uint64_t ioas, at;

    (void)state;
    assert_int_equal(rig_struct(HC_IOAS_CREATE, &c, sizeof(c), true, &ioas), HV_OK);
    struct hc_ioas_map m = {
        .flags = RW, .ioas = (uint32_t)ioas, .iova = 0x7000, .gpa = 0x800000, .bytes = 2 * PAGE_SIZE
    };
    assert_int_equal(rig_struct(HC_IOAS_MAP, &m, sizeof(m), true, &at), HV_OK);
    assert_true(at == 0x7000);
    struct hc_ioas_copy k = { .flags = FIXED,
                              .to = (uint32_t)ioas,
                              .from = (uint32_t)ioas,
                              .to_iova = 0x10000,
                              .from_iova = 0x7000,
                              .bytes = 2 * PAGE_SIZE };
    assert_int_equal(rig_struct(HC_IOAS_COPY, &k, sizeof(k), true, &at), HV_OK);
    assert_true(at == 2 * PAGE_SIZE);
    /* Refused half-way: the value tells how far it went. */
    assert_int_equal(unmap((uint32_t)ioas, 0, 0x10000, PAGE_SIZE), HV_OK);
    assert_int_equal(map((uint32_t)ioas, RW | FIXED, 0x9000, 0x900000, PAGE_SIZE), HV_OK);
    k.bytes = 3 * PAGE_SIZE;
    k.to_iova = 0xd000; /* 0xd000 to 0xffff free: the third page of the source fits as well */
    assert_int_equal(rig_struct(HC_IOAS_COPY, &k, sizeof(k), true, &at), HV_OK);
    k.to_iova = 0xf000;
    assert_int_equal(rig_struct(HC_IOAS_COPY, &k, sizeof(k), true, &at), HV_EEXIST);
    assert_true(at == 0);
    k.to_iova = 0x1e000;
    assert_int_equal(map((uint32_t)ioas, RW | FIXED, 0x20000, 0x900000, PAGE_SIZE), HV_OK);
    assert_int_equal(rig_struct(HC_IOAS_COPY, &k, sizeof(k), true, &at), HV_EEXIST);
    assert_true(at == 2 * PAGE_SIZE);
    struct hc_ioas_unmap u = { .ioas = (uint32_t)ioas, .flags = HC_IOAS_ALL };
    assert_int_equal(rig_struct(HC_IOAS_UNMAP, &u, sizeof(u), true, &at), HV_OK);
    assert_int_equal(rig_call(HC_IOAS_DESTROY, ioas, NULL), HV_OK);
}

static void a_vm_that_ends_takes_everything_with_it(void **state)
{
    (void)state; /* finish() looks */
    for (unsigned i = 0; i < 3; i++) {
        uint32_t ioas = create();
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(map(ioas, RW | FIXED, k * 0x400000ull, 0x800000, PAGE_SIZE), HV_OK);
        assert_int_equal(map(ioas, HC_IOAS_RESERVE | FIXED, 0x1000, 0, PAGE_SIZE), HV_OK);
        assert_int_equal(attach(i, i ? 5 + i : NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    }
}

static void handles_are_not_used_again(void **state)
{
    uint32_t ioas = create(), next;

    (void)state;
    assert_int_equal(rig_call(HC_IOAS_DESTROY, ioas, NULL), HV_OK);
    next = create();
    assert_int_not_equal(next, ioas);
    assert_int_equal(map(ioas, RW, 0, 0x800000, PAGE_SIZE), HV_ENOENT);
    assert_int_equal(rig_call(HC_IOAS_DESTROY, next | 1ull << 32, NULL), HV_ENOENT);
}

static void a_vm_has_1024(void **state)
{
    struct hc_ioas_create in = { 0 };

    (void)state;
    for (unsigned i = 0; i < IOAS_MAX; i++)
        (void)create();
    assert_int_equal(rig_struct(HC_IOAS_CREATE, &in, sizeof(in), false, &value), HV_EQUOTA);
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, start_4, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rig_test(unmap_stops_after_256_mappings_and_goes_on),
        rig_test(destroy_stops_after_256_mappings_and_goes_on),
        rig_test(a_map_over_more_than_256_reservations_goes_on),
        rig_test(a_call_reaches_a_gibibyte),
        rig_test(copy_stops_after_256_mappings),
        rig_test(attach_builds_a_large_table_in_parts),
        rig_test(units_that_agree_share_a_table_and_others_do_not),
        rig_test(a_table_stays_when_its_last_device_goes),
        rig_test(a_shallow_table_goes_with_its_last_device),
        rig_test(the_end_of_the_required_list_sets_the_depth),
        rig_test(without_a_list_the_hint_sets_the_depth),
        rig_test(runs_of_guest_memory_become_large_leaves),
        rig_test(a_table_built_later_joins_what_continues),
        rig_test(splitting_leaves_no_gap),
        rig_test(a_large_page_is_forgotten_as_a_whole),
        rig_test(tables_are_freed_after_the_unit_forgot_them),
        rig_test(an_unmap_without_memory_leaves_every_table_as_it_was),
        rig_test(exhaustion_is_a_status_and_changes_nothing),
        rig_test(every_call_works_by_ring),
        rig_test(a_vm_that_ends_takes_everything_with_it),
        rig_test(handles_are_not_used_again),
        rig_test(a_vm_has_1024),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL); /* finish() looks for leaks */
}
