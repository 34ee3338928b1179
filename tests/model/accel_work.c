/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of the accelerator: checks, the five operations in steps of at most a page,
 * completion records, interrupts. A step either moves data, or ends the descriptor, or leaves it
 * waiting for a page request; it holds no translation from one step to the next.
 */
#include "tests/model/accel_internal.h"

#include <string.h>

#define MAX_SIZE      (UINT64_C(16) << 20)
#define PAGE_OF(addr) ((addr) & ~(uint64_t)(ACCEL_PAGE - 1))

unsigned accel_in_flight(const struct accel *a)
{
    unsigned count = 0;

    for (unsigned i = 0; i < ACCEL_DEPTH; i++)
        count += a->jobs[i].state != JOB_FREE;
    return count;
}

static uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t len)
{
    static uint32_t table[256]; /* reflected polynomial 0x82f63b78 */

    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;

            for (int bit = 0; bit < 8; bit++)
                c = c >> 1 ^ (c & 1 ? UINT32_C(0x82f63b78) : 0);
            table[i] = c;
        }
    for (size_t i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(uint8_t)(crc ^ data[i])];
    return crc;
}

/* What each operation does with its operands. */
static const struct operation {
    bool reads_source, reads_destination, writes_destination, pattern;
} operations[OP_COUNT] = {
    [OP_NOP] = { 0 },
    [OP_COPY] = { .reads_source = true, .writes_destination = true },
    [OP_FILL] = { .writes_destination = true, .pattern = true },
    [OP_COMPARE] = { .reads_source = true, .reads_destination = true },
    [OP_CRC] = { .reads_source = true },
};

static bool wraps(uint64_t addr, uint64_t size)
{
    return addr + (size - 1) < addr;
}

static bool well_formed(const struct accel_descriptor *d)
{
    if (d->operation >= OP_COUNT || (d->pasid >> 21) != 0 || (d->flags & 0xf0) != 0 ||
        d->ims >= ACCEL_IMS_COUNT || d->reserved != 0)
        return false;
    if (!(d->pasid >> 20) && d->pasid != 0)
        return false;
    if ((d->flags & FLAG_PAGE_REQUESTS) && !(d->flags & FLAG_ATS))
        return false;

    const struct operation *op = &operations[d->operation];

    if (!op->pattern && d->pattern != 0)
        return false;
    if (d->operation == OP_NOP)
        return true;
    if (d->size == 0 || d->size > MAX_SIZE)
        return false;
    if (op->reads_source && wraps(d->source, d->size))
        return false;
    if ((op->reads_destination || op->writes_destination) && wraps(d->destination, d->size))
        return false;
    return true;
}

/* The work is over: the completion record comes next. */
static void finish(struct accel_job *job, enum accel_status status, uint64_t fault)
{
    job->record.status = (uint8_t)status;
    job->record.fault = status >= ACCEL_REFUSED && status <= ACCEL_ATS_ABORT ? PAGE_OF(fault) : 0;
    job->record.bytes = job->done;
    job->record.crc =
        status == ACCEL_DONE && job->d.operation == OP_CRC ? job->crc ^ UINT32_MAX : 0;
    job->record.cookie = job->d.cookie;
    job->recording = true;
    job->state = JOB_RUN;
}

void accel_submit(struct accel *a, const struct accel_descriptor *d)
{
    struct accel_job *job = NULL;

    if (!a->enabled) {
        a->error |= ERROR_DISABLED;
        return;
    }
    if (d->record == 0 || (d->record & (sizeof(struct accel_record) - 1)) != 0) {
        a->error |= ERROR_MALFORMED;
        return;
    }
    for (unsigned i = 0; i < ACCEL_DEPTH && !job; i++)
        if (a->jobs[i].state == JOB_FREE)
            job = &a->jobs[i];
    if (!job) {
        a->error |= ERROR_FULL;
        return;
    }
    *job = (struct accel_job){ .state = JOB_RUN, .d = *d, .crc = UINT32_MAX, .answer = PRG_NONE };
    if (!well_formed(d))
        finish(job, ACCEL_MALFORMED, 0);
}

void accel_interrupt(struct accel *a, unsigned index)
{
    struct accel_ims *ims = &a->ims[index % ACCEL_IMS_COUNT];

    if (ims->masked) {
        ims->pending = true;
        return;
    }
    ims->pending = false;
    if (!accel_may_dma(a))
        return;

    struct vtd_request req = accel_request(a, -1, ims->addr, true);
    uint32_t data = ims->data;

    a->stats.interrupts++;
    if (a->bus.dma(a->bus.ctx, &req, &data, sizeof(data)) != 0) {
        a->erraddr = ims->addr;
        a->stats.refused++;
    }
}

static void complete(struct accel *a, struct accel_job *job)
{
    bool interrupt = job->d.flags & FLAG_INTERRUPT;
    unsigned index = job->d.ims;

    a->done++;
    a->stats.descriptors++;
    a->stats.failed += job->record.status != ACCEL_DONE;
    *job = (struct accel_job){ .state = JOB_FREE };
    if (interrupt)
        accel_interrupt(a, index);
}

/* Nothing reached: end the descriptor with `status`, or, if that was its record, without a record.
 */
static void refuse(struct accel *a, struct accel_job *job, enum accel_status status, uint64_t addr)
{
    a->erraddr = addr;
    if (job->recording) {
        a->error |= ERROR_RECORD;
        complete(a, job);
    } else {
        finish(job, status, addr);
    }
}

/* Access of the operand at addr lacks permission: page request, or the end. */
static void missing(struct accel *a, struct accel_job *job, enum accel_operand operand,
                    uint64_t addr, uint64_t end, bool write)
{
    if (!(job->d.flags & FLAG_PAGE_REQUESTS) || !accel_pri_on(a) || accel_pri_allocation(a) == 0) {
        a->stats.refused++;
        refuse(a, job, ACCEL_REFUSED, addr);
        return;
    }
    if (job->asked[operand] > 0 && job->asked_page[operand] == PAGE_OF(addr)) {
        if (job->asked[operand] >= ACCEL_RETRIES) {
            refuse(a, job, ACCEL_PR_INVALID, addr);
            return;
        }
    } else {
        job->asked[operand] = 0;
        job->asked_page[operand] = PAGE_OF(addr);
    }
    job->waits_for = operand;
    if (accel_pri_ask(a, (int)(job - a->jobs), addr, end, write))
        job->asked[operand]++;
    else
        job->state = JOB_CREDIT;
}

/* Find [addr, ...) of an operand that ends before `end`. False: the job waits, or has ended. */
static bool reach(struct accel *a, struct accel_job *job, enum accel_operand operand, uint64_t addr,
                  uint64_t end, bool write, struct vtd_request *req)
{
    int32_t pasid = accel_pasid_of(&job->d);
    bool untranslated = !(job->d.flags & FLAG_ATS) ||
                        (operand == OPERAND_RECORD && (job->d.flags & FLAG_RECORD_UNTRANSLATED));
    struct accel_tlb_entry entry;

    *req = accel_request(a, pasid, addr, write);
    if (!accel_may_dma(a) || (pasid >= 0 && !accel_pasid_on(a))) {
        refuse(a, job, ACCEL_REFUSED, addr); /* the function may not even ask */
        return false;
    }
    if (untranslated)
        return true;
    if (!accel_ats_on(a)) {
        refuse(a, job, ACCEL_ATS_ABORT, addr);
        return false;
    }
    switch (accel_tlb_lookup(a, pasid, addr, write, &entry)) {
    case LOOKUP_ABORT: refuse(a, job, ACCEL_ATS_ABORT, addr); return false;
    case LOOKUP_DENIED: missing(a, job, operand, addr, end, write); return false;
    case LOOKUP_OK: break;
    }
    if (!entry.untranslated_only) {
        /* A translated request carries the address alone: the PASID was used by the translation. */
        *req = accel_request(a, -1, entry.hpa + (addr - entry.addr), write);
        req->translated = true;
    }
    return true;
}

static bool move(struct accel *a, struct accel_job *job, const struct vtd_request *req, void *buf,
                 size_t len, uint64_t addr)
{
    if (a->bus.dma(a->bus.ctx, req, buf, len) != 0) {
        a->stats.refused++;
        refuse(a, job, ACCEL_REFUSED, addr);
        return false;
    }
    if (!job->recording) {
        a->bytes += len;
        a->stats.bytes += len;
    }
    return true;
}

static size_t to_page_end(uint64_t addr, size_t len)
{
    size_t room = ACCEL_PAGE - (size_t)(addr % ACCEL_PAGE);

    return len < room ? len : room;
}

static void write_record(struct accel *a, struct accel_job *job)
{
    struct vtd_request req;
    uint8_t bytes[sizeof(struct accel_record)];

    if (!reach(a, job, OPERAND_RECORD, job->d.record, job->d.record + sizeof(bytes), true, &req))
        return;
    memcpy(bytes, &job->record, sizeof(bytes));
    /* All but the status byte first: software polls that one. */
    req.addr += 1;
    if (!move(a, job, &req, bytes + 1, sizeof(bytes) - 1, job->d.record))
        return;
    req.addr -= 1;
    if (!move(a, job, &req, bytes, 1, job->d.record))
        return;
    complete(a, job);
}

static void compare(struct accel_job *job, const uint8_t *one, const uint8_t *two, size_t len)
{
    size_t same = 0;

    while (same < len && one[same] == two[same])
        same++;
    job->done += same;
    if (same < len) {
        job->record.result = 1;
        finish(job, ACCEL_DONE, 0);
    }
}

/* One step of the operation itself. */
static void step(struct accel *a, struct accel_job *job)
{
    const struct accel_descriptor *d = &job->d;
    const struct operation *op = &operations[d->operation];
    bool destination = op->reads_destination || op->writes_destination;
    uint64_t from = d->source + job->done, to = d->destination + job->done;
    size_t len = ACCEL_PAGE;
    struct vtd_request source, target;
    uint8_t data[ACCEL_PAGE] = { 0 }, other[ACCEL_PAGE] = { 0 };

    if (d->operation == OP_NOP || job->done == d->size) {
        finish(job, ACCEL_DONE, 0);
        return;
    }
    if (d->size - job->done < len)
        len = (size_t)(d->size - job->done);
    if (op->reads_source)
        len = to_page_end(from, len);
    if (destination)
        len = to_page_end(to, len);

    /* Both operands are reached before a byte moves: a copy never stops with half a page done. */
    if (op->reads_source &&
        !reach(a, job, OPERAND_SOURCE, from, d->source + d->size, false, &source))
        return;
    if (destination && !reach(a, job, OPERAND_DESTINATION, to, d->destination + d->size,
                              op->writes_destination, &target))
        return;

    if (op->reads_source && !move(a, job, &source, data, len, from))
        return;
    if (op->reads_destination && !move(a, job, &target, other, len, to))
        return;
    if (op->pattern)
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)(d->pattern >> (8 * ((job->done + i) % 8)));
    if (op->writes_destination && !move(a, job, &target, data, len, to))
        return;

    if (d->operation == OP_COMPARE) {
        compare(job, data, other, len);
        return;
    }
    if (d->operation == OP_CRC)
        job->crc = crc32c(job->crc, data, len);
    job->done += len;
}

/* What the last page request group was answered, if badly. True: the job has ended. */
static bool refused_by_answer(struct accel *a, struct accel_job *job)
{
    uint8_t code = job->answer;

    job->answer = PRG_NONE;
    if (code == 0 || code == PRG_NONE)
        return false;
    refuse(a, job, code == 1 ? ACCEL_PR_INVALID : ACCEL_PR_FAILURE,
           job->asked_page[job->waits_for]);
    return true;
}

bool accel_run(struct accel *a)
{
    unsigned idle = 0;

    if (a->held || accel_vanished(a))
        return false;
    for (unsigned budget = ACCEL_SLICE; budget > 0 && idle < ACCEL_DEPTH; a->next_job++) {
        struct accel_job *job = &a->jobs[a->next_job % ACCEL_DEPTH];

        if (job->state != JOB_RUN) {
            idle++;
            continue;
        }
        idle = 0;
        budget--;
        if (refused_by_answer(a, job))
            continue;
        if (job->recording)
            write_record(a, job);
        else
            step(a, job);
    }
    for (unsigned i = 0; i < ACCEL_DEPTH; i++)
        if (a->jobs[i].state == JOB_RUN)
            return true;
    return false;
}

void accel_answer(struct accel *a, int job, uint8_t code)
{
    a->jobs[job].answer = code;
    a->jobs[job].state = JOB_RUN;
}

void accel_wake(struct accel *a)
{
    for (unsigned i = 0; i < ACCEL_DEPTH; i++)
        if (a->jobs[i].state == JOB_CREDIT)
            a->jobs[i].state = JOB_RUN;
}

void accel_abort_all(struct accel *a)
{
    for (int i = 0; i < ACCEL_DEPTH; i++) {
        struct accel_job *job = &a->jobs[i];

        if (job->state == JOB_FREE)
            continue;
        accel_pri_orphan(a, i);
        if (!job->recording)
            finish(job, ACCEL_ABORTED, 0);
        /* The device stops now: a record that would need a page request is lost. */
        job->d.flags &= (uint8_t)~FLAG_PAGE_REQUESTS;
        job->answer = PRG_NONE;
        write_record(a, job);
    }
}

void accel_drop_all(struct accel *a)
{
    for (int i = 0; i < ACCEL_DEPTH; i++) {
        accel_pri_orphan(a, i);
        a->jobs[i] = (struct accel_job){ .state = JOB_FREE };
    }
}
