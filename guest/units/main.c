/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that somebody else wrote, behind a unit that somebody else wrote: each is attached, moves
 * data that is compared, is refused what is not the VM's, and is blocked again. The same on every
 * kind of unit; only what a first stage needs differs (HC_DEVICE_NESTED). One "@test NAME ok" for
 * each step.
 */
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/pci.h"
#include "guest/lib/rings.h"
#include "guest/lib/runtime.h"
#include "guest/lib/sluice.h"
#include "guest/units/units.h"

#define IOVA 0x5500000ull /* below 28 bits, not in the VM's memory */

static const struct source *const sources[] = {
    &edu, &testdev, &nvme, &rng, &e1000e, &accelerator
};
struct event_ring ring;
struct tested dev;
static unsigned failures;

static bool hopeless; /* the device cannot finish what it is told: no use to wait long */

bool wait_for(bool (*done)(void), uint64_t us)
{
    uint64_t until = rdtsc() + (hopeless ? 1 : 10) * us * ticks_per_us();

    while (!done()) {
        if (rdtsc() > until)
            return done();
        pause_once();
    }
    return true;
}

void result(const char *step, bool good, const char *why)
{
    failures += !good;
    print("@test %s_%s %s%s\n", dev.source->name, step, good ? "ok" : "FAILED ", good ? "" : why);
}

/* --- Faults ----------------------------------------------------------------------------------- */

static struct hc_event fault;
static bool blocked_is_meant;
static uint64_t page_meant;

void forget_faults(void)
{
    struct hc_event e;

    while (event_ring_take(&ring, &e))
        ;
}

static bool fault_came(void)
{
    struct hc_event e;

    while (event_ring_take(&ring, &e)) {
        if (e.type != HC_EVENT_FAULT || e.device != dev.info.device)
            continue;
        fault = e;
        /* QEMU's unit looks at the kind of an entry before it looks whether it is present, so that
         * one never used is "wrong" to it and not "blocked". */
        if (blocked_is_meant ? e.reason == HC_FAULT_BLOCKED || e.reason == HC_FAULT_OTHER
                             : e.reason == HC_FAULT_SECOND_STAGE && e.address == page_meant)
            return true;
    }
    return false;
}

static void fill(uint8_t *page, uint64_t seed)
{
    for (unsigned i = 0; i < PAGE; i++)
        page[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static bool untouched(const uint8_t *page, uint64_t seed)
{
    for (unsigned i = 0; i < PAGE; i++)
        if (page[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
            return false;
    return true;
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* DMA to @address must be refused with a fault; @page, where it could have arrived, stays. */
static void refused(const char *step, uint64_t address, bool blocked)
{
    blocked_is_meant = blocked;
    page_meant = address;
    fill(dev.to, 77);
    forget_faults();
    if (blocked && dev.source->page)
        (void)dev.source->open(dev.info.rid);
    hopeless = true;
    (void)dev.source->give(address);
    hopeless = false;
    bool told = wait_for(fault_came, 1000000), kept = untouched(dev.to, 77);
    if (!told && fault.type)
        print("last fault: reason %u detail %#x at %#lx\n", fault.reason, fault.detail,
              (unsigned long)fault.address);
    result(step, told && kept, told ? "memory was written" : "no fault was told");
}

/* Data through @to, which is where the page dev.to is for the device. */
static void moves(const char *step, uint64_t from, uint64_t to, uint64_t seed)
{
    const struct source *s = dev.source;

    memset(dev.to, 0, PAGE);
    fill(dev.from, seed);
    bool done = s->open(dev.info.rid) && (!s->take || s->take(from)) && s->give(to);
    bool same = s->take ? !memcmp(dev.from, dev.to, PAGE)
                        : dev.to[0] | dev.to[1] | dev.to[4095] | dev.to[4094];
    result(step, done && same, done ? "data differs" : "the device reports an error");
}

static void own_addresses(uint64_t *word, uint64_t page)
{
    for (unsigned i = 0; i < PAGE / 8; i++)
        word[i] = page + 8 * i;
}

/* Memory that firmware uses through the device (RMRR) and left its own address in every word of: it
 * is there, and nothing beside it. CPUs do not see it: the device brings it. It stays as it was. */
static void firmware_memory(uint64_t from, uint64_t to)
{
    const struct source *s = dev.source;
    uint64_t at = option("firmware", 0), end = at + option("firmware-bytes", PAGE);

    if (!at)
        return;
    for (uint64_t page = at; page < end; page += PAGE) {
        own_addresses((uint64_t *)dev.from, page);
        memset(dev.to, 0, PAGE);
        bool good = s->open(dev.info.rid) && s->take(page) && s->give(to);
        result("firmware_found", good && !memcmp(dev.from, dev.to, PAGE), "it is not that memory");
        fill(dev.from, page >> 12);
        good = s->take(from) && s->give(page) && s->take(page) && s->give(to);
        result("firmware_written", good && !memcmp(dev.from, dev.to, PAGE), "data differs");
        own_addresses((uint64_t *)dev.from, page);
        (void)(s->take(from) && s->give(page));
    }
    refused("firmware_below", at - PAGE, false);
    refused("firmware_beyond", end, false);
}

bool attach(enum hc_domain domain, uint64_t root)
{
    return sluice_attach(dev.info.device, HC_PASID_NONE, domain, root, 0) == HV_OK;
}

static bool ioas_map(uint64_t ioas, uint64_t iova, const void *page)
{
    struct hc_ioas_map map = {
        .size = sizeof(map),
        .flags = HC_IOAS_READ | HC_IOAS_WRITE | HC_IOAS_FIXED,
        .ioas = (uint32_t)ioas,
        .iova = iova,
        .gpa = (uint64_t)page,
        .bytes = PAGE,
    };
    return sluice_call_struct(HC_IOAS_MAP, &map, NULL) == HV_OK;
}

/* An IOAS: the device sees the two pages elsewhere, its queues where they are, and nothing else. */
static void paging(void)
{
    struct hc_ioas_create create = { .size = sizeof(create) };
    struct hc_ioas_unmap unmap = { .size = sizeof(unmap), .iova = IOVA + PAGE, .bytes = PAGE };
    void *page;
    uint64_t ioas = 0;

    if (dev.source->past)
        return;
    bool good = sluice_call_struct(HC_IOAS_CREATE, &create, &ioas) == HV_OK &&
                ioas_map(ioas, IOVA, dev.from) && ioas_map(ioas, IOVA + PAGE, dev.to);
    for (unsigned i = 0; dev.source->page && (page = dev.source->page(i)); i++)
        good &= ioas_map(ioas, (uint64_t)page, page);
    good &= attach(HC_DOMAIN_PAGING, ioas);
    result("paging_attach", good, "refused");
    moves("paging", IOVA, IOVA + PAGE, 5);
    firmware_memory(IOVA, IOVA + PAGE);
    refused("paging_own_memory_not_mapped", (uint64_t)dev.to, false);
    unmap.ioas = (uint32_t)ioas;
    good = sluice_call_struct(HC_IOAS_UNMAP, &unmap, NULL) == HV_OK;
    result("paging_unmap", good, "refused");
    refused("paging_after_unmap", IOVA + PAGE, false);
    result("paging_blocked", attach(HC_DOMAIN_BLOCKED, 0), "refused");
    enum hv_status status;
    do {
        status = sluice_call(HC_IOAS_DESTROY, ioas, 0, 0, NULL);
    } while (status == HV_EAGAIN);
    result("paging_destroy", status == HV_OK, sluice_status_name(status));
}

/* Without nesting, PASIDs or shadows: refused by name, and nothing changes. Devices that do not run
 * processes are given an empty table, through which nothing passes. */
static void first_stage(void)
{
    bool able = dev.info.flags & (HC_DEVICE_NESTED | HC_DEVICE_SHADOW);
    uint32_t bond, pasid;
    void *root = pages_new(1);
    enum hv_status status;

    if (able && dev.source == &accelerator) {
        process();
    } else {
        status = sluice_attach(dev.info.device, HC_PASID_NONE, HC_DOMAIN_NESTED, (uint64_t)root, 4);
        result(able ? "nested_empty" : "nested_refused", status == (able ? HV_OK : HV_ENOTSUP),
               sluice_status_name(status));
    }
    if (!able || !(dev.info.flags & HC_DEVICE_PASID)) {
        status = sluice_bind(dev.info.device, (uint64_t)root, HC_PASID_ANY, 0, &bond, &pasid);
        result("bind_refused", status == HV_ENOTSUP, sluice_status_name(status));
    }
    if (able)
        result("identity_after_nested", attach(HC_DOMAIN_IDENTITY, 0), "refused");
}

static void test_device(void)
{
    dev.from = pages_new(1);
    dev.to = pages_new(1);
    (void)dev.source->open(dev.info.rid);
    refused("blocked_at_start", (uint64_t)dev.to, true);
    if (option("firmware", 0)) {
        result("firmware_told", dev.info.flags & HC_DEVICE_FIRMWARE,
               "HC_DEVICE_FIRMWARE is not set");
        refused("firmware_blocked", option("firmware", 0), true);
    }
    result("identity_attach", attach(HC_DOMAIN_IDENTITY, 0), "refused");
    moves("identity", (uint64_t)dev.from, (uint64_t)dev.to, 1);
    firmware_memory((uint64_t)dev.from, (uint64_t)dev.to);
    moves("identity_again", (uint64_t)dev.from, (uint64_t)dev.to, 2);
    first_stage();
    moves("identity_after_refusals", (uint64_t)dev.from, (uint64_t)dev.to, 3);
    refused("beyond_memory", option("beyond", 0), false);
    refused("other_memory", option("foreign", 0xc000000), false);
    moves("identity_after_faults", (uint64_t)dev.from, (uint64_t)dev.to, 4);
    result("block", attach(HC_DOMAIN_BLOCKED, 0), "refused");
    refused("blocked_again", (uint64_t)dev.to, true);
    paging();
    result("identity_back", attach(HC_DOMAIN_IDENTITY, 0), "refused");
    moves("identity_at_the_end", (uint64_t)dev.from, (uint64_t)dev.to, 6);
    messages();
    result("block_at_the_end", attach(HC_DOMAIN_BLOCKED, 0), "refused");
    dev.source->open(dev.info.rid);
}

const struct source *source_of(uint32_t rid)
{
    for (unsigned i = 0; i < sizeof(sources) / sizeof(*sources); i++)
        if (pci_read(rid, 0) == sources[i]->id)
            return sources[i];
    return NULL;
}

/* Firmware left a device at work, which wrote here until Sluice took over: never since. */
static void left_running(uint64_t from)
{
    volatile uint64_t *word = (volatile uint64_t *)from;
    uint64_t words = (option("beyond", 0) - from) / 8, old = 0, fresh = 0;

    for (uint64_t i = 0; i < words; i++) {
        old += word[i] != 0;
        word[i] = 0;
    }
    for (uint64_t begin = rdtsc(); rdtsc() - begin < 300000 * ticks_per_us();)
        pause_once();
    for (uint64_t i = 0; i < words; i++)
        fresh += word[i] != 0;
    print("left at work: %lu words of it were here, %lu came since\n", (unsigned long)old,
          (unsigned long)fresh);
    print("@test left_running %s\n", old && !fresh ? "ok" : "FAILED");
    failures += !old || fresh;
}

int guest_main(void)
{
    if (option_text("watch"))
        return watch();
    if (option("left", 0))
        left_running(option("left", 0));
    if (event_ring_open(&ring, 256, VECTOR, 0) != HV_OK)
        fail("no event ring\n");
    for (uint32_t i = 0; sluice_device_info(i, &dev.info) == HV_OK; i++) {
        dev.source = source_of(dev.info.rid);
        if (!dev.source)
            fail("device %u is none that this guest knows\n", i);
        print("device %u: %s, unit %u, %s%s%s, %u PASID bits\n", i, dev.source->name, dev.info.unit,
              dev.info.flags & HC_DEVICE_NESTED   ? "nested"
              : dev.info.flags & HC_DEVICE_SHADOW ? "shadow"
                                                  : "not nested",
              dev.info.flags & HC_DEVICE_ATS ? ", ATS" : "",
              dev.info.flags & HC_DEVICE_PRI ? ", page requests" : "", dev.info.pasid_bits);
        test_device();
    }
    print("units: %u steps failed\n", failures);
    return failures ? 1 : 0;
}
