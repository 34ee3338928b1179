/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration space of the accelerator: ATS, PRI and PASID capabilities, and the order in which
 * software may use them. PCIe 6.0: 7.8.8 (PASID), 7.8.9 (PRI), 10.5.1 (ATS), 6.6.2 (FLR).
 */
#include "tests/model/accel_internal.h"

enum {
    ATS_CONTROL = ACCEL_CAP_ATS + 6,
    ATS_ENABLE = 1u << 15,
    ATS_STU = 0x1f,
    PRI_CONTROL = ACCEL_CAP_PRI + 4,
    PRI_ENABLE = 1u << 0,
    PRI_RESET = 1u << 1,
    PRI_STATUS = ACCEL_CAP_PRI + 6,
    PRI_CAPACITY = ACCEL_CAP_PRI + 8,
    PRI_ALLOCATION = ACCEL_CAP_PRI + 12,
    PASID_CONTROL = ACCEL_CAP_PASID + 6,
    PASID_ENABLE = 1u << 0,
    PASID_EXEC_PRIV = 3u << 1,
};

static uint32_t extended_header(uint16_t id, uint16_t next)
{
    return id | 1u << 16 | (uint32_t)next << 20;
}

void accel_config_reset(struct accel *a)
{
    static const struct pci_identity id = {
        .vendor = ACCEL_VENDOR,
        .device = ACCEL_DEVICE,
        .class_code = 0x120000,
        .revision = 1,
        .bar0_size = ACCEL_BAR0_SIZE,
    };
    struct pci_config *c = &a->config;

    pci_config_init(c, &id);

    pci_config_set(c, ACCEL_CAP_ATS, 4, extended_header(0x000f, ACCEL_CAP_PRI));
    pci_config_set(c, ACCEL_CAP_ATS + 4, 2, 1u << 5); /* queue depth 32, page aligned requests */
    c->writable[ATS_CONTROL] = ATS_STU;
    c->writable[ATS_CONTROL + 1] = ATS_ENABLE >> 8;

    pci_config_set(c, ACCEL_CAP_PRI, 4, extended_header(0x0013, ACCEL_CAP_PASID));
    pci_config_set(c, PRI_STATUS, 2, PRI_STATUS_STOPPED | PRI_PASID_REQUIRED);
    pci_config_set(c, PRI_CAPACITY, 4, ACCEL_PRI_CAPACITY);
    c->writable[PRI_CONTROL] = PRI_ENABLE; /* Reset reads 0 */
    c->clears[PRI_STATUS] = PRI_RESPONSE_FAILURE | PRI_UNEXPECTED_GROUP;
    for (unsigned i = 0; i < 4; i++)
        c->writable[PRI_ALLOCATION + i] = 0xff;

    pci_config_set(c, ACCEL_CAP_PASID, 4, extended_header(0x001b, 0));
    pci_config_set(c, ACCEL_CAP_PASID + 4, 2, 20u << 8); /* width 20, no execute, no privileged */
    c->writable[PASID_CONTROL] = PASID_ENABLE;

    a->ats_stopped = false;
    a->pri_stopped = false;
}

static bool control(const struct accel *a, uint32_t offset, uint32_t bit)
{
    return (pci_config_get(&a->config, offset, 2) & bit) != 0;
}

bool accel_may_dma(const struct accel *a)
{
    return control(a, PCI_COMMAND, PCI_COMMAND_MASTER);
}

bool accel_ats_on(const struct accel *a)
{
    return control(a, ATS_CONTROL, ATS_ENABLE) && !a->ats_stopped;
}

bool accel_pri_on(const struct accel *a)
{
    return control(a, PRI_CONTROL, PRI_ENABLE) && !a->pri_stopped;
}

bool accel_pasid_on(const struct accel *a)
{
    return control(a, PASID_CONTROL, PASID_ENABLE);
}

uint32_t accel_pri_allocation(const struct accel *a)
{
    uint32_t allocation = pci_config_get(&a->config, PRI_ALLOCATION, 4);

    return allocation < ACCEL_PRI_CAPACITY ? allocation : ACCEL_PRI_CAPACITY;
}

void accel_pri_set_status(struct accel *a, uint16_t set, uint16_t clear)
{
    uint32_t status = pci_config_get(&a->config, PRI_STATUS, 2);

    pci_config_set(&a->config, PRI_STATUS, 2, (status | set) & ~(uint32_t)clear);
}

uint64_t accel_config_read(const struct accel *a, uint32_t offset, unsigned size)
{
    if (accel_vanished(a))
        return UINT64_MAX >> (64 - 8 * size);
    return pci_config_space_read(&a->config, offset, size);
}

/* The bits of one 16-bit register before and after a write, and the bits that were asked for. */
struct change {
    uint32_t before, after, asked;
};

static struct change change_of(const struct pci_config *before, const struct accel *a, uint32_t reg,
                               uint32_t offset, unsigned size, uint64_t value)
{
    struct change ch = { .before = pci_config_get(before, reg, 2),
                         .after = pci_config_get(&a->config, reg, 2) };

    ch.asked = ch.after;
    for (uint32_t i = 0; i < 2; i++)
        if (reg + i >= offset && reg + i < offset + size) {
            ch.asked &= ~(UINT32_C(0xff) << (8 * i));
            ch.asked |= (uint32_t)(uint8_t)(value >> (8 * (reg + i - offset))) << (8 * i);
        }
    return ch;
}

static bool goes_on(struct change ch, uint32_t bit)
{
    return !(ch.before & bit) && (ch.after & bit);
}

static bool goes_off(struct change ch, uint32_t bit)
{
    return (ch.before & bit) && !(ch.after & bit);
}

static void ats_changed(struct accel *a, struct change ch)
{
    if ((ch.before & ch.after & ATS_ENABLE) && ((ch.before ^ ch.after) & ATS_STU))
        a->bus.complain(a->bus.ctx, "ats-stu-live", "STU changed while ATS is on (PCIe 10.5.1.3)");
    if (goes_off(ch, ATS_ENABLE)) {
        if (accel_pri_on(a))
            a->bus.complain(a->bus.ctx, "ats-off-while-pri",
                            "ATS turned off before PRI (VT-d 4.5.2)");
        accel_tlb_clear(a);
    }
    if (goes_on(ch, ATS_ENABLE))
        a->ats_stopped = false;
}

static void pri_turned_on(struct accel *a)
{
    uint32_t allocation = pci_config_get(&a->config, PRI_ALLOCATION, 4);

    if (!control(a, ATS_CONTROL, ATS_ENABLE))
        a->bus.complain(a->bus.ctx, "pri-without-ats", "PRI enabled while ATS is off");
    if (!control(a, PRI_STATUS, PRI_STATUS_STOPPED))
        a->bus.complain(a->bus.ctx, "pri-enable-not-stopped",
                        "PRI enabled while requests are outstanding (PCIe 7.8.9.3)");
    if (allocation == 0 || allocation > ACCEL_PRI_CAPACITY)
        a->bus.complain(a->bus.ctx, "pri-allocation-range",
                        "PRI enabled with an allocation of 0 or beyond the capacity");
    a->pri_stopped = false;
    accel_pri_set_status(a, 0, PRI_STATUS_STOPPED);
}

static void pri_changed(struct accel *a, struct change ch)
{
    if (goes_on(ch, PRI_ENABLE))
        pri_turned_on(a);
    if (goes_off(ch, PRI_ENABLE)) {
        if (accel_pri_outstanding(a) == 0)
            accel_pri_set_status(a, PRI_STATUS_STOPPED, 0);
        accel_wake(a);
    }
    if (ch.asked & PRI_RESET) {
        if ((ch.after & PRI_ENABLE) || !control(a, PRI_STATUS, PRI_STATUS_STOPPED))
            a->bus.complain(a->bus.ctx, "pri-reset-live",
                            "PRI reset while enabled or not stopped (PCIe 7.8.9.2)");
        else
            accel_pri_forget(a);
    }
}

static void pasid_changed(struct accel *a, struct change ch)
{
    if (((ch.before ^ ch.after) & PASID_ENABLE) && control(a, ATS_CONTROL, ATS_ENABLE))
        a->bus.complain(a->bus.ctx, "pasid-while-ats",
                        "PASID Enable changed while ATS is on (PCIe 10.5.1.3)");
    if (ch.asked & PASID_EXEC_PRIV)
        a->bus.complain(a->bus.ctx, "pasid-exec-priv",
                        "execute or privileged mode enabled; the function has neither");
}

/* Runs after the bytes are stored, PASID before ATS before PRI: a wide write may hold two. */
static const struct {
    uint16_t reg;
    void (*changed)(struct accel *a, struct change ch);
} registers[] = {
    { PASID_CONTROL, pasid_changed },
    { ATS_CONTROL, ats_changed },
    { PRI_CONTROL, pri_changed },
};

static bool covers(uint32_t offset, unsigned size, uint32_t reg)
{
    return offset < reg + 2 && reg < offset + size;
}

void accel_config_write(struct accel *a, uint32_t offset, unsigned size, uint64_t value)
{
    static struct pci_config before; /* 12 KiB: off the stack; single threaded */

    if (accel_vanished(a))
        return;
    before = a->config;
    pci_config_space_write(&a->config, offset, size, value);

    if (covers(offset, size, PCI_DEVCTL) &&
        (change_of(&before, a, PCI_DEVCTL, offset, size, value).asked & PCI_DEVCTL_FLR)) {
        accel_reset(a);
        return;
    }
    if (offset < PRI_ALLOCATION + 4 && PRI_ALLOCATION < offset + size && accel_pri_on(a) &&
        pci_config_get(&before, PRI_ALLOCATION, 4) != pci_config_get(&a->config, PRI_ALLOCATION, 4))
        a->bus.complain(a->bus.ctx, "pri-allocation-live",
                        "allocation changed while PRI is on (PCIe 7.8.9.5)");
    for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
        if (covers(offset, size, registers[i].reg))
            registers[i].changed(a, change_of(&before, a, registers[i].reg, offset, size, value));
}
