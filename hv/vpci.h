/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI bus that a VM sees: bus 0, a host bridge in slot 0, its functions in the slots from 1 on,
 * in the order of the configuration. Ports 0xCF8 to 0xCFF.
 *
 * Of a function it sees the identity, the command register, its memory BARs and the capabilities
 * PCIe, MSI and MSI-X (hv/vmsi.h); all others and IO BARs are not there. BARs have fixed guest
 * addresses, given by Sluice from VM_RAM_LOW_END up: sizing works, moving them does not. They are
 * mapped while the VM lives: the memory-decode bit is remembered, and decoding stays on. The
 * bus-master bit is the function's own: where its DMA goes is the IOMMU's matter.
 */
#ifndef HV_VPCI_H
#define HV_VPCI_H

#include "hv/bootinfo.h"
#include "hv/types.h"

struct vm;

/* Slot of the VM's function @index as requester id. */
static inline rid_t vpci_rid(unsigned index)
{
    return (rid_t)((index + 1) << 3);
}

/* Take the VM's functions, reset those that can be, and map their BARs into vm->npt. On error
 * nothing is held, and the log names the line: HV_ENODEV: absent, HV_ETIMEDOUT: it does not come
 * back from its reset; HV_EEXIST: another VM has it, it is named twice, or a BAR of it lies where
 * something else is (hv/claims.h); HV_ENOTSUP: a bridge, or a BAR that is not whole pages;
 * HV_ERANGE: BARs do not fit; HV_EQUOTA, HV_ENOMEM. Boot.
 */
enum hv_status vpci_create(struct vm *vm, const struct boot_vm *config);
/* Functions are reset if they can be, stop mastering and decoding, and are free again. Their
 * translations are gone already. */
void vpci_destroy(struct vm *vm);
/* Function level reset (hv/flr.h) of the VM's function @index: its configuration space is as
 * before, what the VM set in it too. Meanwhile it is absent for the VM. As flr_begin and flr_end.
 * One at a time for each function. Lock: none. */
enum hv_status vpci_reset(struct vm *vm, unsigned index);

/* @port: 0xCF8 to 0xCFF. @size: 1, 2, 4. What is not there reads as ones. Lock: takes the VM's. */
uint32_t vpci_io_read(struct vm *vm, uint16_t port, unsigned size);
void vpci_io_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value);

#endif
