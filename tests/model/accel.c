/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator's BAR: control and status registers, interrupt message store, portal, reset.
 * docs/accelerator.md is the contract.
 */
#include "tests/model/accel_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    REG_ID = 0x00,
    REG_CTRL = 0x08,
    REG_STATUS = 0x10,
    REG_ERROR = 0x18,
    REG_ERRADDR = 0x20,
    REG_DONE = 0x28,
    REG_BYTES = 0x30,
    REG_PAGEREQS = 0x38,
    REG_DEPTH = 0x40,
    REG_MISCHIEF = 0x48,
    REG_IMS = 0x100,
    REG_IMS_END = REG_IMS + 16 * ACCEL_IMS_COUNT,
    REG_PORTAL = 0x1000,

    CTRL_ENABLE = 1,
    CTRL_RESET = 2,
    CTRL_HOLD = 4,
};

#define ID_VALUE    UINT64_C(0x000151054c53)
#define IMS_MASK    (UINT64_C(1) << 32)
#define IMS_PENDING (UINT64_C(1) << 33)

struct accel *accel_create(uint16_t rid, const struct accel_bus *bus)
{
    struct accel *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->rid = rid;
    a->bus = *bus;
    accel_reset(a);
    return a;
}

void accel_destroy(struct accel *a)
{
    free(a);
}

uint16_t accel_rid(const struct accel *a)
{
    return a->rid;
}

const struct accel_stats *accel_stats(const struct accel *a)
{
    return &a->stats;
}

void accel_set_mischief(struct accel *a, uint64_t bits)
{
    a->mischief_floor = bits;
}

/* BAR registers as after power on. */
static void clear_registers(struct accel *a)
{
    a->enabled = false;
    a->held = false;
    a->error = a->erraddr = a->done = a->bytes = a->pagereqs = a->mischief = 0;
    for (unsigned i = 0; i < ACCEL_IMS_COUNT; i++)
        a->ims[i] = (struct accel_ims){ .masked = true };
    memset(a->portal, 0, sizeof(a->portal));
    a->portal_filled = 0;
}

void accel_reset(struct accel *a)
{
    accel_drop_all(a);
    accel_pri_forget(a);
    accel_tlb_clear(a);
    accel_config_reset(a);
    clear_registers(a);
}

static void write_ctrl(struct accel *a, uint64_t value)
{
    if ((value & CTRL_RESET) || !(value & CTRL_ENABLE))
        accel_abort_all(a);
    if (value & CTRL_RESET)
        clear_registers(
            a); /* ATS, PRI and what they hold belong to configuration space: they stay */
    else
        a->enabled = value & CTRL_ENABLE;
    a->held = !(value & CTRL_RESET) && (value & CTRL_HOLD);
}

static uint64_t read_register(const struct accel *a, uint32_t offset)
{
    uint64_t flying = accel_in_flight(a);

    switch (offset) {
    case REG_ID: return ID_VALUE;
    case REG_CTRL: return (a->enabled ? CTRL_ENABLE : 0) | (a->held ? CTRL_HOLD : 0);
    case REG_STATUS: return (a->enabled ? 1 : 0) | (flying ? 2 : 0) | flying << 16;
    case REG_ERROR: return a->error;
    case REG_ERRADDR: return a->erraddr;
    case REG_DONE: return a->done;
    case REG_BYTES: return a->bytes;
    case REG_PAGEREQS: return a->pagereqs;
    case REG_DEPTH: return ACCEL_DEPTH;
    case REG_MISCHIEF: return accel_mischief(a);
    default: break;
    }
    if (offset >= REG_IMS && offset < REG_IMS_END) {
        const struct accel_ims *ims = &a->ims[(offset - REG_IMS) / 16];

        if (offset % 16 == 0)
            return ims->addr;
        return ims->data | (ims->masked ? IMS_MASK : 0) | (ims->pending ? IMS_PENDING : 0);
    }
    return 0;
}

static void write_ims(struct accel *a, unsigned index, bool data, uint64_t value)
{
    struct accel_ims *ims = &a->ims[index];

    if (!data) {
        ims->addr = value & ~UINT64_C(3);
        return;
    }
    ims->data = (uint32_t)value;
    ims->masked = value & IMS_MASK;
    if (!ims->masked && ims->pending)
        accel_interrupt(a, index);
}

static void set_mischief(struct accel *a, uint64_t bits)
{
    a->mischief = bits;
    if (!accel_vanished(a))
        return;
    accel_drop_all(a);
    accel_pri_forget(a);
    accel_tlb_clear(a);
}

static void write_register(struct accel *a, uint32_t offset, uint64_t value)
{
    if (offset == REG_CTRL)
        write_ctrl(a, value);
    else if (offset == REG_MISCHIEF)
        set_mischief(a, value & 0x7f);
    else if (offset >= REG_IMS && offset < REG_IMS_END)
        write_ims(a, (offset - REG_IMS) / 16, offset % 16 != 0, value);
}

/* Bytes arrive in ascending order from 0; the last one submits. A gap spoils the descriptor. */
static void write_portal(struct accel *a, uint32_t offset, unsigned size, uint64_t value)
{
    if (offset == 0)
        a->portal_filled = 0;
    a->portal_filled = offset == a->portal_filled ? offset + size : UINT32_MAX;
    memcpy(a->portal + offset, &value, size);
    if (offset + size < sizeof(a->portal))
        return;

    bool whole = a->portal_filled == sizeof(a->portal);
    struct accel_descriptor d;

    a->portal_filled = 0;
    memcpy(&d, a->portal, sizeof(d));
    if (whole)
        accel_submit(a, &d);
    else
        a->error |= ERROR_MALFORMED;
}

static bool aligned(uint32_t offset, unsigned size)
{
    return (size == 4 || size == 8) && offset % size == 0 && offset < ACCEL_BAR0_SIZE;
}

uint64_t accel_mmio_read(const struct accel *a, uint32_t offset, unsigned size)
{
    if (accel_vanished(a))
        return UINT64_MAX >> (64 - 8 * size);
    if (!aligned(offset, size))
        return 0;

    uint64_t value = read_register(a, offset & ~7u);

    return size == 8 ? value : (uint32_t)(value >> (8 * (offset & 4)));
}

void accel_mmio_write(struct accel *a, uint32_t offset, unsigned size, uint64_t value)
{
    if (!aligned(offset, size) || accel_vanished(a))
        return;
    if (size == 4)
        value = (uint32_t)value;
    if (offset >= REG_PORTAL && offset < REG_PORTAL + sizeof(a->portal)) {
        write_portal(a, offset - REG_PORTAL, size, value);
        return;
    }
    if ((offset & ~7u) == REG_ERROR) {
        a->error &= ~(value << (8 * (offset & 4)));
        return;
    }
    if (size == 4) { /* the other half keeps its value */
        uint64_t old = read_register(a, offset & ~7u), mask = UINT64_C(0xffffffff)
                                                              << (8 * (offset & 4));

        value = (old & ~mask) | value << (8 * (offset & 4));
    }
    write_register(a, offset & ~7u, value);
}
