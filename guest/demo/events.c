/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's page-fault handler for devices: takes requests from the ring, answers each group
 * once. */
#include "guest/demo/demo.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"

/* Groups under way, until their last request: at most one for each request we may have. */
static struct group {
    uint64_t cookie;
    uint32_t requests;
    bool bad; /* a page of it could not be supplied */
} groups[64];

static void on_interrupt(struct interrupt_frame *frame)
{
    (void)frame;
    demo.count.interrupts++;
}

void events_init(void)
{
    enum hv_status status;

    interrupt_handler(EVENT_VECTOR, on_interrupt);
    status = event_ring_open(&demo.events, 512, EVENT_VECTOR, 0);
    if (status != HV_OK)
        fail("event ring: %s", sluice_status_name(status));
    status = command_ring_open(&demo.commands, 256);
    if (status != HV_OK)
        fail("command ring: %s", sluice_status_name(status));
}

/* The group of @cookie, or a free one. */
static struct group *find_group(uint64_t cookie)
{
    struct group *empty = NULL;

    for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (groups[i].requests && groups[i].cookie == cookie)
            return &groups[i];
        if (!groups[i].requests)
            empty = &groups[i];
    }
    if (!empty)
        fail("more groups of page requests than were allowed");
    *empty = (struct group){ .cookie = cookie };
    return empty;
}

static void serve_page_request(const struct hc_event *e)
{
    struct group *group = find_group(e->cookie);
    bool good = e->category == HC_IOPF_MAP; /* served, but the group is ours to answer */

    demo.count.page_requests++;
    group->requests++;
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((e->flags & HC_PRQ_PASID) && demo.process[i].pasid == e->pasid)
            good = process_fault(&demo.process[i], e->address);
    group->bad |= !good;
    if (!(e->flags & HC_PRQ_LAST))
        return;
    enum hv_status status =
        sluice_page_response(e->cookie, group->bad ? HC_RESPONSE_INVALID : HC_RESPONSE_SUCCESS);
    expect(status == HV_OK, "page response", (uint64_t)-(int64_t)status);
    if (status == HV_OK)
        demo.count.answered += group->requests;
    demo.count.refused_by_guest += group->bad;
    group->requests = 0;
}

void events_serve(void)
{
    struct hc_event e;

    /* A moment for the interrupt that says there is something. */
    interrupts_on();
    pause_once();
    interrupts_off();
    while (event_ring_take(&demo.events, &e)) {
        switch (e.type) {
        case HC_EVENT_PAGE_REQUEST: serve_page_request(&e); break;
        case HC_EVENT_FAULT:
            demo.count.faults++;
            demo.last_fault = e;
            demo.count.refused_interrupts += e.reason == HC_FAULT_INTERRUPT;
            break;
        case HC_EVENT_GROUP_EXPIRED: demo.count.expired++; break;
        default: expect(false, "unexpected event", e.type);
        }
    }
}
