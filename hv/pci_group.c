/* SPDX-License-Identifier: BSD-2-Clause */
/* Access control services: PCIe 6.12, 7.7.11. A conventional bus has none of it: every function on
 * it sees every transaction, and a bridge to PCIe gives them all its own requester id (PCIe to PCI
 * bridge 2.3). */
#include "hv/pci_group.h"

#include "hv/pci.h"
#include "hv/platform.h"

enum {
    CAP_PCIE = 0x10,
    PCIE_FLAGS = 2, /* device/port type 7:4 */
    EXT_ACS = 0x0d,
    ACS_CAP = 4,
    ACS_CTL = 6,
    ACS_SOURCE = 1 << 0,   /* requester ids are checked */
    ACS_REQUESTS = 1 << 2, /* requests to peers go up, to the IOMMU */
    ACS_RESULTS = 1 << 3,
    ACS_FORWARD = 1 << 4,
};

enum port {
    ROOT_PORT = 4,
    UPSTREAM = 5,
    DOWNSTREAM = 6,
    TO_PCI = 7,
    TO_PCIE = 8,
    CONVENTIONAL = 16
};

static enum port kind_of(rid_t rid)
{
    unsigned at = pci_capability(rid, CAP_PCIE);
    return at ? (enum port)(pci_config_read(rid, at + PCIE_FLAGS, 2) >> 4 & 15) : CONVENTIONAL;
}

/* Turn it on. What the capability does not offer is hard-wired that way, or not needed there. */
static bool acs_on(rid_t rid, uint32_t wanted)
{
    unsigned at = pci_extended_capability(rid, EXT_ACS);
    if (!at)
        return false;
    wanted &= pci_config_read(rid, at + ACS_CAP, 2);
    uint32_t control = pci_config_read(rid, at + ACS_CTL, 2);
    pci_config_write(rid, at + ACS_CTL, 2, control | wanted);
    return (pci_config_read(rid, at + ACS_CTL, 2) & wanted) == wanted;
}

static bool many_functions(rid_t rid)
{
    return pci_config_read(rid & ~7u, PCI_HEADER_TYPE, 1) & 0x80;
}

/* Does what is below this bridge reach anything else through the IOMMU alone? */
static bool bridge_isolates(rid_t rid, enum port kind)
{
    if (kind == UPSTREAM) /* one link up: the ports below decide */
        return !many_functions(rid) || acs_on(rid, ACS_REQUESTS | ACS_RESULTS | ACS_FORWARD);
    return acs_on(rid, ACS_SOURCE | ACS_REQUESTS | ACS_RESULTS | ACS_FORWARD);
}

struct pci_group pci_group(rid_t rid)
{
    rid_t bridge[PCI_PATH_MAX];
    unsigned n = pci_path(rid, bridge);
    struct pci_group group = { .id = rid };
    bool apart = true;

    if (many_functions(rid) && !acs_on(rid, ACS_REQUESTS | ACS_RESULTS))
        group.id = rid & ~7u;
    /* The bridge nearest to the root that does not isolate holds all below it together. */
    for (unsigned i = 0; i < n; i++) {
        enum port kind = kind_of(bridge[i]);
        bool conventional = kind == TO_PCI || kind == TO_PCIE || kind == CONVENTIONAL;
        group.aliased = group.aliased || conventional;
        if (apart && (conventional || !bridge_isolates(bridge[i], kind))) {
            group.id = bridge[i];
            apart = false;
        }
    }
    return group;
}
