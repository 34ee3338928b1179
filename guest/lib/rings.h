/* SPDX-License-Identifier: BSD-2-Clause */
/* The two rings of the ABI, from the guest's side (docs/abi.md, "Rings"). */
#ifndef GUEST_LIB_RINGS_H
#define GUEST_LIB_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/lib/sluice.h"

struct event_ring {
    volatile struct hc_ring *header;
    const volatile struct hc_event *slot;
    uint32_t entries;
};

/* Give Sluice a ring of @entries (a power of two); @vector of @vcpu says that there is something.
 */
enum hv_status event_ring_open(struct event_ring *r, uint32_t entries, uint8_t vector,
                               uint32_t vcpu);
/* Take the next event out. False: empty. */
bool event_ring_take(struct event_ring *r, struct hc_event *out);

struct command_ring {
    volatile struct hc_ring *header;
    volatile struct hc_command *slot;
    uint32_t entries;
};

enum hv_status command_ring_open(struct command_ring *r, uint32_t entries);
/* Queue a call with its structure of @size bytes (up to 48). False: the ring is full, ring the
 * bell. */
bool command_ring_put(struct command_ring *r, uint32_t call, const void *args, uint32_t size);
/* One exit for all that is queued; returns the status of the doorbell call itself, @done how many
 * commands ran, @failed how many of them ended in an error. */
enum hv_status command_ring_run(struct command_ring *r, uint32_t *done, uint32_t *failed);

#endif
