/* SPDX-License-Identifier: BSD-2-Clause */
/* What the ways to misbehave share: a device with a process that it is bound to, and chance. */
#ifndef GUEST_HOSTILE_HOSTILE_H
#define GUEST_HOSTILE_HOSTILE_H

#include "guest/lib/accel.h"
#include "guest/lib/rings.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"
#include "guest/lib/space.h"

#define PAGES 32u
#define VA    (SPACE_USER_BASE + 0x200000)

extern struct accel accel;
extern uint32_t device, pasid, bond;
extern struct space space;
extern uint8_t *frames; /* PAGES of them */
extern volatile struct accel_completion *records;
extern uint64_t count[8]; /* events, by type */
extern bool serve;        /* answer page requests */

void must(enum hv_status status, enum hv_status wanted, const char *what);
/* IOPF on, bound to the process: also after a reset. */
void enable(void);
/* The device fills [@va, @va + @size); its record @record, 0 to PAGES - 1, says so. */
void submit(unsigned record, uint64_t va, uint64_t size);
/* Page requests are answered here. */
void take_events(void);
/* Wait until @done says so, taking events if @taking. */
void wait(bool (*done)(void), bool taking, const char *what);
bool idle(void); /* the device */

/* The next number of the sequence that "seed=" on the command line begins. */
uint64_t chance(void);
/* Calls, and commands by ring, of chance. */
void calls(void);
void commands(void);
/* First-stage tables of chance, under a device at work. */
void tables(void);
/* The device is reset under load; it is pulled out. */
void resets(void);
void vanishes(void);
/* Another vCPU changes what this one has Sluice read. */
void race(void);

#endif
