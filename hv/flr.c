/* SPDX-License-Identifier: BSD-2-Clause */
/* Function level reset. PCIe 6.6.2, 7.5.3; PCI 3.0, 6.8 (MSI). */
#include "hv/flr.h"

#include "hv/pci.h"
#include "hv/platform.h"

enum {
    CAP_MSI = 0x05,
    CAP_PCIE = 0x10,
    CAP_MSIX = 0x11,
    EXT_ACS = 0x0d,
    DEVICE_CAP = 4,
    DEVICE_CTL = 8,
    DEVICE_STATUS = 10,
    CONTROL = 2, /* MSI, MSI-X */

    LOOK_US = 1000, /* between two looks */
};

#define CAN_FLR      (1u << 28)
#define START_FLR    (1u << 15)
#define PENDING      (1u << 5)
#define MSI_WIDE     (1u << 7)
#define MSI_MASKABLE (1u << 8)
#define NOT_READY    0x0001u /* instead of a vendor: asks to try again (PCIe 2.3.1) */

/* What a reset takes away and must come back, in the order in which it is written. */
enum where {
    HEADER,
    PCIE,
    PCIE_2,
    ACS,
    MSI,
    MSI_NARROW,
    MSI_64,
    MSI_NARROW_MASK,
    MSI_64_MASK,
    MSIX
};
static const struct field {
    uint8_t where, offset, size;
} fields[] = {
    { HEADER, 0x0c, 2 }, /* cache line, latency timer */
    { HEADER, PCI_BAR0, 4 },
    { HEADER, PCI_BAR0 + 4, 4 },
    { HEADER, PCI_BAR0 + 8, 4 },
    { HEADER, PCI_BAR0 + 12, 4 },
    { HEADER, PCI_BAR0 + 16, 4 },
    { HEADER, PCI_BAR0 + 20, 4 },
    { HEADER, 0x30, 4 }, /* ROM */
    { HEADER, 0x3c, 1 }, /* interrupt line */
    { PCIE, DEVICE_CTL, 2 },
    { PCIE_2, 0x28, 2 },
    { ACS, 6, 2 },
    { MSI, 4, 4 },
    { MSI_NARROW, 8, 2 },
    { MSI_64, 8, 4 },
    { MSI_64, 12, 2 },
    { MSI_NARROW_MASK, 12, 4 },
    { MSI_64_MASK, 16, 4 },
    { MSI, CONTROL, 2 }, /* enables: last */
    { MSIX, CONTROL, 2 },
};
static_assert(ARRAY_SIZE(fields) == FLR_FIELDS);

/* Is there such a field? @return its place in configuration space, 0: no. */
static unsigned place(rid_t rid, const struct field *f)
{
    unsigned at = 0, msi = 0;

    switch ((enum where)f->where) {
    case HEADER: return f->offset;
    case PCIE: at = pci_capability(rid, CAP_PCIE); break;
    case PCIE_2: /* version 2 on */
        at = pci_capability(rid, CAP_PCIE);
        if (at && (pci_config_read(rid, at + 2, 2) & 15) < 2)
            at = 0;
        break;
    case ACS: at = pci_extended_capability(rid, EXT_ACS); break;
    case MSIX: at = pci_capability(rid, CAP_MSIX); break;
    default: at = msi = pci_capability(rid, CAP_MSI);
    }
    if (msi && f->where != MSI) {
        uint32_t control = pci_config_read(rid, msi + CONTROL, 2);
        bool wide = f->where == MSI_64 || f->where == MSI_64_MASK;
        bool mask = f->where == MSI_NARROW_MASK || f->where == MSI_64_MASK;
        if (wide != !!(control & MSI_WIDE) || (mask && !(control & MSI_MASKABLE)))
            at = 0;
    }
    return at ? at + f->offset : 0;
}

static uint32_t id_of(rid_t rid)
{
    return pci_config_read(rid, PCI_VENDOR, 4);
}

bool flr_offered(rid_t rid)
{
    unsigned at = pci_capability(rid, CAP_PCIE);

    return at && (pci_config_read(rid, at + DEVICE_CAP, 4) & CAN_FLR);
}

enum hv_status flr_begin(rid_t rid, struct flr *out)
{
    unsigned pcie;

    *out = (struct flr){ .rid = rid, .id = id_of(rid) };
    if (!pci_present(rid))
        return HV_ENODEV;
    if (!flr_offered(rid))
        return HV_ENOTSUP;
    pcie = pci_capability(rid, CAP_PCIE);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        unsigned at = place(rid, &fields[i]);
        out->value[i] = at ? pci_config_read(rid, at, fields[i].size) : 0;
    }
    out->command = pci_config_read(rid, PCI_COMMAND, 2);
    out->begun = true;
    pci_config_write(rid, PCI_COMMAND, 2, 0);
    for (unsigned us = 0; us < FLR_WAIT_US; us += LOOK_US) {
        if (!(pci_config_read(rid, pcie + DEVICE_STATUS, 2) & PENDING))
            break;
        cpu_wait_us(LOOK_US);
    }
    uint32_t control = pci_config_read(rid, pcie + DEVICE_CTL, 2);
    pci_config_write(rid, pcie + DEVICE_CTL, 2, control | START_FLR);
    return HV_OK;
}

enum hv_status flr_end(struct flr *f)
{
    uint32_t id = 0;

    if (!f->begun)
        return HV_OK;
    f->begun = false;
    for (unsigned us = 0; us < FLR_READY_US; us += LOOK_US) {
        id = id_of(f->rid);
        if ((id & 0xffff) != NOT_READY && id != UINT32_MAX)
            break;
        cpu_wait_us(LOOK_US);
    }
    if (id != f->id)
        return (id & 0xffff) == NOT_READY ? HV_ETIMEDOUT : HV_ENODEV;
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        unsigned at = place(f->rid, &fields[i]);
        if (at)
            pci_config_write(f->rid, at, fields[i].size, f->value[i]);
    }
    pci_config_write(f->rid, PCI_COMMAND, 2, f->command);
    return HV_OK;
}
