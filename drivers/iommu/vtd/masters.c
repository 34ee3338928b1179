/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu/vtd/masters.h"

#include "hv/pci.h"
#include "hv/platform.h"

static uint32_t stopped[256 / 32]; /* functions of bus 0 */

static void stop(void *, rid_t rid)
{
    uint32_t command = pci_config_read(rid, PCI_COMMAND, 2);

    if (rid >> 8 || !(command & PCI_COMMAND_MASTER))
        return;
    stopped[rid / 32] |= 1u << rid % 32;
    pci_config_write(rid, PCI_COMMAND, 2, command & ~(uint32_t)PCI_COMMAND_MASTER);
    (void)pci_config_read(rid, PCI_COMMAND, 2); /* behind what it had sent before */
}

void vtd_masters_off(void)
{
    pci_each(stop, NULL);
}

void vtd_masters_on(void)
{
    for (rid_t rid = 0; rid < 256; rid++) {
        if (!(stopped[rid / 32] & 1u << rid % 32))
            continue;
        stopped[rid / 32] &= ~(1u << rid % 32);
        pci_config_write(rid, PCI_COMMAND, 2,
                         pci_config_read(rid, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
    }
}
