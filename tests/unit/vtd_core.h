/* SPDX-License-Identifier: BSD-2-Clause */
/* The core on the VT-d driver on the model: what tests of all three together begin with. */
#ifndef TESTS_UNIT_VTD_CORE_H
#define TESTS_UNIT_VTD_CORE_H

#include "tests/unit/abi_vm.h"
#include "tests/unit/vtd_bed.h"

/* One unit of the model (@config; NULL: the full one), probed and started; no VM yet. Call after
 * bed_fresh(). */
void vtd_core_start(const struct vtd_model_config *config);

/* And two VMs: @vm has BED_A and BED_B, both bound to @root; @other has BED_C. */
struct vtd_core {
    struct vm *vm, *other;
    gpaddr_t root;
    uint32_t pasid, bond; /* the bond of BED_A */
};
struct vtd_core vtd_core_bound(const struct vtd_model_config *config);

#endif
