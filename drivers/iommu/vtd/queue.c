/* SPDX-License-Identifier: BSD-2-Clause */
/* The invalidation queue: room, waits, completion. Its errors are in queue_error.c. */
#include "drivers/iommu/vtd/queue.h"

#include "drivers/iommu/vtd/queue_error.h"
#include "drivers/iommu/vtd/queue_put.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"
#include "hv/pages.h"

static_assert(sizeof(struct vtd_desc) * QUEUE_ENTRIES == PAGE_SIZE << 3, "scratch");

enum {
    RING_ROOM = QUEUE_ENTRIES - 1 - 512, /* the rest is for error handling */
    WAITS_ROOM = QUEUE_WAITS - 64,       /* likewise */
    SCRATCH_ORDER = 3,
    SPINS = 64, /* looks at memory between two looks at a register */
    STUCK_DIVISOR = 64,
};

enum hv_status vtd_queue_start(struct iommu_unit *unit)
{
    struct vtd_queue *q = &unit->queue;
    void *ring, *status, *scratch;
    enum hv_status st = pages_alloc(NULL, QUEUE_ORDER, &ring);
    if (st)
        return st;
    st = pages_alloc(NULL, 0, &status);
    if (st)
        goto fail_ring;
    st = pages_alloc(NULL, SCRATCH_ORDER, &scratch);
    if (st)
        goto fail_status;
    bool wide = unit->hw.scalable;
    q->shift = wide ? 2 : 1;
    q->ring = ring;
    q->status = status;
    q->scratch = scratch;
    q->status_pa = virt_to_phys(status).v;
    q->next = 1;
    q->oldest = 1;
    vtd_queue_reclaim(q);
    reg_write64(unit->regs, VTD_IQT, 0);
    reg_write64(unit->regs, VTD_IQA,
                virt_to_phys(ring).v | (wide ? IQA_256 | QUEUE_ORDER : QUEUE_ORDER - 1));
    return vtd_unit_command(unit, GCMD_QIE, true);

fail_status:
    pages_free(NULL, 0, status);
fail_ring:
    pages_free(NULL, QUEUE_ORDER, ring);
    return st;
}

bool vtd_queue_reserve(const struct vtd_queue *q)
{
    return q->tail - q->done + 8 < QUEUE_ENTRIES && q->next - q->oldest < QUEUE_WAITS;
}

static bool complete(const struct vtd_queue *q, uint64_t wait)
{
    return q->oldest > wait || q->status[wait % QUEUE_WAITS] == (uint32_t)wait;
}

/* Lock held. Take back what hardware has finished. */
void vtd_queue_reclaim(struct vtd_queue *q)
{
    uint64_t oldest = q->oldest;
    while (oldest < q->next && q->status[oldest % QUEUE_WAITS] == (uint32_t)oldest) {
        q->done = q->end[oldest % QUEUE_WAITS];
        oldest++;
        q->stuck = false;
    }
    q->oldest = oldest;
    q->limit = q->next - oldest < WAITS_ROOM ? q->done + RING_ROOM : 0;
}

void vtd_queue_write(struct vtd_queue *q, uint64_t position, struct vtd_desc desc)
{
    uint64_t *entry = q->ring + (position % QUEUE_ENTRIES << q->shift);
    entry[0] = desc.q0;
    entry[1] = desc.q1;
}

void vtd_queue_publish(struct iommu_unit *unit)
{
    struct vtd_queue *q = &unit->queue;
    q->published = q->tail;
    atomic_thread_fence(memory_order_release); /* descriptors before the tail; free on x86 */
    reg_write64(unit->regs, VTD_IQT, q->tail % QUEUE_ENTRIES << (q->shift + 3));
}

/* Lock held, room is there. */
uint64_t vtd_queue_write_wait(struct vtd_queue *q, bool drain)
{
    uint64_t wait = q->next++;
    struct vtd_desc desc = {
        .q0 = wait << 32 | (drain ? VTD_WAIT_PD : 0) | VTD_WAIT_SW | VTD_TYPE_WAIT,
        .q1 = q->status_pa + 4 * (wait % QUEUE_WAITS),
    };
    vtd_queue_write(q, q->tail++, desc);
    q->end[wait % QUEUE_WAITS] = q->tail;
    if (q->next - q->oldest >= WAITS_ROOM)
        q->limit = 0;
    return wait;
}

static bool room(const struct vtd_queue *q, unsigned n)
{
    return q->tail + n <= q->limit;
}

/* A wait of hardware for others is over, or nearly so. */
struct patience {
    uint64_t start, limit; /* ticks */
    uint32_t rounds;
};

static void be_patient(struct patience *p, const struct vtd_queue *q)
{
    uint64_t limit = QUEUE_WAIT_US * time_ticks_per_us();
    *p = (struct patience){
        .start = time_now(),
        .limit = q->stuck ? limit / STUCK_DIVISOR : limit,
        .rounds = q->rounds,
    };
}

/* Lock held: nothing has come of it so far. @return whether to wait on. */
static bool wait_on(struct iommu_unit *unit, struct patience *p)
{
    struct vtd_queue *q = &unit->queue;
    if (p->rounds != q->rounds) { /* who was waited for is known, on whichever CPU */
        be_patient(p, q);
        return true;
    }
    uint64_t now = time_now(), most = QUEUE_PATIENCE_US * time_ticks_per_us();
    if (now - p->start <= p->limit)
        return true;
    bool last = q->stuck || p->limit >= most;
    if (!vtd_queue_blame(unit, last) || last)
        return false;
    p->limit = most;
    return true;
}

SELDOM enum hv_status vtd_queue_make_room(struct iommu_unit *unit, unsigned n)
{
    struct vtd_queue *q = &unit->queue;
    vtd_queue_reclaim(q);
    if (room(q, n + 1))
        return HV_OK;
    if (q->tail != q->published) { /* what has no wait behind it can never be taken back */
        vtd_queue_write_wait(q, false);
        vtd_queue_publish(unit);
    }
    struct patience patience;
    be_patient(&patience, q);
    const uint64_t start = patience.start, most = QUEUE_ROOM_US * time_ticks_per_us();
    while (!room(q, n + 1)) {
        vtd_queue_errors_locked(unit);
        vtd_queue_reclaim(q);
        if (!room(q, n + 1) && !wait_on(unit, &patience))
            return HV_ETIMEDOUT;
        if (!room(q, n + 1) && time_now() - start > most) {
            q->stuck = true; /* nobody else waits as long */
            return HV_ETIMEDOUT;
        }
        cpu_relax();
    }
    return HV_OK;
}

enum hv_status vtd_queue_put(struct iommu_unit *unit, const struct vtd_desc *desc, unsigned n,
                             uint64_t *first)
{
    return vtd_queue_put_inline(unit, desc, n, first);
}

enum hv_status vtd_queue_submit(struct iommu_unit *unit, uint64_t first, bool drain,
                                struct vtd_ticket *ticket)
{
    struct vtd_queue *q = &unit->queue;
    enum hv_status status = HV_OK;
    lock_take(&q->lock);
    vtd_queue_reclaim(q);
    if (!room(q, 1))
        status = vtd_queue_make_room(unit, 0);
    if (!status) {
        uint64_t last = vtd_queue_write_wait(q, drain && unit->hw.page_request_drain);
        *ticket = (struct vtd_ticket){ first ? first : last, last };
        vtd_queue_publish(unit);
    }
    lock_drop(&q->lock);
    return status;
}

enum hv_status vtd_queue_wait(struct iommu_unit *unit, struct vtd_ticket ticket)
{
    struct vtd_queue *q = &unit->queue;
    struct patience patience;
    uint64_t wait = ticket.first;
    be_patient(&patience, q);
    for (unsigned turn = 1;; turn++) {
        while (wait <= ticket.last && complete(q, wait))
            wait++;
        if (wait > ticket.last)
            break;
        cpu_relax();
        if (turn % SPINS)
            continue;
        if (reg_read32(unit->regs, VTD_FSTS) & FSTS_QUEUE)
            vtd_queue_errors(unit);
        if (time_now() - patience.start <= patience.limit)
            continue;
        lock_take(&q->lock);
        bool on = complete(q, wait) || wait_on(unit, &patience);
        lock_drop(&q->lock);
        if (!on)
            return HV_ETIMEDOUT;
    }
    return q->lost >= ticket.first && q->lost <= ticket.last ? HV_EIO : HV_OK;
}

enum hv_status vtd_queue_execute(struct iommu_unit *unit, const struct vtd_desc *desc, unsigned n,
                                 bool drain)
{
    uint64_t first = 0;
    struct vtd_ticket ticket;
    enum hv_status status = vtd_queue_put(unit, desc, n, &first);
    if (!status)
        status = vtd_queue_submit(unit, first, drain, &ticket);
    if (!status)
        status = vtd_queue_wait(unit, ticket);
    return status;
}
