/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI functions of segment 0: who is there, what capabilities, how large its BARs are. Lists that a
 * function presents are bounded: a loop in them ends the search.
 */
#ifndef HV_PCI_H
#define HV_PCI_H

#include "hv/types.h"

enum pci_register { /* bytes from the start of configuration space */
                    PCI_VENDOR = 0x00,
                    PCI_DEVICE = 0x02,
                    PCI_COMMAND = 0x04,
                    PCI_STATUS = 0x06,
                    PCI_CLASS = 0x08, /* class 31:8, revision 7:0 */
                    PCI_HEADER_TYPE = 0x0e,
                    PCI_BAR0 = 0x10,
                    PCI_SECONDARY_BUS = 0x19,
                    PCI_SUBORDINATE_BUS = 0x1a,
                    PCI_SUBSYSTEM = 0x2c,
                    PCI_ROM = 0x30,
                    PCI_CAPABILITIES = 0x34,
                    PCI_EXTENDED = 0x100,
};

enum pci_command {
    PCI_COMMAND_IO = 1u << 0,
    PCI_COMMAND_MEMORY = 1u << 1,
    PCI_COMMAND_MASTER = 1u << 2,
    PCI_COMMAND_NO_INTX = 1u << 10,
};

#define PCI_BARS 6u

struct pci_bar {
    uint64_t base, size; /* size 0: not a memory BAR, or the upper half of one */
    bool wide, prefetchable;
    bool io;
};

static inline rid_t pci_rid(unsigned bus, unsigned device, unsigned function)
{
    return (rid_t)(bus << 8 | device << 3 | function);
}

bool pci_present(rid_t rid);
/* Find the root buses: bus 0, and those with functions to which no bridge leads (servers have a
 * dozen, which only ACPI's methods could name). Until then bus 0 is the only one. Boot. */
void pci_find_roots(void);
/* Every function that can be reached from a root bus through bridges as firmware set them up. */
void pci_each(void (*fn)(void *ctx, rid_t rid), void *ctx);
/* The bridges between a function and its root bus, the root port first. @return how many. */
#define PCI_PATH_MAX 16u
unsigned pci_path(rid_t rid, rid_t bridge[PCI_PATH_MAX]);
/* The physical function that a virtual one belongs to (SR-IOV); of any other, itself. */
rid_t pci_physical(rid_t rid);
/* Offset of a capability; 0: the function has none with this id. */
unsigned pci_capability(rid_t rid, uint8_t id);
unsigned pci_extended_capability(rid_t rid, uint16_t id);
/* Size the BARs of a function with header type 0: its decoding is off meanwhile. Boot. */
void pci_bars(rid_t rid, struct pci_bar bar[PCI_BARS]);

#endif
