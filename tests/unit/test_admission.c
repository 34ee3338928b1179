/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/* What a function must not do on its own, and who may let it: ATS, interrupts. */
#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

#define REMAPS (1ull << 3) /* ECAP.IR */
#define EIM    (1ull << 4)

static struct vm *vm;

/* @listed: firmware has a list of integrated functions (SATC), with this one (0: with nobody). */
static void start(uint64_t without, bool satc, rid_t listed)
{
    struct vtd_model_config config = bed_config();
    uint8_t table[4096], sum = 0;

    assert_int_equal(bed_fresh(NULL), 0);
    fake_reset();
    config.ecap &= ~without;
    bed_make(&config, 1);
    size_t length = bed_dmar(table);
    if (satc) {
        platform_put(table, (unsigned)length, 4, 5 | 16 << 16);
        table[length + 8] = 1;
        table[length + 9] = 8;
        table[length + 13] = listed >> 8;
        table[length + 14] = listed >> 3 & 31;
        table[length + 15] = listed & 7;
        length += 16;
        platform_put(table, 4, 4, length);
        table[9] = 0;
        for (size_t i = 0; i < length; i++)
            sum = (uint8_t)(sum + table[i]);
        table[9] = (uint8_t)-sum;
    }
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
    vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
}

static void stop(void)
{
    abi_free_vm(vm);
    assert_int_equal(bed_check(NULL), 0);
}

static enum hv_status add(rid_t rid, uint16_t flags)
{
    return device_add(vm, &(struct boot_pci){ rid, 7, flags });
}

static void without_remapping_a_function_has_to_be_admitted(void **state)
{
    (void)state;
    start(REMAPS | EIM, false, 0);
    platform_clear_log();
    uint64_t used = vm->quota.used;
    assert_int_equal(add(BED_A, 0), HV_EBUSY);
    assert_true(platform_logged("line 7: vtd0 does not remap interrupts"));
    assert_true(platform_logged("01:00.0") && platform_logged("interrupts=any"));
    assert_int_equal(vm->quota.used, used);
    assert_int_equal(vm->ndevices, 0);
    assert_int_equal(add(BED_A, BOOT_PCI_ANY_INTERRUPT), HV_OK);
    assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
    stop();
    start(0, false, 0);
    assert_int_equal(add(BED_A, 0), HV_OK);
    stop();
}

static void ats_is_on_where_it_may_be(void **state)
{
    static const struct {
        bool satc, listed, on;
        uint16_t flags;
    } rows[] = {
        { false, false, true, 0 },
        { false, false, false, BOOT_PCI_ATS_OFF },
        { false, false, true, BOOT_PCI_ATS_ON },
        { true, false, false, 0 },
        { true, false, true, BOOT_PCI_ATS_ON },
        { true, true, true, 0 },
        { true, true, false, BOOT_PCI_ATS_OFF },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t value;
        start(0, rows[i].satc, rows[i].listed ? BED_A : BED_B);
        assert_int_equal(add(BED_A, rows[i].flags), HV_OK);
        bool in_function = pci_config_read(BED_A, 0x116, 2) & 0x8000;
        assert_int_equal(vm->device[0]->io.ats, rows[i].on);
        assert_int_equal(vm->device[0]->io.pri, rows[i].on);
        assert_int_equal(in_function, rows[i].on);
        assert_int_equal(attach(vm, 0, HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0), HV_OK);
        assert_int_equal(bed_read(BED_A, BED_NO_PASID, 0x7000, &value), 0);
        assert_int_equal(bed_ats_read(BED_A, BED_NO_PASID, 0x7000, &value), rows[i].on);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_remapping_a_function_has_to_be_admitted),
        cmocka_unit_test(ats_is_on_where_it_may_be),
    };

    return cmocka_run_group_tests(tests, platform_setup, NULL); /* units never stop */
}
