/* SPDX-License-Identifier: BSD-2-Clause */
/* Access control services: PCIe 6.12, 7.7.11. A conventional bus has none of it: every function on
 * it sees every transaction, and the bridge above makes them carry function 0 of device 0 of its
 * secondary bus (PCIe to PCI bridge 2.3), or, if it is no PCIe bridge, its own id (VT-d 3.12). */
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
    ACS_DIRECT = 1 << 6, /* requests that say they are translated go to peers */
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

/* Also a bridge without a PCIe capability. */
static bool is_conventional(rid_t rid)
{
    enum port kind = kind_of(rid);

    return kind == TO_PCI || kind == TO_PCIE || kind == CONVENTIONAL;
}

/* Turn it on. What the capability does not offer is hard-wired that way, or not needed there.
 * Nothing goes to a peer on the word of a device that it is translated. */
static bool acs_on(rid_t rid, uint32_t wanted)
{
    unsigned at = pci_extended_capability(rid, EXT_ACS);
    if (!at)
        return false;
    wanted &= pci_config_read(rid, at + ACS_CAP, 2);
    uint32_t control = pci_config_read(rid, at + ACS_CTL, 2) & ~(uint32_t)ACS_DIRECT;
    pci_config_write(rid, at + ACS_CTL, 2, control | wanted);
    return (pci_config_read(rid, at + ACS_CTL, 2) & (wanted | ACS_DIRECT)) == wanted;
}

/* Does all that comes in at this function go up, if it is not @alone in its package? A port has
 * more behind it than a link to the IOMMU in any case. */
static bool isolates(rid_t rid, bool alone)
{
    enum port kind = kind_of(rid);
    uint32_t wanted = ACS_REQUESTS | ACS_RESULTS;

    if (kind == ROOT_PORT || kind == DOWNSTREAM)
        wanted |= ACS_SOURCE | ACS_FORWARD;
    else if (alone)
        return true;
    else if (kind == UPSTREAM)
        wanted |= ACS_FORWARD;
    return acs_on(rid, wanted);
}

/* Functions that may reach each other without anything between them: those of one device, or all
 * ports of a switch. */
struct package {
    rid_t first;
    unsigned n;
};

/* Below a port there is one device, whatever its numbers (ARI, virtual functions), or the inside of
 * a switch. */
static struct package package_of(rid_t rid, bool below_port)
{
    if (below_port)
        return (struct package){ rid & 0xff00, 256 };
    if (pci_config_read(rid & ~7u, PCI_HEADER_TYPE, 1) & 0x80)
        return (struct package){ rid & 0xfff8, 8 };
    return (struct package){ rid, 1 };
}

/* One that does not isolate reaches all the others, also those that do. */
static bool all_isolate(struct package p)
{
    unsigned present = 0;
    bool all = true;

    for (unsigned i = 0; i < p.n; i++)
        present += pci_present((rid_t)(p.first + i));
    for (unsigned i = 0; i < p.n; i++) {
        rid_t rid = (rid_t)(p.first + i);
        if (pci_present(rid) && !isolates(rid, present == 1))
            all = false;
    }
    return all;
}

/* Does a link end at this port that lets its device carry any requester id? */
static bool takes_any_id(rid_t port)
{
    enum port kind = kind_of(port);
    unsigned at = pci_extended_capability(port, EXT_ACS);

    return (kind == ROOT_PORT || kind == DOWNSTREAM) &&
           (!at || !(pci_config_read(port, at + ACS_CTL, 2) & ACS_SOURCE));
}

struct pci_group pci_group(rid_t rid)
{
    rid_t way[PCI_PATH_MAX + 1];
    unsigned n = pci_path(rid, way);
    struct pci_group group = { .id = rid };
    bool apart = true;

    way[n] = rid;
    /* What nearest to the root does not isolate holds all below it together. */
    for (unsigned i = 0; i <= n; i++) {
        struct package package = package_of(way[i], i > 0);
        bool conventional = i < n && is_conventional(way[i]);
        if (conventional && !group.aliased) { /* it is the one nearest to the root that tells */
            group.aliased = true;
            group.alias = kind_of(way[i]) == TO_PCI
                              ? pci_rid(pci_config_read(way[i], PCI_SECONDARY_BUS, 1), 0, 0)
                              : way[i];
        }
        if (apart && (conventional || !all_isolate(package))) {
            group.id = conventional ? way[i] : i > 0 ? way[i - 1] : package.first;
            apart = false;
        }
    }
    group.unchecked = n && takes_any_id(way[n - 1]);
    return group;
}
