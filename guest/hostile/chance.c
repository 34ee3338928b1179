/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Storms of chance: calls, commands, tables. Most of what they ask is nearly right, as what is
 * plainly wrong ends at the first check. Addresses are those of a scratch area or none of ours:
 * what Sluice writes on request must not hit this program.
 */
#include "guest/hostile/hostile.h"

#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/smp.h"

#define SCRATCH_PAGES 64u
#define CALLS         20000u
#define ROUNDS        200u
#define RACES         4000u

static uint8_t *scratch;

uint64_t chance(void)
{
    static uint64_t x;

    if (!x)
        x = option("seed", 1) * 0x9e3779b97f4a7c15ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* One of what arguments are made of. */
static uint64_t value(void)
{
    uint64_t x = chance(), at = (uint64_t)scratch + x / 64 % SCRATCH_PAGES * PAGE;

    switch (x % 16) {
    case 0: return 0;
    case 1: return 1;
    case 2: return x >> 40 & 7;
    case 3: return x >> 40 & 63;
    case 4: return pasid;
    case 5: return bond;
    case 6: return PAGE << (x >> 40 & 7);
    case 7: return (uint64_t)space.root;
    case 8: return VA + (x >> 40 & 63) * PAGE;
    case 9: return at + (x >> 40 & 0xff8);
    case 10: return memory_bytes() - (x >> 40 & 0x1fff);
    case 11: return HC_PASID_NONE - (x >> 40 & 1);
    case 12: return ~0ull << (x >> 40 & 63);
    case 13: return 0x7f000000000ull + (x >> 40 & 0xfff) * PAGE;
    default: return at;
    }
}

#define STRUCTURE 48u /* bytes: all that a command can hold */

/* A structure: its size, then fields of 4 or 8 bytes. */
static void fill(void *out)
{
    uint64_t words[STRUCTURE / 8], x = chance();
    uint32_t size = (uint32_t)(x % 8 * 8);

    for (unsigned i = 0; i < STRUCTURE / 8; i++, x >>= 1)
        words[i] = x & 1 ? value() : (uint32_t)value() | value() << 32;
    words[0] = (words[0] & ~0xffffffffull) | (size ? size : (uint32_t)x);
    if (x & 2)
        words[0] = size; /* no flags */
    memcpy(out, words, sizeof(words));
}

static bool ring_stays; /* the event ring is needed where it is */

static uint64_t number(void)
{
    uint64_t n = chance() % HC_NUMBERS;

    return n == HC_SHUTDOWN || (ring_stays && n == HC_EVENT_RING) ? HC_NULL : n;
}

static struct hc_vm_info before;

static void prepare(void)
{
    scratch = pages_new(SCRATCH_PAGES);
    must(sluice_vm_info(&before), HV_OK, "VM info");
}

/* What must be as ever after a storm. */
static void still_served(void)
{
    struct hc_vm_info now;
    uint64_t version = 0;

    must(sluice_call(HC_NULL, 0, 0, 0, &version), HV_OK, "null call");
    must(sluice_vm_info(&now), HV_OK, "VM info");
    if (version != SLUICE_ABI_VERSION || now.memory != before.memory || now.vcpus != before.vcpus ||
        now.devices != before.devices || strcmp(now.name, before.name))
        fail("another answer after the storm");
}

static void one_call(void)
{
    uint64_t a[3] = { value(), value(), value() };

    if (chance() & 3) {
        a[0] = (uint64_t)scratch + (chance() & 0xff8);
        fill((void *)a[0]);
    }
    (void)!sluice_call(number(), a[0], a[1], a[2], NULL);
}

void calls(void)
{
    prepare();
    for (unsigned i = 0; i < CALLS; i++) {
        one_call();
        if (i % 256 == 0)
            take_events();
    }
    still_served();
}

/* --- Commands --------------------------------------------------------------------------------- */

static struct command_ring ring;

static void put(uint32_t at)
{
    static const uint32_t often[] = { HC_PAGE_RESPONSE, HC_INVALIDATE, HC_ATTACH,
                                      HC_SVA_BIND,      HC_SVA_UNBIND, HC_IOAS_MAP,
                                      HC_IOAS_UNMAP,    HC_IOAS_COPY,  HC_IOAS_CREATE };
    struct hc_command c = { .status = HC_COMMAND_PENDING };
    uint64_t x = chance();

    c.call = x & 7 ? often[x / 8 % (sizeof(often) / sizeof(*often))] : (uint32_t)number();
    fill(c.args);
    if (x >> 40 & 1)
        c.status = (int32_t)chance();
    ring.slot[at & (ring.entries - 1)] = c;
}

/* Some that are whole, and the producer's index where it belongs or anywhere. */
static uint64_t one_round(void)
{
    uint64_t x = chance(), done = 0;
    uint32_t from = ring.header->producer, n = (uint32_t)(x % ring.entries);

    for (uint32_t i = 0; i < n; i++)
        put(from + i);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring.header->producer = x >> 40 & 7 ? from + n : (uint32_t)chance();
    if (!(x >> 44 & 7))
        ring.header->consumer = (uint32_t)chance(); /* Sluice's own, and not believed */
    if (sluice_call(HC_DOORBELL, 0, 0, 0, &done) == HV_ERING) {
        struct hc_ring_setup again = { .size = sizeof(again),
                                       .base = (uint64_t)ring.header,
                                       .entries = ring.entries };
        memset((void *)ring.header, 0, sizeof(*ring.header));
        must(sluice_call_struct(HC_COMMAND_RING, &again, NULL), HV_OK, "the ring again");
    }
    return done;
}

void commands(void)
{
    uint64_t done = 0;

    prepare();
    must(command_ring_open(&ring, 64), HV_OK, "command ring");
    for (unsigned i = 0; i < ROUNDS; i++) {
        done += one_round();
        take_events();
    }
    print("%lu commands were done\n", done);
    if (done < ROUNDS)
        fail("hardly a command was done");
    still_served();
}

/* --- Tables ----------------------------------------------------------------------------------- */

/* An entry that leads to frames, to tables, outside, or has any bits. */
static uint64_t any_entry(void)
{
    uint64_t x = chance(), bits = x >> 8 & 0xfff;

    switch (x & 7) {
    case 0: return 0;
    case 1: return memory_bytes() + (x >> 20 & 0xffff) * PAGE + bits;
    case 2: return (x & ~0xfffull) | bits;
    case 3: return (uint64_t)scratch + (x >> 20) % SCRATCH_PAGES * PAGE + (bits | 7);
    case 4: return (uint64_t)frames + (x >> 20) % PAGES * PAGE + bits;
    default: return (uint64_t)frames + (x >> 20) % PAGES * PAGE + 7;
    }
}

/* The tables that map VA, from the last level up. */
static volatile uint64_t *table_of(unsigned level)
{
    uint64_t *table = space.root;

    for (unsigned shift = 39; shift > 12 + 9 * level; shift -= 9)
        table = (uint64_t *)(table[VA >> shift & 511] & 0xffffffffff000);
    return table;
}

static volatile uint64_t *last, *above;

static void change(void)
{
    uint64_t x = chance();

    if (x % 16) /* the records' page stays: it is the entry before */
        last[(VA >> 12 & 511) + x / 64 % PAGES] = any_entry();
    else /* the table of the last level goes away and comes back, also as a large page */
        above[VA >> 21 & 511] =
            x & 16 ? (uint64_t)last + 7 : ((uint64_t)scratch & ~0x1fffffull) + ((x & 32) << 2) + 5;
}

static void tables_prepare(void)
{
    prepare();
    space_map(&space, VA, (uint64_t)frames, true);
    last = table_of(0);
    above = table_of(1);
}

static void one_work(void)
{
    uint64_t x = chance();

    submit((unsigned)(x >> 8) % PAGES, VA + (x >> 16) % PAGES * PAGE, 1 + (x >> 32) % (2 * PAGE));
}

void tables(void)
{
    tables_prepare();
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned n = 0; n < 16; n++) {
            change();
            one_work();
            take_events();
        }
        if (chance() & 1)
            (void)!sluice_invalidate_pasid(pasid);
        above[VA >> 21 & 511] = (uint64_t)last + 7;
        wait(idle, true, "the device");
    }
    still_served();
}

/* --- Race ------------------------------------------------------------------------------------- */

static _Atomic bool over;

/* Sizes, indices, slots and entries, just while Sluice looks at them. */
[[noreturn]] static void changer(uint32_t id)
{
    uint64_t x = 0x123456789abcdefull * (id + option("seed", 1));

    while (!over) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *(volatile uint32_t *)(scratch + (x & 0xff8)) = x >> 32 & 1 ? (uint32_t)(x >> 40 & 63) : 0;
        ring.slot[x >> 20 & (ring.entries - 1)].args[x >> 12 & 3] ^= 1ull << (x >> 40 & 63);
        if (!(x & 0xff))
            ring.header->producer += 1;
        last[(VA >> 12 & 511) + x / 64 % PAGES] =
            (x & 1 ? (uint64_t)frames : memory_bytes()) + x / 64 % PAGES * PAGE + 7;
    }
    for (;;)
        sleep_once();
}

void race(void)
{
    tables_prepare();
    must(command_ring_open(&ring, 64), HV_OK, "command ring");
    ring_stays = true;
    if (!smp_start(1, changer))
        fail("no second vCPU");
    for (unsigned i = 0; i < RACES; i++) {
        one_call();
        if (i % 16 == 0)
            (void)one_round();
        one_work();
        if (i % 32 == 0) {
            wait(idle, true, "the device");
            (void)!sluice_bind(device, (uint64_t)space.root, HC_PASID_ANY, 0, &bond, &pasid);
        }
    }
    over = true;
    still_served();
}
