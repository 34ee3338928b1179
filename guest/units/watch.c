/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VM beside the one that drives the devices: it has a device and an interrupt of its own, and
 * must get that one and no other. "@watch OWN RAISED STRAYS", again and again; it does not end.
 */
#include "guest/units/messages.h"
#include "guest/units/units.h"

#define PERIOD_US 100000ull

int watch(void)
{
    uint32_t raised = 0;

    if (sluice_device_info(0, &dev.info) != HV_OK || !(dev.source = source_of(dev.info.rid)) ||
        !dev.source->open(dev.info.rid))
        fail("no device of its own");
    if (dev.source->page && !attach(HC_DOMAIN_IDENTITY, 0))
        fail("no memory for its device");
    messages_count();
    bool own = dev.info.interrupts && messages_aim(0);
    for (;;) {
        raised += own && dev.source->raise();
        messages_listen(PERIOD_US);
        for (unsigned i = 0; i < 50 && messages_seen() < raised; i++)
            messages_listen(PERIOD_US);
        print("@watch %u %u %u\n", (unsigned)messages_seen(), (unsigned)raised,
              (unsigned)messages_strays());
    }
}
