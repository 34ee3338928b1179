/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "guest/demo/demo.h"
#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"

#define WAKE_VECTOR      0x42
#define LOOK_US          200000ull
#define RECORDS_PER_PAGE (PAGE / sizeof(struct accel_completion))
#define LIMIT_US         20000000ull
#define ERROR_NO_RECORD  8u

/* Without PASID the records lie in ordinary guest memory. */
static struct accel_completion *plain_records;

/* The next record, and where the device finds it. */
static volatile struct accel_completion *take_record(const struct work *w, uint64_t *address)
{
    uint64_t offset = demo.record++ % RECORDS_PER_PAGE * sizeof(struct accel_completion);
    uint8_t *page;

    if (w->process) {
        page = process_frame(w->process, RECORDS);
        *address = process_address(w->process, RECORDS) + offset;
    } else {
        if (!plain_records)
            plain_records = pages_new(1);
        page = (uint8_t *)plain_records;
        *address = (uint64_t)page + offset;
    }
    return memset(page + offset, 0, sizeof(struct accel_completion));
}

static volatile struct accel_completion *submit(const struct work *w)
{
    struct accel_descriptor d = {
        .pasid = w->process ? w->process->pasid | ACCEL_PASID : 0,
        .operation = w->operation,
        .flags = w->flags,
        .interrupt = w->message,
        .source = w->source,
        .destination = w->destination,
        .size = w->size,
        .pattern = w->pattern,
    };
    volatile struct accel_completion *record = take_record(w, &d.completion);

    accel_submit(&demo.accel, &d);
    return record;
}

/* Until @record is written or the device has nothing left to do. */
static struct accel_completion wait_for(volatile struct accel_completion *record)
{
    uint64_t begin = rdtsc(), turns = 0;

    while (!record->status) {
        events_serve();
        /* The register read is slow: not in every turn. */
        if (++turns % 256 == 0 && !accel_busy(&demo.accel) && !record->status) {
            expect(accel_errors(&demo.accel) & ERROR_NO_RECORD, "a descriptor vanished", 0);
            break;
        }
        if (rdtsc() - begin > LIMIT_US * ticks_per_us())
            fail("the accelerator does not answer");
    }
    return *(struct accel_completion *)record;
}

struct accel_completion work_run(const struct work *w)
{
    return wait_for(submit(w));
}

/* The sleeper looks at the clock. */
static void wake_up(struct interrupt_frame *frame)
{
    (void)frame;
}

struct accel_completion work_run_asleep(const struct work *w)
{
    uint64_t before = demo.count.work_interrupts, begin = rdtsc();
    volatile struct accel_completion *record = submit(w);

    interrupt_handler(WAKE_VECTOR, wake_up);
    while (demo.count.work_interrupts == before) {
        if (rdtsc() - begin > LIMIT_US * ticks_per_us())
            fail("the accelerator's interrupt does not come");
        apic_timer(LOOK_US, WAKE_VECTOR);
        sleep_once();
    }
    apic_timer(0, WAKE_VECTOR);
    return *(struct accel_completion *)record;
}

static volatile struct accel_completion *started;

void work_start(const struct work *w)
{
    started = submit(w);
}

struct accel_completion work_finish(void)
{
    return wait_for(started);
}

void work_run_all(const struct work *w, unsigned n, struct accel_completion *out)
{
    volatile struct accel_completion *record[32];

    if (n > 32)
        fail("work_run_all: too many");
    for (unsigned i = 0; i < n; i++)
        record[i] = submit(&w[i]);
    for (unsigned i = 0; i < n; i++)
        out[i] = wait_for(record[i]);
}
