/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attach: any domain on any RID or (RID, PASID), in place of what was there. A PASID that SVA owns
 * keeps its meaning: only BLOCKED and its own root are allowed there.
 */
#include "hv/attach.h"

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/ioas.h"

static_assert((int)IOMMU_HITLESS == HC_ATTACH_HITLESS);
static_assert((int)IOMMU_BLOCKED_WINDOW == HC_ATTACH_BLOCKED_WINDOW);

/* HC_PASID_NONE, or a number that the device can carry; 0 is what the unit uses for the RID. */
static enum hv_status check_pasid(const struct device *device, uint32_t pasid)
{
    if (pasid == HC_PASID_NONE)
        return HV_OK;
    if (!device->io.pasid_bits)
        return HV_ENOTSUP;
    return pasid == PASID_RID || pasid >> device->io.pasid_bits ? HV_ERANGE : HV_OK;
}

enum hv_status attach_check_root(const struct device *device, uint64_t root, uint32_t levels)
{
    if (levels != 4 && levels != 5)
        return HV_EINVAL;
    if (!domain_walks(device->caps, levels))
        return HV_ENOTSUP;
    if (root & PAGE_MASK)
        return HV_EALIGN;
    return vm_ram(device->vm, GPADDR(root), PAGE_SIZE) ? HV_OK : HV_EFAULT;
}

static enum hv_status block(struct bond *bond)
{
    if (bond && bond->refs)
        bond_block(bond);
    else if (bond)
        bond_free(bond);
    return HV_OK;
}

static enum hv_status replace(struct device *device, uint32_t pasid, const struct space_spec *spec,
                              struct bond *old)
{
    struct space *there = old ? old->space : NULL;
    struct bond *bond;

    if (device->io.failed)
        return HV_EIO;
    if (!old && pasid != HC_PASID_NONE)
        there = idmap_get(&device->vm->sva->pasids, pasid);
    if (there && space_is(there, spec))
        return old ? bond_restore(old) : bond_make(device, pasid, there, spec, true, NULL, &bond);
    /* Another meaning for the PASID: only if nobody else relies on the one it has. */
    if (there && (!old || old->refs || there->bonds->next))
        return HV_EEXIST;
    return bond_make(device, pasid, NULL, spec, true, old, &bond);
}

enum hv_status attach_hc(struct vm *vm, const void *arg, uint64_t *value)
{
    const struct hc_attach *in = arg;
    struct device *device = device_get(vm, in->device);
    struct space_spec spec = { .kind = (enum hc_domain)in->domain };

    if (in->flags || in->domain > HC_DOMAIN_NESTED)
        return HV_EINVAL;
    if (!device)
        return HV_ENODEV;
    device = device->first;
    enum hv_status status = check_pasid(device, in->pasid);
    if (status != HV_OK)
        return status;
    if (in->domain == HC_DOMAIN_PAGING) {
        if (in->levels)
            return HV_EINVAL;
        if (!ioas_find(vm, in->root))
            return HV_ENOENT;
        spec.root = GPADDR(in->root);
    } else if (in->domain == HC_DOMAIN_NESTED) {
        status = attach_check_root(device, in->root, in->levels);
        if (status != HV_OK)
            return status;
        spec.root = GPADDR(in->root);
        spec.levels = (uint8_t)in->levels;
    } else if (in->root || in->levels) {
        return HV_EINVAL;
    }
    struct bond *old = bond_find(device, in->pasid);
    device->io.how = IOMMU_SAME; /* the driver may not be asked at all */
    status = in->domain == HC_DOMAIN_BLOCKED ? block(old) : replace(device, in->pasid, &spec, old);
    if (status == HV_OK)
        *value = device->io.how;
    return status;
}
