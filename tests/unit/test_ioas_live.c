/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * An IOAS under a device that works: what a guest that emulates an IOMMU of its own does with it.
 * After each store of the hypervisor the device looks at everything that is mapped for good.
 */
#include "hv/device.h"
#include "hv/ioas.h"
#include "tests/unit/ioas_rig.h"

#define RW    (HC_IOAS_READ | HC_IOAS_WRITE)
#define FIXED (RW | HC_IOAS_FIXED)
#define HOLD  (HC_IOAS_RESERVE | HC_IOAS_FIXED)

static struct ref facts;
static uint32_t ioas;

static enum hv_status map(uint32_t flags, uint64_t iova, uint64_t gpa, uint64_t bytes)
{
    struct hc_ioas_map in = {
        .flags = flags, .ioas = ioas, .iova = iova, .gpa = gpa, .bytes = bytes
    };

    return rig_struct(HC_IOAS_MAP, &in, sizeof(in), false, NULL);
}

static enum hv_status unmap(uint32_t flags, uint64_t iova, uint64_t bytes)
{
    struct hc_ioas_unmap in = { .flags = flags, .ioas = ioas, .iova = iova, .bytes = bytes };

    return rig_struct(HC_IOAS_UNMAP, &in, sizeof(in), false, NULL);
}

static enum hv_status attach(uint32_t device, uint32_t pasid, enum hc_domain domain)
{
    struct hc_attach in = { .device = device, .pasid = pasid, .domain = domain };

    in.root = domain == HC_DOMAIN_PAGING ? ioas : 0;
    return rig_struct(HC_ATTACH, &in, sizeof(in), false, NULL);
}

static int start(void **state)
{
    struct hc_ioas_create in = { 0 };
    uint64_t value;

    (void)state;
    rig_start(4, &facts);
    assert_int_equal(rig_struct(HC_IOAS_CREATE, &in, sizeof(in), false, &value), HV_OK);
    ioas = (uint32_t)value;
    return 0;
}

static bool reaches(uint32_t device, uint32_t pasid, uint64_t iova, bool ats, uint64_t gpa)
{
    uint64_t hpa;

    return rig_translate(device, pasid, iova, false, ats, &hpa) &&
           hpa == virt_to_phys(vm_ram(rig.vm, GPADDR(gpa), 1)).v;
}

/* --- The device that works -------------------------------------------------------------------- */

#define WORKER_PASID 7u
#define WORK         8u /* pages at 0x100000, 0x102000, ...; all in one of guest memory */
#define WORK_GPA     0x800000ull

static struct {
    bool on, looking;
    unsigned looks;
} worker;

static uint64_t work_at(unsigned i)
{
    return 0x100000 + i * 2ull * PAGE_SIZE;
}

static void work(void *ctx, uint64_t hpa, unsigned size)
{
    (void)ctx, (void)hpa, (void)size;
    if (!worker.on || worker.looking)
        return;
    worker.looking = true; /* accessed bits are stores, too */
    for (unsigned i = 0; i < WORK; i++) {
        if (!reaches(0, WORKER_PASID, work_at(i), worker.looks & 1, WORK_GPA + i * PAGE_SIZE))
            fail_msg("the device that works lost %#llx", (unsigned long long)work_at(i));
    }
    worker.looks++;
    worker.looking = false;
}

static void start_working(void)
{
    for (unsigned i = 0; i < WORK; i++)
        assert_int_equal(map(FIXED, work_at(i), WORK_GPA + i * PAGE_SIZE, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(0, WORKER_PASID, HC_DOMAIN_PAGING), HV_OK);
    platform_set_hooks(&(struct platform_hooks){ .store = work, .relax = rig_relax });
    worker = (typeof(worker)){ .on = true };
}

/* It saw each step of what was done, and goes on. */
static void stop_working(void)
{
    assert_true(worker.looks > 0);
    work(NULL, 0, 0);
    worker.on = false;
}

static int finish(void **state)
{
    worker.on = false;
    bool good = !rig.complaints && rig_end() == 0;

    (void)state;
    return good && !rig.complaints ? 0 : -1;
}

/* What the IOAS holds, and which addresses it allows, in one number. */
static uint64_t content(void)
{
    struct hc_ioas_ranges in = { .ioas = ioas, .count = 96, .ranges = RIG_SCRATCH + 0x1000 };
    const struct hc_iova_range *range = vm_ram(rig.vm, GPADDR(RIG_SCRATCH + 0x1000), 96 * 16);
    uint64_t hash = rig.vm->quota.used, n;

    assert_int_equal(rig_struct(HC_IOAS_RANGES, &in, sizeof(in), false, &n), HV_OK);
    for (unsigned i = 0; i < (uint32_t)n; i++)
        hash = (hash ^ range[i].first ^ range[i].last << 1) * 0x100000001b3ull;
    const struct interval_set *set = &ioas_find(rig.vm, ioas)->iova.set;
    for (const struct interval *v = interval_from(set, 0); v; v = interval_next(set, v)) {
        const uint64_t words[] = { v->first, v->last, v->value, v->flags };
        for (unsigned i = 0; i < 4; i++)
            hash = (hash ^ words[i]) * 0x100000001b3ull;
    }
    return hash;
}

/* Let @call succeed in the end, failing once at each page that it needs: each failure changes
 * nothing. */
#define works_in_the_end(call)                                                                     \
    do {                                                                                           \
        enum hv_status status_ = HV_ENOMEM;                                                        \
        for (int64_t pages_ = 0; status_ == HV_ENOMEM; pages_++) {                                 \
            uint64_t before_ = content();                                                          \
            assert_true(pages_ < 64);                                                              \
            pages_fail_after(pages_);                                                              \
            status_ = call;                                                                        \
            pages_fail_after(-1);                                                                  \
            assert_true(status_ == HV_OK || content() == before_);                                 \
        }                                                                                          \
        assert_int_equal(status_, HV_OK);                                                          \
    } while (0)

/* --- Reserved areas move ---------------------------------------------------------------------- */

/* A guest's own IOMMU takes reserved areas away and puts them elsewhere while devices work. Each
 * step works or changes nothing, so it can always go back. */
static void reserved_areas_move_or_stay_as_they_are(void **state)
{
    const uint64_t old = 0x40000000, new = 0x7000000000, size = 0x400000;

    (void)state;
    start_working();
    works_in_the_end(map(HOLD, old, 0, size));
    works_in_the_end(map(FIXED, old + 0x1000, 0x900000, 0x3000)); /* over the reservation */
    /* What is in the way refuses the new place as a whole. */
    uint64_t before = content();
    assert_int_equal(map(HOLD, work_at(3) - PAGE_SIZE, 0, size), HV_EEXIST);
    assert_int_equal(map(HOLD, 0xfee00000 - size / 2, 0, size), HV_ERANGE); /* interrupts */
    assert_int_equal(map(HOLD, old + size - PAGE_SIZE, 0, size), HV_EEXIST);
    assert_int_equal(unmap(HC_IOAS_UNRESERVE, new, size), HV_ENOENT);
    assert_true(content() == before);
    works_in_the_end(map(HOLD, new, 0, size));
    works_in_the_end(unmap(HC_IOAS_UNRESERVE, old, size));
    assert_true(reaches(0, WORKER_PASID, old + 0x1000, false, 0x900000)); /* what lay over it */
    works_in_the_end(unmap(0, old + 0x2000, PAGE_SIZE)); /* out of the middle: splits */
    works_in_the_end(unmap(0, old, size));
    assert_int_equal(map(RW, old, 0x900000, PAGE_SIZE), HV_OK); /* free again */
    assert_true(reaches(0, WORKER_PASID, old, false, 0x900000));
    stop_working();
}

/* --- Devices come ----------------------------------------------------------------------------- */

/* One that cannot have the IOAS, for each reason there is; the one that works notices nothing. */
static void a_device_that_cannot_come_disturbs_nobody(void **state)
{
    (void)state;
    start_working();
    assert_int_equal(map(FIXED, RIG_RESERVED, 0x900000, PAGE_SIZE), HV_OK); /* not for device 1 */
    assert_int_equal(map(FIXED, 1ull << 40, 0x900000, PAGE_SIZE), HV_OK);   /* nor for device 2 */
    uint64_t before = content();
    assert_int_equal(attach(1, WORKER_PASID, HC_DOMAIN_PAGING), HV_EBUSY);
    assert_int_equal(attach(1, HC_PASID_NONE, HC_DOMAIN_PAGING), HV_EBUSY);
    assert_int_equal(attach(2, WORKER_PASID, HC_DOMAIN_PAGING), HV_EBUSY);
    assert_true(content() == before);
    /* One that could, if there were memory: tables of another kind, for all that is mapped. */
    int64_t pages = 0;
    for (enum hv_status status = HV_ENOMEM; status != HV_OK; pages++) {
        assert_true(pages < 64);
        pages_fail_after(pages);
        status = attach(4, HC_PASID_NONE, HC_DOMAIN_PAGING);
        pages_fail_after(-1);
        assert_true(status == HV_OK || (status == HV_ENOMEM && content() == before));
    }
    assert_true(pages > 3);
    assert_true(reaches(4, HC_PASID_NONE, work_at(3), false, WORK_GPA + 3 * PAGE_SIZE));
    /* One that does not answer, and is lost; and one whose addresses were required. */
    rig.silent[4] = true;
    (void)attach(4, HC_PASID_NONE, HC_DOMAIN_IDENTITY);
    assert_int_equal(attach(4, HC_PASID_NONE, HC_DOMAIN_BLOCKED), HV_OK);
    assert_int_equal(attach(4, HC_PASID_NONE, HC_DOMAIN_PAGING), HV_EIO);
    stop_working();
}

static void a_device_that_would_take_required_addresses_disturbs_nobody(void **state)
{
    struct hc_iova_range *list = vm_ram(rig.vm, GPADDR(RIG_SCRATCH + 0x800), sizeof(*list));
    struct hc_ioas_ranges in = { .ioas = ioas, .count = 1, .ranges = RIG_SCRATCH + 0x800 };

    (void)state;
    start_working();
    *list = (struct hc_iova_range){ 0, RIG_RESERVED + 0xfff };
    assert_int_equal(rig_struct(HC_IOAS_REQUIRE_IOVA, &in, sizeof(in), false, NULL), HV_OK);
    uint64_t before = content();
    assert_int_equal(attach(1, WORKER_PASID, HC_DOMAIN_PAGING), HV_EREQUIRED);
    assert_true(content() == before);
    assert_int_equal(attach(2, WORKER_PASID, HC_DOMAIN_PAGING), HV_OK);
    assert_true(reaches(2, WORKER_PASID, work_at(5), true, WORK_GPA + 5 * PAGE_SIZE));
    stop_working();
}

/* --- Mappings before there is anybody --------------------------------------------------------- */

/* All of an address space is described before the first device comes, as when a guest's guest
 * starts or is moved; then each device has all of it at once, whatever its unit. */
static void mappings_may_come_before_devices(void **state)
{
    enum { MAPPINGS = 300 };

    (void)state;
    for (unsigned i = 0; i < MAPPINGS; i++)
        assert_int_equal(
            map(FIXED, 0x10000000 + i * 0x3000ull, 0x800000 + i * PAGE_SIZE, PAGE_SIZE), HV_OK);
    assert_int_equal(map(FIXED, 0x40000000, 0x400000, 0x200000), HV_OK);
    assert_int_equal(map(HOLD, 0x50000000, 0, 0x10000000), HV_OK);
    assert_int_equal(map(FIXED, 0x50001000, 0x900000, PAGE_SIZE), HV_OK);
    for (unsigned d = 0; d < facts.ndevices; d++) {
        assert_false(reaches(d, WORKER_PASID, 0x10000000, false, 0x800000));
        assert_int_equal(attach(d, WORKER_PASID, HC_DOMAIN_PAGING), HV_OK);
        for (unsigned i = 0; i < MAPPINGS; i += 13) {
            assert_true(reaches(d, WORKER_PASID, 0x10000000 + i * 0x3000ull, i & 1,
                                0x800000 + i * PAGE_SIZE));
            assert_false(reaches(d, WORKER_PASID, 0x10001000 + i * 0x3000ull, false, 0));
        }
        assert_true(reaches(d, WORKER_PASID, 0x401ff000, true, 0x5ff000));
        assert_true(reaches(d, WORKER_PASID, 0x50001000, false, 0x900000));
        assert_false(reaches(d, WORKER_PASID, 0x50002000, false, 0));
    }
}

int main(void)
{
#define live_test(f) cmocka_unit_test_setup_teardown(f, start, finish)
    const struct CMUnitTest tests[] = {
        live_test(reserved_areas_move_or_stay_as_they_are),
        live_test(a_device_that_cannot_come_disturbs_nobody),
        live_test(a_device_that_would_take_required_addresses_disturbs_nobody),
        live_test(mappings_may_come_before_devices),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
