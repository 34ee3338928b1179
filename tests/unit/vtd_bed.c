/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine for tests of the VT-d driver. */
#include "tests/unit/vtd_bed.h"

#include <stdio.h>
#include <string.h>

#include "hv/log.h"

struct bed bed;

#define UNIT_BASE 0xfed90000ull
#define UNIT_STEP 0x10000ull

/* --- What the units reach --------------------------------------------------------------------- */

static bool noncoherent_line(uint64_t hpa);

static bool bus_read(void *ctx, uint64_t hpa, void *buf, size_t len)
{
    const void *p = platform_memory(hpa, len);
    (void)ctx;
    if (!p)
        return false;
    for (uint64_t line = hpa & ~63ull; line < hpa + len; line += 64)
        if (bed.noncoherent && noncoherent_line(line)) {
            print_error("unit read %#llx before it was flushed\n", (unsigned long long)hpa);
            bed.unflushed++;
        }
    memcpy(buf, p, len);
    return true;
}

static bool bus_write(void *ctx, uint64_t hpa, const void *buf, size_t len)
{
    void *p = platform_memory(hpa, len);
    (void)ctx;
    if (!p)
        return false;
    memcpy(p, buf, len);
    return true;
}

static bool bus_cas(void *ctx, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped)
{
    uint64_t *p = platform_memory(hpa, 8);
    (void)ctx;
    if (!p)
        return false;
    *swapped = *p == *expected;
    if (*swapped)
        *p = desired;
    else
        *expected = *p;
    return true;
}

static struct {
    uint64_t address;
    uint32_t data;
} pending[64];
static unsigned npending;

static void bus_interrupt(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    bed.interrupts++;
    bed.old_messages += bed.message_of_old && data == bed.message_of_old;
    if (npending < 64) {
        pending[npending].address = address;
        pending[npending++].data = data;
    }
}

static void raised(uint64_t address, uint32_t data)
{
    bed.raised++;
    bed.raised_on = (uint32_t)(address >> 40 << 8) | (address >> 12 & 0xff);
    bed.raised_vector = data & 0xff;
    (void)platform_interrupt_on(bed.raised_on, (uint8_t)data);
}

void bed_interrupts(void)
{
    while (npending) {
        unsigned n = npending;
        npending = 0;
        for (unsigned i = 0; i < n; i++) {
            if (pending[i].data & 1u << 14)
                raised(pending[i].address, pending[i].data);
            else
                assert_true(platform_interrupt(pending[i].address, pending[i].data));
        }
    }
}

/* --- Device TLBs: entries stay until invalidated ---------------------------------------------- */

static struct atc {
    bool valid;
    uint16_t rid;
    int32_t pasid;
    uint64_t address, size, hpa;
} atc[1024];

static bool bus_devtlb(void *ctx, uint16_t rid, int32_t pasid, bool global, uint64_t address,
                       uint64_t size)
{
    const struct flr_function *f = bed_resettable(rid);
    (void)ctx;
    if (f && !flr_function_answers(f)) {
        bed.asked_absent++;
        return false;
    }
    if (bed.silent[rid]) {
        bed.unanswered++;
        return false;
    }
    assert_true(!global || bed.ats_capability & 0x40);
    if (bed.on_tlb)
        bed.on_tlb();
    bed.tlb_address[bed.tlb_invalidations % 8] = address;
    bed.tlb_size[bed.tlb_invalidations++ % 8] = size;
    for (unsigned i = 0; i < 1024; i++) {
        struct atc *a = &atc[i];
        bool mine = a->valid && a->rid == rid && (global ? a->pasid >= 0 : a->pasid == pasid);
        /* All 2^64 bytes come as size 0. */
        if (mine && a->address <= address + (size - 1) && address <= a->address + (a->size - 1))
            a->valid = false;
    }
    return true;
}

static struct vtd_model *model_of(rid_t rid)
{
    return bed.model[rid >= BED_FAR && bed.units > 1 ? 1 : 0];
}

bool bed_ats_read(rid_t rid, int32_t pasid, uint64_t address, uint64_t *value)
{
    struct atc *hit = NULL, *spare = NULL;
    for (unsigned i = 0; i < 1024; i++) {
        struct atc *a = &atc[i];
        if (!a->valid)
            spare = a;
        else if (a->rid == rid && a->pasid == pasid && address - a->address < a->size)
            hit = a;
    }
    struct vtd_request req = {
        .rid = rid,
        .pasid_present = pasid >= 0,
        .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
        .addr = address & ~PAGE_MASK,
    };
    if (!hit) {
        struct vtd_translation t;
        vtd_model_translate(model_of(rid), &req, true, &t);
        if (t.status != VTD_TC_SUCCESS || !t.r)
            return false;
        assert_non_null(spare);
        hit = spare;
        *hit = (struct atc){ true, rid, pasid, address & ~(t.size - 1), t.size, t.hpa };
    }
    req.translated = true;
    req.pasid_present = false;
    req.pasid = 0;
    req.addr = hit->hpa + (address - hit->address);
    return vtd_model_dma(model_of(rid), &req, value, 8) == 0;
}

static void bus_response(void *ctx, uint16_t rid, int32_t pasid, uint16_t prgi, uint8_t code)
{
    (void)ctx;
    if (bed.nresponses < 4096)
        bed.response[bed.nresponses++] = (struct bed_response){ rid, prgi, pasid, code };
    if (bed.on_response)
        bed.on_response();
}

static void bus_complain(void *ctx, const char *rule, const char *text)
{
    (void)ctx;
    print_error("model: %s: %s\n", rule, text);
}

static const struct vtd_model_bus bus = {
    .read = bus_read,
    .write = bus_write,
    .cas64 = bus_cas,
    .interrupt = bus_interrupt,
    .devtlb_invalidate = bus_devtlb,
    .page_response = bus_response,
    .complain = bus_complain,
};

/* --- Registers -------------------------------------------------------------------------------- */

static uint64_t reg_read(void *ctx, uint32_t offset, unsigned size)
{
    if (bed.frozen && offset == 0x34)
        return bed.frozen_fsts;
    if (bed.frozen && offset == 0x80)
        return bed.frozen_head;
    if (bed.frozen && offset == 0xb0)
        return bed.frozen_record;
    uint64_t value = vtd_model_mmio_read(ctx, offset, size);
    return bed.anonymous && offset == 0xb0 ? value & ~0xffff00000000ull : value;
}

#define PRQ_FULL 2100u /* more requests than the driver's ring takes */

static void reg_write(void *ctx, uint32_t offset, unsigned size, uint64_t value)
{
    if (bed.frozen) {
        bed.frozen_fsts &= offset == 0x34 ? (uint32_t)~value : ~0u;
        return;
    }
    if (offset == 0x88) {
        bed.tail_writes++;
        if (bed.dead)
            return;
        for (unsigned i = 0; bed.flood && i < PRQ_FULL; i++)
            bed_page_request(bed.flood, 5, 0x1000ull * i, (uint16_t)(i & 0x1ff), false);
    }
    vtd_model_mmio_write(ctx, offset, size, value);
    if (bed.on_register)
        bed.on_register(offset);
    if (bed.watch) {
        uint64_t hpa;
        struct vtd_request req = { .rid = BED_A, .access = VTD_READ, .addr = bed.ram.v };
        bool forwarded = !bed.port || bed.port->config[0x04] & 4;
        bed.leaks += vtd_model_access(ctx, &req, &hpa) == 0 && forwarded;
        uint32_t data = 0x41;
        req = (struct vtd_request){ .rid = BED_A, .access = VTD_WRITE, .addr = 0xfee00000 };
        unsigned before = npending, raised_before = bed.interrupts;
        bed.message_leaks += vtd_model_dma(ctx, &req, &data, 4) == 0 && forwarded;
        npending = before;
        bed.interrupts = raised_before;
    }
}

static void relax(void *ctx)
{
    (void)ctx;
    if (bed.on_relax)
        bed.on_relax();
    for (unsigned i = 0; i < bed.units && !bed.dead; i++)
        vtd_model_run(bed.model[i]);
}

/* Lines stored and not flushed since. */
static uint64_t dirty[4096];
static unsigned ndirty;

static bool noncoherent_line(uint64_t line)
{
    for (unsigned i = 0; i < ndirty; i++)
        if (dirty[i] == line)
            return true;
    return false;
}

static void stored(void *ctx, uint64_t hpa, unsigned size)
{
    (void)ctx;
    bed.stores++;
    bed.last_store = size;
    bool noncoherent = bed.noncoherent; /* what the model reads now is no hardware's walk */
    bed.noncoherent = false;
    for (unsigned i = 0; i < bed.units; i++)
        vtd_model_memory_written(bed.model[i], hpa, size);
    bed.noncoherent = noncoherent;
    if (bed.on_store)
        bed.on_store();
    uint64_t line = hpa & ~63ull;
    if (!bed.noncoherent || !hpa || noncoherent_line(line))
        return;
    assert_true(ndirty < 4096);
    dirty[ndirty++] = line;
}

static void flushed(void *ctx, uint64_t hpa, uint64_t size)
{
    (void)ctx;
    for (unsigned i = 0; i < bed.units; i++)
        vtd_model_cache_flush(bed.model[i], hpa, size);
    for (unsigned i = 0; i < ndirty;) {
        if (dirty[i] >= (hpa & ~63ull) && dirty[i] < hpa + size)
            dirty[i] = dirty[--ndirty];
        else
            i++;
    }
}

/* --- Functions -------------------------------------------------------------------------------- */

static const rid_t full_rids[] = { BED_A, BED_B, BED_C, BED_FAR };
static struct flr_function functions[5];

/* Its device TLB is empty. */
static void was_reset(struct flr_function *f)
{
    for (unsigned i = 0; i < ARRAY_SIZE(atc); i++)
        atc[i].valid = atc[i].valid && atc[i].rid != f->pci.rid;
}

static void functions_make(void)
{
    for (unsigned i = 0; i < 5; i++) {
        struct platform_pci *f = &functions[i].pci;
        flr_function_make(&functions[i], i < 4 ? full_rids[i] : BED_PLAIN, 0, 0, i < 4);
        functions[i].on_reset = was_reset;
        if (i < 4) {
            platform_put(f->config, 0x100, 4, 0x11010000 | 0x0000); /* null, next 0x110 */
            platform_put(f->config, 0x100, 4, 0x1101000b);          /* vendor specific */
            platform_put(f->config, 0x110, 4, 0x1201000f);          /* ATS */
            platform_put(f->config, 0x114, 2, bed.ats_capability);
            platform_put(f->writable, 0x116, 2, 0x801f);
            platform_put(f->config, 0x120, 4, 0x13010013); /* PRI */
            platform_put(f->config, 0x126, 2, 0x8100);     /* stopped, PASID in responses */
            platform_put(f->config, 0x128, 4, 1024);
            platform_put(f->writable, 0x124, 2, 1);
            platform_put(f->writable, 0x12c, 4, 0xffffffff);
            platform_put(f->config, 0x130, 4, 0x0001001b); /* PASID, 20 bits */
            platform_put(f->config, 0x134, 2, 0x1400);
            platform_put(f->writable, 0x136, 2, 7);
        }
        flr_function_ready(&functions[i]);
        platform_add_pci(f);
    }
}

struct flr_function *bed_resettable(rid_t rid)
{
    for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
        if (functions[i].pci.rid == rid)
            return &functions[i];
    }
    return NULL;
}

struct platform_pci *bed_function(rid_t rid)
{
    struct flr_function *f = bed_resettable(rid);

    assert_non_null(f);
    return &f->pci;
}

/* --- The machine ------------------------------------------------------------------------------ */

size_t bed_dmar(uint8_t table[4096])
{
    memset(table, 0, 4096);
    platform_put(table, 0, 4, 0x52414d44); /* DMAR */
    table[8] = 1;
    table[36] = 45;
    size_t at = 48;
    /* Unit 0 last, for all devices; unit 1 for BED_FAR alone; the others for nothing. */
    for (unsigned i = bed.units; i--;) {
        size_t length = 16 + (i == 1 ? 8 : 0);
        platform_put(table, (unsigned)at + 2, 2, length);
        table[at + 4] = i == 0;
        platform_put(table, (unsigned)at + 8, 8, UNIT_BASE + i * UNIT_STEP);
        if (i == 1) {
            table[at + 16] = 1;
            table[at + 17] = 8;
            table[at + 21] = BED_FAR >> 8;
        }
        at += length;
    }
    platform_put(table, 4, 4, at);
    uint8_t sum = 0;
    for (size_t i = 0; i < at; i++)
        sum = (uint8_t)(sum + table[i]);
    table[9] = (uint8_t)-sum;
    return at;
}

static void on_request(struct iommu_device *dev, const struct iommu_page_request *req)
{
    assert_non_null(dev);
    if (bed.nrequests < 4096)
        bed.request[bed.nrequests++] = *req;
}

static void on_requests_done(void)
{
    bed.nrequests_done++;
}

static void on_fault(struct iommu_device *dev, const struct iommu_fault *fault)
{
    (void)dev;
    if (bed.nfaults < 256)
        bed.fault[bed.nfaults++] = *fault;
}

static void on_failed(struct iommu_device *dev, enum hv_status why)
{
    assert_true(bed.nfailed < 16);
    bed.failed[bed.nfailed] = dev;
    bed.failed_why[bed.nfailed++] = why;
}

const struct iommu_events bed_events = { on_request, on_requests_done, on_fault, on_failed };

struct vtd_model_config bed_config(void)
{
    return vtd_model_default_config();
}

int bed_fresh(void **state)
{
    memset(&bed, 0, sizeof bed);
    memset(atc, 0, sizeof atc);
    npending = ndirty = 0;
    bed.quota.limit = 100000;
    bed.ats_capability = 0x0060; /* page aligned, global invalidate, 32 at once */
    return platform_fresh(state);
}

int bed_check(void **state)
{
    int bad = 0;
    (void)state;
    for (unsigned i = 0; i < bed.units; i++) {
        const char *last = "";
        unsigned n = vtd_model_complaints(bed.model[i], &last);
        if (n != bed.complaints_wanted) {
            print_error("unit %u: %u complaints, last: %s\n", i, n, last);
            bad = -1;
        }
        vtd_model_destroy(bed.model[i]);
    }
    if (bed.unflushed)
        bad = -1;
    if (bed.quota.used) {
        print_error("quota: %llu pages not given back\n", (unsigned long long)bed.quota.used);
        bad = -1;
    }
    bed.units = 0;
    return bad;
}

void bed_make(const struct vtd_model_config *config, unsigned units)
{
    struct vtd_model_config c = config ? *config : bed_config();
    bed.units = units;
    for (unsigned i = 0; i < units; i++) {
        if (i == 1)
            c.ecap &= ~bed.others_without;
        bed.model[i] = vtd_model_create(&c, &bus);
        platform_add_mmio(&(struct platform_mmio){
            .base = UNIT_BASE + i * UNIT_STEP,
            .size = UNIT_STEP,
            .ctx = bed.model[i],
            .read = reg_read,
            .write = reg_write,
        });
    }
    functions_make();
    platform_set_hooks(&(struct platform_hooks){ NULL, stored, flushed, relax });
    bed.ram = platform_ram(BED_RAM);
    for (uint64_t at = 0; at < BED_RAM; at += PAGE_SIZE)
        *(uint64_t *)platform_memory(bed.ram.v + at, 8) = at + 1;
}

void bed_start(const struct vtd_model_config *config, unsigned units)
{
    uint8_t table[4096];
    bed_make(config, units);
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &bed_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    assert_int_equal(iommu_vtd.unit_count(), units);
}

void bed_add(struct iommu_device *dev, rid_t rid)
{
    *dev = (struct iommu_device){
        .rid = rid,
        .unit = iommu_vtd.unit_of(rid),
        .quota = &bed.quota,
    };
    assert_int_equal(iommu_vtd.device_add(dev), HV_OK);
}

void bed_stage2(struct pt *pt, struct iommu_stage2 *s2, struct iommu_unit *unit)
{
    const struct iommu_caps *caps = iommu_vtd.caps(unit);
    assert_int_equal(pt_create(pt, caps->second_stage_format, &bed.quota, caps->second_stage_levels,
                               0, !caps->coherent_tables),
                     HV_OK);
    assert_int_equal(pt_map(pt, PTADDR(0), bed.ram, BED_RAM, PT_R | PT_W), HV_OK);
    assert_int_equal(iommu_vtd.stage2_create(unit, pt, s2), HV_OK);
}

void bed_stage2_gone(struct pt *pt, struct iommu_stage2 *s2)
{
    assert_int_equal(iommu_vtd.stage2_destroy(s2), HV_OK);
    pt_destroy(pt);
}

/* --- The guest -------------------------------------------------------------------------------- */

static uint64_t table_next;

static uint64_t *guest(uint64_t gpa)
{
    return platform_memory(bed.ram.v + gpa, PAGE_SIZE);
}

static uint64_t table_page(void)
{
    if (table_next <= BED_RAM / 2)
        table_next = BED_RAM;
    table_next -= PAGE_SIZE;
    memset(guest(table_next), 0, PAGE_SIZE);
    return table_next;
}

gpaddr_t bed_root(void)
{
    return GPADDR(table_page());
}

void bed_map(gpaddr_t root, uint64_t va, uint64_t gpa)
{
    uint64_t at = root.v;
    for (int level = 3; level > 0; level--) {
        uint64_t *e = guest(at) + (va >> (12 + 9 * level) & 511);
        if (!(*e & 1))
            *e = table_page() | 0x27; /* present, write, user, accessed */
        at = *e & ~PAGE_MASK;
    }
    guest(at)[va >> 12 & 511] = gpa ? gpa | 0x67 : 0; /* and dirty */
}

static uint8_t dma(rid_t rid, int32_t pasid, uint64_t address, uint64_t *value, enum vtd_access how)
{
    struct vtd_request req = {
        .rid = rid,
        .pasid_present = pasid >= 0,
        .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
        .access = how,
        .addr = address,
    };
    return vtd_model_dma(model_of(rid), &req, value, 8);
}

uint8_t bed_read(rid_t rid, int32_t pasid, uint64_t address, uint64_t *value)
{
    return dma(rid, pasid, address, value, VTD_READ);
}

uint8_t bed_write(rid_t rid, int32_t pasid, uint64_t address, uint64_t value)
{
    return dma(rid, pasid, address, &value, VTD_WRITE);
}

uint8_t bed_message(rid_t rid, uint32_t address, uint32_t data)
{
    struct vtd_request req = { .rid = rid, .access = VTD_WRITE, .addr = address };
    return vtd_model_dma(model_of(rid), &req, &data, 4);
}

void bed_page_request(rid_t rid, int32_t pasid, uint64_t address, uint16_t group, bool last)
{
    bed_page_message(rid, pasid, address, group, last, true);
}

void bed_page_message(rid_t rid, int32_t pasid, uint64_t address, uint16_t group, bool last,
                      bool read)
{
    vtd_model_page_request(model_of(rid), &(struct vtd_page_request){
                                              .rid = rid,
                                              .prgi = group,
                                              .pasid_present = pasid >= 0,
                                              .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
                                              .read = read,
                                              .lpig = last,
                                              .addr = address,
                                          });
    vtd_model_run(model_of(rid));
}
