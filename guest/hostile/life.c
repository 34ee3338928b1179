/* SPDX-License-Identifier: BSD-2-Clause */
/* Life and death of the device: reset under load, and pulled out. */
#include "guest/hostile/hostile.h"
#include "guest/lib/cpu.h"
#include "guest/lib/pci.h"

#define MISCHIEF_VANISH 64u

static uint32_t state_of(void)
{
    struct hc_device_info info;

    must(sluice_device_info(0, &info), HV_OK, "device info");
    return info.state;
}

static bool device_gone(void)
{
    return count[HC_EVENT_DEVICE_GONE] != 0;
}

/* With page requests open and work in flight, again and again: each time it is as new. */
void resets(void)
{
    for (unsigned round = 0; round < 5; round++) {
        uint32_t page = round * 4;
        serve = false;
        submit(0, VA + page * PAGE, 4 * PAGE);
        for (uint64_t begin = rdtsc(); rdtsc() - begin < round * 1000 * ticks_per_us();)
            take_events();
        must(sluice_device_reset(device), HV_OK, "reset");
        if (records[0].status == ACCEL_DONE || frames[(uint64_t)page * PAGE])
            fail("work went on");
        must(sluice_unbind(bond, NULL), HV_ENOENT, "unbind after the reset");
        if (state_of() != HC_DEVICE_OK || !accel_open(&accel, accel.rid))
            fail("not as new");
        enable();
        serve = true;
        submit(1, VA + page * PAGE, PAGE);
        wait(idle, true, "the device");
        if (records[1].status != ACCEL_DONE || !frames[(uint64_t)page * PAGE])
            fail("status %u after the reset", records[1].status);
    }
    if (count[HC_EVENT_DEVICE_FAILED] || count[HC_EVENT_DEVICE_GONE])
        fail("a reset was told as a failure");
}

/* With work in flight: told once, and nothing waits for it. */
void vanishes(void)
{
    uint32_t none[2];

    serve = false;
    submit(0, VA, 4 * PAGE);
    accel_mischief(&accel, MISCHIEF_VANISH);
    wait(device_gone, true, "the event that the device is gone");
    if (state_of() != HC_DEVICE_GONE || pci_find(ACCEL_PCI_ID, -1) >= 0)
        fail("the device is still there");
    must(sluice_invalidate_range(pasid, VA, PAGE, true), HV_OK, "invalidation");
    must(sluice_device_reset(device), HV_EIO, "reset");
    must(sluice_bind(device, (uint64_t)space.root, HC_PASID_ANY, 0, &none[0], &none[1]), HV_EIO,
         "bind");
    must(sluice_unbind(bond, NULL), HV_OK, "unbind");
    must(sluice_iopf_disable(device), HV_OK, "IOPF off");
    take_events();
    if (count[HC_EVENT_DEVICE_GONE] != 1 || count[HC_EVENT_DEVICE_FAILED])
        fail("told %lu times", count[HC_EVENT_DEVICE_GONE] + count[HC_EVENT_DEVICE_FAILED]);
}
