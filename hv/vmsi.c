/* SPDX-License-Identifier: BSD-2-Clause */
/* MSI and MSI-X of a function as its VM sees them. PCI 3.0, 6.8; SDM 3A 11.11. */
#include "hv/vmsi.h"

#include "hv/device.h"
#include "hv/interrupt.h"
#include "hv/log.h"
#include "hv/pci.h"
#include "hv/platform.h"

enum {
    CAP_MSI = 0x05,
    CAP_MSIX = 0x11,
    CONTROL = 2, /* in both */
    ADDRESS = 4,
    UPPER = 8, /* if wide; then everything behind is 4 further on */
    DATA = 8,
    MASK = 12,
    PENDING = 16,
    MSIX_BYTES = 12,
};

/* MSI control */
#define MSI_ENABLE    (1u << 0)
#define MSI_WIDE      (1u << 7)
#define MSI_MASKABLE  (1u << 8)
/* MSI-X control: what the guest may change */
#define MSIX_WRITABLE (3u << 14) /* enable, mask all */

/* Message of a machine without remapping: all but destination 19:12. Bits 1:0 are free, bit 3 tells
 * to redirect, which one destination makes no difference to; logical destinations are refused. */
#define ADDRESS_FIXED 0xfff00ff4u
#define ADDRESS_VALUE 0xfee00000u
#define REMAPPABLE    (1u << 4)
#define DATA_FIXED    0x8600u /* level, and delivery other than fixed or lowest priority */

static unsigned at_data(const struct vmsi *m)
{
    return m->msi + DATA + (m->wide ? 4u : 0);
}

static unsigned msi_bytes(const struct vmsi *m)
{
    return (m->maskable ? PENDING + 4u : DATA + 4u) + (m->wide ? 4u : 0);
}

static void set_control(rid_t rid, unsigned cap, uint32_t clear, uint32_t set)
{
    uint32_t control = pci_config_read(rid, cap + CONTROL, 2);

    pci_config_write(rid, cap + CONTROL, 2, (control & ~clear) | set);
}

void vmsi_create(rid_t rid, struct vmsi *out)
{
    const struct iommu_unit *unit = iommu->unit_of(rid);
    unsigned msi = pci_capability(rid, CAP_MSI), msix = pci_capability(rid, CAP_MSIX);

    *out = (struct vmsi){ 0 };
    if (msi) {
        uint32_t control = pci_config_read(rid, msi + CONTROL, 2);
        out->msi = (uint8_t)msi;
        out->wide = control & MSI_WIDE;
        out->maskable = control & MSI_MASKABLE;
    }
    out->msix = (uint8_t)msix;
    vmsi_destroy(rid, out);
    if (!unit || !iommu->caps(unit)->interrupts || msi + msi_bytes(out) > 256)
        out->msi = 0;
    if (!unit || !iommu->caps(unit)->interrupts || msix + MSIX_BYTES > 256)
        out->msix = 0;
}

void vmsi_destroy(rid_t rid, const struct vmsi *m)
{
    if (m->msi)
        set_control(rid, m->msi, MSI_ENABLE, 0);
    if (m->msix)
        set_control(rid, m->msix, MSIX_WRITABLE, 0);
}

/* One message: the fields for more read 0. */
static uint32_t msi_control(const struct vmsi *m)
{
    return (m->enabled ? MSI_ENABLE : 0) | (m->wide ? MSI_WIDE : 0) |
           (m->maskable ? MSI_MASKABLE : 0);
}

bool vmsi_read(rid_t rid, const struct vmsi *m, unsigned reg, uint32_t *value)
{
    if (m->msix && reg >= m->msix && reg < m->msix + (unsigned)MSIX_BYTES) {
        *value = pci_config_read(rid, reg, 4);
        if (reg == m->msix)
            *value &= 0xffff00ff;
        return true;
    }
    if (!m->msi || reg < m->msi || reg >= m->msi + msi_bytes(m))
        return false;
    *value = reg == m->msi             ? msi_control(m) << 16 | CAP_MSI
             : reg == m->msi + ADDRESS ? m->address
             : reg == at_data(m)       ? m->data
             : reg == at_data(m) + 4   ? m->mask
             : reg == at_data(m) + 8   ? pci_config_read(rid, reg, 4) & 1
                                       : m->upper;
    return true;
}

/* --- The guest's message
 * --------------------------------------------------------------------------
 */

static void program(rid_t rid, const struct vmsi *m, uint32_t address, uint32_t data)
{
    set_control(rid, m->msi, MSI_ENABLE | 7u << 4, 0);
    pci_config_write(rid, m->msi + ADDRESS, 4, address);
    if (m->wide)
        pci_config_write(rid, m->msi + UPPER, 4, 0);
    pci_config_write(rid, at_data(m), 2, data);
    set_control(rid, m->msi, 0, MSI_ENABLE);
}

static bool plain(const struct vmsi *m, const struct vm *vm)
{
    return (m->address & ADDRESS_FIXED) == ADDRESS_VALUE && !(m->data & DATA_FIXED) &&
           (m->address >> 12 & 0xff) < vm->nvcpus && (m->data & 0xff) >= 32;
}

static void refuse(const struct vm *vm, const struct vmsi *m, enum hv_status status)
{
    static struct log_limit limit;

    if (log_allowed(&limit, 5))
        log_warn(vm->name, "MSI %#x, data %#x cannot be delivered (%d)", m->address, m->data,
                 status);
}

/* After each change the whole is looked at. */
static void apply(struct device *d, const struct vmsi *m)
{
    struct iommu_irq irq = { .address = m->address, .data = m->data };
    rid_t rid = d->io.rid;
    bool own = m->enabled && !m->upper && plain(m, d->vm);
    enum hv_status status = HV_EINVAL;

    if (own)
        status = interrupt_on(d, INTERRUPT_MSI, m->address >> 12 & 0xff, (uint8_t)m->data, &irq);
    else if (m->enabled && !m->upper && m->address >> 20 == 0xfee && m->address & REMAPPABLE)
        status = HV_OK;
    if (status == HV_OK)
        program(rid, m, irq.address, irq.data);
    else
        set_control(rid, m->msi, MSI_ENABLE, 0);
    if (!own || status != HV_OK)
        (void)interrupt_off(d, INTERRUPT_MSI);
    if (m->enabled && status != HV_OK)
        refuse(d->vm, m, status);
}

void vmsi_write(struct vm *vm, unsigned index, struct vmsi *m, rid_t rid, unsigned reg,
                uint32_t value)
{
    struct device *d = device_get(vm, index);

    if (!d)
        return;
    if (m->msix && reg == m->msix)
        set_control(rid, m->msix, MSIX_WRITABLE, value >> 16 & MSIX_WRITABLE);
    if (!m->msi || reg < m->msi || reg >= m->msi + msi_bytes(m))
        return;
    if (reg == at_data(m) + 4) {
        m->mask = value & 1;
        pci_config_write(rid, reg, 4, m->mask);
        return;
    }
    struct vmsi was = *m;
    if (reg == m->msi)
        m->enabled = value >> 16 & MSI_ENABLE;
    else if (reg == m->msi + ADDRESS)
        m->address = value & ~3u;
    else if (reg == at_data(m))
        m->data = (uint16_t)value;
    else if (m->wide && reg == m->msi + UPPER)
        m->upper = value;
    if (was.enabled != m->enabled || was.address != m->address || was.data != m->data ||
        was.upper != m->upper)
        apply(d, m);
}
