/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu/vtd/masters.h"

#include "hv/pci.h"
#include "hv/platform.h"

/* Functions of root buses; those beyond stay off: their owner switches them on. */
static rid_t stopped[256];
static unsigned nstopped;

static void stop(void *, rid_t rid)
{
    uint32_t command = pci_config_read(rid, PCI_COMMAND, 2);
    rid_t path[PCI_PATH_MAX];

    if (!(command & PCI_COMMAND_MASTER) || pci_path(rid, path))
        return;
    if (nstopped < ARRAY_SIZE(stopped))
        stopped[nstopped++] = rid;
    pci_config_write(rid, PCI_COMMAND, 2, command & ~(uint32_t)PCI_COMMAND_MASTER);
    (void)pci_config_read(rid, PCI_COMMAND, 2); /* behind what it had sent before */
}

void vtd_masters_off(void)
{
    pci_each(stop, NULL);
}

void vtd_masters_on(void)
{
    while (nstopped) {
        rid_t rid = stopped[--nstopped];
        pci_config_write(rid, PCI_COMMAND, 2,
                         pci_config_read(rid, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
    }
}
