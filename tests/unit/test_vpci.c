/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* What a VM sees of its functions, what it can change, and which functions it may have. */
#include <string.h>

#include "hv/claims.h"
#include "hv/pci.h"
#include "hv/vm.h"
#include "hv/vpci.h"
#include "tests/platform/platform.h"

enum { FUNCTIONS = 4 };

static struct platform_pci function[FUNCTIONS];
static struct vm vm, other;
static struct boot_vm config, other_config;

static void make_vm(struct vm *v)
{
    *v = (struct vm){ .name = "vm", .quota = { .limit = 100 }, .lock = LOCK(RANK_VM) };
    assert_int_equal(pt_create(&v->npt, &pt_format_npt, &v->quota, 4, 3, false), HV_OK);
}

static void end_vm(struct vm *v)
{
    vpci_destroy(v);
    pt_destroy(&v->npt);
    assert_int_equal(v->quota.used, 0);
}

/* 00:04.0 with 16 KiB, 64 bits; 00:05.0 with 64 KiB, both with a PCIe capability; 00:06.0 plain. */
static void begin(void)
{
    static const struct {
        rid_t rid;
        uint64_t bar, size;
    } rows[] = {
        { 0x20, 0x3800000000, 0x4000 },
        { 0x28, 0xfe010000, 0x10000 },
        { 0x30, 0, 0 },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t *c = function[i].config;
        platform_pci_endpoint(&function[i], rows[i].rid, 0xabcd, (uint16_t)(0x100 + i), rows[i].bar,
                              rows[i].size);
        platform_add_pci(&function[i]);
        platform_put(c, PCI_SUBSYSTEM, 4, 0x12345678);
        platform_put(c, 0x3c, 2, 0x010b); /* INTA, line 11 */
        if (rows[i].size) {
            platform_put(c, PCI_STATUS, 2, 0x10);
            platform_put(c, PCI_CAPABILITIES, 1, 0x40);
            platform_put(c, 0x40, 4, 0x00006005); /* MSI, then PCIe */
            platform_put(c, 0x60, 4, 0x00028010); /* PCIe, then MSI-X at 0x80 */
            platform_put(c, 0x64, 4, 0x00008fc0);
            platform_put(c, 0x80, 4, 0x00000011);
            platform_put(function[i].writable, 0x44, 4, ~0u);
            platform_put(function[i].writable, 0x68, 4, ~0u);
        }
    }
    config = (struct boot_vm){ .npci = 2, .pci = { { 0x20, 7 }, { 0x28, 8 } } };
    make_vm(&vm);
}

static uint32_t read(unsigned slot, unsigned reg, unsigned size)
{
    vpci_io_write(&vm, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
    return vpci_io_read(&vm, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void write(unsigned slot, unsigned reg, unsigned size, uint32_t value)
{
    vpci_io_write(&vm, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
    vpci_io_write(&vm, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

static void functions_appear_in_slots(void **state)
{
    (void)state;
    begin();
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(read(0, 8, 4) >> 16, 0x0600); /* host bridge */
    assert_int_not_equal(read(0, 0, 4), ~0u);
    assert_int_equal(read(1, 0, 4), 0x0100abcd);
    assert_int_equal(read(2, 2, 2), 0x0101);
    assert_int_equal(read(2, 3, 1), 0x01);
    assert_int_equal(read(1, PCI_SUBSYSTEM, 4), 0x12345678);
    assert_int_equal(vpci_rid(0), 0x08);
    for (unsigned slot = 3; slot < 32; slot++)
        assert_int_equal(read(slot, 0, 4), ~0u);
    /* Nothing on other buses or functions, nothing while the enable bit is clear. */
    static const uint32_t nothing[] = { 0x80010800, 0x80000900, 0x00000800 };
    for (unsigned i = 0; i < ARRAY_SIZE(nothing); i++) {
        vpci_io_write(&vm, 0xcf8, 4, nothing[i]);
        assert_int_equal(vpci_io_read(&vm, 0xcfc, 4), ~0u);
        assert_int_equal(vpci_io_read(&vm, 0xcfc, 2), 0xffff);
    }
    end_vm(&vm);
}

static void only_a_known_part_shows(void **state)
{
    (void)state;
    begin();
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(read(1, 0x3c, 4), 0);                /* no interrupt pin */
    assert_int_equal(read(1, PCI_CAPABILITIES, 1), 0x60); /* straight to PCIe */
    assert_int_equal(read(1, 0x60, 2), 0x0010);           /* and no further */
    assert_int_equal(read(1, 0x64, 4), 0x8fc0);
    assert_int_equal(read(1, PCI_STATUS, 2) & 0x10, 0x10);
    assert_int_equal(read(1, 0x40, 4), 0); /* MSI */
    assert_int_equal(read(1, 0x9c, 4), 0); /* behind PCIe's 60 bytes */
    write(1, 0x68, 4, 0xffffffff);         /* device control */
    write(1, 0x44, 4, 0xffffffff);
    assert_int_equal(pci_config_read(0x20, 0x68, 4), 0);
    assert_int_equal(pci_config_read(0x20, 0x44, 4), 0);
    /* Accesses that cross a dword, and CF8 in pieces, do nothing. */
    vpci_io_write(&vm, 0xcf8, 4, 0x80000800);
    assert_int_equal(vpci_io_read(&vm, 0xcfe, 4), ~0u);
    assert_int_equal(vpci_io_read(&vm, 0xcff, 2), 0xffff);
    vpci_io_write(&vm, 0xcf8, 1, 0x55);
    assert_int_equal(vpci_io_read(&vm, 0xcf8, 4), 0x80000800);
    assert_int_equal(vpci_io_read(&vm, 0xcf9, 1), 0xff);
    end_vm(&vm);

    config = (struct boot_vm){ .npci = 1, .pci = { { 0x30, 9 } } };
    make_vm(&vm);
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(read(1, PCI_CAPABILITIES, 1), 0);
    assert_int_equal(read(1, PCI_STATUS, 2) & 0x10, 0);
    for (unsigned reg = 0x40; reg < 0x100; reg += 4)
        assert_int_equal(read(1, reg, 4), 0);
    end_vm(&vm);
}

static void bars_are_mapped_uncached_below_4g(void **state)
{
    struct pt_leaf leaf;
    (void)state;
    begin();
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    uint32_t a = read(1, 0x10, 4), b = read(2, 0x10, 4);
    assert_int_equal(a & 0xf, 4);
    assert_int_equal(read(1, 0x14, 4), 0);
    uint64_t at[] = { a & ~0xfu, b & ~0xfu };
    const uint64_t hpa[] = { 0x3800000000, 0xfe010000 }, size[] = { 0x4000, 0x10000 };
    for (unsigned i = 0; i < 2; i++) {
        assert_true(at[i] >= VM_RAM_LOW_END && at[i] % size[i] == 0);
        for (uint64_t o = 0; o < size[i]; o += PAGE_SIZE) {
            assert_true(pt_lookup(&vm.npt, PTADDR(at[i] + o), &leaf));
            assert_int_equal(leaf.out.v, hpa[i] + o);
            assert_int_equal(leaf.perm & (PT_R | PT_W | PT_X | PT_UC), PT_R | PT_W | PT_UC);
        }
        assert_false(pt_lookup(&vm.npt, PTADDR(at[i] + size[i]), &leaf) && i == 1);
    }
    /* Sizing, in every width, and put back; the function's own BAR never moves. */
    write(1, 0x10, 4, ~0u);
    write(1, 0x14, 4, ~0u);
    assert_int_equal(read(1, 0x10, 4), 0xffffc004);
    assert_int_equal(read(1, 0x14, 4), 0xffffffff);
    write(1, 0x10, 4, a);
    write(1, 0x14, 4, 0);
    assert_int_equal(read(1, 0x10, 4), a);
    assert_int_equal(read(1, 0x14, 4), 0);
    write(1, 0x10, 4, 0xd0000000); /* moving is not offered */
    assert_int_equal(read(1, 0x10, 4), a);
    assert_int_equal(read(1, 0x18, 4), 0);
    write(1, 0x18, 4, ~0u);
    assert_int_equal(read(1, 0x18, 4), 0);
    assert_int_equal(pci_config_read(0x20, 0x10, 4), 0x00000004);
    assert_int_equal(pci_config_read(0x20, 0x14, 4), 0x38);
    end_vm(&vm);
}

static void command_register_is_filtered(void **state)
{
    (void)state;
    begin();
    platform_put(function[0].config, PCI_ROM, 4, 0xfe020001); /* as firmware left it: decoded */
    platform_put(function[0].writable, PCI_ROM, 4, 0xffff0001);
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(pci_config_read(0x20, PCI_COMMAND, 2), 0x402); /* decodes, masters nothing */
    assert_int_equal(pci_config_read(0x20, PCI_ROM, 4) & 1, 0);
    assert_int_equal(read(1, PCI_ROM, 4), 0);
    assert_int_equal(read(1, PCI_COMMAND, 2), 0);
    write(1, PCI_COMMAND, 2, 0xffff);
    assert_int_equal(read(1, PCI_COMMAND, 2), 0x406);
    assert_int_equal(pci_config_read(0x20, PCI_COMMAND, 2), 0x406);
    write(1, PCI_COMMAND, 1, 0x02); /* one byte of it */
    assert_int_equal(read(1, PCI_COMMAND, 2), 0x402);
    assert_int_equal(pci_config_read(0x20, PCI_COMMAND, 2), 0x402);
    write(1, PCI_COMMAND, 2, 0); /* the guest stops decoding: Sluice does not */
    assert_int_equal(read(1, PCI_COMMAND, 2), 0);
    assert_int_equal(pci_config_read(0x20, PCI_COMMAND, 2), 0x402);
    write(1, PCI_COMMAND, 2, 6);
    end_vm(&vm);
    assert_int_equal(pci_config_read(0x20, PCI_COMMAND, 2), 0); /* quiet afterwards */
}

static void expect_refused(enum hv_status want, const char *text)
{
    platform_clear_log();
    assert_int_equal(vpci_create(&vm, &config), want);
    assert_true(platform_logged(text));
    assert_null(vm.vpci);
    pt_destroy(&vm.npt);
    assert_int_equal(vm.quota.used, 0);
    make_vm(&vm);
}

static void wrong_functions_are_refused(void **state)
{
    (void)state;
    begin();
    config.pci[1] = (struct boot_pci){ 0x38, 21 };
    expect_refused(HV_ENODEV, "line 21: function 00:07.0 is absent");
    config.pci[1] = (struct boot_pci){ 0x20, 22 };
    expect_refused(HV_EEXIST, "line 22: function 00:04.0 belongs");
    config.pci[1] = (struct boot_pci){ 0x28, 23 };

    function[1].config[PCI_HEADER_TYPE] = 1;
    expect_refused(HV_ENOTSUP, "is a bridge");
    function[1].config[PCI_HEADER_TYPE] = 0;
    platform_put(function[1].writable, 0x10, 4, 0xffffff00); /* 256 bytes */
    expect_refused(HV_ENOTSUP, "not whole pages");
    platform_put(function[1].config, 0x10, 4, 4); /* never assigned */
    platform_put(function[1].writable, 0x10, 4, 0xffff0000);
    expect_refused(HV_ENOTSUP, "no address");
    platform_put(function[1].config, 0x10, 8, 0x4000000000 | 4);
    platform_put(function[1].writable, 0x10, 8, ~0ull << 30); /* 1 GiB */
    expect_refused(HV_ERANGE, "do not fit");
    platform_pci_endpoint(&function[1], 0x28, 1, 1, 0x3800002000, 0x1000);
    expect_refused(HV_EEXIST, "line 23: function 00:05.0 has a BAR over"); /* the first one's */
    platform_pci_endpoint(&function[1], 0x28, 1, 1, 0xfe010000, 0x10000);
    claims_add(PADDR(0xfe01f000), 0x1000); /* as if the unit's registers were there */
    expect_refused(HV_EEXIST, "line 23: function 00:05.0 has a BAR over");
    claims_drop(PADDR(0xfe01f000), 0x1000);
    vm.quota.limit = 2;
    expect_refused(HV_EQUOTA, "quota");

    /* After all these refusals nothing is held: both can be taken. Another VM then cannot. */
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    make_vm(&other);
    other_config = (struct boot_vm){ .npci = 1, .pci = { { 0x28, 30 } } };
    assert_int_equal(vpci_create(&other, &other_config), HV_EEXIST);
    assert_true(platform_logged("line 30"));
    end_vm(&vm);
    assert_int_equal(vpci_create(&other, &other_config), HV_OK);
    end_vm(&other);
}

static void offer_acs(struct platform_pci *f)
{
    platform_put(f->config, 0x100, 4, 0x0001000d);
    platform_put(f->config, 0x104, 2, 0x0c);
    platform_put(f->writable, 0x106, 2, 0x0c);
}

/* Two functions of one device without ACS can reach each other past the IOMMU: one owner. */
static void a_group_has_one_owner(void **state)
{
    static struct platform_pci twin;
    (void)state;
    begin();
    platform_pci_endpoint(&twin, 0x21, 1, 1, 0xfe040000, 0x1000);
    platform_add_pci(&twin);
    function[0].config[PCI_HEADER_TYPE] = 0x80;
    config = (struct boot_vm){ .npci = 1, .pci = { { 0x20, 40 } } };
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    make_vm(&other);
    other_config = (struct boot_vm){ .npci = 1, .pci = { { 0x21, 41 } } };
    assert_int_equal(vpci_create(&other, &other_config), HV_EEXIST);
    assert_true(platform_logged("line 41: function 00:04.1 cannot be kept apart from 00:04.0"));
    offer_acs(&twin); /* which does not keep its twin from it */
    assert_int_equal(vpci_create(&other, &other_config), HV_EEXIST);
    offer_acs(&function[0]);
    other_config = (struct boot_vm){ .npci = 1, .pci = { { 0x21, 41 } } };
    assert_int_equal(vpci_create(&other, &other_config), HV_OK);
    end_vm(&other);
    end_vm(&vm);
    config = (struct boot_vm){ .npci = 2, .pci = { { 0x20, 40 }, { 0x21, 41 } } }; /* one owner */
    platform_put(twin.config, 0x100, 4, 0);
    make_vm(&vm);
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    end_vm(&vm);
}

/* Behind a bridge to conventional PCI all carry one requester id: they go to one VM, and what no VM
 * has there is silent. */
/* The link's port has no ACS: its device can say that it is another one. */
static void a_port_that_checks_no_ids_is_told(void **state)
{
    static struct platform_pci port, one;
    (void)state;
    begin();
    platform_pci_endpoint(&port, 0xf0, 1, 1, 0, 0);
    port.config[PCI_HEADER_TYPE] = 1;
    port.config[PCI_SECONDARY_BUS] = port.config[PCI_SUBORDINATE_BUS] = 5;
    platform_put(port.config, PCI_STATUS, 2, 0x10);
    platform_put(port.config, PCI_CAPABILITIES, 1, 0x40);
    platform_put(port.config, 0x40, 4, 0x00420010); /* root port */
    platform_pci_endpoint(&one, 0x500, 1, 1, 0xfe040000, 0x1000);
    platform_add_pci(&port);
    platform_add_pci(&one);
    config = (struct boot_vm){ .npci = 1, .pci = { { 0x500, 40 } } };
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_true(platform_logged("line 40: function 05:00.0 is behind a port without ACS"));
    end_vm(&vm);
}

static void behind_a_conventional_bridge_there_is_one_owner(void **state)
{
    static struct platform_pci bridge, one, two, idle;
    (void)state;
    begin();
    platform_pci_endpoint(&bridge, 0xf0, 1, 1, 0, 0);
    bridge.config[PCI_HEADER_TYPE] = 1;
    bridge.config[PCI_SECONDARY_BUS] = bridge.config[PCI_SUBORDINATE_BUS] = 5;
    platform_put(bridge.config, PCI_COMMAND, 2, 7);
    platform_pci_endpoint(&one, 0x500, 1, 1, 0xfe040000, 0x1000);
    platform_pci_endpoint(&two, 0x508, 1, 1, 0xfe041000, 0x1000);
    platform_pci_endpoint(&idle, 0x510, 1, 1, 0xfe042000, 0x1000);
    platform_put(idle.config, PCI_COMMAND, 2, 7);
    platform_add_pci(&bridge);
    platform_add_pci(&one);
    platform_add_pci(&two);
    platform_add_pci(&idle);
    config = (struct boot_vm){ .npci = 2, .pci = { { 0x500, 40 }, { 0x508, 41 } } };
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(pci_config_read(0x510, PCI_COMMAND, 2), 3);
    assert_int_equal(pci_config_read(0xf0, PCI_COMMAND, 2), 7); /* it forwards DMA */
    write(1, PCI_COMMAND, 2, 6);
    make_vm(&other);
    other_config = (struct boot_vm){ .npci = 1, .pci = { { 0x510, 42 } } };
    assert_int_equal(vpci_create(&other, &other_config), HV_EEXIST);
    assert_true(platform_logged("line 42: function 05:02.0 cannot be kept apart from 05:00.0"));
    assert_false(platform_logged("requester id of any other"));
    assert_int_equal(pci_config_read(0x500, PCI_COMMAND, 2) & 4, 4);
    end_vm(&vm);
    assert_int_equal(vpci_create(&other, &other_config), HV_OK);
    end_vm(&other);
}

/* With phantom functions on, a function would use ids that are others' (PCIe 2.2.6.2). */
static void phantom_functions_are_off(void **state)
{
    (void)state;
    begin();
    platform_put(function[0].config, 0x68, 2, 0x2b10);
    assert_int_equal(vpci_create(&vm, &config), HV_OK);
    assert_int_equal(pci_config_read(0x20, 0x68, 2), 0x2b10 & ~0x200);
    write(1, 0x68, 2, 0x2b10);
    assert_int_equal(pci_config_read(0x20, 0x68, 2), 0x2b10 & ~0x200);
    end_vm(&vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(functions_appear_in_slots),
        platform_test(only_a_known_part_shows),
        platform_test(bars_are_mapped_uncached_below_4g),
        platform_test(command_register_is_filtered),
        platform_test(wrong_functions_are_refused),
        platform_test(a_group_has_one_owner),
        platform_test(a_port_that_checks_no_ids_is_told),
        platform_test(behind_a_conventional_bridge_there_is_one_owner),
        platform_test(phantom_functions_are_off),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
