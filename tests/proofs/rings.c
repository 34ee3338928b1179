/* SPDX-License-Identifier: BSD-2-Clause */
/* Indices of the rings, one of which the guest writes at any time. */
#include "tests/proofs/proof.h"

#include "hv/rings.c"

#define SLOTS 16u

/* proof: only_indices_on_the_way_are_believed */
/* broken: hv/rings.c s/now - \*last > limit - \*last/now > limit/ */
/* broken: hv/rings.c s/ring->stopped = true;/;/ */
void only_indices_on_the_way_are_believed(void)
{
    struct ring ring = { .stopped = any_bool() };
    uint32_t last = any_u32(), before = last, now = any_u32(), room = any_between(0, 4096);
    bool stopped = ring.stopped, near = false;

    bool good = believe(&ring, &last, now, before + room);
    prove(good == !ring.stopped && (!stopped || ring.stopped));
    prove(last - before <= room);
    /* now is one of before, before + 1, ... before + room: */
    near = (uint64_t)now >= before ? now - before <= room
                                   : (uint64_t)now + (1ull << 32) - before <= room;
    prove(last == (near ? now : before) && ring.stopped == (stopped || !near));
}

static struct hc_ring header;
static struct hc_event event_slots[SLOTS];
static struct hc_command commands[SLOTS];

/* proof: events_fill_slots_and_no_more */
/* broken: hv/rings.c s/producer & (ring->entries - 1)\]/producer \& ring->entries]/ */
/* broken: hv/rings.c s/+ keep >= ring->entries/+ keep > ring->entries/ */
void events_fill_slots_and_no_more(void)
{
    struct rings r = { .event = { .header = &header, .slots = event_slots, .entries = SLOTS } };
    struct ring *e = &r.event;
    struct hc_event event;
    uint32_t keep = any_between(0, SLOTS);

    e->producer = any_u32();
    e->consumer = any_u32();
    e->stopped = any_bool();
    assume(e->producer - e->consumer <= SLOTS);
    uint32_t before = e->producer;
    header.consumer = any_u32();
    enum hv_status status = rings_push(&r, &event, keep);

    prove(status == HV_OK || status == HV_EBUSY || status == HV_ERING);
    prove(e->producer == before + (status == HV_OK));
    prove(e->producer - e->consumer <= SLOTS);
    if (status == HV_OK)
        prove(header.producer == e->producer && e->producer - e->consumer + keep <= SLOTS);
    if (status == HV_ERING)
        prove(e->stopped && r.busy == 1);
}

/* Commands with any number; no handler is there, so each answers ENOSYS. */
/* proof: a_doorbell_runs_what_is_there slow --unwind 18 */
/* broken: hv/rings.c s/+ run.done) & mask/+ run.done) % (mask + 2)/ */
/* broken: hv/rings.c s/ring->consumer + ring->entries)/ring->consumer + ring->entries + 1)/ */
void a_doorbell_runs_what_is_there(void)
{
    struct sva sva;
    struct rings r = { .command = { .header = &header, .slots = commands, .entries = SLOTS } };
    struct vm vm = { .rings = &r, .sva = &sva };
    uint32_t consumer = any_u32(), producer = any_u32();
    uint64_t done = 0;

    r.command.consumer = r.command.producer = consumer;
    header.producer = producer;
    enum hv_status status = rings_hc_doorbell(&vm, NULL, &done);
    prove(status == HV_OK || status == HV_ERING);
    prove((status == HV_OK) == (producer - consumer <= SLOTS));
    if (status == HV_OK)
        prove(done == producer - consumer && r.command.consumer == producer &&
              header.consumer == producer);
    else
        prove(r.command.stopped && r.command.consumer == consumer);
}

/* proof: a_ring_lies_in_ram */
/* broken: hv/rings.c s/(uint64_t)in->entries \* slot/in->entries/ */
/* broken: hv/rings.c s/in->entries > RING_ENTRIES_MAX/in->entries > 2 * RING_ENTRIES_MAX/ */
static uint64_t asked_base, asked_size;
void a_ring_lies_in_ram(void)
{
    struct vm vm;
    struct hc_ring_setup in;
    struct hc_ring *found;

    enum hv_status status = check(&vm, &in, sizeof(struct hc_event), &found);
    if (status != HV_OK || !in.base)
        return;
    prove(found == &header && asked_base == in.base && in.base % PAGE_SIZE == 0);
    prove(in.entries >= RING_ENTRIES_MIN && in.entries <= RING_ENTRIES_MAX);
    prove(__builtin_popcount(in.entries) == 1);
    prove(asked_size == HC_RING_ENTRIES + in.entries * sizeof(struct hc_event));
}

/* --- What hv/rings.c calls -------------------------------------------------------------------- */

const struct hc_entry hypercall_table[HC_NUMBERS];

void *vm_ram(const struct vm *vm, gpaddr_t gpa, uint64_t size)
{
    (void)vm;
    asked_base = gpa.v;
    asked_size = size;
    return any_bool() ? &header : NULL;
}

unsigned cpu_index(void)
{
    return any_between(0, CPUS_MAX - 1);
}

enum hv_status hypercall_flush(struct vm *vm)
{
    (void)vm;
    return HV_OK;
}
