/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration space with write masks. See pci_config.h. Layout after PCIe 6.0, chapter 7.
 */
#include "tests/model/pci_config.h"

#include <string.h>

static void put(uint8_t *bytes, uint32_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

uint32_t pci_config_get(const struct pci_config *c, uint32_t offset, unsigned size)
{
    return (uint32_t)pci_config_space_read(c, offset, size);
}

void pci_config_set(struct pci_config *c, uint32_t offset, unsigned size, uint32_t value)
{
    put(c->value, offset, size, value);
}

uint64_t pci_config_space_read(const struct pci_config *c, uint32_t offset, unsigned size)
{
    if (size > 8 || offset > PCI_CONFIG_SIZE - size)
        return ~UINT64_C(0);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)c->value[offset + i] << (8 * i);
    return value;
}

void pci_config_space_write(struct pci_config *c, uint32_t offset, unsigned size, uint64_t value)
{
    if (size > 8 || offset > PCI_CONFIG_SIZE - size)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i)), mask = c->writable[offset + i];
        uint8_t *old = &c->value[offset + i];

        *old = (uint8_t)((*old & ~mask) | (byte & mask));
        *old &= (uint8_t)~(byte & c->clears[offset + i]);
    }
}

void pci_config_init(struct pci_config *c, const struct pci_identity *id)
{
    memset(c, 0, sizeof(*c));

    put(c->value, 0x00, 2, id->vendor);
    put(c->value, 0x02, 2, id->device);
    put(c->value, 0x06, 2, 1u << 4); /* status: has a capability list */
    put(c->value, 0x08, 4, id->class_code << 8 | id->revision);
    put(c->value, 0x10, 4, 0x4); /* BAR0: memory, 64 bits, not prefetchable */
    put(c->value, 0x2c, 2, id->vendor);
    put(c->value, 0x2e, 2, id->device);
    put(c->value, 0x34, 1, PCI_CAP_EXPRESS);

    put(c->writable, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | 1u << 10);
    put(c->writable, 0x0c, 1, 0xff); /* cache line size */
    put(c->writable, 0x10, 8, ~(uint64_t)(id->bar0_size - 1));
    put(c->writable, 0x3c, 1, 0xff); /* interrupt line */

    /* Express capability, version 2, root-complex integrated endpoint (7.5.3). */
    put(c->value, PCI_CAP_EXPRESS + 0x00, 2, 0x0010);
    put(c->value, PCI_CAP_EXPRESS + 0x02, 2, 0x0092);
    put(c->value, PCI_CAP_EXPRESS + 0x04, 4, 1u << 28 | 1u << 15); /* FLR, role-based errors */
    put(c->value, PCI_DEVCTL, 2, 0x2010);                          /* relaxed order; 512 B reads */
    put(c->writable, PCI_DEVCTL, 2, 0x78ff); /* FLR reads 0: the owner sees it in the write */
    put(c->clears, PCI_DEVCTL + 2, 1, 0x0f);
}
