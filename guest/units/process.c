/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process shared with the accelerator, on units that nest and on those that are given a shadow:
 * the same steps, and the same results. Pages that are present, then pages that the device asks
 * for, moved, taken away, out of our memory; by PASID and by requester id.
 */
#include <string.h>

#include "guest/lib/accel.h"
#include "guest/lib/cpu.h"
#include "guest/lib/space.h"
#include "guest/units/units.h"

#define VA       0x2000345000ull /* below 38 bits, which a shadow of three levels reaches */
#define LIMIT_US 5000000ull

enum page { RECORD, FROM, TO, MOVED, ASKED, OUTSIDE, PAGES };

static struct space space;
static uint8_t *frame[PAGES];
static uint32_t bond, pasid;
static unsigned requests;

static uint64_t address(enum page page)
{
    return VA + page * PAGE;
}

/* @pasid of the process, or of the requester id. */
static void notice(enum hc_invalidate_kind kind, enum page page, uint32_t of)
{
    struct hc_invalidate args = {
        .size = sizeof(args),
        .kind = kind,
        .pasid = of,
        .device = of == HC_PASID_NONE ? dev.info.device : 0,
        .address = address(page),
        .bytes = PAGE,
    };
    enum hv_status status = sluice_call_struct(HC_INVALIDATE, &args, NULL);

    if (status != HV_OK)
        fail("notice %u: %s", kind, sluice_status_name(status));
}

/* Present, and told to a unit that wants to be. */
static void present(enum page page, uint32_t of)
{
    space_map(&space, address(page), (uint64_t)frame[page], true);
    space_mark(&space, address(page));
    notice(HC_INVALIDATE_MAPPED, page, of);
}

static void serve(void)
{
    struct hc_event e;

    while (event_ring_take(&ring, &e)) {
        uint64_t page = (e.address - VA) / PAGE;
        bool good = page < PAGES && e.pasid == pasid;

        if (e.type != HC_EVENT_PAGE_REQUEST)
            continue;
        requests++;
        if (good)
            space_map(&space, e.address, (uint64_t)frame[page], true);
        if (e.flags & HC_PRQ_LAST)
            (void)sluice_page_response(e.cookie, good ? HC_RESPONSE_SUCCESS : HC_RESPONSE_INVALID);
    }
}

/* Status of a copy; 0: the device could not even tell. */
static uint8_t copies(enum page from, enum page to, uint32_t of, uint8_t flags)
{
    volatile struct accel_completion *record = (struct accel_completion *)frame[RECORD];
    struct accel_descriptor d = {
        .pasid = of == HC_PASID_NONE ? 0 : of | ACCEL_PASID,
        .operation = ACCEL_COPY,
        .flags = flags,
        .source = address(from),
        .destination = address(to),
        .size = PAGE,
        .completion = address(RECORD),
    };

    record->status = 0;
    accel_submit(&accel, &d);
    for (uint64_t begin = rdtsc(); !record->status && accel_busy(&accel);) {
        serve();
        if (rdtsc() - begin > LIMIT_US * ticks_per_us())
            fail("the accelerator does not answer");
    }
    return record->status;
}

static bool moved(enum page to, uint64_t seed, uint32_t of, uint8_t flags)
{
    for (unsigned i = 0; i < PAGE; i++)
        frame[FROM][i] = (uint8_t)(seed * 13 + i * 5 + (i >> 8));
    return copies(FROM, to, of, flags) == ACCEL_DONE && !memcmp(frame[FROM], frame[to], PAGE);
}

/* A DMA that must not happen: neither here nor where the page was. */
static bool kept(enum page to, uint32_t of, uint8_t flags)
{
    memset(frame[to], 0x5a, PAGE);
    uint8_t status = copies(FROM, to, of, flags);
    for (unsigned i = 0; i < PAGE; i++)
        if (frame[to][i] != 0x5a)
            return false;
    return status != ACCEL_DONE;
}

static void by_pasid(uint8_t ats)
{
    uint32_t flags = dev.info.flags;

    present(FROM, pasid);
    present(TO, pasid);
    result("shared", moved(TO, 1, pasid, 0), "data differs");
    if (flags & HC_DEVICE_ATS)
        result("shared_ats", moved(TO, 2, pasid, ats), "data differs");
    if (flags & HC_DEVICE_PRI) {
        ats |= ACCEL_PAGE_REQUESTS;
        result("asked", moved(ASKED, 3, pasid, ats) && requests, "data differs, or it did not ask");
    } else {
        result("absent", kept(ASKED, pasid, ats), "an absent page was reached");
    }

    uint8_t *old = frame[TO];
    memset(old, 0, PAGE);
    frame[TO] = frame[MOVED];
    space_map(&space, address(TO), (uint64_t)frame[TO], true);
    space_mark(&space, address(TO));
    notice(HC_INVALIDATE_RANGE, TO, pasid);
    notice(HC_INVALIDATE_MAPPED, TO, pasid);
    result("page_moved", moved(TO, 4, pasid, ats) && !old[0] && !old[1] && !old[PAGE - 1],
           "the old page was reached");

    (void)space_unmap(&space, address(TO));
    notice(HC_INVALIDATE_RANGE, TO, pasid);
    result("page_taken", kept(TO, pasid, ats & ACCEL_ATS), "it was reached");

    for (unsigned i = 0; i < 2; i++) {
        space_map(&space, address(OUTSIDE), option(i ? "foreign" : "beyond", 0), true);
        space_mark(&space, address(OUTSIDE));
        notice(HC_INVALIDATE_MAPPED, OUTSIDE, pasid);
        bool good = true;
        for (unsigned k = 0; k < 3; k++) /* plain; ATS; ATS with page requests */
            good &= copies(FROM, OUTSIDE, pasid, (uint8_t)((1u << k) - 1) & ats) != ACCEL_DONE &&
                    copies(OUTSIDE, TO, pasid, (uint8_t)((1u << k) - 1) & ats) != ACCEL_DONE;
        result(i ? "process_foreign" : "process_beyond", good, "it was reached");
        (void)space_unmap(&space, address(OUTSIDE));
        notice(HC_INVALIDATE_RANGE, OUTSIDE, pasid);
    }
}

static void by_rid(void)
{
    enum hv_status status =
        sluice_attach(dev.info.device, HC_PASID_NONE, HC_DOMAIN_NESTED, (uint64_t)space.root, 4);

    result("nested_by_rid", status == HV_OK, sluice_status_name(status));
    if (status != HV_OK)
        return;
    present(RECORD, HC_PASID_NONE);
    present(FROM, HC_PASID_NONE);
    present(TO, HC_PASID_NONE);
    result("shared_by_rid", moved(TO, 5, HC_PASID_NONE, 0), "data differs");
    (void)space_unmap(&space, address(TO));
    notice(HC_INVALIDATE_RANGE, TO, HC_PASID_NONE);
    result("page_taken_by_rid", kept(TO, HC_PASID_NONE, 0), "it was reached");
}

void process(void)
{
    uint32_t flags = dev.info.flags;
    uint64_t outstanding, left = 1;
    enum hv_status status;

    space = space_of_devices();
    for (unsigned i = 0; i < PAGES; i++)
        frame[i] = pages_new(1);
    if (flags & HC_DEVICE_PRI) {
        status = sluice_iopf_enable(dev.info.device, HC_IOPF_BIND, &outstanding);
        result("iopf", status == HV_OK, sluice_status_name(status));
    }
    if (flags & HC_DEVICE_PASID) {
        status = sluice_bind(dev.info.device, (uint64_t)space.root, HC_PASID_ANY, 0, &bond, &pasid);
        result("bind", status == HV_OK, sluice_status_name(status));
        present(RECORD, pasid);
        by_pasid(flags & HC_DEVICE_ATS ? ACCEL_ATS : 0);
        status = sluice_unbind(bond, &left);
        result("unbind", status == HV_OK && !left, sluice_status_name(status));
        result("unbound", kept(FROM, pasid, 0), "memory was reached");
    }
    by_rid();
    result("process_blocked", attach(HC_DOMAIN_BLOCKED, 0) && kept(FROM, HC_PASID_NONE, 0),
           "memory was reached");
    if (flags & HC_DEVICE_PRI) {
        status = sluice_iopf_disable(dev.info.device);
        result("iopf_off", status == HV_OK, sluice_status_name(status));
    }
}
