/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt remapping (chapter 5): on, with a table in which nothing is present and compatibility
 * format refused, so that no device can raise a vector of the host. Events of the units are never
 * remapped.
 */
#ifndef DRIVERS_IOMMU_VTD_INTREMAP_H
#define DRIVERS_IOMMU_VTD_INTREMAP_H

#include "drivers/iommu/iommu.h"

/* The queue is on. HV_ENOMEM, HV_ETIMEDOUT, HV_EIO. */
enum hv_status vtd_intremap_start(struct iommu_unit *unit);

#endif
