/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PASID directory and tables of a device (9.5, 9.6), and the change of what a PASID translates
 * through. Tables are made as they are needed, charged to the device's quota, and stay until the
 * device goes.
 */
#ifndef DRIVERS_IOMMU_VTD_PASID_H
#define DRIVERS_IOMMU_VTD_PASID_H

#include "drivers/iommu/vtd/device.h"
#include "hv/platform.h"

#define PASID_ENTRY_QWORDS 8u
#define PASID_PRESENT      1ull

/* Directory for all PASIDs of the device, and the table that holds the RID's. HV_EQUOTA, HV_ENOMEM.
 */
enum hv_status vtd_pasid_tables_make(struct vtd_device *v);
void vtd_pasid_tables_free(struct vtd_device *v);
/* As they were when made. Hardware walks none of them. */
void vtd_pasid_tables_trim(struct vtd_device *v);

enum hv_status vtd_attach(struct iommu_device *dev, uint32_t pasid,
                          const struct iommu_target *target);
enum hv_status vtd_block(struct iommu_device *dev, uint32_t pasid);

/* The first PASID from *pasid on that is present (and has domain id @id, if that is not 0). */
bool vtd_pasid_next(const struct vtd_device *v, uint32_t id, uint32_t *pasid);

/* The entry of a PASID; NULL: out of range, or no table there. */
static inline uint64_t *vtd_pasid_entry(const struct vtd_device *v, uint32_t pasid)
{
    if (pasid >> 6 >= v->dir_entries)
        return NULL;
    uint64_t link = v->dir[pasid >> 6];
    if (!(link & PASID_PRESENT))
        return NULL;
    return (uint64_t *)phys_to_virt(PADDR(link & ~PAGE_MASK)) + PASID_ENTRY_QWORDS * (pasid & 63);
}

static inline uint32_t vtd_pasid_did(const uint64_t *entry)
{
    return (uint16_t)entry[1];
}

#endif
