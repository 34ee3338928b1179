/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Set-up of both rings, and the event ring: its producer. The guest sleeps when it has caught up;
 * it is interrupted if something was pushed since it was last told and it has taken all that it was
 * told of.
 */
#include "hv/rings.h"

#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/bond.h"
#include "hv/device.h"
#include "hv/guest_memory.h"
#include "hv/hypercall.h"
#include "hv/iopf.h"
#include "hv/log.h"
#include "hv/platform.h"

#define COMPLAINTS    2u /* lines a second and VM: the guest can break its ring again and again */
/* For who is at a VM's rings and may have to wait for hardware meanwhile: a second, then 1/64 of
 * one for each answer to its devices. */
#define QUIET_WAIT_US 60000000ull

/* Rings with events whose guest was not told yet; by the CPU that pushed first. */
static struct rings *dirty[CPUS_MAX];

enum hv_status rings_create(struct vm *vm)
{
    void *page;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);

    static_assert(sizeof(struct rings) <= PAGE_SIZE);
    if (status != HV_OK)
        return status;
    vm->rings = page;
    *vm->rings = (struct rings){ .events = LOCK(RANK_EVENTS), .vm = vm };
    return HV_OK;
}

/* Another CPU may be between a push and its rings_notify_all, or in there. */
static void wait_until(const struct rings *r, bool also_clean)
{
    uint64_t start = time_now();

    while (atomic_load(&r->busy) || (also_clean && atomic_load(&r->dirty))) {
        if (time_now() - start > QUIET_WAIT_US * time_ticks_per_us())
            panic("%s: events are never announced", r->vm->name);
        cpu_relax();
    }
}

void rings_destroy(struct vm *vm)
{
    wait_until(vm->rings, true);
    pages_free(&vm->quota, 0, vm->rings);
    vm->rings = NULL;
}

/* Believe the guest's index @now if it lies in [@last, @limit], counted on the circle. */
static bool believe(struct ring *ring, uint32_t *last, uint32_t now, uint32_t limit)
{
    if (now - *last > limit - *last)
        ring->stopped = true;
    else
        *last = now;
    return !ring->stopped;
}

static uint32_t load_index(const uint32_t *index)
{
    return atomic_load_explicit((const _Atomic uint32_t *)index, memory_order_acquire);
}

/* Of the event ring; @return false: stopped, and rings_broken is to come. */
static bool catch_up(struct rings *r)
{
    struct ring *ring = &r->event;
    bool good = believe(ring, &ring->consumer, load_index(&ring->header->consumer), ring->producer);

    r->busy += !good;
    return good;
}

static void store_index(uint32_t *index, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)index, value, memory_order_release);
}

/* --- The event ring --------------------------------------------------------------------------- */

enum hv_status rings_push(struct rings *r, const struct hc_event *event, uint32_t keep)
{
    struct ring *ring = &r->event;

    if (ring->producer - ring->consumer + keep >= ring->entries) {
        if (!catch_up(r))
            return HV_ERING;
        if (ring->producer - ring->consumer + keep >= ring->entries)
            return HV_EBUSY;
    }
    struct hc_event *slots = ring->slots;
    slots[ring->producer & (ring->entries - 1)] = *event;
    store_index(&ring->header->producer, ++ring->producer);
    if (!r->dirty) {
        struct rings **list = &dirty[cpu_index()];
        r->next_dirty = *list;
        *list = r;
        r->dirty = true;
    }
    return HV_OK;
}

/* Is an interrupt due? Lock: events. */
static bool look(struct rings *r)
{
    struct ring *ring = &r->event;

    if (!rings_delivers(r))
        return false;
    /* Our index is out before we read the guest's; the guest does it the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!catch_up(r))
        return false;
    if (ring->producer == ring->consumer || (int32_t)(ring->consumer - r->notified) < 0)
        return false;
    r->notified = ring->producer;
    return true;
}

static void notify(struct rings *r)
{
    lock_take(&r->events);
    bool stopped = r->event.stopped, due = look(r), broke = r->event.stopped != stopped;
    r->busy++; /* from here on this, not `dirty`, keeps the rings from being freed */
    r->dirty = false;
    lock_drop(&r->events);
    if (due)
        vcpu_interrupt(r->vcpu, r->vector);
    if (broke)
        rings_broken(r);
    r->busy--;
}

void rings_notify_all(void)
{
    struct rings **list = &dirty[cpu_index()], *r = *list;

    *list = NULL;
    while (r) {
        struct rings *next = r->next_dirty;
        notify(r);
        r = next;
    }
}

void rings_broken(struct rings *r)
{
    if (log_allowed(&r->complaints, COMPLAINTS))
        log_warn("rings", "%s: its event ring's consumer index is broken; stopped", r->vm->name);
    bool answered = false;
    for (unsigned i = 0; i < r->vm->ndevices; i++)
        answered |= iopf_drop(r->vm->device[i], NULL, true);
    if (answered)
        (void)iommu->flush(); /* an error of a device is told by its upcall */
    r->busy--;
}

enum hv_status rings_push_other(struct rings *r, const struct hc_event *event)
{
    enum hv_status status = HV_EBUSY;

    r->vm->stats.faults += event->type == HC_EVENT_FAULT;
    if (rings_delivers(r)) {
        status = rings_push(r, event, r->promised - r->open);
        if (status == HV_EBUSY)
            store_index(&r->event.header->lost, ++r->lost);
    }
    r->vm->stats.events_lost += status != HV_OK;
    return status;
}

void rings_event(struct vm *vm, const struct hc_event *event)
{
    lock_take(&vm->rings->events);
    enum hv_status status = rings_push_other(vm->rings, event);
    lock_drop(&vm->rings->events);
    if (status == HV_ERING)
        rings_broken(vm->rings);
    rings_notify_all();
}

void rings_end(struct vm *vm)
{
    lock_take(&vm->rings->events);
    vm->rings->ended = true;
    lock_drop(&vm->rings->events);
    wait_until(vm->rings, false);
}

/* --- Set-up ----------------------------------------------------------------------------------- */

/* Check a set-up; *header is NULL when the ring is to be removed. */
static enum hv_status check(const struct vm *vm, const struct hc_ring_setup *in, size_t slot,
                            struct hc_ring **header)
{
    *header = NULL;
    if (in->flags || in->reserved)
        return HV_EINVAL;
    if (!in->base)
        return in->entries || in->vector || in->vcpu ? HV_EINVAL : HV_OK;
    if (in->entries & (in->entries - 1))
        return HV_EINVAL;
    if (in->entries < RING_ENTRIES_MIN || in->entries > RING_ENTRIES_MAX)
        return HV_ERANGE;
    if (in->base & PAGE_MASK)
        return HV_EALIGN;
    *header = vm_ram(vm, GPADDR(in->base), HC_RING_ENTRIES + (uint64_t)in->entries * slot);
    return *header ? HV_OK : HV_EFAULT;
}

/* Take a checked ring into use, from zero on both sides. */
static void set(struct ring *ring, struct hc_ring *header, uint32_t entries)
{
    *ring = (struct ring){ 0 };
    if (!header)
        return;
    memset(header, 0, sizeof(*header));
    ring->header = header;
    ring->slots = (uint8_t *)header + HC_RING_ENTRIES;
    ring->entries = entries;
}

enum hv_status rings_hc_event(struct vm *vm, const void *arg, uint64_t *)
{
    const struct hc_ring_setup *in = arg;
    struct rings *r = vm->rings;
    struct hc_ring *header;

    enum hv_status status = check(vm, in, sizeof(struct hc_event), &header);
    if (status != HV_OK)
        return status;
    if (header && (in->vector < 32 || in->vector > 255 || in->vcpu >= vm->nvcpus))
        return HV_ERANGE;
    lock_take(&r->events);
    if (!header && !r->event.header)
        status = HV_ENOENT;
    else if (header && r->event.header && !r->event.stopped)
        status = HV_EEXIST;
    else if (r->promised > rings_room(in->entries))
        status = HV_EBUSY;
    if (status == HV_OK) {
        set(&r->event, header, in->entries);
        r->notified = r->lost = 0;
        r->vcpu = header ? vm->vcpu[in->vcpu] : NULL;
        r->vector = (uint8_t)in->vector;
    }
    lock_drop(&r->events);
    return status;
}

enum hv_status rings_hc_command(struct vm *vm, const void *arg, uint64_t *)
{
    const struct hc_ring_setup *in = arg;
    struct ring *ring = &vm->rings->command;
    struct hc_ring *header;

    enum hv_status status = check(vm, in, sizeof(struct hc_command), &header);
    if (status != HV_OK)
        return status;
    if (in->vector || in->vcpu)
        return HV_EINVAL;
    if (!header && !ring->header)
        return HV_ENOENT;
    if (header && ring->header && !ring->stopped)
        return HV_EEXIST;
    set(ring, header, in->entries);
    return HV_OK;
}

/* --- The command ring; lock: the VM's --------------------------------------------------------- */

struct run {          /* of one doorbell */
    uint32_t done;    /* commands that ran */
    uint32_t settled; /* of those: what they ordered is complete */
    int8_t status[DOORBELL_MAX];
};

/* Statuses in [settled, done) that are HV_OK so far become what the flush says. */
__attribute__((noinline)) static void settle(struct vm *vm, struct run *run)
{
    if (run->settled == run->done)
        return;
    enum hv_status flushed = hypercall_flush(vm);
    if (flushed != HV_OK) {
        for (uint32_t i = run->settled; i < run->done; i++) {
            if (run->status[i] == HV_OK)
                run->status[i] = (int8_t)flushed;
        }
    }
    run->settled = run->done;
}

/* A structure that is not of our size. */
__attribute__((noinline)) static enum hv_status
run_other(struct vm *vm, const struct hc_entry *entry, const word_t *args, uint64_t *value)
{
    uint64_t copy[HC_STRUCT_MAX / 8];
    enum hv_status status = guest_check_struct(args, sizeof(((struct hc_command *)0)->args),
                                               entry->first, entry->known, copy);

    return status == HV_OK ? hypercall_run(vm, entry, copy, value) : status;
}

static enum hv_status run_one(struct vm *vm, struct run *run, uint32_t call, const word_t *args,
                              uint64_t *value)
{
    if (call >= HC_NUMBERS || !hypercall_table[call].handler)
        return HV_ENOSYS;
    const struct hc_entry *entry = &hypercall_table[call];
    if (!(entry->properties & HC_RING))
        return HV_ENOTSUP;
    if (!(entry->properties & HC_BATCHED)) {
        settle(vm, run); /* what it flushes itself must not swallow the status of those before */
        run->settled = run->done + 1;
    }
    if (!entry->known || (uint32_t)args[0] == entry->known)
        return hypercall_run(vm, entry, args, value); /* whole, without a tail */
    return run_other(vm, entry, args, value);
}

/* The guest may write meanwhile: each word is read once. */
static void copy_args(word_t args[6], const volatile word_t *from)
{
    for (unsigned i = 0; i < 6; i++)
        args[i] = from[i];
}

enum hv_status rings_hc_doorbell(struct vm *vm, const void *, uint64_t *value)
{
    struct ring *ring = &vm->rings->command;
    struct hc_command *slots = ring->slots;
    struct run run;

    if (!ring->header)
        return HV_EORDER;
    if (ring->stopped)
        return HV_ERING;
    if (!believe(ring, &ring->producer, load_index(&ring->header->producer),
                 ring->consumer + ring->entries))
        return HV_ERING;
    uint32_t mask = ring->entries - 1, count = ring->producer - ring->consumer;
    if (count > DOORBELL_MAX)
        count = DOORBELL_MAX;
    run.done = run.settled = 0;
    for (; run.done < count; run.done++) {
        struct hc_command *slot = &slots[(ring->consumer + run.done) & mask];
        word_t args[6];
        uint64_t result = 0;
        copy_args(args, slot->args);
        uint32_t call = *(const volatile uint32_t *)&slot->call;
        if (call == HC_INVALIDATE && invalidate_again(&vm->sva->run, args)) {
            vm->stats.invalidations++;
            run.status[run.done] = HV_OK;
        } else {
            run.status[run.done] = (int8_t)run_one(vm, &run, call, args, &result);
        }
        slot->value = result;
    }
    settle(vm, &run);
    for (uint32_t i = 0; i < count; i++)
        atomic_store_explicit((_Atomic int32_t *)&slots[(ring->consumer + i) & mask].status,
                              run.status[i], memory_order_release);
    ring->consumer += count;
    store_index(&ring->header->consumer, ring->consumer);
    vm->stats.commands += count;
    *value = count;
    return HV_OK;
}
