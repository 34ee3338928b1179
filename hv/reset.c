/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reset of a device. Order: bonds, IOPF, the unit's view, the function. From the third step on the
 * device counts as failed, which is what keeps everybody else's calls away from it while this one
 * waits, without a lock, for the function.
 */
#include "hv/reset.h"

#include "hv/device.h"
#include "hv/hypercall.h"
#include "hv/iopf.h"
#include "hv/log.h"
#include "hv/sva.h"
#include "hv/vpci.h"

/* Lock: the VM's. */
static enum hv_status begin(struct device *d)
{
    if (d->resetting)
        return HV_EBUSY;
    if (!device_present(d))
        return HV_EIO;
    if (!device_resets(d))
        return HV_ENOTSUP;
    enum hv_status status = sva_end_device(d);
    if (status != HV_OK)
        return status;
    d->resetting = true;
    iopf_off(d);
    (void)iommu->device_stop(&d->io); /* device_restart() tells */
    return HV_OK;
}

enum hv_status reset_device(struct device *d)
{
    struct vm *vm = d->vm;

    lock_take(&vm->lock);
    enum hv_status status = begin(d);
    lock_drop(&vm->lock);
    if (status != HV_OK)
        return status;
    /* Whatever the unit has confirmed: the function's DMA is to stop. */
    status = vpci_reset(vm, d->handle);
    lock_take(&vm->lock);
    d->resetting = false;
    if (status == HV_OK)
        status = iommu->device_restart(&d->io);
    else if (status == HV_ENODEV || status == HV_ENOTSUP) { /* it could be reset a moment ago */
        device_lost(d);
        status = HV_EIO;
    }
    lock_drop(&vm->lock);
    rid_t rid = d->io.rid;
    log_info("device", "%s: %02x:%02x.%x reset: %d", vm->name, rid >> 8, rid >> 3 & 31, rid & 7,
             status);
    return status;
}

enum hv_status reset_hc(struct vm *vm, const void *arg, uint64_t *)
{
    const uint64_t *reg = arg;
    struct device *d = device_get(vm, reg[0]);

    return d ? reset_device(d) : HV_ENODEV;
}
