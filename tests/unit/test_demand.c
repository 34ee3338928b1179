/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Memory on demand: the core on the VT-d driver on two units of the model, once nesting, once with
 * second-stage tables only, once with the first-stage format only. Orders and refusals, which need
 * no hardware, on the fake.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "hv/demand.h"
#include "hv/ioas.h"
#include "hv/shadow.h"
#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define BIT(n) (1ull << (n))
#define VA     0x7f0000000000ull
#define MIB    (1ull << 20)
#define RW     (HC_IOAS_READ | HC_IOAS_WRITE)
#define BOTH   (HC_IOPF_BIND | HC_IOPF_MAP)
#define NONE   HC_PASID_NONE

static const struct kind {
    const char *name;
    uint64_t without; /* of ECAP */
} kinds[] = {
    { "nesting", 0 },
    { "second stage only", BIT(26) | BIT(47) },
    { "first stage only", BIT(26) | BIT(46) },
};

static const struct kind *kind;
static struct vm *vm, *other;
static gpaddr_t root;
static uint32_t pasid;

/* Devices of @vm: 0 and 1 behind unit 0, 2 behind unit 1. */
static int fresh(void **state)
{
    kind = *state;
    struct vtd_model_config config = bed_config();
    uint8_t table[4096];
    int result = bed_fresh(state);

    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    config.ecap &= ~kind->without;
    bed_make(&config, 2);
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    other = abi_make_vm(1, "other", platform_ram(2 << 20), 2 << 20);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_B, 2, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_FAR, 3, 0 }), HV_OK);
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_C, 4, 0 }), HV_OK);
    event_ring(vm, 256);
    root = bed_root();
    return result;
}

static int check(void **state)
{
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

/* --- What a guest and its devices do ---------------------------------------------------------- */

static void on(struct vm *of, uint32_t device, uint32_t categories)
{
    assert_int_equal(call(of, HC_IOPF_ENABLE, device, categories, 0, NULL), HV_OK);
}

static enum hv_status on_demand(struct vm *of, uint32_t flags, uint64_t gpa, uint64_t bytes)
{
    struct hc_memory_on_demand in = { .flags = flags, .gpa = gpa, .bytes = bytes };

    return call_with(of, HC_MEMORY_ON_DEMAND, in);
}

static uint32_t create(struct vm *of)
{
    struct hc_ioas_create in = { 0 };
    uint64_t value;

    assert_int_equal(call_struct(of, HC_IOAS_CREATE, &in, sizeof(in), &value), HV_OK);
    return (uint32_t)value;
}

static enum hv_status map(struct vm *of, uint32_t ioas, uint32_t flags, uint64_t iova, uint64_t gpa,
                          uint64_t bytes)
{
    struct hc_ioas_map in = {
        .flags = flags | HC_IOAS_FIXED, .ioas = ioas, .iova = iova, .gpa = gpa, .bytes = bytes
    };

    return call_with(of, HC_IOAS_MAP, in);
}

static enum hv_status unmap(struct vm *of, uint32_t ioas, uint64_t iova, uint64_t bytes)
{
    struct hc_ioas_unmap in = { .ioas = ioas, .iova = iova, .bytes = bytes };

    return call_with(of, HC_IOAS_UNMAP, in);
}

/* By the device TLB; a page starts with its own address + 1. 0: no translation. */
static uint64_t through(rid_t rid, uint32_t number, uint64_t address)
{
    uint64_t value = 0;

    return bed_ats_read(rid, (int32_t)number, address, &value) ? value : 0;
}

static void request(rid_t rid, uint32_t number, uint64_t address, uint16_t group, bool last,
                    bool write)
{
    struct vtd_model *m = bed.model[rid >= BED_FAR];

    vtd_model_page_request(m, &(struct vtd_page_request){ .rid = rid,
                                                          .prgi = group,
                                                          .pasid_present = number != NONE,
                                                          .pasid = number != NONE ? number : 0,
                                                          .read = !write,
                                                          .write = write,
                                                          .lpig = last,
                                                          .addr = address });
    vtd_model_run(m);
    bed_interrupts();
}

/* A group of one, which Sluice answers at once. @return the code. */
static uint8_t ask(rid_t rid, uint32_t number, uint64_t address, bool write)
{
    unsigned before = bed.nresponses;

    request(rid, number, address, 9, true, write);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(bed.response[before].rid, rid);
    assert_int_equal(bed.response[before].prgi, 9);
    return bed.response[before].code;
}

static struct hc_event next_event(uint32_t type)
{
    struct hc_event e;

    assert_true(take_event(vm, &e));
    assert_int_equal(e.type, type);
    return e;
}

static void refused(rid_t rid, uint32_t number, uint64_t address, bool write,
                    enum hc_fault_reason reason)
{
    assert_int_equal(ask(rid, number, address, write), 1);
    struct hc_event e = next_event(HC_EVENT_FAULT);
    assert_int_equal(e.reason, reason);
    assert_int_equal(e.address, address);
    assert_int_equal(events_waiting(vm), 0);
}

static uint64_t served(void)
{
    return vm->stats.map_faults_served;
}

/* Bytes of RAM that are on demand on the unit of a device. */
static uint64_t absent(const struct vm *of, uint32_t device)
{
    return of->sva->second[of->device[device]->caps->index]->absent;
}

static void answer(uint64_t cookie, uint32_t code)
{
    struct hc_page_response in = { .cookie = cookie, .code = code };

    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
}

/* --- An IOAS ---------------------------------------------------------------------------------- */

static void a_mapping_comes_when_it_is_asked_for(void **state)
{
    static const uint32_t where[] = { NONE, 5 };
    uint64_t value, at = 0;

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
        uint32_t ioas = create(vm);
        assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, 6 * MIB),
                         HV_OK);
        assert_int_equal(map(vm, ioas, RW, 0x20000000, 0x30000, PAGE_SIZE), HV_OK);
        assert_int_equal(attach(vm, 0, where[i], HC_DOMAIN_PAGING, ioas), HV_OK);
        assert_int_equal(through(BED_A, where[i], 0x20000000), 0x30001); /* as ever */
        assert_int_equal(through(BED_A, where[i], 0x10203000), 0);
        assert_int_not_equal(bed_read(BED_A, (int32_t)where[i], 0x10203000, &value), 0);
        bed_interrupts();
        while (events_waiting(vm))
            (void)next_event(HC_EVENT_FAULT); /* of that read */
        assert_int_equal(ask(BED_A, where[i], 0x10203000, false), 0);
        assert_int_equal(served(), ++at);
        assert_int_equal(through(BED_A, where[i], 0x10203000), 0x603001);
        /* 2 MiB at once, and no more. */
        assert_int_equal(through(BED_A, where[i], 0x10200000), 0x600001);
        assert_int_equal(through(BED_A, where[i], 0x103ff000), 0x7ff001);
        assert_int_equal(through(BED_A, where[i], 0x101ff000), 0);
        assert_int_equal(through(BED_A, where[i], 0x10400000), 0);
        /* Again, as two requests may be on their way: served, with nothing to do. */
        assert_int_equal(ask(BED_A, where[i], 0x10203000, true), 0);
        assert_int_equal(served(), at);
        assert_int_equal(attach(vm, 0, where[i], HC_DOMAIN_BLOCKED, 0), HV_OK);
    }
    assert_int_equal(events_waiting(vm), 0);
    assert_int_equal(vm->stats.responses_by_sluice, 0);
}

/* Where 2 MiB do not fit: the mapping is smaller, shifted, or not alone there. */
static void what_is_small_comes_by_pages(void **state)
{
    uint32_t ioas = create(vm);

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, 2 * MIB - 4096),
                     HV_OK);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x20000000, 0x401000, 4 * MIB), HV_OK);
    assert_int_equal(map(vm, ioas, RW, 0x30000000, 0x30000, PAGE_SIZE), HV_OK);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x30001000, 0x401000, 2 * MIB), HV_OK);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x40001000, 0x401000, 2 * MIB), HV_OK);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    static const uint64_t base[] = { 0x10000000, 0x20000000, 0x30000000, 0x40000000 };
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ask(BED_A, 5, base[i] + 0x5000, false), 0);
        assert_int_equal(through(BED_A, 5, base[i] + 0x5000), i == 1 ? 0x406001 : 0x405001);
        assert_int_equal(through(BED_A, 5, base[i] + 0x4000), 0);
        assert_int_equal(through(BED_A, 5, base[i] + 0x6000), 0);
        assert_int_equal(through(BED_A, 5, base[i]), i == 2 ? 0x30001 : 0);
    }
}

static void what_is_not_allowed_is_refused_and_told(void **state)
{
    uint32_t ioas = create(vm);

    (void)state;
    on(vm, 0, BOTH);
    assert_int_equal(
        map(vm, ioas, HC_IOAS_READ | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, PAGE_SIZE), HV_OK);
    assert_int_equal(
        map(vm, ioas, HC_IOAS_WRITE | HC_IOAS_ON_DEMAND, 0x10001000, 0x401000, PAGE_SIZE), HV_OK);
    assert_int_equal(map(vm, ioas, RW, 0x10003000, 0x403000, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    refused(BED_A, 5, 0x10003000, false, HC_FAULT_SECOND_STAGE); /* there, not on demand */
    refused(BED_A, 5, 0x10000000, true, HC_FAULT_SECOND_STAGE);
    refused(BED_A, 5, 0x10001000, false, HC_FAULT_SECOND_STAGE);
    refused(BED_A, 5, 0x10002000, false, HC_FAULT_SECOND_STAGE);
    refused(BED_A, 5, 0xffff800010000000, false, HC_FAULT_SECOND_STAGE);
    assert_int_equal(served(), 0);
    assert_int_equal(ask(BED_A, 5, 0x10000000, false), 0);
    assert_int_equal(ask(BED_A, 5, 0x10001000, true), 0);
    assert_int_equal(through(BED_A, 5, 0x10000000), 0x400001);
    assert_int_not_equal(bed_write(BED_A, 5, 0x10000000, 1), 0);
    assert_int_equal(bed_write(BED_A, 5, 0x10001000, 7), 0);
    /* A part of a group: all of it is refused, with one answer. */
    unsigned before = bed.nresponses;
    request(BED_A, 5, 0x10000000, 3, false, true);
    assert_int_equal(bed.nresponses, before);
    request(BED_A, 5, 0x10000000, 3, true, false);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(bed.response[before].code, 1);
    assert_int_equal(vm->stats.page_requests, 0);
}

/* As any mapping: it splits, goes from every table and cache, and is copied as what it is. */
static void unmapping_takes_what_had_come(void **state)
{
    uint32_t ioas = create(vm), second = create(vm);
    struct hc_ioas_copy copy = {
        .to = second,
        .from = ioas,
        .to_iova = 0x40000000,
        .from_iova = 0x10001000,
        .bytes = 0x2000,
        .flags = HC_IOAS_FIXED,
    };

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    on(vm, 2, HC_IOPF_MAP);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, 2, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, 0, 6, HC_DOMAIN_PAGING, second), HV_OK);
    uint64_t used = vm->quota.used;
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, 2 * MIB),
                         HV_OK);
        if (round) /* the second unit shares the table, if it is one */
            assert_int_equal(ask(round == 1 ? BED_A : BED_FAR, 5, 0x10000000, false), 0);
        if (round)
            assert_int_equal(through(round == 1 ? BED_A : BED_FAR, 5, 0x10001000), 0x401001);
        assert_int_equal(unmap(vm, ioas, 0x10001000, PAGE_SIZE), HV_OK);
        assert_int_equal(through(BED_A, 5, 0x10001000), 0);
        assert_int_equal(through(BED_FAR, 5, 0x10001000), 0);
        refused(BED_A, 5, 0x10001000, false, HC_FAULT_SECOND_STAGE);
        assert_int_equal(ask(BED_A, 5, 0x10002000, false), 0);
        assert_int_equal(ask(BED_FAR, 5, 0x10000000, false), 0);
        assert_int_equal(through(BED_A, 5, 0x10002000), 0x402001);
        assert_int_equal(through(BED_FAR, 5, 0x10000000), 0x400001);
        assert_int_equal(call_with(vm, HC_IOAS_COPY, copy), HV_ENOENT); /* a hole */
        copy.from_iova = 0x10002000;
        assert_int_equal(call_with(vm, HC_IOAS_COPY, copy), HV_OK);
        assert_int_equal(through(BED_A, 6, 0x40000000), 0);
        assert_int_equal(ask(BED_A, 6, 0x40000000, false), 0);
        assert_int_equal(through(BED_A, 6, 0x40000000), 0x402001);
        assert_int_equal(through(BED_A, 6, 0x40001000), 0);
        assert_int_equal(unmap(vm, ioas, 0x10000000, 2 * MIB), HV_OK);
        assert_int_equal(unmap(vm, second, 0x40000000, 0x2000), HV_OK);
        assert_int_equal(through(BED_A, 5, 0x10002000), 0);
        assert_int_equal(through(BED_FAR, 5, 0x10000000), 0);
        assert_int_equal(through(BED_A, 6, 0x40000000), 0);
        assert_int_equal(vm->quota.used, used);
        assert_int_equal(ioas_find(vm, ioas)->demand, 0);
        copy.from_iova = 0x10001000;
    }
    assert_int_equal(call(vm, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
}

/* A unit that comes later, when its table is built, does not get what nobody asked for. */
static void a_table_that_is_built_leaves_it_out(void **state)
{
    uint32_t ioas = create(vm);

    (void)state;
    for (uint32_t d = 0; d < 3; d++)
        on(vm, d, HC_IOPF_MAP);
    assert_int_equal(map(vm, ioas, RW, 0x10000000, 0x400000, PAGE_SIZE), HV_OK);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10001000, 0x401000, PAGE_SIZE), HV_OK);
    assert_int_equal(map(vm, ioas, RW, 0x10002000, 0x402000, PAGE_SIZE), HV_OK);
    static const rid_t rids[] = { BED_A, BED_B, BED_FAR };
    for (uint32_t d = 0; d < 3; d++) {
        assert_int_equal(attach(vm, d, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
        assert_int_equal(through(rids[d], 5, 0x10000000), 0x400001);
        assert_int_equal(through(rids[d], 5, 0x10001000), 0);
        assert_int_equal(through(rids[d], 5, 0x10002000), 0x402001);
    }
    assert_int_equal(ask(BED_FAR, 5, 0x10001000, false), 0);
    assert_int_equal(through(BED_FAR, 5, 0x10001000), 0x401001);
}

static void without_room_it_is_refused_and_told(void **state)
{
    uint32_t ioas = create(vm);
    uint64_t limit = vm->quota.limit;

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
    vm->quota.limit = vm->quota.used;
    refused(BED_A, 5, 0x10000000, false, HC_FAULT_OTHER);
    assert_int_equal(served(), 0);
    vm->quota.limit = limit;
    assert_int_equal(ask(BED_A, 5, 0x10000000, false), 0);
    assert_int_equal(through(BED_A, 5, 0x10000000), 0x400001);
    assert_int_equal(other->stats.faults, 0);
}

/* --- RAM -------------------------------------------------------------------------------------- */

static void ram_goes_and_comes_back_as_it_is(void **state)
{
    uint64_t value, *page = ram(vm, 0x403000);

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    on(vm, 1, HC_IOPF_MAP);
    on(vm, 2, HC_IOPF_MAP);
    assert_int_equal(attach(vm, 0, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm, 1, 7, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm, 2, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(through(BED_A, NONE, 0x403000), 0x403001);
    assert_int_equal(through(BED_B, 7, 0x403000), 0x403001);
    assert_int_equal(through(BED_FAR, NONE, 0x403000), 0x403001);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x403000, &value), 0);
    assert_int_equal(on_demand(vm, 0, 0x400000, 2 * MIB), HV_OK);
    /* From all units and device TLBs. */
    assert_int_equal(through(BED_A, NONE, 0x403000), 0);
    assert_int_equal(through(BED_B, 7, 0x403000), 0);
    assert_int_equal(through(BED_FAR, NONE, 0x403000), 0);
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, 0x403000, &value), 0);
    bed_interrupts();
    assert_int_equal(next_event(HC_EVENT_FAULT).reason, HC_FAULT_SECOND_STAGE);
    assert_int_equal(through(BED_A, NONE, 0x3ff000), 0x3ff001);
    assert_int_equal(through(BED_A, NONE, 0x600000), 0x600001);
    *page = 77;
    assert_int_equal(ask(BED_A, NONE, 0x403000, true), 0);
    assert_int_equal(through(BED_A, NONE, 0x403000), 77);
    assert_int_equal(bed_write(BED_A, BED_NO_PASID, 0x403000, 78), 0);
    assert_int_equal(*page, 78);
    assert_int_equal(through(BED_A, NONE, 0x5ff000), 0x5ff001); /* 2 MiB at once */
    assert_int_equal(through(BED_B, 7, 0x403000), 78);          /* the same unit */
    assert_int_equal(through(BED_FAR, NONE, 0x403000), 0);      /* another one */
    assert_int_equal(ask(BED_FAR, NONE, 0x403000, false), 0);
    assert_int_equal(through(BED_FAR, NONE, 0x403000), 78);
    assert_int_equal(served(), 2);
    /* It was absent for a while, no more: nothing depends on MAP now. */
    assert_int_equal(call(vm, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    refused(BED_B, 7, VM_RAM_HIGH - PAGE_SIZE, false, HC_FAULT_SECOND_STAGE);
    assert_int_equal(on_demand(vm, 0, VM_RAM_HIGH, PAGE_SIZE), HV_EORDER);
    on(vm, 0, HC_IOPF_MAP);
    assert_int_equal(on_demand(vm, 0, VM_RAM_HIGH, PAGE_SIZE), HV_OK);
    assert_int_equal(ask(BED_B, 7, VM_RAM_HIGH, false), 0);
}

/* One page out of a large leaf; it alone is cached nowhere and comes back alone. */
static void a_page_goes_alone(void **state)
{
    uint64_t value;

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    assert_int_equal(attach(vm, 0, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(through(BED_A, NONE, 0x803000), 0x803001);
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x9ff000, &value), 0); /* all 2 MiB of it */
        assert_int_equal(on_demand(vm, 0, 0x803000, 2 * PAGE_SIZE), HV_OK);
        /* What may be cached is 2 MiB, the first time: that is what is invalidated. */
        assert_true(round || bed.tlb_size[(bed.tlb_invalidations - 1) % 8] >= 2 * MIB);
        assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, 0x804000, &value), 0);
        assert_int_equal(on_demand(vm, 0, 0x804000, PAGE_SIZE), HV_OK); /* again */
        assert_int_equal(absent(vm, 0), 2 * PAGE_SIZE);
        assert_int_equal(through(BED_A, NONE, 0x803000), 0);
        assert_int_equal(through(BED_A, NONE, 0x804000), 0);
        assert_int_equal(through(BED_A, NONE, 0x802000), 0x802001);
        assert_int_equal(through(BED_A, NONE, 0x805000), 0x805001);
        assert_int_equal(ask(BED_A, NONE, 0x804000, false), 0);
        assert_int_equal(through(BED_A, NONE, 0x804000), 0x804001);
        assert_int_equal(through(BED_A, NONE, 0x803000), 0);
        assert_int_equal(absent(vm, 0), PAGE_SIZE);
        assert_int_equal(on_demand(vm, HC_MEMORY_PRESENT, 0, BED_RAM), HV_OK);
        assert_int_equal(absent(vm, 0), 0);
        assert_int_equal(absent(vm, 2), 0);
    }
}

/* Bind a space, and take all of its VM's memory away. */
static void bind_and_give_up(void)
{
    on(vm, 0, BOTH);
    bind(vm, 0, root.v, &pasid);
    bed_map(root, VA, 0x30000);
    if (kind != kinds)
        assert_int_equal(ask(BED_A, pasid, VA, false), 0);
    assert_int_equal(through(BED_A, pasid, VA), 0x30001);
    assert_int_equal(on_demand(vm, 0, 0, BED_RAM), HV_OK);
    assert_int_equal(through(BED_A, pasid, VA), 0);
}

static void second_stage_faults_are_sluices_first_stage_faults_the_guests(void **state)
{
    struct hc_event e;

    (void)state;
    bind_and_give_up();
    /* Tables and page: all of them are put in for one request. */
    assert_int_equal(ask(BED_A, pasid, VA, false), 0);
    assert_int_equal(served(), 1);
    assert_int_equal(through(BED_A, pasid, VA), 0x30001);
    assert_int_equal(events_waiting(vm), 0);
    /* Absent in the first stage. */
    request(BED_A, pasid, VA + 0x1000, 4, true, true);
    e = next_event(HC_EVENT_PAGE_REQUEST);
    assert_int_equal(e.category, HC_IOPF_BIND);
    assert_int_equal(e.address, VA + 0x1000);
    unsigned before = bed.nresponses;
    bed_map(root, VA + 0x1000, 0x600000); /* which is absent in the second */
    answer(e.cookie, HC_RESPONSE_SUCCESS);
    assert_int_equal(bed.nresponses, before + 1);
    if (kind == kinds) {
        assert_int_equal(through(BED_A, pasid, VA + 0x1000), 0);
        assert_int_equal(ask(BED_A, pasid, VA + 0x1000, true), 0);
        assert_int_equal(served(), 2);
    }
    assert_int_equal(through(BED_A, pasid, VA + 0x1000), 0x600001);
    assert_int_equal(events_waiting(vm), 0);
    assert_int_equal(vm->stats.page_requests, 1);
    assert_int_equal(vm->stats.responses_by_sluice, 0);
    /* What leads outside is nobody's. */
    bed_map(root, VA + 0x2000, OUTSIDE);
    refused(BED_A, pasid, VA + 0x2000, false, HC_FAULT_SECOND_STAGE);
    /* Rights of the first stage: the guest's. */
    request(BED_A, pasid, VA - BIT(40), 4, true, false);
    e = next_event(HC_EVENT_PAGE_REQUEST);
    assert_int_equal(e.category, HC_IOPF_BIND);
    answer(e.cookie, HC_RESPONSE_INVALID);
}

/* Of a group of both kinds Sluice puts in the one, the guest gets the other, and answers once. */
static void groups_of_both_kinds_have_one_answer(void **state)
{
    struct hc_event e, last;

    (void)state;
    bind_and_give_up();
    const unsigned before = bed.nresponses;
    request(BED_A, pasid, VA, 1, false, false);
    request(BED_A, pasid, VA + 0x1000, 1, true, false);
    last = next_event(HC_EVENT_PAGE_REQUEST);
    assert_int_equal(last.category, HC_IOPF_BIND);
    assert_true(last.flags & HC_PRQ_LAST);
    assert_int_equal(bed.nresponses, before);
    assert_int_equal(through(BED_A, pasid, VA), 0x30001);
    bed_map(root, VA + 0x1000, 0x31000);
    answer(last.cookie, HC_RESPONSE_SUCCESS);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(through(BED_A, pasid, VA + 0x1000), 0x31001);
    /* The other way round, with one in the middle: the last one is told, as it is to be answered.
     */
    bed_map(root, VA + 0x200000, 0x800000);
    bed_map(root, VA + 0x400000, 0xa00000);
    request(BED_A, pasid, VA + 0x3000, 2, false, false);
    request(BED_A, pasid, VA + 0x200000, 2, false, false);
    request(BED_A, pasid, VA + 0x400000, 2, true, true);
    e = next_event(HC_EVENT_PAGE_REQUEST);
    assert_int_equal(e.category, HC_IOPF_BIND);
    assert_int_equal(e.flags & HC_PRQ_LAST, 0);
    last = next_event(HC_EVENT_PAGE_REQUEST);
    assert_int_equal(last.category, HC_IOPF_MAP);
    assert_true(last.flags & HC_PRQ_LAST);
    assert_int_equal(last.cookie, e.cookie);
    assert_int_equal(events_waiting(vm), 0);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(through(BED_A, pasid, VA + 0x200000), 0x800001);
    answer(e.cookie, HC_RESPONSE_INVALID);
    assert_int_equal(bed.nresponses, before + 2);
    assert_int_equal(bed.response[before + 1].code, 1);
    /* Sluice's alone. */
    bed_map(root, VA + 0x600000, 0xc00000);
    bed_map(root, VA + 0x800000, 0xe00000);
    request(BED_A, pasid, VA + 0x600000, 3, false, false);
    request(BED_A, pasid, VA + 0x800000, 3, true, false);
    assert_int_equal(bed.nresponses, before + 3);
    assert_int_equal(bed.response[before + 2].code, 0);
    assert_int_equal(events_waiting(vm), 0);
    assert_int_equal(vm->stats.page_responses, 2);
}

/* The guest has part of a group when it stops to take requests: it cannot answer, so Sluice does,
 * at once, also if there is nothing wrong with the last one. */
static void a_group_that_the_guest_leaves_is_refused_at_once(void **state)
{
    const struct hc_sva_bind in = {
        .device = 0, .pasid = 5, .levels = 4, .root = root.v, .flags = HC_BIND_NO_IOPF
    };
    uint64_t value;

    (void)state;
    on(vm, 0, BOTH);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_NESTED, root.v), HV_OK);
    bed_map(root, VA, 0x30000);
    request(BED_A, 5, VA + 0x1000, 3, false, false);
    struct hc_page_response answer_it = { .cookie = next_event(HC_EVENT_PAGE_REQUEST).cookie };
    assert_int_equal(call_struct(vm, HC_SVA_BIND, &in, sizeof(in), &value), HV_OK);
    const unsigned before = bed.nresponses;
    request(BED_A, 5, VA, 3, true, false);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(bed.response[before].prgi, 3);
    assert_int_equal(bed.response[before].code, 1);
    assert_int_equal(events_waiting(vm), 0);
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, answer_it), HV_EALREADY);
    bed_interrupts();
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(vm->stats.responses_by_sluice, 1);
    assert_int_equal(ask(BED_A, 5, VA, false), 0); /* the device tries again */
    assert_int_equal(through(BED_A, 5, VA), 0x30001);
}

/* Each category by itself. */
static void a_category_that_is_off_serves_nothing(void **state)
{
    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_NESTED, root.v), HV_OK);
    bed_map(root, VA, 0x30000);
    assert_int_equal(on_demand(vm, 0, 0, BED_RAM), HV_OK);
    assert_int_equal(ask(BED_A, 5, VA, false), 0);
    assert_int_equal(through(BED_A, 5, VA), 0x30001);
    refused(BED_A, 5, VA + 0x1000, false, HC_FAULT_FIRST_STAGE);
    assert_int_equal(vm->stats.page_requests, 0);
    /* And what is Sluice's needs no ring that works. */
    bed_map(root, VA + 0x200000, 0x400000);
    vm->rings->event.stopped = true;
    assert_int_equal(ask(BED_A, 5, VA + 0x200000, false), 0);
    assert_int_equal(through(BED_A, 5, VA + 0x200000), 0x400001);
    assert_int_equal(ask(BED_A, 5, VA + 0x1000, false), 1);
    vm->rings->event.stopped = false;
}

/* A shadow leads past the second stage: it is never larger than what was asked for there. */
static void shadows_hold_what_is_there(void **state)
{
    uint64_t *l2;

    (void)state;
    on(vm, 0, BOTH);
    bind(vm, 0, root.v, &pasid);
    bed_map(root, VA, 0x30000);
    l2 = ram(vm, root.v);
    for (unsigned level = 4; level > 2; level--)
        l2 = ram(vm, l2[VA >> (12 + 9 * (level - 1)) & 511] & 0xffffffffff000);
    l2[1] = 0x400000 | 0xe7; /* 2 MiB, accessed, dirty */
    assert_int_equal(on_demand(vm, 0, 0x401000, PAGE_SIZE), HV_OK);
    struct hc_invalidate notice = {
        .kind = HC_INVALIDATE_MAPPED, .pasid = pasid, .address = VA + 0x200000, .bytes = 0x2000
    };
    assert_int_equal(call_with(vm, HC_INVALIDATE, notice), HV_OK);
    assert_int_equal(through(BED_A, pasid, VA + 0x200000), 0x400001);
    assert_int_equal(through(BED_A, pasid, VA + 0x201000), 0); /* a notice asks for nothing */
    assert_int_equal(served(), 0);
    assert_int_equal(ask(BED_A, pasid, VA + 0x203000, false), 0);
    assert_int_equal(through(BED_A, pasid, VA + 0x203000), 0x403001);
    assert_int_equal(through(BED_A, pasid, VA + 0x201000), 0);
    assert_int_equal(served(), 0);
    assert_int_equal(ask(BED_A, pasid, VA + 0x201000, false), 0);
    assert_int_equal(through(BED_A, pasid, VA + 0x201000), 0x401001);
    assert_int_equal(served(), 1);
    /* And gives it up with everybody else. */
    assert_int_equal(on_demand(vm, 0, 0x403000, PAGE_SIZE), HV_OK);
    assert_int_equal(through(BED_A, pasid, VA + 0x203000), 0);
}

/* The requester id as well, whose caches have a domain of their own. */
static void a_nested_requester_id_is_served_and_cut(void **state)
{
    uint64_t value;

    (void)state;
    on(vm, 0, BOTH);
    assert_int_equal(attach(vm, 0, NONE, HC_DOMAIN_NESTED, root.v), HV_OK);
    bed_map(root, VA, 0x30000);
    if (kind != kinds)
        assert_int_equal(ask(BED_A, NONE, VA, false), 0);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(through(BED_A, NONE, VA), 0x30001);
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
        assert_int_equal(on_demand(vm, 0, 0x30000, PAGE_SIZE), HV_OK);
        assert_int_equal(through(BED_A, NONE, VA), 0);
        assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
        bed_interrupts();
        (void)next_event(HC_EVENT_FAULT);
        assert_int_equal(ask(BED_A, NONE, VA, false), 0);
        assert_int_equal(served(), round + 1);
    }
}

/* More than it was promised, of all kinds: each last request is answered once. */
static void a_flood_gets_one_answer_each(void **state)
{
    uint32_t ioas = create(vm), lasts = 0;
    struct hc_event e;

    (void)state;
    bind_and_give_up();
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x401000, 4 * MIB), HV_OK);
    assert_int_equal(attach(vm, 0, 9, HC_DOMAIN_PAGING, ioas), HV_OK);
    bed.nresponses = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        bool in_ioas = i % 3, last = i % 5 != 0;
        uint64_t page = (uint64_t)(i * 7919 % 1500) * PAGE_SIZE;
        request(BED_A, in_ioas ? 9 : pasid, in_ioas ? 0x10000000 + page : VA + page, i % 500, last,
                i % 2);
        lasts += last;
    }
    uint32_t answered = bed.nresponses;
    assert_true(answered <= lasts && answered > lasts / 2);
    while (take_event(vm, &e)) {
        if (e.type != HC_EVENT_PAGE_REQUEST || !(e.flags & HC_PRQ_LAST))
            continue;
        answer(e.cookie, HC_RESPONSE_INVALID);
        answered++;
    }
    assert_int_equal(answered, lasts);
    assert_int_equal(bed.nresponses, lasts);
    assert_true(served() > 512);
    for (uint64_t at = 0; at < 512 * PAGE_SIZE; at += PAGE_SIZE) {
        uint64_t got = through(BED_A, 9, 0x10000000 + at);
        assert_true(!got || got == 0x401001 + at);
        if (at % (8 * PAGE_SIZE) == 0) /* the device TLB has its end */
            assert_int_equal(attach(vm, 0, 9, HC_DOMAIN_BLOCKED, 0) |
                                 attach(vm, 0, 9, HC_DOMAIN_PAGING, ioas),
                             HV_OK);
    }
}

/* --- Requests on one CPU, calls on another ---------------------------------------------------- */

static _Atomic bool racing;
static uint32_t raced;
static _Atomic uint32_t hits;

/* What arrives for the RID is served while the VM's lock is somebody else's. */
static void *requests(void *arg)
{
    struct device *d = arg;
    struct iommu_page_request req = { .rid = BED_A, .read = true, .last = true };

    for (uint32_t i = 0; atomic_load(&racing); i++) {
        req.address = IOVA(0x10000000 + (uint64_t)(i * 7919 % 1100) * PAGE_SIZE);
        lock_take(&vm->sva->fill_lock);
        lock_take(&vm->rings->events);
        const struct bond *bond = d->rid_bond;
        struct domain domain = bond ? *bond->domain : (struct domain){ 0 };
        struct space space = bond ? *bond->space : (struct space){ 0 };
        lock_drop(&vm->rings->events);
        if (bond)
            hits += demand_serve(d, &space, &domain, &req) == HV_OK;
        lock_drop(&vm->sva->fill_lock);
    }
    return NULL;
}

static void changes_that_race_with_requests_win(void **state)
{
    struct pt_leaf leaf;
    pthread_t thread;
    uint32_t ioas = 0;

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    atomic_store(&racing, true);
    atomic_store(&hits, 0);
    assert_int_equal(pthread_create(&thread, NULL, requests, vm->device[0]), 0);
    for (raced = 0; raced < 300 || (atomic_load(&hits) < 100 && raced < 100000); raced++) {
        if (raced % 4 == 0) {
            ioas = create(vm);
            assert_int_equal(attach(vm, 0, NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
        }
        assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x400000, 4 * MIB),
                         HV_OK);
        assert_int_equal(map(vm, ioas, RW, 0x10400000, 0x30000, PAGE_SIZE), HV_OK);
        if (raced % 4 == 1)
            sched_yield();
        assert_int_equal(unmap(vm, ioas, 0x10001000, 3 * MIB), HV_OK);
        const struct ioas *object = ioas_find(vm, ioas);
        lock_take(&vm->sva->fill_lock);
        for (uint64_t at = 0x10001000; at < 0x10001000 + 3 * MIB; at += PAGE_SIZE)
            assert_false(pt_lookup(&object->tables->pt, PTADDR(at), &leaf));
        lock_drop(&vm->sva->fill_lock);
        assert_int_equal(unmap(vm, ioas, 0x10000000, 0x401000), HV_OK);
        if (raced % 4 != 3)
            continue;
        assert_int_equal(attach(vm, 0, NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
        assert_int_equal(call(vm, HC_IOAS_DESTROY, ioas, 0, 0, NULL), HV_OK);
    }
    atomic_store(&racing, false);
    pthread_join(thread, NULL);
    assert_true(hits >= 100);
}

static _Atomic unsigned stage;
enum { FOUND = 1, USED };

/* A request that has found what it is served from, and takes its time. */
static void *slow_request(void *)
{
    lock_take(&vm->sva->fill_lock);
    atomic_store(&stage, FOUND);
    usleep(20000);
    atomic_store(&stage, USED);
    lock_drop(&vm->sva->fill_lock);
    return NULL;
}

static void nothing_goes_under_a_request(void **state)
{
    pthread_t thread;

    (void)state;
    on(vm, 0, HC_IOPF_MAP);
    for (unsigned how = 0; how < 2; how++) {
        uint32_t ioas = create(vm);
        assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0, 0, PAGE_SIZE), HV_OK);
        assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_PAGING, ioas), HV_OK);
        atomic_store(&stage, 0);
        assert_int_equal(pthread_create(&thread, NULL, slow_request, NULL), 0);
        while (!atomic_load(&stage))
            sched_yield();
        if (how == 0) {
            assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_BLOCKED, 0), HV_OK);
            assert_int_equal(call(vm, HC_IOAS_DESTROY, ioas, 0, 0, NULL), HV_OK);
        } else {
            device_end(vm);
        }
        assert_int_equal(atomic_load(&stage), USED);
        pthread_join(thread, NULL);
    }
}

/* It ends with things asked for and not: nothing is left (check), and others notice nothing. */
static void a_vm_that_ends_leaves_nothing(void **state)
{
    uint32_t ioas = create(vm);
    uint64_t value;

    (void)state;
    bind_and_give_up();
    assert_int_equal(map(vm, ioas, RW | HC_IOAS_ON_DEMAND, 0x10000000, 0x401000, 4 * MIB), HV_OK);
    assert_int_equal(attach(vm, 0, 9, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(ask(BED_A, 9, 0x10000000, false), 0);
    assert_int_equal(ask(BED_A, pasid, VA, false), 0);
    request(BED_A, pasid, VA + 0x5000, 1, true, false);
    assert_int_equal(attach(other, 0, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    bed_page_request(BED_A, 9, 0x10001000, 2, true); /* still in the queue */
    unsigned before = bed.nresponses;
    device_end(vm);
    bed_interrupts();
    assert_int_equal(bed.nresponses, before + 2);
    assert_int_equal(bed.response[before].code + bed.response[before + 1].code, 2);
    assert_int_equal(bed_read(BED_C, BED_NO_PASID, 0x5000, &value), 0);
}

/* --- Orders, refusals, limits: on the fake ---------------------------------------------------- */

static int fresh_fake(void **state)
{
    int result = abi_setup(state);

    for (unsigned i = 0; i < 2; i++)
        fake.caps[i].second_stage_depths = 2; /* IOASes */
    return result;
}

static void attaching_and_mapping_need_the_category(void **state)
{
    (void)state;
    event_ring(vm_a, 256);
    uint32_t plain = create(vm_a), ioas = create(vm_a);
    const struct hc_ioas_copy copy = {
        .size = sizeof(copy), .to = plain, .from = ioas, .to_iova = 0x5000, .bytes = PAGE_SIZE
    };
    assert_int_equal(map(vm_a, ioas, RW | HC_IOAS_ON_DEMAND, 0, 0, 4 * PAGE_SIZE), HV_OK);
    assert_refused(map(vm_a, ioas, HC_IOAS_RESERVE | HC_IOAS_ON_DEMAND, 0x10000, 0, PAGE_SIZE),
                   HV_EINVAL);
    assert_refused(map(vm_a, ioas, HC_IOAS_ON_DEMAND, 0x10000, 0, PAGE_SIZE), HV_EINVAL);
    /* Device 2 has no page requests; 0 has, but MAP is not on, nor is BIND enough. */
    assert_refused(attach(vm_a, 2, 1, HC_DOMAIN_PAGING, ioas), HV_ENOTSUP);
    assert_refused(attach(vm_a, 0, 1, HC_DOMAIN_PAGING, ioas), HV_EORDER);
    iopf_on(vm_a, 0);
    assert_refused(attach(vm_a, 0, 1, HC_DOMAIN_PAGING, ioas), HV_EORDER);
    assert_int_equal(attach(vm_a, 0, 1, HC_DOMAIN_PAGING, plain), HV_OK);
    assert_refused(map(vm_a, plain, RW | HC_IOAS_ON_DEMAND, 0, 0, PAGE_SIZE), HV_EORDER);
    assert_refused(call_with(vm_a, HC_IOAS_COPY, copy), HV_EORDER);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    on(vm_a, 0, HC_IOPF_MAP);
    assert_int_equal(map(vm_a, plain, RW | HC_IOAS_ON_DEMAND, 0, 0, PAGE_SIZE), HV_OK);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EBUSY);
    assert_refused(attach(vm_a, 2, 1, HC_DOMAIN_PAGING, plain), HV_ENOTSUP);
    assert_int_equal(unmap(vm_a, plain, 0, PAGE_SIZE), HV_OK);
    assert_int_equal(attach(vm_a, 2, 1, HC_DOMAIN_PAGING, plain), HV_OK);
    assert_refused(map(vm_a, plain, RW | HC_IOAS_ON_DEMAND, 0, 0, PAGE_SIZE), HV_ENOTSUP);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
    on(vm_a, 1, BOTH);
    assert_int_equal(attach(vm_a, 1, 2, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 1, 0, 0, NULL), HV_EBUSY);
    assert_int_equal(attach(vm_a, 1, 2, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 1, 0, 0, NULL), HV_OK);
    /* MAP alone is no BIND. */
    on(vm_a, 1, HC_IOPF_MAP);
    uint64_t value;
    assert_refused(try_bind(vm_a, 1, ROOT(1), HC_PASID_ANY, 0, &value), HV_EORDER);
}

static void ram_on_demand_needs_the_category(void **state)
{
    uint64_t value;

    (void)state;
    event_ring(vm_a, 256);
    on(vm_a, 0, BOTH);
    iopf_on(vm_a, 1);
    assert_int_equal(attach(vm_a, 1, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_refused(on_demand(vm_a, 0, 0x1000, PAGE_SIZE), HV_EORDER);
    assert_int_equal(attach(vm_a, 1, NONE, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_refused(on_demand(vm_a, 0, 0x1000, PAGE_SIZE), HV_EORDER);
    assert_int_equal(attach(vm_a, 1, NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(attach(vm_a, 2, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_refused(on_demand(vm_a, 0, 0x1000, PAGE_SIZE), HV_ENOTSUP);
    assert_int_equal(attach(vm_a, 2, NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    /* A bond that is BLOCKED may come back: it counts. */
    uint32_t bond = bind(vm_a, 1, ROOT(1), &pasid);
    assert_int_equal(attach(vm_a, 1, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_refused(on_demand(vm_a, 0, 0x1000, PAGE_SIZE), HV_EORDER);
    assert_int_equal(call(vm_a, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(attach(vm_a, 0, 3, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(on_demand(vm_a, 0, 0x1000, PAGE_SIZE), HV_OK);
    assert_refused(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EBUSY);
    assert_refused(attach(vm_a, 1, NONE, HC_DOMAIN_IDENTITY, 0), HV_EORDER);
    assert_refused(attach(vm_a, 1, 4, HC_DOMAIN_NESTED, ROOT(1)), HV_EORDER);
    assert_refused(try_bind(vm_a, 1, ROOT(1), HC_PASID_ANY, 0, &value), HV_EORDER);
    assert_refused(attach(vm_a, 2, NONE, HC_DOMAIN_IDENTITY, 0), HV_ENOTSUP);
    assert_int_equal(attach(vm_a, 1, NONE, HC_DOMAIN_PAGING, create(vm_a)), HV_OK); /* not RAM */
    assert_int_equal(on_demand(vm_a, HC_MEMORY_PRESENT, 0, RAM_SIZE), HV_OK);
    assert_int_equal(attach(vm_a, 2, NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(vm_a, 1, 4, HC_DOMAIN_NESTED, ROOT(1)), HV_OK);
    assert_int_equal(call(vm_a, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_OK);
}

static void wrong_memory_is_refused(void **state)
{
    struct hc_memory_on_demand in = { .size = sizeof(in), .bytes = PAGE_SIZE };
    uint64_t value;

    (void)state;
    assert_refused(on_demand(vm_a, 2, 0, PAGE_SIZE), HV_EINVAL);
    assert_refused(on_demand(vm_a, 0, 0, 0), HV_EINVAL);
    assert_refused(on_demand(vm_a, 0, 8, PAGE_SIZE), HV_EALIGN);
    assert_refused(on_demand(vm_a, 0, 0, PAGE_SIZE + 8), HV_EALIGN);
    assert_refused(on_demand(vm_a, 0, OUTSIDE, PAGE_SIZE), HV_EFAULT);
    assert_refused(on_demand(vm_a, 0, 0, RAM_SIZE + PAGE_SIZE), HV_EFAULT);
    assert_refused(on_demand(vm_a, 0, PAGE_SIZE, ~PAGE_MASK), HV_EFAULT);
    struct vm *poor = abi_make_vm(2, "poor", platform_ram(80 * MIB), 80 * MIB);
    in.bytes = 72 * MIB;
    in.gpa = 4 * MIB;
    assert_int_equal(call_with(poor, HC_MEMORY_ON_DEMAND, in), HV_ENOTSUP); /* no device */
    abi_free_vm(poor);
    /* Of a VM with more than one step. */
    struct vm_ram low = vm_b->ram[0];
    vm_b->ram[0].hpa = platform_ram(80 * MIB);
    vm_b->ram[0].size = 80 * MIB;
    assert_int_equal(call_struct(vm_b, HC_MEMORY_ON_DEMAND, &in, sizeof(in), &value), HV_EAGAIN);
    assert_int_equal(value, HC_MEMORY_STEP);
    in.gpa += value;
    in.bytes -= value;
    assert_int_equal(call_struct(vm_b, HC_MEMORY_ON_DEMAND, &in, sizeof(in), &value), HV_OK);
    assert_int_equal(value, 8 * MIB);
    vm_b->ram[0] = low;
}

/* Out of memory at every allocation: as before, or all of it. */
static void what_fails_changes_nothing(void **state)
{
    uint32_t ioas = create(vm_a);
    enum hv_status status = HV_ENOMEM;
    unsigned n = 0;

    (void)state;
    event_ring(vm_a, 256);
    on(vm_a, 0, BOTH);
    assert_int_equal(attach(vm_a, 0, 3, HC_DOMAIN_IDENTITY, 0), HV_OK);
    for (; status == HV_ENOMEM; n++) {
        uint64_t before = absent(vm_a, 0) + absent(vm_a, 2);
        pages_fail_after((int)n);
        status = on_demand(vm_a, 0, 0x405000, 3 * MIB);
        pages_fail_after(-1);
        if (status == HV_ENOMEM)
            assert_int_equal(absent(vm_a, 0) + absent(vm_a, 2), before);
    }
    assert_int_equal(status, HV_OK);
    assert_true(n > 2);
    assert_int_equal(absent(vm_a, 0), 3 * MIB);
    assert_int_equal(absent(vm_a, 2), 3 * MIB);
    struct pt_leaf leaf;
    for (uint64_t at = 0; at < 16 * MIB; at += PAGE_SIZE)
        assert_int_equal(pt_lookup(&vm_a->sva->second[1]->table, PTADDR(at), &leaf),
                         at < 0x405000 || at >= 0x405000 + 3 * MIB);
    assert_int_equal(attach(vm_a, 0, 4, HC_DOMAIN_PAGING, ioas), HV_OK);
    uint64_t used = vm_a->quota.used;
    assert_int_equal(map(vm_a, ioas, RW | HC_IOAS_ON_DEMAND, BIT(40), 0, 8 * MIB), HV_OK);
    assert_int_equal(vm_a->quota.used, used); /* it costs a mapping, and no table */
}

int main(void)
{
#define all(f)                                                                                     \
    { #f " (nesting)", f, fresh, check, (void *)&kinds[0] },                                       \
        { #f " (second stage only)", f, fresh, check, (void *)&kinds[1] },                         \
    {                                                                                              \
        #f " (first stage only)", f, fresh, check, (void *)&kinds[2]                               \
    }
#define shadow(f)                                                                                  \
    { #f " (second stage only)", f, fresh, check, (void *)&kinds[1] },                             \
    {                                                                                              \
        #f " (first stage only)", f, fresh, check, (void *)&kinds[2]                               \
    }
#define on_fake(f) cmocka_unit_test_setup_teardown(f, fresh_fake, abi_check)
    const struct CMUnitTest tests[] = {
        all(a_mapping_comes_when_it_is_asked_for),
        all(what_is_small_comes_by_pages),
        all(what_is_not_allowed_is_refused_and_told),
        all(unmapping_takes_what_had_come),
        all(a_table_that_is_built_leaves_it_out),
        all(without_room_it_is_refused_and_told),
        all(ram_goes_and_comes_back_as_it_is),
        all(a_page_goes_alone),
        all(second_stage_faults_are_sluices_first_stage_faults_the_guests),
        all(groups_of_both_kinds_have_one_answer),
        all(a_group_that_the_guest_leaves_is_refused_at_once),
        all(a_category_that_is_off_serves_nothing),
        shadow(shadows_hold_what_is_there),
        all(a_nested_requester_id_is_served_and_cut),
        all(a_flood_gets_one_answer_each),
        all(changes_that_race_with_requests_win),
        all(nothing_goes_under_a_request),
        all(a_vm_that_ends_leaves_nothing),
        on_fake(attaching_and_mapping_need_the_category),
        on_fake(ram_on_demand_needs_the_category),
        on_fake(wrong_memory_is_refused),
        on_fake(what_fails_changes_nothing),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
