/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator's page request interface: groups, the allocation, answers. PCIe 10.4; the unit's
 * view is VT-d 7.4 to 7.11.
 */
#include "tests/model/accel_internal.h"

unsigned accel_pri_outstanding(const struct accel *a)
{
    return a->outstanding;
}

static int free_index(struct accel *a)
{
    for (unsigned i = 0; i < ACCEL_PRG_COUNT; i++) {
        unsigned index = (a->next_prgi + i) % ACCEL_PRG_COUNT;

        if (!a->groups[index].used) {
            a->next_prgi = (index + 1) % ACCEL_PRG_COUNT;
            return (int)index;
        }
    }
    return -1;
}

static bool lacks(struct accel *a, int32_t pasid, uint64_t page, bool write)
{
    struct accel_tlb_entry entry;

    return accel_tlb_lookup(a, pasid, page, write, &entry) == LOOKUP_DENIED;
}

static void stop_marker(struct accel *a, int32_t pasid)
{
    struct vtd_page_request marker = {
        .rid = a->rid, .pasid_present = true, .lpig = true, .pasid = (uint32_t)pasid
    };

    a->bus.page_request(a->bus.ctx, &marker);
}

bool accel_pri_ask(struct accel *a, int job, uint64_t addr, uint64_t end, bool write)
{
    uint64_t mischief = accel_mischief(a);
    uint64_t page = addr & ~(uint64_t)(ACCEL_PAGE - 1);
    uint32_t allocation = accel_pri_allocation(a);
    uint32_t room = allocation > a->outstanding ? allocation - a->outstanding : 0;
    unsigned pages = 1;
    int32_t pasid = accel_pasid_of(&a->jobs[job].d);

    if (mischief & ACCEL_IGNORE_ALLOCATION)
        room = ACCEL_GROUP_PAGES;
    int index = room > 0 ? free_index(a) : -1;
    if (index < 0)
        return false;

    /* end > addr, and end - 1 never wraps: compare last pages, not ends. */
    while (pages < ACCEL_GROUP_PAGES && pages < room &&
           page + (uint64_t)(pages - 1) * ACCEL_PAGE < ((end - 1) & ~(uint64_t)(ACCEL_PAGE - 1)) &&
           lacks(a, pasid, page + (uint64_t)pages * ACCEL_PAGE, write))
        pages++;

    if ((mischief & ACCEL_WRONG_PASID) && pasid >= 0)
        pasid = (pasid + 1) & 0xfffff;
    a->groups[index] = (struct accel_group){
        .used = true, .pages = (uint8_t)pages, .job = (int8_t)job, .pasid = pasid
    };
    a->outstanding += pages;
    a->jobs[job].answer = PRG_NONE;
    a->jobs[job].state = JOB_ANSWER; /* before sending: the unit itself may answer at once */

    for (unsigned i = 0; i < pages; i++) {
        struct vtd_page_request req = {
            .rid = a->rid,
            .prgi = (uint16_t)index,
            .pasid_present = pasid >= 0,
            .read = !write,
            .write = write,
            .lpig = i == pages - 1 && !(mischief & ACCEL_NO_LPIG),
            .pasid = pasid >= 0 ? (uint32_t)pasid : 0,
            .addr = page + (uint64_t)i * ACCEL_PAGE,
        };
        struct accel_record *record = &a->jobs[job].record;

        if (record->page_requests < UINT16_MAX)
            record->page_requests++;
        a->pagereqs++;
        a->stats.page_requests++;
        if ((mischief & ACCEL_STOP_MARKERS) && pasid >= 0)
            stop_marker(a, pasid);
        a->bus.page_request(a->bus.ctx, &req);
    }
    return true;
}

static void retire(struct accel *a, struct accel_group *g)
{
    a->outstanding -= g->pages;
    *g = (struct accel_group){ .job = -1 };
    if (a->outstanding == 0 && !accel_pri_on(a))
        accel_pri_set_status(a, PRI_STATUS_STOPPED, 0);
}

/* Response Failure: no group gets an answer any more (PCIe 7.8.9.3, RF). */
static void fail_all(struct accel *a)
{
    a->pri_stopped = true;
    for (unsigned i = 0; i < ACCEL_PRG_COUNT; i++) {
        struct accel_group *g = &a->groups[i];
        int job = g->job;

        if (!g->used)
            continue;
        retire(a, g);
        g->lost = true;
        if (job >= 0)
            accel_answer(a, job, 0xf);
    }
    accel_pri_set_status(a, PRI_RESPONSE_FAILURE | PRI_STATUS_STOPPED, 0);
    accel_wake(a);
}

void accel_page_response(struct accel *a, int32_t pasid, uint16_t prgi, uint8_t code)
{
    struct accel_group *g = prgi < ACCEL_PRG_COUNT ? &a->groups[prgi] : NULL;

    if (accel_vanished(a))
        return;
    a->stats.responses++;
    if (!g || !g->used) {
        if (g && g->lost) {
            g->lost = false;
            return;
        }
        accel_pri_set_status(a, PRI_UNEXPECTED_GROUP, 0);
        a->bus.complain(a->bus.ctx, "pri-unexpected-response",
                        "page response for a group that is not outstanding");
        return;
    }
    if (g->pasid != pasid)
        a->bus.complain(a->bus.ctx, "pri-response-pasid",
                        "page response with another PASID than the requests of its group");
    if (code != 0 && code != 1 && code != 0xf)
        a->bus.complain(a->bus.ctx, "pri-response-code", "page response code is reserved");
    if (code > 1) {
        fail_all(a);
        g->lost = false;
        return;
    }

    int job = g->job;

    retire(a, g);
    if (job >= 0)
        accel_answer(a, job, code);
    accel_wake(a);
}

void accel_pri_orphan(struct accel *a, int job)
{
    for (unsigned i = 0; i < ACCEL_PRG_COUNT; i++)
        if (a->groups[i].used && a->groups[i].job == job)
            a->groups[i].job = -1;
}

void accel_pri_forget(struct accel *a)
{
    for (unsigned i = 0; i < ACCEL_PRG_COUNT; i++)
        if (a->groups[i].used)
            a->groups[i] = (struct accel_group){ .lost = true, .job = -1 };
    a->outstanding = 0;
}
