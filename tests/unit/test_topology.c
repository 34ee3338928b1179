/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * What the machine's wiring asks for, with core, driver and model: memory that firmware uses
 * through a function. On units that nest, and on those that do not.
 */
#include <stdio.h>
#include <string.h>

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/pasid.h"
#include "hv/claims.h"
#include "hv/ioas.h"
#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define BIT(n)    (1ull << (n))
#define RMRR_SIZE 0x5000ull

static struct kind {
    const char *name;
    uint64_t without, with;  /* of ECAP */
    bool limits;             /* firmware has them for BED_A, and calls BED_B's device TLB sound */
    uint64_t others_without; /* the unit of BED_FAR */
} kinds[] = {
    { "nested", 0 },
    { "second stage only", BIT(26) | BIT(47) },
    { "first stage only", BIT(26) | BIT(46) },
    { "legacy", BIT(26) | BIT(40) | BIT(43) | BIT(46) | BIT(47) | BIT(29) | BIT(49) | BIT(53) },
    { "that does not snoop", BIT(0) | BIT(48) | BIT(34) | BIT(45) },
};
static struct kind typed = { "with memory types", 0, BIT(25) };
static struct kind untyped = { "without memory types", BIT(25) };
static struct kind limited = { "with limits", .with = BIT(7) | BIT(48), .limits = true };
static struct kind old_snooping = { "legacy, snooping",
                                    BIT(26) | BIT(40) | BIT(43) | BIT(46) | BIT(47) | BIT(29) |
                                        BIT(49) | BIT(53),
                                    BIT(7) };
static struct kind beside[] = {
    { "nested", .others_without = 0 },
    { "second stage only", .others_without = BIT(26) | BIT(47) },
    { "first stage only", .others_without = BIT(26) | BIT(46) },
    { "legacy", .others_without =
                    BIT(26) | BIT(40) | BIT(43) | BIT(46) | BIT(47) | BIT(29) | BIT(49) | BIT(53) },
    { "not snooping", .others_without = BIT(26) | BIT(47) | BIT(0) | BIT(48) | BIT(34) | BIT(45) },
};
static struct kind old_limited = { "legacy, snooping forbidden",
                                   BIT(26) | BIT(40) | BIT(43) | BIT(46) | BIT(47) | BIT(29) |
                                       BIT(49) | BIT(53),
                                   BIT(7), true };
static struct kind old_plain = { "legacy, not snooping", BIT(7) | BIT(26) | BIT(40) | BIT(43) |
                                                             BIT(46) | BIT(47) | BIT(29) | BIT(49) |
                                                             BIT(53) };

static struct vm *vm, *other;
static uint64_t rmrr; /* physical; the function is BED_A */

static void npt_make(struct vm *v)
{
    assert_int_equal(pt_create(&v->npt, &pt_format_npt, &v->quota, 4, 3, false), HV_OK);
    for (unsigned i = 0; i < v->nram; i++)
        assert_int_equal(pt_map(&v->npt, PTADDR(v->ram[i].gpa.v), v->ram[i].hpa, v->ram[i].size,
                                PT_R | PT_W | PT_X),
                         HV_OK);
}

static void seal(uint8_t *table, size_t length)
{
    uint8_t sum = 0;

    platform_put(table, 4, 4, length);
    table[9] = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + table[i]);
    table[9] = (uint8_t)-sum;
}

/* A SIDP with BED_A and BED_B. */
static size_t add_limits(uint8_t *table, size_t at)
{
    static const uint8_t scopes[] = { 1, 8, 7, 0, 0, BED_A >> 8, BED_A >> 3 & 31, BED_A & 7,
                                      1, 8, 8, 0, 0, BED_B >> 8, BED_B >> 3 & 31, BED_B & 7 };

    platform_put(table, (unsigned)at, 4, 6 | 24 << 16);
    memcpy(table + at + 8, scopes, sizeof(scopes));
    seal(table, at + 24);
    return at + 24;
}

/* One more RMRR behind what bed_dmar() made: its function is @rid. */
static size_t add_rmrr(uint8_t *table, size_t at, rid_t rid, uint64_t first, uint64_t last)
{
    platform_put(table, (unsigned)at, 4, 1 | 32 << 16);
    platform_put(table, (unsigned)at + 8, 8, first);
    platform_put(table, (unsigned)at + 16, 8, last);
    platform_put(table, (unsigned)at + 24, 2, 1 | 8 << 8);
    table[at + 29] = rid >> 8;
    table[at + 30] = rid >> 3 & 31;
    table[at + 31] = rid & 7;
    seal(table, at + 32);
    return at + 32;
}

/* 00:1c.0, PCIe to PCI, and behind it 04:01.0 and 04:02.0; 00:1e.0, no PCIe bridge, and behind it
 * 05:00.0. Ids that requests of theirs carry: */
enum { ONE = 0x0408, TWO = 0x0410, OF_BRIDGE = 0x0400, THREE = 0x0500, OF_OLD_BRIDGE = 0x00f0 };

static struct platform_pci bridges[2], conventional[3];

static void conventional_make(void)
{
    static const rid_t rids[] = { ONE, TWO, THREE };

    for (unsigned i = 0; i < 2; i++) {
        struct platform_pci *f = &bridges[i];
        platform_pci_endpoint(f, i ? OF_OLD_BRIDGE : 0x00e0, 0x1234, 0x1111, 0, 0);
        f->config[0x0e] = 1;
        f->config[0x19] = f->config[0x1a] = (uint8_t)(4 + i);
        platform_add_pci(f);
    }
    platform_put(bridges[0].config, 0x06, 2, 0x10);
    platform_put(bridges[0].config, 0x34, 1, 0x40);
    platform_put(bridges[0].config, 0x40, 4, 0x00720010);
    for (unsigned i = 0; i < 3; i++) {
        platform_pci_endpoint(&conventional[i], rids[i], 0x1234, 0x2222, 0, 0);
        /* Where extended capabilities would be, such a bridge may show anything. */
        platform_put(conventional[i].config, 0x100, 4, 0x1201000f);
        platform_put(conventional[i].config, 0x104, 2, 0x60);
        platform_put(conventional[i].config, 0x120, 4, 0x0001001b);
        platform_put(conventional[i].config, 0x124, 2, 0x1400);
        platform_add_pci(&conventional[i]);
    }
}

static int fresh(void **state)
{
    static unsigned run;
    const struct kind *kind = *state;
    struct vtd_model_config config = bed_config();
    uint8_t table[4096];
    int result = bed_fresh(state);

    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    config.ecap = (config.ecap & ~kind->without) | kind->with;
    bed.noncoherent = !(config.ecap & BIT(0));
    bed.others_without = kind->others_without;
    bed_make(&config, 2);
    conventional_make();
    rmrr = platform_ram(8 << 20).v + 0x3000 + 0x20000ull * run++; /* claims are for ever */
    memset(platform_memory(rmrr, RMRR_SIZE), 0x77, RMRR_SIZE);
    size_t length = bed_dmar(table);
    length = add_rmrr(table, length, BED_A, rmrr, rmrr + RMRR_SIZE - 1);
    length = add_rmrr(table, length, BED_B, rmrr, rmrr + RMRR_SIZE - 1);
    if (kind->limits)
        length = add_limits(table, length);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    other = abi_make_vm(1, "other", platform_ram(2 << 20), 2 << 20);
    npt_make(vm);
    npt_make(other);
    return result;
}

static int check(void **state)
{
    pt_destroy(&vm->npt);
    pt_destroy(&other->npt);
    abi_free_vm(vm);
    abi_free_vm(other);
    return bed_check(state);
}

static void refused(struct vm *v, rid_t rid, uint16_t flags, enum hv_status status,
                    const char *logged)
{
    platform_clear_log();
    assert_int_equal(device_add(v, &(struct boot_pci){ rid, 77, flags }), status);
    assert_true(platform_logged(logged) && platform_logged("line 77"));
    assert_int_equal(v->ndevices, v == vm ? 0 : 1);
    assert_int_equal(v->ndirect, v == vm ? 0 : v->ndirect);
    /* But for the second stage of the unit, and tables for its bus, which stay. */
    assert_int_equal(device_add(v, &(struct boot_pci){ rid, 77, flags }), status);
    uint64_t used = v->quota.used, all = pages_used();
    assert_int_equal(device_add(v, &(struct boot_pci){ rid, 77, flags }), status);
    assert_int_equal(v->quota.used, used);
    assert_int_equal(pages_used(), all);
}

static bool reaches(rid_t rid, uint64_t address)
{
    uint64_t value = 0;

    return bed_read(rid, BED_NO_PASID, address, &value) == 0 && value == 0x7777777777777777;
}

/* "Device is ineligible for IOMMU domain attach due to platform RMRR requirement": users of other
 * systems patch that check out, and give the whole machine's memory away or crash it. Here they are
 * told what to write, and what it means. */
static void a_function_that_firmware_uses_is_refused_with_the_way_out(void **state)
{
    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    refused(vm, BED_A, 0, HV_EBUSY, "unless the line says rmrr=map");
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, BOOT_PCI_MAP_FIRMWARE }), HV_OK);
    assert_true(platform_logged("can be reached by its devices (rmrr=map)"));
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_true(reaches(BED_A, rmrr));
    assert_true(reaches(BED_A, rmrr + RMRR_SIZE - 8));
}

static struct hc_device_info info_of(uint32_t device)
{
    struct hc_device_info info;

    assert_int_equal(call(vm, HC_DEVICE_INFO, device, SCRATCH, sizeof(info), NULL), HV_OK);
    memcpy(&info, ram(vm, SCRATCH), sizeof(info));
    return info;
}

static uint32_t ioas_make(void)
{
    struct hc_ioas_create in = { 0 };
    uint64_t handle;

    assert_int_equal(call_struct(vm, HC_IOAS_CREATE, &in, sizeof(in), &handle), HV_OK);
    return (uint32_t)handle;
}

static enum hv_status map(uint32_t ioas, uint64_t iova)
{
    struct hc_ioas_map in = { .flags = HC_IOAS_READ | HC_IOAS_FIXED,
                              .ioas = ioas,
                              .iova = iova,
                              .gpa = 0x4000,
                              .bytes = PAGE_SIZE };

    return call_with(vm, HC_IOAS_MAP, in);
}

/* In IDENTITY and in every IOAS, for the VM's devices and no others, and not in BLOCKED. */
static void firmwares_memory_is_there_under_every_translation_but_blocked(void **state)
{
    struct hc_iova_range range[8];

    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    /* The second stage is older than the function that brings the memory. */
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 2, BOOT_PCI_MAP_FIRMWARE }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_B, 3, BOOT_PCI_MAP_FIRMWARE }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_FAR, 4, 0 }), HV_OK); /* a new unit */
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_PLAIN, 5, 0 }), HV_OK);
    assert_int_equal(vm->ndirect, 1); /* the two have one in common */
    assert_false(reaches(BED_A, rmrr));
    assert_int_equal(info_of(0).flags & HC_DEVICE_FIRMWARE, 0);
    assert_int_equal(info_of(1).flags & HC_DEVICE_FIRMWARE, HC_DEVICE_FIRMWARE);
    for (uint32_t d = 0; d < 4; d++)
        assert_int_equal(attach(vm, d, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(attach(other, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    for (uint64_t at = 0; at < RMRR_SIZE; at += PAGE_SIZE)
        assert_true(reaches(BED_A, rmrr + at) && reaches(BED_B, rmrr + at) &&
                    reaches(BED_FAR, rmrr + at));
    assert_false(reaches(BED_A, rmrr - 8));
    assert_false(reaches(BED_A, rmrr + RMRR_SIZE));
    assert_false(reaches(BED_PLAIN, rmrr));

    /* An IOAS keeps the range free, before anything is attached and after. */
    uint32_t ioas = ioas_make();
    for (unsigned round = 0; round < 2; round++) {
        struct hc_ioas_ranges in = { .ioas = ioas, .count = 8, .ranges = 0x20000 };
        uint64_t n;
        assert_int_equal(call_struct(vm, HC_IOAS_RANGES, &in, sizeof(in), &n), HV_OK);
        memcpy(range, ram(vm, 0x20000), sizeof(range));
        unsigned count = (unsigned)n, hole = 0;
        while (hole + 1 < count && range[hole].last != rmrr - 1)
            hole++;
        assert_true(hole + 1 < count && range[hole + 1].first == rmrr + RMRR_SIZE);
        assert_int_equal(map(ioas, rmrr), HV_ERANGE);
        assert_int_equal(map(ioas, rmrr + RMRR_SIZE - PAGE_SIZE), HV_ERANGE);
        assert_int_equal(map(ioas, rmrr + RMRR_SIZE + round * PAGE_SIZE), HV_OK);
        assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
        assert_true(reaches(BED_A, rmrr + 0x1000));
        uint64_t value;
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, rmrr + RMRR_SIZE, &value), 0);
        assert_int_equal(value, 0x4001);
    }
    /* What goes on both sides of it, at once, leaves it. */
    assert_int_equal(map(ioas, rmrr - PAGE_SIZE), HV_OK);
    assert_int_equal(
        call_with(vm, HC_IOAS_UNMAP, (struct hc_ioas_unmap){ .flags = HC_IOAS_ALL, .ioas = ioas }),
        HV_OK);
    assert_false(reaches(BED_A, rmrr - PAGE_SIZE) || reaches(BED_A, rmrr + RMRR_SIZE));
    assert_true(reaches(BED_A, rmrr) && reaches(BED_A, rmrr + RMRR_SIZE - PAGE_SIZE));
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_false(reaches(BED_A, rmrr));
    assert_true(reaches(BED_B, rmrr));
    bed_interrupts();
}

static void what_cannot_be_mapped_is_refused_by_name(void **state)
{
    (void)state;
    refused(vm, BED_A, BOOT_PCI_MAP_FIRMWARE, HV_EINVAL, "does not call that memory reserved");
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x4000); /* one page of it */
    refused(vm, BED_A, BOOT_PCI_MAP_FIRMWARE, HV_EINVAL, "does not call that memory reserved");
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    /* In pieces that overlap: what else lies there is not known to be firmware's. */
    refused(vm, BED_A, BOOT_PCI_MAP_FIRMWARE, HV_EEXIST, "another VM has it");
}

static void firmwares_memory_has_one_owner(void **state)
{
    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    assert_int_equal(device_add(other, &(struct boot_pci){ BED_B, 1, BOOT_PCI_MAP_FIRMWARE }),
                     HV_OK);
    refused(vm, BED_A, BOOT_PCI_MAP_FIRMWARE, HV_EEXIST, "another VM has it");
    device_end(other); /* and gives it back */
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, BOOT_PCI_MAP_FIRMWARE }), HV_OK);
}

static void what_the_guest_has_there_is_in_the_way(void **state)
{
    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    assert_int_equal(
        pt_map(&vm->npt, PTADDR(rmrr + 0x4000), PADDR(bed.ram.v), PAGE_SIZE, PT_R | PT_W), HV_OK);
    refused(vm, BED_A, BOOT_PCI_MAP_FIRMWARE, HV_EEXIST, "give it less memory");
}

/* Every page that can be missing. */
static void without_memory_nothing_is_held(void **state)
{
    enum hv_status status = HV_ENOMEM;

    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    for (int64_t budget = 0; status != HV_OK; budget++) {
        uint64_t used = vm->quota.used;
        pages_fail_after(budget);
        status = device_add(vm, &(struct boot_pci){ BED_A, 2, BOOT_PCI_MAP_FIRMWARE });
        pages_fail_after(-1);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_ENOMEM);
        assert_int_equal(vm->quota.used, used);
        assert_int_equal(vm->ndirect, 0);
        assert_int_equal(vm->ndevices, 1);
    }
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_true(reaches(BED_A, rmrr));
}

/* --- Behind a bridge to conventional PCI ------------------------------------------------------ */

static uint64_t reads(rid_t rid, uint64_t address)
{
    uint64_t value = 0;

    return bed_read(rid, BED_NO_PASID, address, &value) == 0 ? value : 0;
}

/* All ids that requests of the two may carry. */
static void both_read(uint64_t address, uint64_t wanted)
{
    assert_int_equal(reads(ONE, address), wanted);
    assert_int_equal(reads(TWO, address), wanted);
    assert_int_equal(reads(OF_BRIDGE, address), wanted);
}

static void what_shares_a_requester_id_translates_together(void **state)
{
    (void)state;
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_PLAIN, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ TWO, 2, 0 }), HV_OK);
    both_read(0x6000, 0);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_int_equal(reads(OF_BRIDGE, 0x6000), 0x6001);
    assert_int_equal(reads(TWO, 0x6000), 0x6001);
    assert_int_equal(reads(ONE, 0x6000), 0); /* nobody's */
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    both_read(0x6000, 0);
    assert_int_equal(device_add(vm, &(struct boot_pci){ ONE, 3, 0 }), HV_OK);
    assert_int_equal(device_add(other, &(struct boot_pci){ THREE, 4, 0 }), HV_OK);
    both_read(0x6000, 0);

    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    both_read(0x6000, 0x6001);
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    both_read(0x6000, 0);
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    both_read(0x6000, 0x6001);
    assert_int_equal(reads(BED_PLAIN, 0x6000), 0);
    assert_int_equal(reads(THREE, 0x6000), 0);
    uint32_t ioas = ioas_make();
    assert_int_equal(map(ioas, 0x900000), HV_OK);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK); /* for both */
    both_read(0x900000, 0x4001);
    both_read(0x6000, 0);
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK); /* as it is */
    struct hc_ioas_unmap all = { .flags = HC_IOAS_ALL, .ioas = ioas };
    assert_int_equal(call_with(vm, HC_IOAS_UNMAP, all), HV_OK);
    both_read(0x900000, 0);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    both_read(0x6000, 0x6001);
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    both_read(0x6000, 0);

    /* The other bridge has the id itself. */
    assert_int_equal(attach(other, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    uint64_t *page = ram(other, 0x6000);
    *page = 42;
    assert_int_equal(reads(THREE, 0x6000), 42);
    assert_int_equal(reads(OF_OLD_BRIDGE, 0x6000), 42);
    both_read(0x6000, 0);
    /* Gone with their VM; what is left translates as before. */
    assert_int_equal(attach(vm, 2, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    device_end(other);
    assert_int_equal(reads(THREE, 0x6000), 0);
    assert_int_equal(reads(OF_OLD_BRIDGE, 0x6000), 0);
    both_read(0x6000, 0x6001);
    device_end(vm);
    both_read(0x6000, 0);
    bed_interrupts();
}

static void the_guest_is_told_what_shares_a_requester_id(void **state)
{
    const struct kind *kind = *state;
    struct hc_event e;

    event_ring(vm, 64);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_PLAIN, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ ONE, 2, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ TWO, 3, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ THREE, 4, 0 }), HV_OK);
    static const uint32_t groups[] = { 0, 2, 2, 4 };
    for (uint32_t d = 0; d < ARRAY_SIZE(groups); d++) {
        assert_int_equal(info_of(d).group, groups[d]);
        assert_int_equal(info_of(d).pasid_bits, 0);
        assert_int_equal(info_of(d).flags & (HC_DEVICE_ATS | HC_DEVICE_PASID | HC_DEVICE_PRI), 0);
    }
    if (kind != &kinds[3]) /* in legacy mode there is nothing to bind to */
        assert_int_equal(try_bind(vm, 2, 0x8000, HC_PASID_ANY, 0, NULL), HV_ENOTSUP);
    /* A fault names the first of them, whatever id it came with. */
    static const rid_t ids[] = { ONE, TWO, OF_BRIDGE };
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        assert_int_equal(reads(ids[i], 0x6000), 0);
        bed_interrupts();
        assert_true(take_event(vm, &e));
        assert_int_equal(e.type, HC_EVENT_FAULT);
        assert_int_equal(e.device, 1);
    }
}

/* Interrupts: from the bus, or from the bridge; from nobody else. */
static void their_interrupts_arrive_by_either_id(void **state)
{
    (void)state;
    assert_int_equal(device_add(vm, &(struct boot_pci){ ONE, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ TWO, 2, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ THREE, 3, 0 }), HV_OK);
    static const struct {
        uint32_t device;
        rid_t from;
        bool arrives;
    } rows[] = { { 0, ONE, true },       { 0, OF_BRIDGE, true },     { 0, THREE, false },
                 { 0, BED_A, false },    { 1, TWO, true },           { 1, OF_BRIDGE, true },
                 { 1, 0x00e0, false },   { 2, OF_OLD_BRIDGE, true }, { 2, THREE, false },
                 { 2, OF_BRIDGE, false } };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct hc_device_irq in = { .device = rows[i].device, .vcpu = 1, .vector = 0x50 };
        uint64_t message;
        assert_int_equal(call_struct(vm, HC_DEVICE_IRQ, &in, sizeof(in), &message), HV_OK);
        unsigned before = abi_calls.interrupts;
        uint8_t fault = bed_message(rows[i].from, (uint32_t)message, (uint32_t)(message >> 32));
        bed_interrupts();
        assert_int_equal(fault == 0, rows[i].arrives);
        assert_int_equal(abi_calls.interrupts - before, rows[i].arrives);
    }
}

/* The driver's part: who leaves loses its own id, and no more. */
static void a_function_that_leaves_takes_its_own_id_along(void **state)
{
    struct iommu_device one = { .rid = ONE, .aliased = true, .alias = OF_BRIDGE }, two = one;
    struct iommu_device first = one;
    struct iommu_stage2 s2;
    struct pt pt;

    (void)state;
    one.unit = two.unit = first.unit = iommu_vtd.unit_of(ONE);
    one.quota = two.quota = first.quota = &bed.quota;
    two.rid = TWO;
    first.rid = OF_BRIDGE; /* a function in slot 0: it has the bridge's id itself */
    bed_stage2(&pt, &s2, one.unit);
    struct iommu_target identity = bed_second(&s2);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(iommu_vtd.device_add(&one), HV_OK);
        assert_int_equal(iommu_vtd.device_join(&two, &one), HV_OK);
        assert_int_equal(iommu_vtd.device_join(&first, &one), HV_OK);
        assert_int_equal(iommu_vtd.attach(&one, PASID_RID, &identity), HV_OK);
        both_read(0x6000, 0x6001);
        iommu_vtd.device_remove(&two);
        iommu_vtd.device_remove(&first);
        assert_int_equal(reads(TWO, 0x6000), 0);
        assert_int_equal(reads(ONE, 0x6000), 0x6001);
        assert_int_equal(reads(OF_BRIDGE, 0x6000), 0x6001);
        iommu_vtd.device_remove(&one);
        both_read(0x6000, 0);
    }
    /* Nobody's id is taken from him. */
    struct iommu_device alone = two;
    alone.aliased = false;
    assert_int_equal(iommu_vtd.device_add(&alone), HV_OK);
    assert_int_equal(iommu_vtd.device_add(&one), HV_OK);
    assert_int_equal(iommu_vtd.device_join(&two, &one), HV_EEXIST);
    assert_null(two.driver);
    iommu_vtd.device_remove(&one);
    iommu_vtd.device_remove(&alone);
    bed_stage2_gone(&pt, &s2);
}

static void joining_without_memory_holds_nothing(void **state)
{
    enum hv_status status = HV_ENOMEM;

    (void)state;
    assert_int_equal(device_add(vm, &(struct boot_pci){ ONE, 1, 0 }), HV_OK);
    for (int64_t budget = 0; status != HV_OK; budget++) {
        uint64_t used = vm->quota.used;
        pages_fail_after(budget);
        status = device_add(vm, &(struct boot_pci){ TWO, 2, 0 });
        pages_fail_after(-1);
        assert_true(status == HV_OK || (status == HV_ENOMEM && vm->quota.used == used));
    }
    assert_int_equal(device_add(other, &(struct boot_pci){ TWO, 3, 0 }), HV_EEXIST);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    both_read(0x6000, 0x6001);
}

/* --- Snooping, memory types ------------------------------------------------------------------- */

#define ENTRY_PWSNP BIT(23) /* of the second word */
#define ENTRY_PGSNP BIT(24)
#define ENTRY_EMTE  BIT(26)
#define LEAF_TYPE   (7u << 3)
#define LEAF_SNOOP  BIT(11)

static uint64_t entry_word(uint32_t device, uint32_t pasid)
{
    return vtd_pasid_entry(vm->device[device]->io.driver, pasid)[1];
}

/* The leaf of an address, in a table without large ones there. */
static uint64_t leaf_of(const struct pt *pt, uint64_t address)
{
    const uint64_t *table = pt->root;

    for (unsigned level = pt->levels; level > 1; level--)
        table = phys_to_virt(PADDR(table[address >> (3 + 9 * level) & 511] & 0xffffffffff000));
    return table[address >> PAGE_SHIFT & 511];
}

/* Requests that ask not to be snooped are, where the unit can: by the PASID entry. */
static void what_firmware_forbids_is_not_used(void **state)
{
    (void)state;
    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    for (unsigned i = 0; i < 2; i++) {
        const rid_t rid = i ? BED_B : BED_A;
        assert_int_equal(device_add(vm, &(struct boot_pci){ rid, 1, BOOT_PCI_MAP_FIRMWARE }),
                         HV_OK);
        assert_int_equal(attach(vm, i, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
        assert_int_equal(attach(vm, i, 5 + i, HC_DOMAIN_NESTED, bed_root().v), HV_OK);
        assert_int_equal(entry_word(i, 5 + i) & (ENTRY_PWSNP | ENTRY_PGSNP),
                         ENTRY_PWSNP | ENTRY_PGSNP);
    }
    assert_int_equal(entry_word(0, 0) & (ENTRY_PWSNP | ENTRY_PGSNP), 0);
    assert_int_equal(entry_word(1, 0) & (ENTRY_PWSNP | ENTRY_PGSNP), ENTRY_PWSNP | ENTRY_PGSNP);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_NESTED, 0x8000), HV_ENOTSUP);
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_NESTED, 0x8000), HV_OK);
    /* Its walks are not snooped: the tables are flushed. */
    assert_true(vm->sva->second[vm->device[0]->caps->index]->table.flush);
    assert_int_equal(info_of(0).flags & HC_DEVICE_ATS, 0);
    assert_int_equal(info_of(1).flags & HC_DEVICE_ATS, HC_DEVICE_ATS);
    assert_true(reaches(BED_A, rmrr));
}

/* Legacy tables say it in each leaf, in those of the VM's RAM as of an IOAS. */
static void legacy_leaves_snoop_where_the_unit_can(void **state)
{
    const uint64_t snoop = *state == &old_snooping ? LEAF_SNOOP : 0;

    claims_add_firmware(PADDR(rmrr - 0x3000), 0x10000);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_A, 1, BOOT_PCI_MAP_FIRMWARE }), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    assert_true(reaches(BED_A, rmrr) && reads(BED_A, 0x6000) == 0x6001);
    assert_int_equal(
        leaf_of(&vm->sva->second[vm->device[0]->caps->index]->table, rmrr) & LEAF_SNOOP, snoop);
    uint32_t ioas = ioas_make();
    assert_int_equal(map(ioas, 0x900000), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(reads(BED_A, 0x900000), 0x4001);
    const struct ioas_table *table = ioas_find(vm, ioas)->tables;
    assert_int_equal(leaf_of(&table->pt, 0x900000) & LEAF_SNOOP, snoop);
}

/* What an IOAS maps uncached has another type in its leaves, and the unit is told to look at it if
 * it can; nested, it is not. */
static void memory_types_count_where_the_unit_has_them(void **state)
{
    const uint64_t looked_at = *state == &typed ? ENTRY_EMTE : 0;

    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    uint32_t ioas = ioas_make();
    struct hc_ioas_map in = { .flags = HC_IOAS_READ | HC_IOAS_FIXED | HC_IOAS_UNCACHED,
                              .ioas = ioas,
                              .iova = 0x901000,
                              .gpa = 0x5000,
                              .bytes = PAGE_SIZE };
    assert_int_equal(map(ioas, 0x900000), HV_OK);
    assert_int_equal(call_with(vm, HC_IOAS_MAP, in), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_PAGING, ioas), HV_OK);
    assert_int_equal(attach(vm, 0, 5, HC_DOMAIN_NESTED, bed_root().v), HV_OK);
    assert_int_equal(reads(BED_C, 0x900000), 0x4001);
    assert_int_equal(reads(BED_C, 0x901000), 0x5001);
    const struct pt *pt = &ioas_find(vm, ioas)->tables->pt;
    assert_int_equal(leaf_of(pt, 0x900000) & LEAF_TYPE, 6 << 3);
    assert_int_equal(leaf_of(pt, 0x901000) & LEAF_TYPE, 0);
    assert_int_equal(entry_word(0, 0) & ENTRY_EMTE, looked_at);
    /* PA0 to PA7, 4 bits each (9.6): write-back, write-through, uncached-, uncached, and again. */
    assert_int_equal(entry_word(0, 0) >> 32, looked_at ? 0x07460746 : 0);
    assert_int_equal(entry_word(0, 5) & ENTRY_EMTE, 0);
}

/* Orders to the device TLB of a virtual function name the physical one (6.5.2.5). */
static void orders_to_a_virtual_function_name_the_physical_one(void **state)
{
    static struct platform_pci physical;
    struct vtd_desc desc[VTD_INVAL_MAX];

    (void)state;
    platform_pci_endpoint(&physical, 0x002a, 1, 1, 0, 0);
    platform_put(physical.config, 0x100, 4, 0x00010010);
    platform_put(physical.config, 0x108, 2, 1);
    platform_put(physical.config, 0x110, 2, 1);
    platform_put(physical.config, 0x114, 2, BED_C - 0x002a);
    platform_add_pci(&physical);
    static struct platform_pci before; /* function 0 makes it a device of many */
    platform_pci_endpoint(&before, 0x0028, 1, 1, 0, 0);
    before.config[0x0e] = 0x80;
    platform_add_pci(&before);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    struct vtd_device *v = vm->device[0]->io.driver;
    for (uint32_t pasid = 0; pasid < 2; pasid++) {
        struct vtd_inval_args args = { .unit = v->unit, .device = v, .pasid = pasid };
        assert_int_equal(vtd_inval_list(VTD_DEVICE_TLB_ALL, &args, desc), 1);
        assert_int_equal((desc[0].q0 >> 12 & 15) | desc[0].q0 >> 52 << 4, 0x002a);
        assert_int_equal(desc[0].q0 >> (pasid ? 16 : 32) & 0xffff, BED_C);
    }
}

/* --- Two units, of different kinds ------------------------------------------------------------ */

#define VA 0x7f0000000000ull

static unsigned domains_of(const struct space *space)
{
    unsigned n = 0;

    for (const struct domain *d = space->domains; d; d = d->next)
        n++;
    return n;
}

static uint64_t reads_by_pasid(rid_t rid, uint32_t pasid)
{
    uint64_t value = 0;

    return bed_read(rid, (int32_t)pasid, VA, &value) == 0 ? value : 0;
}

/* Absent pages are a guest's to tell of, where the unit cannot walk its tables. */
static void notice(uint32_t pasid)
{
    struct hc_invalidate in = {
        .kind = HC_INVALIDATE_MAPPED, .pasid = pasid, .address = VA, .bytes = PAGE_SIZE
    };

    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
}

/* One space, one PASID, on both: each unit has a domain of its own, made with the first bond there
 * and gone with the last. A unit that cannot is refused, and disturbs nobody. */
static void one_process_on_two_units(void **state)
{
    const struct kind *kind = *state;
    const bool nests = kind == &beside[0], cannot = kind == &beside[3];
    gpaddr_t root = bed_root();
    uint32_t pasid, again;

    event_ring(vm, 64);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_FAR, 2, 0 }), HV_OK);
    uint32_t here = bind(vm, 0, root.v, &pasid), far = 0;
    const struct space *space = space_of_root(vm, root);
    assert_int_equal(domains_of(space), 1);
    if (cannot) {
        assert_int_equal(try_bind(vm, 1, root.v, HC_PASID_ANY, HC_BIND_NO_IOPF, NULL), HV_ENOTSUP);
        assert_int_equal(domains_of(space), 1);
    } else {
        far = bind(vm, 1, root.v, &again);
        assert_int_equal(again, pasid);
        assert_ptr_equal(space_of_root(vm, root), space);
        assert_int_equal(domains_of(space), 2);
        assert_int_equal(vm->sva->nshadows, !nests);
    }
    bed_map(root, VA, 0x30000);
    if (!cannot)
        notice(pasid);
    assert_int_equal(reads_by_pasid(BED_C, pasid), 0x30001);
    assert_int_equal(reads_by_pasid(BED_FAR, pasid), cannot ? 0 : 0x30001);
    /* A change is known everywhere. */
    bed_map(root, VA, 0x31000);
    struct hc_invalidate in = {
        .kind = HC_INVALIDATE_RANGE, .pasid = pasid, .address = VA, .bytes = PAGE_SIZE
    };
    assert_int_equal(call_with(vm, HC_INVALIDATE, in), HV_OK);
    assert_int_equal(reads_by_pasid(BED_C, pasid), 0x31001);
    assert_int_equal(reads_by_pasid(BED_FAR, pasid), nests ? 0x31001 : 0);
    if (!cannot) {
        notice(pasid);
        assert_int_equal(reads_by_pasid(BED_FAR, pasid), 0x31001);
        assert_int_equal(call(vm, HC_SVA_UNBIND, far, 0, 0, NULL), HV_OK);
        assert_int_equal(reads_by_pasid(BED_FAR, pasid), 0);
        assert_int_equal(domains_of(space), 1);
        assert_int_equal(vm->sva->nshadows, 0);
    }
    assert_int_equal(reads_by_pasid(BED_C, pasid), 0x31001);
    assert_int_equal(call(vm, HC_SVA_UNBIND, here, 0, 0, NULL), HV_OK);
    assert_null(space_of_root(vm, root));
    assert_int_equal(reads_by_pasid(BED_C, pasid), 0);
    bed_interrupts();
}

/* One IOAS on both: units that agree share a table, others have one each, all kept in step. */
static void one_ioas_on_two_units(void **state)
{
    const struct kind *kind = *state;
    const bool share = kind == &beside[0] || kind == &beside[1];

    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_C, 1, 0 }), HV_OK);
    assert_int_equal(device_add(vm, &(struct boot_pci){ BED_FAR, 2, 0 }), HV_OK);
    uint32_t handle = ioas_make();
    const struct ioas *ioas = ioas_find(vm, handle);
    assert_int_equal(map(handle, 0x900000), HV_OK);
    for (uint32_t d = 0; d < 2; d++)
        assert_int_equal(attach(vm, d, HC_PASID_NONE, HC_DOMAIN_PAGING, handle), HV_OK);
    unsigned tables = 0;
    for (const struct ioas_table *t = ioas->tables; t; t = t->next)
        tables++;
    assert_int_equal(tables, share ? 1 : 2);
    assert_int_equal(map(handle, 0x901000), HV_OK);
    static const rid_t rids[] = { BED_C, BED_FAR };
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(reads(rids[i], 0x900000), 0x4001);
        assert_int_equal(reads(rids[i], 0x901000), 0x4001);
    }
    struct hc_ioas_unmap one = { .ioas = handle, .iova = 0x900000, .bytes = PAGE_SIZE };
    assert_int_equal(call_with(vm, HC_IOAS_UNMAP, one), HV_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(reads(rids[i], 0x900000), 0);
        assert_int_equal(reads(rids[i], 0x901000), 0x4001);
    }
    assert_int_equal(attach(vm, 1, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(reads(BED_FAR, 0x901000), 0);
    assert_int_equal(reads(BED_C, 0x901000), 0x4001);
    assert_int_equal(call(vm, HC_IOAS_DESTROY, handle, 0, 0, NULL), HV_EBUSY);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0), HV_OK);
    assert_int_equal(call(vm, HC_IOAS_DESTROY, handle, 0, 0, NULL), HV_OK);
    bed_interrupts();
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction f;
        bool all; /* kinds of units */
    } rows[] = {
#define row(f, all) { #f, f, all }
        row(a_function_that_firmware_uses_is_refused_with_the_way_out, true),
        row(firmwares_memory_is_there_under_every_translation_but_blocked, true),
        row(what_cannot_be_mapped_is_refused_by_name, false),
        row(firmwares_memory_has_one_owner, false),
        row(what_the_guest_has_there_is_in_the_way, false),
        row(without_memory_nothing_is_held, true),
        row(what_shares_a_requester_id_translates_together, true),
        row(the_guest_is_told_what_shares_a_requester_id, true),
        row(their_interrupts_arrive_by_either_id, false),
        row(a_function_that_leaves_takes_its_own_id_along, true),
        row(joining_without_memory_holds_nothing, true),
    };
    static const struct CMUnitTest others[] = {
#define one(f, kind) { #f, f, fresh, check, &(kind) }
        one(what_firmware_forbids_is_not_used, limited),
        one(legacy_leaves_snoop_where_the_unit_can, old_snooping),
        one(legacy_leaves_snoop_where_the_unit_can, old_plain),
        one(legacy_leaves_snoop_where_the_unit_can, old_limited),
        one(memory_types_count_where_the_unit_has_them, typed),
        one(memory_types_count_where_the_unit_has_them, untyped),
        one(orders_to_a_virtual_function_name_the_physical_one, kinds[0]),
        one(one_process_on_two_units, beside[0]),
        one(one_process_on_two_units, beside[1]),
        one(one_process_on_two_units, beside[2]),
        one(one_process_on_two_units, beside[3]),
        one(one_process_on_two_units, beside[4]),
        one(one_ioas_on_two_units, beside[0]),
        one(one_ioas_on_two_units, beside[1]),
        one(one_ioas_on_two_units, beside[2]),
        one(one_ioas_on_two_units, beside[3]),
        one(one_ioas_on_two_units, beside[4]),
    };
    struct CMUnitTest tests[ARRAY_SIZE(rows) * ARRAY_SIZE(kinds) + ARRAY_SIZE(others)];
    char names[ARRAY_SIZE(tests)][128];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (size_t k = 0; k < (rows[i].all ? ARRAY_SIZE(kinds) : 1); k++, n++) {
            snprintf(names[n], sizeof(names[n]), "%s (%s)", rows[i].name, kinds[k].name);
            tests[n] = (struct CMUnitTest){ names[n], rows[i].f, fresh, check, &kinds[k] };
        }
    }
    memcpy(&tests[n], others, sizeof(others));
    n += ARRAY_SIZE(others);
    return _cmocka_run_group_tests("topology", tests, n, platform_setup, NULL);
}
