/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the register file (vtd_regs.c) and what registers do (vtd_command.c).
 */
#ifndef TESTS_MODEL_VTD_REGS_H
#define TESTS_MODEL_VTD_REGS_H

#include "tests/model/vtd_internal.h"

enum vtd_reg_id {
    VTD_R_VER,
    VTD_R_CAP,
    VTD_R_ECAP,
    VTD_R_GCMD,
    VTD_R_GSTS,
    VTD_R_RTADDR,
    VTD_R_CCMD,
    VTD_R_FSTS,
    VTD_R_FECTL,
    VTD_R_FEDATA,
    VTD_R_FEADDR,
    VTD_R_FEUADDR,
    VTD_R_PMEN,
    VTD_R_PLMBASE,
    VTD_R_PLMLIMIT,
    VTD_R_PHMBASE,
    VTD_R_PHMLIMIT,
    VTD_R_IQH,
    VTD_R_IQT,
    VTD_R_IQA,
    VTD_R_ICS,
    VTD_R_IECTL,
    VTD_R_IEDATA,
    VTD_R_IEADDR,
    VTD_R_IEUADDR,
    VTD_R_IQERCD,
    VTD_R_IRTA,
    VTD_R_PQH,
    VTD_R_PQT,
    VTD_R_PQA,
    VTD_R_PRS,
    VTD_R_PECTL,
    VTD_R_PEDATA,
    VTD_R_PEADDR,
    VTD_R_PEUADDR,
    VTD_R_RDTC,
    VTD_R_FRCD,
    VTD_R_IVA,
    VTD_R_IOTLB,
    VTD_R_MTRR
};

struct vtd_reg {
    uint16_t offset;
    uint8_t size, needs;
    enum vtd_reg_id id;
    uint64_t rw, w1c, ro, rsvdp; /* everything else is RsvdZ */
    uint16_t index;              /* of a register in its array */
};

uint64_t vtd_command_read(const struct vtd_model *m, const struct vtd_reg *r);
/* value: merged over the whole register; lanes: the bits that this access wrote. */
void vtd_command_write(struct vtd_model *m, const struct vtd_reg *r, uint64_t value,
                       uint64_t lanes);
void vtd_command_address(struct vtd_model *m, uint64_t value); /* within the host width? */
void vtd_global_command(struct vtd_model *m, uint32_t value);

#endif
