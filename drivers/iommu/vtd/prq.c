/* SPDX-License-Identifier: BSD-2-Clause */
/* Page requests: intake, automatic answers, drain. */
#include "drivers/iommu/vtd/prq.h"

#include "drivers/iommu/vtd/desc.h"
#include "drivers/iommu/vtd/device.h"
#include "drivers/iommu/vtd/inval.h"
#include "drivers/iommu/vtd/unit.h"
#include "hv/log.h"

enum {
    BACKLOG_ORDER = 3,         /* 16 bytes an entry */
    HEAD_EVERY = 64,           /* entries between two writes of PQH */
    RUN_MAX = 4 * PRQ_ENTRIES, /* a flood does not hold the CPU for ever */
    TURNS_MAX = 64,            /* nor does an overflow that stays */
    DRAIN_TURNS = 8,
    TYPE_REQUEST = 1,
};

#define NO_ROOM UINT64_MAX /* in place of the number of a wait */

static_assert(sizeof(struct vtd_prq_raw) * PRQ_ENTRIES == PAGE_SIZE << BACKLOG_ORDER, "backlog");

enum hv_status vtd_prq_start(struct iommu_unit *unit)
{
    struct vtd_prq *prq = &unit->prq;
    void *ring, *backlog;
    enum hv_status status = pages_alloc(NULL, PRQ_ORDER, &ring);
    if (status)
        return status;
    status = pages_alloc(NULL, BACKLOG_ORDER, &backlog);
    if (status) {
        pages_free(NULL, PRQ_ORDER, ring);
        return status;
    }
    prq->ring = ring;
    prq->backlog = backlog;
    reg_write64(unit->regs, VTD_PQH, 0);
    reg_write64(unit->regs, VTD_PQT, 0);
    reg_write64(unit->regs, VTD_PQA, virt_to_phys(ring).v | PRQ_ORDER);
    return HV_OK;
}

static struct iommu_page_request decode(struct vtd_prq_raw raw)
{
    return (struct iommu_page_request){
        .rid = (rid_t)(raw.q0 >> 16),
        .pasid_present = raw.q0 >> 8 & 1,
        .pasid = raw.q0 >> 8 & 1 ? raw.q0 >> 32 & 0xfffff : PASID_RID,
        .privileged = raw.q0 >> 53 & 1,
        .read = raw.q1 & 1,
        .write = raw.q1 >> 1 & 1,
        .last = raw.q1 >> 2 & 1,
        .group = raw.q1 >> 3 & 0x1ff,
        .address = IOVA(raw.q1 & ~PAGE_MASK),
    };
}

/* Tells that a PASID is no longer in use by the device; wants no answer, and its group means
 * nothing. */
static bool is_stop_marker(const struct iommu_page_request *req)
{
    return req->pasid_present && !req->read && !req->write;
}

/* Lock held; the answer is put in the invalidation queue, not yet published. A queue that has no
 * room is waited for once: there may be two thousand to refuse, and others wait for the lock. */
static void refuse(struct iommu_unit *unit, const struct iommu_page_request *req, uint64_t *first)
{
    if (!req->last || is_stop_marker(req) || *first == NO_ROOM)
        return;
    struct vtd_desc d = vtd_desc_response(req->rid, req->pasid_present, req->pasid, req->group, 1);
    enum hv_status status = vtd_queue_put(unit, &d, 1, first);
    if (status) /* the queue does not move: said there */
        *first = NO_ROOM;
}

static void publish(struct iommu_unit *unit, uint64_t first)
{
    struct vtd_ticket ticket;
    if (!first || first == NO_ROOM) /* then others publish what was put in */
        return;
    enum hv_status status = vtd_queue_submit(unit, first, false, &ticket);
    if (status)
        return; /* said by the queue */
}

static struct vtd_prq_raw ring_next(struct vtd_prq *prq)
{
    const uint64_t *e = prq->ring + 4 * prq->head;
    prq->head = (prq->head + 1) % PRQ_ENTRIES;
    return (struct vtd_prq_raw){ e[0], e[1] };
}

static uint32_t ring_tail(struct iommu_unit *unit)
{
    return (uint32_t)((reg_read64(unit->regs, VTD_PQT) & QUEUE_OFFSET) / 32);
}

static void write_head(struct iommu_unit *unit)
{
    reg_write64(unit->regs, VTD_PQH, (uint64_t)unit->prq.head * 32);
}

static bool backlog_pop(struct vtd_prq *prq, struct vtd_prq_raw *raw)
{
    if (prq->backlog_head == prq->backlog_tail)
        return false;
    *raw = prq->backlog[prq->backlog_head++ % PRQ_ENTRIES];
    return true;
}

/* Lock held, dropped around the upcall. @return whether there was one. */
static bool deliver(struct iommu_unit *unit, struct vtd_prq_raw raw, uint64_t *first)
{
    struct vtd_prq *prq = &unit->prq;
    if ((raw.q0 & 0xff) != TYPE_REQUEST)
        return false;
    struct iommu_page_request req = decode(raw);
    const struct vtd_device *v = vtd_unit_device(unit, req.rid);
    if (!v || !v->pri || v->failed || (!req.read && !req.write)) {
        refuse(unit, &req, first);
        return false;
    }
    struct iommu_device *dev = v->dev;
    lock_drop(&prq->lock);
    unit->events->page_request(dev, &req);
    lock_take(&prq->lock);
    return true;
}

static void overflow(struct iommu_unit *unit)
{
    static struct log_limit limit;
    if (log_allowed(&limit, 4))
        log_warn("vtd", "%s: page request queue overflow: a device asks more than it may",
                 unit->name);
    reg_write32(unit->regs, VTD_PRS, PRS_PRO);
}

void vtd_prq_process(struct iommu_unit *unit)
{
    struct vtd_prq *prq = &unit->prq;
    uint64_t first = 0;
    bool any = false;
    if (!prq->ring)
        return;
    lock_take(&prq->lock);
    prq->again = true;
    if (prq->busy) {
        lock_drop(&prq->lock);
        return;
    }
    prq->busy = true;
    unsigned run = 0;
    for (unsigned turn = 0; prq->again && turn < TURNS_MAX && run < RUN_MAX; turn++) {
        struct vtd_prq_raw raw;
        prq->again = false;
        /* PPR first: a request after this look at the tail raises the event again. */
        reg_write32(unit->regs, VTD_PRS, PRS_PPR);
        uint32_t tail = ring_tail(unit);
        while (backlog_pop(prq, &raw))
            any |= deliver(unit, raw, &first);
        /* A drain on another CPU may have emptied the ring further than this tail meanwhile. */
        for (uint32_t n = (tail - prq->head) % PRQ_ENTRIES; n && prq->head != tail; n--) {
            raw = ring_next(prq);
            if (++run % HEAD_EVERY == 0)
                write_head(unit);
            any |= deliver(unit, raw, &first);
        }
        write_head(unit);
        if (reg_read32(unit->regs, VTD_PRS) & PRS_PRO) {
            prq->again = true;
            if (ring_tail(unit) == prq->head)
                overflow(unit);
        }
        prq->again |= prq->backlog_head != prq->backlog_tail;
    }
    prq->busy = false;
    lock_drop(&prq->lock);
    publish(unit, first);
    if (any)
        unit->events->page_requests_done();
}

static bool matches(const struct iommu_page_request *req, rid_t rid, int32_t pasid)
{
    if (req->rid != rid)
        return false;
    return pasid < 0 ||
           (pasid == (int32_t)PASID_RID ? !req->pasid_present
                                        : req->pasid_present && req->pasid == (uint32_t)pasid);
}

/* Lock held: everything hardware has written goes to the backlog, but what matches. */
static void collect(struct iommu_unit *unit, rid_t rid, int32_t pasid, uint64_t *first)
{
    struct vtd_prq *prq = &unit->prq;
    for (uint32_t from = prq->backlog_head, n = prq->backlog_tail - from; n--; from++) {
        struct vtd_prq_raw *raw = &prq->backlog[from % PRQ_ENTRIES];
        struct iommu_page_request req = decode(*raw);
        if ((raw->q0 & 0xff) == TYPE_REQUEST && matches(&req, rid, pasid)) {
            refuse(unit, &req, first);
            *raw = (struct vtd_prq_raw){ 0 }; /* type 0: nothing */
        }
    }
    for (uint32_t tail = ring_tail(unit); prq->head != tail;) {
        struct vtd_prq_raw raw = ring_next(prq);
        struct iommu_page_request req = decode(raw);
        if ((raw.q0 & 0xff) != TYPE_REQUEST)
            continue;
        if (matches(&req, rid, pasid) || prq->backlog_tail - prq->backlog_head == PRQ_ENTRIES)
            refuse(unit, &req, first);
        else
            prq->backlog[prq->backlog_tail++ % PRQ_ENTRIES] = raw;
    }
    write_head(unit);
}

enum hv_status vtd_prq_drain(struct vtd_device *v, int32_t pasid)
{
    struct iommu_unit *unit = v->unit;
    struct vtd_prq *prq = &unit->prq;
    struct vtd_inval_args args = {
        .unit = unit,
        .device = v,
        .pasid = pasid > 0 ? (uint32_t)pasid : PASID_RID,
    };
    if (!prq->ring)
        return HV_OK;
    for (unsigned turn = 0; turn < DRAIN_TURNS; turn++) {
        uint64_t first = 0;
        lock_take(&prq->lock);
        collect(unit, v->rid, pasid, &first);
        bool overflowed = reg_read32(unit->regs, VTD_PRS) & PRS_PRO;
        if (overflowed && ring_tail(unit) == prq->head)
            overflow(unit);
        lock_drop(&prq->lock);
        publish(unit, first);
        if (!overflowed)
            return HV_OK;
        /* 7.10: what was dropped meanwhile may be followed by more. */
        enum hv_status status = vtd_inval_run(VTD_PASID_CLEARED, &args, true);
        if (status)
            return status;
    }
    /* Another device floods: that is not to cost this one its attachments. What may still come of
     * it finds nothing attached and is answered INVALID. */
    static struct log_limit limit;
    if (log_allowed(&limit, 4))
        log_warn("vtd", "%s: page requests keep overflowing while draining", unit->name);
    return HV_OK;
}
