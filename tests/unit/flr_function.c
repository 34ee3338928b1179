/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/flr_function.h"

#include <string.h>

enum { COMMAND = 0x04, BARS = 0x10, DEVICE_CTL = FLR_PCIE + 8, DEVICE_STATUS = FLR_PCIE + 10 };

static bool away(const struct flr_function *f, uint64_t us)
{
    return f->reset_at && time_now() - f->reset_at < us * time_ticks_per_us();
}

bool flr_function_answers(const struct flr_function *f)
{
    return !f->vanished && !away(f, f->ready_us);
}

static uint32_t ones(unsigned size)
{
    return size == 4 ? ~0u : (1u << (8 * size)) - 1;
}

static uint32_t config_read(void *ctx, unsigned offset, unsigned size)
{
    struct flr_function *f = ctx;
    uint32_t value = 0;

    f->early += away(f, 100000);
    if (!flr_function_answers(f))
        return ones(size);
    if (away(f, f->ready_us + f->retry_us))
        return offset == 0 ? 0xffff0001 & ones(size) : ones(size);
    memcpy(&value, f->pci.config + offset, size);
    if (offset <= DEVICE_STATUS && DEVICE_STATUS < offset + size && f->dma_under_way) {
        value |= 1u << (5 + 8 * (DEVICE_STATUS - offset));
        f->dma_under_way = f->pci.config[COMMAND] & 4;
    }
    return value;
}

static void reset(struct flr_function *f)
{
    f->resets++;
    f->master_on += (f->pci.config[COMMAND] & 4) != 0;
    memcpy(f->pci.config, f->power_on, sizeof(f->power_on));
    f->reset_at = time_now();
    f->vanished |= f->vanishes;
    if (f->on_reset)
        f->on_reset(f);
}

static void config_write(void *ctx, unsigned offset, unsigned size, uint32_t value)
{
    struct flr_function *f = ctx;

    f->early += away(f, 100000);
    if (!flr_function_answers(f) || away(f, f->ready_us + f->retry_us))
        return;
    if (offset == DEVICE_CTL && (value & 0x8000) && (f->pci.config[FLR_PCIE + 7] & 0x10)) {
        reset(f);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = f->pci.writable[offset + i];
        f->pci.config[offset + i] &= (uint8_t)~mask;
        f->pci.config[offset + i] |= (uint8_t)(value >> (8 * i)) & mask;
    }
}

void flr_function_make(struct flr_function *f, rid_t rid, uint64_t bar, uint64_t size, bool resets)
{
    *f = (struct flr_function){ 0 };
    platform_pci_endpoint(&f->pci, rid, 0x1234, 0x5678, bar, size);
    uint8_t *c = f->pci.config, *w = f->pci.writable;
    platform_put(c, 0x06, 2, 0x10);
    platform_put(c, 0x34, 1, FLR_PCIE);
    platform_put(c, FLR_PCIE, 4, 0x00020010 | FLR_MSI << 8);
    platform_put(c, FLR_PCIE + 4, 4, resets ? 0x10008fc0 : 0x00008fc0);
    platform_put(w, FLR_PCIE + 8, 2, 0x7fff);
    platform_put(w, FLR_PCIE + 0x28, 2, 0xffff);
    platform_put(c, FLR_MSI, 4, 0x01800005 | FLR_MSIX << 8);
    platform_put(w, FLR_MSI + 2, 2, 0x0071);
    platform_put(w, FLR_MSI + 4, 4, 0xfffffffc);
    platform_put(w, FLR_MSI + 8, 4, ~0u);
    platform_put(w, FLR_MSI + 12, 2, 0xffff);
    platform_put(w, FLR_MSI + 16, 4, 1);
    platform_put(c, FLR_MSIX, 4, 0x00070011);
    platform_put(w, FLR_MSIX + 2, 2, 0xc000);
    f->pci.ctx = f;
    f->pci.read = config_read;
    f->pci.write = config_write;
}

void flr_function_ready(struct flr_function *f)
{
    memcpy(f->power_on, f->pci.config, sizeof(f->power_on));
    for (unsigned i = BARS; i < BARS + 24; i++)
        f->power_on[i] &= (uint8_t)~f->pci.writable[i];
}
