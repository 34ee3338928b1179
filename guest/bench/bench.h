/* SPDX-License-Identifier: BSD-2-Clause */
/* What the measurements share. */
#ifndef GUEST_BENCH_BENCH_H
#define GUEST_BENCH_BENCH_H

#include "guest/lib/accel.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/rings.h"
#include "guest/lib/space.h"

#define COMMANDS           256u /* slots of the command ring */
#define BENCH_EVENT_VECTOR 0x40
#define BENCH_VA           (SPACE_USER_BASE + 0x40000000)

extern struct accel accel;
extern struct hc_device_info device;
extern struct space space; /* bound as pasid */
extern uint32_t pasid;
extern struct event_ring events;
extern struct command_ring commands;

void must(enum hv_status status, const char *what);
void report(const char *name, uint64_t value);
/* What two readings of the clock cost by themselves. */
uint64_t clock_cost(void);
/* The smallest of several rounds: the same work each time, without a host interrupt in between. */
uint64_t least(void (*once)(void));
void check_statuses(uint32_t from, uint32_t count);

void bench_ioas(void);   /* ioas.c */
void bench_events(void); /* events.c */
void bench_shadow(void); /* shadow.c */

#endif
