/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reset of a device, for its VM: everything that it translates through ends as by unbind, then a
 * function level reset, then it is as on the first day. What made it fail is over, if the unit
 * confirmed that nothing of the device is left in it.
 */
#ifndef HV_RESET_H
#define HV_RESET_H

#include "hv/types.h"

struct device;

/** Lock: none; takes the VM's, but not while it waits.
 *  @return HV_OK: BLOCKED, IOPF off, not failed; its configuration space and interrupts are as
 * before. HV_ENOTSUP: it has no such reset; HV_EBUSY: another call resets it: nothing has changed.
 *          HV_EAGAIN: many bonds have ended, others are left: call again, it goes on there.
 *          HV_EIO: it is gone, or the unit does not confirm; HV_ETIMEDOUT: it, or the unit, does
 * not answer in time: it is BLOCKED and has failed. */
enum hv_status reset_device(struct device *d);

#endif
