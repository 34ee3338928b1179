/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's page-fault handler for devices: takes requests from the ring, answers each group
 * once. */
#include "guest/demo/demo.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"

/* Groups of which a page could not be supplied, until their last request. */
static uint64_t bad_group[16];

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

static uint64_t *find_bad(uint64_t cookie)
{
    for (unsigned i = 0; i < sizeof(bad_group) / sizeof(bad_group[0]); i++)
        if (bad_group[i] == cookie)
            return &bad_group[i];
    return NULL;
}

static void serve_page_request(const struct hc_event *e)
{
    uint64_t *slot = find_bad(e->cookie);
    bool good = false;

    demo.count.page_requests++;
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((e->flags & HC_PRQ_PASID) && demo.process[i].pasid == e->pasid)
            good = process_fault(&demo.process[i], e->address);
    if (!good && !slot && (slot = find_bad(0)))
        *slot = e->cookie;
    if (!(e->flags & HC_PRQ_LAST))
        return;
    enum hv_status status =
        sluice_page_response(e->cookie, slot ? HC_RESPONSE_INVALID : HC_RESPONSE_SUCCESS);
    expect(status == HV_OK, "page response", (uint64_t)-(int64_t)status);
    demo.count.answered += status == HV_OK;
    if (slot) {
        demo.count.refused_by_guest++;
        *slot = 0;
    }
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
        case HC_EVENT_FAULT: demo.count.faults++; break;
        case HC_EVENT_GROUP_EXPIRED: demo.count.expired++; break;
        default: expect(false, "unexpected event", e.type);
        }
    }
}
