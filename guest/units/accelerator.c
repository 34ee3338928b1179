/* SPDX-License-Identifier: BSD-2-Clause */
/* The test accelerator as a source of DMA by requester id. What it does with processes is in
 * process.c. */
#include <string.h>

#include "guest/lib/accel.h"
#include "guest/lib/runtime.h"
#include "guest/units/source.h"
#include "guest/units/units.h"

struct accel accel;
static volatile struct accel_completion *record;
static uint64_t taken;

static bool open(uint32_t rid)
{
    if (!record)
        record = pages_new(1);
    return accel_open(&accel, rid);
}

static bool done(void)
{
    return record->status || !accel_busy(&accel);
}

static bool run(struct accel_descriptor d)
{
    d.completion = (uint64_t)record;
    memset((void *)record, 0, sizeof(*record));
    accel_submit(&accel, &d);
    return wait_for(done, 2000000) && record->status == ACCEL_DONE;
}

static bool take(uint64_t address)
{
    taken = address;
    return true;
}

static bool give(uint64_t address)
{
    return run((struct accel_descriptor){ .operation = taken ? ACCEL_COPY : ACCEL_FILL,
                                          .source = taken,
                                          .destination = address,
                                          .size = PAGE });
}

static bool raise(void)
{
    return run((struct accel_descriptor){ .operation = ACCEL_NOP, .flags = ACCEL_INTERRUPT });
}

static void store(uint32_t address, uint32_t data, bool masked)
{
    (masked ? accel_message_masked : accel_message)(&accel, 0, address, data);
}

static void write_word(uint64_t address, uint32_t value)
{
    (void)run((struct accel_descriptor){
        .operation = ACCEL_FILL, .destination = address, .size = 4, .pattern = value });
}

static void *used_page(unsigned n)
{
    return n ? NULL : (void *)record;
}

const struct source accelerator = { .name = "accelerator",
                                    .id = ACCEL_PCI_ID,
                                    .open = open,
                                    .take = take,
                                    .give = give,
                                    .page = used_page,
                                    .messages = STORE,
                                    .raise = raise,
                                    .store = store,
                                    .write_word = write_word };
