/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: what a device reaches after attach, replace, block and invalidation. */
#include "tests/unit/vtd_bed.h"

#include <string.h>

#include "drivers/iommu/vtd/unit.h"

static struct iommu_device a, b;
static struct pt pt, pt2;
static struct iommu_stage2 s2, other;

static uint64_t read_ok(rid_t rid, int32_t pasid, uint64_t address)
{
    uint64_t value = 0;
    assert_int_equal(bed_read(rid, pasid, address, &value), 0);
    return value;
}

static void start(void)
{
    bed_start(NULL, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    bed_stage2(&pt, &s2, a.unit);
}

static void stop(void)
{
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
}

static enum hv_status attach(struct iommu_device *dev, uint32_t pasid, struct iommu_target target)
{
    return iommu_vtd.attach(dev, pasid, &target);
}

static void all_is_blocked_at_start(void **state)
{
    uint64_t value;
    (void)state;
    bed_start(NULL, 1);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0, &value), 0x39);
    assert_int_equal(bed_read(0x7777, 5, 0, &value), 0x39);
    bed_add(&a, BED_A);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0, &value), 0x59);
    assert_int_equal(bed_read(BED_A, 5, 0, &value), 0x59);
    assert_int_equal(bed_read(BED_A, 0x54321, 0, &value), 0x51);
    assert_int_equal(bed_read(BED_B, BED_NO_PASID, 0, &value), 0x41);
    assert_true(a.ats && a.pri && a.pasid_bits == 20);
    assert_int_equal(pci_config_read(BED_A, 0x116, 2), 0x8000); /* ATS on, 4 KiB */
    assert_int_equal(pci_config_read(BED_A, 0x136, 2), 1);      /* PASID on, nothing privileged */
    iommu_vtd.device_remove(&a);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0, &value), 0x41);
    assert_int_equal(pci_config_read(BED_A, 0x116, 2), 0);
    assert_int_equal(pci_config_read(BED_A, 0x136, 2), 0);
}

static void no_device_raises_a_vector(void **state)
{
    uint64_t value = 0x31;
    (void)state;
    start();
    assert_int_equal(attach(&a, PASID_RID, bed_second(&s2)), HV_OK);
    struct vtd_request req = { .rid = BED_A, .access = VTD_WRITE, .addr = 0xfee00000 };
    unsigned before = bed.interrupts;
    assert_int_equal(vtd_model_dma(bed.model[0], &req, &value, 4), 0x25); /* compatibility */
    req.addr = 0xfee00010;
    assert_int_equal(vtd_model_dma(bed.model[0], &req, &value, 4), 0x22); /* not present */
    assert_in_range(bed.interrupts - before, 0, 1); /* the fault event, remapped by nobody */
    stop();
}

static void second_stage_on_rid_and_pasid(void **state)
{
    uint64_t value;
    (void)state;
    start();
    assert_int_equal(attach(&a, PASID_RID, bed_second(&s2)), HV_OK);
    assert_int_equal(read_ok(BED_A, BED_NO_PASID, 0x5000), 0x5001);
    assert_int_equal(attach(&a, 7, bed_second(&s2)), HV_OK);
    assert_int_equal(read_ok(BED_A, 7, 0x6000), 0x6001);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, BED_RAM, &value), 0x79);
    assert_int_equal(bed_read(BED_B, BED_NO_PASID, 0x5000, &value), 0x59);
    assert_int_equal(iommu_vtd.block(&a, PASID_RID), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x5000, &value), 0x59);
    assert_int_equal(read_ok(BED_A, 7, 0x6000), 0x6001);
    assert_int_equal(iommu_vtd.block(&a, 7), HV_OK);
    assert_int_equal(bed_read(BED_A, 7, 0x6000, &value), 0x59);
    stop();
}

static void nested_on_rid_and_pasid(void **state)
{
    uint64_t value;
    gpaddr_t root, root2;
    (void)state;
    start();
    root = bed_root();
    root2 = bed_root();
    bed_map(root, 0x7f0000001000, 0x3000);
    bed_map(root2, 0x7f0000001000, 0x4000);
    assert_int_equal(attach(&a, 9, bed_nested(&s2, root)), HV_OK);
    assert_int_equal(attach(&b, 9, bed_nested(&s2, root)), HV_OK);
    assert_int_equal(read_ok(BED_A, 9, 0x7f0000001000), 0x3001);
    assert_int_equal(read_ok(BED_B, 9, 0x7f0000001000), 0x3001);
    assert_int_equal(bed_read(BED_A, 9, 0x7f0000002000, &value), 0x71);
    /* Two RIDs, two first stages, one second stage: no DID may be shared (the model would
     * complain). */
    assert_int_equal(attach(&a, PASID_RID, bed_nested(&s2, root)), HV_OK);
    assert_int_equal(attach(&b, PASID_RID, bed_nested(&s2, root2)), HV_OK);
    assert_int_equal(read_ok(BED_A, BED_NO_PASID, 0x7f0000001000), 0x3001);
    assert_int_equal(read_ok(BED_B, BED_NO_PASID, 0x7f0000001000), 0x4001);
    stop();
}

/* From every kind to every kind, by RID and by PASID, also through the device TLB. */
static void every_replacement_is_clean(void **state)
{
    const uint64_t va = 0x4000;
    (void)state;
    start();
    bed_stage2(&pt2, &other, a.unit);
    /* The second stage of the other: va is page 0x8000. */
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt2, PTADDR(va), PAGE_SIZE, &freed), HV_OK);
    pt_release(&pt2, &freed);
    assert_int_equal(pt_map(&pt2, PTADDR(va), PADDR(bed.ram.v + 0x8000), PAGE_SIZE, PT_R | PT_W),
                     HV_OK);
    gpaddr_t root = bed_root(), root2 = bed_root();
    bed_map(root, va, 0x10000);
    bed_map(root2, va, 0x11000);
    const struct {
        struct iommu_target target;
        uint64_t value; /* 0: blocked */
    } kinds[] = {
        { { .kind = IOMMU_BLOCKED }, 0 },    { bed_second(&s2), 0x4001 },
        { bed_second(&other), 0x8001 },      { bed_nested(&s2, root), 0x10001 },
        { bed_nested(&s2, root2), 0x11001 }, { bed_nested(&other, root), 0x10001 },
    };
    static const uint32_t pasids[] = { PASID_RID, 3, 0xfffff };
    for (unsigned p = 0; p < ARRAY_SIZE(pasids); p++) {
        int32_t on_bus = pasids[p] == PASID_RID ? BED_NO_PASID : (int32_t)pasids[p];
        for (unsigned from = 0; from < ARRAY_SIZE(kinds); from++) {
            for (unsigned to = 0; to < ARRAY_SIZE(kinds); to++) {
                for (unsigned step = 0; step < 2; step++) {
                    unsigned k = step ? to : from;
                    uint64_t value = 0, ats = 0;
                    assert_int_equal(iommu_vtd.attach(&a, pasids[p], &kinds[k].target), HV_OK);
                    uint8_t fault = bed_read(BED_A, on_bus, va, &value);
                    bool got = bed_ats_read(BED_A, on_bus, va, &ats);
                    if (kinds[k].value) {
                        assert_int_equal(fault, 0);
                        assert_int_equal(value, kinds[k].value);
                        assert_true(got);
                        assert_int_equal(ats, kinds[k].value);
                    } else {
                        assert_true(fault == 0x59 || fault == 0x51);
                        assert_false(got);
                    }
                }
            }
        }
        assert_int_equal(iommu_vtd.block(&a, pasids[p]), HV_OK);
    }
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt2, &other);
    bed_stage2_gone(&pt, &s2);
}

/* What a read may find while an entry changes: what was, what will be, or nothing. */
static uint64_t was, will_be;

static void look(void)
{
    uint64_t value = 0;
    if (bed_read(BED_A, 7, 0x4000, &value) == 0 && value != was && value != will_be)
        fail_msg("half an entry: %#lx between %#lx and %#lx", (unsigned long)value,
                 (unsigned long)was, (unsigned long)will_be);
}

/* Two targets that differ in every piece, so that each mixture of them would read something else.
 */
static void no_store_shows_half_an_entry(void **state)
{
    (void)state;
    start();
    bed_stage2(&pt2, &other, a.unit);
    static const uint64_t moved[][2] = { { 0x10000, 0x9000 }, { 0x11000, 0xa000 } };
    for (unsigned i = 0; i < 2; i++) {
        struct pt_freed freed = { 0 };
        assert_int_equal(pt_unmap(&pt2, PTADDR(moved[i][0]), PAGE_SIZE, &freed), HV_OK);
        pt_release(&pt2, &freed);
        assert_int_equal(pt_map(&pt2, PTADDR(moved[i][0]), PADDR(bed.ram.v + moved[i][1]),
                                PAGE_SIZE, PT_R | PT_W),
                         HV_OK);
    }
    gpaddr_t root = bed_root(), root2 = bed_root();
    bed_map(root, 0x4000, 0x10000);
    bed_map(root2, 0x4000, 0x11000);
    const struct iommu_target one = bed_nested(&s2, root), two = bed_nested(&other, root2);
    assert_int_equal(attach(&a, 7, one), HV_OK);
    assert_int_equal(read_ok(BED_A, 7, 0x4000), 0x10001);
    bed.on_store = look;
    for (unsigned n = 0; n < 4; n++) {
        was = n & 1 ? 0xa001 : 0x10001;
        will_be = n & 1 ? 0x10001 : 0xa001;
        if (n >= 2) { /* by way of BLOCKED: what was is over then */
            assert_int_equal(iommu_vtd.block(&a, 7), HV_OK);
            was = will_be;
        }
        assert_int_equal(attach(&a, 7, n & 1 ? one : two), HV_OK);
        assert_int_equal(read_ok(BED_A, 7, 0x4000), will_be);
    }
    bed.on_store = NULL;
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt2, &other);
    bed_stage2_gone(&pt, &s2);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    start();
    gpaddr_t root = bed_root();
    struct iommu_target t = bed_nested(&s2, root);
    assert_int_equal(iommu_vtd.attach(&a, 1u << 20, &t), HV_ERANGE);
    t.root.v |= 8;
    assert_int_equal(iommu_vtd.attach(&a, 1, &t), HV_EALIGN);
    t.root.v = 1ull << 50;
    assert_int_equal(iommu_vtd.attach(&a, 1, &t), HV_ERANGE);
    t = bed_nested(&s2, root);
    t.levels = 6;
    assert_int_equal(iommu_vtd.attach(&a, 1, &t), HV_ENOTSUP);
    struct iommu_stage2 none;
    struct pt wrong = pt;
    wrong.levels = 2;
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &wrong, &none), HV_ENOTSUP);
    wrong = pt;
    wrong.format = &pt_format_x86;
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &wrong, &none), HV_ENOTSUP);
    struct iommu_device again = { .rid = BED_A, .unit = a.unit, .quota = &bed.quota };
    assert_int_equal(iommu_vtd.device_add(&again), HV_EEXIST);
    uint64_t value;
    assert_int_equal(bed_read(BED_A, 1, 0, &value), 0x59);
    stop();
}

static void a_plain_function_has_its_rid_only(void **state)
{
    struct iommu_device plain;
    uint64_t value;
    (void)state;
    start();
    bed_add(&plain, BED_PLAIN);
    assert_false(plain.ats || plain.pri || plain.pasid_bits);
    assert_int_equal(attach(&plain, PASID_RID, bed_second(&s2)), HV_OK);
    assert_int_equal(read_ok(BED_PLAIN, BED_NO_PASID, 0x9000), 0x9001);
    assert_int_equal(attach(&plain, 1, bed_second(&s2)), HV_ERANGE);
    assert_int_equal(bed_read(BED_PLAIN, 1, 0x9000, &value), 0x45);
    assert_int_equal(iommu_vtd.page_requests_on(&plain, 1), HV_ENOTSUP);
    assert_int_equal(iommu_vtd.block(&plain, PASID_RID), HV_OK);
    assert_int_equal(bed_read(BED_PLAIN, BED_NO_PASID, 0x9000, &value), 0x59);
    iommu_vtd.device_remove(&plain);
    stop();
}

/* The guest changes its first stage and says so: by page, by range, by PASID, by all. */
static void first_stage_changes_are_seen(void **state)
{
    uint64_t value;
    (void)state;
    start();
    gpaddr_t root = bed_root();
    static const enum iommu_inval_kind kinds[] = { IOMMU_INVAL_RANGE, IOMMU_INVAL_PASID,
                                                   IOMMU_INVAL_ALL, IOMMU_INVAL_PAGES };
    iova_t pages[40]; /* more than the driver takes at once */
    for (unsigned i = 0; i < 40; i++)
        pages[i] = IOVA(i < 35 ? 0x900000 + i * PAGE_SIZE : 0x1ff000 + (i - 35) * PAGE_SIZE);
    static const uint32_t pasids[] = { PASID_RID, 12 };
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
        uint32_t pasid = pasids[i & 1];
        int32_t on_bus = pasid ? (int32_t)pasid : BED_NO_PASID;
        enum iommu_inval_kind kind = kinds[i / 2];
        for (uint64_t page = 0; page < 5; page++)
            bed_map(root, 0x1ff000 + page * PAGE_SIZE, 0x20000 + page * PAGE_SIZE);
        assert_int_equal(attach(&a, pasid, bed_nested(&s2, root)), HV_OK);
        for (uint64_t page = 0; page < 5; page++) {
            assert_int_equal(read_ok(BED_A, on_bus, 0x1ff000 + page * PAGE_SIZE),
                             0x20001 + page * PAGE_SIZE);
            assert_true(bed_ats_read(BED_A, on_bus, 0x1ff000 + page * PAGE_SIZE, &value));
        }
        for (uint64_t page = 0; page < 5; page++)
            bed_map(root, 0x1ff000 + page * PAGE_SIZE, 0x30000 + page * PAGE_SIZE);
        /* Not told yet: the model keeps what it may, or this test would show nothing. */
        assert_int_equal(read_ok(BED_A, on_bus, 0x1ff000), 0x20001);
        iommu_vtd.invalidate(&(struct iommu_inval){
            .dev = &a,
            .pasid = pasid,
            .kind = kind,
            .leaf = true,
            .address = IOVA(0x1ff000),
            .bytes = 5 * PAGE_SIZE,
            .page = pages,
            .pages = 40,
        });
        assert_int_equal(iommu_vtd.flush(), HV_OK);
        for (uint64_t page = 0; page < 5; page++) {
            uint64_t at = 0x1ff000 + page * PAGE_SIZE;
            assert_int_equal(read_ok(BED_A, on_bus, at), 0x30001 + page * PAGE_SIZE);
            assert_true(bed_ats_read(BED_A, on_bus, at, &value));
            assert_int_equal(value, 0x30001 + page * PAGE_SIZE);
        }
        assert_int_equal(iommu_vtd.block(&a, pasid), HV_OK);
    }
    stop();
}

/* Sluice takes a page of the second stage away: under every target and behind every TLB. */
static void second_stage_changes_are_seen(void **state)
{
    uint64_t value;
    (void)state;
    start();
    gpaddr_t root = bed_root();
    bed_map(root, 0x55000, 0x40000);
    assert_int_equal(attach(&a, PASID_RID, bed_second(&s2)), HV_OK);
    assert_int_equal(attach(&a, 5, bed_nested(&s2, root)), HV_OK);
    assert_int_equal(attach(&a, 6, bed_second(&s2)), HV_OK);
    assert_int_equal(attach(&b, PASID_RID, bed_nested(&s2, root)), HV_OK);
    static const struct {
        rid_t rid;
        int32_t pasid;
        uint64_t address;
    } paths[] = {
        { BED_A, BED_NO_PASID, 0x40000 },
        { BED_A, 5, 0x55000 },
        { BED_A, 6, 0x40000 },
        { BED_B, BED_NO_PASID, 0x55000 },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_int_equal(read_ok(paths[i].rid, paths[i].pasid, paths[i].address), 0x40001);
        assert_true(bed_ats_read(paths[i].rid, paths[i].pasid, paths[i].address, &value));
    }
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(0x40000), PAGE_SIZE, &freed), HV_OK);
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x40000), PAGE_SIZE), HV_OK);
    pt_release(&pt, &freed);
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_int_equal(bed_read(paths[i].rid, paths[i].pasid, paths[i].address, &value), 0x79);
        assert_false(bed_ats_read(paths[i].rid, paths[i].pasid, paths[i].address, &value));
    }
    stop();
}

/* What a nested PASID has in its device TLB lies under addresses of the guest's first stage, which
 * nobody here knows: all of it goes. But of that second stage alone, and of devices that use it:
 * the others keep what they have, and are not spoken to. */
static void second_stage_changes_hit_nobody_else(void **state)
{
    uint64_t value;
    struct pt foreign_pt;
    struct iommu_stage2 foreign;
    (void)state;
    start();
    gpaddr_t root = bed_root();
    bed_map(root, 0x55000, 0x40000);
    bed_stage2(&foreign_pt, &foreign, a.unit);
    assert_int_equal(attach(&a, 5, bed_nested(&s2, root)), HV_OK);
    assert_int_equal(attach(&b, 5, bed_nested(&foreign, root)), HV_OK);
    assert_int_equal(attach(&b, PASID_RID, bed_second(&foreign)), HV_OK);
    assert_true(bed_ats_read(BED_A, 5, 0x55000, &value));
    assert_true(bed_ats_read(BED_B, 5, 0x55000, &value));
    bed.silent[BED_B] = true; /* an order to it would wait in vain, and cost it its attachment */
    unsigned before = bed.tlb_invalidations;
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x70000), PAGE_SIZE), HV_OK);
    assert_int_equal(bed.tlb_invalidations, before + 1);
    assert_int_equal(bed.unanswered, 0);
    bed.silent[BED_B] = false;
    assert_false(b.failed);
    assert_true(bed_ats_read(BED_B, 5, 0x55000, &value));
    assert_int_equal(value, 0x40001);
    assert_int_equal(iommu_vtd.block(&b, PASID_RID), HV_OK);
    assert_int_equal(iommu_vtd.block(&b, 5), HV_OK);
    bed_stage2_gone(&foreign_pt, &foreign);
    stop();
}

/* A device that goes and comes back finds nothing of what it had: not in the unit, not in its TLB.
 */
static void removal_leaves_nothing(void **state)
{
    uint64_t value;
    (void)state;
    start();
    bed_stage2(&pt2, &other, a.unit);
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt2, PTADDR(0), BED_RAM, &freed), HV_OK);
    pt_release(&pt2, &freed);
    assert_int_equal(pt_map(&pt2, PTADDR(0), PADDR(bed.ram.v + 0x100000), 0x100000, PT_R), HV_OK);
    gpaddr_t root = bed_root();
    bed_map(root, 0x1000, 0x2000);
    for (unsigned round = 0; round < 4; round++) {
        bool nested = round & 1;
        int32_t end = round < 2 ? 5 : 0; /* with a PASID, or the RID alone */
        struct iommu_target t = nested ? bed_nested(&s2, root) : bed_second(&s2);
        uint64_t want = nested ? 0x2001 : 0x1001;
        assert_int_equal(attach(&a, PASID_RID, t), HV_OK);
        if (end)
            assert_int_equal(attach(&a, 5, t), HV_OK);
        for (int32_t pasid = BED_NO_PASID; pasid <= end; pasid += 6) {
            assert_int_equal(read_ok(BED_A, pasid, 0x1000), want);
            assert_true(bed_ats_read(BED_A, pasid, 0x1000, &value) && value == want);
        }
        iommu_vtd.device_remove(&a);
        bed_add(&a, BED_A);
        assert_int_equal(attach(&a, PASID_RID, bed_second(&other)), HV_OK);
        assert_int_equal(attach(&a, 5, bed_second(&other)), HV_OK);
        for (int32_t pasid = BED_NO_PASID; pasid <= 5; pasid += 6) {
            assert_int_equal(read_ok(BED_A, pasid, 0x1000), 0x101001);
            assert_true(bed_ats_read(BED_A, pasid, 0x1000, &value));
            assert_int_equal(value, 0x101001);
        }
    }
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt2, &other);
    bed_stage2_gone(&pt, &s2);
}

/* Functions that do not know "all PASIDs" are told each. */
static void without_global_invalidation(void **state)
{
    bed.ats_capability = 0x0020;
    second_stage_changes_are_seen(state);
    assert_int_equal(bed_check(state), 0);
    bed_fresh(state);
    bed.ats_capability = 0x0020;
    removal_leaves_nothing(state);
    assert_int_equal(bed_check(state), 0);
    bed_fresh(state);
    bed.ats_capability = 0x0020;
    first_stage_changes_are_seen(state);
}

static unsigned told, told_under_lock;

static void note_lock(void)
{
    const struct lock *l = &a.unit->devices_lock;
    told++;
    told_under_lock += atomic_load(&l->next) != atomic_load(&l->owner);
}

/* More PASIDs than the ring has room for, each with a message of its own: nobody else waits for
 * that. */
static void many_messages_hold_nobody_up(void **state)
{
    enum { MANY = 3000 };
    uint64_t value;
    (void)state;
    bed.ats_capability = 0x0020;
    start();
    for (uint32_t pasid = 1; pasid <= MANY; pasid++)
        assert_int_equal(attach(&a, pasid, bed_second(&s2)), HV_OK);
    assert_true(bed_ats_read(BED_A, MANY, 0x40000, &value));
    struct pt_freed freed = { 0 };
    assert_int_equal(pt_unmap(&pt, PTADDR(0x40000), PAGE_SIZE, &freed), HV_OK);
    told = told_under_lock = 0;
    bed.on_tlb = note_lock;
    assert_int_equal(iommu_vtd.stage2_changed(&s2, GPADDR(0x40000), PAGE_SIZE), HV_OK);
    bed.on_tlb = NULL;
    pt_release(&pt, &freed);
    assert_int_equal(told, MANY);
    assert_int_equal(told_under_lock, 0);
    assert_false(bed_ats_read(BED_A, MANY, 0x40000, &value));
    stop();
}

/* Functions that break the rules of configuration space get less, or nothing. */
static void odd_functions(void **state)
{
    (void)state;
    bed_make(NULL, 1);
    uint8_t table[4096];
    assert_int_equal(iommu_vtd.probe(table, bed_dmar(table), &bed_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    platform_put(bed_function(BED_A)->config, 0x100, 4,
                 0x1001000b);                                    /* a list that bites its tail */
    platform_put(bed_function(BED_B)->config, 0x114, 2, 0x0040); /* ATS not page aligned */
    platform_put(bed_function(BED_C)->config, 0x126, 2, 0x0100); /* no PASID in responses */
    struct iommu_device c;
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
    bed_add(&c, BED_C);
    assert_false(a.ats || a.pri || a.pasid_bits);
    assert_false(b.ats || b.pri);
    assert_int_equal(b.pasid_bits, 20);
    assert_true(c.ats && !c.pri);
    bed_stage2(&pt, &s2, a.unit);
    assert_int_equal(attach(&a, PASID_RID, bed_second(&s2)), HV_OK);
    assert_int_equal(attach(&b, 5, bed_second(&s2)), HV_OK);
    assert_int_equal(read_ok(BED_A, BED_NO_PASID, 0x1000), 0x1001);
    assert_int_equal(read_ok(BED_B, 5, 0x1000), 0x1001);
    iommu_vtd.device_remove(&c);
    stop();
}

/* Page requests of old that never come to an end: the function cannot be trusted with new ones. */
static void page_requests_that_never_stop(void **state)
{
    uint64_t value;
    (void)state;
    start();
    assert_int_equal(attach(&a, 5, bed_second(&s2)), HV_OK);
    platform_put(bed_function(BED_A)->config, 0x126, 2, 0x8000);
    assert_int_equal(iommu_vtd.page_requests_on(&a, 8), HV_ETIMEDOUT);
    assert_int_equal(bed_read(BED_A, 5, 0x1000, &value), 0x41);
    assert_int_equal(iommu_vtd.page_requests_free(a.unit), 2047);
    iommu_vtd.poll();
    assert_int_equal(bed.nfailed, 1);
    assert_int_equal(bed.failed_why[0], HV_ETIMEDOUT);
    stop();
}

/* A domain id that is given back and taken again brings nothing of its past. */
static void domain_ids_are_reused_clean(void **state)
{
    (void)state;
    struct vtd_model_config config = bed_config();
    config.cap &= ~7ull; /* ND = 0: 16 ids */
    bed_start(&config, 1);
    bed_add(&a, BED_A);
    static struct pt p[16];
    struct iommu_stage2 s[16];
    unsigned n = 0;
    enum hv_status status = HV_OK;
    for (; n < 16; n++) {
        assert_int_equal(pt_create(&p[n], &pt_format_vtd2, &bed.quota, 4, 0, false), HV_OK);
        status = iommu_vtd.stage2_create(a.unit, &p[n], &s[n]);
        if (status)
            break;
        assert_int_equal(pt_map(&p[n], PTADDR(0), PADDR(bed.ram.v + n * 0x10000), 0x10000, PT_R),
                         HV_OK);
        assert_int_equal(attach(&a, 1 + n, bed_second(&s[n])), HV_OK);
        assert_int_equal(read_ok(BED_A, (int32_t)(1 + n), 0), n * 0x10000 + 1);
    }
    assert_int_equal(n, 15); /* never id 0 */
    assert_int_equal(status, HV_ENOMEM);
    uint32_t old = s[4].id;
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    assert_int_equal(iommu_vtd.stage2_destroy(&s[4]), HV_OK);
    assert_int_equal(pt_map(&p[15], PTADDR(0), PADDR(bed.ram.v + 0x200000), 0x10000, PT_R), HV_OK);
    assert_int_equal(iommu_vtd.stage2_create(a.unit, &p[15], &s[4]), HV_OK);
    assert_int_equal(s[4].id, old);
    assert_int_equal(attach(&a, 5, bed_second(&s[4])), HV_OK);
    assert_int_equal(read_ok(BED_A, 5, 0), 0x200001);
    iommu_vtd.device_remove(&a);
    for (n = 0; n < 15; n++)
        assert_int_equal(iommu_vtd.stage2_destroy(&s[n]), HV_OK);
    for (n = 0; n < 16; n++)
        pt_destroy(&p[n]);
}

static void out_of_memory_changes_nothing(void **state)
{
    uint64_t value;
    (void)state;
    bed_start(NULL, 1);
    bed_stage2(&pt, &s2, iommu_vtd.unit(0));
    a = (struct iommu_device){ .rid = BED_A, .unit = s2.unit, .quota = &bed.quota };
    uint64_t used = bed.quota.used;
    enum hv_status status = HV_ENOMEM;
    int64_t n = 0;
    for (; status == HV_ENOMEM && n < 20; n++) {
        pages_fail_after(n);
        status = iommu_vtd.device_add(&a);
        pages_fail_after(-1);
        if (status) {
            assert_int_equal(bed.quota.used, used);
            assert_true(bed_read(BED_A, BED_NO_PASID, 0, &value) != 0);
        }
    }
    assert_int_equal(status, HV_OK);
    assert_in_range(n, 4,
                    8); /* device, its slot, context table, directory, table: each failed once */
    struct iommu_target t = bed_second(&s2);
    pages_fail_after(0);
    assert_int_equal(iommu_vtd.attach(&a, 0x12345, &t), HV_ENOMEM);
    assert_int_equal(bed_read(BED_A, 0x12345, 0, &value), 0x51);
    assert_int_equal(iommu_vtd.attach(&a, 5, &t), HV_OK); /* a table is there */
    assert_int_equal(iommu_vtd.block(&a, 5), HV_OK);
    pages_fail_after(-1);
    bed.quota.limit = bed.quota.used;
    assert_int_equal(iommu_vtd.attach(&a, 0x12345, &t), HV_EQUOTA);
    bed.quota.limit = 100000;
    assert_int_equal(iommu_vtd.attach(&a, 0x12345, &t), HV_OK);
    iommu_vtd.device_remove(&a);
    bed_stage2_gone(&pt, &s2);
}

/* All 2^20 - 1 PASIDs of one device: the last costs what the first cost. Time on this platform is
 * counted in turns of loops and looks at the clock, so a scan would not show; the queue's tail
 * writes and the number of stores do. */
static unsigned stores;

static void count_store(void *ctx, uint64_t hpa, unsigned size)
{
    (void)ctx, (void)hpa, (void)size;
    stores++;
}

static void many_pasids(void **state)
{
    enum { ALL = 1u << 20 };
    (void)state;
    start();
    gpaddr_t root = bed_root();
    bed_map(root, 0x1000, 0x5000);
    struct iommu_target t = bed_nested(&s2, root);
    uint64_t first_cost = 0, pages = bed.quota.used, tables = 0;
    platform_set_hooks(&(struct platform_hooks){ .store = count_store });
    /* From the last one down; tables are made as they are used, one for 64. PASID 0 has one. */
    for (uint32_t pasid = ALL - 1; pasid; pasid--) {
        stores = 0;
        uint64_t tails = bed.tail_writes;
        assert_int_equal(iommu_vtd.attach(&a, pasid, &t), HV_OK);
        tables += pasid % 64 == 63 && pasid > 63;
        assert_int_equal(bed.quota.used - pages, tables);
        if (pasid % 64 == 63)
            continue;
        uint64_t cost = stores + (bed.tail_writes - tails) * 1000;
        if (!first_cost)
            first_cost = cost;
        assert_int_equal(cost, first_cost);
    }
    assert_int_equal(iommu_vtd.attach(&a, ALL, &t), HV_ERANGE);
    assert_int_equal(read_ok(BED_A, 1, 0x1000), 0x5001);
    assert_int_equal(read_ok(BED_A, ALL - 1, 0x1000), 0x5001);
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
    bed_stage2_gone(&pt, &s2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(all_is_blocked_at_start),
        bed_test(no_device_raises_a_vector),
        bed_test(second_stage_on_rid_and_pasid),
        bed_test(nested_on_rid_and_pasid),
        bed_test(every_replacement_is_clean),
        bed_test(no_store_shows_half_an_entry),
        bed_test(what_does_not_fit_is_refused),
        bed_test(a_plain_function_has_its_rid_only),
        bed_test(first_stage_changes_are_seen),
        bed_test(second_stage_changes_are_seen),
        bed_test(second_stage_changes_hit_nobody_else),
        bed_test(removal_leaves_nothing),
        bed_test(without_global_invalidation),
        bed_test(many_messages_hold_nobody_up),
        bed_test(odd_functions),
        bed_test(page_requests_that_never_stop),
        bed_test(domain_ids_are_reused_clean),
        bed_test(out_of_memory_changes_nothing),
        bed_test(many_pasids),
    };
    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
