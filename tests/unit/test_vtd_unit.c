/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: finding units, taking them over in whatever state, and units that differ: not snooping,
 * caching what is not present, without page-selective invalidation, without interrupt remapping. */
#include "tests/unit/vtd_bed.h"

#include <string.h>

#include "drivers/iommu/vtd/context.h"
#include "drivers/iommu/vtd/fault.h"
#include "drivers/iommu/vtd/unit.h"

static struct iommu_device a, b;
static struct pt pt;
static struct iommu_stage2 s2;

static enum hv_status probe(void)
{
    uint8_t table[4096];
    size_t length = bed_dmar(table);
    return iommu_vtd.probe(table, length, &bed_events);
}

/* Attach, change, invalidate, block: with right data each time. What every kind of unit must stand.
 */
static void round_trip(void)
{
    const uint64_t va = 0x7f0000345000;
    uint64_t value;
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0x59); /* may be cached so */
    assert_int_equal(bed_read(BED_A, 5, va, &value), 0x59);
    bed_stage2(&pt, &s2, a.unit);
    gpaddr_t root = bed_root();
    bed_map(root, va, 0x10000);
    struct iommu_target second = bed_second(&s2), nested = bed_nested(&s2, root);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &second), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0);
    assert_int_equal(value, 0x4001);
    assert_int_equal(iommu_vtd.attach(&a, 5, &nested), HV_OK);
    assert_int_equal(bed_read(BED_A, 5, va, &value), 0);
    assert_int_equal(value, 0x10001);
    assert_int_equal(iommu_vtd.attach(&a, 0x12345, &nested), HV_OK); /* a new table */
    assert_int_equal(bed_read(BED_A, 0x12345, va, &value), 0);
    if (a.ats)
        assert_true(bed_ats_read(BED_A, 5, va, &value));
    bed_map(root, va, 0x11000);
    iommu_vtd.invalidate(&(struct iommu_inval){ .dev = &a,
                                                .pasid = 5,
                                                .kind = IOMMU_INVAL_RANGE,
                                                .address = IOVA(va),
                                                .bytes = PAGE_SIZE });
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    assert_int_equal(bed_read(BED_A, 5, va, &value), 0);
    assert_int_equal(value, 0x11001);
    if (a.ats) {
        assert_true(bed_ats_read(BED_A, 5, va, &value));
        assert_int_equal(value, 0x11001);
    }
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0), BED_RAM),
                     HV_OK); /* beyond MAMV of some */
    /* A page of the second stage goes and comes back elsewhere. */
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(0x4000), PAGE_SIZE, &freed), HV_OK);
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x4000), PAGE_SIZE), HV_OK);
    pt_release(&pt, &freed);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0x79);
    assert_int_equal(pt_map(&pt, PTADDR(0x4000), PADDR(bed.ram.v + 0x9000), PAGE_SIZE, PT_R | PT_W),
                     HV_OK);
    if (iommu_vtd.caps(a.unit)->caching_mode)
        assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x4000), PAGE_SIZE), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0);
    assert_int_equal(value, 0x9001);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &nested), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, va, &value), 0);
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, va, &value), 0x59);
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    assert_int_equal(bed_read(BED_A, 5, va, &value), 0x59);
    if (a.pri) {
        assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
        bed_page_request(BED_A, 0x12345, va, 1, true);
        iommu_vtd.page_requests_off(&a);
        assert_int_equal(bed.nresponses, 1);
    }
    iommu_vtd.device_remove(&a);
    assert_int_equal(bed_read(BED_A, 0x12345, va, &value), 0x41);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
}

static void full_unit(void **state)
{
    (void)state;
    bed_start(NULL, 1);
    const struct iommu_caps *caps = iommu_vtd.caps(iommu_vtd.unit(0));
    assert_true(caps->nested && caps->first_stage && caps->second_stage);
    assert_true(caps->device_tlb && caps->page_requests && caps->coherent_tables);
    assert_int_equal(caps->pasid_bits, 20);
    assert_string_equal(caps->name, "vtd0");
    round_trip();
}

static void sixteen_units(void **state)
{
    uint64_t value;
    (void)state;
    bed_start(NULL, 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(iommu_vtd.caps(iommu_vtd.unit(i))->index, i);
    assert_null(iommu_vtd.unit(16));
    /* One batch over two units. In the table of the bed the units stand in reverse order. */
    struct iommu_device far;
    bed_add(&far, BED_FAR);
    bed_add(&a, BED_A);
    assert_ptr_not_equal(far.unit, a.unit);
    struct pt pt_far;
    struct iommu_stage2 s2_far;
    bed_stage2(&pt, &s2, a.unit);
    bed_stage2(&pt_far, &s2_far, far.unit);
    gpaddr_t root = bed_root();
    bed_map(root, 0x1000, 0x10000);
    struct iommu_target t = bed_nested(&s2, root), t_far = bed_nested(&s2_far, root);
    assert_int_equal(iommu_vtd.attach(&a, 5, &t_far), HV_EINVAL); /* of another unit */
    assert_int_equal(iommu_vtd.attach(&a, 5, &t), HV_OK);
    assert_int_equal(iommu_vtd.attach(&far, 5, &t_far), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x1000, &value) && bed_ats_read(BED_FAR, 5, 0x1000, &value));
    bed_map(root, 0x1000, 0x11000);
    struct iommu_device *const both[] = { &a, &far };
    for (unsigned i = 0; i < 2; i++)
        iommu_vtd.invalidate(&(struct iommu_inval){ .dev = both[i],
                                                    .pasid = 5,
                                                    .kind = IOMMU_INVAL_RANGE,
                                                    .address = IOVA(0x1000),
                                                    .bytes = PAGE_SIZE });
    assert_int_equal(iommu_vtd.flush(), HV_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(bed_ats_read(both[i]->rid, 5, 0x1000, &value));
        assert_int_equal(value, 0x11001);
    }
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&far);
    bed_stage2_gone(&pt, &s2);
    bed_stage2_gone(&pt_far, &s2_far);
}

static void what_lacks_the_needed_is_refused(void **state)
{
    static const struct {
        uint64_t cap, ecap; /* taken away */
        const char *logged;
    } needs[] = {
        { 0, 1ull << 1 | 1ull << 2 | 1ull << 3 | 1ull << 4 | 1ull << 29 | 1ull << 42 | 1ull << 43,
          "QI queued" },
        { 0x1full << 8, 1ull << 46 | 1ull << 47 | 1ull << 26, "SAGAW second-stage depth" },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
        struct vtd_model_config config = bed_config();
        bed_fresh(NULL);
        config.cap &= ~needs[i].cap;
        config.ecap &= ~needs[i].ecap;
        bed_make(&config, 2);
        uint64_t used = pages_used();
        assert_int_equal(probe(), HV_ENOTSUP);
        assert_int_equal(pages_used(), used);
        assert_true(platform_logged(needs[i].logged));
        assert_true(platform_logged("vtd0") && platform_logged("vtd1"));
        assert_int_equal(iommu_vtd.unit_count(), 0);
        assert_int_equal(iommu_vtd.start(), HV_ENODEV);
        assert_null(iommu_vtd.unit_of(BED_A));
        assert_int_equal(vtd_model_mmio_read(bed.model[0], 0x1c, 4), 0); /* untouched */
        bed_check(NULL);
    }
    bed_fresh(NULL);
    bed_make(NULL, 1);
    uint8_t table[4096];
    size_t length = bed_dmar(table);
    platform_put(table, 48 + 8, 8, 0xfec00000); /* nothing answers there: all ones */
    table[9] = 0;
    for (size_t i = 0, sum = 0; i < length; i++, table[9] = (uint8_t)-sum)
        sum += i == 9 ? 0 : table[i];
    assert_int_equal(iommu_vtd.probe(table, length, &bed_events), HV_EINVAL);
}

static void lesser_units_serve(void **state)
{
    /* Bits of ECAP to take away, and what is said of it. */
    static const struct {
        uint64_t ecap, cap;
        const char *logged;
    } less[] = {
        { 1ull << 3 | 1ull << 4, 0, "IR interrupt remapping" },
        { 1ull << 2 | 1ull << 29 | 1ull << 42, 0, "DT device TLB" },
        { 1ull << 29 | 1ull << 42, 0, "PRS page requests" },
        { 1ull << 42, 0, "PDS" },
        { 0, 1ull << 39 | 0x3full << 48, "PSI page-selective" },
        { 0, 0x3full << 48, "" }, /* MAMV: single pages only */
        { 1ull << 41, 0, "" },    /* DIT */
        { 1ull << 7, 0, "" },     /* SC */
        { 0, 1ull << 63, "" },    /* ESRTPS */
        { 1ull << 49, 0, "" },    /* RPS */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(less); i++) {
        struct vtd_model_config config = bed_config();
        bed_fresh(state);
        config.ecap &= ~less[i].ecap;
        config.cap &= ~less[i].cap;
        bed_start(&config, 1);
        assert_true(!*less[i].logged || platform_logged(less[i].logged));
        round_trip();
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
}

/* The same for units that do not nest. */
static void round_trip_of_second_stages(void)
{
    uint64_t value;
    bed_add(&a, BED_A);
    bed_stage2(&pt, &s2, a.unit);
    struct iommu_target second = bed_second(&s2);
    assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &second), HV_OK);
    assert_int_equal(iommu_vtd.attach(&a, 0x12345, &second), HV_OK); /* a new table */
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0);
    assert_int_equal(bed_read(BED_A, 0x12345, 0x4000, &value), 0);
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(0x4000), PAGE_SIZE, &freed), HV_OK);
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x4000), PAGE_SIZE), HV_OK);
    pt_release(&pt, &freed);
    assert_int_equal(bed_read(BED_A, 0x12345, 0x4000, &value), 0x79);
    assert_int_equal(pt_map(&pt, PTADDR(0x4000), PADDR(bed.ram.v + 0x9000), PAGE_SIZE, PT_R | PT_W),
                     HV_OK);
    assert_int_equal(bed_read(BED_A, 0x12345, 0x4000, &value), 0);
    assert_int_equal(value, 0x9001);
    assert_int_equal(iommu_vtd.block(&a, 0x12345), HV_OK);
    assert_int_equal(bed_read(BED_A, 0x12345, 0x4000, &value), 0x59);
    iommu_vtd.device_remove(&a);
    bed_stage2_gone(&pt, &s2);
}

static void unit_that_does_not_snoop(void **state)
{
    (void)state;
    struct vtd_model_config config = bed_config();
    config.ecap &=
        ~(1ull << 0 | 1ull << 48 | 1ull << 34 | 1ull << 45); /* C, SMPWCS and what needs it */
    bed.noncoherent = true;
    bed_start(&config, 1);
    assert_false(iommu_vtd.caps(iommu_vtd.unit(0))->coherent_tables);
    assert_false(iommu_vtd.caps(iommu_vtd.unit(0))->nested); /* guests flush nothing */
    round_trip_of_second_stages();
    /* A table that would not be flushed does not fit. */
    struct iommu_stage2 none;
    assert_int_equal(pt_create(&pt, &pt_format_vtd2, NULL, 4, 0, false), HV_OK);
    assert_int_equal(iommu_vtd.stage2_create(iommu_vtd.unit(0), &pt, &none), HV_ENOTSUP);
    pt_destroy(&pt);
}

static void unit_that_caches_absence(void **state)
{
    (void)state;
    struct vtd_model_config config = bed_config();
    config.cap |= 1ull << 7;
    bed_start(&config, 1);
    assert_true(iommu_vtd.caps(iommu_vtd.unit(0))->caching_mode);
    /* The context entry of B was looked at when there was none. */
    uint64_t value;
    bed_add(&a, BED_A);
    assert_int_equal(bed_read(BED_B, BED_NO_PASID, 0x4000, &value), 0x41);
    assert_int_equal(bed_read(BED_B, 5, 0x4000, &value), 0x41);
    bed_add(&b, BED_B);
    bed_stage2(&pt, &s2, a.unit);
    struct iommu_target second = bed_second(&s2);
    assert_int_equal(iommu_vtd.attach(&b, PASID_RID, &second), HV_OK);
    assert_int_equal(iommu_vtd.attach(&b, 5, &second), HV_OK);
    assert_int_equal(bed_read(BED_B, BED_NO_PASID, 0x4000, &value), 0);
    assert_int_equal(bed_read(BED_B, 5, 0x4000, &value), 0);
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
    round_trip();
}

static void slow_unit(void **state)
{
    (void)state;
    struct vtd_model_config config = bed_config();
    config.slow = 50;
    bed_start(&config, 1);
    round_trip();
}

/* Commands that never complete: an error after a while, no hang. */
static void unit_that_never_finishes(void **state)
{
    (void)state;
    struct vtd_model_config config = bed_config();
    config.slow = 1u << 31;
    bed_make(&config, 1);
    assert_int_equal(probe(), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_ETIMEDOUT);
    assert_true(platform_logged("take-over failed"));
}

static uint64_t mm(uint32_t offset, unsigned size, uint64_t value)
{
    vtd_model_mmio_write(bed.model[0], offset, size, value);
    for (unsigned i = 0; i < 20; i++)
        vtd_model_run(bed.model[0]);
    return vtd_model_mmio_read(bed.model[0], 0x1c, 4);
}

/* As firmware or an earlier system may leave a unit. */
static void firmware(uint64_t mode, bool eime)
{
    uint64_t *root, *ring, *table;
    assert_int_equal(pages_alloc(NULL, 0, (void **)&root), HV_OK);
    assert_int_equal(pages_alloc(NULL, 0, (void **)&ring), HV_OK);
    assert_int_equal(pages_alloc(NULL, 0, (void **)&table), HV_OK);
    bool wide = mode != 0;
    mm(0x88, 8, 0);
    mm(0x90, 8, virt_to_phys(ring).v | (wide ? 1 << 11 : 0));
    uint64_t gsts = mm(0x18, 4, 1u << 26);
    assert_true(gsts & 1u << 26);
    mm(0x20, 8, virt_to_phys(root).v | mode << 10);
    mm(0x18, 4, 1u << 26 | 1u << 30);
    /* Invalidate as one must; then a wait, so that the queue has moved. */
    static const uint64_t descs[] = { 0x11, 0x37, 0xd2, 0x45 };
    unsigned step = wide ? 4 : 2, n = 0;
    for (unsigned i = 0; i < 4; i++)
        if (wide || i != 1)
            ring[step * n++] = descs[i];
    mm(0x88, 8, n * step * 8);
    mm(0xb8, 8, virt_to_phys(table).v | 7 | (eime ? 1 << 11 : 0));
    mm(0x18, 4, 1u << 26 | 1u << 24);
    ring[step * n++] = 4; /* IEC global */
    ring[step * n++] = 0x45;
    mm(0x88, 8, n * step * 8);
    mm(0x18, 4, 1u << 26 | 1u << 25);
    gsts = mm(0x18, 4, 1u << 26 | 1u << 25 | 1u << 31);
    assert_true(gsts & 1u << 31);
    /* A fault is on record. */
    uint64_t value;
    assert_int_not_equal(bed_read(0x4242, BED_NO_PASID, 0, &value), 0);
}

static void found_on(void **state)
{
    static const struct {
        uint64_t mode;
        bool esrtps, eime, legacy,
            ranges; /* legacy: the unit is used so; ranges: protected memory is on */
    } left[] = {
        { 0, true, true, false, false },  { 0, false, true, false, true },
        { 1, true, false, false, false }, { 1, false, true, false, true },
        { 0, true, true, true, true },    { 0, false, false, true, false },
        { 1, true, true, true, false },   { 1, false, true, true, true },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(left); i++) {
        uint64_t value;
        struct vtd_model_config config = bed_config();
        bed_fresh(state);
        config.cap |= 1ull << 5 | 1ull << 6;
        if (!left[i].esrtps)
            config.cap &= ~(1ull << 63);
        if (left[i].legacy)
            config.ecap &= ~(1ull << 46 | 1ull << 47 | 1ull << 26);
        bed_make(&config, 1);
        firmware(left[i].mode, left[i].eime);
        if (left[i].ranges) { /* all of low memory */
            mm(0x68, 4, 0);
            mm(0x6c, 4, 0xffffffff);
            mm(0x64, 4, 1u << 31);
            assert_int_equal(vtd_model_mmio_read(bed.model[0], 0x64, 4) & 1, 1);
        }
        assert_int_equal(vtd_model_complaints(bed.model[0], &(const char *){ 0 }), 0);
        assert_int_equal(probe(), HV_OK);
        bed.watch = true;
        assert_int_equal(iommu_vtd.start(), HV_OK);
        bed.watch = false;
        assert_int_equal(bed.leaks, 0); /* at no moment */
        /* Nor a message, but for EIME, which cannot change while remapping is on. */
        assert_true(left[i].eime ? bed.message_leaks == 0 : bed.message_leaks > 0);
        while (bed.interrupts && bed.nfaults < 99) { /* forget the attempts */
            unsigned before = bed.nfaults;
            iommu_vtd.poll();
            if (bed.nfaults == before)
                break;
        }
        for (unsigned k = 0; k < bed.nfaults; k++)
            assert_int_not_equal(bed.fault[k].rid, 0x4242); /* firmware's is not ours to tell */
        bed.nfaults = 0;
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0, &value), left[i].legacy ? 0x01 : 0x39);
        assert_int_equal(vtd_model_mmio_read(bed.model[0], 0x64, 4),
                         0); /* no range left protected */
        iommu_vtd.poll();
        assert_int_equal(bed.nfaults, 1); /* the one above, not the old one */
        if (!left[i].legacy)
            round_trip();
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
}

/* Neither under TE nor under protected ranges can the tables be switched, or only a half of memory
 * is covered: for that moment nobody masters the bus. After it, those do that did before. */
static void found_on_without_protected_ranges(void **state)
{
    static struct platform_pci port, idle;
    static const uint64_t ranges[] = { 0, 1ull << 5, 1ull << 6, 1ull << 5 | 1ull << 6 };

    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
        struct vtd_model_config config = bed_config();
        bed_fresh(state);
        config.cap = (config.cap & ~(1ull << 63 | 1ull << 5 | 1ull << 6)) | ranges[i];
        bed_make(&config, 1);
        platform_pci_endpoint(&port, 0x0008, 1, 1, 0, 0);
        platform_put(port.config, 0x04, 2, 7);
        platform_pci_endpoint(&idle, 0x0010, 1, 1, 0, 0);
        platform_put(idle.config, 0x04, 2, 3);
        platform_add_pci(&port);
        platform_add_pci(&idle);
        firmware(0, true);
        assert_int_equal(probe(), HV_OK);
        bed.port = &port;
        bed.watch = true;
        assert_int_equal(iommu_vtd.start(), HV_OK);
        bed.watch = false;
        assert_int_equal(bed.leaks, 0);
        assert_int_equal(pci_config_read(0x0008, 0x04, 2), 7);
        assert_int_equal(pci_config_read(0x0010, 0x04, 2), 3);
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
}

static void fault_meanwhile(uint32_t offset)
{
    uint64_t value;

    if (offset != 0x20) /* RTADDR: what was on record is cleared by then */
        return;
    bed.on_register = NULL;
    assert_int_not_equal(bed_read(BED_B, BED_NO_PASID, 0, &value), 0);
}

/* Firmware's events reach nobody once the unit is ours: their vector means something else now. */
static void firmwares_events_are_off_from_the_start(void **state)
{
    struct vtd_model_config config = bed_config();

    (void)state;
    bed_make(&config, 1);
    firmware(1, true);
    mm(0x3c, 4, 0x99);
    mm(0x40, 4, 0xfee00000);
    mm(0x38, 4, 0);
    assert_int_equal(probe(), HV_OK);
    bed.message_of_old = 0x99;
    bed.on_register = fault_meanwhile;
    assert_int_equal(iommu_vtd.start(), HV_OK);
    assert_null(bed.on_register);
    assert_int_equal(bed.old_messages, 0);
}

static void out_of_memory_at_start(void **state)
{
    (void)state;
    enum hv_status status = HV_ENOMEM;
    unsigned n = 0;
    bed_make(NULL, 1);
    pages_fail_after(0);
    assert_int_equal(probe(), HV_ENOMEM);
    assert_int_equal(iommu_vtd.unit_count(), 0);
    pages_fail_after(-1);
    assert_int_equal(bed_check(state), 0);
    for (; status == HV_ENOMEM && n < 30; n++) {
        bed_fresh(state);
        bed_make(NULL, 1);
        assert_int_equal(probe(), HV_OK);
        pages_fail_after(n);
        status = iommu_vtd.start();
        pages_fail_after(-1);
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
    assert_int_equal(status, HV_OK);
    assert_in_range(n, 9, 12);
}

static void faults_are_told(void **state)
{
    uint64_t value;
    (void)state;
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    bed_stage2(&pt, &s2, a.unit);
    gpaddr_t root = bed_root();
    struct iommu_target t = bed_nested(&s2, root);
    assert_int_equal(iommu_vtd.attach(&a, 0x777, &t), HV_OK);
    assert_int_equal(bed_write(BED_A, 0x777, 0x123456789000, 1),
                     0x80 - 0x0f); /* 71: FS not present */
    bed_interrupts();
    assert_int_equal(bed.nfaults, 1);
    const struct iommu_fault *f = &bed.fault[0];
    assert_int_equal(f->rid, BED_A);
    assert_true(f->pasid_present && f->write);
    assert_int_equal(f->pasid, 0x777);
    assert_int_equal(f->address.v, 0x123456789000);
    assert_int_equal(f->code, 0x71);
    assert_int_equal(f->class, IOMMU_FAULT_FIRST_STAGE);
    assert_string_equal(f->text, "first stage: not present");
    /* A flood: records overflow, the driver clears it, later faults are told again. */
    for (unsigned i = 0; i < 100; i++)
        bed_read((rid_t)(0x4000 + i), BED_NO_PASID, 0x1000 * i, &value);
    bed_interrupts();
    iommu_vtd.poll();
    unsigned told = bed.nfaults;
    assert_in_range(told, 2, 101);
    assert_int_equal(bed_read(0x5000, BED_NO_PASID, 0x5000, &value), 0x39);
    iommu_vtd.poll();
    assert_int_equal(bed.nfaults, told + 1);
    assert_int_equal(bed.fault[told].rid, 0x5000);
    assert_false(bed.fault[told].pasid_present || bed.fault[told].write);
    iommu_vtd.device_remove(&a);
    bed_stage2_gone(&pt, &s2);
}

/* A device that faults without end is heard for a while; its DMA goes on being refused. So is one
 * that nobody owns. Others are still heard. */
static void floods_are_hidden(void **state)
{
    static const uint64_t kinds[] = { 0, 1ull << 43 }; /* scalable and legacy */
    static const rid_t rids[] = { BED_A, 0x4242 };
    uint64_t value;
    for (unsigned k = 0; k < 4; k++) {
        struct vtd_model_config config = bed_config();
        rid_t rid = rids[k % 2];
        bed_fresh(state);
        if (kinds[k / 2])
            config.ecap &= ~(1ull << 46 | 1ull << 47 | 1ull << 26);
        bed_start(&config, 1);
        bed_add(&a, BED_A);
        bed_add(&b, BED_B);
        unsigned n = 0, told = 0, last = 0;
        for (; n < 2000; n++) {
            bed.nfaults = 0;
            assert_int_not_equal(bed_read(rid, BED_NO_PASID, 0x1000 * n, &value), 0);
            iommu_vtd.poll();
            told += bed.nfaults;
            last += bed.nfaults && bed.fault[0].last;
            assert_false(!bed.nfaults && told < FLOOD_FAULTS);
        }
        assert_int_equal(told, FLOOD_FAULTS);
        assert_int_equal(last, 1);
        assert_true(platform_logged("256 faults in a second: no more are recorded"));
        bed.nfaults = 0;
        assert_int_not_equal(bed_read(BED_B, BED_NO_PASID, 0, &value), 0);
        iommu_vtd.poll();
        assert_int_equal(bed.nfaults, 1);
        /* What it is allowed works all the same, and ends in the same way. */
        bed_stage2(&pt, &s2, a.unit);
        struct iommu_target second = bed_second(&s2);
        assert_int_equal(iommu_vtd.attach(&a, PASID_RID, &second), HV_OK);
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0);
        if (a.pri)
            assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
        iommu_vtd.device_remove(&a);
        assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, 0x4000, &value), 0);
        iommu_vtd.device_remove(&b);
        bed_stage2_gone(&pt, &s2);
        assert_int_equal(bed_check(state), 0);
    }
    bed_fresh(state);
}

static uint64_t *watched, seen[4];
static unsigned changes, unlocked;

static void look_at_the_entry(void)
{
    const struct lock *lock = &a.unit->queue.lock;
    if (watched && !memcmp(watched, seen, sizeof(seen)))
        return;
    if (watched)
        memcpy(seen, watched, sizeof(seen));
    changes++;
    unlocked += lock->next == lock->owner;
}

/* Another CPU may hide faults of the same bus, or of the same function, at any moment: two that
 * find no table would make two, and one that puts back what it read would undo what was set. */
static void root_and_context_entries_change_under_the_lock(void **state)
{
    (void)state;
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    watched = NULL;
    changes = unlocked = 0;
    bed.on_store = look_at_the_entry;
    assert_int_equal(vtd_context_hide_faults(a.unit, 0x4242), HV_OK);
    assert_int_equal(changes, 2); /* root entry, context entry */
    assert_int_equal(unlocked, 0);
    struct vtd_device *v = a.driver;
    watched = v->context;
    memcpy(seen, watched, sizeof(seen));
    assert_int_equal(vtd_context_hide_faults(a.unit, BED_A), HV_OK);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_OK);
    iommu_vtd.page_requests_off(&a);
    assert_int_equal(iommu_vtd.device_stop(&a), HV_OK);
    assert_int_equal(iommu_vtd.device_restart(&a), HV_OK);
    assert_in_range(changes, 2 + 5, 2 + 10);
    assert_int_equal(unlocked, 0);
    bed.on_store = NULL;
    iommu_vtd.device_remove(&a);
}

/* Slowly, a device may fault for ever. */
static void faults_now_and_then_are_told(void **state)
{
    uint64_t value;
    (void)state;
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    for (unsigned n = 0; n < 2 * FLOOD_FAULTS; n++) {
        bed.nfaults = 0;
        assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, 0x1000 * n, &value), 0);
        iommu_vtd.poll();
        assert_int_equal(bed.nfaults, 1);
        assert_false(bed.fault[0].last);
        platform_pass_us(10000);
    }
    iommu_vtd.device_remove(&a);
}

static void no_hardware(void **state)
{
    (void)state;
    struct iommu_device d = { .rid = BED_A };
    assert_int_equal(iommu_none.probe(NULL, 0, &bed_events), HV_OK);
    assert_int_equal(iommu_none.start(), HV_OK);
    assert_int_equal(iommu_none.unit_count(), 0);
    assert_null(iommu_none.unit_of(BED_A));
    assert_int_equal(iommu_none.device_add(&d), HV_ENOTSUP);
    assert_int_equal(iommu_none.flush(), HV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(full_unit),
        bed_test(sixteen_units),
        bed_test(what_lacks_the_needed_is_refused),
        bed_test(lesser_units_serve),
        bed_test(unit_that_does_not_snoop),
        bed_test(unit_that_caches_absence),
        bed_test(slow_unit),
        bed_test(unit_that_never_finishes),
        bed_test(found_on),
        bed_test(found_on_without_protected_ranges),
        bed_test(firmwares_events_are_off_from_the_start),
        bed_test(out_of_memory_at_start),
        bed_test(faults_are_told),
        bed_test(floods_are_hidden),
        bed_test(root_and_context_entries_change_under_the_lock),
        bed_test(faults_now_and_then_are_told),
        bed_test(no_hardware),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
