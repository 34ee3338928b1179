/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The register file (11.4): which registers the capabilities imply, how they may be accessed, and
 * what reserved bits must hold. What a write sets off is in vtd_command.c.
 */
#include "tests/model/vtd_regs.h"

#include <string.h>

static const uint64_t ALL = ~UINT64_C(0);
#define PAGE_BITS (~UINT64_C(0xfff))

/* present: 0 always, else 1 + ECAP bit that must be set (CAP bits: 128 + bit). */
#define ECAP_NEEDS(bit) (uint8_t)(1 + (bit))
#define CAP_NEEDS(bit)  (uint8_t)(128 + (bit))

static const struct vtd_reg regs[] = {
    { 0x000, 4, 0, VTD_R_VER, 0, 0, 0, 0, 0 },
    { 0x008, 8, 0, VTD_R_CAP, 0, 0, 0, 0, 0 },
    { 0x010, 8, 0, VTD_R_ECAP, 0, 0, 0, 0, 0 },
    { 0x018, 4, 0, VTD_R_GCMD, 0xcf800000, 0, 0, 0, 0 },
    { 0x01c, 4, 0, VTD_R_GSTS, 0, 0, 0, 0, 0 },
    { 0x020, 8, 0, VTD_R_RTADDR, PAGE_BITS | 0xc80, 0, 0, 0, 0 },
    { 0x028, 8, 0, VTD_R_CCMD, UINT64_C(0xe0000003ffffffff), 0, 0x1800000000000000, 0, 0 },
    { 0x034, 4, 0, VTD_R_FSTS, 0, 0x71, 0xff02, 0, 0 },
    { 0x038, 4, 0, VTD_R_FECTL, 0x80000000, 0, 0x40000000, 0x3fffffff, 0 },
    { 0x03c, 4, 0, VTD_R_FEDATA, 0xffff, 0, 0, 0, 0 },
    { 0x040, 4, 0, VTD_R_FEADDR, 0xfffffffc, 0, 0, 0, 0 },
    { 0x044, 4, 0, VTD_R_FEUADDR, 0xffffffff, 0, 0, 0, 0 },
    { 0x064, 4, 0, VTD_R_PMEN, 0x80000000, 0, 1, 0x7ffffffe, 0 },
    { 0x068, 4, CAP_NEEDS(CAP_PLMR), VTD_R_PLMBASE, 0xffffffff, 0, 0, 0, 0 },
    { 0x06c, 4, CAP_NEEDS(CAP_PLMR), VTD_R_PLMLIMIT, 0xffffffff, 0, 0, 0, 0 },
    { 0x070, 8, CAP_NEEDS(CAP_PHMR), VTD_R_PHMBASE, ~UINT64_C(0), 0, 0, 0, 0 },
    { 0x078, 8, CAP_NEEDS(CAP_PHMR), VTD_R_PHMLIMIT, ~UINT64_C(0), 0, 0, 0, 0 },
    { 0x080, 8, ECAP_NEEDS(ECAP_QI), VTD_R_IQH, 0, 0, 0, 0, 0 },
    { 0x088, 8, ECAP_NEEDS(ECAP_QI), VTD_R_IQT, 0x7fff0, 0, 0, 0, 0 },
    { 0x090, 8, ECAP_NEEDS(ECAP_QI), VTD_R_IQA, PAGE_BITS | 0x807, 0, 0, 0, 0 },
    { 0x09c, 4, ECAP_NEEDS(ECAP_QI), VTD_R_ICS, 0, 1, 0, 0, 0 },
    { 0x0a0, 4, ECAP_NEEDS(ECAP_QI), VTD_R_IECTL, 0x80000000, 0, 0x40000000, 0x3fffffff, 0 },
    { 0x0a4, 4, ECAP_NEEDS(ECAP_QI), VTD_R_IEDATA, 0xffff, 0, 0, 0, 0 },
    { 0x0a8, 4, ECAP_NEEDS(ECAP_QI), VTD_R_IEADDR, 0xfffffffc, 0, 0, 0, 0 },
    { 0x0ac, 4, ECAP_NEEDS(ECAP_QI), VTD_R_IEUADDR, 0xffffffff, 0, 0, 0, 0 },
    { 0x0b0, 8, ECAP_NEEDS(ECAP_QI), VTD_R_IQERCD, 0, 0, 0, 0, 0 },
    { 0x0b8, 8, ECAP_NEEDS(ECAP_IR), VTD_R_IRTA, PAGE_BITS | 0x80f, 0, 0, 0, 0 },
    { 0x0c0, 8, ECAP_NEEDS(ECAP_PRS), VTD_R_PQH, 0x7ffe0, 0, 0, 0, 0 },
    { 0x0c8, 8, ECAP_NEEDS(ECAP_PRS), VTD_R_PQT, 0x7ffe0, 0, 0, 0, 0 },
    { 0x0d0, 8, ECAP_NEEDS(ECAP_PRS), VTD_R_PQA, PAGE_BITS | 7, 0, 0, 0, 0 },
    { 0x0dc, 4, ECAP_NEEDS(ECAP_PRS), VTD_R_PRS, 0, 3, 0, 0, 0 },
    { 0x0e0, 4, ECAP_NEEDS(ECAP_PRS), VTD_R_PECTL, 0x80000000, 0, 0x40000000, 0x3fffffff, 0 },
    { 0x0e4, 4, ECAP_NEEDS(ECAP_PRS), VTD_R_PEDATA, 0xffff, 0, 0, 0, 0 },
    { 0x0e8, 4, ECAP_NEEDS(ECAP_PRS), VTD_R_PEADDR, 0xfffffffc, 0, 0, 0, 0 },
    { 0x0ec, 4, ECAP_NEEDS(ECAP_PRS), VTD_R_PEUADDR, 0xffffffff, 0, 0, 0, 0 },
    { 0xdc0, 8, ECAP_NEEDS(ECAP_RDTS), VTD_R_RDTC, UINT64_C(0x1f00000fff), 0, 0, 0, 0 },
};

static bool exists(const struct vtd_model *m, uint8_t needs)
{
    if (!needs)
        return true;
    return needs >= 128 ? vtd_cap(m, needs - 128) : vtd_ecap(m, needs - 1);
}

/* Registers whose place the capabilities give, and the memory type registers. */
static bool find_placed(const struct vtd_model *m, uint32_t offset, struct vtd_reg *out)
{
    uint32_t fro = (uint32_t)vtd_bits(m->cfg.cap, 33, 24) * 16;
    uint32_t count = (uint32_t)vtd_bits(m->cfg.cap, 47, 40) + 1;
    uint32_t iro = (uint32_t)vtd_bits(m->cfg.ecap, 17, 8) * 16;
    uint16_t at = (uint16_t)(offset & ~7u);
    if (at >= fro && at < fro + 16 * count) {
        *out = (struct vtd_reg){ .offset = at, .size = 8, .id = VTD_R_FRCD };
        if (at & 8)
            out->w1c = BIT64(63);
        /* The F bit is cleared by writing its dword; what else was read may come along. */
        out->ro = at & 8 ? ALL >> 1 : ALL;
        out->index = (uint16_t)((at - fro) / 8);
        return true;
    }
    if (at == iro || at == iro + 8) {
        *out =
            (struct vtd_reg){ .offset = at, .size = 8, .id = at == iro ? VTD_R_IVA : VTD_R_IOTLB };
        out->rw = at == iro ? PAGE_BITS | 0x7f : UINT64_C(0xb003ffff00000000);
        out->ro = at == iro ? 0 : UINT64_C(0x0600000000000000);
        out->rsvdp = at == iro ? 0 : 0xffffffff;
        return true;
    }
    bool mtrr =
        at == 0x100 || at == 0x108 || (at >= 0x120 && at <= 0x170) || (at >= 0x180 && at <= 0x218);
    if (mtrr && vtd_ecap(m, ECAP_MTS)) {
        *out = (struct vtd_reg){
            .offset = at, .size = 8, .id = VTD_R_MTRR, .rw = at == 0x100 ? 0 : ALL
        };
        out->index = (uint16_t)((at - 0x100) / 8);
        return true;
    }
    return false;
}

static bool find(const struct vtd_model *m, uint32_t offset, struct vtd_reg *out)
{
    for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
        if (offset >= regs[i].offset && offset < regs[i].offset + regs[i].size &&
            exists(m, regs[i].needs)) {
            *out = regs[i];
            return true;
        }
    }
    return find_placed(m, offset, out);
}

static bool access_ok(struct vtd_model *m, const struct vtd_reg *r, uint32_t offset, unsigned size)
{
    if ((size == 4 || size == 8) && offset % size == 0 && size <= r->size)
        return true;
    vtd_complain(m, VTD_RULE_MMIO_SIZE, "offset %03x, %u bytes", offset, size);
    return false;
}

uint64_t vtd_model_mmio_read(struct vtd_model *m, uint32_t offset, unsigned size)
{
    struct vtd_reg r;
    if (!find(m, offset, &r)) {
        vtd_complain(m, VTD_RULE_MMIO_UNDEFINED, "read of %03x", offset);
        return 0;
    }
    if (!access_ok(m, &r, offset, size))
        return 0;
    if (r.id == VTD_R_GSTS || r.id == VTD_R_PMEN)
        vtd_command_poll(m);
    uint64_t v = vtd_command_read(m, &r);
    v >>= (offset - r.offset) * 8;
    vtd_queue_run(m);
    return size == 4 ? (uint32_t)v : v;
}

void vtd_model_mmio_write(struct vtd_model *m, uint32_t offset, unsigned size, uint64_t value)
{
    struct vtd_reg r;
    if (!find(m, offset, &r)) {
        vtd_complain(m, VTD_RULE_MMIO_UNDEFINED, "write of %03x", offset);
        return;
    }
    if (!access_ok(m, &r, offset, size))
        return;
    unsigned shift = (offset - r.offset) * 8;
    uint64_t lanes = (size == 8 ? ALL : UINT64_C(0xffffffff)) << shift;
    uint64_t old = vtd_command_read(m, &r), v = (value << shift) & lanes;
    if (!r.rw && !r.w1c && !r.ro) {
        vtd_complain(m, VTD_RULE_WRITE_READ_ONLY, "offset %03x", offset);
        return;
    }
    uint64_t known = r.rw | r.w1c | r.ro | r.rsvdp | (r.size == 4 ? ALL << 32 : 0);
    if (v & ~known)
        vtd_complain(m, VTD_RULE_RSVDZ, "offset %03x, value %016llx", offset,
                     (unsigned long long)value);
    if ((v ^ old) & r.rsvdp & lanes)
        vtd_complain(m, VTD_RULE_RSVDP, "offset %03x, value %016llx", offset,
                     (unsigned long long)value);
    /* Read-write fields of the lanes not written keep their value. */
    vtd_command_write(m, &r, ((old & ~lanes) & r.rw) | (v & (r.rw | r.w1c)), lanes);
    vtd_queue_run(m);
}
