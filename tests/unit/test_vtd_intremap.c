/* SPDX-License-Identifier: BSD-2-Clause */
/* VT-d: interrupts of devices reach the vector they were given, and nobody reaches any other. */
#include "tests/unit/vtd_bed.h"

#include "drivers/iommu/vtd/unit.h"

#define VECTOR 0x51

enum { RESERVED = 0x20, BEYOND = 0x21, ABSENT = 0x22, COMPATIBILITY = 0x25, FOREIGN = 0x26 };

static struct iommu_device a, b;

static const struct irq_target target = { 0x12345678, VECTOR }, other = { 0x87654321, 0x62 };

static struct vtd_model_config changed(uint64_t cap_on, uint64_t ecap_off)
{
    struct vtd_model_config c = bed_config();
    c.cap |= cap_on;
    c.ecap &= ~ecap_off;
    return c;
}

static void start(const struct vtd_model_config *config)
{
    bed_start(config, 1);
    bed_add(&a, BED_A);
    bed_add(&b, BED_B);
}

static void stop(void)
{
    iommu_vtd.device_remove(&a);
    iommu_vtd.device_remove(&b);
}

static struct iommu_irq mapped(struct iommu_device *dev, const struct irq_target *to)
{
    struct iommu_irq irq = { 0 };
    assert_int_equal(iommu_vtd.irq_map(dev, &irq, to), HV_OK);
    assert_true(irq.mapped);
    return irq;
}

static void unmapped(struct iommu_device *dev, struct iommu_irq *irq)
{
    assert_int_equal(iommu_vtd.irq_unmap(dev, irq), HV_OK);
    assert_false(irq->mapped);
}

static uint8_t send(rid_t rid, const struct iommu_irq *irq)
{
    return bed_message(rid, irq->address, irq->data);
}

/* Exactly one interrupt arrived since the last look: this one. */
static void arrived(const struct irq_target *to)
{
    bed_interrupts();
    assert_int_equal(bed.raised, 1);
    assert_int_equal(bed.raised_on, to->apic_id);
    assert_int_equal(bed.raised_vector, to->vector);
    bed.raised = 0;
}

/* Nothing was raised, and a fault of this device for this reason was reported; or none for 0. */
static void refused(rid_t rid, uint8_t reason, uint64_t address)
{
    bed.nfaults = 0;
    iommu_vtd.poll();
    bed_interrupts();
    assert_int_equal(bed.raised, 0);
    assert_int_equal(bed.nfaults, reason ? 1 : 0);
    if (!reason)
        return;
    assert_int_equal(bed.fault[0].rid, rid);
    assert_int_equal(bed.fault[0].class, IOMMU_FAULT_INTERRUPT);
    assert_int_equal(bed.fault[0].code, reason);
    assert_int_equal(bed.fault[0].address.v, address);
    assert_true(bed.fault[0].write);
}

static void a_message_raises_its_vector(void **state)
{
    (void)state;
    start(NULL);
    assert_true(iommu_vtd.caps(a.unit)->interrupts);
    struct iommu_irq one = mapped(&a, &target), two = mapped(&a, &other),
                     three = mapped(&b, &target);
    assert_int_not_equal(one.address, two.address);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(send(BED_A, &one), 0);
        arrived(&target);
        assert_int_equal(send(BED_A, &two), 0);
        arrived(&other);
    }
    assert_int_equal(send(BED_B, &three), 0);
    arrived(&target);
    refused(BED_A, 0, 0);
    unmapped(&a, &one);
    unmapped(&a, &two);
    unmapped(&b, &three);
    stop();
}

static void nobody_elses_message_does(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target);
    assert_int_equal(send(BED_A, &irq), 0); /* the unit may remember the entry, not the sender */
    arrived(&target);
    assert_int_equal(send(BED_B, &irq), FOREIGN);
    refused(BED_B, FOREIGN, irq.address);
    for (unsigned bit = 0; bit < 16; bit++) { /* every bit of the requester id counts */
        rid_t rid = (rid_t)(BED_A ^ 1u << bit);
        assert_int_equal(send(rid, &irq), FOREIGN);
        refused(rid, FOREIGN, irq.address);
    }
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    unmapped(&a, &irq);
    stop();
}

/* Also when firmware has left it allowed. */
static void compatibility_format_is_refused(void **state)
{
    uint8_t table[4096];

    (void)state;
    for (unsigned eim = 0; eim < 2; eim++) {
        struct vtd_model_config c = changed(0, eim ? 0 : 1ull << 4);
        bed_make(&c, 1);
        vtd_model_mmio_write(bed.model[0], 0x18, 4, 1u << 23);
        assert_true(vtd_model_mmio_read(bed.model[0], 0x1c, 4) >> 23 & 1);
        assert_int_equal(iommu_vtd.probe(table, bed_dmar(table), &bed_events), HV_OK);
        assert_int_equal(iommu_vtd.start(), HV_OK);
        bed_add(&a, BED_A);
        bed_add(&b, BED_B);
        for (uint32_t id = 0; id < 256; id += 51) {
            assert_int_equal(bed_message(BED_A, 0xfee00000 | id << 12, 0x40 + id % 64),
                             COMPATIBILITY);
            refused(BED_A, COMPATIBILITY, 0xfee00000);
        }
        stop();
        if (!eim) {
            assert_int_equal(bed_check(NULL), 0);
            bed_fresh(NULL);
        }
    }
}

static void what_was_not_given_is_refused(void **state)
{
    struct iommu_irq irq, guess;

    (void)state;
    start(NULL);
    irq = guess = mapped(&a, &target);
    for (uint32_t index = 0; index < 1024; index += 85) {
        if (index == irq.handle)
            continue;
        guess.address = 0xfee00010 | index << 5;
        uint8_t reason = index < 256 ? ABSENT : BEYOND;
        assert_int_equal(send(BED_A, &guess), reason);
        refused(BED_A, reason, guess.address);
    }
    guess.address = 0xfee00014 | 0x7fff << 5; /* the last index there is */
    assert_int_equal(send(BED_A, &guess), BEYOND);
    refused(BED_A, BEYOND, guess.address);
    assert_int_equal(bed_message(BED_A, irq.address | 8, 0x10000), RESERVED);
    refused(BED_A, RESERVED, 0xfee00000);
    unmapped(&a, &irq);
    stop();
}

/* The unit remembers entries: this fails without the invalidation. */
static void after_unmap_it_is_refused(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target), was = irq;
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    unmapped(&a, &irq);
    assert_int_equal(send(BED_A, &was), ABSENT);
    refused(BED_A, ABSENT, was.address);
    unmapped(&a, &irq); /* again: harmless */
    /* The entry goes to another device: the first one has nothing of it. */
    irq = mapped(&b, &other);
    assert_int_equal(irq.address, was.address);
    assert_int_equal(send(BED_A, &was), FOREIGN);
    refused(BED_A, FOREIGN, was.address);
    assert_int_equal(send(BED_B, &irq), 0);
    arrived(&other);
    unmapped(&b, &irq);
    stop();
}

static void the_target_moves_and_the_message_stays(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target), was = irq;
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    uint64_t stores = bed.stores;
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &other), HV_OK);
    assert_int_equal(bed.stores - stores, 1); /* never half of one target and half of the other */
    assert_int_equal(bed.last_store, 16);
    assert_memory_equal(&irq, &was, sizeof(irq));
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&other);
    unmapped(&a, &irq);
    stop();
}

/* Refused without a word: a device that floods must not flood the fault records instead. */
static void silenced_and_back(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target);
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, NULL), HV_OK);
    assert_int_equal(send(BED_A, &irq), ABSENT);
    refused(BED_A, 0, 0);
    uint64_t tail = bed.tail_writes;
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &target), HV_OK);
    assert_int_equal(bed.tail_writes, tail); /* costs no invalidation */
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    unmapped(&a, &irq);
    stop();
}

static void the_table_holds_what_cpus_can_take(void **state)
{
    static struct iommu_irq irq[1024];

    (void)state;
    for (unsigned cpus = 1; cpus <= 3; cpus++) {
        unsigned n = cpus == 3 ? 1024 : 256 * cpus; /* a power of two */
        platform_set_cpus(cpus, 0);
        start(NULL);
        for (unsigned i = 0; i < n; i++) {
            const struct irq_target to = { i, (uint8_t)(0x20 + i % 0xe0) };
            irq[i] = mapped(i % 2 ? &b : &a, &to);
        }
        struct iommu_irq more = { 0 };
        assert_int_equal(iommu_vtd.irq_map(&a, &more, &target), HV_ENOMEM);
        assert_false(more.mapped);
        for (unsigned i = 0; i < n; i++) {
            const struct irq_target to = { i, (uint8_t)(0x20 + i % 0xe0) };
            assert_int_equal(send(i % 2 ? BED_B : BED_A, &irq[i]), 0);
            arrived(&to);
        }
        unmapped(&b, &irq[77]);
        more = mapped(&a, &target);
        assert_int_equal(more.address, irq[77].address);
        unmapped(&a, &more);
        for (unsigned i = 0; i < n; i++)
            unmapped(i % 2 ? &b : &a, &irq[i]);
        stop();
        if (cpus < 3) {
            assert_int_equal(bed_check(NULL), 0);
            bed_fresh(NULL);
        }
    }
}

static void a_unit_without_remapping(void **state)
{
    struct vtd_model_config c = changed(0, 1ull << 3 | 1ull << 4);
    struct iommu_irq irq = { 0 };

    (void)state;
    start(&c);
    assert_false(iommu_vtd.caps(a.unit)->interrupts);
    platform_clear_log();
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &target), HV_ENOTSUP);
    assert_true(platform_logged("ECAP bit 3, IR interrupt remapping, is missing"));
    platform_clear_log();
    assert_int_equal(iommu_vtd.irq_map(&b, &irq, &target), HV_ENOTSUP);
    assert_false(platform_logged("IR"));
    assert_false(irq.mapped);
    assert_int_equal(iommu_vtd.irq_unmap(&a, &irq), HV_OK);
    stop();
}

static void without_extended_ids(void **state)
{
    struct vtd_model_config c = changed(0, 1ull << 4);
    struct irq_target near = { 0xfe, VECTOR }, all = { 0xff, VECTOR };
    struct iommu_irq irq = { 0 };

    (void)state;
    start(&c);
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &target), HV_ERANGE);
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &all), HV_ERANGE); /* that would be everybody */
    assert_false(irq.mapped);
    irq = mapped(&a, &near);
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&near);
    unmapped(&a, &irq);
    stop();
}

/* A unit that remembers what is not there, one that does not snoop, and one that is both. */
static void other_kinds_of_units(void **state)
{
    (void)state;
    for (unsigned kind = 1; kind < 4; kind++) {
        struct vtd_model_config c = changed(kind & 1 ? 1ull << 7 : 0, kind & 2 ? 1 : 0);
        bed.noncoherent = kind & 2;
        start(&c);
        struct iommu_irq irq = mapped(&a, &target), was = irq;
        unmapped(&a, &irq);
        assert_int_equal(send(BED_A, &was), ABSENT);
        refused(BED_A, ABSENT, was.address);
        irq = mapped(&a, &target);
        assert_int_equal(irq.address, was.address);
        assert_int_equal(send(BED_A, &irq), 0);
        arrived(&target);
        assert_int_equal(iommu_vtd.irq_map(&a, &irq, &other), HV_OK);
        assert_int_equal(send(BED_A, &irq), 0);
        arrived(&other);
        unmapped(&a, &irq);
        assert_int_equal(send(BED_A, &was), ABSENT);
        refused(BED_A, ABSENT, was.address);
        stop();
        if (kind < 3) {
            assert_int_equal(bed_check(NULL), 0);
            bed_fresh(NULL);
        }
    }
}

/* What cannot be known to be forgotten is not used for anybody else. */
static void a_dead_unit_keeps_its_entry(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target), was = irq;
    bed.dead = true;
    assert_int_equal(iommu_vtd.irq_unmap(&a, &irq), HV_ETIMEDOUT);
    bed.dead = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, a.unit->queue.tail % QUEUE_ENTRIES * 32);
    struct iommu_irq next = mapped(&b, &other);
    assert_int_not_equal(next.address, was.address);
    unmapped(&b, &next);
    stop();
}

/* Silenced while the unit did not answer: the entry looks absent, but may be cached. */
static void what_was_not_confirmed_is_not_taken_for_gone(void **state)
{
    (void)state;
    start(NULL);
    struct iommu_irq irq = mapped(&a, &target);
    bed.dead = true;
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, NULL), HV_ETIMEDOUT);
    assert_int_equal(iommu_vtd.irq_unmap(&a, &irq), HV_ETIMEDOUT);
    bed.dead = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, a.unit->queue.tail % QUEUE_ENTRIES * 32);
    irq = mapped(&a, &target);
    bed.dead = true;
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, NULL), HV_ETIMEDOUT);
    bed.dead = false;
    vtd_model_mmio_write(bed.model[0], 0x88, 8, a.unit->queue.tail % QUEUE_ENTRIES * 32);
    uint64_t tail = bed.tail_writes;
    assert_int_equal(iommu_vtd.irq_map(&a, &irq, &target), HV_OK);
    assert_int_equal(bed.tail_writes, tail + 1); /* made known, as it was not before */
    assert_int_equal(send(BED_A, &irq), 0);
    arrived(&target);
    unmapped(&a, &irq);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        bed_test(a_message_raises_its_vector),
        bed_test(nobody_elses_message_does),
        bed_test(compatibility_format_is_refused),
        bed_test(what_was_not_given_is_refused),
        bed_test(after_unmap_it_is_refused),
        bed_test(the_target_moves_and_the_message_stays),
        bed_test(silenced_and_back),
        bed_test(the_table_holds_what_cpus_can_take),
        bed_test(a_unit_without_remapping),
        bed_test(without_extended_ids),
        bed_test(other_kinds_of_units),
        bed_test(a_dead_unit_keeps_its_entry),
        bed_test(what_was_not_confirmed_is_not_taken_for_gone),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
