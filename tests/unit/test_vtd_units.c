/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VT-d: hundreds of kinds of units. A table generates combinations of the capabilities that the
 * driver decides on; on each one: blocked at start, attach, DMA with data compared, a refused DMA
 * and its record, changes of tables under device TLBs, replacement, block, removal, with no
 * complaint of the model. What was run is printed as a table, which tests/system/test_units.py
 * keeps in docs/units.md.
 */
#include "tests/unit/vtd_bed.h"

#include <stdio.h>
#include <string.h>

#include "drivers/iommu/vtd/legacy.h"

#define BIT(n) (1ull << (n))

enum mode { NESTED, SECOND, FIRST, LEGACY, MODES };

/* One capability, or several that come together, and its choices: bits that are on. The choices of
 * `every` features are combined all with all; those of the others take turns. */
struct choice {
    const char *name; /* NULL: no more */
    uint64_t cap, ecap;
};
static const struct feature {
    bool every;
    uint64_t cap, ecap; /* bits it decides */
    struct choice choice[6];
} features[] = {
    { true,
      0,
      BIT(43) | BIT(46) | BIT(47) | BIT(26),
      { { "scalable, NEST", 0, BIT(43) | BIT(46) | BIT(47) | BIT(26) },
        { "scalable, both stages, no NEST", 0, BIT(43) | BIT(46) | BIT(47) },
        { "scalable, SSTS alone", 0, BIT(43) | BIT(46) },
        { "scalable, FSTS alone", 0, BIT(43) | BIT(47) },
        { "scalable, neither stage", 0, BIT(43) },
        { "not scalable", 0, 0 } } },
    { true,
      BIT(7) | BIT(4),
      0,
      { { "additions not cached", 0, 0 },
        { "CM caching mode", BIT(7), 0 },
        { "RWBF write buffer", BIT(4), 0 } } },
    { true,
      0,
      BIT(0) | BIT(48),
      { { "C and SMPWCS", 0, BIT(0) | BIT(48) },
        { "C alone", 0, BIT(0) },
        { "SMPWCS alone", 0, BIT(48) },
        { "nothing snooped", 0, 0 } } },
    { true,
      0,
      BIT(2) | BIT(29) | BIT(42) | BIT(41),
      { { "no device TLB", 0, 0 },
        { "DT", 0, BIT(2) },
        { "DT, DIT, PRS", 0, BIT(2) | BIT(29) | BIT(41) },
        { "DT, PRS, PDS", 0, BIT(2) | BIT(29) | BIT(42) } } },
    { false,
      0,
      BIT(40) | 31ull << 35,
      { { "PASID 20 bits", 0, BIT(40) | 19ull << 35 },
        { "PASID 8 bits", 0, BIT(40) | 7ull << 35 },
        { "no PASID", 0, 0 } } },
    { false,
      BIT(39) | 0x3full << 48,
      0,
      { { "PSI, MAMV 18", BIT(39) | 18ull << 48, 0 },
        { "PSI, MAMV 0", BIT(39), 0 },
        { "no PSI", 0, 0 } } },
    { false,
      0x1full << 8 | 0x3full << 16,
      0,
      { { "4 levels", 4ull << 8 | 47ull << 16, 0 },
        { "3 levels", 2ull << 8 | 38ull << 16, 0 },
        { "5 levels", 8ull << 8 | 56ull << 16, 0 },
        { "3, 4, 5 levels", 14ull << 8 | 56ull << 16, 0 } } },
    { false,
      3ull << 34 | BIT(56),
      0,
      { { "4K leaves alone", 0, 0 },
        { "2M leaves", BIT(34), 0 },
        { "2M and 1G leaves", 3ull << 34 | BIT(56), 0 } } },
    { false, BIT(60), 0, { { "first stage of 4 levels", 0, 0 }, { "FS5LP", BIT(60), 0 } } },
    { false,
      7,
      0,
      { { "domain ids of 16 bits", 6, 0 }, { "of 8 bits", 2, 0 }, { "of 4 bits", 0, 0 } } },
    { false, BIT(63), 0, { { "ESRTPS", BIT(63), 0 }, { "no ESRTPS", 0, 0 } } },
    { false, 0, BIT(7), { { "SC snoop control", 0, BIT(7) }, { "no SC", 0, 0 } } },
    { false, 0, BIT(49), { { "RPS", 0, BIT(49) }, { "no RPS", 0, 0 } } },
    { false,
      0,
      BIT(3) | BIT(4),
      { { "IR, EIM", 0, BIT(3) | BIT(4) }, { "IR", 0, BIT(3) }, { "no IR", 0, 0 } } },
    { false,
      0x3ull << 40,
      0,
      { { "4 fault records", 3ull << 40, 0 }, { "1 fault record", 0, 0 } } },
};
#define FEATURES ARRAY_SIZE(features)
#define TURNS    3u

static unsigned runs[FEATURES][6][MODES], all[MODES];

static unsigned choices(const struct feature *f)
{
    unsigned n = 0;
    while (n < 6 && f->choice[n].name)
        n++;
    return n;
}

/* No such unit can be (2.2 of the reference: what needs what). */
static bool possible(const struct vtd_model_config *c)
{
    bool smts = c->ecap & BIT(43);
    if (!smts && c->ecap & (BIT(48) | BIT(29) | BIT(42) | BIT(49)))
        return false;
    if (smts && c->cap & BIT(4)) /* RWBF */
        return false;
    return true;
}

static enum mode mode_of(const struct vtd_model_config *c)
{
    bool smts = c->ecap & BIT(43), ss = c->ecap & BIT(46), fs = c->ecap & BIT(47);
    if (!smts || (!ss && !fs))
        return LEGACY;
    return !ss ? FIRST : fs && c->ecap & BIT(26) && c->ecap & BIT(48) ? NESTED : SECOND;
}

/* --- What each must stand --------------------------------------------------------------------- */

static struct iommu_device a, b;
static struct pt pt, pt2;
static struct iommu_stage2 s2, other;
static enum mode mode;
static uint64_t reach; /* records hold no more of an address than MGAW */

static void refused(rid_t rid, int32_t pasid, uint64_t address, enum iommu_fault_class class)
{
    uint64_t value = 0;
    while (bed.interrupts || bed.nfaults) { /* what is on record from before */
        bed.interrupts = bed.nfaults = 0;
        iommu_vtd.poll();
    }
    assert_int_not_equal(bed_write(rid, pasid, address, 0x1badbadbad), 0);
    assert_int_not_equal(bed_read(rid, pasid, address, &value), 0);
    assert_int_equal(value, 0);
    iommu_vtd.poll();
    assert_true(bed.nfaults > 0);
    assert_int_equal(bed.fault[0].rid, rid);
    assert_int_equal(bed.fault[0].class, class);
    assert_int_equal(bed.fault[0].pasid_present, pasid >= 0);
    if (class == IOMMU_FAULT_FIRST_STAGE || class == IOMMU_FAULT_SECOND_STAGE)
        assert_int_equal(bed.fault[0].address.v, address & reach & ~PAGE_MASK);
}

static void works(rid_t rid, int32_t pasid, uint64_t address, uint64_t wanted)
{
    uint64_t value = 0;
    assert_int_equal(bed_read(rid, pasid, address, &value), 0);
    assert_int_equal(value, wanted);
    assert_int_equal(bed_write(rid, pasid, address + 8, ~wanted), 0);
    assert_int_equal(bed_read(rid, pasid, address + 8, &value), 0);
    assert_int_equal(value, ~wanted);
    if (a.ats && pasid < 0) {
        assert_true(bed_ats_read(rid, pasid, address, &value));
        assert_int_equal(value, wanted);
    }
}

/* @shift: guest physical 0 is so far into the guest's memory. */
static void stage2(struct pt *t, struct iommu_stage2 *s, uint64_t shift)
{
    const struct iommu_caps *caps = iommu_vtd.caps(a.unit);
    assert_int_equal(pt_create(t, caps->second_stage_format, &bed.quota, caps->second_stage_levels,
                               caps->second_stage_large, !caps->coherent_tables),
                     HV_OK);
    assert_int_equal(
        pt_map(t, PTADDR(0), PADDR(bed.ram.v + shift), BED_RAM - shift, PT_R | PT_W | PT_X), HV_OK);
    assert_int_equal(iommu_vtd.stage2_create(a.unit, t, s), HV_OK);
}

static void move_page(uint64_t gpa, uint64_t to)
{
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(gpa), PAGE_SIZE, &freed), HV_OK);
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(gpa), PAGE_SIZE), HV_OK);
    pt_release(&pt, &freed);
    refused(BED_A, BED_NO_PASID, gpa, IOMMU_FAULT_SECOND_STAGE);
    assert_int_equal(pt_map(&pt, PTADDR(gpa), PADDR(bed.ram.v + to), PAGE_SIZE, PT_R | PT_W),
                     HV_OK);
    if (iommu_vtd.caps(a.unit)->caching_mode)
        assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(gpa), PAGE_SIZE), HV_OK);
}

static void first_stages(void)
{
    gpaddr_t root = bed_root();
    const uint64_t va = 0x7f0000345000;
    bed_map(root, va, 0x10000);
    struct iommu_target t = bed_nested(&s2, root);
    if (mode != NESTED) {
        assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_ENOTSUP);
        return;
    }
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    works(BED_A, BED_NO_PASID, va, 0x10001);
    refused(BED_A, BED_NO_PASID, va + 0x1000, IOMMU_FAULT_FIRST_STAGE);
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK);
    refused(BED_A, BED_NO_PASID, va, IOMMU_FAULT_BLOCKED);
}

static void pasids(void)
{
    struct iommu_target t = bed_second(&s2);
    if (!a.pasid_bits) {
        assert_int_equal(iommu_vtd.attach(&a, 5, &t), HV_ERANGE);
        return;
    }
    assert_int_equal(iommu_vtd.attach(&a, 5, &t), HV_OK);
    works(BED_A, 5, 0x6000, 0x6001);
    refused(BED_A, 5, BED_RAM, IOMMU_FAULT_SECOND_STAGE);
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    refused(BED_A, 5, 0x6000, IOMMU_FAULT_BLOCKED);
}

static void page_requests(void)
{
    struct iommu_target t = bed_second(&s2);
    if (!a.pri) {
        assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_ENOTSUP);
        return;
    }
    int32_t pasid = a.pasid_bits ? 9 : BED_NO_PASID;
    uint32_t where = a.pasid_bits ? 9 : PASID_RID;
    assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
    assert_int_equal(iommu_vtd.attach(&a, where, &t), HV_OK);
    bed_page_request(BED_A, pasid, 0x5000, 1, true);
    iommu_vtd.poll();
    assert_int_equal(bed.nrequests, 1);
    iommu_vtd.respond(&a, &bed.request[0], false);
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed.nresponses, 1);
    bed_page_request(BED_A, pasid, 0x5000, 2, true); /* nobody answers this one: drained */
    assert_int_equal(iommu_vtd.block(&a, where), HV_OK);
    iommu_vtd.page_requests_off(&a);
    assert_int_equal(bed.nresponses, 2);
}

static void one_unit(const struct vtd_model_config *config)
{
    bed_start(config, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    const struct iommu_caps *caps = iommu_vtd.caps(a.unit);
    assert_int_equal(caps->nested, mode == NESTED);
    assert_int_equal(a.pasid_bits > 0, mode != LEGACY && config->ecap & BIT(40));
    assert_int_equal(a.ats, (config->ecap & BIT(2)) != 0);
    refused(BED_A, BED_NO_PASID, 0x4000, IOMMU_FAULT_BLOCKED);
    stage2(&pt, &s2, 0);
    stage2(&pt2, &other, 0x100000);
    struct iommu_target t = bed_second(&s2), t2 = bed_second(&other);

    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    assert_int_equal(iommu_vtd.attach(&b, PASID_RID, &t2), HV_OK);
    works(BED_A, BED_NO_PASID, 0x4000, 0x4001);
    works(BED_B, BED_NO_PASID, 0x4000, 0x104001);
    refused(BED_A, BED_NO_PASID, BED_RAM, IOMMU_FAULT_SECOND_STAGE);
    refused(BED_A, BED_NO_PASID, 1ull << 60, IOMMU_FAULT_ADDRESS);
    move_page(0x4000, 0x9000);
    works(BED_A, BED_NO_PASID, 0x4000, 0x9001);
    works(BED_B, BED_NO_PASID, 0x4000, 0x104001);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t2), HV_OK); /* in place of the other */
    works(BED_A, BED_NO_PASID, 0x7000, 0x107001);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    works(BED_A, BED_NO_PASID, 0x7000, 0x7001);
    pasids();
    first_stages();
    page_requests();
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK);
    refused(BED_A, BED_NO_PASID, 0x7000, IOMMU_FAULT_BLOCKED);
    works(BED_B, BED_NO_PASID, 0x8000, 0x108001);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    works(BED_A, BED_NO_PASID, 0xa000, 0xa001);
    iommu_vtd.device_remove(&a); /* while attached */
    refused(BED_A, BED_NO_PASID, 0xa000, IOMMU_FAULT_BLOCKED);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
    bed_stage2_gone(&pt2, &other);
}

/* --- What only legacy mode has ---------------------------------------------------------------- */

static struct vtd_model_config legacy(void)
{
    struct vtd_model_config config = bed_config();
    mode = LEGACY;
    config.ecap &= ~(BIT(26) | BIT(46) | BIT(47));
    config.cap &= ~(BIT(7) | BIT(4));
    return config;
}

static bool ats_on(rid_t rid)
{
    return bed_function(rid)->config[0x117] >> 7;
}

static void legacy_entries(void **state)
{
    (void)state;
    struct vtd_model_config config = legacy();
    bed_start(&config, 1);
    assert_true(platform_logged("legacy mode, requests without PASID only"));
    assert_true(platform_logged("missing: SSTS second stage, FSTS first stage, NEST nested"));
    bed_add(&a, BED_A);
    stage2(&pt, &s2, 0);
    stage2(&pt2, &other, 0x100000);
    struct iommu_target t = bed_second(&s2), t2 = bed_second(&other);
    /* A translation request to an absent entry would turn ATS off in the function. */
    assert_false(ats_on(BED_A));
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    assert_true(ats_on(BED_A));
    uint64_t told = bed.tlb_invalidations;
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t2), HV_OK);
    assert_int_equal(bed.last_store, 16); /* one store: never half of two entries */
    assert_true(bed.tlb_invalidations > told);
    assert_true(ats_on(BED_A));
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK);
    assert_false(ats_on(BED_A));
    told = bed.tlb_invalidations;
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK); /* nothing to do */
    assert_int_equal(iommu_vtd.stage2_changed(&other, GPADDR(0), PAGE_SIZE), HV_OK);
    assert_int_equal(bed.tlb_invalidations, told); /* nobody is spoken to whose ATS is off */
    iommu_vtd.device_remove(&a);
    bed_stage2_gone(&pt, &s2);
    bed_stage2_gone(&pt2, &other);
}

/* With RWBF an entry is not seen before the write buffer is flushed; an invalidation does that. */
static void write_buffer(void **state)
{
    static const uint64_t caps[] = { BIT(4), 0 };
    for (unsigned i = 0; i < 2; i++) {
        struct vtd_model_config config = legacy();
        bed_fresh(state);
        config.ecap &= ~(BIT(43) | BIT(48) | BIT(29) | BIT(42) | BIT(49) | BIT(40) | 31ull << 35 |
                         BIT(31) | BIT(53) | BIT(33) | BIT(55) | BIT(34) | BIT(45));
        config.cap |= caps[i];
        bed_start(&config, 1);
        bed_add(&a, BED_A);
        stage2(&pt, &s2, 0);
        struct iommu_target t = bed_second(&s2);
        uint64_t before = bed.tail_writes;
        assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
        assert_int_equal(bed.tail_writes > before, caps[i] != 0);
        assert_int_equal(iommu_vtd.caps(a.unit)->caching_mode, caps[i] != 0);
        iommu_vtd.device_remove(&a);
        bed_stage2_gone(&pt, &s2);
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
}

static void a_silent_device_in_legacy_mode(void **state)
{
    (void)state;
    struct vtd_model_config config = legacy();
    uint64_t value;
    bed_start(&config, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    stage2(&pt, &s2, 0);
    struct iommu_target t = bed_second(&s2);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_OK);
    assert_int_equal(iommu_vtd.attach(&b, PASID_RID, &t), HV_OK);
    assert_true(bed_ats_read(BED_A, BED_NO_PASID, 0x4000, &value));
    works(BED_A, BED_NO_PASID, 0x6000, 0x6001);
    bed.silent[BED_A] = true;
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x4000), PAGE_SIZE), HV_OK);
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 1);
    assert_ptr_equal(bed.failed[0], &a);
    refused(BED_A, BED_NO_PASID, 0x6000, IOMMU_FAULT_BLOCKED);
    assert_false(bed_ats_read(BED_A, BED_NO_PASID, 0x4000, &value)); /* what it kept is no use */
    works(BED_B, BED_NO_PASID, 0x8000, 0x8001);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &t), HV_EIO);
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_EIO);
    /* As if it had failed after the attach had looked. */
    assert_int_equal(vtd_legacy_attach(a.driver, &s2), HV_EIO);
    refused(BED_A, BED_NO_PASID, 0x6000, IOMMU_FAULT_BLOCKED);
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
}

/* --- The combinations ------------------------------------------------------------------------- */

static struct vtd_model_config now; /* being run; told when a check fails */

static int told(void **state)
{
    if (now.cap)
        print_error("the unit: cap %016llx ecap %016llx\n", (unsigned long long)now.cap,
                    (unsigned long long)now.ecap);
    return bed_check(state);
}

static void run(const unsigned *pick, void **state)
{
    struct vtd_model_config config = bed_config();
    for (unsigned i = 0; i < FEATURES; i++) {
        config.cap &= ~features[i].cap;
        config.ecap &= ~features[i].ecap;
    }
    for (unsigned i = 0; i < FEATURES; i++) {
        config.cap |= features[i].choice[pick[i]].cap;
        config.ecap |= features[i].choice[pick[i]].ecap;
    }
    config.ecap &= ~(BIT(34) | BIT(45)); /* EAFS, SSADS: the driver uses neither */
    if (!(config.ecap & BIT(43)))
        config.ecap &= ~(BIT(49) | BIT(40) | 31ull << 35 | BIT(31) | BIT(53) | BIT(33) | BIT(55));
    if (!possible(&config))
        return;
    mode = mode_of(&config);
    reach = (2ull << (config.cap >> 16 & 0x3f)) - 1;
    bed_fresh(state);
    now = config;
    one_unit(&config);
    assert_int_equal(bed_check(state), 0);
    now = (struct vtd_model_config){ 0 };
    all[mode]++;
    for (unsigned i = 0; i < FEATURES; i++)
        runs[i][pick[i]][mode]++;
}

static void every_combination(void **state)
{
    unsigned pick[FEATURES] = { 0 }, turn = 0;
    for (bool more = true; more;) {
        for (unsigned t = 0; t < TURNS; t++, turn++) {
            for (unsigned i = 0; i < FEATURES;
                 i++) /* the others take turns, each at its own pace */
                if (!features[i].every)
                    pick[i] = (turn + turn / (2 * i + 3)) % choices(&features[i]);
            run(pick, state);
        }
        more = false;
        for (unsigned i = 0; i < FEATURES && !more; i++) {
            if (!features[i].every)
                continue;
            pick[i] = (pick[i] + 1) % choices(&features[i]);
            more = pick[i] != 0;
        }
    }
    bed_fresh(state);
}

static void every_choice_was_run(void **state)
{
    (void)state;
    unsigned n = 0;
    for (unsigned m = 0; m < MODES; m++)
        n += all[m];
    assert_true(n >= 400);
    for (unsigned i = 0; i < FEATURES; i++)
        for (unsigned c = 0; c < choices(&features[i]); c++) {
            unsigned with = 0;
            for (unsigned m = 0; m < MODES; m++)
                with += runs[i][c][m];
            if (!with)
                print_error("%s was never run\n", features[i].choice[c].name);
            assert_true(with > 0);
        }
}

static void table(void)
{
    printf("| on the host, in the model | nested | second stage | first stage | legacy |\n");
    printf("|---|---|---|---|---|\n");
    for (unsigned i = 0; i < FEATURES; i++)
        for (unsigned c = 0; c < choices(&features[i]); c++) {
            printf("| %s |", features[i].choice[c].name);
            for (unsigned m = 0; m < MODES; m++)
                runs[i][c][m] ? printf(" %u |", runs[i][c][m]) : printf(" - |");
            printf("\n");
        }
    printf("| **units** |");
    for (unsigned m = 0; m < MODES; m++)
        printf(" **%u** |", all[m]);
    printf("\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(legacy_entries),
        bed_test(write_buffer),
        bed_test(a_silent_device_in_legacy_mode),
        cmocka_unit_test_setup_teardown(every_combination, bed_fresh, told),
        bed_test(every_choice_was_run),
    };
    int failed = cmocka_run_group_tests(tests, platform_setup, NULL);
    table();
    return failed;
}
