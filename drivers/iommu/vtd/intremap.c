/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt remapping with an empty table. */
#include "drivers/iommu/vtd/intremap.h"

#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"

enum { TABLE_256 = 7 }; /* IRTA.S: 2^(S + 1) entries of 16 bytes fill one page */

enum hv_status vtd_intremap_start(struct iommu_unit *unit)
{
    if (!unit->hw.remap_interrupts)
        return HV_OK; /* told by caps.c */
    void *table;
    enum hv_status status = pages_alloc(NULL, 0, &table);
    if (status)
        return status;
    unit->intremap = table;
    vtd_unit_flush(unit, table, PAGE_SIZE);
    /* EIME cannot change while it is on. No guest runs yet, and interrupts are off. */
    status = vtd_unit_command(unit, GCMD_IRE, false);
    if (status)
        return status;
    reg_write64(unit->regs, VTD_IRTA,
                virt_to_phys(table).v | TABLE_256 | (unit->hw.x2apic_interrupts ? IRTA_EIME : 0));
    struct vtd_inval_args args = { .unit = unit };
    status = vtd_unit_command(unit, GCMD_SIRTP, true);
    if (!status)
        status = vtd_inval_run(VTD_INTERRUPTS_CHANGED, &args, false);
    if (!status)
        status = vtd_unit_command(unit, GCMD_CFI, false);
    if (!status)
        status = vtd_unit_command(unit, GCMD_IRE, true);
    return status;
}
