/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors of the invalidation queue (6.5.2.11).
 *
 * ITE: a device TLB did not answer. Hardware has thrown away every wait it had fetched, guarantees
 * nothing of what lies behind the oldest device-TLB descriptor, and stands still at its head. The
 * device is cut off. Hardware that does not name it (ITESID 0) makes us ask: each device that it
 * can be gets one invalidation and a fenced wait of its own, one after the other, before all else;
 * the first one that is not answered is the one. Everything fetched and not known to be complete is
 * put in again at the head, before all that is still to be fetched: so every wait covers what it
 * covered, and order is kept. IQE: a descriptor of ours is wrong. It is replaced by one that does
 * nothing, and its owner told.
 */
#include "drivers/iommu/vtd/queue_error.h"

#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

static struct vtd_desc read_desc(const struct vtd_queue *q, uint64_t position)
{
    const uint64_t *entry = q->ring + (position % QUEUE_ENTRIES << q->shift);
    return (struct vtd_desc){ entry[0], entry[1] };
}

static bool is_ours(const struct vtd_queue *q, struct vtd_desc d)
{
    return (d.q0 & VTD_TYPE_MASK) == VTD_TYPE_WAIT && d.q0 & VTD_WAIT_SW &&
           d.q1 - q->status_pa < 4 * QUEUE_WAITS;
}

static bool is_complete(const struct vtd_queue *q, struct vtd_desc wait)
{
    return q->status[(wait.q1 - q->status_pa) / 4] == (uint32_t)(wait.q0 >> 32);
}

static uint64_t head_position(struct iommu_unit *unit)
{
    struct vtd_queue *q = &unit->queue;
    uint64_t head = (reg_read64(unit->regs, VTD_IQH) & QUEUE_OFFSET) >> (q->shift + 3);
    return q->published - (q->published - head) % QUEUE_ENTRIES;
}

/* The full number of a wait that is not complete, from the half it carries. */
static uint64_t number_of(const struct vtd_queue *q, struct vtd_desc wait)
{
    return q->next - (uint32_t)((uint32_t)q->next - (uint32_t)(wait.q0 >> 32));
}

static unsigned cut(struct iommu_unit *unit, rid_t rid, enum hv_status why, struct vtd_desc *out)
{
    struct vtd_device *v = vtd_unit_device(unit, rid);
    return v ? vtd_device_cut(v, why, out) : 0;
}

/* Nothing that is still to be fetched may be for a device that does not answer. */
static void forget_device(struct vtd_queue *q, uint64_t from, rid_t rid)
{
    rid_t of;
    for (uint64_t p = from; p != q->tail; p++)
        if (vtd_desc_is_dtlb(read_desc(q, p), &of) && of == rid)
            vtd_queue_write(q, p, vtd_desc_fence);
}

/* Copy what is not complete of [from, to), without what is for @gone. @return how many. */
static unsigned collect_lost(const struct vtd_queue *q, uint64_t from, uint64_t to, rid_t gone,
                             struct vtd_desc *out)
{
    unsigned n = 0, segment = 0; /* where what the next wait covers starts */
    bool uncertain = false;      /* behind the oldest device-TLB descriptor */
    rid_t rid;
    for (uint64_t p = from; p != to; p++) {
        struct vtd_desc d = read_desc(q, p);
        if (is_ours(q, d) && is_complete(q, d)) {
            n = segment;
            continue;
        }
        if (vtd_desc_is_dtlb(d, &rid)) {
            uncertain = true;
            if (rid == gone)
                continue;
        }
        /* A response that was surely sent is not sent twice. */
        if ((d.q0 & VTD_TYPE_MASK) == VTD_TYPE_RESPONSE && !uncertain)
            continue;
        out[n++] = d;
        if (is_ours(q, d))
            segment = n;
    }
    return n;
}

/* Make room for @n descriptors at @head, where hardware stands still, and write them there. */
static void insert(struct vtd_queue *q, uint64_t head, const struct vtd_desc *desc, unsigned n)
{
    for (uint64_t p = q->tail; p-- != head;)
        vtd_queue_write(q, p + n, read_desc(q, p));
    for (unsigned i = 0; i < n; i++)
        vtd_queue_write(q, head + i, desc[i]);
    q->tail += n;
}

/* Positions have moved: note again what each wait gives back. */
static void renumber(struct vtd_queue *q, uint64_t head)
{
    for (uint64_t w = q->oldest; w != q->next; w++)
        q->end[w % QUEUE_WAITS] = head;
    for (uint64_t p = head; p != q->tail; p++) {
        struct vtd_desc d = read_desc(q, p);
        if (is_ours(q, d) && !is_complete(q, d))
            q->end[number_of(q, d) % QUEUE_WAITS] = p + 1;
    }
    q->done = head;
    vtd_queue_reclaim(q);
}

/* Status words of questions lie behind those of the waits: nobody else takes them for waits. */
static volatile uint32_t *answer_to(const struct vtd_queue *q, unsigned suspect)
{
    return &q->status[QUEUE_WAITS + suspect];
}

/* Whose device TLBs were asked in [from, to), each once, without what is cut off. */
static unsigned suspects_of(struct iommu_unit *unit, uint64_t from, uint64_t to,
                            rid_t out[QUEUE_SUSPECTS])
{
    unsigned n = 0;
    rid_t rid;
    for (uint64_t p = from; p != to; p++) {
        if (!vtd_desc_is_dtlb(read_desc(&unit->queue, p), &rid))
            continue;
        const struct vtd_device *v = vtd_unit_device(unit, rid);
        unsigned i = 0;
        while (i < n && out[i] != rid)
            i++;
        if (i == n && n < QUEUE_SUSPECTS && (!v || !v->failed))
            out[n++] = rid;
    }
    return n;
}

/* Who did not answer, if that is known; 0: it has to be found out. */
static rid_t culprit(struct iommu_unit *unit, uint64_t from, uint64_t head)
{
    struct vtd_queue *q = &unit->queue;
    for (unsigned i = 0; i < q->suspects; i++)
        if (*answer_to(q, i) != q->question)
            return q->suspect[i];
    q->suspects = suspects_of(unit, from, head, q->suspect);
    if (q->suspects == 1 || (q->suspects && q->probes == QUEUE_PROBES))
        return q->suspect[0]; /* the oldest one pending */
    return 0;
}

/* A question to each suspect. @return how many descriptors. */
static unsigned ask(struct iommu_unit *unit, struct vtd_desc *out)
{
    struct vtd_queue *q = &unit->queue;
    unsigned n = 0;
    q->question++;
    q->probes++;
    for (unsigned i = 0; i < q->suspects; i++) {
        const struct vtd_device *v = vtd_unit_device(unit, q->suspect[i]);
        out[n++] = vtd_desc_dtlb_all(q->suspect[i], v ? v->key : 0);
        out[n++] = (struct vtd_desc){
            .q0 = (uint64_t)q->question << 32 | VTD_WAIT_FN | VTD_WAIT_SW | VTD_TYPE_WAIT,
            .q1 = q->status_pa + 4 * (QUEUE_WAITS + i),
        };
    }
    return n;
}

static bool is_question(const struct vtd_queue *q, struct vtd_desc d)
{
    return (d.q0 & VTD_TYPE_MASK) == VTD_TYPE_WAIT && d.q0 & VTD_WAIT_SW && !is_ours(q, d);
}

/* What is left of questions in [from, to) is not asked again. */
static void forget_questions(struct vtd_queue *q, uint64_t from, uint64_t to)
{
    for (uint64_t p = from; p != to; p++) {
        if (!is_question(q, read_desc(q, p)))
            continue;
        vtd_queue_write(q, p, vtd_desc_fence);
        if (p != from)
            vtd_queue_write(q, p - 1, vtd_desc_fence);
    }
}

static void device_timeout(struct iommu_unit *unit, uint64_t record)
{
    struct vtd_queue *q = &unit->queue;
    struct vtd_desc *again = q->scratch;
    rid_t rid = (rid_t)(record >> 32); /* ITESID */
    uint64_t head = head_position(unit);
    vtd_queue_reclaim(q);
    uint64_t from = q->done < head ? q->done : head;
    if (!rid)
        rid = culprit(unit, from, head);
    unsigned n = 0, first;
    bool name = rid || !q->suspects;
    if (name) {
        log_error("vtd", "%s: device %02x:%02x.%x: TLB invalidation not answered", unit->name,
                  rid >> 8, rid >> 3 & 31, rid & 7);
        n = cut(unit, rid, HV_EIO, again);
        q->suspects = q->probes = 0;
    }
    forget_questions(q, from, q->tail);
    if (name)
        forget_device(q, head, rid);
    else
        n = ask(unit, again);
    first = n;
    n += collect_lost(q, from, head, name ? rid : 0, again + n);
    if (q->tail + n - head >= QUEUE_ENTRIES) { /* very many at once: the reserve is used up */
        log_error("vtd", "%s: no room to flush device %04x", unit->name, rid);
        unit->cuts += name && first; /* somebody else does */
        again += first;
        n -= first;
        q->suspects = first = 0;
    }
    insert(q, head, again, n);
    renumber(q, head);
    q->rounds += first != 0; /* each device once, each question a few times: this ends */
    reg_write32(unit->regs, VTD_FSTS, FSTS_ITE);
    vtd_queue_publish(unit);
}

static void bad_descriptor(struct iommu_unit *unit, uint64_t record)
{
    struct vtd_queue *q = &unit->queue;
    uint64_t p = head_position(unit);
    struct vtd_desc d = read_desc(q, p);
    log_error("vtd", "%s: descriptor refused, reason %u: %016lx %016lx", unit->name,
              (unsigned)(record & 15), (unsigned long)d.q0, (unsigned long)d.q1);
    uint64_t lost = q->next;
    for (uint64_t at = p + 1; at < q->tail; at++) { /* the wait that covers it */
        struct vtd_desc wait = read_desc(q, at);
        if (is_ours(q, wait)) {
            lost = number_of(q, wait);
            break;
        }
    }
    q->lost = lost;
    if (!is_ours(q, d))
        vtd_queue_write(q, p, vtd_desc_fence);
    reg_write32(unit->regs, VTD_FSTS, FSTS_IQE);
}

void vtd_queue_errors_locked(struct iommu_unit *unit)
{
    uint32_t fsts = reg_read32(unit->regs, VTD_FSTS) & FSTS_QUEUE;
    if (!fsts)
        return;
    uint64_t record = reg_read64(unit->regs, VTD_IQERCD);
    if (fsts & FSTS_ICE) { /* a device can send as many as it likes, and we hold the queue's lock */
        static struct log_limit limit;
        if (log_allowed(&limit, 2))
            log_error("vtd", "%s: unexpected TLB completion of %04x", unit->name,
                      (unsigned)(record >> 48));
        reg_write32(unit->regs, VTD_FSTS, FSTS_ICE);
    }
    if (fsts & FSTS_IQE)
        bad_descriptor(unit, record);
    if (fsts & FSTS_ITE)
        device_timeout(unit, record);
}

bool vtd_queue_errors(struct iommu_unit *unit)
{
    lock_take(&unit->queue.lock);
    uint32_t rounds = unit->queue.rounds;
    vtd_queue_errors_locked(unit);
    bool stood = rounds != unit->queue.rounds;
    lock_drop(&unit->queue.lock);
    return stood;
}

static void give_up(struct iommu_unit *unit)
{
    struct vtd_queue *q = &unit->queue;
    if (!q->stuck)
        log_error("vtd", "%s: queue stuck: wait %lu of %lu, IQH %lx IQT %lx FSTS %x", unit->name,
                  (unsigned long)q->oldest, (unsigned long)q->next - 1,
                  (unsigned long)reg_read64(unit->regs, VTD_IQH),
                  (unsigned long)reg_read64(unit->regs, VTD_IQT), reg_read32(unit->regs, VTD_FSTS));
    q->stuck = true;
}

bool vtd_queue_blame(struct iommu_unit *unit, bool last)
{
    struct vtd_queue *q = &unit->queue;
    rid_t suspect[QUEUE_SUSPECTS], rid;
    unsigned cuts = 0;
    bool any = false;
    vtd_queue_reclaim(q);
    uint64_t end = q->oldest != q->next ? q->end[q->oldest % QUEUE_WAITS] : q->done;
    for (uint64_t p = q->done; p < end; p++)
        any |= vtd_desc_is_dtlb(read_desc(q, p), &rid);
    if (last || !any)
        give_up(unit);
    if (!any)
        return false;
    unsigned n = suspects_of(unit, q->done, end, suspect);
    for (unsigned i = 0; i < n && (last || n == 1); i++) {
        struct vtd_desc desc[VTD_INVAL_MAX];
        if (!vtd_queue_reserve(q))
            continue;
        unsigned m = cut(unit, suspect[i], HV_ETIMEDOUT, desc);
        for (unsigned k = 0; k < m; k++)
            vtd_queue_write(q, q->tail++, desc[k]);
        cuts += m;
    }
    if (cuts) {
        vtd_queue_write_wait(q, false);
        vtd_queue_publish(unit);
    }
    return true;
}
