/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/vtd_core.h"

void vtd_core_start(const struct vtd_model_config *config)
{
    uint8_t table[4096];

    fake_reset();
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    bed_make(config, 1);
    size_t length = bed_dmar(table);
    assert_int_equal(iommu_vtd.probe(table, length, &device_events), HV_OK);
    assert_int_equal(iommu_vtd.start(), HV_OK);
    iommu = &iommu_vtd;
}

struct vtd_core vtd_core_bound(const struct vtd_model_config *config)
{
    struct vtd_core c = { 0 };

    vtd_core_start(config);
    c.vm = abi_make_vm(0, "vm", bed.ram, BED_RAM);
    c.other = abi_make_vm(1, "other", platform_ram(2 << 20), 2 << 20);
    assert_int_equal(device_add(c.vm, &(struct boot_pci){ BED_A, 1, 0 }), HV_OK);
    assert_int_equal(device_add(c.vm, &(struct boot_pci){ BED_B, 2, 0 }), HV_OK);
    assert_int_equal(device_add(c.other, &(struct boot_pci){ BED_C, 3, 0 }), HV_OK);
    c.root = bed_root();
    c.bond = bind(c.vm, 0, c.root.v, &c.pasid);
    bind(c.vm, 1, c.root.v, NULL);
    return c;
}
