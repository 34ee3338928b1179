/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests of the accelerator model against docs/accelerator.md, on a bus of their own: a flat table
 * of translations per PASID, a page request log, an interrupt log. No remapping unit is involved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/model/accel.h"
#include "tests/model/pci_config.h"

#define PAGE      UINT64_C(4096)
#define PASID     0x123u
#define VA        UINT64_C(0x7f0000000000)
#define MEM_PAGES 64u
#define MAX_LOG   256u

/* The bus: memory of MEM_PAGES pages; for PASID, VA page i is memory page map[i].page. */
static struct bus {
    struct accel *a;
    uint8_t mem[MEM_PAGES * 4096];
    struct {
        bool r, w, untranslated_only;
        uint8_t page;
    } map[MEM_PAGES];
    enum vtd_completion completion;
    bool refuse_dma;
    unsigned translations, untranslated, translated;
    struct vtd_page_request requests[MAX_LOG];
    unsigned request_count;
    int auto_answer; /* -1: none; else the code given at once */
    struct {
        uint64_t addr;
        uint32_t data;
    } interrupts[16];
    unsigned interrupt_count;
    char complaint[64];
    unsigned complaints;
} b;

static int index_of(const struct vtd_request *req)
{
    if (!req->pasid_present || req->pasid != PASID || req->addr < VA ||
        req->addr >= VA + MEM_PAGES * PAGE)
        return -1;
    return (int)((req->addr - VA) / PAGE);
}

static void bus_translate(void *ctx, const struct vtd_request *req, bool no_write,
                          struct vtd_translation *out)
{
    int i = index_of(req);

    (void)ctx;
    b.translations++;
    *out = (struct vtd_translation){ .status = b.completion, .size = PAGE };
    if (b.completion != VTD_TC_SUCCESS || i < 0)
        return;
    out->r = b.map[i].r;
    out->w = b.map[i].w && !no_write;
    out->u = b.map[i].untranslated_only;
    out->hpa = b.map[i].page * PAGE;
}

static uint8_t bus_dma(void *ctx, const struct vtd_request *req, void *buf, size_t len)
{
    uint64_t hpa = req->addr;
    int i = index_of(req);

    (void)ctx;
    assert_true(len > 0 && (req->addr & (PAGE - 1)) + len <= PAGE);
    if (b.refuse_dma)
        return 0x79;
    if (!req->translated && !req->pasid_present && (req->addr >> 20) == 0xfee) {
        assert_int_equal(len, 4);
        assert_int_equal(req->access, VTD_WRITE);
        b.interrupts[b.interrupt_count].addr = req->addr;
        memcpy(&b.interrupts[b.interrupt_count++].data, buf, 4);
        return 0;
    }
    if (req->translated) {
        assert_false(req->pasid_present);
        b.translated++;
    } else {
        b.untranslated++;
        if (req->pasid_present) {
            if (i < 0 || !(req->access == VTD_WRITE ? b.map[i].w : b.map[i].r))
                return 0x79;
            hpa = b.map[i].page * PAGE + (req->addr & (PAGE - 1));
        }
    }
    if (hpa + len > sizeof(b.mem))
        return 0x05;
    if (req->access == VTD_WRITE)
        memcpy(b.mem + hpa, buf, len);
    else
        memcpy(buf, b.mem + hpa, len);
    return 0;
}

static void bus_page_request(void *ctx, const struct vtd_page_request *req)
{
    (void)ctx;
    assert_true(b.request_count < MAX_LOG);
    b.requests[b.request_count++] = *req;
    if (req->lpig && (req->read || req->write) && b.auto_answer >= 0)
        accel_page_response(b.a, req->pasid_present ? (int32_t)req->pasid : -1, req->prgi,
                            (uint8_t)b.auto_answer);
}

static void bus_complain(void *ctx, const char *rule, const char *text)
{
    (void)ctx;
    assert_true(strlen(text) > 10);
    b.complaints++;
    strncpy(b.complaint, rule, sizeof(b.complaint) - 1);
}

static void map(unsigned va_page, unsigned mem_page, bool r, bool w)
{
    b.map[va_page].page = (uint8_t)mem_page;
    b.map[va_page].r = r;
    b.map[va_page].w = w;
}

enum {
    BAR_CTRL = 8,
    BAR_STATUS = 0x10,
    BAR_ERROR = 0x18,
    BAR_ERRADDR = 0x20,
    BAR_DONE = 0x28,
    BAR_BYTES = 0x30,
    BAR_PAGEREQS = 0x38,
    BAR_MISCHIEF = 0x48
};

static uint64_t rd(uint32_t offset)
{
    return accel_mmio_read(b.a, offset, 8);
}

static void wr(uint32_t offset, uint64_t value)
{
    accel_mmio_write(b.a, offset, 8, value);
}

static void enable_functions(uint32_t allocation)
{
    accel_config_write(b.a, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    accel_config_write(b.a, ACCEL_CAP_PASID + 6, 2, 1);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0x8000);
    accel_config_write(b.a, ACCEL_CAP_PRI + 12, 4, allocation);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 1);
}

static int setup(void **state)
{
    static const struct accel_bus bus = { .translate = bus_translate,
                                          .dma = bus_dma,
                                          .page_request = bus_page_request,
                                          .complain = bus_complain };

    (void)state;
    memset(&b, 0, sizeof(b));
    b.auto_answer = -1;
    b.a = accel_create(0x0020, &bus);
    assert_non_null(b.a);
    /* VA pages 0..31 are memory pages 32..63, all permissions; 32.. are absent. */
    for (unsigned i = 0; i < 32; i++)
        map(i, 32 + i, true, true);
    for (size_t i = 0; i < sizeof(b.mem); i++)
        b.mem[i] = (uint8_t)(i * 31 + (i >> 12) * 7);
    enable_functions(32);
    wr(BAR_CTRL, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    accel_destroy(b.a);
    return 0;
}

struct desc {
    uint32_t pasid;
    uint8_t op, flags;
    uint16_t ims;
    uint64_t source, destination, size, pattern, record, cookie, reserved;
};
struct record {
    uint8_t status, result;
    uint16_t page_requests;
    uint32_t crc;
    uint64_t bytes, fault, cookie;
};
enum { NOP, COPY, FILL, COMPARE, CRC };
enum { ATS = 1, PR = 2, INTR = 4, UREC = 8 };
#define RECORD (VA + 31 * PAGE) /* in VA page 31 = memory page 63 */

static struct desc make(uint8_t op, uint8_t flags, uint64_t source, uint64_t destination,
                        uint64_t size)
{
    return (struct desc){ .pasid = 1u << 20 | PASID,
                          .op = op,
                          .flags = flags,
                          .source = source,
                          .destination = destination,
                          .size = size,
                          .record = RECORD,

                          .cookie = UINT64_C(0xfedcba9876543210) };
}

static void submit(const struct desc *d)
{
    uint64_t words[8];

    memcpy(words, d, sizeof(words));
    for (unsigned i = 0; i < 8; i++)
        wr(0x1000 + 8 * i, words[i]);
}

static void run(void)
{
    for (unsigned i = 0; accel_run(b.a); i++)
        assert_true(i < 1000);
}

static struct record record_at(uint64_t va)
{
    struct record r;

    memcpy(&r, b.mem + (va - VA) + 32 * PAGE, sizeof(r));
    return r;
}

static void clear_record(void)
{
    memset(b.mem + (RECORD - VA) + 32 * PAGE, 0, 32);
}

/* Submit, run, and return the record; the caller cleared nothing. */
static struct record go(const struct desc *d)
{
    clear_record();
    submit(d);
    run();
    return record_at(RECORD);
}

static uint8_t *at(uint64_t va)
{
    return b.mem + (va - VA) + 32 * PAGE;
}

static uint32_t slow_crc32c(const uint8_t *p, size_t len)
{
    uint32_t crc = ~0u;

    while (len--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* --- operations ------------------------------------------------------------------------------ */

static void test_copy_unaligned_both_ways(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= ATS; flags++) {
        struct desc d = make(COPY, flags, VA + 100, VA + 8 * PAGE + 3001, 3 * PAGE + 77);
        uint8_t before = *at(d.destination - 1), after = *at(d.destination + d.size);

        memset(at(d.destination), 0, d.size);
        struct record r = go(&d);
        assert_int_equal(r.status, 1);
        assert_int_equal(r.bytes, d.size);
        assert_int_equal(r.cookie, d.cookie);
        assert_int_equal(r.fault, 0);
        assert_memory_equal(at(d.source), at(d.destination), d.size);
        assert_int_equal(*at(d.destination - 1), before);
        assert_int_equal(*at(d.destination + d.size), after);
        assert_int_equal(rd(BAR_DONE), flags + 1);
        assert_int_equal(rd(BAR_BYTES), (flags + 1u) * 2 * d.size);
        assert_true(flags ? b.translated > 0 && b.untranslated == 0
                          : b.untranslated > 0 && b.translated == 0);
        b.untranslated = 0;
    }
    assert_int_equal(b.request_count, 0);
    assert_int_equal(b.complaints, 0);
}

static void test_copy_without_pasid(void **state)
{
    (void)state;
    struct desc d = make(COPY, 0, 10 * PAGE + 5, 20 * PAGE + 9, 5000);

    d.pasid = 0;
    d.record = 63 * PAGE; /* the same bytes as RECORD, by memory address */
    assert_int_equal(go(&d).status, 1);
    assert_memory_equal(b.mem + d.source, b.mem + d.destination, d.size);
}

static void test_fill_repeats_from_first_byte(void **state)
{
    (void)state;
    struct desc d = make(FILL, ATS, 0, VA + PAGE - 3, PAGE + 10);

    d.pattern = UINT64_C(0x8877665544332211);
    assert_int_equal(go(&d).status, 1);
    for (size_t i = 0; i < d.size; i++)
        assert_int_equal(at(d.destination)[i], 0x11 * (1 + i % 8));
    assert_int_equal(rd(BAR_BYTES), d.size);
}

static void test_compare(void **state)
{
    (void)state;
    struct desc d = make(COMPARE, ATS, VA + 7, VA + 10 * PAGE + 900, 2 * PAGE + 50);

    memcpy(at(d.destination), at(d.source), d.size);
    struct record r = go(&d);
    assert_int_equal(r.status, 1);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.bytes, d.size);

    at(d.destination)[PAGE + 13] ^= 0x80;
    r = go(&d);
    assert_int_equal(r.status, 1);
    assert_int_equal(r.result, 1);
    assert_int_equal(r.bytes, PAGE + 13);

    at(d.destination)[0] ^= 1;
    assert_int_equal(go(&d).bytes, 0);
}

/* Held, a descriptor is taken and counted but moves nothing; let go, it runs. */
static void test_hold(void **state)
{
    (void)state;
    struct desc d = make(FILL, ATS, 0, VA, PAGE);

    d.pattern = UINT64_C(0x1111111111111111);
    wr(BAR_CTRL, 5);
    assert_int_equal(rd(BAR_CTRL), 5);
    assert_int_equal(go(&d).status, 0);
    assert_int_equal(rd(BAR_BYTES), 0);
    assert_int_equal(rd(BAR_STATUS) >> 16, 1);
    wr(BAR_CTRL, 1);
    run();
    assert_int_equal(record_at(RECORD).status, 1);
    assert_int_equal(rd(BAR_BYTES), PAGE);
}

static void test_crc(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS, VA + 40, 0, 9);

    memcpy(at(d.source), "123456789", 9);
    assert_int_equal(go(&d).crc, 0xe3069283); /* the check value of CRC-32C */
    d.size = 5 * PAGE + 321;
    struct record r = go(&d);
    assert_int_equal(r.status, 1);
    assert_int_equal(r.crc, slow_crc32c(at(d.source), d.size));
}

static void test_nop(void **state)
{
    (void)state;
    struct desc d = make(NOP, 0, 0, 0, 0);
    struct record r = go(&d);

    assert_int_equal(r.status, 1);
    assert_int_equal(r.cookie, d.cookie);
    assert_int_equal(rd(BAR_BYTES), 0);
}

/* --- malformed descriptors and the portal ---------------------------------------------------- */

static void test_malformed_status(void **state)
{
    static const struct {
        const char *what;
        struct desc change;
    } cases[] = {
        { "operation", { .op = 5 } },
        { "flags", { .flags = 0x10 } },
        { "page requests without ATS", { .flags = PR } },
        { "ims", { .ims = 16 } },
        { "pasid word", { .pasid = 1u << 21 } },
        { "size beyond", { .size = (UINT64_C(16) << 20) + 1 } },
        { "pattern of a copy", { .pattern = 1 } },
        { "reserved", { .reserved = 1 } },
        { "source wraps", { .source = UINT64_MAX - 10 } },
        { "destination wraps", { .destination = UINT64_MAX - 10 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct desc d = make(COPY, 0, VA, VA + 8 * PAGE, 64);
        const struct desc *c = &cases[i].change;

        d.op = c->op ? c->op : d.op;
        d.flags |= c->flags;
        d.ims = c->ims;
        d.pasid |= c->pasid;
        d.size = c->size ? c->size : d.size;
        d.pattern = c->pattern;
        d.reserved = c->reserved;
        d.source = c->source ? c->source : d.source;
        d.destination = c->destination ? c->destination : d.destination;
        struct record r = go(&d);
        if (r.status != 6)
            fail_msg("%s: status %u", cases[i].what, r.status);
        assert_int_equal(r.bytes, 0);
    }
    struct desc d = make(COPY, 0, VA, VA + 8 * PAGE, 0);
    assert_int_equal(go(&d).status, 6);
    assert_int_equal(rd(BAR_BYTES), 0);
    assert_int_equal(rd(BAR_ERROR), 0);
}

static void test_error_register(void **state)
{
    (void)state;
    struct desc d = make(NOP, 0, 0, 0, 0);

    d.record = RECORD + 8; /* not 32-byte aligned */
    submit(&d);
    d.record = 0;
    submit(&d);
    run();
    assert_int_equal(rd(BAR_ERROR), 1);
    assert_int_equal(rd(BAR_DONE), 0);
    wr(BAR_ERROR, 1);
    assert_int_equal(rd(BAR_ERROR), 0);

    d.record = VA + 40 * PAGE; /* absent */
    submit(&d);
    run();
    assert_int_equal(rd(BAR_ERROR), 8);
    assert_int_equal(rd(BAR_ERRADDR), d.record);
    accel_mmio_write(b.a, BAR_ERROR, 4, 8);
    assert_int_equal(rd(BAR_ERROR), 0);

    wr(BAR_CTRL, 0);
    submit(&d);
    assert_int_equal(rd(BAR_ERROR), 2);
    assert_int_equal(rd(BAR_STATUS), 0);
}

static void test_queue_depth(void **state)
{
    (void)state;
    struct desc d = make(NOP, 0, 0, 0, 0);

    for (unsigned i = 0; i < 64; i++) {
        submit(&d);
        assert_int_equal(rd(BAR_STATUS), 3 | (i + 1) << 16);
    }
    assert_int_equal(rd(BAR_ERROR), 0);
    submit(&d);
    assert_int_equal(rd(BAR_ERROR), 4);
    run();
    assert_int_equal(rd(BAR_DONE), 64);
    assert_int_equal(rd(BAR_STATUS), 1);
}

static void test_portal_order_and_words(void **state)
{
    (void)state;
    struct desc d = make(NOP, 0, 0, 0, 0);
    uint32_t words[16];

    memcpy(words, &d, sizeof(words));
    clear_record();
    for (unsigned i = 0; i < 16; i++)
        accel_mmio_write(b.a, 0x1000 + 4 * i, 4, words[i]);
    run();
    assert_int_equal(record_at(RECORD).status, 1);
    for (unsigned i = 1; i < 8; i++) /* the first word is missing */
        wr(0x1000 + 8 * i, 0);
    assert_int_equal(rd(BAR_ERROR), 1);
    assert_int_equal(rd(BAR_DONE), 1);
    assert_int_equal(rd(0x1000), 0);
}

static void test_registers(void **state)
{
    (void)state;
    assert_int_equal(rd(0), UINT64_C(0x000151054c53));
    assert_int_equal(accel_mmio_read(b.a, 4, 4), 1);
    assert_int_equal(rd(0x40), 64);
    accel_mmio_write(b.a, 0x100, 4, 0xfee00018);
    accel_mmio_write(b.a, 0x104, 4, 0x1);
    assert_int_equal(rd(0x100), UINT64_C(0x1fee00018));
    assert_int_equal(rd(0x108), UINT64_C(1) << 32);
    assert_int_equal(accel_mmio_read(b.a, 2, 2), 0);
    assert_int_equal(accel_mmio_read(b.a, 0x4000, 8), 0);
    wr(BAR_CTRL, 3);
    assert_int_equal(rd(BAR_CTRL), 0);
    assert_int_equal(rd(0x100), 0);
}

/* --- interrupts ------------------------------------------------------------------------------ */

static void test_interrupts(void **state)
{
    (void)state;
    struct desc d = make(NOP, INTR, 0, 0, 0);

    d.ims = 5;
    wr(0x150, 0xfee01234);
    wr(0x158, UINT64_C(1) << 32 | 0xabcd);
    go(&d);
    assert_int_equal(b.interrupt_count, 0);
    assert_int_equal(rd(0x158) >> 32, 3); /* masked and pending */
    wr(0x158, 0xabcd);
    assert_int_equal(b.interrupt_count, 1);
    assert_int_equal(b.interrupts[0].addr, 0xfee01234);
    assert_int_equal(b.interrupts[0].data, 0xabcd);
    go(&d);
    assert_int_equal(b.interrupt_count, 2);
    d.flags = 0;
    go(&d);
    assert_int_equal(b.interrupt_count, 2);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void test_refused_untranslated(void **state)
{
    (void)state;
    struct desc d = make(COPY, 0, VA + 30 * PAGE, VA, 2 * PAGE);

    b.map[31].r = false;
    d.record = VA + 29 * PAGE;
    submit(&d);
    run();
    struct record r = record_at(d.record);
    assert_int_equal(r.status, 2);
    assert_int_equal(r.fault, VA + 31 * PAGE);
    assert_int_equal(r.bytes, PAGE);
    assert_int_equal(rd(BAR_ERRADDR), VA + 31 * PAGE);
}

static void test_refused_ats_without_page_requests(void **state)
{
    (void)state;
    struct desc d = make(FILL, ATS, 0, VA + 32 * PAGE + 5, 64);
    struct record r = go(&d);

    assert_int_equal(r.status, 2);
    assert_int_equal(r.fault, VA + 32 * PAGE);
    assert_int_equal(b.request_count, 0);

    b.map[3].w = false; /* read-only page, write wanted */
    d.destination = VA + 3 * PAGE;
    assert_int_equal(go(&d).status, 2);
    d = make(CRC, ATS, VA + 3 * PAGE, 0, 64);
    assert_int_equal(go(&d).status, 1);
}

static void test_page_requests_need_pri(void **state)
{
    (void)state;
    struct desc d = make(FILL, ATS | PR, 0, VA + 32 * PAGE, 64);

    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    assert_int_equal(go(&d).status, 2);
    assert_int_equal(b.request_count, 0);
}

static void test_ats_abort_stops_ats(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | UREC, VA, 0, 64);

    b.completion = VTD_TC_UR;
    struct record r = go(&d);
    assert_int_equal(r.status, 5);
    assert_int_equal(r.fault, VA);
    b.completion = VTD_TC_SUCCESS;
    b.translations = 0;
    assert_int_equal(go(&d).status, 5); /* without asking */
    assert_int_equal(b.translations, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0x8000);
    assert_int_equal(go(&d).status, 1);
    assert_int_equal(b.complaints, 0);
}

static void test_bus_master_and_pasid_enable(void **state)
{
    (void)state;
    struct desc d = make(NOP, 0, 0, 0, 0);

    accel_config_write(b.a, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(go(&d).status, 0);
    assert_int_equal(rd(BAR_ERROR), 8);
    accel_config_write(b.a, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_PASID + 6, 2, 0);
    wr(BAR_ERROR, 8);
    assert_int_equal(go(&d).status, 0);
    assert_int_equal(rd(BAR_ERROR), 8);
    assert_int_equal(b.untranslated + b.translated, 0);
    assert_int_equal(b.complaints, 0);
}

static void test_untranslated_only(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | UREC, VA, 0, 64);

    b.map[0].untranslated_only = true;
    assert_int_equal(go(&d).status, 1);
    assert_int_equal(b.translated, 0);
}

/* --- device-TLB ------------------------------------------------------------------------------ */

static void test_tlb_holds_until_invalidated(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | UREC, VA + 2 * PAGE, 0, 100);
    uint32_t old = go(&d).crc;

    assert_int_equal(b.translations, 1);
    map(2, 40, true, true); /* stale from now on */
    assert_int_equal(go(&d).crc, old);
    assert_int_equal(b.translations, 1);

    /* Neither another PASID, nor another page, nor the entries without PASID. */
    assert_true(accel_devtlb_invalidate(b.a, PASID + 1, false, 0, UINT64_MAX));
    assert_true(accel_devtlb_invalidate(b.a, PASID, false, VA + 3 * PAGE, PAGE));
    assert_true(accel_devtlb_invalidate(b.a, PASID, false, VA, 2 * PAGE));
    assert_true(accel_devtlb_invalidate(b.a, -1, false, 0, UINT64_MAX));
    assert_int_equal(go(&d).crc, old);

    assert_true(accel_devtlb_invalidate(b.a, PASID, false, VA + 2 * PAGE, PAGE));
    assert_int_equal(go(&d).crc, slow_crc32c(b.mem + 40 * PAGE, 100));
    assert_int_equal(b.translations, 2);

    map(2, 41, true, true);
    assert_true(accel_devtlb_invalidate(b.a, 0, true, 0, 0));
    assert_int_equal(go(&d).crc, slow_crc32c(b.mem + 41 * PAGE, 100));
    map(2, 42, true, true);
    assert_true(accel_devtlb_invalidate(b.a, PASID, false, 0, UINT64_C(1) << 63));
    assert_int_equal(go(&d).crc, slow_crc32c(b.mem + 42 * PAGE, 100));
}

static void test_ats_off_empties_tlb(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | UREC, VA + 2 * PAGE, 0, 100);

    go(&d);
    map(2, 40, true, true);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0);
    assert_int_equal(go(&d).status, 5);
    accel_config_write(b.a, ACCEL_CAP_ATS + 6, 2, 0x8000);
    assert_int_equal(go(&d).crc, slow_crc32c(b.mem + 40 * PAGE, 100));
}

static void test_write_permission_is_asked_anew(void **state)
{
    (void)state;
    struct desc read = make(CRC, ATS | UREC, VA, 0, 64), write = make(FILL, ATS | UREC, 0, VA, 64);

    go(&read);
    assert_int_equal(b.translations, 1); /* read only: NW set */
    assert_int_equal(go(&write).status, 1);
    assert_int_equal(b.translations, 2);
    go(&read);
    assert_int_equal(b.translations, 2);
}

/* --- page requests --------------------------------------------------------------------------- */

static void test_page_request_serves_a_copy(void **state)
{
    (void)state;
    struct desc d = make(COPY, ATS | PR, VA, VA + 40 * PAGE + 10, 2 * PAGE);

    clear_record();
    submit(&d);
    run();
    /* Blocked: one group for the three pages, answered by nobody yet. */
    assert_int_equal(b.request_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(b.requests[i].addr, VA + (40 + i) * PAGE);
        assert_int_equal(b.requests[i].prgi, b.requests[0].prgi);
        assert_int_equal(b.requests[i].lpig, i == 2);
        assert_int_equal(b.requests[i].pasid, PASID);
        assert_true(b.requests[i].pasid_present && b.requests[i].write && !b.requests[i].read);
        assert_int_equal(b.requests[i].rid, 0x20);
    }
    assert_int_equal(record_at(RECORD).status, 0);

    /* Others go on meanwhile. */
    struct desc other = make(CRC, ATS, VA, 0, 64);
    other.record = RECORD + 32;
    submit(&other);
    run();
    assert_int_equal(record_at(RECORD + 32).status, 1);
    assert_int_equal(rd(BAR_STATUS), 3 | 1 << 16);

    for (unsigned i = 0; i < 3; i++)
        map(40 + i, 10 + i, true, true);
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0);
    run();
    struct record r = record_at(RECORD);
    assert_int_equal(r.status, 1);
    assert_int_equal(r.page_requests, 3);
    assert_memory_equal(b.mem + 10 * PAGE + 10, at(VA), 2 * PAGE);
    assert_int_equal(rd(BAR_PAGEREQS), 3);
    assert_int_equal(b.complaints, 0);
}

static void test_group_ends_at_eight_and_at_present_pages(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 12 * PAGE);

    submit(&d);
    run();
    assert_int_equal(b.request_count, 8);
    accel_page_response(b.a, PASID, b.requests[0].prgi, 1);
    run();

    b.request_count = 0;
    map(42, 1, true, false);
    submit(&d);
    run();
    assert_int_equal(b.request_count, 2);
    assert_true(b.requests[1].lpig && b.requests[1].read && !b.requests[1].write);
}

static void test_answer_invalid(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE + 7, 0, 64);

    b.auto_answer = 1;
    struct record r = go(&d);
    assert_int_equal(r.status, 3);
    assert_int_equal(r.fault, VA + 40 * PAGE);
    assert_int_equal(r.page_requests, 1);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 4, 2), 1);
}

static void test_answer_failure_turns_pri_off(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64), e = d;

    clear_record();
    submit(&d);
    e.source = VA + 50 * PAGE;
    e.record = RECORD + 64;
    submit(&e);
    run();
    assert_int_equal(b.request_count, 2);
    accel_page_response(b.a, PASID, b.requests[1].prgi, 0xf);
    run();
    assert_int_equal(record_at(RECORD).status, 4); /* all that waited */
    assert_int_equal(record_at(RECORD + 64).status, 4);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 6, 2) & 0x101, 0x101);
    /* The other group's answer, still on its way, is ignored. */
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0);
    assert_int_equal(b.complaints, 0);
    assert_int_equal(go(&d).status, 2); /* PRI is off */

    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 6, 2, 1);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 6, 2) & 1, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 1);
    b.auto_answer = 1;
    assert_int_equal(go(&d).status, 3);
    assert_int_equal(b.complaints, 0);
}

static void test_eight_requests_for_one_page(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64);

    b.auto_answer = 0; /* success, but the page stays absent */
    struct record r = go(&d);
    assert_int_equal(r.status, 3);
    assert_int_equal(r.page_requests, 8);
    assert_int_equal(b.request_count, 8);
}

static void test_record_page_is_requested(void **state)
{
    (void)state;
    struct desc d = make(NOP, ATS | PR, 0, 0, 0);

    d.record = VA + 40 * PAGE + 64;
    submit(&d);
    run();
    assert_int_equal(b.request_count, 1);
    assert_true(b.requests[0].write);
    map(40, 5, true, true);
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0);
    run();
    assert_int_equal(b.mem[5 * PAGE + 64], 1);

    d.record = VA + 41 * PAGE;
    submit(&d);
    run();
    accel_page_response(b.a, PASID, b.requests[1].prgi, 1);
    run();
    assert_int_equal(rd(BAR_ERROR), 8);
    assert_int_equal(rd(BAR_DONE), 2);
}

static void test_allocation_is_held(void **state)
{
    (void)state;
    unsigned answered = 0;

    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 12, 4, 5);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 1);
    for (unsigned i = 0; i < 4; i++) {
        struct desc d = make(CRC, ATS | PR, VA + (40 + 4 * i) * PAGE, 0, 3 * PAGE);

        d.record = RECORD + 32 * i;
        submit(&d);
    }
    run();
    assert_int_equal(b.request_count, 5); /* 3 + 2, the rest waits without spinning */
    assert_false(accel_run(b.a));
    for (unsigned round = 0; rd(BAR_DONE) < 4; round++) {
        assert_true(round < 32);
        for (; answered < b.request_count; answered++)
            if (b.requests[answered].lpig)
                accel_page_response(b.a, PASID, b.requests[answered].prgi, 1);
        unsigned before = b.request_count;
        run();
        assert_true(b.request_count - before <= 5);
    }
    assert_int_equal(b.complaints, 0);
}

static void test_stopped_and_reset(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64);

    submit(&d);
    run();
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 6, 2) & 0x100, 0);
    assert_int_equal(b.complaints, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 1);
    assert_string_equal(b.complaint, "pri-enable-not-stopped");
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 2);
    assert_string_equal(b.complaint, "pri-reset-live");
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 6, 2), 0x8100);
    b.complaints = 0;
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 2);
    assert_int_equal(b.complaints, 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 4, 2), 0);
}

static void test_unexpected_responses(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64);

    accel_page_response(b.a, PASID, 7, 0);
    assert_string_equal(b.complaint, "pri-unexpected-response");
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 6, 2) & 2, 2);

    submit(&d);
    run();
    accel_page_response(b.a, -1, b.requests[0].prgi, 1);
    assert_string_equal(b.complaint, "pri-response-pasid");
    b.complaints = 0;
    accel_page_response(b.a, PASID, b.requests[0].prgi, 1); /* twice */
    assert_int_equal(b.complaints, 1);
}

/* --- configuration space --------------------------------------------------------------------- */

static void test_config_identity(void **state)
{
    (void)state;
    accel_reset(b.a);
    assert_int_equal(accel_config_read(b.a, 0, 4), 0x51051b36);
    assert_int_equal(accel_config_read(b.a, 8, 4), 0x12000001);
    assert_int_equal(accel_config_read(b.a, 0x34, 1), 0x40);
    assert_int_equal(accel_config_read(b.a, 0x40, 4), 0x00920010);
    assert_true(accel_config_read(b.a, 0x44, 4) & 1u << 28);
    assert_int_equal(accel_config_read(b.a, 0x100, 4), 0x1101000f);
    assert_int_equal(accel_config_read(b.a, 0x104, 4), 0x00000020);
    assert_int_equal(accel_config_read(b.a, 0x110, 4), 0x12010013);
    assert_int_equal(accel_config_read(b.a, 0x114, 4), 0x81000000);
    assert_int_equal(accel_config_read(b.a, 0x118, 4), 64);
    assert_int_equal(accel_config_read(b.a, 0x120, 4), 0x0001001b);
    assert_int_equal(accel_config_read(b.a, 0x124, 4), 0x00001400);
    accel_config_write(b.a, 0x10, 4, 0xffffffff);
    assert_int_equal(accel_config_read(b.a, 0x10, 4), 0xffffc004);
    /* Read-only bits stay. */
    accel_config_write(b.a, 0, 4, 0);
    accel_config_write(b.a, 0x104, 2, 0xffff);
    accel_config_write(b.a, 0x118, 4, 1);
    accel_config_write(b.a, 0x124, 2, 0xffff);
    accel_config_write(b.a, 0x116, 2, 0xffff);
    assert_int_equal(accel_config_read(b.a, 0, 4), 0x51051b36);
    assert_int_equal(accel_config_read(b.a, 0x104, 4), 0x00000020);
    assert_int_equal(accel_config_read(b.a, 0x118, 4), 64);
    assert_int_equal(accel_config_read(b.a, 0x124, 4), 0x00001400);
    assert_int_equal(accel_config_read(b.a, 0x116, 2), 0x8100);
    assert_int_equal(accel_config_read(b.a, 0xffe, 4), UINT64_MAX);
    assert_int_equal(b.complaints, 0);
}

static void test_config_order(void **state)
{
    static const struct {
        const char *rule;
        struct {
            uint16_t reg, value;
        } writes[4];
    } cases[] = {
        { "pri-without-ats", { { ACCEL_CAP_PRI + 12, 4 }, { ACCEL_CAP_PRI + 4, 1 } } },
        { "pasid-while-ats", { { ACCEL_CAP_ATS + 6, 0x8000 }, { ACCEL_CAP_PASID + 6, 1 } } },
        { "pasid-exec-priv", { { ACCEL_CAP_PASID + 6, 3 } } },
        { "pri-allocation-range", { { ACCEL_CAP_ATS + 6, 0x8000 }, { ACCEL_CAP_PRI + 4, 1 } } },
        { "pri-allocation-range",
          { { ACCEL_CAP_ATS + 6, 0x8000 }, { ACCEL_CAP_PRI + 12, 65 }, { ACCEL_CAP_PRI + 4, 1 } } },
        { "pri-allocation-live",
          { { ACCEL_CAP_ATS + 6, 0x8000 },
            { ACCEL_CAP_PRI + 12, 4 },
            { ACCEL_CAP_PRI + 4, 1 },
            { ACCEL_CAP_PRI + 12, 5 } } },
        { "ats-off-while-pri",
          { { ACCEL_CAP_ATS + 6, 0x8000 },
            { ACCEL_CAP_PRI + 12, 4 },
            { ACCEL_CAP_PRI + 4, 1 },
            { ACCEL_CAP_ATS + 6, 0 } } },
        { "ats-stu-live", { { ACCEL_CAP_ATS + 6, 0x8000 }, { ACCEL_CAP_ATS + 6, 0x8001 } } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        accel_reset(b.a);
        b.complaints = 0;
        for (size_t j = 0; j < 4 && cases[i].writes[j].reg; j++)
            accel_config_write(b.a, cases[i].writes[j].reg, 2, cases[i].writes[j].value);
        assert_string_equal(b.complaint, cases[i].rule);
        assert_int_equal(b.complaints, 1);
    }
}

static void test_flr(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64), tlb = make(CRC, ATS, VA, 0, 64);

    go(&tlb);
    submit(&d);
    run();
    wr(BAR_MISCHIEF, 1);
    accel_config_write(b.a, PCI_DEVCTL, 2, PCI_DEVCTL_FLR);
    assert_int_equal(accel_config_read(b.a, PCI_DEVCTL, 2) & PCI_DEVCTL_FLR, 0);
    assert_int_equal(accel_config_read(b.a, PCI_COMMAND, 2), 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_ATS + 6, 2), 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 4, 4), 0x81000000);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PRI + 12, 4), 0);
    assert_int_equal(accel_config_read(b.a, ACCEL_CAP_PASID + 6, 2), 0);
    assert_int_equal(rd(BAR_STATUS), 0);
    assert_int_equal(rd(BAR_DONE), 0);
    assert_int_equal(rd(BAR_MISCHIEF), 0);
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0); /* late: no surprise */
    assert_int_equal(b.complaints, 0);

    enable_functions(8);
    wr(BAR_CTRL, 1);
    map(0, 50, true, true);
    assert_int_equal(go(&tlb).crc,
                     slow_crc32c(b.mem + 50 * PAGE, 64)); /* the device-TLB is empty */
    submit(&d);
    run();
    assert_int_equal(b.request_count, 2);
    assert_int_not_equal(b.requests[0].prgi, b.requests[1].prgi);
    assert_int_equal(b.complaints, 0);
}

static void test_ctrl_reset_aborts(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 64);

    for (unsigned value = 0; value <= 2; value += 2) { /* disable; reset */
        wr(BAR_CTRL, 1);
        clear_record();
        submit(&d);
        run();
        wr(BAR_CTRL, value);
        assert_int_equal(record_at(RECORD).status, 7);
        assert_int_equal(rd(BAR_STATUS), 0);
        assert_int_equal(rd(BAR_DONE), value == 0);
        accel_page_response(b.a, PASID, b.requests[b.request_count - 1].prgi, 0);
        run();
    }
    /* The record's page is absent: no page request for it, it is lost. */
    d.record = VA + 50 * PAGE;
    wr(BAR_CTRL, 1);
    submit(&d);
    run();
    b.request_count = 0;
    wr(BAR_CTRL, 0);
    run();
    assert_int_equal(b.request_count, 0);
    assert_int_equal(rd(BAR_ERROR), 8);
    assert_int_equal(rd(BAR_STATUS), 0);
    assert_int_equal(b.complaints, 0); /* a guest may do all this */
}

/* --- mischief -------------------------------------------------------------------------------- */

static void test_mischief_invalidation(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS, VA, 0, 64);
    uint32_t old = go(&d).crc;

    map(0, 40, true, true);
    wr(BAR_MISCHIEF, ACCEL_MUTE_INVALIDATION);
    assert_false(accel_devtlb_invalidate(b.a, PASID, false, 0, UINT64_MAX));
    wr(BAR_MISCHIEF, ACCEL_KEEP_TLB);
    assert_true(accel_devtlb_invalidate(b.a, PASID, false, 0, UINT64_MAX));
    assert_int_equal(go(&d).crc, old);
    wr(BAR_MISCHIEF, 0);
    assert_true(accel_devtlb_invalidate(b.a, PASID, false, 0, UINT64_MAX));
    assert_int_not_equal(go(&d).crc, old);
}

/* Pulled out of its slot, in the middle of its work. */
static void test_vanished(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 4 * PAGE);

    submit(&d);
    run();
    unsigned requests = b.request_count, interrupts = b.interrupt_count;
    assert_true(requests > 0);
    wr(BAR_MISCHIEF, ACCEL_VANISHED);
    assert_int_equal(accel_config_read(b.a, 0, 4), 0xffffffff);
    assert_int_equal(accel_config_read(b.a, 0, 2), 0xffff);
    assert_int_equal(accel_mmio_read(b.a, BAR_STATUS, 8), UINT64_MAX);
    accel_config_write(b.a, 4, 2, 0);
    wr(BAR_MISCHIEF, 0); /* it hears nothing */
    assert_int_equal(accel_mmio_read(b.a, BAR_MISCHIEF, 4), UINT32_MAX);
    assert_false(accel_devtlb_invalidate(b.a, PASID, false, 0, UINT64_MAX));
    accel_page_response(b.a, PASID, b.requests[0].prgi, 0);
    submit(&d);
    run();
    assert_int_equal(b.request_count, requests);
    assert_int_equal(b.interrupt_count, interrupts);
    assert_int_equal(b.complaints, 0);
    accel_reset(b.a);
    assert_int_equal(accel_config_read(b.a, 0, 4), 0x51051b36);
}

static void test_mischief_page_requests(void **state)
{
    (void)state;
    struct desc d = make(CRC, ATS | PR, VA + 40 * PAGE, 0, 4 * PAGE);

    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 0);
    accel_config_write(b.a, ACCEL_CAP_PRI + 12, 4, 1);
    accel_config_write(b.a, ACCEL_CAP_PRI + 4, 2, 1);

    wr(BAR_MISCHIEF, ACCEL_IGNORE_ALLOCATION);
    submit(&d);
    submit(&d);
    run();
    assert_int_equal(b.request_count, 8);
    accel_page_response(b.a, PASID, b.requests[3].prgi, 1);
    accel_page_response(b.a, PASID, b.requests[7].prgi, 1);
    run();

    b.request_count = 0;
    wr(BAR_MISCHIEF, ACCEL_WRONG_PASID);
    submit(&d);
    run();
    assert_int_equal(b.requests[0].pasid, PASID + 1);
    accel_page_response(b.a, PASID + 1, b.requests[0].prgi, 1);
    run();

    b.request_count = 0;
    wr(BAR_MISCHIEF, ACCEL_STOP_MARKERS);
    submit(&d);
    run();
    assert_int_equal(b.request_count, 2);
    assert_true(b.requests[0].lpig && !b.requests[0].read && !b.requests[0].write);
    accel_page_response(b.a, PASID, b.requests[1].prgi, 1);
    run();

    b.request_count = 0;
    wr(BAR_MISCHIEF, ACCEL_NO_LPIG);
    submit(&d);
    run();
    assert_int_equal(b.request_count, 1);
    assert_false(b.requests[0].lpig);
    assert_int_equal(b.complaints, 0);

    accel_set_mischief(b.a, ACCEL_NO_LPIG);
    accel_reset(b.a);
    assert_int_equal(rd(BAR_MISCHIEF), ACCEL_NO_LPIG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_copy_unaligned_both_ways),
        T(test_copy_without_pasid),
        T(test_fill_repeats_from_first_byte),
        T(test_compare),
        T(test_crc),
        T(test_hold),
        T(test_nop),
        T(test_malformed_status),
        T(test_error_register),
        T(test_queue_depth),
        T(test_portal_order_and_words),
        T(test_registers),
        T(test_interrupts),
        T(test_refused_untranslated),
        T(test_refused_ats_without_page_requests),
        T(test_page_requests_need_pri),
        T(test_ats_abort_stops_ats),
        T(test_bus_master_and_pasid_enable),
        T(test_untranslated_only),
        T(test_tlb_holds_until_invalidated),
        T(test_ats_off_empties_tlb),
        T(test_write_permission_is_asked_anew),
        T(test_page_request_serves_a_copy),
        T(test_group_ends_at_eight_and_at_present_pages),
        T(test_answer_invalid),
        T(test_answer_failure_turns_pri_off),
        T(test_eight_requests_for_one_page),
        T(test_record_page_is_requested),
        T(test_allocation_is_held),
        T(test_stopped_and_reset),
        T(test_unexpected_responses),
        T(test_config_identity),
        T(test_config_order),
        T(test_flr),
        T(test_ctrl_reset_aborts),
        T(test_mischief_invalidation),
        T(test_vanished),
        T(test_mischief_page_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
