/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* MSI and MSI-X: what the guest writes as on any machine, and what its function gets instead. */
#include "arch/x86/vcpu.h"
#include "hv/pci.h"
#include "hv/vpci.h"
#include "tests/unit/abi_vm.h"

enum { MSI = 0x54, MSIX = 0x70, PCIE = 0x80 };

static struct platform_pci function[2];
static unsigned pcie = PCIE;
static struct boot_vm config = { .npci = 2, .pci = { { DEV0, 1 }, { DEV1, 2 } } };

/* DEV0: MSI with everything; DEV1: MSI with 32-bit addresses and no mask. Both: MSI-X, PCIe. As
 * firmware left them: on. */
static void begin(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct platform_pci *f = &function[i];
        platform_pci_endpoint(f, i ? DEV1 : DEV0, 0xabcd, 0x100, 0, 0);
        platform_put(f->config, PCI_STATUS, 2, 0x10);
        platform_put(f->config, PCI_CAPABILITIES, 1, MSI);
        platform_put(f->config, MSI, 4, 0x00007005 | (i ? 0x0037u : 0x01bbu) << 16);
        if (!i)
            platform_put(f->config, MSI + 8, 4, 0x1234);
        platform_put(f->config, MSIX, 4, 0xc0070011 | pcie << 8);
        platform_put(f->config, MSIX + 4, 4, 0x00002000);
        platform_put(f->config, MSIX + 8, 4, 0x00003000);
        platform_put(f->config, pcie, 4, pcie == PCIE ? 0x00020010 : 0x00010010);
        platform_put(f->writable, MSI + 2, 2, 0x0071);
        platform_put(f->writable, MSI + 4, 4, 0xfffffffc);
        platform_put(f->writable, MSI + 8, 4, ~0u);
        platform_put(f->writable, MSI + 12, 8, 0x000000010000ffff);
        platform_put(f->writable, MSIX + 2, 2, 0xffff);
        platform_add_pci(f);
    }
    platform_set_cpus(2, 0);
    vm_a->vcpu[1]->cpu = 1;
    assert_int_equal(pt_create(&vm_a->npt, &pt_format_npt, &vm_a->quota, 4, 1, false), HV_OK);
    assert_int_equal(vpci_create(vm_a, &config), HV_OK);
}

static void end(void)
{
    device_end(vm_a);
    vpci_destroy(vm_a);
    pt_destroy(&vm_a->npt);
    for (unsigned i = 0; i < 2; i++) { /* off, whatever the guest left */
        assert_int_equal(pci_config_read(i ? DEV1 : DEV0, MSI + 2, 2) & 1, 0);
        assert_int_equal(pci_config_read(i ? DEV1 : DEV0, MSIX + 2, 2) & 0xc000, 0);
    }
}

static uint32_t read(unsigned device, unsigned reg, unsigned size)
{
    vpci_io_write(vm_a, 0xcf8, 4, 0x80000000 | (device + 1) << 11 | (reg & 0xfc));
    return vpci_io_read(vm_a, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void write(unsigned device, unsigned reg, unsigned size, uint32_t value)
{
    vpci_io_write(vm_a, 0xcf8, 4, 0x80000000 | (device + 1) << 11 | (reg & 0xfc));
    vpci_io_write(vm_a, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

/* As a driver does it; DEV0's data lies behind the upper address. */
static void set(unsigned device, uint32_t address, uint32_t data)
{
    write(device, MSI + 4, 4, address);
    write(device, device ? MSI + 8 : MSI + 12, 2, data);
}

static bool real_enabled(rid_t rid)
{
    return pci_config_read(rid, MSI + 2, 2) & 1;
}

/* The function sends what it was really given; it arrives there. */
static void arrives(unsigned device, unsigned vcpu, unsigned vector)
{
    rid_t rid = device ? DEV1 : DEV0;
    uint32_t address = pci_config_read(rid, MSI + 4, 4);

    assert_true(real_enabled(rid));
    assert_int_equal(address & 0xfff00010, 0xfee00010);
    assert_int_equal(pci_config_read(rid, device ? MSI + 8 : MSI + 12, 2), 0);
    if (!device)
        assert_int_equal(pci_config_read(rid, MSI + 8, 4), 0);
    abi_calls = (struct abi_calls){ 0 };
    assert_true(fake_interrupt(rid, address));
    assert_int_equal(abi_calls.interrupts, 1);
    assert_int_equal(abi_calls.vcpu, vcpu);
    assert_int_equal(abi_calls.vector, vector);
}

static void the_capabilities_show(void **state)
{
    (void)state;
    begin();
    assert_int_equal(pci_config_read(DEV0, MSI + 2, 2) & 1, 0); /* off from the start */
    assert_int_equal(pci_config_read(DEV0, MSIX + 2, 2) & 0xc000, 0);
    assert_int_equal(read(0, PCI_STATUS, 2) & 0x10, 0x10);
    assert_int_equal(read(0, PCI_CAPABILITIES, 1), PCIE);
    assert_int_equal(read(0, PCIE, 4), 0x00020010 | MSI << 8);
    assert_int_equal(read(0, MSI, 4), 0x01800005 | MSIX << 8); /* one message, whatever it has */
    assert_int_equal(read(1, MSI, 4), 0x00000005 | MSIX << 8);
    assert_int_equal(read(0, MSIX, 4), 0x00070011);
    assert_int_equal(read(0, MSIX + 4, 4), 0x2000);
    assert_int_equal(read(0, MSIX + 8, 4), 0x3000);
    write(0, MSIX + 4, 4, ~0u);
    write(0, MSIX + 2, 2, 0xffff);
    assert_int_equal(read(0, MSIX, 4), 0xc0070011);
    assert_int_equal(pci_config_read(DEV0, MSIX + 2, 2), 0xc007);
    write(0, MSIX + 2, 2, 0x8000);
    assert_int_equal(pci_config_read(DEV0, MSIX + 2, 2), 0x8007);
    end();
}

/* Of the first version the PCIe capability has 20 bytes, and others lie where later ones go on. */
static void they_show_behind_a_short_pcie_capability(void **state)
{
    (void)state;
    pcie = 0x40;
    begin();
    assert_int_equal(read(0, PCI_CAPABILITIES, 1), pcie);
    assert_int_equal(read(0, pcie, 4), 0x00010010 | MSI << 8);
    assert_int_equal(read(0, MSI, 4), 0x01800005 | MSIX << 8);
    assert_int_equal(read(0, MSIX, 4), 0x00070011);
    set(0, 0xfee01000, 0x41);
    write(0, MSI + 2, 2, 1);
    arrives(0, 1, 0x41);
    assert_int_equal(read(0, MSI + 4, 4), 0xfee01000); /* what was written, not what it became */
    assert_int_equal(read(0, MSI + 12, 2), 0x41);
    end();
    pcie = PCIE;
}

static void without_remapping_there_is_none(void **state)
{
    (void)state;
    fake.caps[0].interrupts = false;
    begin();
    assert_int_equal(read(0, PCIE, 4), 0x00020010);
    assert_int_equal(read(0, MSI, 4), 0);
    assert_int_equal(read(0, MSIX, 4), 0);
    set(0, 0xfee00000, 0x40);
    write(0, MSI + 2, 2, 1);
    write(0, MSIX + 2, 2, 0x8000);
    assert_false(real_enabled(DEV0));
    assert_int_equal(pci_config_read(DEV0, MSIX + 2, 2), 0x0007);
    end();
}

static void a_message_is_written_as_ever(void **state)
{
    (void)state;
    begin();
    for (unsigned d = 0; d < 2; d++) {
        set(d, 0xfee01003, 0x0051);
        assert_int_equal(platform_vectors_used(), d);
        assert_false(real_enabled(d ? DEV1 : DEV0));
        write(d, MSI + 2, 2, 0x0071); /* enable, and several messages, which there are not */
        assert_int_equal(read(d, MSI + 2, 2) & 0x7f, 1);
        assert_int_equal(pci_config_read(d ? DEV1 : DEV0, MSI + 2, 2) & 0x70, 0);
        assert_int_equal(read(d, MSI + 4, 4), 0xfee01000); /* what it wrote */
        assert_int_equal(read(d, d ? MSI + 8 : MSI + 12, 2), 0x51);
        arrives(d, 1, 0x51);
    }
    uint32_t real = pci_config_read(DEV0, MSI + 4, 4);
    set(0, 0xfee00000, 0x4152); /* another vCPU and vector; edge, asserted, lowest priority */
    arrives(0, 0, 0x52);
    assert_int_equal(pci_config_read(DEV0, MSI + 4, 4), real);
    write(0, MSI + 2, 2, 0);
    assert_false(real_enabled(DEV0));
    assert_false(fake_interrupt(DEV0, real));
    assert_int_equal(platform_vectors_used(), 1);
    write(0, MSI + 2, 2, 1);
    arrives(0, 0, 0x52);
    end();
    assert_int_equal(platform_vectors_used(), 0);
}

static void the_mask_is_the_functions_own(void **state)
{
    (void)state;
    begin();
    write(0, MSI + 16, 4, ~1u);
    assert_int_equal(read(0, MSI + 16, 4), 0);
    write(0, MSI + 16, 4, ~0u);
    assert_int_equal(read(0, MSI + 16, 4), 1);
    assert_int_equal(pci_config_read(DEV0, MSI + 16, 4), 1);
    platform_put(function[0].config, MSI + 20, 4, 0xffffffff);
    assert_int_equal(read(0, MSI + 20, 4), 1); /* pending */
    write(0, MSI + 16, 4, 0);
    assert_int_equal(pci_config_read(DEV0, MSI + 16, 4), 0);
    /* DEV1 has none: what lies there is not shown. */
    platform_put(function[1].config, MSI + 12, 4, 0x12345678);
    assert_int_equal(read(1, MSI + 12, 4), 0);
    write(1, MSI + 12, 4, ~0u);
    assert_int_equal(pci_config_read(DEV1, MSI + 12, 4), 0x12345678);
    end();
}

static void what_cannot_be_delivered_is_off(void **state)
{
    static const struct {
        uint32_t address, upper, data;
    } bad[] = {
        { 0xfee02000, 0, 0x40 },   { 0xfeeff000, 0, 0x40 }, /* no such vCPU; all of them */
        { 0xfee00004, 0, 0x40 },                            /* logical */
        { 0xfee00000, 1, 0x40 },   { 0xfed00000, 0, 0x40 },  { 0x00001000, 0, 0x40 },
        { 0xfee00000, 0, 0x1f },   { 0xfee00000, 0, 0x440 }, /* exception; NMI */
        { 0xfee00000, 0, 0x8040 }, { 0xfee00800, 0, 0x40 },  /* level; reserved */
        { 0x0ee00010, 0, 0 },      { 0xfee00010, 1, 0 },
    };

    (void)state;
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        set(0, 0xfee00000, 0x40);
        write(0, MSI + 8, 4, 0);
        write(0, MSI + 2, 2, 1);
        arrives(0, 0, 0x40);
        write(0, MSI + 8, 4, bad[i].upper);
        set(0, bad[i].address, bad[i].data);
        assert_false(real_enabled(DEV0));
        assert_int_equal(platform_vectors_used(), 0);
        assert_true(platform_logged("cannot be delivered"));
        assert_int_equal(read(0, MSI + 2, 2) & 1, 1); /* the guest does not see it */
    }
    write(0, MSI + 8, 4, 0);
    set(0, 0xfee00000, 0x41);
    arrives(0, 0, 0x41);
    fake.fail_irq = HV_ERANGE;
    write(0, MSI + 4, 4, 0xfee01000);
    assert_false(real_enabled(DEV0));
    assert_int_equal(platform_vectors_used(), 0);
    set(0, 0xfee00004, 0x41);
    fake.fail_irq = HV_ENOMEM;
    write(0, MSI + 8, 4, 0);
    set(0, 0xfee00000, 0x41);
    assert_false(real_enabled(DEV0));
    end();
}

/* Messages of HC_DEVICE_IRQ go into the function as they are. */
static void a_message_from_the_call_is_passed_on(void **state)
{
    struct hc_device_irq in = { .device = 0, .index = 3, .vcpu = 1, .vector = 0x77 };
    uint64_t message;

    (void)state;
    begin();
    assert_int_equal(call_struct(vm_a, HC_DEVICE_IRQ, &in, sizeof(in), &message), HV_OK);
    set(0, (uint32_t)message, (uint32_t)(message >> 32));
    write(0, MSI + 2, 2, 1);
    arrives(0, 1, 0x77);
    assert_int_equal(platform_vectors_used(), 1);
    /* And back to the ordinary way. */
    set(0, 0xfee00000, 0x40);
    arrives(0, 0, 0x40);
    assert_int_equal(platform_vectors_used(), 2);
    set(0, (uint32_t)message, (uint32_t)(message >> 32));
    assert_int_equal(platform_vectors_used(), 1);
    arrives(0, 1, 0x77);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(the_capabilities_show),
        abi_test(without_remapping_there_is_none),
        abi_test(they_show_behind_a_short_pcie_capability),
        abi_test(a_message_is_written_as_ever),
        abi_test(the_mask_is_the_functions_own),
        abi_test(what_cannot_be_delivered_is_off),
        abi_test(a_message_from_the_call_is_passed_on),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
