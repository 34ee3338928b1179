/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The demonstration: two processes of this guest share their memory with an accelerator. Each scene
 * tells one line of the story and counts what went wrong.
 */
#ifndef GUEST_DEMO_DEMO_H
#define GUEST_DEMO_DEMO_H

#include "guest/lib/accel.h"
#include "guest/lib/rings.h"
#include "guest/lib/runtime.h"
#include "guest/lib/space.h"

#define EVENT_VECTOR 0x40
#define WORK_VECTOR  0x41 /* the accelerator is done */
#define WORK_SLEEPS  8u   /* for which it is awaited asleep, twice */

/* A process: one region of virtual memory, whose frames exist but whose pages come when touched. */
enum { SOURCE = 0, TARGET = 16, MOVING = 32, RECORDS = 64, REGION_PAGES = 65 };

struct process {
    struct space space;
    uint32_t pasid, bond;
    uint64_t base;   /* virtual address of page 0 */
    uint8_t *frames; /* kernel's view of the frames; page n at n * PAGE unless moved */
};

#define PROCESSES 2

struct counts {
    uint64_t page_requests, answered, refused_by_guest, interrupts, faults, expired;
    volatile uint64_t work_interrupts; /* WORK_VECTOR */
    uint64_t refused_interrupts;       /* faults that tell so */
    uint64_t mismatches, blocked_after_unbind, escapes_refused, escapes_succeeded;
};

struct demo {
    struct accel accel;
    struct hc_device_info device;
    struct process process[PROCESSES];
    struct event_ring events;
    struct command_ring commands;
    struct counts count;
    struct hc_event last_fault;
    uint32_t record; /* next completion record */
    bool on_demand;  /* category MAP is enabled */
};

extern struct demo demo;

/* A check of the story: what is not as it should be is said and counted. */
void expect(bool good, const char *what, uint64_t detail);

/* ---- work.c: descriptors, from submission to completion */
struct work {
    struct process *process; /* NULL: without PASID, addresses guest physical */
    uint8_t operation, flags;
    uint64_t source, destination, size, pattern;
    uint16_t message; /* of the accelerator, with ACCEL_INTERRUPT */
};
/* Submit and wait, serving page requests meanwhile. Status 0: the device gave up without being able
 * to write a completion record (it was refused even that). */
struct accel_completion work_run(const struct work *w);
/* Sleep until the work's interrupt (WORK_VECTOR) comes, instead of looking for its record. */
struct accel_completion work_run_asleep(const struct work *w);
/* Several at once, all in flight together; results in @out. */
void work_run_all(const struct work *w, unsigned n, struct accel_completion *out);

/* One alone, in two steps. */
void work_start(const struct work *w);
struct accel_completion work_finish(void);

/* ---- process.c */
void process_create(struct process *p, unsigned index);
uint64_t process_address(const struct process *p, unsigned page); /* virtual address of a page */
uint8_t *process_frame(const struct process *p, unsigned page);   /* kernel's view of its frame */
/* Make the page that a device asked for present. False: not this process's memory. */
bool process_fault(struct process *p, uint64_t va);
/* Pseudo-random contents that depend on VM, process and page. */
void process_fill(struct process *p, unsigned page, unsigned pages, uint64_t seed);

/* ---- events.c */
void events_init(void);
void events_serve(void);

/* ---- scenes */
void scene_blocked(void);   /* nothing attached: DMA is refused */
void scene_share(void);     /* copy, fill, compare, CRC on absent pages */
void scene_interrupt(void); /* sleep until done; messages that are not ours raise nothing */
void scene_remap(void);     /* mappings change, invalidation by call and by ring */
void scene_identity(void);  /* DMA by requester id, guest physical */
void scene_escape(void);    /* addresses and PASIDs that are not ours */
void scene_classic(void);   /* map at the addresses of the process, by PASID, beside a bind */
void scene_require(void);   /* addresses that must stay usable */
void scene_reserve(void);   /* hold addresses, map over them */
void scene_replace(void);   /* every domain after every other, under DMA */
void scene_demand(void);    /* memory that comes when the device asks */
void scene_unbind(void);    /* after unbind nothing passes */

#endif
