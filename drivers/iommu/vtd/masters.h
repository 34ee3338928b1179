/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Silence before a unit: while translation is off for a moment and no protected range covers it, no
 * function may master the bus. What is on root buses stops, and with root ports all that is below
 * (PCIe 7.5.1.1.3: a port without bus master forwards nothing upwards). Boot; nested calls do not
 * happen.
 */
#ifndef DRIVERS_IOMMU_VTD_MASTERS_H
#define DRIVERS_IOMMU_VTD_MASTERS_H

void vtd_masters_off(void);
/* Those that were on before are on again. */
void vtd_masters_on(void);

#endif
