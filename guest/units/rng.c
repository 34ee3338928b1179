/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-rng behind the IOMMU, with ATS: gives a page of random bytes. VIRTIO 1.2, split queue.
 * Sluice does not show the vendor capabilities that tell where the registers are; QEMU has them in
 * BAR 4, at 0 the common ones, at 0x3000 the doorbells. Its queue has entry 1 of MSI-X.
 */
#include <string.h>

#include "guest/lib/pci.h"
#include "guest/lib/runtime.h"
#include "guest/units/source.h"

enum {
    ENTRIES = 4,
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    DOORBELL = 0x3000,
    ENTRY = 1
};

struct common { /* 4.1.4.3 */
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t msix, queues;
    uint8_t status, generation;
    uint16_t queue_select, queue_size, queue_msix, queue_enable, queue_notify;
    uint32_t desc[2], driver[2], device[2];
};

static volatile struct common *common;
static struct {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
} *desc;
static volatile uint16_t *avail, *used; /* flags, index, ring */
static void *sink;

static bool reset_done(void)
{
    return common->status == 0;
}

static bool answered(void)
{
    return used[1] == avail[1];
}

static void place(volatile uint32_t at[2], const volatile void *what)
{
    at[0] = (uint32_t)(uint64_t)what;
    at[1] = 0;
}

static bool open(uint32_t rid)
{
    common = (volatile struct common *)pci_enable_bar(rid, 4);
    common->status = 0;
    if (!wait_for(reset_done, 1000000))
        return false;
    common->status = ACKNOWLEDGE;
    common->status = ACKNOWLEDGE | DRIVER;
    common->device_feature_select = 1;
    if ((common->device_feature & 3) != 3) /* VERSION_1, ACCESS_PLATFORM: DMA is translated */
        return false;
    common->driver_feature_select = 0;
    common->driver_feature = 0;
    common->driver_feature_select = 1;
    common->driver_feature = 3;
    common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    if (!desc) {
        desc = pages_new(1);
        avail = pages_new(1);
        used = pages_new(1);
        sink = pages_new(1);
    }
    memset((void *)avail, 0, 4096);
    memset((void *)used, 0, 4096);
    common->queue_select = 0;
    common->queue_size = ENTRIES;
    place(common->desc, desc);
    place(common->driver, avail);
    place(common->device, used);
    common->queue_msix = ENTRY;
    common->queue_enable = 1;
    common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    return true;
}

static bool give(uint64_t address)
{
    desc[0].address = address;
    desc[0].bytes = 4096;
    desc[0].flags = 2; /* the device writes */
    avail[2 + avail[1] % ENTRIES] = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    avail[1]++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *(volatile uint16_t *)((volatile char *)common + DOORBELL) = 0;
    return wait_for(answered, 500000);
}

static bool raise(void)
{
    return give((uint64_t)sink);
}

static void *used_page(unsigned n)
{
    void *const all[] = { desc, (void *)avail, (void *)used, sink };

    return n < sizeof(all) / sizeof(*all) ? all[n] : NULL;
}

const struct source rng = { .name = "virtio-rng",
                            .id = 0x10441af4,
                            .open = open,
                            .give = give,
                            .page = used_page,
                            .messages = MSIX,
                            .raise = raise,
                            .entry = ENTRY };
