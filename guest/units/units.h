/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of this guest share: the device that is being tested, and how a step is told. */
#ifndef GUEST_UNITS_UNITS_H
#define GUEST_UNITS_UNITS_H

#include "guest/lib/rings.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"
#include "guest/units/source.h"

#define VECTOR 0x60 /* of the event ring, which is polled */

extern struct event_ring ring;
extern struct tested {
    const struct source *source;
    struct hc_device_info info;
    uint8_t *from, *to;
} dev;

/* One line for a step of dev: "@test DEVICE_STEP ok", or why not. */
void result(const char *step, bool good, const char *why);
/* What drives the function at @rid; NULL: nothing does. */
const struct source *source_of(uint32_t rid);
/* By requester id. */
bool attach(enum hc_domain domain, uint64_t root);
void forget_faults(void);

extern struct accel accel;

/* A process and the accelerator, where the unit nests or there are shadows; BLOCKED at the end. */
void process(void);
/* Interrupts of dev, which is attached IDENTITY and open. */
void messages(void);
/* Another VM's part: it counts interrupts that are not its own, and never ends. */
int watch(void);

#endif
