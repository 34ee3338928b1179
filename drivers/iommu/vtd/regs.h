/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers of a VT-d unit (11.4) and the bits the driver uses. The width of a register is in its
 * type, so that a wrong access does not compile.
 */
#ifndef DRIVERS_IOMMU_VTD_REGS_H
#define DRIVERS_IOMMU_VTD_REGS_H

#include "hv/platform.h"

struct reg32 {
    uint32_t offset;
};
struct reg64 {
    uint32_t offset;
};

static const struct reg32 VTD_VER = { 0x000 };    /* RO  version; major 7:4 */
static const struct reg64 VTD_CAP = { 0x008 };    /* RO  capabilities: caps.c */
static const struct reg64 VTD_ECAP = { 0x010 };   /* RO  extended capabilities: caps.c */
static const struct reg32 VTD_GCMD = { 0x018 };   /* WO  global command, one change per write */
static const struct reg32 VTD_GSTS = { 0x01c };   /* RO  its outcome, same bit positions */
static const struct reg64 VTD_RTADDR = { 0x020 }; /* RW  root table; latched by SRTP */
static const struct reg32 VTD_FSTS = { 0x034 };   /* W1C fault and queue errors */
static const struct reg32 VTD_FECTL = { 0x038 };  /* RW  fault event: control, data, address */
static const struct reg32 VTD_FEDATA = { 0x03c };
static const struct reg32 VTD_FEADDR = { 0x040 };
static const struct reg32 VTD_FEUADDR = { 0x044 };
static const struct reg32 VTD_PMEN = { 0x064 };    /* RW  protected memory on; RO status */
static const struct reg32 VTD_PLMBASE = { 0x068 }; /* RW  low and high protected ranges */
static const struct reg32 VTD_PLMLIMIT = { 0x06c };
static const struct reg64 VTD_PHMBASE = { 0x070 };
static const struct reg64 VTD_PHMLIMIT = { 0x078 };
static const struct reg64 VTD_IQH = { 0x080 }; /* RO  invalidation queue: head, tail, address */
static const struct reg64 VTD_IQT = { 0x088 };
static const struct reg64 VTD_IQA = { 0x090 };
static const struct reg32 VTD_ICS = { 0x09c };    /* W1C wait descriptor with IF completed */
static const struct reg32 VTD_IECTL = { 0x0a0 };  /* RW  its event; stays masked */
static const struct reg64 VTD_IQERCD = { 0x0b0 }; /* RO  what the queue error was */
static const struct reg64 VTD_IRTA = { 0x0b8 };   /* RW  interrupt table; latched by SIRTP */
static const struct reg64 VTD_PQH = { 0x0c0 };    /* RW  page request queue: head, tail, address */
static const struct reg64 VTD_PQT = { 0x0c8 };
static const struct reg64 VTD_PQA = { 0x0d0 };
static const struct reg32 VTD_PRS = { 0x0dc };   /* W1C page request status */
static const struct reg32 VTD_PECTL = { 0x0e0 }; /* RW  page request event */
static const struct reg32 VTD_PEDATA = { 0x0e4 };
static const struct reg32 VTD_PEADDR = { 0x0e8 };
static const struct reg32 VTD_PEUADDR = { 0x0ec };

enum : uint32_t {
    /* GCMD, GSTS (2.3 of 11.4.4) */
    GCMD_TE = 1u << 31,
    GCMD_SRTP = 1u << 30,
    GCMD_QIE = 1u << 26,
    GCMD_IRE = 1u << 25,
    GCMD_SIRTP = 1u << 24,
    GCMD_CFI = 1u << 23,
    GSTS_LEVELS = 0x96ffffff, /* status bits that a write must repeat: all but the one-shots */

    /* FSTS */
    FSTS_PFO = 1u << 0,
    FSTS_PPF = 1u << 1, /* RO */
    FSTS_IQE = 1u << 4,
    FSTS_ICE = 1u << 5,
    FSTS_ITE = 1u << 6,
    FSTS_QUEUE = FSTS_IQE | FSTS_ICE | FSTS_ITE,

    EVENT_MASK = 1u << 31, /* FECTL, IECTL, PECTL */
    ICS_IWC = 1u << 0,
    PRS_PPR = 1u << 0,
    PRS_PRO = 1u << 1,
    PMEN_EPM = 1u << 31,
    PMEN_PRS = 1u << 0,
};

enum : uint64_t {
    RTADDR_SCALABLE = 1ull << 10, /* TTM = 01; legacy: 00 */
    RTADDR_TTM = 3ull << 10,
    IQA_256 = 1ull << 11, /* DW: 256-bit descriptors */
    IRTA_EIME = 1ull << 11,
    QUEUE_OFFSET = 0x7fff0, /* IQH, PQH, PQT: byte offset of an entry */
};

static inline unsigned fsts_fri(uint32_t fsts)
{
    return fsts >> 8 & 0xff;
}

static inline uint32_t reg_read32(volatile void *base, struct reg32 r)
{
    return mmio_read32(base, r.offset);
}

static inline uint64_t reg_read64(volatile void *base, struct reg64 r)
{
    return mmio_read64(base, r.offset);
}

static inline void reg_write32(volatile void *base, struct reg32 r, uint32_t value)
{
    mmio_write32(base, r.offset, value);
}

static inline void reg_write64(volatile void *base, struct reg64 r, uint64_t value)
{
    mmio_write64(base, r.offset, value);
}

#endif
