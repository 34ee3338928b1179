/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/ioas_rig.c tests/unit/ioas_ref.c tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Random calls on IOASes and attachments, each checked against the reference: status, value, and
 * where DMAs go. One, two and four units that differ; the VT-d driver and the unit model do the
 * work. Every sequence runs in a child of its own; one that fails is cut down to the calls that it
 * needs.
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
#include "tests/unit/ioas_rig.h"

#define LENGTH 2000u /* steps of a sequence */

enum kind { CREATE, DESTROY, MAP, UNMAP, COPY, REQUIRE, ATTACH, RANGES, KINDS };
static const char *const kind_names[] = { "create", "destroy", "map",    "unmap",
                                          "copy",   "require", "attach", "ranges" };

/* One call, with all that it needs: what it means does not depend on those before. */
struct step {
    enum kind kind;
    unsigned ioas, other; /* other: of a copy; device of an attach */
    uint32_t flags, pasid, domain, levels;
    uint64_t iova, second, bytes;
    int8_t fail; /* -1, or so many pages can still be had */
    bool by_ring;
    uint32_t looks; /* seed of the DMAs that follow */
    struct hc_iova_range list[3];
    unsigned nlist;
};

/* --- Choices -------------------------------------------------------------------------------------
 */

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

static struct step some_step(void)
{
    static const uint8_t weight[KINDS] = { 5, 1, 38, 20, 10, 1, 20, 5 };
    struct step s = { .ioas = below(REF_IOASES), .fail = -1 };
    uint32_t roll = below(100);

    while (roll >= weight[s.kind])
        roll -= weight[s.kind++];
    s.other = s.kind == COPY ? below(REF_IOASES) : below(REF_DEVICES);
    s.iova = some_iova();
    s.bytes = some_bytes();
    s.by_ring = below(4) == 0;
    s.looks = below(1u << 30);
    if (below(16) == 0)
        s.fail = (int8_t)below(6);
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
        s.second = s.flags & HC_IOAS_RESERVE ? 0 : some_gpa(s.bytes);
        if (below(48) == 0)
            s.flags ^= 1u << below(6);
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
    default: break;
    }
    return s;
}

/* --- One step ------------------------------------------------------------------------------------
 */

static struct ref ref;
static uint64_t handle[REF_IOASES];
static uint64_t baseline; /* pages of the quota with no IOAS */
static char why[400];

static const uint32_t pasids[REF_PASIDS] = { HC_PASID_NONE, 1, 77, 0xfffff };

/* How often a call answered what: a sequence that is always refused would prove nothing. */
static uint64_t (*seen)[24]; /* by kind and -status; shared with children */

struct outcome {
    enum hv_status status;
    uint64_t value;
};

static struct outcome do_call(const struct step *s)
{
    struct outcome o = { 0 };
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
                            .root = s->domain == HC_DOMAIN_NESTED   ? RIG_ROOT
                                    : s->domain == HC_DOMAIN_PAGING ? handle[s->ioas]
                                                                    : 0,
                        });
        break;
    case RANGES:
        CALL(HC_IOAS_RANGES,
             (struct hc_ioas_ranges){ .ioas = ioas, .count = 96, .ranges = RIG_SCRATCH + 0x1000 });
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
        o.status = ref_attach(&ref, s->other % ref.ndevices, s->pasid,
                              (struct ref_target){ (enum hc_domain)s->domain, s->ioas, RIG_ROOT });
        break;
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
    snprintf(why, sizeof(why), "%s: %#llx, expected %#llx", what, (unsigned long long)is,
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
    bool expected = ref_translate(&ref, device, pasid, address, write, &gpa);

    if (address >= 0xfee00000 && address <= 0xfeefffff)
        return true; /* interrupts */
    bool is = rig_translate(device, pasids[pasid], address, write, ats, &hpa);
    if (is != expected || (is && hpa != host(gpa))) {
        snprintf(
            why, sizeof(why), "DMA of device %u, PASID slot %u, %s%s at %#llx: %s %#llx, %s %#llx",
            device, pasid, write ? "write" : "read", ats ? " by ATS" : "",
            (unsigned long long)address, is ? "reaches" : "refused", (unsigned long long)hpa,
            expected ? "expected" : "to be refused", expected ? (unsigned long long)host(gpa) : 0);
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
        if (!a->valid)
            continue;
        while (pasids[pasid] != a->pasid)
            pasid++;
        for (uint64_t at = 0; at<a->size; at += a->size / 4> PAGE_SIZE ? a->size / 4 : PAGE_SIZE) {
            for (unsigned write = 0; write < 2; write++) {
                if (!(write ? a->w : a->r))
                    continue;
                if (!ref_translate(&ref, a->device, pasid, a->address + at, write, &gpa) ||
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
        const struct ref_target *t = &ref.target[device][pasid];
        const struct ref_ioas *o = &ref.ioas[t->ioas];
        uint64_t address = some_iova();
        if (i == 0) /* where the step was, and next to it */
            address = s->iova + below(3) * s->bytes / 2 - below(2) * PAGE_SIZE;
        else if (i < 3 && t->domain == HC_DOMAIN_PAGING && o->nmappings) {
            const struct ref_mapping *m = &o->mapping[below(o->nmappings)];
            address = (below(2) ? m->first : m->last) & ~PAGE_MASK;
        }
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

static bool run_step(const struct step *s)
{
    struct outcome expected, is;

    if ((s->kind == CREATE && ref.ioas[s->ioas].there) || too_much(s))
        return true;
    uint64_t used = rig.vm->quota.used;
    pages_fail_after(s->fail);
    is = do_call(s);
    pages_fail_after(-1);
    if (s->fail >= 0 && is.status == HV_ENOMEM) {
        /* Nothing has changed; of a copy to a fixed place, all behind the bytes done. */
        if (s->kind == COPY && (s->flags & HC_IOAS_FIXED) && is.value)
            (void)do_ref(s, is.value);
        else if (s->kind != UNMAP && rig.vm->quota.used != used)
            return wrong("pages used after ENOMEM", rig.vm->quota.used, used);
    } else {
        expected = do_ref(s, UINT64_MAX);
        if (is.status != expected.status)
            return wrong("status", (uint64_t)is.status, (uint64_t)expected.status);
        if (s->kind == CREATE)
            handle[s->ioas] = is.status == HV_OK ? is.value : ~0ull;
        else if (is.value != expected.value)
            return wrong("value", is.value, expected.value);
        if (s->kind == RANGES && is.status == HV_OK && !check_list(s->ioas))
            return false;
        if (s->kind == ATTACH && is.status != HV_OK && rig.vm->quota.used != used)
            return wrong("pages used after a refused attach", rig.vm->quota.used, used);
    }
    seen[s->kind][-(int)is.status % 24]++;
    if (rig.complaints) {
        snprintf(why, sizeof(why), "the unit complains: %s", rig.complaint);
        return false;
    }
    return look_around(s);
}

static bool run_all(unsigned units, const struct step *step, const bool *skip, unsigned n)
{
    rig_start(units, &ref);
    baseline = rig.vm->quota.used;
    for (unsigned i = 0; i < REF_IOASES; i++)
        handle[i] = ~0u; /* none */
    for (unsigned i = 0; i < n; i++) {
        if (!skip[i] && !run_step(&step[i])) {
            print_error("step %u: %s\n", i, why);
            return false;
        }
    }
    if (rig_end() != 0) {
        print_error("at the end: pages or entries are left\n");
        return false;
    }
    return true;
}

/* --- Sequences, each in a child ------------------------------------------------------------------
 */

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

static bool survives(unsigned units, unsigned n, bool quiet)
{
    (void)fflush(NULL);
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        if (quiet && (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout)))
            _exit(3);
        _exit(run_all(units, steps, skip, n) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void print_step(unsigned i)
{
    const struct step *s = &steps[i];

    print_message("  %4u %-7s ioas %u, other %u, flags %#x, iova %#llx, second %#llx, bytes %#llx, "
                  "pasid slot %u, domain %u, levels %u, fail %d%s\n",
                  i, kind_names[s->kind], s->ioas, s->other, s->flags, (unsigned long long)s->iova,
                  (unsigned long long)s->second, (unsigned long long)s->bytes, s->pasid, s->domain,
                  s->levels, s->fail, s->by_ring ? ", by ring" : "");
    for (unsigned k = 0; k < s->nlist; k++)
        print_message("       [%#llx, %#llx]\n", (unsigned long long)s->list[k].first,
                      (unsigned long long)s->list[k].last);
}

/* Leave out ever smaller parts as long as it still fails. */
static void shrink(unsigned units)
{
    for (unsigned part = LENGTH / 2; part; part /= 2) {
        for (unsigned from = 0; from < LENGTH; from += part) {
            bool was[LENGTH];
            memcpy(was, skip, sizeof(was));
            for (unsigned i = from; i < from + part && i < LENGTH; i++)
                skip[i] = true;
            if (!memcmp(was, skip, sizeof(was)) || survives(units, LENGTH, true))
                memcpy(skip, was, sizeof(was));
        }
    }
    print_message("what it takes:\n");
    for (unsigned i = 0; i < LENGTH; i++) {
        if (!skip[i])
            print_step(i);
    }
    (void)survives(units, LENGTH, false);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void calls_do_what_the_reference_says(void **state)
{
    static const unsigned machines[] = { 1, 2, 4 };
    uint64_t seed = number("SEED", (uint64_t)time(NULL)), sum = number("STEPS", 1000000);

    (void)state;
    seen = mmap(NULL, KINDS * sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                0);
    skip = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t done = 0; done < sum; done += LENGTH, seed++) {
        unsigned units = machines[seed % 3];
        make_sequence(seed);
        memset(skip, 0, LENGTH);
        if (survives(units, LENGTH, false))
            continue;
        print_message("failed with SEED=%llu, %u units\n", (unsigned long long)seed, units);
        if (!getenv("NOSHRINK"))
            shrink(units);
        fail();
    }
    for (unsigned k = 0; k < KINDS; k++) {
        print_message("%-8s", kind_names[k]);
        for (unsigned status = 0; status < 24; status++) {
            if (seen[k][status])
                print_message(" %u: %llu", status, (unsigned long long)seen[k][status]);
        }
        print_message("\n");
        if (sum >= 100000)
            assert_true(seen[k][0] > sum / 5000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(calls_do_what_the_reference_says) };

    return cmocka_run_group_tests(tests, platform_setup, NULL);
}
