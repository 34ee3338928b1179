/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/rings.h"

#include <stdatomic.h>
#include <string.h>

#include "guest/lib/runtime.h"

static enum hv_status ring_open(uint64_t number, uint32_t entries, uint32_t slot_size,
                                uint8_t vector, uint32_t vcpu, void **out)
{
    uint64_t bytes = HC_RING_ENTRIES + (uint64_t)entries * slot_size;
    struct hc_ring_setup setup = {
        .size = sizeof(setup),
        .entries = entries,
        .vector = vector,
        .vcpu = vcpu,
    };

    *out = pages_new((bytes + PAGE - 1) / PAGE);
    setup.base = (uint64_t)*out;
    return sluice_call_struct(number, &setup, NULL);
}

enum hv_status event_ring_open(struct event_ring *r, uint32_t entries, uint8_t vector,
                               uint32_t vcpu)
{
    void *base;
    enum hv_status status =
        ring_open(HC_EVENT_RING, entries, sizeof(struct hc_event), vector, vcpu, &base);

    r->header = base;
    r->slot = (const volatile struct hc_event *)((char *)base + HC_RING_ENTRIES);
    r->entries = entries;
    return status;
}

bool event_ring_take(struct event_ring *r, struct hc_event *out)
{
    uint32_t consumer = r->header->consumer;

    if (consumer == r->header->producer)
        return false;
    /* The slot was written before producer moved. */
    atomic_thread_fence(memory_order_acquire);
    *out = r->slot[consumer & (r->entries - 1)];
    atomic_thread_fence(memory_order_release);
    r->header->consumer = consumer + 1;
    /* Before the next look at producer, so that a guest that finds the ring empty and sleeps is
     * told of what comes (docs/abi.md, "Events"). */
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

enum hv_status command_ring_open(struct command_ring *r, uint32_t entries)
{
    void *base;
    enum hv_status status =
        ring_open(HC_COMMAND_RING, entries, sizeof(struct hc_command), 0, 0, &base);

    r->header = base;
    r->slot = (volatile struct hc_command *)((char *)base + HC_RING_ENTRIES);
    r->entries = entries;
    return status;
}

bool command_ring_put(struct command_ring *r, uint32_t call, const void *args, uint32_t size)
{
    uint32_t producer = r->header->producer;
    struct hc_command command = { .call = call, .status = HC_COMMAND_PENDING };

    if (size > sizeof(command.args) || producer - r->header->consumer >= r->entries)
        return false;
    memcpy(command.args, args, size);
    r->slot[producer & (r->entries - 1)] = command;
    atomic_thread_fence(memory_order_release);
    r->header->producer = producer + 1;
    return true;
}

enum hv_status command_ring_run(struct command_ring *r, uint32_t *done, uint32_t *failed)
{
    enum hv_status status = HV_OK;

    *done = *failed = 0;
    while (status == HV_OK && r->header->consumer != r->header->producer) {
        uint32_t from = r->header->consumer;
        uint64_t count = 0;

        status = sluice_call(HC_DOORBELL, 0, 0, 0, &count);
        if (status == HV_OK && !count)
            return HV_EIO; /* nothing moves */
        for (uint32_t i = 0; i < count; i++)
            *failed += r->slot[(from + i) & (r->entries - 1)].status != HV_OK;
        *done += (uint32_t)count;
    }
    return status;
}
