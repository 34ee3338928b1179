/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MSI and MSI-X of a function as its VM sees them; shown only if the unit can tell interrupts
 * apart.
 *
 * MSI: the guest writes a message as on a machine without remapping (the vCPU's APIC id, a vector),
 * and the function gets the message by which the unit knows it. A message of HC_DEVICE_IRQ (bit 4
 * of the address) is passed on as it is.
 * MSI-X: its table lies in a BAR, which is the guest's, and what is in it can only raise what was
 * given to this device: so the guest writes messages of HC_DEVICE_IRQ there itself.
 */
#ifndef HV_VMSI_H
#define HV_VMSI_H

#include "hv/types.h"

struct vm;

struct vmsi {
    uint8_t msi, msix;   /* offsets of the capabilities; 0: not shown */
    bool wide, maskable; /* MSI: 64-bit address, mask register */
    bool enabled;        /* by the guest */
    bool mask;
    uint32_t address, upper; /* the guest's message */
    uint16_t data;
};

/* Look at a function that a VM is to have, and turn its messages off. Boot. */
void vmsi_create(rid_t rid, struct vmsi *out);
/* Off for good. */
void vmsi_destroy(rid_t rid, const struct vmsi *m);

/* Does the dword at @reg belong to one of the capabilities? @value: as the guest reads it, but for
 * the link to the next capability, which is 0. */
bool vmsi_read(rid_t rid, const struct vmsi *m, unsigned reg, uint32_t *value);
/* The guest writes the dword at @reg of its function @index. Lock: the VM's. */
void vmsi_write(struct vm *vm, unsigned index, struct vmsi *m, rid_t rid, unsigned reg,
                uint32_t value);

#endif
