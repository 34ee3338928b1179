/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bench of the VT-d model's tests: see the header.
 */
#include "tests/model/vtd_testbed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *at(struct bed *b, uint64_t hpa, size_t len)
{
    if (hpa < BED_BASE || hpa - BED_BASE > BED_BYTES - len)
        return nullptr;
    return b->mem + (hpa - BED_BASE);
}

static bool bus_read(void *ctx, uint64_t hpa, void *buf, size_t len)
{
    uint8_t *p = at(ctx, hpa, len);
    if (p)
        memcpy(buf, p, len);
    return p;
}

static bool bus_write(void *ctx, uint64_t hpa, const void *buf, size_t len)
{
    uint8_t *p = at(ctx, hpa, len);
    if (p)
        memcpy(p, buf, len);
    return p;
}

static bool bus_cas64(void *ctx, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped)
{
    struct bed *b = ctx;
    uint8_t *p = at(b, hpa, 8);
    uint64_t now;
    if (b->cas_fail) {
        b->cas_fail--;
        return false;
    }
    if (!p)
        return false;
    memcpy(&now, p, sizeof(now));
    if (b->cas_race) { /* somebody flips an ignored bit at this moment */
        b->cas_race--;
        now ^= UINT64_C(1) << 52;
        memcpy(p, &now, sizeof(now));
    }
    *swapped = now == *expected;
    if (*swapped)
        memcpy(p, &desired, sizeof(desired));
    else
        *expected = now;
    return true;
}

static void bus_interrupt(void *ctx, uint64_t addr, uint32_t data)
{
    struct bed *b = ctx;
    b->interrupts++;
    b->msi_addr = addr;
    b->msi_data = data;
}

static bool bus_inv(void *ctx, uint16_t rid, int32_t pasid, bool global, uint64_t addr,
                    uint64_t size)
{
    struct bed *b = ctx;
    if (b->invalidations < BED_LOG) {
        b->inv[b->invalidations].rid = rid;
        b->inv[b->invalidations].pasid = pasid;
        b->inv[b->invalidations].global = global;
        b->inv[b->invalidations].addr = addr;
        b->inv[b->invalidations].size = size;
    }
    b->invalidations++;
    if (b->on_inv)
        b->on_inv(b);
    return !b->silent;
}

static void bus_response(void *ctx, uint16_t rid, int32_t pasid, uint16_t prgi, uint8_t code)
{
    struct bed *b = ctx;
    if (b->responses < BED_LOG) {
        b->resp[b->responses].rid = rid;
        b->resp[b->responses].pasid = pasid;
        b->resp[b->responses].prgi = prgi;
        b->resp[b->responses].code = code;
    }
    b->responses++;
}

static void bus_complain(void *ctx, const char *rule, const char *text)
{
    struct bed *b = ctx;
    (void)text;
    b->complaints++;
    snprintf(b->rule, sizeof(b->rule), "%s", rule);
}

void bed_config(struct bed *b)
{
    memset(b, 0, sizeof(*b));
    b->cfg = vtd_model_default_config();
}

void bed_start(struct bed *b)
{
    struct vtd_model_bus bus = {
        .ctx = b,
        .read = bus_read,
        .write = bus_write,
        .cas64 = bus_cas64,
        .interrupt = bus_interrupt,
        .devtlb_invalidate = bus_inv,
        .page_response = bus_response,
        .complain = bus_complain,
    };
    b->mem = calloc(1, BED_BYTES);
    b->next = BED_BASE;
    b->m = vtd_model_create(&b->cfg, &bus);
    if (!b->mem || !b->m)
        abort();
    b->root = bed_page(b);
    b->queue = bed_page(b);
    b->status = bed_page(b);
    b->prq = bed_page(b);
    b->irt = bed_page(b);
}

void bed_stop(struct bed *b)
{
    vtd_model_destroy(b->m);
    free(b->mem);
}

void bed_enable(struct bed *b, unsigned ttm, bool dw)
{
    bed_write(b, 0x88, 0);
    bed_write(b, 0x90, b->queue | (uint64_t)dw << 11);
    bed_gcmd(b, 26, true);
    bed_write(b, 0x20, b->root | (uint64_t)ttm << 10);
    bed_gcmd(b, 30, true);
    if (!(b->cfg.cap >> 63)) {
        bed_desc(b, 0x11, 0);
        if (ttm)
            bed_desc(b, 0x37, 0);
        bed_desc(b, 0xd2, 0);
        bed_wait(b);
    }
    bed_gcmd(b, 31, true);
}

uint64_t bed_pages(struct bed *b, unsigned n)
{
    uint64_t p = b->next;
    b->next += (uint64_t)n * 4096;
    if (b->next > BED_BASE + BED_BYTES)
        abort();
    return p;
}

uint64_t bed_page(struct bed *b)
{
    return bed_pages(b, 1);
}

uint64_t bed_get(struct bed *b, uint64_t hpa)
{
    uint64_t v = 0;
    if (!bus_read(b, hpa, &v, sizeof(v)))
        abort();
    return v;
}

void bed_put(struct bed *b, uint64_t hpa, uint64_t value)
{
    if (!bus_write(b, hpa, &value, sizeof(value)))
        abort();
    if (b->hooks)
        vtd_model_memory_written(b->m, hpa, sizeof(value));
}

void bed_put16(struct bed *b, uint64_t hpa, uint64_t lo, uint64_t hi)
{
    uint64_t v[2] = { lo, hi };
    if (!bus_write(b, hpa, v, sizeof(v)))
        abort();
    if (b->hooks)
        vtd_model_memory_written(b->m, hpa, sizeof(v));
}

uint64_t bed_read(struct bed *b, uint32_t offset)
{
    return vtd_model_mmio_read(b->m, offset, 8);
}

uint32_t bed_read32(struct bed *b, uint32_t offset)
{
    return (uint32_t)vtd_model_mmio_read(b->m, offset, 4);
}

void bed_write(struct bed *b, uint32_t offset, uint64_t v)
{
    vtd_model_mmio_write(b->m, offset, 8, v);
}

void bed_write32(struct bed *b, uint32_t offset, uint32_t v)
{
    vtd_model_mmio_write(b->m, offset, 4, v);
}

void bed_gcmd(struct bed *b, unsigned bit, bool on)
{
    uint32_t v = bed_read32(b, 0x1c) & 0x96ffffff;
    v = on ? v | 1u << bit : v & ~(1u << bit);
    bed_write32(b, 0x18, v);
    bool want = bit == 27 ? false : on;
    for (unsigned i = 0; i < 1000 && (bed_read32(b, 0x1c) >> bit & 1) != want; i++)
        ;
}

/* --- tables ----------------------------------------------------------------------------------- */

uint64_t bed_context_at(struct bed *b, uint16_t rid)
{
    uint64_t half = b->root + (rid >> 8) * 16u + (rid >> 7 & 1) * 8u;
    if (!(bed_get(b, half) & 1))
        bed_put(b, half, bed_page(b) | 1);
    return (bed_get(b, half) & ~UINT64_C(0xfff)) + (rid & 0x7f) * 32u;
}

uint64_t bed_context(struct bed *b, uint16_t rid, uint64_t flags, uint32_t rid_pasid)
{
    uint64_t ce = bed_context_at(b, rid), pages = (UINT64_C(1) << (flags >> 9 & 7)) * 128 * 8;
    uint64_t dir = bed_pages(b, (unsigned)((pages + 4095) / 4096));
    bed_put(b, ce + 8, rid_pasid);
    bed_put(b, ce, dir | flags | 1);
    return ce;
}

uint64_t bed_pasid(struct bed *b, uint16_t rid, uint32_t pasid)
{
    uint64_t dir = bed_get(b, bed_context_at(b, rid)) & ~UINT64_C(0xfff);
    uint64_t de = dir + (pasid >> 6) * 8;
    if (!(bed_get(b, de) & 1))
        bed_put(b, de, bed_page(b) | 1);
    return (bed_get(b, de) & ~UINT64_C(0xfff)) + (pasid & 0x3f) * 64;
}

void bed_pe(struct bed *b, uint16_t rid, uint32_t pasid, uint64_t q0, uint64_t q1, uint64_t q2)
{
    uint64_t pe = bed_pasid(b, rid, pasid);
    bed_put(b, pe + 16, q2);
    bed_put16(b, pe, q0, q1);
}

uint64_t bed_legacy(struct bed *b, uint16_t rid, uint64_t lo, uint64_t hi)
{
    uint64_t re = b->root + (rid >> 8) * 16u;
    if (!(bed_get(b, re) & 1))
        bed_put(b, re, bed_page(b) | 1);
    uint64_t ce = (bed_get(b, re) & ~UINT64_C(0xfff)) + (rid & 0xff) * 16u;
    bed_put16(b, ce, lo, hi);
    return ce;
}

uint64_t bed_map(struct bed *b, uint64_t table, unsigned levels, uint64_t addr, unsigned shift,
                 uint64_t leaf, uint64_t dir)
{
    unsigned s = 12 + 9 * (levels - 1);
    for (; s > shift; s -= 9) {
        uint64_t e = table + (addr >> s & 0x1ff) * 8;
        if (!bed_get(b, e))
            bed_put(b, e, bed_page(b) | dir);
        table = bed_get(b, e) & UINT64_C(0x000ffffffffff000);
    }
    uint64_t e = table + (addr >> s & 0x1ff) * 8;
    bed_put(b, e, leaf | (shift > 12 ? 0x80 : 0));
    return e;
}

/* --- queue ------------------------------------------------------------------------------------ */

void bed_desc(struct bed *b, uint64_t q0, uint64_t q1)
{
    uint64_t iqa = bed_read(b, 0x90);
    bool dw = iqa >> 11 & 1;
    uint64_t q[4] = { q0, q1, 0, 0 };
    bus_write(b, b->queue + b->tail, q, dw ? 32 : 16);
    b->tail = (b->tail + (dw ? 32 : 16)) & 4095;
}

void bed_kick(struct bed *b)
{
    bed_write(b, 0x88, b->tail);
}

bool bed_wait(struct bed *b)
{
    b->wait_value++;
    bed_desc(b, (uint64_t)b->wait_value << 32 | 0x25, b->status);
    bed_kick(b);
    return (uint32_t)bed_get(b, b->status) == b->wait_value;
}

bool bed_do(struct bed *b, uint64_t q0, uint64_t q1)
{
    bed_desc(b, q0, q1);
    return bed_wait(b);
}

/* --- requests --------------------------------------------------------------------------------- */

static struct vtd_request request(uint16_t rid, int32_t pasid, enum vtd_access how, uint64_t addr)
{
    return (struct vtd_request){ .rid = rid,
                                 .pasid_present = pasid >= 0,
                                 .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
                                 .access = how,
                                 .addr = addr };
}

uint8_t bed_access(struct bed *b, uint16_t rid, int32_t pasid, enum vtd_access how, uint64_t addr,
                   uint64_t *hpa)
{
    struct vtd_request r = request(rid, pasid, how, addr);
    uint64_t dummy;
    return vtd_model_access(b->m, &r, hpa ? hpa : &dummy);
}

uint8_t bed_access_priv(struct bed *b, uint16_t rid, int32_t pasid, enum vtd_access how,
                        uint64_t addr, uint64_t *hpa)
{
    struct vtd_request r = request(rid, pasid, how, addr);
    uint64_t dummy;
    r.privileged = true;
    return vtd_model_access(b->m, &r, hpa ? hpa : &dummy);
}

struct vtd_translation bed_ats(struct bed *b, uint16_t rid, int32_t pasid, uint64_t addr, bool nw)
{
    struct vtd_request r = request(rid, pasid, VTD_READ, addr);
    struct vtd_translation t;
    vtd_model_translate(b->m, &r, nw, &t);
    return t;
}

uint8_t bed_translated(struct bed *b, uint16_t rid, int32_t pasid, uint64_t addr)
{
    struct vtd_request r = request(rid, pasid, VTD_READ, addr);
    uint64_t hpa;
    r.translated = true;
    return vtd_model_access(b->m, &r, &hpa);
}

uint8_t bed_fault(struct bed *b, unsigned i)
{
    uint32_t base = (uint32_t)(b->cfg.cap >> 24 & 0x3ff) * 16;
    uint64_t hi = bed_read(b, base + 16 * i + 8);
    if (!(hi >> 63))
        return 0;
    bed_write32(b, base + 16 * i + 12, 0x80000000);
    return (uint8_t)(hi >> 32);
}

void bed_clear_faults(struct bed *b)
{
    for (unsigned i = 0; i <= (b->cfg.cap >> 40 & 0xff); i++)
        bed_fault(b, i);
    bed_write32(b, 0x34, 1);
}

bool bed_complained(struct bed *b, const char *rule)
{
    bool ok = b->complaints == 1 && !strcmp(b->rule, rule);
    if (!ok)
        fprintf(stderr, "expected %s, got %u complaints, last %s\n", rule, b->complaints, b->rule);
    b->complaints = 0;
    b->rule[0] = 0;
    return ok;
}

bool bed_quiet(struct bed *b)
{
    if (b->complaints) {
        const char *last;
        vtd_model_complaints(b->m, &last);
        fprintf(stderr, "unexpected complaint: %s\n", last);
    }
    return !b->complaints;
}
