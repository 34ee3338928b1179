/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * What users of other systems report as bugs, and why it cannot happen here: see docs/rules.md. The
 * core on the driver on the model of a unit that keeps all it may cache. VM "vm" has functions a
 * and b, and c, which has no page requests; VM "other" has one.
 */
#include <string.h>

#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define VA 0x7f0000000000ull

enum { A, B, C }; /* handles */

static struct vm *vm, *other;

static int fresh_of(void **state, struct vtd_model_config *config)
{
    uint8_t table[4096];
    int result = bed_fresh(state);

    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    bed_make(config, 1);
    platform_put(bed_function(BED_C)->config, 0x110, 4, 0x1301000f); /* leaves PRI out */
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    other = abi_make_vm(1, "other", platform_ram(BED_RAM), BED_RAM);
    static const rid_t rids[] = { BED_A, BED_B, BED_C };
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(device_add(vm, &(struct boot_pci){ rids[i], i + 1, 0 }), HV_OK);
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_PLAIN, 4, 0 }), HV_OK);
    return result;
}

static int fresh(void **state)
{
    struct vtd_model_config config = bed_config();

    return fresh_of(state, &config);
}

static int check(void **state)
{
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

static uint64_t read_at(rid_t rid, int32_t pasid, uint64_t address)
{
    uint64_t value = 0;

    return bed_read(rid, pasid, address, &value) ? 0 : value;
}

static uint64_t read_by_tlb(rid_t rid, int32_t pasid, uint64_t address)
{
    uint64_t value = 0;

    return bed_ats_read(rid, pasid, address, &value) ? value : 0;
}

static gpaddr_t process(uint64_t gpa)
{
    gpaddr_t root = bed_root();

    bed_map(root, VA, gpa);
    return root;
}

static unsigned answers(rid_t rid, uint8_t code)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bed.nresponses; i++)
        n += bed.response[i].rid == rid && bed.response[i].code == code;
    return n;
}

/* --- Stale translations after unbind and bind ------------------------------------------------- */

static void a_pasid_used_again_brings_nothing_of_before(void **state)
{
    gpaddr_t first = process(0x30000), second = process(0x40000);
    uint32_t pasid, again;

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        bool odd = round & 1;
        uint32_t bond = bind(vm, A, odd ? second.v : first.v, &pasid);
        uint64_t value = odd ? 0x40001 : 0x30001;
        assert_int_equal(attach(vm, A, HC_PASID_NONE, HC_DOMAIN_NESTED, odd ? second.v : first.v),
                         HV_OK);
        for (unsigned look = 0; look < 2; look++) {
            assert_int_equal(read_at(BED_A, (int32_t)pasid, VA), value);
            assert_int_equal(read_by_tlb(BED_A, (int32_t)pasid, VA), value);
            assert_int_equal(read_at(BED_A, BED_NO_PASID, VA), value);
            assert_int_equal(read_by_tlb(BED_A, BED_NO_PASID, VA), value);
        }
        assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
        assert_int_equal(attach(vm, A, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
        assert_int_equal(read_at(BED_A, (int32_t)pasid, VA), 0);
        assert_int_equal(read_by_tlb(BED_A, BED_NO_PASID, VA), 0);
        bind(vm, B, second.v, &again); /* the number goes to somebody else at once */
        assert_int_equal(again, pasid);
        assert_int_equal(read_at(BED_B, (int32_t)again, VA), 0x40001);
        assert_int_equal(read_at(BED_A, (int32_t)again, VA), 0);
        assert_int_equal(
            call(vm, HC_SVA_UNBIND, bond_find(vm->device[B], again)->handle, 0, 0, NULL), HV_OK);
    }
}

/* --- Draining --------------------------------------------------------------------------------- */

/* Requests that the guest has, and such that are still in the unit's queue. */
static void a_rid_is_drained_when_its_domain_goes(void **state)
{
    gpaddr_t root = process(0x30000);
    struct hc_event e;

    (void)state;
    event_ring(vm, 64);
    iopf_on(vm, A);
    for (unsigned way = 0; way < 2; way++) {
        bed.nresponses = 0;
        assert_int_equal(attach(vm, A, HC_PASID_NONE, HC_DOMAIN_NESTED, root.v), HV_OK);
        bed_page_request(BED_A, BED_NO_PASID, VA + 0x1000, 1, true);
        bed_interrupts();
        assert_true(take_event(vm, &e));
        assert_int_equal(e.pasid, HC_PASID_NONE);
        bed_page_request(BED_A, BED_NO_PASID, VA + 0x2000, 2, true);
        assert_int_equal(bed.nresponses, 0);
        assert_int_equal(
            attach(vm, A, HC_PASID_NONE, way ? HC_DOMAIN_IDENTITY : HC_DOMAIN_BLOCKED, 0), HV_OK);
        /* BLOCKED leaves nothing for later; over a replacement the queue is looked at as ever. */
        assert_int_equal(answers(BED_A, 1), way ? 1 : 2);
        bed_interrupts();
        assert_int_equal(answers(BED_A, 1), 2);
        assert_int_equal(bed.nresponses, 2);
        struct hc_page_response late = { .cookie = e.cookie };
        assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, late), HV_EALREADY);
        assert_false(take_event(vm, &e));
    }
}

/* --- Overflow --------------------------------------------------------------------------------- */

/* One device floods the unit's queue while another has half a group in it: the other's group is
 * finished, it and all that follow are served. */
static void an_overflow_by_one_costs_others_no_group(void **state)
{
    gpaddr_t root = process(0x30000);
    struct hc_event e;
    unsigned mine = 0;
    uint64_t cookie = 0;
    uint32_t pasid;

    (void)state;
    bind(vm, A, root.v, NULL);
    bind(vm, B, root.v, &pasid);
    bed_page_request(BED_B, (int32_t)pasid, VA + 0x1000, 5, false);
    for (unsigned i = 0; i < 3000; i++)
        bed_page_request(BED_A, (int32_t)pasid, VA + 0x1000ull * i, (uint16_t)(i & 0x1ff), false);
    bed_page_request(BED_B, (int32_t)pasid, VA + 0x2000, 5, true); /* lost: hardware answers it */
    assert_int_equal(answers(BED_B, 0), 1);
    bed_interrupts();
    bed_page_request(BED_B, (int32_t)pasid, VA + 0x2000, 5, true); /* so the device asks again */
    bed_interrupts();
    while (take_event(vm, &e)) {
        if (e.type != HC_EVENT_PAGE_REQUEST || e.device != B)
            continue;
        mine++;
        assert_true(!cookie || e.cookie == cookie);
        cookie = e.cookie;
    }
    assert_int_equal(mine, 2);
    struct hc_page_response in = { .cookie = cookie };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    assert_int_equal(answers(BED_B, 0), 2);
    assert_int_equal(answers(BED_B, 1), 0);
}

/* PRI's allocation is what was promised. Who sends more gets INVALID for what is too much. */
static void who_ignores_its_allocation_harms_itself(void **state)
{
    gpaddr_t root = process(0x30000);
    unsigned delivered[2] = { 0 }, promised;
    struct hc_event e;
    uint32_t pasid;

    (void)state;
    event_ring(vm, 64);
    promised = (unsigned)iopf_on(vm, A);
    assert_int_equal(iopf_on(vm, B), promised);
    assert_int_equal(pci_config_read(BED_A, 0x12c, 4), promised);
    assert_int_equal(pci_config_read(BED_B, 0x12c, 4), promised);
    bind(vm, A, root.v, &pasid);
    bind(vm, B, root.v, NULL);
    for (unsigned i = 0; i < 3 * promised; i++)
        bed_page_request(BED_A, (int32_t)pasid, VA + 0x1000, (uint16_t)i, true);
    bed_interrupts();
    for (unsigned i = 0; i < promised; i++)
        bed_page_request(BED_B, (int32_t)pasid, VA + 0x1000, (uint16_t)i, true);
    bed_interrupts();
    while (take_event(vm, &e)) {
        if (e.type == HC_EVENT_PAGE_REQUEST)
            delivered[e.device]++;
    }
    assert_int_equal(delivered[A], promised);
    assert_int_equal(delivered[B], promised);
    assert_int_equal(answers(BED_A, 1), 2 * promised);
    assert_int_equal(answers(BED_B, 1), 0);
}

/* --- Devices that handle their own faults ----------------------------------------------------- */

static void a_device_without_page_requests_shares_a_process(void **state)
{
    gpaddr_t root = process(0x30000);
    struct hc_device_info *info = ram(vm, 0x20000);
    struct hc_event e;
    uint64_t value;

    (void)state;
    event_ring(vm, 64);
    assert_int_equal(call(vm, HC_DEVICE_INFO, C, 0x20000, sizeof(*info), NULL), HV_OK);
    assert_int_equal(info->flags & (HC_DEVICE_PRI | HC_DEVICE_NEEDS_IOPF | HC_DEVICE_NESTED),
                     HC_DEVICE_NESTED);
    assert_int_equal(call(vm, HC_IOPF_ENABLE, C, HC_IOPF_BIND, 0, NULL), HV_ENOTSUP);
    assert_int_equal(try_bind(vm, C, root.v, HC_PASID_ANY, 0, &value), HV_OK);
    int32_t pasid = (int32_t)(value >> 32);
    assert_int_equal(read_at(BED_C, pasid, VA), 0x30001);
    assert_int_equal(read_by_tlb(BED_C, pasid, VA), 0x30001);
    /* It asks all the same, by PASID and without: INVALID, and nobody hears of it. */
    bed_page_request(BED_C, pasid, VA + 0x1000, 3, true);
    bed_page_request(BED_C, BED_NO_PASID, VA + 0x1000, 4, true);
    bed_interrupts();
    assert_int_equal(answers(BED_C, 1), 2);
    assert_int_equal(bed.nresponses, 2);
    while (take_event(vm, &e)) { /* that it broke a rule may be told */
        assert_int_equal(e.type, HC_EVENT_FAULT);
        assert_int_equal(e.device, C);
    }
    assert_int_equal(read_at(BED_C, pasid, VA), 0x30001);
    /* What the process maps the device finds, without a question. */
    bed_map(root, VA + 0x1000, 0x50000);
    assert_int_equal(read_by_tlb(BED_C, pasid, VA + 0x1000), 0x50001);
}

/* The same of one that could ask, but need not: alone, and beside a bond that does ask. */
static void a_bond_without_page_requests_gets_none(void **state)
{
    gpaddr_t quiet = process(0x30000), loud = process(0x40000);
    struct hc_event e;
    uint64_t value;
    uint32_t asking;

    (void)state;
    assert_int_equal(try_bind(vm, A, quiet.v, HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    int32_t pasid = (int32_t)(value >> 32);
    bed_page_request(BED_A, pasid, VA + 0x1000, 3, true); /* IOPF is off */
    bed_interrupts();
    assert_int_equal(answers(BED_A, 1), 1);
    assert_int_equal(call(vm, HC_SVA_UNBIND, (uint32_t)value, 0, 0, NULL), HV_OK);
    bind(vm, A, loud.v, &asking);
    assert_int_equal(try_bind(vm, A, quiet.v, HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    pasid = (int32_t)(value >> 32);
    bed_page_request(BED_A, pasid, VA + 0x1000, 3, true);
    bed_interrupts();
    assert_int_equal(answers(BED_A, 1), 2);
    assert_false(take_event(vm, &e));
    bed_page_request(BED_A, (int32_t)asking, VA + 0x1000, 3, true);
    bed_interrupts();
    assert_true(take_event(vm, &e));
    assert_int_equal(e.pasid, asking);
    assert_int_equal(answers(BED_A, 1), 2);
    assert_int_equal(read_at(BED_A, pasid, VA), 0x30001);
}

/* --- PASIDs ----------------------------------------------------------------------------------- */

/* The numbers of one device end with its width, and come back with the last unbind: not when the
 * process or the VM ends. */
static void pasids_come_back_and_nobody_elses_run_out(void **state)
{
    struct vtd_model_config config = bed_config();
    uint64_t value, handle = 0;

    assert_int_equal(check(state), 0);
    config.ecap = (config.ecap & ~(31ull << 35)) | 4ull << 35; /* PSS: 5 bits */
    assert_int_equal(fresh_of(state, &config), 0);
    event_ring(vm, 64);
    iopf_on(vm, A);
    for (unsigned n = 1; n < 32; n++) {
        assert_int_equal(try_bind(vm, A, bed_root().v, HC_PASID_ANY, 0, &value), HV_OK);
        assert_int_equal(value >> 32, n);
        handle = n == 17 ? (uint32_t)value : handle;
    }
    gpaddr_t one_more = process(0x30000);
    assert_int_equal(try_bind(vm, A, one_more.v, HC_PASID_ANY, 0, &value), HV_ERANGE);
    assert_int_equal(try_bind(vm, A, one_more.v, 32, 0, &value), HV_ERANGE);
    assert_int_equal(call(vm, HC_SVA_UNBIND, handle, 0, 0, NULL), HV_OK);
    assert_int_equal(try_bind(vm, A, one_more.v, HC_PASID_ANY, 0, &value), HV_OK);
    assert_int_equal(value >> 32, 17);
    assert_int_equal(read_at(BED_A, 17, VA), 0x30001);
}

/* --- Two ways to share an address ------------------------------------------------------------- */

static void explicit_maps_need_no_bind_and_live_beside_one(void **state)
{
    gpaddr_t root = process(0x30000);
    struct hc_ioas_create create = { 0 };
    uint64_t ioas;
    uint32_t pasid, bond = bind(vm, A, root.v, &pasid);

    (void)state;
    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &create, sizeof(create), &ioas), HV_OK);
    struct hc_ioas_map map = {
        .flags = HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_FIXED,
        .ioas = (uint32_t)ioas,
        .iova = VA,
        .gpa = 0x30000,
        .bytes = PAGE_SIZE,
    };
    assert_int_equal(call_with(vm, HC_IOAS_MAP, map), HV_OK);
    assert_int_equal(attach(vm, A, 77, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, C, 77, HC_DOMAIN_PAGING, ioas), HV_OK); /* bound to nothing */
    assert_int_equal(read_by_tlb(BED_A, (int32_t)pasid, VA), 0x30001);
    assert_int_equal(read_by_tlb(BED_A, 77, VA), 0x30001);
    assert_int_equal(read_by_tlb(BED_C, 77, VA), 0x30001);
    /* They are told apart: the process's own change is one of the bind alone, */
    bed_map(root, VA, 0x60000);
    struct hc_invalidate in = { .kind = HC_INVALIDATE_PASID, .pasid = pasid };
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    assert_int_equal(read_by_tlb(BED_A, (int32_t)pasid, VA), 0x60001);
    assert_int_equal(read_by_tlb(BED_A, 77, VA), 0x30001);
    in.pasid = 77; /* an IOAS has no first stage of the guest */
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_ENOENT);
    /* and each goes without the other. */
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(read_by_tlb(BED_A, (int32_t)pasid, VA), 0);
    assert_int_equal(read_by_tlb(BED_A, 77, VA), 0x30001);
    struct hc_ioas_unmap unmap = { .ioas = (uint32_t)ioas, .iova = VA, .bytes = PAGE_SIZE };
    assert_int_equal(call_with(vm, HC_IOAS_UNMAP, unmap), HV_OK);
    assert_int_equal(read_by_tlb(BED_A, 77, VA), 0);
    assert_int_equal(read_by_tlb(BED_C, 77, VA), 0);
}

/* The unit walks tables of Sluice's, in no RAM of a VM, until it comes to the guest's first stage.
 */
static void pasid_tables_are_in_nobodys_ram(void **state)
{
    uint64_t pages = 0;

    (void)state;
    bind(vm, A, process(0x30000).v, NULL);
    for (unsigned i = 0; i < vm->nram; i++)
        pages += vm->ram[i].size >> PAGE_SHIFT;
    assert_true(pages > 0);
    for (unsigned i = 0; i < 2; i++) { /* a guest that writes all it has changes no PASID entry */
        const struct vm *v = i ? other : vm;
        for (unsigned r = 0; r < v->nram; r++)
            memset(vm_ram(v, v->ram[r].gpa, v->ram[r].size), 0xff, v->ram[r].size);
    }
    bed_interrupts();
    for (int32_t pasid = 2; pasid < 64; pasid++)
        assert_int_equal(read_at(BED_A, pasid, VA), 0);
    assert_int_equal(read_at(BED_B, 1, VA), 0);
}

int main(void)
{
#define bed_case(f) cmocka_unit_test_setup_teardown(f, fresh, check)
    const struct CMUnitTest tests[] = {
        bed_case(a_pasid_used_again_brings_nothing_of_before),
        bed_case(a_rid_is_drained_when_its_domain_goes),
        bed_case(an_overflow_by_one_costs_others_no_group),
        bed_case(who_ignores_its_allocation_harms_itself),
        bed_case(a_device_without_page_requests_shares_a_process),
        bed_case(a_bond_without_page_requests_gets_none),
        bed_case(pasids_come_back_and_nobody_elses_run_out),
        bed_case(explicit_maps_need_no_bind_and_live_beside_one),
        bed_case(pasid_tables_are_in_nobodys_ram),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
