/* SPDX-License-Identifier: BSD-2-Clause */
/* The PCI view: our functions and no others, and no way to move them. */
#include "guest/lib/pci.h"

#include "guest/lib/cpu.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

static bool is_device(uint32_t rid)
{
    struct hc_device_info info;

    for (uint32_t i = 0; sluice_device_info(i, &info) == HV_OK; i++)
        if (info.rid == rid)
            return true;
    return false;
}

static void only_ours(void)
{
    uint32_t functions = 0;
    struct hc_vm_info info;

    for (uint32_t rid = 0; rid < 0x10000; rid += rid & 7 || pci_read(rid, 0) != ~0u ? 1 : 8) {
        if (pci_read(rid, 0) == ~0u)
            continue;
        if (pci_read(rid, 8) >> 24 == 6) /* the bridge that stands for the bus */
            continue;
        CHECK(is_device(rid));
        functions++;
        if (rid > 0x200) /* one bus is enough to prove the point, and reads are slow */
            break;
    }
    CHECK_EQUAL(sluice_vm_info(&info), HV_OK);
    CHECK_EQUAL(functions, info.devices);
}

static void fixed_fields(void)
{
    struct hc_device_info info;

    for (uint32_t i = 0; sluice_device_info(i, &info) == HV_OK; i++) {
        uint32_t id = pci_read(info.rid, 0), bar = pci_read(info.rid, 0x10);

        pci_write(info.rid, 0, ~id);
        CHECK_EQUAL(pci_read(info.rid, 0), id);
        /* A BAR answers sizing, and then is back where Sluice put it. */
        pci_write(info.rid, 0x10, ~0u);
        CHECK(pci_read(info.rid, 0x10) != bar);
        pci_write(info.rid, 0x10, bar);
        CHECK_EQUAL(pci_read(info.rid, 0x10), bar);
    }
}

const struct check pci_checks[] = {
    { "pci_only_ours", only_ours },
    { "pci_fixed_fields", fixed_fields },
    { NULL, NULL },
};
