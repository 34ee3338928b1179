/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * What a VM does to its PCI bus. Input: accesses of 6 bytes: kind (bits 1:0: size, bit 2: write,
 * bits 5:3: port - 0xCF8, bit 6: write a made-up address of slot and register first), address,
 * value.
 */
#include "hv/claims.h"
#include "hv/pci.h"
#include "hv/vm.h"
#include "hv/vpci.h"
#include "tests/fuzz/fuzz.h"
#include "tests/platform/platform.h"

static struct platform_pci function[3];
static struct vm vm;

/* Two functions of the VM, the second plain; the third is somebody else's. */
static void make(void)
{
    static const struct {
        rid_t rid;
        uint64_t bar, size;
    } rows[] = { { 0x20, 0x3800000000, 0x4000 }, { 0x28, 0, 0 }, { 0x30, 0xfe010000, 0x1000 } };
    static struct boot_vm config = { .npci = 2, .pci = { { 0x20, 7 }, { 0x28, 8 } } };

    for (unsigned i = 0; i < 3; i++) {
        platform_pci_endpoint(&function[i], rows[i].rid, 0xabcd, (uint16_t)(0x100 + i), rows[i].bar,
                              rows[i].size);
        platform_put(function[i].config, PCI_STATUS, 2, 0x10);
        platform_put(function[i].config, PCI_CAPABILITIES, 1, 0x40);
        platform_put(function[i].config, 0x40, 4, 0x00020010); /* PCIe */
        platform_put(function[i].writable, 0x44, 4, ~0u);
        platform_put(function[i].writable, 0x48, 4, ~0u);
        platform_add_pci(&function[i]);
    }
    vm = (struct vm){ .name = "vm", .quota = { .limit = 100 }, .lock = LOCK(RANK_VM) };
    must(pt_create(&vm.npt, &pt_format_npt, &vm.quota, 4, 3, false) == HV_OK);
    must(vpci_create(&vm, &config) == HV_OK);
}

/* The same with all commands masked: what a guest may never change. */
static bool untouched(const struct platform_pci *f, const uint8_t *before, bool own)
{
    uint8_t now[4096];

    memcpy(now, f->config, sizeof(now));
    if (own) {
        /* Memory decode and INTx off stay; mastering is the guest's. */
        must((now[PCI_COMMAND] & ~PCI_COMMAND_MASTER) == PCI_COMMAND_MEMORY);
        must(now[PCI_COMMAND + 1] == PCI_COMMAND_NO_INTX >> 8);
        memcpy(now + PCI_COMMAND, before + PCI_COMMAND, 2);
    }
    return memcmp(now, before, sizeof(now)) == 0;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static uint8_t before[3][4096];
    struct feed in = { data, size };
    struct pt_leaf leaf;

    make();
    for (unsigned i = 0; i < 3; i++)
        memcpy(before[i], function[i].config, sizeof(before[i]));
    for (unsigned n = 0; in.left && n < 200; n++) {
        uint8_t kind = feed_8(&in), at = feed_8(&in);
        uint32_t value = feed_32(&in);
        unsigned bytes = 1u << (kind & 3) & 7, port = 0xcf8 + (kind >> 3 & 7);

        bytes = bytes ? bytes : 4;
        if (kind & 64)
            vpci_io_write(&vm, 0xcf8, 4, 0x80000000 | (at & 3u) << 11 | (at & 0xfc));
        if (kind & 4) {
            vpci_io_write(&vm, (uint16_t)port, bytes, value);
        } else {
            uint32_t got = vpci_io_read(&vm, (uint16_t)port, bytes);
            must(bytes == 4 || got >> (8 * bytes) == 0);
            must(got == vpci_io_read(&vm, (uint16_t)port, bytes)); /* reading changes nothing */
        }
        for (unsigned i = 0; i < 3; i++)
            must(untouched(&function[i], before[i], i < 2));
    }
    /* The bus is what it was: who is there, and where the BAR is. */
    vpci_io_write(&vm, 0xcf8, 4, 0x80000800);
    must(vpci_io_read(&vm, 0xcfc, 4) == 0x0100abcd);
    vpci_io_write(&vm, 0xcf8, 4, 0x80000810);
    vpci_io_write(&vm, 0xcfc, 4, 0);
    uint32_t bar = vpci_io_read(&vm, 0xcfc, 4) & ~0xfu;
    must(bar == VM_RAM_LOW_END && pt_lookup(&vm.npt, PTADDR(bar), &leaf));
    must(leaf.out.v == 0x3800000000);
    vpci_io_write(&vm, 0xcf8, 4, 0x80001800);
    must(vpci_io_read(&vm, 0xcfc, 4) == ~0u);
    vpci_destroy(&vm);
    must(function[0].config[PCI_COMMAND] == 0 && function[1].config[PCI_COMMAND] == 0);
    pt_destroy(&vm.npt);
    must(vm.quota.used == 0);
}
