/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts of devices to the VM that owns them.
 *
 * Each has a vector of the CPU that runs its vCPU, and an entry of the unit by which only this
 * device raises it. A CPU belongs to one VM, and so do its vectors: what one VM takes is not
 * missing elsewhere. On the way in, all that is done is to post the guest's vector.
 *
 * A device that raises one more often than anybody could serve is silenced for a moment, on its
 * owner's CPU and account; the guest is told by an event, and gets one interrupt for all that it
 * missed when the moment is over.
 */
#ifndef HV_INTERRUPT_H
#define HV_INTERRUPT_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

struct device;
struct vm;

#define INTERRUPTS    63u /* of a device, by number: those that the guest asks for */
#define INTERRUPT_MSI 63u /* and the one of the MSI capability (hv/vmsi.c) */

#define INTERRUPT_WINDOW_US 10000u
#define INTERRUPT_BURST     1000u  /* in a window: more is a flood */
#define INTERRUPT_QUIET_US  10000u /* then silence, at least */

struct interrupt;

/** Raise @vector (32 to 255) of vCPU @vcpu when the device sends *@out, which stays the same until
 *  interrupt_off. Of one that is on, the target changes. Lock: the VM's.
 *  @return HV_ENOTSUP the device's unit cannot tell interrupts apart; HV_EBUSY that vCPU's CPU has
 * no vector left; HV_EQUOTA, HV_ENOMEM; HV_EIO the device has failed: nothing has changed.
 *          HV_ETIMEDOUT, HV_EIO the unit does not answer: it is off. */
enum hv_status interrupt_on(struct device *d, uint32_t index, uint32_t vcpu, uint8_t vector,
                            struct iommu_irq *out);
/* HV_ENOENT: it is not on. Lock: the VM's. */
enum hv_status interrupt_off(struct device *d, uint32_t index);
/* All of a VM, for good: its vCPUs have stopped. Lock: none. */
void interrupt_end(struct vm *vm);
/* End what silence has lasted long enough. Often; boot CPU; no lock held. */
void interrupt_tick(struct vm *vm);

#endif
