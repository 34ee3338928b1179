/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 4 KiB of PCI Express configuration space as two byte arrays: the values, and the bits that
 * software may write. What a write sets in motion is the owner's business: it looks at the bits
 * before and after.
 */
#ifndef TESTS_MODEL_PCI_CONFIG_H
#define TESTS_MODEL_PCI_CONFIG_H

#include <stdint.h>

#define PCI_CONFIG_SIZE 4096u

struct pci_config {
    uint8_t value[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits that a write replaces */
    uint8_t clears[PCI_CONFIG_SIZE];   /* bits that writing a 1 clears */
};

struct pci_identity {
    uint16_t vendor, device;
    uint32_t class_code; /* 24 bits: base class, sub-class, interface */
    uint8_t revision;
    uint32_t bar0_size; /* 64-bit memory BAR, a power of two */
};

enum {
    PCI_COMMAND = 0x04,
    PCI_COMMAND_MEMORY = 1u << 1,
    PCI_COMMAND_MASTER = 1u << 2,
    PCI_CAP_EXPRESS = 0x40, /* where pci_config_init puts the Express capability */
    PCI_DEVCTL = PCI_CAP_EXPRESS + 8,
    PCI_DEVCTL_FLR = 1u << 15,
};

/* Power-on contents: header type 0, BAR0, Express capability of an integrated endpoint with FLR. */
void pci_config_init(struct pci_config *c, const struct pci_identity *id);

/* offset + size never passes the end; size 1 to 8. Out of range: reads all ones, writes nothing. */
uint64_t pci_config_space_read(const struct pci_config *c, uint32_t offset, unsigned size);
void pci_config_space_write(struct pci_config *c, uint32_t offset, unsigned size, uint64_t value);

/* Little-endian access by the owner, past the write masks. */
uint32_t pci_config_get(const struct pci_config *c, uint32_t offset, unsigned size);
void pci_config_set(struct pci_config *c, uint32_t offset, unsigned size, uint32_t value);

#endif
