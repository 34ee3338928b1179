/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Life and death of devices, with core, driver and model: reset by the guest, the end of a VM,
 * removal by surprise; at every point of a long sequence of calls, with requests outstanding.
 */
#include <string.h>

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/flr.h"
#include "hv/vpci.h"
#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define VA      0x7f0000000000ull
#define TAKEN   5u         /* PASID attached by hand */
#define LONGEST 7000000ull /* us that anything may take, whatever hardware does */

static struct vm *vm, *other;
static gpaddr_t root, root2;
static uint32_t pasid, bond;
static struct boot_vm config = { .npci = 3,
                                 .pci = { { BED_A, 1 }, { BED_B, 2 }, { BED_PLAIN, 3 } } };

static int fresh(void **state)
{
    uint8_t table[4096];
    int result = bed_fresh(state);

    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    bed_make(NULL, 1);
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    other = abi_make_vm(1, "other", platform_ram(2 << 20), 2 << 20);
    assert_int_equal(pt_create(&vm->npt, &pt_format_npt, &vm->quota, 4, 1, false), HV_OK);
    assert_int_equal(vpci_create(vm, &config), HV_OK);
    for (unsigned i = 0; i < config.npci; i++)
        assert_int_equal(device_add(vm, &config.pci[i]), HV_OK);
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_C, 4 }), HV_OK);
    root = bed_root();
    root2 = bed_root();
    return result;
}

static void end_vm(void)
{
    device_end(vm);
    vpci_destroy(vm);
    pt_destroy(&vm->npt);
    assert_int_equal(vm->quota.used, 0);
}

static int check(void **state)
{
    end_vm();
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

/* --- What there is ---------------------------------------------------------------------------- */

struct counts {
    uint64_t pages, quota, other_quota;
    uint32_t objects, pasids, promised, open, unit_promised, ids, attached;
    uint32_t handles;
};

static uint32_t entries(const struct idmap *map)
{
    uint32_t n = 0;

    for (uint32_t id = 0; (id = idmap_next(map, id)) < IDMAP_SIZE; id++)
        n++;
    return n;
}

static struct counts count(void)
{
    const struct iommu_unit *unit = iommu_vtd.unit(0);
    struct counts c = {
        .pages = pages_used(),
        .quota = vm->quota.used,
        .other_quota = other->quota.used,
        .unit_promised = unit->prq.promised,
    };
    for (uint32_t i = 0; i < unit->dids.count; i++)
        c.ids += unit->dids.used[i / 64] >> i % 64 & 1;
    for (const struct vtd_device *v = unit->devices; v; v = v->next)
        c.attached += v->nuses + (v->rid_stage2 != 0);
    if (vm->sva) {
        c.objects = vm->sva->objects.objects;
        c.pasids = entries(&vm->sva->pasids);
        c.handles = entries(&vm->sva->handles);
        c.promised = vm->rings->promised;
        c.open = vm->rings->open;
    }
    return c;
}

static void same(const struct counts *a, const struct counts *b, unsigned steps)
{
    static_assert(sizeof(*a) % 4 == 0);
    for (unsigned i = 0; i < sizeof(*a) / 4; i++) {
        if (((const uint32_t *)a)[i] != ((const uint32_t *)b)[i])
            print_error("after %u steps: count %u: %u, was %u\n", steps, i,
                        ((const uint32_t *)b)[i], ((const uint32_t *)a)[i]);
    }
    assert_memory_equal(a, b, sizeof(*a));
}

static uint64_t started;

static void begin_timing(void)
{
    started = time_now();
}

static void was_bounded(void)
{
    assert_in_range((time_now() - started) / time_ticks_per_us(), 0, LONGEST);
}

static struct hc_device_info info_of(uint32_t device)
{
    assert_int_equal(call(vm, HC_DEVICE_INFO, device, SCRATCH, sizeof(struct hc_device_info), NULL),
                     HV_OK);
    return *(struct hc_device_info *)ram(vm, SCRATCH);
}

static enum hv_status reset(uint32_t device)
{
    begin_timing();
    enum hv_status status = call(vm, HC_DEVICE_RESET, device, 0, 0, NULL);
    was_bounded();
    return status;
}

/* Events of a type, of all that there are. */
static unsigned events_of(uint32_t type, uint32_t device)
{
    struct hc_event e;
    unsigned n = 0;

    while (take_event(vm, &e))
        n += e.type == type && e.device == device;
    return n;
}

static uint64_t read_through_tlb(rid_t rid, uint64_t address)
{
    uint64_t value = 0;

    return bed_ats_read(rid, (int32_t)pasid, address, &value) ? value : 0;
}

/* A process of the guest on both devices, with a page that both have cached. */
static void work(void)
{
    bond = bind(vm, 0, root.v, &pasid);
    bind(vm, 1, root.v, NULL);
    bed_map(root, VA, 0x30000);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
}

static void device_works(uint32_t device, rid_t rid)
{
    uint64_t value;

    assert_int_equal(info_of(device).state, HC_DEVICE_OK);
    bind(vm, device, root2.v, &pasid);
    bed_map(root2, VA, 0x50000);
    assert_int_equal(read_through_tlb(rid, VA), 0x50001);
    unsigned before = bed.nresponses;
    bed_page_request(rid, (int32_t)pasid, VA + PAGE_SIZE, 3, true);
    bed_interrupts();
    struct hc_event e;
    do
        assert_true(take_event(vm, &e));
    while (e.type != HC_EVENT_PAGE_REQUEST);
    bed_map(root2, VA + PAGE_SIZE, 0x51000);
    struct hc_page_response in = { .cookie = e.cookie };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(bed.response[before].code, 0);
    assert_int_equal(attach(vm, device, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(bed_read(rid, BED_NO_PASID, 0x7000, &value), 0);
    assert_int_equal(value, 0x7001);
}

static void reaches_nothing(rid_t rid)
{
    uint64_t value;

    for (int32_t p = BED_NO_PASID; p < 10; p++) {
        if (p == 0)
            continue;
        assert_int_not_equal(bed_read(rid, p, 0x7000, &value), 0);
        assert_int_not_equal(bed_read(rid, p, VA, &value), 0);
        assert_false(bed_ats_read(rid, p, VA, &value));
    }
}

/* --- Reset ------------------------------------------------------------------------------------ */

static void a_reset_gives_the_device_back_as_new(void **state)
{
    struct flr_function *f = bed_resettable(BED_A);

    (void)state;
    assert_int_equal(f->resets, 1); /* before the VM got it */
    assert_int_equal(info_of(0).flags & HC_DEVICE_RESETS, HC_DEVICE_RESETS);
    event_ring(vm, 256);
    struct counts clean = count();
    work();
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, root2.v), HV_OK);
    assert_int_equal(attach(vm, 0, 0x4567, HC_DOMAIN_IDENTITY, 0), HV_OK);
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x5000, 1, true); /* delivered */
    bed_interrupts();
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x6000, 2, true); /* in the queue */
    /* What the guest has set in the function. */
    uint32_t slot = 0x80000000 | 1 << 11;
    vpci_io_write(vm, 0xcf8, 4, slot | 4);
    vpci_io_write(vm, 0xcfc, 2, 6);
    pci_config_write(BED_A, FLR_MSI + 4, 4, 0xfee00abc);
    pci_config_write(BED_A, FLR_MSI + 12, 2, 0x1234);
    pci_config_write(BED_A, FLR_MSI + 16, 4, 1);
    pci_config_write(BED_A, FLR_MSI + 2, 2, 1);
    pci_config_write(BED_A, FLR_PCIE + 8, 2, 0x2810);
    f->dma_under_way = true;

    assert_int_equal(reset(0), HV_OK);
    assert_int_equal(f->resets, 2);
    assert_int_equal(f->early, 0);
    assert_int_equal(f->master_on, 0);
    assert_false(f->dma_under_way);
    assert_int_equal(bed.asked_absent, 0);
    assert_int_equal(bed.nresponses, 2);
    assert_true(bed.response[0].code && bed.response[1].code);
    assert_int_equal(pci_config_read(BED_A, 4, 2) & 6, 6);
    assert_int_equal(pci_config_read(BED_A, FLR_MSI + 4, 4), 0xfee00abc);
    assert_int_equal(pci_config_read(BED_A, FLR_MSI + 12, 2), 0x1234);
    assert_int_equal(pci_config_read(BED_A, FLR_MSI + 16, 4), 1);
    assert_int_equal(pci_config_read(BED_A, FLR_MSI + 2, 2) & 1, 1);
    assert_int_equal(pci_config_read(BED_A, FLR_PCIE + 8, 2), 0x2810);
    reaches_nothing(BED_A);
    /* Its bonds are gone, its neighbour's are not. */
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_ENOENT);
    assert_int_equal(info_of(0).iopf, 0);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    assert_int_equal(events_of(HC_EVENT_DEVICE_FAILED, 0), 0);
    device_works(0, BED_A);
    assert_int_equal(reset(0), HV_OK);
    assert_int_equal(reset(1), HV_OK);
    assert_int_equal(reset(1), HV_OK);
    struct counts now = count();
    same(&clean, &now, 0);
}

/* It takes many calls, and each leaves the VM's lock to others soon. */
static void a_reset_of_very_many_bonds_takes_calls(void **state)
{
    const struct device *d = vm->device[0];
    const uint32_t last = 2500;
    unsigned calls = 0;
    enum hv_status status;
    uint64_t value;

    (void)state;
    struct counts clean = count();
    for (uint32_t p = 1; p <= last; p++)
        assert_int_equal(attach(vm, 1, p, HC_DOMAIN_IDENTITY, 0), HV_OK);
    struct counts with_neighbour = count();
    for (uint32_t p = 1; p <= 1500; p++)
        assert_int_equal(attach(vm, 0, p, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm, 0, last, HC_DOMAIN_IDENTITY, 0), HV_OK);
    for (;; calls++) {
        uint32_t bonds = d->all_bonds;
        status = reset(0);
        assert_true(bonds - d->all_bonds <= 1024);
        if (status != HV_EAGAIN)
            break;
        assert_in_range(calls, 0, 3);
        assert_int_equal(bed_resettable(BED_A)->resets, 1);
        assert_int_equal(info_of(0).state, HC_DEVICE_OK);
        assert_int_equal(bed_read(BED_A, (int32_t)last, 0x7000, &value), 0);
        if (!calls) /* behind its back */
            assert_int_equal(attach(vm, 0, 1, HC_DOMAIN_IDENTITY, 0), HV_OK);
    }
    assert_int_equal(status, HV_OK);
    assert_int_equal(calls, 2);
    assert_int_equal(bed_resettable(BED_A)->resets, 2);
    reaches_nothing(BED_A);
    struct counts now = count();
    same(&with_neighbour, &now, 0);
    assert_int_equal(bed_read(BED_B, (int32_t)last, 0x7000, &value), 0);
    while ((status = reset(1)) == HV_EAGAIN)
        ;
    assert_int_equal(status, HV_OK);
    now = count();
    same(&clean, &now, 0);
}

static void what_has_no_reset_says_so(void **state)
{
    uint64_t value;

    (void)state;
    assert_int_equal(info_of(2).flags & HC_DEVICE_RESETS, 0);
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(reset(2), HV_ENOTSUP);
    assert_int_equal(reset(3), HV_ENODEV);
    assert_int_equal(reset(~0u), HV_ENODEV);
    assert_int_equal(bed_read(BED_PLAIN, BED_NO_PASID, 0x7000, &value), 0);
    vpci_io_write(vm, 0xcf8, 4, 0x80000000 | 3 << 11 | 4);
    vpci_io_write(vm, 0xcfc, 2, 6);
    assert_int_equal(pci_config_read(BED_PLAIN, 4, 2) & 4, 4);
    end_vm();
    assert_int_equal(pci_config_read(BED_PLAIN, 4, 2) & 6, 0); /* no DMA all the same */
    assert_int_equal(bed_resettable(BED_PLAIN)->resets, 0);
    assert_int_equal(bed_resettable(BED_A)->resets, 2); /* and at the end */
}

/* While one vCPU waits for it, another one calls. */
static void others_call(struct flr_function *f)
{
    f->on_reset = NULL;
    assert_int_equal(call(vm, HC_DEVICE_RESET, 0, 0, 0, NULL), HV_EBUSY);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_EIO);
    assert_int_equal(try_bind(vm, 0, root.v, HC_PASID_ANY, HC_BIND_NO_IOPF, NULL), HV_EIO);
    assert_int_equal(call(vm, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EIO);
    assert_int_equal(attach(vm, 0, 7, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    f->ready_us = 90000;
    assert_int_equal(info_of(0).state, HC_DEVICE_FAILED); /* not: gone */
    for (unsigned i = 0; i < 4 * DEVICE_TICKS; i++)
        device_tick();
    iommu_vtd.poll();
    vpci_io_write(vm, 0xcf8, 4, 0x80000000 | 1 << 11);
    assert_int_equal(vpci_io_read(vm, 0xcfc, 4), ~0u);
}

static void others_calls_find_it_busy(void **state)
{
    (void)state;
    work();
    bed_resettable(BED_A)->on_reset = others_call;
    assert_int_equal(reset(0), HV_OK);
    assert_null(bed_resettable(BED_A)->on_reset);
    vpci_io_write(vm, 0xcf8, 4, 0x80000000 | 1 << 11);
    assert_int_equal(vpci_io_read(vm, 0xcfc, 4), 0x56781234);
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 0);
    device_works(0, BED_A);
}

static void asks_for_ever(struct flr_function *f)
{
    f->retry_us = 1000000000;
}

/* It takes its time, and asks for more; or for ever. */
static void waits_for_a_slow_function_are_bounded(void **state)
{
    struct flr_function *f = bed_resettable(BED_A);

    (void)state;
    work();
    platform_pass_us(2000000); /* since its first reset */
    f->ready_us = 300000;
    f->retry_us = 300000;
    assert_int_equal(reset(0), HV_OK);
    assert_int_equal(f->early, 0);
    f->on_reset = asks_for_ever;
    assert_int_equal(reset(0), HV_ETIMEDOUT);
    f->on_reset = NULL;
    assert_int_equal(info_of(0).state, HC_DEVICE_FAILED);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_EIO);
    reaches_nothing(BED_A);
    f->retry_us = 0; /* it has come back */
    assert_int_equal(reset(0), HV_OK);
    device_works(0, BED_A);
}

static void what_made_it_fail_is_over(void **state)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_RANGE, .address = VA, .bytes = PAGE_SIZE };

    (void)state;
    work();
    bed.silent[BED_A] = true;
    in.pasid = pasid;
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    iommu_vtd.poll();
    assert_int_equal(info_of(0).state, HC_DEVICE_FAILED);
    assert_int_equal(events_of(HC_EVENT_DEVICE_FAILED, 0), 1);
    unsigned asked = bed.unanswered;
    assert_int_equal(reset(0), HV_OK);
    assert_int_equal(bed.unanswered, asked); /* not again */
    bed.silent[BED_A] = false;
    device_works(0, BED_A);
    /* It falls silent in the middle of its reset: no failure of its own. */
    bed.silent[BED_A] = true;
    assert_int_equal(reset(0), HV_OK);
    bed.silent[BED_A] = false;
    iommu_vtd.poll();
    assert_int_equal(events_of(HC_EVENT_DEVICE_FAILED, 0), 0);
    device_works(0, BED_A);
    assert_int_equal(info_of(1).state, HC_DEVICE_OK);
}

/* What nobody confirms may still be walked: it cannot be given back, whatever the function does. */
static void a_unit_that_hangs_keeps_it_failed(void **state)
{
    (void)state;
    work();
    assert_int_equal(attach(vm, 0, TAKEN, HC_DOMAIN_IDENTITY, 0), HV_OK);
    bed.dead = true;
    assert_int_equal(reset(0), HV_EAGAIN); /* one of two bonds was enough for one call */
    assert_int_equal(vm->device[0]->all_bonds, 1);
    assert_int_equal(reset(0), HV_ETIMEDOUT);
    assert_int_equal(bed_resettable(BED_A)->resets, 2); /* its DMA has to stop */
    assert_int_equal(info_of(0).state, HC_DEVICE_FAILED);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_EIO);
    bed.dead = false;
    struct vtd_queue *q = &iommu_vtd.unit(0)->queue;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, q->published % QUEUE_ENTRIES * 32);
    vtd_model_run(bed.model[0]);
    assert_int_equal(reset(0), HV_OK);
    assert_int_equal(reset(0), HV_OK);
    device_works(0, BED_A);
}

/* --- Complaints about others ------------------------------------------------------------------ */

/* It would have to be asked about what is attached to it. */
static void others_ask(struct flr_function *f)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID, .pasid = TAKEN };

    f->on_reset = NULL;
    assert_int_equal(attach(vm, 0, TAKEN, HC_DOMAIN_NESTED, root.v), HV_EIO);
    assert_int_equal(attach(vm, 1, TAKEN, HC_DOMAIN_NESTED, root.v), HV_OK);
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
}

/* C7: waits for the device TLB of a function in reset, or absent, took whole machines down. */
static void c7_nothing_is_asked_of_a_device_in_reset_or_absent(void **state)
{
    struct flr_function *f = bed_resettable(BED_A);
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID };

    (void)state;
    work();
    platform_pass_us(2000000);
    f->ready_us = 500000;
    f->on_reset = others_ask;
    assert_int_equal(reset(0), HV_OK);
    assert_null(f->on_reset);
    assert_int_equal(bed.asked_absent, 0);
    bond = bind(vm, 0, root.v, &pasid);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    f->vanished = true;
    /* Not yet known: one is asked, and found out by it. */
    in.pasid = pasid;
    begin_timing();
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    was_bounded();
    assert_int_equal(bed.asked_absent, 1);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(call(vm, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    assert_int_equal(reset(0), HV_EIO);
    /* Nor one that goes when nobody looks, and has its bond still when the VM ends. */
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    bed_resettable(BED_B)->vanished = true;
    begin_timing();
    end_vm();
    was_bounded();
    assert_int_equal(bed.asked_absent, 1);
}

/* C8: a reset while a PASID has a nested domain led to a crash elsewhere. */
static void c8_reset_while_a_pasid_is_nested(void **state)
{
    (void)state;
    struct counts clean = count();
    for (uint32_t p = 1; p <= 200; p++)
        assert_int_equal(attach(vm, 0, p * 37, HC_DOMAIN_NESTED, p & 1 ? root.v : root2.v), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, root.v), HV_OK);
    bed_map(root, VA, 0x30000);
    pasid = 37;
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(reset(0), HV_OK);
    struct counts now = count();
    same(&clean, &now, 0);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    assert_int_equal(attach(vm, 0, 37, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm, 0, 37, HC_DOMAIN_NESTED, root.v), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
}

/* --- Removal by surprise ---------------------------------------------------------------------- */

static void what_vanishes_is_blocked_for_good_and_told_once(void **state)
{
    (void)state;
    work();
    bed_resettable(BED_A)->vanished = true;
    for (unsigned i = 0; i < 4 * DEVICE_TICKS; i++) /* nobody touches it */
        device_tick();
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 1);
    iommu_vtd.poll();
    for (unsigned i = 0; i < 4 * DEVICE_TICKS; i++)
        device_tick();
    assert_int_equal(info_of(0).state, HC_DEVICE_GONE);
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0) + events_of(HC_EVENT_DEVICE_FAILED, 0), 0);
    reaches_nothing(BED_A);
    /* One that comes back is another one. */
    bed_resettable(BED_A)->vanished = false;
    assert_int_equal(reset(0), HV_EIO);
    assert_int_equal(info_of(0).state, HC_DEVICE_GONE);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_EIO);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    device_works(1, BED_B);
}

static uint32_t (*plain_read)(void *ctx, unsigned offset, unsigned size);

/* While one CPU looks whether it is there, another one finds out that it is not. */
static uint32_t another_cpu_is_faster(void *ctx, unsigned offset, unsigned size)
{
    bed_function(BED_A)->read = plain_read;
    for (unsigned i = 0; i < 4 * DEVICE_TICKS; i++)
        device_tick();
    assert_true(vm->device[0]->gone);
    return plain_read(ctx, offset, size);
}

static void two_cpus_that_find_out_tell_once(void **state)
{
    struct platform_pci *pci = bed_function(BED_A);

    (void)state;
    work();
    bed_resettable(BED_A)->vanished = true;
    plain_read = pci->read;
    pci->read = another_cpu_is_faster;
    assert_int_equal(info_of(0).state, HC_DEVICE_GONE);
    assert_true(pci->read == plain_read);
    iommu_vtd.poll();
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 1);
    reaches_nothing(BED_A);
}

static void is_another_one(struct flr_function *f)
{
    platform_put(f->pci.config, 2, 2, 0x9999);
}

static void another_one_in_its_place_is_not_taken_for_it(void **state)
{
    (void)state;
    work();
    bed_resettable(BED_A)->on_reset = is_another_one;
    assert_int_equal(reset(0), HV_EIO);
    assert_int_equal(info_of(0).state, HC_DEVICE_GONE);
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 1);
    assert_int_equal(reset(0), HV_EIO);
    reaches_nothing(BED_A);
}

static void has_no_reset_any_more(void)
{
    platform_put(bed_function(BED_A)->config, FLR_PCIE + 4, 4, 0x00008fc0);
    bed.on_tlb = NULL;
}

/* By then its bonds have ended: what answers is not what was asked at the start. */
static void one_that_cannot_be_reset_any_more_is_not_it(void **state)
{
    (void)state;
    work();
    bed.on_tlb = has_no_reset_any_more;
    assert_int_equal(reset(0), HV_EIO);
    assert_null(bed.on_tlb);
    assert_int_equal(bed_resettable(BED_A)->resets, 1);
    assert_int_equal(info_of(0).state, HC_DEVICE_GONE);
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 1);
    reaches_nothing(BED_A);
}

static void a_call_that_touches_it_finds_out(void **state)
{
    (void)state;
    event_ring(vm, 256);
    bed_resettable(BED_A)->vanished = true;
    assert_int_equal(call(vm, HC_IOPF_ENABLE, 0, HC_IOPF_BIND, 0, NULL), HV_EIO);
    iommu_vtd.poll();
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 0), 1);
    bed_resettable(BED_B)->vanishes = true; /* and does not come back from a reset */
    assert_int_equal(reset(1), HV_EIO);
    assert_int_equal(info_of(1).state, HC_DEVICE_GONE);
    assert_int_equal(events_of(HC_EVENT_DEVICE_GONE, 1), 1);
    assert_int_equal(bed.asked_absent, 0);
}

/* --- Every point of a sequence ---------------------------------------------------------------- */

static struct hc_event last_event;
static uint32_t ioas;

static void do_ring(void)
{
    event_ring(vm, 256);
}

static void do_iopf(void)
{
    iopf_on(vm, 0);
    iopf_on(vm, 1);
}

static void do_bind(void)
{
    bond = bind(vm, 0, root.v, &pasid);
}

static void do_bind_neighbour(void)
{
    bind(vm, 1, root.v, NULL);
}

static void do_bind_again(void)
{
    bind(vm, 0, root.v, NULL);
}

static void do_translate(void)
{
    bed_map(root, VA, 0x30000);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
}

static void do_request_in_queue(void)
{
    for (uint16_t i = 0; i < 5; i++)
        bed_page_request(BED_A, (int32_t)pasid, VA + 0x10000 + i * PAGE_SIZE, i, i != 4);
}

static void do_deliver(void)
{
    bed_interrupts();
}

static void do_read_half(void)
{
    for (unsigned i = 0; i < 3; i++)
        assert_true(take_event(vm, &last_event));
}

static void do_answer_one(void)
{
    struct hc_page_response in = { .cookie = last_event.cookie };

    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
}

static void do_request_again(void)
{
    bed_page_request(BED_A, (int32_t)pasid, VA + 0x20000, 9, true);
    bed_page_request(BED_B, (int32_t)pasid, VA + 0x20000, 9, true);
}

static void do_attach_by_hand(void)
{
    assert_int_equal(attach(vm, 0, TAKEN, HC_DOMAIN_NESTED, root2.v), HV_OK);
    assert_int_equal(attach(vm, 1, TAKEN, HC_DOMAIN_NESTED, root2.v), HV_OK);
}

static void do_attach_rid(void)
{
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, root2.v), HV_OK);
}

static void do_attach_identity(void)
{
    assert_int_equal(attach(vm, 0, 0x89ab, HC_DOMAIN_IDENTITY, 0), HV_OK);
}

static void do_ioas(void)
{
    uint64_t value;
    struct hc_ioas_create in = { 0 };
    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &in, sizeof(in), &value), HV_OK);
    ioas = (uint32_t)value;
    struct hc_ioas_map map = { .flags = HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_FIXED,
                               .ioas = ioas,
                               .iova = 0x40000000,
                               .gpa = 0x600000,
                               .bytes = 0x200000 };
    assert_int_equal(call_with(vm, HC_IOAS_MAP, map), HV_OK);
}

static void do_attach_ioas(void)
{
    assert_int_equal(attach(vm, 0, 0x9999, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, 1, 0x9999, HC_DOMAIN_PAGING, ioas), HV_OK);
}

static void do_replace(void)
{
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, 0, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK); /* the bond stays */
}

static void do_overflow(void)
{
    for (uint16_t i = 0; i < 500; i++)
        bed_page_request(BED_A, TAKEN, 0x1000ull * i, i, i & 1);
    bed_interrupts();
}

static void do_fall_silent(void)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID, .pasid = TAKEN };

    bed.silent[BED_A] = true;
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    bed.silent[BED_A] = false;
}

static void do_hear_of_it(void)
{
    iommu_vtd.poll();
}

static void (*const steps[])(void) = {
    do_ring,
    do_iopf,
    do_bind,
    do_bind_neighbour,
    do_bind_again,
    do_translate,
    do_request_in_queue,
    do_deliver,
    do_read_half,
    do_answer_one,
    do_request_again,
    do_attach_by_hand,
    do_attach_rid,
    do_attach_identity,
    do_ioas,
    do_attach_ioas,
    do_replace,
    do_overflow,
    do_fall_silent,
    do_hear_of_it,
};

static struct counts at_start;

/* All that A has ends; what the guest holds otherwise, it gives back itself. */
static void give_back(void)
{
    struct hc_event e;

    if (vm->rings->event.header) {
        while (take_event(vm, &e))
            ;
    }
    if (reset(1) != HV_OK)
        fail();
    if (ioas)
        assert_int_equal(call(vm, HC_IOAS_DESTROY, ioas, 0, 0, NULL), HV_OK);
    assert_int_equal(vm->rings->open, 0);
    struct hc_ring_setup none = { 0 };
    if (vm->rings->event.header)
        assert_int_equal(call_with(vm, HC_EVENT_RING, none), HV_OK);
}

static void by_reset(unsigned n)
{
    assert_int_equal(reset(0), HV_OK);
    reaches_nothing(BED_A);
    if (n > 5 && n <= 18)
        assert_int_equal(read_through_tlb(BED_B, VA), 0x30001); /* the neighbour goes on */
    give_back();
    struct counts now = count();
    same(&at_start, &now, n);
    event_ring(vm, 256);
    device_works(0, BED_A);
}

static void by_the_end(unsigned)
{
    struct counts now;

    begin_timing();
    device_end(vm);
    was_bounded();
    reaches_nothing(BED_A);
    reaches_nothing(BED_B);
    vpci_destroy(vm);
    pt_destroy(&vm->npt);
    assert_int_equal(vm->quota.used, 0);
    now = count();
    assert_int_equal(now.unit_promised, 0);
    assert_int_equal(now.attached, 0);
    assert_int_equal(now.ids, 2); /* 0, and the other VM's */
}

static void by_removal(unsigned n)
{
    bed_resettable(BED_A)->vanished = true;
    for (unsigned i = 0; i < 4 * DEVICE_TICKS; i++)
        device_tick();
    iommu_vtd.poll();
    assert_true(vm->device[0]->gone);
    begin_timing();
    if (n > 5 && n <= 18)
        assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    assert_int_equal(reset(0), HV_EIO);
    by_the_end(n);
    assert_int_equal(bed.asked_absent, 0);
}

static void at_every_point(void (*ending)(unsigned n))
{
    for (unsigned n = 0; n <= ARRAY_SIZE(steps); n++) {
        void *state = NULL;

        if (n)
            assert_int_equal(fresh(&state), 0);
        ioas = 0;
        at_start = count();
        for (unsigned i = 0; i < n; i++)
            steps[i]();
        ending(n);
        if (n < ARRAY_SIZE(steps))
            assert_int_equal(check(&state), 0);
    }
}

static void a_reset_at_every_point_leaves_nothing(void **state)
{
    (void)state;
    at_every_point(by_reset);
}

static void the_end_at_every_point_leaves_nothing(void **state)
{
    (void)state;
    at_every_point(by_the_end);
}

static void a_removal_at_every_point_leaves_nothing(void **state)
{
    (void)state;
    at_every_point(by_removal);
}

/* --- The function alone ----------------------------------------------------------------------- */

static void configuration_space_comes_back(void **state)
{
    static struct flr_function f;
    struct flr flr;

    (void)state;
    flr_function_make(&f, 0x0500, 0x3800000000, 0x4000, true);
    flr_function_ready(&f);
    platform_add_pci(&f.pci);
    pci_config_write(0x0500, 4, 2, 6);
    pci_config_write(0x0500, 0x3c, 1, 11);
    pci_config_write(0x0500, FLR_MSIX + 2, 2, 0xc000);
    uint8_t before[256];
    memcpy(before, f.pci.config, sizeof(before));
    assert_int_equal(flr_begin(0x0500, &flr), HV_OK);
    assert_int_equal(f.resets, 1);
    assert_int_equal(f.pci.config[0x14], 0); /* lost */
    cpu_wait_us(FLR_WAIT_US);
    assert_int_equal(flr_end(&flr), HV_OK);
    assert_memory_equal(before, f.pci.config, sizeof(before));
    assert_int_equal(f.early, 0);
    /* Another one in its place is not taken for it. */
    assert_int_equal(flr_begin(0x0500, &flr), HV_OK);
    platform_put(f.pci.config, 2, 2, 0x9999);
    cpu_wait_us(FLR_WAIT_US);
    assert_int_equal(flr_end(&flr), HV_ENODEV);
    assert_int_equal(f.pci.config[0x14], 0);
    assert_int_equal(flr_begin(0x0600, &flr), HV_ENODEV);
    assert_int_equal(flr_end(&flr), HV_OK); /* nothing was begun */
}

int main(void)
{
#define bed_case(f) cmocka_unit_test_setup_teardown(f, fresh, check)
    const struct CMUnitTest tests[] = {
        bed_case(a_reset_gives_the_device_back_as_new),
        bed_case(a_reset_of_very_many_bonds_takes_calls),
        bed_case(what_has_no_reset_says_so),
        bed_case(others_calls_find_it_busy),
        bed_case(waits_for_a_slow_function_are_bounded),
        bed_case(what_made_it_fail_is_over),
        bed_case(a_unit_that_hangs_keeps_it_failed),
        bed_case(c7_nothing_is_asked_of_a_device_in_reset_or_absent),
        bed_case(c8_reset_while_a_pasid_is_nested),
        bed_case(what_vanishes_is_blocked_for_good_and_told_once),
        bed_case(two_cpus_that_find_out_tell_once),
        bed_case(another_one_in_its_place_is_not_taken_for_it),
        bed_case(one_that_cannot_be_reset_any_more_is_not_it),
        bed_case(a_call_that_touches_it_finds_out),
        bed_case(a_reset_at_every_point_leaves_nothing),
        bed_case(the_end_at_every_point_leaves_nothing),
        bed_case(a_removal_at_every_point_leaves_nothing),
        platform_test(configuration_space_comes_back),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
