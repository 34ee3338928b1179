/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/ioas_rig.c tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Random calls on IOASes, attachments, SVA spaces and page requests, each checked against the
 * reference: status, value, answers to devices, and where DMAs go. One, two and four units that
 * differ, also such that do not nest; the VT-d driver and the unit model do the work. Memory and
 * the quota run out in the middle of calls, devices stop answering. Every sequence runs in a child
 * of its own; one that fails is cut down to the calls that it needs.
 *
 *     SEED=n       the first sequence's seed        STEPS=n    steps in all (a million)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hv/device.h"
#include "hv/iopf.h"
#include "tests/unit/ioas_rig.h"

#define LENGTH 2000u /* steps of a sequence */
#define CHOSEN 6u    /* slots of the PASIDs 1, 2, ... */

enum kind {
    CREATE,
    DESTROY,
    MAP,
    UNMAP,
    COPY,
    REQUIRE,
    ATTACH,
    RANGES,
    PAGE,       /* the guest changes a page of a first stage, and tells what it must */
    INVALIDATE, /* it tells something else */
    BIND,
    UNBIND,
    ENABLE, /* IOPF */
    DISABLE,
    REQUEST, /* a device asks for a page */
    ANSWER,
    MEMORY,  /* RAM is put on demand, or back */
    SILENCE, /* a device answers no invalidation from here on */
    RESET,
    KINDS
};
static const struct {
    const char *name;
    uint8_t weight;
} kinds[KINDS] = {
    { "create", 7 },  { "destroy", 1 }, { "map", 46 },    { "unmap", 26 },  { "copy", 14 },
    { "require", 2 }, { "attach", 36 }, { "ranges", 6 },  { "page", 20 },   { "invalidate", 6 },
    { "bind", 18 },   { "unbind", 12 }, { "enable", 10 }, { "disable", 3 }, { "request", 24 },
    { "answer", 8 },  { "memory", 12 }, { "silence", 1 }, { "reset", 1 },
};

/* One call, with all that it needs: what it means does not depend on those before. */
struct step {
    enum kind kind;
    unsigned ioas, other; /* other: of a copy; device of an attach, bind and so on */
    unsigned root;
    uint32_t flags, pasid, domain, levels;
    uint64_t iova, second, bytes;
    int8_t fail; /* -1, or so many pages can still be had */
    bool quota;  /* of the VM's quota */
    bool by_ring;
    uint32_t looks; /* seed of the DMAs that follow */
    struct hc_iova_range list[3];
    unsigned nlist;
};

/* --- Choices ---------------------------------------------------------------------------------- */

static uint64_t dice;

static uint32_t below(uint32_t n)
{
    dice = dice * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(dice >> 33) % n;
}

/* Where things happen: around every border there is. */
static const uint64_t windows[] = {
    0,          0x1f0000,   RIG_RESERVED - 0x10000, RIG_RESERVED + 0xf0000,
    0xfedf0000, 0xfeef0000, (1ull << 39) - 0x10000, (1ull << 48) - 0x10000,
    0x40000000,
};

static uint64_t some_iova(void)
{
    return windows[below(ARRAY_SIZE(windows))] + below(32) * PAGE_SIZE;
}

static uint64_t some_bytes(void)
{
    switch (below(12)) {
    case 0: return 0x200000;
    case 1: return 0x201000;
    case 2: return 0;
    case 3: return 32 * PAGE_SIZE;
    default: return (1 + below(8)) * PAGE_SIZE;
    }
}

static uint64_t some_gpa(uint64_t bytes)
{
    switch (below(8)) {
    case 0: return 0x400000;
    case 1: return VM_RAM_HIGH + below(64) * PAGE_SIZE;
    case 2: return RIG_RAM_LOW - bytes + (below(3) - 1u) * PAGE_SIZE;
    default: return 0x800000 + below(512) * PAGE_SIZE;
    }
}

/* Pages of first stages: few enough that they meet. */
static uint64_t some_va(void)
{
    static const uint64_t at[] = { 0, 0x1fd000, 0x7ff000000000 };

    return at[below(3)] + below(6) * PAGE_SIZE;
}

/* RAM to put on demand: where IOVAs and pages of first stages lie, but no first stage itself. */
#define RAM_FROM 0x400000ull
static uint64_t some_ram(void)
{
    static const uint64_t at[] = {
        RAM_FROM, RIG_RESERVED - 0x10000, RIG_RESERVED + 0xf0000, 0x800000, 0xa00000, VM_RAM_HIGH
    };

    return at[below(ARRAY_SIZE(at))] + (below(3) ? below(32) * PAGE_SIZE : 0);
}

static enum kind some_kind(void)
{
    uint32_t sum = 0, kind = 0;

    for (unsigned k = 0; k < KINDS; k++)
        sum += kinds[k].weight;
    for (uint32_t roll = below(sum); roll >= kinds[kind].weight; kind++)
        roll -= kinds[kind].weight;
    return (enum kind)kind;
}

static struct step some_step(void)
{
    struct step s = {
        .kind = some_kind(), .ioas = below(REF_IOASES), .root = below(REF_ROOTS), .fail = -1
    };

    s.other = s.kind == COPY ? below(REF_IOASES) : below(REF_DEVICES);
    s.iova = some_iova();
    s.bytes = some_bytes();
    s.by_ring = below(4) == 0;
    s.looks = below(1u << 30);
    if (below(16) == 0) {
        s.fail = (int8_t)below(6);
        s.quota = below(2);
    }
    if (below(64) == 0)
        s.iova += below(2) ? 8 : PAGE_SIZE / 2;
    switch (s.kind) {
    case CREATE:
        s.levels = below(4) ? 0 : below(7);
        if (!s.levels && below(2)) {
            s.iova = below(3) ? 0 : some_iova();
            s.second = windows[below(ARRAY_SIZE(windows))] + 0x40000 + (below(8) ? 0 : 1) - 1;
        } else {
            s.iova = 0;
        }
        break;
    case MAP:
        s.flags = 1 + below(3) + (below(8) ? 0 : HC_IOAS_UNCACHED);
        if (below(6) == 0)
            s.flags = HC_IOAS_RESERVE;
        s.flags |= below(3) ? HC_IOAS_FIXED : 0;
        s.flags |= s.flags & HC_IOAS_RESERVE || below(3) ? 0 : HC_IOAS_ON_DEMAND;
        s.second = s.flags & HC_IOAS_RESERVE ? 0 : some_gpa(s.bytes);
        if (below(48) == 0)
            s.flags ^= 1u << below(7);
        break;
    case UNMAP:
        s.flags = below(3) == 0 ? HC_IOAS_EXACT : below(4) == 0 ? HC_IOAS_UNRESERVE : 0;
        if (below(40) == 0) {
            s.flags = HC_IOAS_ALL | (below(2) ? HC_IOAS_UNRESERVE : 0);
            s.iova = s.bytes = 0;
        }
        if (below(48) == 0)
            s.flags ^= 1u << below(4);
        break;
    case COPY:
        s.flags = below(2) ? HC_IOAS_FIXED : 0;
        s.second = some_iova();
        break;
    case REQUIRE:
        s.nlist = 1 + below(3);
        for (unsigned i = 0; i < s.nlist; i++) {
            uint64_t first = i ? s.list[i - 1].last + 1 + below(3) * 0x10000 : some_iova();
            s.list[i].first = below(2) ? first : windows[below(2)];
            s.list[i].last = s.list[i].first + (1ull << (16 + below(26))) - 1;
        }
        break;
    case ATTACH: {
        static const uint8_t domains[] = { 0, 0, 1, 2, 2, 2, 2, 3 };
        s.domain = domains[below(8)];
        s.pasid = below(REF_PASIDS);
        break;
    }
    case PAGE:
        s.iova = some_va();
        s.flags = below(4); /* absent, for reads, for writes, not for users */
        s.second = below(16) ? 0x800000 + below(512) * PAGE_SIZE : 0x40000000;
        s.domain = below(4); /* by range, leaves or not, by PASID, by domain */
        s.levels = below(2); /* dirty already */
        break;
    case INVALIDATE:
        s.iova = some_va();
        s.pasid = below(REF_PASIDS);
        s.domain = below(4);
        break;
    case BIND:
        s.flags = below(4) ? 0 : HC_BIND_NO_IOPF;
        if (below(64) == 0)
            s.flags ^= 2;
        s.pasid = below(3) ? REF_ANY : below(REF_PASIDS);
        s.domain = HC_DOMAIN_NESTED;
        s.levels = below(64) ? 4 : 3;
        break;
    case UNBIND:
    case REQUEST:
    case ANSWER:
        s.iova = some_va();
        s.pasid = below(REF_PASIDS);
        s.flags = below(2);
        s.domain = below(4);
        break;
    case ENABLE: s.flags = below(16) ? 1 + below(3) : below(8); break;
    case MEMORY:
        s.flags = below(3) ? 0 : HC_MEMORY_PRESENT;
        s.iova = some_ram();
        s.by_ring = false;
        if (s.flags) { /* a part of it may be there again after an error */
            s.fail = -1;
            s.iova = below(2) ? s.iova : RAM_FROM;
            s.bytes = s.iova == RAM_FROM ? RIG_RAM_LOW - RAM_FROM : s.bytes;
        }
        if (below(64) == 0)
            s.flags ^= 2u << below(3);
        break;
    case SILENCE:
    case RESET: s.flags = below(6); break;
    default: break;
    }
    return s;
}

/* --- One step --------------------------------------------------------------------------------- */

static struct ref ref;
static uint64_t handle[REF_IOASES];
static uint16_t group_number;
static bool silences; /* a device of this sequence may fall silent */
#define WHY 400u
static char *why; /* a sequence fails; shared with children */
static const uint32_t *const pasids = ref_pasids;

/* How often a call answered what: a sequence that is always refused would prove nothing. */
static uint64_t (*seen)[24]; /* by kind and -status; shared with children */

struct outcome {
    enum hv_status status;
    uint64_t value;
};

static uint64_t bond_of(const struct step *s)
{
    const struct ref_target *t = &ref.target[s->other % ref.ndevices][s->pasid];

    return t->refs ? t->bond : 4711;
}

/* What @s says of its page, for one PASID or RID; by domain: for one unit. */
static struct hc_invalidate invalidation(const struct step *s, unsigned slot, unsigned device)
{
    static const struct {
        uint32_t kind, flags;
    } ways[] = { { HC_INVALIDATE_RANGE, HC_INVALIDATE_LEAF },
                 { HC_INVALIDATE_RANGE, 0 },
                 { HC_INVALIDATE_PASID, 0 },
                 { HC_INVALIDATE_DOMAIN, 0 } };
    uint32_t kind = ways[s->domain].kind;
    bool range = kind == HC_INVALIDATE_RANGE, all = kind == HC_INVALIDATE_DOMAIN;

    return (struct hc_invalidate){
        .kind = kind,
        .flags = ways[s->domain].flags,
        .pasid = all ? 0 : pasids[slot],
        .device = all || !slot ? device : 0,
        .address = range ? s->iova & ~PAGE_MASK : 0,
        .bytes = range ? PAGE_SIZE : 0,
    };
}

static struct outcome do_call(const struct step *s)
{
    struct outcome o = { 0 };
    struct hc_invalidate order;
    struct hc_iova_range *list = vm_ram(rig.vm, GPADDR(RIG_SCRATCH + 0x800), sizeof(s->list));

#define CALL(number, ...)                                                                          \
    o.status = rig_struct(number, &(__VA_ARGS__), sizeof(__VA_ARGS__), s->by_ring, &o.value)
    uint32_t ioas = (uint32_t)handle[s->ioas];
    switch (s->kind) {
    case CREATE:
        CALL(HC_IOAS_CREATE,
             (struct hc_ioas_create){ .first = s->iova, .last = s->second, .levels = s->levels });
        break;
    case DESTROY: o.status = rig_call(HC_IOAS_DESTROY, ioas, NULL); break;
    case MAP:
        CALL(HC_IOAS_MAP, (struct hc_ioas_map){ .flags = s->flags,
                                                .ioas = ioas,
                                                .iova = s->iova,
                                                .gpa = s->second,
                                                .bytes = s->bytes });
        break;
    case UNMAP:
        CALL(HC_IOAS_UNMAP,
             (struct hc_ioas_unmap){
                 .flags = s->flags, .ioas = ioas, .iova = s->iova, .bytes = s->bytes });
        break;
    case COPY:
        CALL(HC_IOAS_COPY, (struct hc_ioas_copy){ .flags = s->flags,
                                                  .to = ioas,
                                                  .from = (uint32_t)handle[s->other],
                                                  .to_iova = s->second,
                                                  .from_iova = s->iova,
                                                  .bytes = s->bytes });
        break;
    case REQUIRE:
        memcpy(list, s->list, sizeof(s->list));
        CALL(HC_IOAS_REQUIRE_IOVA, (struct hc_ioas_ranges){ .ioas = ioas,
                                                            .count = s->nlist,
                                                            .ranges = RIG_SCRATCH + 0x800 });
        break;
    case ATTACH:
        CALL(HC_ATTACH, (struct hc_attach){
                            .device = s->other % ref.ndevices,
                            .pasid = pasids[s->pasid],
                            .domain = s->domain,
                            .levels = s->domain == HC_DOMAIN_NESTED ? 4 : 0,
                            .root = s->domain == HC_DOMAIN_NESTED   ? RIG_ROOT(s->root)
                                    : s->domain == HC_DOMAIN_PAGING ? handle[s->ioas]
                                                                    : 0,
                        });
        break;
    case RANGES:
        CALL(HC_IOAS_RANGES,
             (struct hc_ioas_ranges){ .ioas = ioas, .count = 96, .ranges = RIG_SCRATCH + 0x1000 });
        break;
    case BIND:
        CALL(HC_SVA_BIND, (struct hc_sva_bind){
                              .flags = s->flags,
                              .device = s->other % ref.ndevices,
                              .pasid = s->pasid == REF_ANY ? HC_PASID_ANY
                                       : s->pasid          ? pasids[s->pasid]
                                                           : 0,
                              .levels = s->levels,
                              .root = RIG_ROOT(s->root),
                          });
        break;
    case UNBIND: o.status = rig_call(HC_SVA_UNBIND, bond_of(s), &o.value); break;
    case ENABLE:
    case DISABLE:
        o.status = hypercall(
            rig.vm->vcpu[0],
            &(struct hypercall_regs){ s->kind == ENABLE ? HC_IOPF_ENABLE : HC_IOPF_DISABLE,
                                      { s->other % ref.ndevices, s->flags } },
            &o.value);
        break;
    case MEMORY:
        CALL(HC_MEMORY_ON_DEMAND,
             (struct hc_memory_on_demand){ .flags = s->flags, .gpa = s->iova, .bytes = s->bytes });
        break;
    case INVALIDATE:
        order = invalidation(s, s->pasid, s->other % ref.ndevices);
        CALL(HC_INVALIDATE, order);
        break;
    default: break;
    }
#undef CALL
    return o;
}

/* @most: of a copy. */
static struct outcome do_ref(const struct step *s, uint64_t most)
{
    struct outcome o = { 0 };
    struct ref_range list[128];
    unsigned device = s->other % ref.ndevices, slot;

    switch (s->kind) {
    case CREATE:
        o.status = ref_create(
            &ref, s->ioas,
            &(struct hc_ioas_create){ .first = s->iova, .last = s->second, .levels = s->levels });
        break;
    case DESTROY: o.status = ref_destroy(&ref, s->ioas); break;
    case MAP:
        o.status =
            ref_map(&ref, s->ioas,
                    &(struct hc_ioas_map){
                        .flags = s->flags, .iova = s->iova, .gpa = s->second, .bytes = s->bytes },
                    &o.value);
        break;
    case UNMAP:
        o.status = ref_unmap(
            &ref, s->ioas,
            &(struct hc_ioas_unmap){ .flags = s->flags, .iova = s->iova, .bytes = s->bytes },
            &o.value);
        break;
    case COPY:
        o.status = ref_copy(
            &ref, s->ioas, s->other,
            &(struct hc_ioas_copy){
                .flags = s->flags, .to_iova = s->second, .from_iova = s->iova, .bytes = s->bytes },
            most, &o.value);
        break;
    case REQUIRE: o.status = ref_require(&ref, s->ioas, s->list, s->nlist); break;
    case ATTACH:
        o.status =
            ref_attach(&ref, s->other % ref.ndevices, s->pasid,
                       (struct ref_target){
                           .domain = (enum hc_domain)s->domain, .ioas = s->ioas, .root = s->root });
        break;
    case BIND:
        slot = s->pasid;
        o.status = s->levels == 4 || s->flags & 2 || ref.failed[device]
                       ? ref_bind(&ref, device, s->root, s->flags, &slot)
                       : HV_EINVAL;
        if (o.status == HV_OK)
            o.value = (uint64_t)pasids[slot] << 32 | ref.target[device][slot].bond;
        break;
    case UNBIND: o.status = ref_unbind(&ref, device, s->pasid, &o.value); break;
    case ENABLE: o.status = ref_iopf_enable(&ref, device, s->flags); break;
    case DISABLE: o.status = ref_iopf_disable(&ref, device); break;
    case MEMORY:
        o.status = ref_memory(
            &ref,
            &(struct hc_memory_on_demand){ .flags = s->flags, .gpa = s->iova, .bytes = s->bytes },
            &o.value);
        break;
    case INVALIDATE: {
        const bool domain = s->domain == 3;
        bool any = domain || (!s->pasid && ref_has_root(&ref, device, 0));
        for (unsigned d = 0; d < ref.ndevices; d++)
            any = any || (s->pasid && ref_has_root(&ref, d, s->pasid));
        o.status = any ? HV_OK : HV_ENOENT;
        break;
    }
    case RANGES:
        o.status = ref.ioas[s->ioas].there ? HV_OK : HV_ENOENT;
        if (o.status == HV_OK)
            o.value = ref_allowed(&ref, s->ioas, list) | PAGE_SIZE << 32;
        break;
    default: break;
    }
    return o;
}

static bool wrong(const char *what, uint64_t is, uint64_t expected)
{
    snprintf(why, WHY, "%s: %#llx, expected %#llx", what, (unsigned long long)is,
             (unsigned long long)expected);
    return false;
}

static uint64_t host(uint64_t gpa)
{
    return virt_to_phys(vm_ram(rig.vm, GPADDR(gpa & ~PAGE_MASK), PAGE_SIZE)).v | (gpa & PAGE_MASK);
}

/* Does the unit say of one DMA what the reference says? */
static bool look(unsigned device, unsigned pasid, uint64_t address, bool write, bool ats)
{
    uint64_t gpa, hpa = 0;
    enum ref_reach reach = ref_translate(&ref, device, pasid, address, write, &gpa);

    if (address >= 0xfee00000 && address <= 0xfeefffff)
        return true; /* interrupts */
    bool is = rig_translate(device, pasids[pasid], address, write, ats, &hpa);
    bool expected = reach == REF_YES || (reach == REF_MAYBE && is);
    /* A shadow may hold less. */
    bool less = ref.device[device].shadow && ref_has_root(&ref, device, pasid) && !is;
    if ((is != expected && !less) || (is && hpa != host(gpa))) {
        snprintf(why, WHY, "DMA of device %u, PASID slot %u, %s%s at %#llx: %s %#llx, %s %#llx",
                 device, pasid, write ? "write" : "read", ats ? " by ATS" : "",
                 (unsigned long long)address, is ? "reaches" : "refused", (unsigned long long)hpa,
                 expected ? "expected" : "to be refused",
                 expected ? (unsigned long long)host(gpa) : 0);
        return false;
    }
    return true;
}

/* Device TLBs may hold less than is mapped, never more. */
static bool tlbs_are_true(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rig_atc); i++) {
        const struct rig_atc *a = &rig_atc[i];
        unsigned pasid = 0;
        uint64_t gpa;
        if (!a->valid || rig.silent[a->device])
            continue;
        while (pasids[pasid] != a->pasid)
            pasid++;
        for (uint64_t at = 0; at<a->size; at += a->size / 4> PAGE_SIZE ? a->size / 4 : PAGE_SIZE) {
            for (unsigned write = 0; write < 2; write++) {
                if (!(write ? a->w : a->r))
                    continue;
                if (ref_translate(&ref, a->device, pasid, a->address + at, write, &gpa) == REF_NO ||
                    host(gpa) != a->hpa + at)
                    return wrong("stale entry of a device TLB", a->address + at, a->device);
            }
        }
    }
    return true;
}

static bool look_around(const struct step *s)
{
    uint64_t saved = dice;
    bool good = true;

    dice = s->looks;
    for (unsigned i = 0; i < 4 && good; i++) {
        unsigned device = below(ref.ndevices), pasid = below(REF_PASIDS);
        for (unsigned n = 0; n < 8 && !ref.target[device][pasid].domain; n++) {
            device = below(ref.ndevices);
            pasid = below(REF_PASIDS);
        }
        const struct ref_target *t = &ref.target[device][pasid];
        const struct ref_ioas *o = &ref.ioas[t->ioas];
        uint64_t address = some_iova();
        if (i == 0) /* where the step was, and next to it */
            address = s->iova + below(3) * s->bytes / 2 - below(2) * PAGE_SIZE;
        else if (i < 3 && t->domain == HC_DOMAIN_PAGING && o->nmappings) {
            const struct ref_mapping *m = &o->mapping[below(o->nmappings)];
            address = (below(2) ? m->first : m->last) & ~PAGE_MASK;
        }
        if (i < 3 && t->domain == HC_DOMAIN_NESTED)
            address = some_va();
        address = (address & ~7ull) & ((1ull << 57) - 1);
        good = look(device, pasid, address, below(2), below(2));
    }
    dice = saved;
    return good && tlbs_are_true();
}

static bool check_list(unsigned ioas)
{
    struct ref_range list[128];
    unsigned n = ref_allowed(&ref, ioas, list);
    const struct hc_iova_range *is = vm_ram(rig.vm, GPADDR(RIG_SCRATCH + 0x1000), 16 * n);

    for (unsigned i = 0; i < n; i++) {
        if (is[i].first != list[i].first || is[i].last != list[i].last)
            return wrong("allowed range", is[i].first, list[i].first);
    }
    return true;
}

/* Keep lists short: sequences are about rules, not sizes. */
static bool too_much(const struct step *s)
{
    const struct ref_ioas *o = &ref.ioas[s->ioas];

    return (s->kind == MAP || s->kind == COPY) && (o->nmappings > 60 || o->nreserved > 30);
}

/* Did the devices get the answers that they were to get, and no others? */
static bool check_answers(void)
{
    for (unsigned i = 0; i < rig.nresponses; i++) {
        const struct rig_response *is = &rig.response[i];
        unsigned n = 0;
        if (ref.failed[is->device])
            continue; /* before it was found out, or not at all */
        while (n < ref.ndue && (ref.due[n].device != is->device || ref.due[n].number != is->number))
            n++;
        if (n == ref.ndue)
            return wrong("an answer that nobody should give, to group", is->number, 0);
        if (is->pasid != pasids[ref.due[n].slot])
            return wrong("PASID of an answer", is->pasid, pasids[ref.due[n].slot]);
        if (is->code != ref.due[n].code)
            return wrong("answer", is->code, ref.due[n].code);
        ref.due[n] = ref.due[--ref.ndue];
    }
    rig.nresponses = 0;
    for (unsigned i = 0; i < ref.ndue; i++) {
        if (!ref.failed[ref.due[i].device])
            return wrong("no answer to group", 0, ref.due[i].number);
    }
    ref.ndue = 0;
    return true;
}

/* Devices that fell silent and were found: the guest sees it in HC_DEVICE_INFO. @return whether
 * there is one more. */
static bool find_failed(void)
{
    struct hc_device_info *info = vm_ram(rig.vm, GPADDR(RIG_SCRATCH + 0x800), sizeof(*info));
    bool more = false;
    uint64_t size;

    for (unsigned d = 0; d < ref.ndevices; d++) {
        if (!rig.silent[d] || ref.failed[d])
            continue;
        iommu->poll();
        assert_int_equal(hypercall(rig.vm->vcpu[0],
                                   &(struct hypercall_regs){
                                       HC_DEVICE_INFO, { d, RIG_SCRATCH + 0x800, sizeof(*info) } },
                                   &size),
                         HV_OK);
        if (info->state == HC_DEVICE_OK)
            continue;
        ref_fail(&ref, d);
        more = true;
    }
    return more;
}

/* --- What is not one call --------------------------------------------------------------------- */

static bool tell(const struct step *s, unsigned slot, unsigned device)
{
    struct hc_invalidate in = invalidation(s, slot, device);
    enum hv_status status = rig_struct(HC_INVALIDATE, &in, sizeof(in), s->by_ring, NULL);

    bool failed = find_failed();
    if (status == HV_OK || (failed && (status == HV_EIO || status == HV_ETIMEDOUT)))
        return true;
    return wrong("status of an invalidation", (uint64_t)status, HV_OK);
}

/* Wherever a root is attached: by PASID, and for each RID that has it. @how: what to do there. */
static bool wherever(const struct step *s, bool (*how)(const struct step *, unsigned, unsigned))
{
    for (unsigned slot = 0; slot < REF_PASIDS; slot++) {
        for (unsigned d = 0; d < ref.ndevices; d++) {
            if (!ref_has_root(&ref, d, slot) || ref.target[d][slot].root != s->root)
                continue;
            if (!how(s, slot, d))
                return false;
            if (slot)
                break; /* whichever devices carry it */
        }
    }
    return true;
}

/* What was absent is present: a unit that does not nest has it when it was told. */
static bool tell_mapped(const struct step *s, unsigned slot, unsigned device)
{
    struct hc_invalidate in = {
        .kind = HC_INVALIDATE_MAPPED,
        .pasid = pasids[slot],
        .device = slot ? 0 : device,
        .address = s->iova & ~PAGE_MASK,
        .bytes = PAGE_SIZE,
    };
    enum hv_status status = rig_struct(HC_INVALIDATE, &in, sizeof(in), s->by_ring, NULL);
    uint64_t gpa, hpa;
    bool failed = find_failed();

    if (failed && (status == HV_EIO || status == HV_ETIMEDOUT))
        return true;
    if (status != HV_OK)
        return wrong("status of MAPPED", (uint64_t)status, HV_OK);
    for (unsigned d = 0; d < ref.ndevices; d++) {
        if ((!slot && d != device) || !ref_has_root(&ref, d, slot))
            continue;
        bool expected = ref_translate(&ref, d, slot, s->iova, false, &gpa) == REF_YES;
        if (rig_translate(d, pasids[slot], s->iova & ~PAGE_MASK, false, false, &hpa) != expected)
            return wrong("not to be reached after MAPPED", s->iova, d);
    }
    return true;
}

static bool set_page(const struct step *s)
{
    uint64_t va = s->iova & ~PAGE_MASK;
    struct ref_root *root = &ref.root[s->root];
    struct ref_page *p = ref_page(&ref, s->root, va);
    struct ref_page is = { va, s->second, s->flags == 2, s->flags != 3, s->levels };
    bool there = p;

    if (there)
        *p = root->page[--root->n];
    if (s->flags)
        root->page[root->n++] = is;
    rig_first_stage(s->root, va,
                    s->flags ? is.gpa | 1 | (uint64_t)is.write << 1 | (uint64_t)is.user << 2 |
                                   0x20 | (uint64_t)is.dirty << 6
                             : 0);
    if (there && s->domain == 3) {
        for (unsigned d = 0; d < ref.ndevices; d += 2) {
            if (!tell(s, 0, d))
                return false;
        }
    } else if (there && !wherever(s, tell)) {
        return false;
    }
    return !s->by_ring || !s->flags || wherever(s, tell_mapped);
}

/* What is asked for: pages of first stages, of RAM, of what is mapped. */
static uint64_t asked_for(const struct step *s, unsigned device, unsigned slot)
{
    const struct ref_target *t = &ref.target[device][slot];
    const struct ref_ioas *o = &ref.ioas[t->ioas];

    if (t->domain == HC_DOMAIN_IDENTITY)
        return RAM_FROM + s->looks % (RIG_RAM_LOW - RAM_FROM) / PAGE_SIZE * PAGE_SIZE;
    if (t->domain != HC_DOMAIN_PAGING || !o->nmappings)
        return s->iova & ~PAGE_MASK;
    const struct ref_mapping *m = &o->mapping[s->looks % o->nmappings];
    return m->first + s->looks / 64 % ((m->last - m->first) / PAGE_SIZE + 1) * PAGE_SIZE;
}

/* Mostly one that has a domain. */
static unsigned some_slot(const struct step *s, unsigned device)
{
    unsigned slot = s->pasid;

    for (unsigned n = 0; n < REF_PASIDS && s->looks % 8 && !ref.target[device][slot].domain; n++)
        slot = (slot + 1) % REF_PASIDS;
    return slot;
}

static bool request(const struct step *s)
{
    unsigned d = s->other % ref.ndevices, slot = some_slot(s, d);
    uint64_t va = asked_for(s, d, slot), gpa, hpa;
    struct hc_event e;

    /* A device that asks has been told that it may. */
    if (!ref.iopf[d] || ref.failed[d] || rig.silent[d] || ref.nopen == REF_OPEN)
        return true;
    unsigned number = ++group_number & 0x1ff;
    enum ref_request by = ref_page_request(&ref, d, slot, va, s->flags);
    rig_request(d, pasids[slot], va, s->flags, (uint16_t)number);
    bool told = rig_event(&e);
    ref.open[ref.nopen++] = (struct ref_group){ d, slot, number, e.cookie, va, s->flags };
    (void)find_failed(); /* others, whose TLB was told */
    seen[REQUEST][1 + by]++;
    if (told != (by == REF_GUEST))
        return wrong("a page request was told to the guest", told, by);
    if (by == REF_SUCCESS && va - 0xfee00000 >= 0x100000 &&
        (ref_translate(&ref, d, slot, va, s->flags, &gpa) == REF_NO ||
         !rig_translate(d, pasids[slot], va, s->flags, false, &hpa) || hpa != host(gpa)))
        return wrong("not to be reached after SUCCESS", va, d);
    if (by != REF_GUEST) {
        ref_answered(&ref, ref.nopen - 1,
                     by == REF_SUCCESS ? HC_RESPONSE_SUCCESS : HC_RESPONSE_INVALID);
        return true;
    }
    if (e.type != HC_EVENT_PAGE_REQUEST || e.device != d || e.pasid != pasids[slot] ||
        e.address != va || e.category != HC_IOPF_BIND || !(e.flags & HC_PRQ_LAST) ||
        !(e.flags & HC_PRQ_WRITE) != !s->flags || rig_event(&e))
        return wrong("event", e.address, va);
    return true;
}

/* The guest answers one of the groups that it has, or one that it had. */
static bool answer(const struct step *s)
{
    static uint64_t last;
    struct hc_page_response in = { .code = s->flags, .cookie = last };
    enum hv_status expected = last ? HV_EALREADY : HV_ENOENT;

    if (ref.nopen && s->domain) {
        unsigned i = s->pasid % ref.nopen;
        in.cookie = last = ref.open[i].cookie;
        ref_guest_answered(&ref, i, (uint8_t)s->flags);
        expected = HV_OK;
    }
    enum hv_status status = rig_struct(HC_PAGE_RESPONSE, &in, sizeof(in), s->by_ring, NULL);
    return status == expected || wrong("status of an answer", (uint64_t)status, (uint64_t)expected);
}

static bool silence(const struct step *s)
{
    unsigned d = s->other % ref.ndevices;

    if (silences && s->flags == 0)
        rig.silent[d] = true;
    return true;
}

/* Also of one that fell silent, which is then not the last to hear. */
static bool reset(const struct step *s)
{
    unsigned d = s->other % ref.ndevices, kept = 0;
    bool lost = rig.silent[d] || ref.failed[d];

    if (s->flags) /* not too often: all that was bound is gone */
        return true;
    enum hv_status status = rig_call(HC_DEVICE_RESET, d, NULL), expected = ref_reset(&ref, d);
    seen[RESET][-(int)status % 24]++;
    if (status != expected)
        return wrong("status of a reset", (uint64_t)status, (uint64_t)expected);
    for (unsigned i = 0; lost && i < ref.ndue;
         i++) { /* whether it was answered is nobody's matter */
        if (ref.due[i].device != d)
            ref.due[kept++] = ref.due[i];
    }
    ref.ndue = lost ? kept : ref.ndue;
    kept = 0;
    for (unsigned i = 0; lost && i < rig.nresponses; i++) {
        if (rig.response[i].device != d)
            rig.response[kept++] = rig.response[i];
    }
    rig.nresponses = lost ? kept : rig.nresponses;
    return true;
}

static bool (*const others[KINDS])(const struct step *) = {
    [PAGE] = set_page, [REQUEST] = request, [ANSWER] = answer, [SILENCE] = silence, [RESET] = reset,
};

/* --- One call --------------------------------------------------------------------------------- */

/* A new bond has a handle of its own; @expected: PASID 63:32. */
static void note_bond(const struct step *s, uint64_t is, uint64_t *expected)
{
    unsigned slot = 1;

    while (slot < REF_PASIDS - 1 && pasids[slot] != *expected >> 32)
        slot++;
    struct ref_target *t = &ref.target[s->other % ref.ndevices][slot];
    if (t->refs == 1)
        t->bond = (uint32_t)is;
    *expected = *expected >> 32 << 32 | t->bond;
}

static bool bonds_differ(void)
{
    for (unsigned a = 0; a < ref.ndevices * REF_PASIDS; a++) {
        for (unsigned b = 0; b < a; b++) {
            const struct ref_target *x = &ref.target[a / REF_PASIDS][a % REF_PASIDS],
                                    *y = &ref.target[b / REF_PASIDS][b % REF_PASIDS];
            if (x->refs && y->refs && x->bond == y->bond)
                return wrong("two bonds have the handle", x->bond, 0);
        }
    }
    return true;
}

static bool check_value(const struct step *s, struct outcome is, struct outcome expected)
{
    if (s->kind == CREATE) {
        handle[s->ioas] = is.status == HV_OK ? is.value : ~0ull;
        return true;
    }
    if (s->kind == ENABLE && is.status == HV_OK)
        return (is.value >= 1 && is.value <= 16) || wrong("page requests", is.value, 16);
    if (s->kind == ATTACH) /* how: test_replace.c */
        return is.value <= (is.status == HV_OK ? 2 : 0) || wrong("value", is.value, 2);
    if (s->kind == BIND && is.status == HV_OK)
        note_bond(s, is.value, &expected.value);
    if (is.value != expected.value)
        return wrong("value", is.value, expected.value);
    return s->kind != RANGES || is.status != HV_OK || check_list(s->ioas);
}

static bool out_of_pages(const struct step *s, struct outcome is, uint64_t used)
{
    /* Nothing has changed; of a copy to a fixed place, all behind the bytes done. Shadows may have
     * been given up for it. */
    if (s->kind == COPY && (s->flags & HC_IOAS_FIXED) && is.value)
        (void)do_ref(s, is.value);
    else if (s->kind != UNMAP && s->kind != MEMORY &&
             rig.vm->quota.used > used + (s->kind == BIND)) /* PASID table */
        return wrong("pages used after an error", rig.vm->quota.used, used);
    return true;
}

static bool call(const struct step *s)
{
    uint64_t used = rig.vm->quota.used;
    struct outcome expected, is;

    if (s->quota && s->fail >= 0)
        rig.vm->quota.limit = used + (uint64_t)s->fail;
    else
        pages_fail_after(s->fail);
    is = do_call(s);
    pages_fail_after(-1);
    if (rig.vm->quota.used > rig.vm->quota.limit)
        return wrong("pages above the quota", rig.vm->quota.used, rig.vm->quota.limit);
    rig.vm->quota.limit = 100000;
    seen[s->kind][-(int)is.status % 24]++;
    if (s->fail >= 0 && is.status == (s->quota ? HV_EQUOTA : HV_ENOMEM))
        return out_of_pages(s, is, used);
    bool failed = find_failed();
    if (failed && (is.status == HV_EIO || is.status == HV_ETIMEDOUT)) {
        /* Something was not confirmed. The IOAS has changed; nothing else has. */
        if (s->kind == MAP || s->kind == UNMAP || s->kind == COPY || s->kind == MEMORY)
            (void)do_ref(s, UINT64_MAX);
        return true;
    }
    expected = do_ref(s, UINT64_MAX);
    if (is.status != expected.status)
        return wrong("status", (uint64_t)is.status, (uint64_t)expected.status);
    if (s->kind == ATTACH && is.status != HV_OK && rig.vm->quota.used > used)
        return wrong("pages used after a refused attach", rig.vm->quota.used, used);
    return check_value(s, is, expected);
}

/* Sluice is left PASIDs to choose, below those that have a slot but no neighbour. */
static bool no_pasid_left(const struct step *s)
{
    if (s->kind == ATTACH || (s->kind == BIND && s->pasid != REF_ANY))
        return s->pasid > 2 && s->pasid <= CHOSEN && s->domain && !ref_carried(&ref, s->pasid);
    for (unsigned slot = 1; slot <= CHOSEN; slot++) {
        if (!ref_carried(&ref, slot))
            return false;
    }
    return s->kind == BIND;
}

static bool run_step(const struct step *s)
{
    if ((s->kind == CREATE && ref.ioas[s->ioas].there) || too_much(s) || no_pasid_left(s))
        return true;
    if (others[s->kind])
        seen[s->kind][0]++;
    if (!(others[s->kind] ? others[s->kind](s) : call(s)) || !check_answers() || !bonds_differ())
        return false;
    if (rig.complaints) {
        snprintf(why, WHY, "the unit complains: %s", rig.complaint);
        return false;
    }
    return look_around(s);
}

struct machine {
    unsigned units;
    uint8_t kind[4];
};
static const struct machine machines[] = {
    { 1, { 0 } },
    { 2, { 0, 1 } },
    { 4, { 0, 1, 2, 3 } },
    { 1, { RIG_SECOND_STAGE } },
    { 1, { RIG_FIRST_STAGE } },
    { 1, { RIG_LEGACY } },
    { 2, { 0, RIG_SECOND_STAGE } },
    { 2, { RIG_FIRST_STAGE, RIG_LEGACY } },
    { 4, { 2, RIG_SECOND_STAGE, RIG_FIRST_STAGE, RIG_LEGACY } },
    { 4, { RIG_FIRST_STAGE, 3, RIG_SECOND_STAGE, 0 } },
};

static bool run_all(const struct machine *m, const struct step *step, const bool *skip, unsigned n)
{
    rig_start_of(m->kind, m->units, &ref);
    iopf_set_deadline(0xffffffff);
    for (unsigned i = 0; i < REF_IOASES; i++)
        handle[i] = ~0u; /* none */
    for (unsigned i = 0; i < n; i++) {
        if (!skip[i] && !run_step(&step[i])) {
            print_error("step %u: %s\n", i, why);
            return false;
        }
    }
    ref.ndue = 0;
    if (rig_end() != 0) {
        snprintf(why, WHY, "at the end pages or entries are left");
        print_error("%s\n", why);
        return false;
    }
    return true;
}

/* --- Sequences, each in a child --------------------------------------------------------------- */

static struct step steps[LENGTH];
static bool *skip; /* shared with children */

/* Let @s be about what an earlier step mapped to a fixed place, or a part of it. */
static void relate(struct step *s, unsigned n)
{
    const struct step *m = &steps[n - 1 - below(n < 60 ? n : 60)];

    if (m->kind != MAP || !(m->flags & HC_IOAS_FIXED) || (s->flags & HC_IOAS_ALL))
        return;
    s->iova = m->iova;
    s->bytes = m->bytes;
    if (s->kind == COPY)
        s->other = m->ioas;
    else
        s->ioas = m->ioas;
    if (below(3) == 0 && m->bytes > 4 * PAGE_SIZE) {
        s->iova += below(3) * PAGE_SIZE;
        s->bytes -= (2 + below(2)) * PAGE_SIZE;
    }
}

static void make_sequence(uint64_t seed)
{
    silences = seed % 4 == 0;
    dice = seed * 0x9e3779b97f4a7c15ull + 1;
    for (unsigned i = 0; i < LENGTH; i++) {
        do
            steps[i] = some_step();
        while (i && steps[i - 1].kind == CREATE && below(3) == 0 && steps[i].kind != REQUIRE);
        if (steps[i].kind == REQUIRE && i)
            steps[i].ioas = steps[i - 1].ioas;
        if (i && (steps[i].kind == UNMAP || steps[i].kind == COPY) && below(3))
            relate(&steps[i], i);
    }
}

static bool survives(const struct machine *m, unsigned n, bool quiet)
{
    (void)fflush(NULL);
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        why[0] = 0;
        if (quiet && (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout)))
            _exit(3);
        _exit(run_all(m, steps, skip, n) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void print_step(unsigned i)
{
    const struct step *s = &steps[i];

    print_message("  %4u %-7s ioas %u, other %u, root %u, flags %#x, iova %#llx, second %#llx, "
                  "bytes %#llx, pasid slot %u, domain %u, levels %u, fail %d%s%s\n",
                  i, kinds[s->kind].name, s->ioas, s->other, s->root, s->flags,
                  (unsigned long long)s->iova, (unsigned long long)s->second,
                  (unsigned long long)s->bytes, s->pasid, s->domain, s->levels, s->fail,
                  s->quota ? " of the quota" : "", s->by_ring ? ", by ring" : "");
    for (unsigned k = 0; k < s->nlist; k++)
        print_message("       [%#llx, %#llx]\n", (unsigned long long)s->list[k].first,
                      (unsigned long long)s->list[k].last);
}

/* Leave out ever smaller parts as long as it still fails, and in the same way. */
static void shrink(const struct machine *m)
{
    char first[13];

    snprintf(first, sizeof(first), "%s", why);
    for (unsigned part = LENGTH / 2; part; part /= 2) {
        for (unsigned from = 0; from < LENGTH; from += part) {
            bool was[LENGTH];
            memcpy(was, skip, sizeof(was));
            for (unsigned i = from; i < from + part && i < LENGTH; i++)
                skip[i] = true;
            if (!memcmp(was, skip, sizeof(was)) || survives(m, LENGTH, true) ||
                strncmp(why, first, sizeof(first) - 1) != 0)
                memcpy(skip, was, sizeof(was));
        }
    }
    print_message("what it takes:\n");
    for (unsigned i = 0; i < LENGTH; i++) {
        if (!skip[i])
            print_step(i);
    }
    (void)survives(m, LENGTH, false);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void calls_do_what_the_reference_says(void **state)
{
    uint64_t seed = number("SEED", (uint64_t)time(NULL)), sum = number("STEPS", 1000000);

    (void)state;
    seen = mmap(NULL, KINDS * sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                0);
    why = mmap(NULL, WHY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    skip = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t done = 0; done < sum; done += LENGTH, seed++) {
        const struct machine *m = &machines[seed % ARRAY_SIZE(machines)];
        make_sequence(seed);
        memset(skip, 0, LENGTH);
        if (survives(m, LENGTH, false))
            continue;
        print_message("failed with SEED=%llu, %u units, kinds %u %u %u %u\n",
                      (unsigned long long)seed, m->units, m->kind[0], m->kind[1], m->kind[2],
                      m->kind[3]);
        if (!getenv("NOSHRINK"))
            shrink(m);
        fail();
    }
    for (unsigned k = 0; k < KINDS; k++) {
        print_message("%-10s", kinds[k].name);
        for (unsigned status = 0; status < 24; status++) {
            if (seen[k][status])
                print_message(" %u: %llu", status, (unsigned long long)seen[k][status]);
        }
        print_message("\n");
        if (sum >= 100000)
            assert_true(seen[k][k == REQUEST ? 1 + REF_SUCCESS : 0] > sum / 8000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(calls_do_what_the_reference_says) };

    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
