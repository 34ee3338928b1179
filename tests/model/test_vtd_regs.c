/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers: access rules (11.2, 11.3), global commands (11.4.4, 6.6, 6.7, 6.9), events (7.3),
 * protected memory (11.4.8), register-based invalidation (6.5.1).
 */
#include "tests/model/vtd_testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct bed bed, *const b = &bed;
static const uint64_t bit0 = 1;

static int setup(void **state)
{
    (void)state;
    bed_config(b);
    bed_start(b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bed_stop(b);
    return 0;
}

/* Another configuration than setup's. */
static void again(void (*change)(struct vtd_model_config *))
{
    bed_stop(b);
    bed_config(b);
    change(&b->cfg);
    bed_start(b);
}

static void identity(void **state)
{
    (void)state;
    assert_int_equal(bed_read32(b, 0x00), 0x60);
    assert_int_equal(bed_read(b, 0x08), b->cfg.cap);
    assert_int_equal(bed_read(b, 0x10), b->cfg.ecap);
    assert_int_equal(bed_read32(b, 0x0c), b->cfg.cap >> 32); /* dword halves are fine (11.2) */
    assert_int_equal(bed_read32(b, 0x1c), 0);
    assert_int_equal(bed_read32(b, 0x38), 0x80000000); /* events masked after reset */
    assert_int_equal(bed_read32(b, 0xa0), 0x80000000);
    assert_int_equal(bed_read32(b, 0xe0), 0x80000000);
    assert_true(bed_quiet(b));
}

static void undefined_offsets(void **state)
{
    (void)state;
    static const uint16_t holes[] = {
        0x04, 0x30, 0x48, 0x58, 0x60, 0x98, 0xd8, 0x100, 0x180, 0xe00
    };
    for (unsigned i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
        assert_int_equal(bed_read32(b, holes[i]), 0);
        assert_true(bed_complained(b, "mmio-undefined"));
        bed_write32(b, holes[i], 0);
        assert_true(bed_complained(b, "mmio-undefined"));
    }
}

static void access_sizes(void **state)
{
    (void)state;
    bed_read(b, 0x18); /* GCMD and GSTS in one */
    assert_true(bed_complained(b, "mmio-size"));
    bed_read(b, 0x38);
    assert_true(bed_complained(b, "mmio-size"));
    vtd_model_mmio_read(b->m, 0x0a, 4);
    assert_true(bed_complained(b, "mmio-size"));
    vtd_model_mmio_read(b->m, 0x34, 2);
    assert_true(bed_complained(b, "mmio-size"));
    bed_write(b, 0x34, 0);
    assert_true(bed_complained(b, "mmio-size"));
}

static void read_only(void **state)
{
    (void)state;
    static const uint16_t ro[] = { 0x00, 0x08, 0x10, 0x1c, 0x80, 0xb0 };
    for (unsigned i = 0; i < sizeof(ro) / sizeof(ro[0]); i++) {
        bed_write32(b, ro[i], 0);
        assert_true(bed_complained(b, "write-read-only"));
    }
}

static void reserved_bits(void **state)
{
    (void)state;
    static const struct {
        uint16_t at;
        uint8_t size;
        uint64_t v;
        const char *rule;
    } t[] = {
        { 0x20, 8, 1, "rsvdz" },          { 0x20, 8, 0x300, "rsvdz" },
        { 0x20, 8, 0x80, "rsvdz" },       { 0x34, 4, 0x4, "rsvdz" },
        { 0x34, 4, 0x80, "rsvdz" },       { 0x38, 4, 0x80000001, "rsvdp" },
        { 0xa0, 4, 0xa0000000, "rsvdp" }, { 0xe0, 4, 0x80000100, "rsvdp" },
        { 0x3c, 4, 0x10000, "rsvdz" },    { 0x40, 4, 0xfee00001, "rsvdz" },
        { 0x88, 8, 0x8, "rsvdz" },        { 0x90, 8, 0x10, "rsvdz" },
        { 0x9c, 4, 2, "rsvdz" },          { 0xb8, 8, 0x10, "rsvdz" },
        { 0xc0, 8, 0x10, "rsvdz" },       { 0xd0, 8, 0x8, "rsvdz" },
        { 0xdc, 4, 4, "rsvdz" },          { 0x18, 4, 1, "rsvdz" },
        { 0x18, 4, 0x20000000, "rsvdz" },
    };
    for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        vtd_model_mmio_write(b->m, t[i].at, t[i].size, t[i].v);
        assert_true(bed_complained(b, t[i].rule));
    }
}

/* Registers that the capabilities do not imply are not there. */
static void no_page_requests(struct vtd_model_config *c)
{
    c->ecap &= ~(bit0 << 29);
}

static void absent_by_capability(void **state)
{
    (void)state;
    again(no_page_requests);
    bed_read(b, 0xc0);
    assert_true(bed_complained(b, "mmio-undefined"));
    bed_read32(b, 0xdc);
    assert_true(bed_complained(b, "mmio-undefined"));
}

static void halves_merge(void **state)
{
    (void)state;
    bed_write32(b, 0x24, 0x12);
    bed_write32(b, 0x20, 0x34567000);
    assert_int_equal(bed_read(b, 0x20), UINT64_C(0x1234567000));
    assert_int_equal(bed_read32(b, 0x24), 0x12);
    assert_true(bed_quiet(b));
}

/* 11.4.4.1: one field per write. */
static void two_bits(void **state)
{
    (void)state;
    bed_write32(b, 0x18, 1u << 30 | 1u << 26);
    assert_true(bed_complained(b, "gcmd-two-bits"));
    again(no_page_requests);
    bed_gcmd(b, 26, true);
    bed_write32(b, 0x18, 1u << 30); /* drops QIE while it sets SRTP */
    assert_int_equal(b->complaints, 1);
    assert_string_equal(b->rule, "gcmd-two-bits");
}

static void slow_unit(struct vtd_model_config *c)
{
    c->slow = 3;
}

/* Commands take `slow` status reads; one-shots fall first (11.4.4.2); 6.9. */
static void commands_take_time(void **state)
{
    (void)state;
    again(slow_unit);
    bed_write(b, 0x20, b->root | 1 << 10);
    bed_write32(b, 0x18, 1u << 30);
    assert_int_equal(bed_read32(b, 0x1c) & 1u << 30, 0);
    assert_int_equal(bed_read32(b, 0x1c) & 1u << 30, 0);
    assert_int_equal(bed_read32(b, 0x1c) & 1u << 30, 1u << 30);
    bed_write32(b, 0x18, 1u << 30); /* a second one: RTPS falls again */
    assert_int_equal(bed_read32(b, 0x1c) & 1u << 30, 0);
    assert_true(bed_quiet(b));
    bed_write32(b, 0x18, 1u << 26);
    assert_true(bed_complained(b, "gcmd-busy"));
    bed_read32(b, 0x1c);
    bed_read32(b, 0x1c);
    assert_int_equal(bed_read32(b, 0x1c) & 1u << 26, 1u << 26);
}

static void time_passes_by_run(void **state)
{
    (void)state;
    again(slow_unit);
    bed_write32(b, 0x18, 1u << 26);
    for (unsigned i = 0; i < 3; i++)
        vtd_model_run(b->m);
    assert_int_equal(bed_read32(b, 0x1c), 1u << 26);
}

/* 6.6: SRTP before each enable. */
static void te_needs_srtp(void **state)
{
    (void)state;
    bed_gcmd(b, 26, true);
    bed_gcmd(b, 31, true);
    assert_true(bed_complained(b, "te-without-srtp"));
    bed_gcmd(b, 31, false);
    bed_write(b, 0x20, b->root);
    bed_gcmd(b, 30, true);
    bed_gcmd(b, 31, true);
    assert_true(bed_quiet(b));
    bed_gcmd(b, 31, false);
    bed_gcmd(b, 31, true);
    assert_true(bed_complained(b, "te-without-srtp"));
}

static void no_esrtps(struct vtd_model_config *c)
{
    c->cap &= ~(UINT64_C(3) << 62);
}

/* 6.6 with ESRTPS=0: context, PASID, IOTLB global, in that order. */
static void te_needs_invalidation(void **state)
{
    (void)state;
    static const uint64_t orders[][3] = {
        { 0x11, 0x37, 0xd2 },
        { 0x37, 0x11, 0xd2 },
        { 0x11, 0xd2, 0x37 },
        { 0x11, 0x37, 0 },
    };
    for (unsigned i = 0; i < 4; i++) {
        again(no_esrtps);
        bed_write(b, 0x90, b->queue | 1 << 11);
        bed_gcmd(b, 26, true);
        bed_write(b, 0x20, b->root | 1 << 10);
        bed_gcmd(b, 30, true);
        for (unsigned j = 0; j < 3 && orders[i][j]; j++)
            bed_desc(b, orders[i][j], 0);
        assert_true(bed_wait(b));
        bed_gcmd(b, 31, true);
        if (i)
            assert_true(bed_complained(b, "te-stale-caches"));
        else
            assert_true(bed_quiet(b));
    }
}

/* 6.6: the mode may change with TES=1 only if ESRTPS=1; the address always. */
static void mode_change_active(void **state)
{
    (void)state;
    again(no_esrtps);
    bed_enable(b, 1, true);
    bed_write(b, 0x20, bed_page(b) | 1 << 10);
    bed_gcmd(b, 30, true);
    assert_true(bed_quiet(b));
    bed_write(b, 0x20, b->root | 3 << 10);
    bed_gcmd(b, 30, true);
    assert_true(bed_complained(b, "ttm-change-active"));
    again(slow_unit);
    bed_enable(b, 3, true);
    bed_write(b, 0x20, b->root | 1 << 10);
    bed_gcmd(b, 30, true);
    assert_true(bed_quiet(b));
}

/* RTADDR takes effect with SRTP, not before (11.4.5). */
static void root_is_latched(void **state)
{
    (void)state;
    bed_enable(b, 3, true);
    bed_write(b, 0x20, b->root | 1 << 10);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0, nullptr), 0x33);
    bed_gcmd(b, 30, true);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0, nullptr), 0x39);
}

static void scalable_needs_queue(void **state)
{
    (void)state;
    bed_write(b, 0x20, b->root | 1 << 10);
    bed_gcmd(b, 30, true);
    bed_gcmd(b, 31, true);
    assert_true(bed_complained(b, "te-without-qi"));
    again(slow_unit);
    bed_write(b, 0x90, b->queue); /* 128-bit descriptors */
    bed_gcmd(b, 26, true);
    bed_write(b, 0x20, b->root | 1 << 10);
    bed_gcmd(b, 30, true);
    assert_true(bed_complained(b, "srtp-dw"));
}

static void bad_modes(void **state)
{
    (void)state;
    bed_write(b, 0x20, b->root | 2 << 10);
    bed_gcmd(b, 30, true);
    assert_true(bed_complained(b, "ttm-invalid"));
    bed_write(b, 0x20, UINT64_C(1) << 46);
    bed_gcmd(b, 30, true);
    assert_true(bed_complained(b, "address-width"));
    bed_gcmd(b, 27, true); /* RWBF=0 */
    assert_true(bed_complained(b, "gcmd-unsupported"));
}

static void write_buffers(struct vtd_model_config *c)
{
    c->cap |= 1 << 4;
    c->slow = 2;
}

/* WBFS rises with the command and falls when done (11.4.4.2). */
static void write_buffer_flush(void **state)
{
    (void)state;
    again(write_buffers);
    bed_write32(b, 0x18, 1u << 27);
    assert_int_equal(bed_read32(b, 0x1c), 1u << 27);
    assert_int_equal(bed_read32(b, 0x1c), 0);
    assert_true(bed_quiet(b));
}

/* 6.5.2: enabling and disabling the queue. */
static void queue_enable_rules(void **state)
{
    (void)state;
    bed_write(b, 0x88, 0x20);
    assert_true(bed_complained(b, "iqt-disabled"));
    bed_write(b, 0x90, b->queue | 1 << 11);
    bed_gcmd(b, 26, true);
    assert_int_equal(b->complaints,
                     1 + 1); /* the tail, and the empty descriptor it points behind */
    b->complaints = 0;
    again(slow_unit);
    bed_enable(b, 1, true);
    bed_desc(b, 0x11, 0);
    bed_kick(b);
    bed_gcmd(b, 26, false); /* the last descriptor is no wait */
    assert_true(bed_complained(b, "qie-busy"));
    again(slow_unit);
    bed_enable(b, 1, true);
    bed_desc(b, 0x11, 0);
    bed_wait(b);
    bed_gcmd(b, 26, false);
    assert_true(bed_quiet(b));
    assert_int_equal(bed_read(b, 0x80), 0); /* the head goes back to zero */
}

static void queue_address_while_busy(void **state)
{
    (void)state;
    bed_enable(b, 1, true);
    bed_desc(b, 0x0f, 0); /* bad type: the queue stops */
    bed_kick(b);
    b->complaints = 0;
    bed_write(b, 0x90, b->queue | 1 << 11);
    assert_true(bed_complained(b, "iqa-busy"));
}

/* 6.7. */
static void interrupt_table_rules(void **state)
{
    (void)state;
    bed_gcmd(b, 25, true);
    assert_true(bed_complained(b, "ire-without-sirtp"));
    bed_gcmd(b, 25, false);
    bed_write(b, 0xb8, b->irt | 7);
    bed_gcmd(b, 24, true);
    bed_gcmd(b, 25, true);
    assert_true(bed_quiet(b));
    bed_write(b, 0xb8, b->irt | 0x807);
    bed_gcmd(b, 24, true);
    assert_true(bed_complained(b, "eime-change-active"));
    again(no_esrtps);
    bed_write(b, 0xb8, b->irt | 7);
    bed_gcmd(b, 24, true);
    bed_gcmd(b, 25, true);
    assert_true(bed_complained(b, "ire-stale-cache"));
}

/* --- events (7.3): masked, pending, sent ------------------------------------------------------ */

static void event_masking(void **state)
{
    (void)state;
    bed_enable(b, 1, true);
    bed_write32(b, 0x3c, 0x41);
    bed_write32(b, 0x40, 0xfee05000);
    bed_write32(b, 0x44, 0x100);
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr);
    assert_int_equal(b->interrupts, 0);
    assert_int_equal(bed_read32(b, 0x38), 0xc0000000);
    bed_write32(b, 0x38, 0); /* IM 1 to 0 with IP=1 sends */
    assert_int_equal(b->interrupts, 1);
    assert_int_equal(b->msi_addr, UINT64_C(0x100fee05000));
    assert_int_equal(b->msi_data, 0x41);
    assert_int_equal(bed_read32(b, 0x38), 0);
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr);
    assert_int_equal(b->interrupts, 1); /* a fault is pending: no second event */
    bed_clear_faults(b);
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr);
    assert_int_equal(b->interrupts, 2);
    assert_true(bed_quiet(b));
}

/* Servicing the cause while masked drops the pending event. */
static void event_serviced_masked(void **state)
{
    (void)state;
    bed_enable(b, 1, true);
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr);
    assert_int_equal(bed_read32(b, 0x38), 0xc0000000);
    bed_clear_faults(b);
    assert_int_equal(bed_read32(b, 0x38), 0x80000000);
    bed_write32(b, 0x38, 0);
    assert_int_equal(b->interrupts, 0);
}

static void event_message_must_be_valid(void **state)
{
    (void)state;
    bed_enable(b, 1, true);
    bed_write32(b, 0x38, 0);
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr); /* FEADDR is 0 */
    assert_true(bed_complained(b, "event-msi"));
    bed_clear_faults(b);
    bed_write32(b, 0x40, 0xfee00000);
    bed_write32(b, 0x3c, 0x200); /* delivery mode SMI */
    bed_access(b, 0x10, -1, VTD_READ, 0, nullptr);
    assert_true(bed_complained(b, "event-msi"));
}

/* --- protected memory (11.4.8) ---------------------------------------------------------------- */

static void protected_unit(struct vtd_model_config *c)
{
    c->cap |= 0x60;
}

static void protected_memory(void **state)
{
    (void)state;
    again(protected_unit);
    bed_write32(b, 0x68, 0xffffffff);
    bed_write32(b, 0x6c, 0xffffffff);
    uint32_t v = bed_read32(b, 0x68);
    assert_int_equal(v, 0xffe00000); /* granularity 2 MiB: the highest zero is bit 20 */
    bed_write32(b, 0x68, 0x10000000);
    bed_write32(b, 0x6c, 0x10000000);
    bed_write(b, 0x70, ~UINT64_C(0));
    bed_write(b, 0x78, 0); /* limit < base: off */
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x10001000, nullptr), 0);
    bed_write32(b, 0x64, 0x80000000);
    assert_int_equal(bed_read32(b, 0x64), 0x80000001);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x10001000, nullptr), VTD_BLOCKED);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x10200000, nullptr), 0);
    assert_int_equal(bed_read32(b, 0x34), 0); /* not reported */
    assert_true(bed_quiet(b));
    bed_write32(b, 0x68, 0);
    assert_true(bed_complained(b, "pmr-active"));
}

/* Version 2 and above: also what tables translate into the range; the tables themselves not. */
static void protected_memory_translated(void **state)
{
    (void)state;
    again(protected_unit);
    uint64_t ss = bed_page(b);
    bed_context(b, 0x10, 0xe1c, 1);
    bed_pe(b, 0x10, 1, ss | 0x89, 5 | 1 << 23, 0);
    bed_map(b, ss, 4, 0x1000, 12, bed_page(b) | 3, 3);
    bed_map(b, ss, 4, 0x2000, 12, (BED_BASE + BED_BYTES) | 3, 3);
    bed_write32(b, 0x68, (uint32_t)BED_BASE);
    bed_write32(b, 0x6c, (uint32_t)BED_BASE);
    bed_write(b, 0x70, ~UINT64_C(0));
    bed_write(b, 0x78, 0);
    bed_write32(b, 0x64, 0x80000000);
    bed_enable(b, 1, true);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x1000, nullptr), VTD_BLOCKED);
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x2000, nullptr), 0);
}

/* --- register-based invalidation (6.5.1) ------------------------------------------------------ */

static void old_unit(struct vtd_model_config *c)
{
    c->version = 0x10;
    c->cap &= ~(UINT64_C(3) << 62);
}

static void register_invalidation(void **state)
{
    (void)state;
    again(old_unit);
    uint64_t ss = bed_page(b), page = bed_page(b), hpa = 0;
    uint64_t leaf = bed_map(b, ss, 4, 0x1000, 12, page | 3, 3);
    bed_legacy(b, 0x10, ss | 1, 2 | 7 << 8);
    bed_write(b, 0x20, b->root);
    bed_gcmd(b, 30, true);
    bed_write(b, 0x28, UINT64_C(0xa000000000000000)); /* context, global */
    assert_int_equal(bed_read(b, 0x28) >> 59 & 3, 1);
    bed_write(b, 0x508, UINT64_C(0x9000000000000000)); /* IOTLB, global */
    assert_int_equal(bed_read(b, 0x508) >> 57 & 3, 1);
    assert_int_equal(bed_read(b, 0x508) >> 63, 0);
    bed_gcmd(b, 31, true);
    assert_true(bed_quiet(b));
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x1000, &hpa), 0);
    uint64_t fresh = bed_page(b);
    bed_put(b, leaf, fresh | 3);
    bed_write(b, 0x500, 0x2000); /* another page: no cure */
    bed_write(b, 0x508, UINT64_C(0xb000000700000000));
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x1000, &hpa), 0);
    assert_int_equal(hpa, page);
    bed_write(b, 0x500, 0x1000);
    bed_write(b, 0x508, UINT64_C(0xb000000700000000));
    assert_int_equal(bed_access(b, 0x10, -1, VTD_READ, 0x1000, &hpa), 0);
    assert_int_equal(hpa, fresh);
    assert_true(bed_quiet(b));
}

static void register_invalidation_removed(void **state)
{
    (void)state;
    bed_write(b, 0x28, UINT64_C(0xa000000000000000));
    assert_true(bed_complained(b, "reginv-unsupported"));
    assert_int_equal(bed_read(b, 0x28) >> 59 & 3, 0); /* granularity 00: ignored */
    again(old_unit);
    bed_write(b, 0x90, b->queue);
    bed_gcmd(b, 26, true);
    bed_write(b, 0x508, UINT64_C(0x9000000000000000));
    assert_true(bed_complained(b, "reginv-qi"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(identity),
        T(undefined_offsets),
        T(access_sizes),
        T(read_only),
        T(reserved_bits),
        T(absent_by_capability),
        T(halves_merge),
        T(two_bits),
        T(commands_take_time),
        T(time_passes_by_run),
        T(te_needs_srtp),
        T(te_needs_invalidation),
        T(mode_change_active),
        T(root_is_latched),
        T(scalable_needs_queue),
        T(bad_modes),
        T(write_buffer_flush),
        T(queue_enable_rules),
        T(queue_address_while_busy),
        T(interrupt_table_rules),
        T(event_masking),
        T(event_serviced_masked),
        T(event_message_must_be_valid),
        T(protected_memory),
        T(protected_memory_translated),
        T(register_invalidation),
        T(register_invalidation_removed),
    };
    return cmocka_run_group_tests_name("vtd registers", tests, nullptr, nullptr);
}
