/* SPDX-License-Identifier: BSD-2-Clause */
/* The PCI functions that Sluice shows: bus 0, configuration mechanism 1. RID: bus, device,
 * function. */
#ifndef GUEST_LIB_PCI_H
#define GUEST_LIB_PCI_H

#include <stdint.h>

uint32_t pci_read(uint32_t rid, uint8_t offset);
void pci_write(uint32_t rid, uint8_t offset, uint32_t value);
/* Next function with this identity (device << 16 | vendor) behind @after (start with -1); -1: none.
 */
int32_t pci_find(uint32_t id, int32_t after);
/* Address of a memory BAR; turns memory decode and bus mastering on. */
uint64_t pci_enable_bar(uint32_t rid, unsigned bar);

#endif
