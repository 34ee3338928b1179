/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which PCI functions the IOMMU cannot keep apart, because they carry one requester id or can reach
 * each other without passing it. Such a group has one owner.
 */
#ifndef HV_PCI_GROUP_H
#define HV_PCI_GROUP_H

#include "hv/types.h"

struct pci_group {
    rid_t id;     /* two functions are of one group if this is the same */
    bool aliased; /* requests may carry another id, as do those of the rest of the group: */
    rid_t alias;
    bool unchecked; /* the port above does not look whose id requests carry: any may be meant */
};

/* Turns on, in the ports above the function, in those beside them and in itself, what keeps it
 * apart (ACS). Boot. */
struct pci_group pci_group(rid_t rid);

#endif
