/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Names are a VM's own: two VMs whose devices sit behind one unit make the very same calls, with
 * the same device handles, PASIDs, roots, IO addresses and group indices, and get the same handles,
 * cookies and addresses back. Each reaches its own memory, and what one does to a name is nothing
 * to the other. The unit keeps all that it may, so a name that two shared would show.
 */
#include <string.h>

#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define VA    0x7f0000000000ull
#define PAGE  0x30000ull /* where both map it */
#define PASID 1234u
#define TOP   0x800000ull /* tables of first stages, downwards from there in both */

static struct twin {
    struct vm *vm;
    rid_t rid;
    uint64_t mark; /* the value at the begin of a page is its address and this */
    uint64_t table;
} twins[2];

/* All that a VM is told. */
struct told {
    uint64_t bond, again, hand_made, ioas, second_ioas, place, cookie, group;
};

static uint64_t new_table(struct twin *t)
{
    t->table -= PAGE_SIZE;
    memset(ram(t->vm, t->table), 0, PAGE_SIZE);
    return t->table;
}

static void map(struct twin *t, uint64_t root, uint64_t va, uint64_t gpa)
{
    uint64_t at = root;

    for (unsigned level = 3; level; level--) {
        uint64_t *e = (uint64_t *)ram(t->vm, at) + (va >> (12 + 9 * level) & 511);
        if (!*e)
            *e = new_table(t) | 0x27;
        at = *e & ~PAGE_MASK;
    }
    ((uint64_t *)ram(t->vm, at))[va >> 12 & 511] = gpa ? gpa | 0x67 : 0;
}

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
    for (unsigned i = 0; i < 2; i++) {
        struct twin *t = &twins[i];
        *t = (struct twin){ .rid = i ? BED_B : BED_A, .mark = i + 1, .table = TOP };
        t->vm = abi_make_vm((uint16_t)i, i ? "second" : "first", platform_ram(BED_RAM), BED_RAM);
        for (uint64_t at = 0; at < BED_RAM; at += PAGE_SIZE)
            *(uint64_t *)ram(t->vm, at) = at + t->mark;
        assert_int_equal(device_add(t->vm, &(struct boot_pci){ t->rid, 1, 0 }), HV_OK);
    }
    return result;
}

static int check(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        if (twins[i].vm)
            abi_free_vm(twins[i].vm);
    }
    return bed_check(state);
}

static uint64_t make_ioas(struct vm *vm)
{
    struct hc_ioas_create in = { 0 };
    uint64_t ioas;

    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &in, sizeof(in), &ioas), HV_OK);
    return ioas;
}

/* What a guest may do with devices, from the first call to an open page request. */
static struct told live(struct twin *t)
{
    struct vm *vm = t->vm;
    struct told told;
    struct hc_event e;
    uint64_t root = new_table(t), other_root = new_table(t);

    map(t, root, VA, PAGE);
    map(t, other_root, VA, PAGE + PAGE_SIZE);
    event_ring(vm, 64);
    iopf_on(vm, 0);
    assert_int_equal(try_bind(vm, 0, root, PASID, 0, &told.bond), HV_OK);
    assert_int_equal(try_bind(vm, 0, root, HC_PASID_ANY, 0, &told.again), HV_OK);
    assert_int_equal(try_bind(vm, 0, other_root, HC_PASID_ANY, 0, &told.hand_made), HV_OK);
    told.ioas = make_ioas(vm);
    told.second_ioas = make_ioas(vm);
    struct hc_ioas_map in = {
        .flags = HC_IOAS_READ | HC_IOAS_WRITE,
        .ioas = (uint32_t)told.ioas,
        .gpa = PAGE + 2 * PAGE_SIZE,
        .bytes = PAGE_SIZE,
    };
    assert_int_equal(call_struct(vm, HC_IOAS_MAP, &in, sizeof(in), &told.place), HV_OK);
    assert_int_equal(attach(vm, 0, 77, HC_DOMAIN_PAGING, told.ioas), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, other_root), HV_OK);
    bed_page_request(t->rid, PASID, VA + 0x5000, 7, true);
    bed_interrupts();
    assert_true(take_event(vm, &e));
    assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
    assert_int_equal(e.device, 0);
    assert_int_equal(e.pasid, PASID);
    told.cookie = e.cookie;
    told.group = e.group;
    return told;
}

/* Each page of a twin, by each way that leads there, with and without the device TLB. */
static void all_reached(const struct twin *t, const struct told *told)
{
    const struct {
        int32_t pasid;
        uint64_t address, page;
    } ways[] = {
        { PASID, VA, PAGE },
        { (int32_t)(told->hand_made >> 32), VA, PAGE + PAGE_SIZE },
        { 77, told->place, PAGE + 2 * PAGE_SIZE },
        { BED_NO_PASID, VA, PAGE + PAGE_SIZE },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        uint64_t value = 0;
        assert_int_equal(bed_read(t->rid, ways[i].pasid, ways[i].address, &value), 0);
        assert_int_equal(value, ways[i].page + t->mark);
        value = 0;
        assert_true(bed_ats_read(t->rid, ways[i].pasid, ways[i].address, &value));
        assert_int_equal(value, ways[i].page + t->mark);
    }
}

static void two_vms_use_the_same_names(void **state)
{
    struct told told[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        told[i] = live(&twins[i]);
    assert_memory_equal(&told[0], &told[1], sizeof(told[0]));
    assert_int_equal(told[0].bond >> 32, PASID);
    assert_int_equal(told[0].again, told[0].bond);
    for (unsigned round = 0; round < 2; round++) { /* the second time from what is cached */
        for (unsigned i = 0; i < 2; i++)
            all_reached(&twins[i], &told[i]);
    }
}

/* Each name of the first VM is taken away, used up or invalidated; the second's stays as it is. */
static void what_one_does_to_a_name_is_nothing_to_the_other(void **state)
{
    struct told told[2];
    uint64_t value;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        told[i] = live(&twins[i]);
        all_reached(&twins[i], &told[i]);
    }
    const struct twin *a = &twins[0], *b = &twins[1];
    struct hc_page_response answer = { .cookie = told[0].cookie };
    assert_int_equal(call_with(a->vm, HC_PAGE_RESPONSE, answer), HV_OK);
    assert_int_equal(bed.nresponses, 1);
    assert_int_equal(bed.response[0].rid, a->rid);
    struct hc_invalidate all = { .kind = HC_INVALIDATE_DOMAIN };
    assert_int_equal(call_with(a->vm, HC_INVALIDATE, all), HV_OK);
    all_reached(b, &told[1]);
    struct hc_ioas_unmap unmap = { .flags = HC_IOAS_ALL, .ioas = (uint32_t)told[0].ioas };
    assert_int_equal(call_with(a->vm, HC_IOAS_UNMAP, unmap), HV_OK);
    assert_int_equal(bed_read(a->rid, 77, told[0].place, &value), 0x79);
    assert_int_equal(call(a->vm, HC_SVA_UNBIND, (uint32_t)told[0].bond, 0, 0, &value), HV_OK);
    assert_int_equal(call(a->vm, HC_SVA_UNBIND, (uint32_t)told[0].bond, 0, 0, &value), HV_OK);
    assert_int_not_equal(bed_read(a->rid, PASID, VA, &value), 0);
    assert_int_equal(attach(a->vm, 0, 77, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(call(a->vm, HC_IOAS_DESTROY, told[0].ioas, 0, 0, NULL), HV_OK);
    assert_int_equal(call(a->vm, HC_IOPF_DISABLE, 0, 0, 0, NULL), HV_EBUSY);
    all_reached(b, &told[1]);
    assert_int_equal(bed.nresponses, 1); /* the second's request is still open */
    answer.cookie = told[1].cookie;
    assert_int_equal(call_with(b->vm, HC_PAGE_RESPONSE, answer), HV_OK);
    assert_int_equal(bed.response[1].rid, b->rid);
    abi_free_vm(a->vm); /* and all the rest */
    twins[0].vm = NULL;
    all_reached(b, &told[1]);
}

/* What is not a VM's own is no name in it, though it is one in another. */
static void no_name_leads_to_another_vm(void **state)
{
    const struct twin *a = &twins[0], *b = &twins[1];
    struct told told = live(&twins[0]);
    struct hc_page_response answer = { .cookie = told.cookie };
    struct hc_ioas_unmap unmap = { .flags = HC_IOAS_ALL, .ioas = (uint32_t)told.ioas };

    (void)state;
    assert_int_equal(call_with(b->vm, HC_PAGE_RESPONSE, answer), HV_ENOENT);
    assert_int_equal(call_with(b->vm, HC_IOAS_UNMAP, unmap), HV_ENOENT);
    assert_int_equal(call(b->vm, HC_SVA_UNBIND, (uint32_t)told.bond, 0, 0, NULL), HV_ENOENT);
    assert_int_equal(attach(b->vm, 0, 77, HC_DOMAIN_PAGING, told.ioas), HV_ENOENT);
    assert_int_equal(attach(b->vm, 1, 77, HC_DOMAIN_BLOCKED, 0), HV_ENODEV);
    assert_int_equal(bed.nresponses, 0);
    all_reached(a, &told);
}

int main(void)
{
#define twin_test(f) cmocka_unit_test_setup_teardown(f, fresh, check)
    const struct CMUnitTest tests[] = {
        twin_test(two_vms_use_the_same_names),
        twin_test(what_one_does_to_a_name_is_nothing_to_the_other),
        twin_test(no_name_leads_to_another_vm),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
