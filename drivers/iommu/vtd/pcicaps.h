/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The capabilities of a PCI function that VT-d works with: PASID, ATS, PRI. Order of use: PASID on,
 * the context entry, ATS on, PRI on; off in reverse (4.5.2; PCIe 10.5).
 */
#ifndef DRIVERS_IOMMU_VTD_PCICAPS_H
#define DRIVERS_IOMMU_VTD_PCICAPS_H

#include "hv/types.h"

struct pcicaps {
    rid_t rid;
    uint16_t pasid, ats, pri; /* offsets in configuration space; 0: absent */
    uint8_t pasid_bits;
    uint8_t queue_depth;    /* invalidations in flight, 0: 32 */
    bool page_aligned;      /* asks for translations by the page */
    bool global_invalidate; /* one invalidation can name all PASIDs */
    bool pri_pasid;         /* responses carry the PASID */
    uint16_t pri_capacity;
};

/* Does the function answer at all? */
bool pcicaps_present(rid_t rid);
/* Read what the function has. Everything found on is turned off, in the right order. */
void pcicaps_read(rid_t rid, struct pcicaps *out);
void pcicaps_pasid(const struct pcicaps *p, bool on);
void pcicaps_ats(const struct pcicaps *p, bool on);
/* @outstanding: page requests allowed at once. HV_ETIMEDOUT: earlier ones do not come to an end. */
enum hv_status pcicaps_pri_on(const struct pcicaps *p, uint16_t outstanding);
void pcicaps_pri_off(const struct pcicaps *p);

#endif
