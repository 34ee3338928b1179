/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/ioas_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/rings.h"
#include "hv/sva.h"
#include "hv/vpci.h"
#include "tests/unit/flr_function.h"

#define UNIT_BASE 0xfed90000ull
#define UNIT_STEP 0x10000ull

struct rig rig;
struct rig_atc rig_atc[32];
static unsigned atc_next;

/* --- What the units reach --------------------------------------------------------------------- */

static bool bus_read(void *, uint64_t hpa, void *buf, size_t len)
{
    const void *p = platform_memory(hpa, len);

    if (p)
        memcpy(buf, p, len);
    return p;
}

static bool bus_write(void *, uint64_t hpa, const void *buf, size_t len)
{
    void *p = platform_memory(hpa, len);

    if (p)
        memcpy(p, buf, len);
    return p;
}

static bool bus_cas(void *, uint64_t hpa, uint64_t *expected, uint64_t desired, bool *swapped)
{
    uint64_t *p = platform_memory(hpa, 8);

    if (!p)
        return false;
    *swapped = *p == *expected;
    *expected = *p;
    if (*swapped)
        *p = desired;
    return true;
}

static void bus_interrupt(void *, uint64_t, uint32_t)
{
}

static bool bus_devtlb(void *, uint16_t rid, int32_t pasid, bool global, uint64_t address,
                       uint64_t size)
{
    rig.used_when_told = rig.vm ? rig.vm->quota.used : 0;
    for (unsigned d = 0; d < 2 * rig.units; d++) {
        if (rig.rid[d] == rid && rig.silent[d])
            return false;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rig_atc); i++) {
        struct rig_atc *a = &rig_atc[i];
        int32_t own = a->pasid == HC_PASID_NONE ? -1 : (int32_t)a->pasid;
        if (a->valid && rig.rid[a->device] == rid && (global ? own >= 0 : own == pasid) &&
            a->address <= address + (size - 1) && address <= a->address + (a->size - 1))
            a->valid = false;
    }
    return true;
}

static void bus_response(void *, uint16_t rid, int32_t pasid, uint16_t prgi, uint8_t code)
{
    unsigned d = 0;

    while (rig.rid[d] != rid)
        d++;
    assert_true(rig.nresponses < ARRAY_SIZE(rig.response));
    rig.response[rig.nresponses++] =
        (struct rig_response){ d, pasid < 0 ? HC_PASID_NONE : (uint32_t)pasid, prgi, code };
}

static void bus_complain(void *, const char *rule, const char *text)
{
    if (!rig.complaints++)
        snprintf(rig.complaint, sizeof(rig.complaint), "%s: %s", rule, text);
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

static uint64_t reg_read(void *ctx, uint32_t offset, unsigned size)
{
    return vtd_model_mmio_read(ctx, offset, size);
}

static void reg_write(void *ctx, uint32_t offset, unsigned size, uint64_t value)
{
    vtd_model_mmio_write(ctx, offset, size, value);
}

void rig_relax(void *)
{
    for (unsigned i = 0; i < rig.units; i++)
        vtd_model_run(rig.model[i]);
}

/* --- Units that differ ------------------------------------------------------------------------ */

#define BIT(n)       (1ull << (n))
#define NEST         BIT(26)
#define SECOND_STAGE BIT(46)
#define FIRST_STAGE  BIT(47)
/* Scalable mode and all that needs it: PRS, PASID, PDS, SMTS, both stages, SMPWCS. */
#define SCALABLE                                                                                   \
    (NEST | SECOND_STAGE | FIRST_STAGE | BIT(29) | BIT(40) | BIT(42) | BIT(43) | BIT(48))

static const struct unit_kind {
    unsigned depths, width; /* bit n: n + 3 levels; bits of address */
    unsigned large;         /* 1: 2M, 3: and 1G */
    bool caching_mode, coherent;
    uint64_t without; /* of ECAP */
} kinds[RIG_KINDS] = {
    { 7, 57, 3, false, true, 0 },
    { 1, 39, 0, false, true, 0 },
    { 2, 48, 1, true, true, 0 },
    { 6, 52, 3, false, false, 0 },
    [RIG_SECOND_STAGE] = { 2, 48, 1, true, true, NEST | FIRST_STAGE },
    [RIG_FIRST_STAGE] = { 2, 48, 0, false, true, NEST | SECOND_STAGE },
    [RIG_LEGACY] = { 6, 57, 3, false, true, SCALABLE },
};

static void stored(void *, uint64_t hpa, unsigned size)
{
    for (unsigned u = 0; u < rig.units && hpa; u++) {
        if (!kinds[rig.kind[u]].coherent)
            vtd_model_memory_written(rig.model[u], hpa, size);
    }
}

static void flushed(void *, uint64_t hpa, uint64_t size)
{
    for (unsigned u = 0; u < rig.units && hpa; u++) {
        if (!kinds[rig.kind[u]].coherent)
            vtd_model_cache_flush(rig.model[u], hpa, size);
    }
}

static void put_field(uint64_t *reg, unsigned high, unsigned low, uint64_t value)
{
    uint64_t mask = ((1ull << (high - low + 1)) - 1) << low;

    *reg = (*reg & ~mask) | value << low;
}

static struct vtd_model_config config_of(const struct unit_kind *k)
{
    struct vtd_model_config c = vtd_model_default_config();

    put_field(&c.cap, 12, 8, k->depths << 1);
    put_field(&c.cap, 21, 16, k->width - 1);
    put_field(&c.cap, 35, 34, k->large);
    put_field(&c.cap, 7, 7, k->caching_mode);
    put_field(&c.ecap, 0, 0, k->coherent);
    put_field(&c.ecap, 48, 48, k->coherent);
    c.ecap &= ~k->without;
    return c;
}

static size_t make_dmar(uint8_t table[4096])
{
    unsigned at = 48;
    uint8_t sum = 0;

    memset(table, 0, 4096);
    memcpy(table, "DMAR", 4);
    table[8] = 1;
    table[36] = 45;
    for (unsigned u = 0; u < rig.units; u++) {
        unsigned length = 16 + 2 * 8;
        platform_put(table, at + 2, 2, length);
        platform_put(table, at + 8, 8, UNIT_BASE + u * UNIT_STEP);
        for (unsigned k = 0; k < 2; k++) {
            uint8_t *scope = table + at + 16 + 8 * k;
            scope[0] = 1;
            scope[1] = 8;
            scope[5] = (uint8_t)(rig.rid[2 * u + k] >> 8);
            scope[6] = (uint8_t)(rig.rid[2 * u + k] >> 3 & 31);
        }
        at += length;
    }
    platform_put(table, 4, 4, at);
    for (unsigned i = 0; i < at; i++)
        sum = (uint8_t)(sum + table[i]);
    table[9] = (uint8_t)-sum;
    return at;
}

static struct flr_function functions[REF_DEVICES];

static unsigned pasid_bits_of(unsigned device)
{
    return device == 3 ? 8 : 20;
}

static bool resets(unsigned device)
{
    return device % 4 != 3;
}

/* Its device TLB is empty, and answers again. */
static void was_reset(struct flr_function *f)
{
    unsigned d = 0;

    while (rig.rid[d] != f->pci.rid)
        d++;
    rig.silent[d] = false;
    for (unsigned i = 0; i < ARRAY_SIZE(rig_atc); i++)
        rig_atc[i].valid = rig_atc[i].valid && rig_atc[i].device != d;
}

static void make_function(unsigned device)
{
    struct platform_pci *f = &functions[device].pci;

    flr_function_make(&functions[device], rig.rid[device], 0, 0, resets(device));
    functions[device].on_reset = was_reset;
    platform_put(f->config, 0x100, 4, 0x1101000b);
    platform_put(f->config, 0x110, 4, 0x1201000f); /* ATS */
    platform_put(f->config, 0x114, 2, 0x0060);
    platform_put(f->writable, 0x116, 2, 0x801f);
    platform_put(f->config, 0x120, 4, 0x0001001b); /* PASID */
    platform_put(f->config, 0x124, 2, pasid_bits_of(device) << 8);
    platform_put(f->writable, 0x126, 2, 7);
    if (device % 2 == 0) {
        platform_put(f->config, 0x120, 4, 0x1301001b);
        platform_put(f->config, 0x130, 4, 0x00010013); /* PRI */
        platform_put(f->config, 0x136, 2, 0x8100);     /* stopped, PASID in responses */
        platform_put(f->config, 0x138, 4, 16);
        platform_put(f->writable, 0x134, 2, 1);
        platform_put(f->writable, 0x13c, 4, 0xffffffff);
    }
    flr_function_ready(&functions[device]);
    platform_add_pci(f);
}

/* --- The VM ----------------------------------------------------------------------------------- */

static void make_vm(void)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    vm->lock = (struct lock)LOCK(RANK_VM);
    vm->ram[0] = (struct vm_ram){ GPADDR(0), platform_ram(RIG_RAM_LOW), RIG_RAM_LOW };
    vm->ram[1] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), platform_ram(RIG_RAM_HIGH), RIG_RAM_HIGH };
    vm->nram = 2;
    vm->quota.limit = 100000;
    vm->nvcpus = 1;
    vm->vcpu[0] = calloc(1, sizeof(struct vcpu));
    vm->vcpu[0]->vm = vm;
    rig.vm = vm;
    assert_int_equal(rings_create(vm), HV_OK);
    assert_int_equal(sva_create(vm), HV_OK);
    struct boot_vm config = { .npci = 2 * rig.units };
    for (unsigned d = 0; d < config.npci; d++)
        config.pci[d] = (struct boot_pci){ rig.rid[d], 1, 0 };
    assert_int_equal(pt_create(&vm->npt, &pt_format_npt, &vm->quota, 4, 1, false), HV_OK);
    assert_int_equal(vpci_create(vm, &config), HV_OK);
    for (unsigned d = 0; d < 2 * rig.units; d++)
        assert_int_equal(device_add(vm, &(struct boot_pci){ rig.rid[d], 1, 0 }), HV_OK);
    struct iommu_device *io = &vm->device[1]->io;
    io->reserved[io->nreserved++] =
        (struct iommu_reserved){ .first = RIG_RESERVED, .last = RIG_RESERVED + 0xfffff };
}

static void tell(struct ref *ref)
{
    *ref = (struct ref){ .ndevices = 2 * rig.units };
    ref->ram[0] = (struct ref_range){ 0, RIG_RAM_LOW - 1 };
    ref->ram[1] = (struct ref_range){ VM_RAM_HIGH, VM_RAM_HIGH + RIG_RAM_HIGH - 1 };
    for (unsigned d = 0; d < ref->ndevices; d++) {
        unsigned kind = rig.kind[rig.unit_of[d]];
        const struct unit_kind *k = &kinds[kind];
        ref->device[d] = (struct ref_device){
            .depths = k->depths,
            .width = kind == RIG_FIRST_STAGE ? 47 : k->width, /* the lower half */
            .nested = kind < RIG_SECOND_STAGE && k->coherent,
            .shadow = kind < RIG_LEGACY && (kind >= RIG_SECOND_STAGE || !k->coherent),
            .writable_is_readable = kind == RIG_FIRST_STAGE,
            .pasid_bits = kind == RIG_LEGACY ? 0 : pasid_bits_of(d),
            .pri = kind != RIG_LEGACY && d % 2 == 0,
            .resets = resets(d),
            .unit = rig.unit_of[d],
            .large = kind == RIG_FIRST_STAGE || (k->large & 1),
            .reserved = { { 0xfee00000, 0xfeefffff }, { RIG_RESERVED, RIG_RESERVED + 0xfffff } },
            .nreserved = d == 1 ? 2 : 1,
        };
    }
}

void rig_start(unsigned units, struct ref *ref)
{
    static const uint8_t nesting[] = { 0, 1, 2, 3 };

    rig_start_of(nesting, units, ref);
}

void rig_start_of(const uint8_t *kind, unsigned units, struct ref *ref)
{
    uint8_t table[4096];

    assert_int_equal(platform_fresh(NULL), 0);
    rig = (struct rig){ .units = units, .next_table = RIG_ROOT(REF_ROOTS) };
    memcpy(rig.kind, kind, units);
    memset(rig_atc, 0, sizeof(rig_atc));
    for (unsigned d = 0; d < 2 * units; d++) {
        rig.unit_of[d] = d / 2;
        rig.rid[d] = (rid_t)((0x10 + d / 2) << 8 | (d % 2) << 3);
        make_function(d);
    }
    for (unsigned u = 0; u < units; u++) {
        struct vtd_model_config c = config_of(&kinds[kind[u]]);
        rig.model[u] = vtd_model_create(&c, &bus);
        assert_non_null(rig.model[u]);
        platform_add_mmio(&(struct platform_mmio){
            .base = UNIT_BASE + u * UNIT_STEP,
            .size = UNIT_STEP,
            .ctx = rig.model[u],
            .read = reg_read,
            .write = reg_write,
        });
    }
    platform_set_hooks(&(struct platform_hooks){ NULL, stored, flushed, rig_relax });
    size_t length = make_dmar(table);
    iommu = &iommu_vtd;
    assert_int_equal(iommu->probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu->start(), HV_OK);
    make_vm();
    tell(ref);
    struct hc_ring_setup ring = { .base = RIG_COMMANDS, .entries = 16 };
    assert_int_equal(rig_struct(HC_COMMAND_RING, &ring, sizeof(ring), false, NULL), HV_OK);
    ring = (struct hc_ring_setup){ .base = RIG_EVENTS, .entries = 512, .vector = 0x40 };
    assert_int_equal(rig_struct(HC_EVENT_RING, &ring, sizeof(ring), false, NULL), HV_OK);
}

unsigned rig_end(void)
{
    unsigned left;

    device_end(rig.vm);
    vpci_destroy(rig.vm);
    pt_destroy(&rig.vm->npt);
    left = (unsigned)rig.vm->quota.used;
    for (unsigned i = 0; i < ARRAY_SIZE(rig_atc); i++)
        left += rig_atc[i].valid && !rig.silent[rig_atc[i].device];
    free(rig.vm->vcpu[0]);
    free(rig.vm);
    for (unsigned u = 0; u < rig.units; u++)
        vtd_model_destroy(rig.model[u]);
    rig.units = 0;
    return left;
}

/* --- Calls ------------------------------------------------------------------------------------ */

enum hv_status rig_call(uint64_t number, uint64_t a0, uint64_t *value)
{
    struct hypercall_regs regs = { number, { a0 } };
    uint64_t ignored;

    return hypercall(rig.vm->vcpu[0], &regs, value ? value : &ignored);
}

static void *at(uint64_t gpa)
{
    return vm_ram(rig.vm, GPADDR(gpa), 8);
}

static enum hv_status by_command(uint64_t number, const void *in, size_t size, uint64_t *value)
{
    struct hc_ring *ring = at(RIG_COMMANDS);
    struct hc_command *slot =
        (struct hc_command *)at(RIG_COMMANDS + HC_RING_ENTRIES) + (ring->producer & 15);
    uint64_t done;

    *slot = (struct hc_command){ .call = (uint32_t)number, .status = HC_COMMAND_PENDING };
    memcpy(slot->args, in, size);
    ring->producer++;
    assert_int_equal(rig_call(HC_DOORBELL, 0, &done), HV_OK);
    assert_int_equal(done, 1);
    assert_int_equal(ring->consumer, ring->producer);
    if (value)
        *value = slot->value;
    return (enum hv_status)slot->status;
}

enum hv_status rig_struct(uint64_t number, const void *in, size_t size, bool by_ring,
                          uint64_t *value)
{
    uint8_t copy[64];
    uint32_t bytes = (uint32_t)size;

    memcpy(copy, in, size);
    memcpy(copy, &bytes, sizeof(bytes));
    if (by_ring)
        return by_command(number, copy, size, value);
    memcpy(at(RIG_SCRATCH), copy, size);
    return rig_call(number, RIG_SCRATCH, value);
}

bool rig_event(struct hc_event *out)
{
    struct hc_ring *ring = at(RIG_EVENTS);
    const struct hc_event *slot = at(RIG_EVENTS + HC_RING_ENTRIES);

    while (ring->producer != ring->consumer) {
        *out = slot[ring->consumer++ & 511];
        if (out->type != HC_EVENT_FAULT && out->type != HC_EVENT_DEVICE_FAILED)
            return true;
    }
    return false;
}

/* --- What the guest and its devices do -------------------------------------------------------- */

void rig_first_stage(unsigned root, uint64_t va, uint64_t entry)
{
    uint64_t table = RIG_ROOT(root);

    for (unsigned level = 3; level; level--) {
        uint64_t *link = (uint64_t *)at(table) + (va >> (PAGE_SHIFT + 9 * level) & 511);
        if (!*link) {
            assert_true(rig.next_table < RIG_COMMANDS);
            *link = rig.next_table | 7;
            rig.next_table += PAGE_SIZE;
        }
        table = *link & ~PAGE_MASK;
    }
    ((uint64_t *)at(table))[va >> PAGE_SHIFT & 511] = entry;
}

void rig_request(unsigned device, uint32_t pasid, uint64_t address, bool write, uint16_t number)
{
    struct vtd_model *m = rig.model[rig.unit_of[device]];

    vtd_model_page_request(m, &(struct vtd_page_request){
                                  .rid = rig.rid[device],
                                  .prgi = number,
                                  .pasid_present = pasid != HC_PASID_NONE,
                                  .pasid = pasid != HC_PASID_NONE ? pasid : 0,
                                  .read = true,
                                  .write = write,
                                  .lpig = true,
                                  .addr = address,
                              });
    vtd_model_run(m);
    iommu->poll();
}

/* --- DMA -------------------------------------------------------------------------------------- */

bool rig_translate(unsigned device, uint32_t pasid, uint64_t address, bool write, bool ats,
                   uint64_t *hpa)
{
    struct vtd_model *m = rig.model[rig.unit_of[device]];
    struct vtd_request req = {
        .rid = rig.rid[device],
        .pasid_present = pasid != HC_PASID_NONE,
        .pasid = pasid != HC_PASID_NONE ? pasid : 0,
        .access = write ? VTD_WRITE : VTD_READ,
        .addr = address,
    };
    struct vtd_translation t;

    if (!ats)
        return vtd_model_access(m, &req, hpa) == 0;
    req.access = VTD_READ; /* what is wanted beyond it, no_write tells */
    vtd_model_translate(m, &req, !write, &t);
    if (t.status != VTD_TC_SUCCESS || !(write ? t.w : t.r))
        return false;
    rig_atc[atc_next++ % ARRAY_SIZE(rig_atc)] = (struct rig_atc){
        true, t.r, t.w, device, pasid, address & ~(t.size - 1), t.size, t.hpa & ~(t.size - 1)
    };
    *hpa = (t.hpa & ~(t.size - 1)) | (address & (t.size - 1));
    return true;
}
