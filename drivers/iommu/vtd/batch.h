/* SPDX-License-Identifier: BSD-2-Clause */
/* Batched work of the contract, per CPU: invalidate, respond, flush. */
#ifndef DRIVERS_IOMMU_VTD_BATCH_H
#define DRIVERS_IOMMU_VTD_BATCH_H

#include "drivers/iommu/iommu.h"

/* Before the others; every CPU has been started. HV_ENOMEM. */
enum hv_status vtd_batch_start(void);
void vtd_batch_invalidate(const struct iommu_inval *inval);
void vtd_batch_respond(struct iommu_device *dev, const struct iommu_page_request *last,
                       bool success);
enum hv_status vtd_batch_flush(void);

struct iommu_unit *vtd_unit(unsigned index); /* vtd.c */

#endif
