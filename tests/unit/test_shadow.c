/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Shadow translation: the core on the VT-d driver on the model of a unit that does not nest, once
 * with second-stage tables only, once with the first-stage format only.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "hv/shadow.h"
#include "tests/unit/vtd_core.h"

#define BIT(n) (1ull << (n))
#define VA     0x7f0000000000ull

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80 };

static struct kind {
    const char *name;
    uint64_t without; /* of ECAP */
} kinds[] = {
    { "second stage only", BIT(26) | BIT(47) },
    { "first stage only", BIT(26) | BIT(46) },
};

static struct vm *vm, *other;
static gpaddr_t root;
static uint32_t pasid, bond;

static int fresh(void **state)
{
    const struct kind *kind = *state;
    struct vtd_model_config config = bed_config();
    int result = bed_fresh(state);

    config.ecap &= ~kind->without;
    struct vtd_core c = vtd_core_bound(&config);
    vm = c.vm;
    other = c.other;
    root = c.root;
    pasid = c.pasid;
    bond = c.bond;
    return result;
}

static int check(void **state)
{
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

/* --- What a guest and a device do ------------------------------------------------------------- */

static uint64_t read_through_tlb(rid_t rid, uint64_t address)
{
    uint64_t value = 0;

    return bed_ats_read(rid, (int32_t)pasid, address, &value) ? value : 0;
}

static void request(rid_t rid, uint64_t address, uint16_t group, bool last, bool write)
{
    vtd_model_page_request(bed.model[0], &(struct vtd_page_request){ .rid = rid,
                                                                     .prgi = group,
                                                                     .pasid_present = true,
                                                                     .pasid = pasid,
                                                                     .read = true,
                                                                     .write = write,
                                                                     .lpig = last,
                                                                     .addr = address });
    vtd_model_run(bed.model[0]);
    bed_interrupts();
}

/* A group of one, which Sluice answers at once. */
static uint8_t ask(rid_t rid, uint64_t address, bool write)
{
    unsigned before = bed.nresponses;

    request(rid, address, 9, true, write);
    assert_int_equal(bed.nresponses, before + 1);
    assert_int_equal(bed.response[before].rid, rid);
    assert_int_equal(bed.response[before].prgi, 9);
    return bed.response[before].code;
}

static void no_events(void)
{
    struct hc_event e;

    assert_false(take_event(vm, &e));
}

/* The last event, and how many there were. */
static unsigned drain_events(struct hc_event *e)
{
    unsigned n = 0;

    while (take_event(vm, e))
        n++;
    return n;
}

static enum hv_status invalidate(uint32_t kind, uint64_t address, uint64_t bytes)
{
    struct hc_invalidate in = {
        .kind = kind,
        .pasid = kind == HC_INVALIDATE_DOMAIN ? 0 : pasid,
        .address = address,
        .bytes = bytes,
    };

    return call_with(vm, HC_INVALIDATE, in);
}

static uint64_t *entry(uint64_t va, unsigned level)
{
    uint64_t table = root.v;

    for (unsigned l = 4; l > level; l--) {
        uint64_t e = ((uint64_t *)ram(vm, table))[va >> (3 + 9 * l) & 511];
        assert_true(e & P);
        table = e & 0xffffffffff000;
    }
    return &((uint64_t *)ram(vm, table))[va >> (3 + 9 * level) & 511];
}

/* With these bits, in place of accessed and dirty. */
static void map_as(uint64_t va, uint64_t gpa, uint64_t bits)
{
    bed_map(root, va, gpa);
    *entry(va, 1) = gpa | bits;
}

static const struct shadow *shadow(void)
{
    assert_non_null(vm->sva->shadows);
    return vm->sva->shadows;
}

static uint64_t *page(uint64_t gpa)
{
    return ram(vm, gpa);
}

/* --- Filling ---------------------------------------------------------------------------------- */

static void what_is_there_needs_no_guest(void **state)
{
    (void)state;
    bed_map(root, VA, 0x30000);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    assert_int_equal(ask(BED_A, VA, false), 0);
    no_events();
    assert_int_equal(vm->stats.responses_by_sluice, 0);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001); /* the same table */
    uint64_t value;
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA + 0x1000, &value), 0);
    assert_int_not_equal(bed_read(BED_C, (int32_t)pasid, VA, &value), 0);
}

static bool in_shadow_when_answered;

static void look_into_shadow(void)
{
    struct pt_leaf leaf;

    in_shadow_when_answered = pt_lookup(&shadow()->table, PTADDR(VA), &leaf) &&
                              pt_lookup(&shadow()->table, PTADDR(VA + 0x1000), &leaf);
}

static void what_is_absent_is_the_guests_and_filled_before_the_answer(void **state)
{
    struct hc_event e;

    (void)state;
    request(BED_A, VA, 7, false, false);
    request(BED_A, VA + 0x1000, 7, true, true);
    assert_int_equal(abi_calls.interrupts, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(take_event(vm, &e));
        assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
        assert_int_equal(e.address, VA + i * 0x1000);
        map_as(e.address, 0x30000 + i * 0x1000, P | W | U);
    }
    assert_int_equal(bed.nresponses, 0);
    in_shadow_when_answered = false;
    bed.on_response = look_into_shadow;
    struct hc_page_response in = { .cookie = e.cookie };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    bed.on_response = NULL;
    assert_int_equal(bed.nresponses, 1);
    assert_int_equal(bed.response[0].code, 0);
    assert_int_equal(bed.response[0].prgi, 7);
    assert_true(in_shadow_when_answered);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_A, VA + 0x1000), 0x31001);
    assert_int_equal(*entry(VA, 1) & (A | D), A); /* the first was a read */
    assert_int_equal(*entry(VA + 0x1000, 1) & (A | D), A | D);
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_EALREADY);
    assert_int_equal(bed.nresponses, 1);
}

/* The guest hears of what it has to do and of the last one, which it answers. */
static void a_group_is_shared_with_the_guest(void **state)
{
    struct hc_event e;

    (void)state;
    bed_map(root, VA, 0x30000);
    bed_map(root, VA + 0x2000, 0x32000);
    request(BED_A, VA, 3, false, false);
    request(BED_A, VA + 0x1000, 3, false, false);
    request(BED_A, VA, 3, false, false);
    request(BED_A, VA + 0x2000, 3, true, false);
    assert_true(take_event(vm, &e));
    assert_int_equal(e.address, VA + 0x1000);
    assert_int_equal(e.flags & HC_PRQ_LAST, 0);
    uint64_t cookie = e.cookie;
    assert_true(take_event(vm, &e));
    assert_int_equal(e.address, VA + 0x2000);
    assert_true(e.flags & HC_PRQ_LAST);
    assert_int_equal(e.cookie, cookie);
    no_events();
    assert_int_equal(bed.nresponses, 0);
    struct hc_page_response in = { .cookie = e.cookie, .code = HC_RESPONSE_INVALID };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    assert_int_equal(bed.response[0].code, 1);
    assert_int_equal(read_through_tlb(BED_A, VA + 0x1000), 0);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
}

/* As many as were promised, again and again: no note of a request is lost. */
static void requests_do_not_run_out(void **state)
{
    struct hc_event e;
    uint32_t slots = iopf_allowance(vm->device[0]);

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < slots; i++)
            request(BED_A, VA + (uint64_t)i * PAGE_SIZE, (uint16_t)(i / 2), i % 2, false);
        for (uint32_t i = 0; i < slots; i++) {
            assert_true(take_event(vm, &e));
            if (round == 2)
                bed_map(root, e.address, 0x30000);
            struct hc_page_response in = { .cookie = e.cookie, .code = round == 0 };
            if (e.flags & HC_PRQ_LAST)
                assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
        }
        no_events();
    }
    for (uint32_t i = 0; i < slots / 2 * 2; i++)
        assert_int_equal(read_through_tlb(BED_A, VA + (uint64_t)i * PAGE_SIZE), 0x30001);
}

static void what_leads_outside_is_refused_and_told(void **state)
{
    struct hc_event e;
    uint64_t value;

    (void)state;
    bed_map(root, VA, OUTSIDE);
    assert_int_equal(ask(BED_A, VA, false), 1);
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.type, HC_EVENT_FAULT);
    assert_int_equal(e.reason, HC_FAULT_SECOND_STAGE);
    assert_int_equal(e.address, VA);
    /* A table outside. */
    bed_map(root, VA, 0x30000);
    *entry(VA, 2) = OUTSIDE | P | W | U;
    assert_int_equal(ask(BED_A, VA, true), 1);
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.reason, HC_FAULT_SECOND_STAGE);
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    bed_interrupts();
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.reason, HC_FAULT_SECOND_STAGE);
    /* What the guest's own table forbids is told so, whatever the unit walked. */
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA + BIT(30), &value), 0);
    bed_interrupts();
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.reason, HC_FAULT_FIRST_STAGE);
    /* An address that no first stage of four levels has; in first-stage format the unit says so. */
    assert_int_equal(ask(BED_A, BIT(47), false), 1);
    if (*state == &kinds[0]) {
        assert_int_equal(drain_events(&e), 1);
        assert_int_equal(e.reason, HC_FAULT_ADDRESS);
    }
    assert_false(pt_lookup(&shadow()->table, PTADDR(VA), &(struct pt_leaf){ 0 }));
}

/* Of the kernel, and read only. */
static void rights_are_the_guests(void **state)
{
    struct hc_event e;
    uint64_t value;

    (void)state;
    map_as(VA, 0x30000, P | W | A | D);
    request(BED_A, VA, 1, true, false);
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
    map_as(VA + 0x1000, 0x31000, P | U | A | D); /* dirty once, and read only now */
    assert_int_equal(ask(BED_A, VA + 0x1000, false), 0);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA + 0x1000, &value), 0);
    assert_int_not_equal(bed_write(BED_A, (int32_t)pasid, VA + 0x1000, 5), 0);
    bed_interrupts();
    drain_events(&e);
    request(BED_A, VA + 0x1000, 2, true, true);
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
    assert_true(e.flags & HC_PRQ_WRITE);
    /* Copied on write: as documented, the answer needs no invalidation when it only adds a right.
     */
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA + 0x1000, &value), 0); /* cached anew */
    map_as(VA + 0x1000, 0x31000, P | W | U);
    struct hc_page_response in = { .cookie = e.cookie };
    assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
    assert_int_equal(bed_write(BED_A, (int32_t)pasid, VA + 0x1000, 5), 0);
    assert_int_equal(*page(0x31000), 5);
    /* Every level has its say. */
    map_as(VA + 0x2000, 0x32000, P | W | U | A | D);
    *entry(VA, 3) &= ~(uint64_t)W;
    assert_int_equal(ask(BED_A, VA + 0x2000, false), 0);
    assert_int_not_equal(bed_write(BED_A, (int32_t)pasid, VA + 0x2000, 5), 0);
    *entry(VA, 3) &= ~(uint64_t)U;
    request(BED_A, VA + 0x2000, 3, true, false);
    drain_events(&e);
    assert_int_equal(e.type, HC_EVENT_PAGE_REQUEST);
}

/* --- Accessed and dirty ----------------------------------------------------------------------- */

static void accessed_and_dirty_are_told(void **state)
{
    uint64_t value;

    (void)state;
    map_as(VA, 0x30000, P | W | U);
    for (unsigned level = 4; level > 1; level--)
        *entry(VA, level) &= ~(uint64_t)A;
    map_as(VA + 0x1000, 0x31000, P | W | U);
    for (unsigned level = 4; level > 1; level--)
        *entry(VA, level) &= ~(uint64_t)A;
    assert_int_equal(ask(BED_A, VA, false), 0);
    for (unsigned level = 4; level > 0; level--)
        assert_int_equal(*entry(VA, level) & (A | D), A);
    assert_int_equal(*entry(VA + 0x1000, 1) & (A | D), 0);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    /* Nothing is written that the guest does not know of. */
    assert_int_not_equal(bed_write(BED_A, (int32_t)pasid, VA, 77), 0);
    assert_int_equal(*page(0x30000), 0x30001);
    assert_int_equal(ask(BED_B, VA, true), 0);
    assert_int_equal(*entry(VA, 1) & (A | D), A | D);
    assert_int_equal(bed_write(BED_A, (int32_t)pasid, VA, 77), 0);
    assert_int_equal(*page(0x30000), 77);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    /* One that is dirty already is writable at once. */
    map_as(VA + 0x2000, 0x32000, P | W | U | A | D);
    assert_int_equal(ask(BED_A, VA + 0x2000, false), 0);
    assert_int_equal(bed_write(BED_A, (int32_t)pasid, VA + 0x2000, 78), 0);
    /* Clean again, and said so: the next write is asked for. */
    *entry(VA, 1) &= ~(uint64_t)(A | D);
    assert_int_equal(invalidate(HC_INVALIDATE_RANGE, VA, PAGE_SIZE), HV_OK);
    assert_int_not_equal(bed_write(BED_A, (int32_t)pasid, VA, 79), 0);
    assert_int_equal(ask(BED_A, VA, false), 0);
    assert_int_not_equal(bed_write(BED_A, (int32_t)pasid, VA, 79), 0);
    assert_int_equal(*page(0x30000), 77);
    assert_int_equal(ask(BED_A, VA, true), 0);
    assert_int_equal(bed_write(BED_A, (int32_t)pasid, VA, 79), 0);
    bed_interrupts();
}

/* --- Invalidation ----------------------------------------------------------------------------- */

/* Both devices, in their TLBs and in the unit's. */
static void see(uint64_t va, uint64_t wanted)
{
    uint64_t value;

    assert_int_equal(read_through_tlb(BED_A, va), wanted);
    assert_int_equal(read_through_tlb(BED_B, va), wanted);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, va, &value), 0);
    assert_int_equal(value, wanted);
}

static void what_is_invalidated_is_gone(void **state)
{
    enum { PAGES = 100, WAYS = 6 };
    struct hc_command *slots = ram(vm, COMMANDS + HC_RING_ENTRIES);
    struct hc_ring *ring = ram(vm, COMMANDS);
    struct hc_invalidate *array = ram(vm, 0x300000);
    uint64_t done, value;

    (void)state;
    command_ring(vm, 256);
    for (unsigned way = 0; way < WAYS; way++) {
        for (uint64_t i = 0; i < PAGES; i++) {
            bed_map(root, VA + 2 * i * PAGE_SIZE, 0x30000 + way * 0x1000);
            assert_int_equal(ask(BED_A, VA + 2 * i * PAGE_SIZE, false), 0);
            see(VA + 2 * i * PAGE_SIZE, 0x30001 + way * 0x1000);
        }
        for (uint64_t i = 0; i < PAGES; i++) {
            struct hc_invalidate in = {
                .size = sizeof(in),
                .pasid = pasid,
                .address = VA + 2 * i * PAGE_SIZE,
                .bytes = PAGE_SIZE,
            };
            bed_map(root, in.address, 0x40000);
            if (way == 0) {
                assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
            } else if (way == 1) {
                array[i] = in;
            } else if (way == 2) {
                struct hc_command *slot = &slots[ring->producer & 255];
                *slot = (struct hc_command){ .call = HC_INVALIDATE, .status = HC_COMMAND_PENDING };
                memcpy(slot->args, &in, sizeof(in));
                ring->producer++;
            }
        }
        struct hc_invalidate_array all = { .entries = 0x300000,
                                           .count = PAGES,
                                           .entry_size = sizeof(*array) };
        switch (way) {
        case 1: assert_int_equal(call_with(vm, HC_INVALIDATE_ARRAY, all), HV_OK); break;
        case 2: assert_int_equal(call(vm, HC_DOORBELL, 0, 0, 0, &done), HV_OK); break;
        case 3: assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK); break;
        case 4: assert_int_equal(invalidate(HC_INVALIDATE_DOMAIN, 0, 0), HV_OK); break;
        case 5:
            assert_int_equal(invalidate(HC_INVALIDATE_RANGE, VA, 2 * PAGES * PAGE_SIZE), HV_OK);
            break;
        default: break;
        }
        for (uint64_t i = 0; i < PAGES; i++) {
            uint64_t va = VA + 2 * i * PAGE_SIZE;
            assert_int_equal(read_through_tlb(BED_A, va), 0);
            assert_int_equal(read_through_tlb(BED_B, va), 0);
            assert_int_not_equal(bed_read(BED_B, (int32_t)pasid, va, &value), 0);
            assert_int_equal(ask(BED_A, va, false), 0);
            see(va, 0x40001);
            bed_interrupts();
        }
        assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK);
        drain_events(&(struct hc_event){ 0 });
    }
}

/* One invalidated and its neighbour not. */
/* While a drop is under way, at each store that hardware could see, the lock is held: no fill
 * brings back what is dropped. */
static struct {
    unsigned stores, unlocked;
} watched;

static void watch_drop(void)
{
    const struct lock *lock = &vm->sva->fill_lock;

    watched.stores++;
    watched.unlocked += atomic_load(&lock->next) == atomic_load(&lock->owner);
}

static void a_drop_holds_fills_off_and_gives_tables_back(void **state)
{
    enum { TABLES = 8 };
    struct hc_command *slots = ram(vm, COMMANDS + HC_RING_ENTRIES);
    struct hc_ring *ring = ram(vm, COMMANDS);

    (void)state;
    command_ring(vm, 16);
    for (unsigned way = 0; way < 4; way++) {
        for (uint64_t i = 0; i < TABLES; i++) {
            bed_map(root, VA + i * BIT(30), 0x30000);
            assert_int_equal(ask(BED_A, VA + i * BIT(30), false), 0);
            see(VA + i * BIT(30), 0x30001);
        }
        memset(&watched, 0, sizeof(watched));
        uint64_t used = vm->quota.used;
        bed.on_store = watch_drop;
        switch (way) {
        case 0: assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK); break;
        case 1: assert_int_equal(invalidate(HC_INVALIDATE_DOMAIN, 0, 0), HV_OK); break;
        case 2: assert_int_equal(invalidate(HC_INVALIDATE_RANGE, VA, BIT(33)), HV_OK); break;
        default: /* single pages, in a run */
            for (uint64_t i = 0; i < TABLES; i++) {
                struct hc_invalidate in = { .size = sizeof(in),
                                            .pasid = pasid,
                                            .address = VA + i * BIT(30),
                                            .bytes = PAGE_SIZE };
                struct hc_command *slot = &slots[ring->producer++ & 15];
                *slot = (struct hc_command){ .call = HC_INVALIDATE, .status = HC_COMMAND_PENDING };
                memcpy(slot->args, &in, sizeof(in));
            }
            assert_int_equal(call(vm, HC_DOORBELL, 0, 0, 0, NULL), HV_OK);
            break;
        }
        bed.on_store = NULL;
        assert_true(watched.stores > TABLES);
        assert_int_equal(watched.unlocked, 0);
        assert_true(vm->quota.used < used);
        for (uint64_t i = 0; i < TABLES; i++)
            assert_int_equal(read_through_tlb(BED_A, VA + i * BIT(30)), 0);
    }
}

/* A unit that does not answer may walk them for ever: they are kept, and the guest is told. */
static void tables_stay_if_the_unit_does_not_answer(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 8; i++) {
        bed_map(root, VA + i * BIT(30), 0x30000);
        assert_int_equal(ask(BED_A, VA + i * BIT(30), false), 0);
    }
    uint64_t used = vm->quota.used;
    bed.dead = true;
    assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_ETIMEDOUT);
    assert_int_equal(vm->quota.used, used);
    assert_true(platform_logged("kept"));
    assert_false(pt_lookup(&shadow()->table, PTADDR(VA), &(struct pt_leaf){ 0 }));
}

static int check_dead(void **state)
{
    struct vm *const both[] = { vm, other };

    for (unsigned i = 0; i < 2; i++) {
        device_end(both[i]);
        for (unsigned k = 0; k < both[i]->nvcpus; k++)
            free(both[i]->vcpu[k]);
        free(both[i]);
    }
    return bed_check(state);
}

static void only_what_is_named_goes(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        bed_map(root, VA + i * PAGE_SIZE, 0x30000 + i * PAGE_SIZE);
        assert_int_equal(ask(BED_A, VA + i * PAGE_SIZE, false), 0);
    }
    assert_int_equal(invalidate(HC_INVALIDATE_RANGE, VA + PAGE_SIZE, PAGE_SIZE), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(read_through_tlb(BED_A, VA + PAGE_SIZE), 0);
    assert_int_equal(read_through_tlb(BED_A, VA + 2 * PAGE_SIZE), 0x32001);
    /* Beyond all that is shadowed, and around all of it. */
    assert_int_equal(invalidate(HC_INVALIDATE_RANGE, BIT(63), BIT(40)), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
    assert_int_equal(invalidate(HC_INVALIDATE_RANGE, 0, BIT(63)), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
}

/* Moved without a word, and asked for again: the new one, not an error. */
static void a_stale_page_that_is_asked_for_is_replaced(void **state)
{
    (void)state;
    bed_map(root, VA, 0x30000);
    assert_int_equal(ask(BED_A, VA, false), 0);
    bed_map(root, VA, 0x40000);
    see(VA, 0x30001);
    assert_int_equal(ask(BED_A, VA, false), 0);
    see(VA, 0x40001);
    no_events();
}

static void notices_fill_for_who_cannot_ask(void **state)
{
    struct hc_invalidate in = { .kind = HC_INVALIDATE_MAPPED };
    uint64_t value;

    (void)state;
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(try_bind(vm, 0, root.v, HC_PASID_ANY, HC_BIND_NO_IOPF, &value), HV_OK);
    bond = (uint32_t)value;
    for (uint64_t i = 0; i < 512; i += 2)
        bed_map(root, VA + i * PAGE_SIZE, 0x400000 + i * PAGE_SIZE);
    map_as(VA + PAGE_SIZE, OUTSIDE, P | W | U | A | D);
    assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, VA, 512 * PAGE_SIZE), HV_OK);
    for (uint64_t i = 0; i < 512; i += 2) {
        assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA + i * PAGE_SIZE, &value), 0);
        assert_int_equal(value, 0x400001 + i * PAGE_SIZE);
    }
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA + PAGE_SIZE, &value), 0);
    assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, VA, HC_MAPPED_MAX + PAGE_SIZE), HV_ERANGE);
    assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, BIT(62), PAGE_SIZE), HV_OK);
    /* By requester id; no notice of another space reaches it. */
    gpaddr_t second = bed_root();
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, second.v), HV_OK);
    bed_map(second, VA, 0x50000);
    assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, VA, PAGE_SIZE), HV_OK);
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    in.pasid = HC_PASID_NONE;
    in.address = VA;
    in.bytes = PAGE_SIZE;
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    assert_int_equal(value, 0x50001);
    in.kind = HC_INVALIDATE_RANGE;
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    bed_interrupts();
}

/* --- Large pages ------------------------------------------------------------------------------ */

static void large_pages_are_large_leaves(void **state)
{
    const uint64_t big = 0x200000, va = VA + 7 * big;
    struct pt_leaf leaf;

    (void)state;
    bed_map(root, va, 0x30000);
    *entry(va, 2) = big | P | W | U | LARGE;
    assert_int_equal(ask(BED_A, va + 0x5000, false), 0);
    assert_true(pt_lookup(&shadow()->table, PTADDR(va + 0x5000), &leaf));
    assert_int_equal(leaf.size, big);
    assert_int_equal(leaf.out.v, bed.ram.v + big + 0x5000);
    assert_false(leaf.perm & PT_W);
    assert_int_equal(*entry(va, 2) & (A | D), A);
    see(va + 0x1ff000, 0x3ff001);
    assert_int_equal(ask(BED_A, va + 0x9000, true), 0);
    assert_true(pt_lookup(&shadow()->table, PTADDR(va), &leaf));
    assert_true(leaf.size == big && leaf.perm & PT_W);
    assert_int_equal(*entry(va, 2) & (A | D), A | D);
    /* Any address of it takes all of it away. */
    assert_int_equal(invalidate(HC_INVALIDATE_RANGE, va + 0x3000, PAGE_SIZE), HV_OK);
    assert_false(pt_lookup(&shadow()->table, PTADDR(va + 0x5000), &leaf));
    assert_int_equal(read_through_tlb(BED_A, va + 0x1ff000), 0);
    /* Where RAM begins and ends in the middle of a large page, small leaves. */
    *entry(va, 3) = P | W | U | LARGE | A | D; /* 1 GiB, of which 16 MiB are there */
    assert_int_equal(ask(BED_A, va + 0x5000, false), 0);
    assert_true(pt_lookup(&shadow()->table, PTADDR(va), &leaf));
    assert_int_equal(leaf.size, big);
    assert_int_equal(leaf.out.v, bed.ram.v + 7 * big);
    assert_int_equal(ask(BED_A, va + BED_RAM, false), 1);
    assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK);
    vm->ram[1].size /= 2;
    *entry(va, 3) = VM_RAM_HIGH | P | W | U | LARGE | A | D;
    assert_int_equal(ask(BED_A, va & ~(BIT(30) - 1), false), 0);
    assert_true(pt_lookup(&shadow()->table, PTADDR(va & ~(BIT(30) - 1)), &leaf));
    assert_int_equal(leaf.size, PAGE_SIZE);
    assert_int_equal(leaf.out.v, vm->ram[1].hpa.v);
    vm->ram[1].size *= 2;
    /* Small ones instead, without a word: no right of theirs spreads to the stale large one. */
    assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK);
    *entry(va, 3) = 0;
    bed_map(root, va, 0x30000);
    uint64_t table = *entry(va, 2);
    *entry(va, 2) = big | P | U | A | LARGE;
    assert_int_equal(ask(BED_A, va, false), 0);
    *entry(va, 2) = table;
    map_as(va, big, P | W | U | A | D);
    assert_int_equal(ask(BED_A, va, true), 0);
    assert_true(!pt_lookup(&shadow()->table, PTADDR(va + 0x1000), &leaf) || !(leaf.perm & PT_W));
    assert_int_equal(bed_write(BED_A, (int32_t)pasid, va, 1), 0);
    bed_interrupts();
}

/* --- Quota, ends ------------------------------------------------------------------------------ */

static void without_quota_it_starts_again(void **state)
{
    const uint64_t step = BIT(30); /* two tables each */
    uint64_t before = pages_used(), value;

    (void)state;
    bed_map(root, 0x1000, 0x31000);
    vm->quota.limit = vm->quota.used + 20;
    for (uint64_t i = 1; i < 200; i++) {
        bed_map(root, i * step, 0x30000);
        assert_int_equal(ask(BED_A, i * step, false), 0);
        assert_int_equal(bed_read(BED_A, (int32_t)pasid, i * step, &value), 0);
        assert_int_equal(value, 0x30001);
        assert_true(vm->quota.used <= vm->quota.limit);
    }
    assert_true(pages_used() <= before + 20);
    /* What was dropped is in nobody's cache. */
    assert_int_equal(read_through_tlb(BED_A, step), 0);
    /* A call is not refused for what a shadow holds. */
    vm->quota.limit = vm->quota.used;
    assert_int_equal(attach(vm, 0, 9, HC_DOMAIN_NESTED, bed_root().v), HV_OK);
    assert_int_equal(attach(other, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    /* Not one page is left: refused by name, and as before when there is room again. */
    assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK);
    vm->quota.limit = vm->quota.used;
    assert_int_equal(ask(BED_A, step, false), 1);
    struct hc_event e;
    assert_int_equal(drain_events(&e), 1);
    assert_int_equal(e.reason, HC_FAULT_OTHER);
    assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, step, PAGE_SIZE), HV_EQUOTA);
    vm->quota.limit += 100;
    assert_int_equal(ask(BED_A, step, false), 0);
    assert_int_equal(read_through_tlb(BED_A, step), 0x30001);
}

enum { PROCESSES = 6 };

/* As many processes more, each with a page in its shadow. */
static void more_processes(void)
{
    const uint32_t first = pasid;

    for (unsigned i = 0; i < PROCESSES; i++) {
        gpaddr_t theirs = bed_root();
        bed_map(theirs, VA, 0x30000);
        bind(vm, 0, theirs.v, &pasid);
        assert_int_equal(ask(BED_A, VA, false), 0);
    }
    pasid = first;
}

static unsigned full_shadows(void)
{
    unsigned n = 0;

    for (const struct shadow *s = vm->sva->shadows; s; s = s->next)
        n += !s->empty;
    return n;
}

static unsigned turns;

/* A page request would wait for the lock. */
static void note_turn(void)
{
    static uint16_t last;
    uint16_t turn = atomic_load(&vm->sva->fill_lock.owner);

    turns += turn != last;
    last = turn;
}

static void who_waits_has_a_turn_between_drops(void **state)
{
    (void)state;
    more_processes();
    turns = 0;
    bed.on_tlb = note_turn;
    assert_int_equal(invalidate(HC_INVALIDATE_DOMAIN, 0, 0), HV_OK);
    bed.on_tlb = NULL;
    assert_int_equal(full_shadows(), 0);
    assert_true(turns >= PROCESSES);
}

static void answer_slowly(void)
{
    platform_pass_us(30000);
}

/* A device that takes its time, and no quota: others' requests do not wait until all is dropped. */
static void room_is_made_in_a_moment(void **state)
{
    (void)state;
    more_processes();
    assert_int_equal(full_shadows(), PROCESSES);
    vm->quota.limit = vm->quota.used;
    bed_map(root, VA, 0x30000);
    bed.on_tlb = answer_slowly;
    assert_int_equal(ask(BED_A, VA, false), 0);
    bed.on_tlb = NULL;
    assert_int_equal(full_shadows(), PROCESSES - 2 + 1);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
}

static void after_unbind_nothing_is_reached(void **state)
{
    uint64_t value;

    (void)state;
    bed_map(root, VA, 0x30000);
    assert_int_equal(ask(BED_A, VA, false), 0);
    see(VA, 0x30001);
    assert_int_equal(call(vm, HC_SVA_UNBIND, bond, 0, 0, NULL), HV_OK);
    assert_int_equal(read_through_tlb(BED_A, VA), 0);
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x30001);
    /* The last one takes the shadow with it. */
    assert_int_equal(attach(vm, 1, pasid, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(read_through_tlb(BED_B, VA), 0);
    assert_int_equal(vm->sva->nshadows, 1); /* it is bound still */
    bed_map(root, VA, 0x40000);             /* blocked: nothing to invalidate */
    bind(vm, 1, root.v, NULL);
    assert_int_equal(read_through_tlb(BED_B, VA), 0);
    assert_int_equal(ask(BED_B, VA, false), 0);
    assert_int_equal(read_through_tlb(BED_B, VA), 0x40001);
    uint64_t handle = bond_find(vm->device[1], pasid)->handle;
    assert_int_equal(call(vm, HC_SVA_UNBIND, handle, 0, 0, NULL), HV_OK);
    assert_int_equal(call(vm, HC_SVA_UNBIND, handle, 0, 0, NULL), HV_OK);
    assert_null(vm->sva->shadows);
    assert_int_equal(vm->sva->nshadows, 0);
    assert_int_equal(read_through_tlb(BED_B, VA), 0);
    bed_interrupts();
}

static void by_requester_id_and_by_pasid_they_are_apart(void **state)
{
    gpaddr_t second = bed_root();
    uint64_t value;

    (void)state;
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, second.v), HV_OK);
    assert_int_equal(attach(vm, 0, 77, HC_DOMAIN_NESTED, root.v), HV_OK); /* by hand */
    bed_map(root, VA, 0x30000);
    bed_map(second, VA, 0x50000);
    assert_int_equal(ask(BED_A, VA, false), 0);
    bed_page_request(BED_A, BED_NO_PASID, VA, 4, true);
    bed_interrupts();
    assert_int_equal(bed.nresponses, 2);
    assert_int_equal(bed.response[1].code, 0);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    assert_int_equal(value, 0x50001);
    assert_int_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    assert_int_equal(value, 0x30001);
    assert_int_not_equal(bed_read(BED_A, 77, VA, &value), 0);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x60000, &value), 0);
    assert_int_equal(value, 0x60001);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, second.v), HV_OK);
    assert_int_not_equal(bed_read(BED_A, BED_NO_PASID, VA, &value), 0);
    bed_interrupts();
}

static void a_vm_that_ends_leaves_nothing(void **state)
{
    uint64_t value;

    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        bed_map(root, VA + i * BIT(21), 0x30000);
        assert_int_equal(ask(BED_A, VA + i * BIT(21), false), 0);
    }
    request(BED_A, 0x1000, 2, true, false);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_NESTED, root.v), HV_OK);
    device_end(vm);
    assert_int_not_equal(bed_read(BED_A, (int32_t)pasid, VA, &value), 0);
    bed_interrupts();
}

static void the_guest_is_told_what_works(void **state)
{
    struct hc_device_info info;
    struct hc_vm_info of;

    const bool five = *state == &kinds[0]; /* as deep as its second stage */
    assert_int_equal(call(vm, HC_DEVICE_INFO, 0, SCRATCH, sizeof(info), NULL), HV_OK);
    memcpy(&info, ram(vm, SCRATCH), sizeof(info));
    assert_int_equal(info.flags & (HC_DEVICE_NESTED | HC_DEVICE_SHADOW | HC_DEVICE_FS_5LEVEL),
                     HC_DEVICE_SHADOW | (five ? HC_DEVICE_FS_5LEVEL : 0));
    assert_int_equal(info.first_stage_bits, five ? 57 : 48);
    assert_int_equal(call(vm, HC_VM_INFO, SCRATCH, sizeof(of), 0, NULL), HV_OK);
    memcpy(&of, ram(vm, SCRATCH), sizeof(of));
    assert_int_equal(of.features & (HC_FEATURE_NESTED | HC_FEATURE_SHADOW | HC_FEATURE_IOPF),
                     HC_FEATURE_SHADOW | HC_FEATURE_IOPF);
}

static void five_levels(void **state)
{
    const bool five = *state == &kinds[0];
    gpaddr_t root5 = bed_root();
    struct hc_sva_bind in = { .device = 0, .pasid = 50, .levels = 5, .root = root5.v };
    uint64_t value;

    page(root5.v)[0x91] = root.v | P | W | U;
    bed_map(root, VA, 0x30000);
    assert_int_equal(call_with(vm, HC_SVA_BIND, in), five ? HV_OK : HV_ENOTSUP);
    if (!five)
        return;
    pasid = 50;
    assert_int_equal(ask(BED_A, 0x91ull << 48 | VA, false), 0);
    assert_int_equal(bed_read(BED_A, 50, 0x91ull << 48 | VA, &value), 0);
    assert_int_equal(value, 0x30001);
    request(BED_A, VA, 1, true, false);
    struct hc_event e;
    assert_true(take_event(vm, &e));
    assert_int_equal(e.address, VA);
}

/* What a unit can shadow, as a table: depths are bit n for n + 3 levels. */
static void reach_follows_the_unit(void **state)
{
    static const struct {
        uint8_t depths, bits, levels;
        uint64_t end;
    } rows[] = {
        { 2, 48, 4, BIT(47) }, { 2, 47, 4, BIT(47) }, { 2, 39, 4, BIT(39) }, { 1, 39, 4, BIT(39) },
        { 4, 57, 4, BIT(47) }, { 6, 57, 5, BIT(56) }, { 2, 48, 5, 0 },       { 0, 48, 4, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct iommu_caps caps = { .second_stage = true,
                                   .pasid_bits = 20,
                                   .second_stage_depths = rows[i].depths,
                                   .input_bits = rows[i].bits };
        assert_int_equal(shadow_end(&caps, rows[i].levels), rows[i].end);
        caps.pasid_bits = 0; /* legacy mode */
        assert_int_equal(shadow_end(&caps, rows[i].levels), 0);
        caps.pasid_bits = 20;
        caps.nested = true;
        assert_int_equal(shadow_end(&caps, rows[i].levels), 0);
    }
}

/* --- A guest that keeps no rule --------------------------------------------------------------- */

#define CHAOS_PAGES 64u

static _Atomic bool chaos_on;

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

/* Entries of all levels, as they come: inside, outside, large, absent, tables as pages. Not where
 * rings and calls lie: accessed bits are set in whatever is said to be a table. */
static uint64_t any_entry(uint64_t *x)
{
    static const uint64_t where[] = { 0x400000, 0x600000, 0x800000, VM_RAM_HIGH,
                                      OUTSIDE,  BIT(40),  BED_RAM,  0xffffffffff000 };
    uint64_t r = next_random(x), anywhere = (r >> 16) % (BED_RAM * 2) & ~PAGE_MASK;

    return (r & 1 ? where[r >> 8 & 7] : 0x300000 + anywhere) |
           (r >> 40 & (P | W | U | A | D | LARGE)) | (r >> 56 & 3 ? P | U : 0);
}

static uint64_t chaos_va(uint64_t r)
{
    return VA + r % CHAOS_PAGES * (r & 64 ? PAGE_SIZE : BIT(21)) + (r & 128 ? BIT(30) : 0);
}

static struct chaos {
    uint64_t seed, *entries[1024], kept[1024]; /* and what they were */
    unsigned n;
} chaos;

static void *chaotic_guest(void *arg)
{
    uint64_t x = chaos.seed;

    (void)arg;
    while (atomic_load(&chaos_on)) {
        uint64_t *at = chaos.entries[next_random(&x) % chaos.n];
        __atomic_store_n(at, any_entry(&x), __ATOMIC_RELAXED);
    }
    return NULL;
}

/* The way to chaos_va(@i) as it was: however rarely the guest runs meanwhile, or however much, some
 * of what is asked for is there. */
static void put_back(uint64_t i)
{
    for (unsigned n = 3 * (i & 255), end = n + 3; n < end; n++)
        __atomic_store_n(chaos.entries[n], chaos.kept[n], __ATOMIC_RELAXED);
}

/* Every leaf of a shadow lies in RAM of its VM. */
static void all_leaves_are_inside(void)
{
    for (const struct shadow *s = vm->sva->shadows; s; s = s->next) {
        struct pt_leaf leaf;
        for (uint64_t i = 0; i < 256; i++) {
            uint64_t va = chaos_va(i);
            if (!pt_lookup(&s->table, PTADDR(va), &leaf))
                continue;
            uint64_t first = leaf.out.v & ~(leaf.size - 1);
            bool low = first >= bed.ram.v && first + leaf.size <= bed.ram.v + BED_RAM;
            bool high = first >= vm->ram[1].hpa.v &&
                        first + leaf.size <= vm->ram[1].hpa.v + vm->ram[1].size;
            assert_true(low || high);
        }
    }
}

static void changes_that_race_with_fills_stay_inside(void **state)
{
    const char *given = getenv("SLUICE_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 0) : 0x5eed5eed;
    const unsigned rounds = given ? 20000 : 4000, enough = rounds / 50;
    struct hc_event e;
    uint64_t x = seed | 1, filled = 0, served = 0;
    pthread_t guest;

    (void)state;
    chaos = (struct chaos){ .seed = seed ^ 0x9e3779b97f4a7c15ull };
    for (uint64_t i = 0; i < 256; i++)
        bed_map(root, chaos_va(i), 0x30000 + i * PAGE_SIZE);
    for (uint64_t i = 0; i < 256; i++) {
        for (unsigned level = 1; level < 4; level++) {
            chaos.kept[chaos.n] = *entry(chaos_va(i), level);
            chaos.entries[chaos.n++] = entry(chaos_va(i), level);
        }
    }
    uint64_t *canary = platform_memory(other->ram[0].hpa.v, PAGE_SIZE);
    memset(canary, 0xa5, 2 << 20);
    atomic_store(&chaos_on, true);
    assert_int_equal(pthread_create(&guest, NULL, chaotic_guest, NULL), 0);
    /* How much is filled is up to who runs when: until it is enough, by count and not by time. */
    for (unsigned i = 0; i < rounds || filled < enough || served < enough; i++) {
        assert_true(i < 20 * rounds);
        uint64_t r = next_random(&x), va = chaos_va(r >> 8), value;
        unsigned before = bed.nresponses = 0;
        if (i % 4 == 0)
            put_back(r >> 8);
        switch (r % 8) {
        case 0: assert_int_equal(invalidate(HC_INVALIDATE_RANGE, va, PAGE_SIZE), HV_OK); break;
        case 1:
            if (r >> 16 & 15)
                break;
            assert_int_equal(invalidate(HC_INVALIDATE_PASID, 0, 0), HV_OK);
            break;
        case 2: assert_int_equal(invalidate(HC_INVALIDATE_MAPPED, va, 4 * PAGE_SIZE), HV_OK); break;
        case 3: (void)bed_read(BED_A, (int32_t)pasid, va, &value); break;
        default:
            request(r & 8 ? BED_A : BED_B, va, 3, true, r >> 4 & 1);
            served += bed.nresponses > before;
            break;
        }
        bed_interrupts();
        while (take_event(vm, &e)) {
            struct hc_page_response in = { .cookie = e.cookie, .code = r >> 5 & 1 };
            if (e.type == HC_EVENT_PAGE_REQUEST)
                assert_int_equal(call_with(vm, HC_PAGE_RESPONSE, in), HV_OK);
        }
        filled += pt_lookup(&shadow()->table, PTADDR(va), &(struct pt_leaf){ 0 });
        if (i % 8 == 0)
            all_leaves_are_inside();
    }
    atomic_store(&chaos_on, false);
    pthread_join(guest, NULL);
    all_leaves_are_inside();
    for (unsigned i = 0; i < (2 << 20) / 8; i++)
        assert_true(canary[i] == 0xa5a5a5a5a5a5a5a5ull);

    /* It keeps the rules again: what it invalidates is gone, and what it maps is found. */
    for (unsigned i = 0; i < chaos.n; i++)
        *chaos.entries[i] = 0;
    assert_int_equal(invalidate(HC_INVALIDATE_DOMAIN, 0, 0), HV_OK);
    for (uint64_t i = 0; i < 256; i++)
        assert_int_equal(read_through_tlb(BED_A, chaos_va(i)), 0);
    *page(0x700000) = 0x700001;
    *entry(VA, 3) = 0;
    bed_map(root, VA, 0x700000);
    assert_int_equal(ask(BED_A, VA, true), 0);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x700001);
    bed_interrupts();
}

/* The same without luck: the entry goes between the reading of the tables and the first bit that is
 * set in them, which the processor tells by a fault. */
static uint64_t *entry_that_goes, *table_page;

static void take_entry_away(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if (((uintptr_t)info->si_addr & ~PAGE_MASK) != (uintptr_t)table_page)
        abort();
    *entry_that_goes = 0;
    mprotect(table_page, PAGE_SIZE, PROT_READ | PROT_WRITE);
    entry_that_goes = NULL;
}

static void an_entry_that_goes_meanwhile_is_not_written_over(void **state)
{
    struct sigaction now = { .sa_sigaction = take_entry_away, .sa_flags = SA_SIGINFO }, before;

    (void)state;
    table_page = ram(vm, root.v);
    for (unsigned write = 0; write < 2; write++) {
        map_as(VA, 0x30000, P | W | U);
        *entry(VA, 4) &= ~(uint64_t)A;
        uint64_t *leaf = entry_that_goes = entry(VA, 1);
        assert_int_equal(sigaction(SIGSEGV, &now, &before), 0);
        assert_int_equal(mprotect(table_page, PAGE_SIZE, PROT_READ), 0);
        lock_take(&vm->sva->fill_lock);
        enum hv_status status = shadow_fill(vm->sva->shadows, IOVA(VA), write);
        lock_drop(&vm->sva->fill_lock);
        assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
        assert_null(entry_that_goes);
        assert_int_equal(*leaf, 0);
        assert_int_equal(status, HV_ENOENT);
        assert_false(pt_lookup(&shadow()->table, PTADDR(VA), &(struct pt_leaf){ 0 }));
    }
}

/* Present, taken away, looked at for a while: whoever sets a bit in it must not bring it back. */
static void *careful_guest(void *arg)
{
    uint64_t *at = arg, came_back = 0;

    while (atomic_load(&chaos_on)) {
        __atomic_store_n(at, 0x30000 | P | W | U, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < 20 && !(__atomic_load_n(at, __ATOMIC_RELAXED) & A); i++)
            ;
        __atomic_store_n(at, 0, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < 50; i++)
            came_back += __atomic_load_n(at, __ATOMIC_RELAXED) != 0;
    }
    return (void *)(uintptr_t)came_back;
}

static _Atomic unsigned looks;

static void *look_another_up(void *)
{
    struct device *d = device_hold(BED_C);

    assert_non_null(d);
    device_release(d);
    looks++;
    return NULL;
}

/* A CPU has a fault of somebody else's device to report while this one changes a shadow. */
static void another_cpu_reports(void)
{
    struct timespec limit;
    pthread_t thread;

    if (looks)
        return;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &limit), 0);
    limit.tv_sec += 5;
    assert_int_equal(pthread_create(&thread, NULL, look_another_up, NULL), 0);
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &limit), 0);
}

static void a_fill_that_waits_holds_up_no_other_report(void **state)
{
    (void)state;
    bed_map(root, VA, 0x30000);
    looks = 0;
    bed.on_store = another_cpu_reports;
    assert_int_equal(ask(BED_A, VA, false), 0);
    bed.on_store = NULL;
    assert_int_equal(looks, 1);
    assert_int_equal(read_through_tlb(BED_A, VA), 0x30001);
}

static void an_entry_taken_away_does_not_come_back(void **state)
{
    pthread_t guest;
    void *came_back;
    unsigned filled = 0;

    (void)state;
    bed_map(root, VA, 0x30000);
    atomic_store(&chaos_on, true);
    assert_int_equal(pthread_create(&guest, NULL, careful_guest, entry(VA, 1)), 0);
    for (unsigned i = 0; i < 300000; i++) {
        lock_take(&vm->sva->fill_lock);
        filled += shadow_fill(vm->sva->shadows, IOVA(VA), i & 1) == HV_OK;
        lock_drop(&vm->sva->fill_lock);
    }
    atomic_store(&chaos_on, false);
    pthread_join(guest, &came_back);
    assert_null(came_back);
    assert_true(filled > 0);
}

int main(void)
{
#define both(f)                                                                                    \
    { #f " (second stage only)", f, fresh, check, &kinds[0] },                                     \
    {                                                                                              \
        #f " (first stage only)", f, fresh, check, &kinds[1]                                       \
    }
    const struct CMUnitTest tests[] = {
        both(what_is_there_needs_no_guest),
        both(what_is_absent_is_the_guests_and_filled_before_the_answer),
        both(a_group_is_shared_with_the_guest),
        both(requests_do_not_run_out),
        both(what_leads_outside_is_refused_and_told),
        both(rights_are_the_guests),
        both(accessed_and_dirty_are_told),
        both(what_is_invalidated_is_gone),
        both(a_drop_holds_fills_off_and_gives_tables_back),
        { "tables_stay_if_the_unit_does_not_answer", tables_stay_if_the_unit_does_not_answer, fresh,
          check_dead, &kinds[0] },
        both(only_what_is_named_goes),
        both(a_stale_page_that_is_asked_for_is_replaced),
        both(notices_fill_for_who_cannot_ask),
        both(large_pages_are_large_leaves),
        both(without_quota_it_starts_again),
        both(who_waits_has_a_turn_between_drops),
        both(room_is_made_in_a_moment),
        both(after_unbind_nothing_is_reached),
        both(by_requester_id_and_by_pasid_they_are_apart),
        both(a_vm_that_ends_leaves_nothing),
        both(the_guest_is_told_what_works),
        both(five_levels),
        both(a_fill_that_waits_holds_up_no_other_report),
        both(an_entry_that_goes_meanwhile_is_not_written_over),
        both(an_entry_taken_away_does_not_come_back),
        both(changes_that_race_with_fills_stay_inside),
        cmocka_unit_test(reach_follows_the_unit),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
