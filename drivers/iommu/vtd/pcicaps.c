/* SPDX-License-Identifier: BSD-2-Clause */
/* PASID, ATS and PRI extended capabilities of a function. */
#include "drivers/iommu/vtd/pcicaps.h"

#include "hv/platform.h"

enum {
    EXT_FIRST = 0x100,
    EXT_ATS = 0x000f,
    EXT_PRI = 0x0013,
    EXT_PASID = 0x001b,

    ATS_CAP = 4, /* queue depth 4:0, page aligned 5, global invalidate 6 */
    ATS_CTL = 6, /* STU 4:0, enable 15 */
    PRI_CTL = 4, /* enable 0, reset 1 */
    PRI_STS = 6, /* response failure 0, unexpected group 1, stopped 8, PASID in response 15 */
    PRI_CAPACITY = 8,
    PRI_ALLOCATION = 12,
    PASID_CAP = 4, /* width 12:8 */
    PASID_CTL = 6, /* enable 0 */

    PRI_STOP_US = 100000,
};

static uint16_t find(rid_t rid, uint16_t id)
{
    uint16_t at = EXT_FIRST;
    /* The list of a broken device may loop: it has room for no more than this many. */
    for (unsigned turns = 0; turns < (4096 - EXT_FIRST) / 8; turns++) {
        uint32_t header = pci_config_read(rid, at, 4);
        if (header == 0 || header == UINT32_MAX)
            return 0;
        if ((header & 0xffff) == id)
            return at;
        at = (uint16_t)(header >> 20 & 0xffc);
        if (at < EXT_FIRST)
            return 0;
    }
    return 0;
}

bool pcicaps_present(rid_t rid)
{
    return pci_config_read(rid, 0, 4) != UINT32_MAX;
}

void pcicaps_read(rid_t rid, struct pcicaps *out)
{
    *out = (struct pcicaps){
        .rid = rid,
        .pasid = find(rid, EXT_PASID),
        .ats = find(rid, EXT_ATS),
        .pri = find(rid, EXT_PRI),
    };
    if (out->pasid)
        out->pasid_bits = pci_config_read(rid, out->pasid + PASID_CAP, 2) >> 8 & 0x1f;
    if (out->ats) {
        uint32_t cap = pci_config_read(rid, out->ats + ATS_CAP, 2);
        out->queue_depth = cap & 0x1f;
        out->page_aligned = cap >> 5 & 1;
        out->global_invalidate = cap >> 6 & 1;
    }
    if (out->pri) {
        uint32_t capacity = pci_config_read(rid, out->pri + PRI_CAPACITY, 4);
        out->pri_capacity = (uint16_t)(capacity < UINT16_MAX ? capacity : UINT16_MAX);
        out->pri_pasid = pci_config_read(rid, out->pri + PRI_STS, 2) >> 15 & 1;
    }
    pcicaps_pri_off(out);
    pcicaps_ats(out, false);
    pcicaps_pasid(out, false);
}

void pcicaps_pasid(const struct pcicaps *p, bool on)
{
    if (p->pasid) /* no execute, no privileged requests */
        pci_config_write(p->rid, p->pasid + PASID_CTL, 2, on);
}

void pcicaps_ats(const struct pcicaps *p, bool on)
{
    if (p->ats) /* STU = 0: 4 KiB */
        pci_config_write(p->rid, p->ats + ATS_CTL, 2, on ? 0x8000 : 0);
}

static bool pri_stopped(const struct pcicaps *p)
{
    return pci_config_read(p->rid, p->pri + PRI_STS, 2) >> 8 & 1;
}

void pcicaps_pri_off(const struct pcicaps *p)
{
    if (p->pri)
        pci_config_write(p->rid, p->pri + PRI_CTL, 2, 0);
}

enum hv_status pcicaps_pri_on(const struct pcicaps *p, uint16_t outstanding)
{
    if (!p->pri)
        return HV_ENOTSUP;
    /* Reset is for a stopped interface alone. */
    uint64_t deadline = time_now() + PRI_STOP_US * time_ticks_per_us();
    while (!pri_stopped(p)) {
        if (time_now() > deadline)
            return HV_ETIMEDOUT;
        cpu_relax();
    }
    pci_config_write(p->rid, p->pri + PRI_STS, 2, 3); /* W1C: old failures */
    pci_config_write(p->rid, p->pri + PRI_CTL, 2, 2);
    pci_config_write(p->rid, p->pri + PRI_ALLOCATION, 4, outstanding);
    pci_config_write(p->rid, p->pri + PRI_CTL, 2, 1);
    return HV_OK;
}
