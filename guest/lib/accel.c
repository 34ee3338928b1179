/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/accel.h"

#include "guest/lib/cpu.h"
#include "guest/lib/pci.h"

enum {
    ID = 0,
    CTRL = 1,
    STATUS = 2,
    ERROR = 3,
    BYTES = 6,
    PAGEREQS = 7,
    MISCHIEF = 9,
    MESSAGES = 0x20, /* two words each */
    PORTAL = 0x200
};

_Static_assert(sizeof(struct accel_descriptor) == 64, "descriptor");
_Static_assert(sizeof(struct accel_completion) == 32, "completion record");

bool accel_open(struct accel *a, uint32_t rid)
{
    a->rid = rid;
    a->bar = (volatile uint64_t *)pci_enable_bar(rid, 0);
    if (a->bar[ID] != 0x000151054c53)
        return false;
    a->bar[CTRL] = 2;
    while (a->bar[CTRL] & 2)
        pause_once();
    a->bar[CTRL] = 1;
    return true;
}

void accel_submit(struct accel *a, const struct accel_descriptor *d)
{
    const uint64_t *word = (const uint64_t *)d;

    for (unsigned i = 0; i < 8; i++)
        a->bar[PORTAL + i] = word[i];
}

uint64_t accel_bytes(const struct accel *a)
{
    return a->bar[BYTES];
}

uint64_t accel_page_requests(const struct accel *a)
{
    return a->bar[PAGEREQS];
}

uint64_t accel_errors(struct accel *a)
{
    uint64_t errors = a->bar[ERROR];

    a->bar[ERROR] = errors;
    return errors;
}

bool accel_busy(const struct accel *a)
{
    return a->bar[STATUS] >> 1 & 1;
}

void accel_hold(struct accel *a, bool on)
{
    a->bar[CTRL] = on ? 5 : 1;
}

void accel_message(struct accel *a, unsigned n, uint32_t address, uint32_t data)
{
    a->bar[MESSAGES + 2 * n] = address;
    a->bar[MESSAGES + 2 * n + 1] = data; /* and not masked */
}

void accel_message_masked(struct accel *a, unsigned n, uint32_t address, uint32_t data)
{
    a->bar[MESSAGES + 2 * n + 1] = 1ull << 32 | data;
    a->bar[MESSAGES + 2 * n] = address;
}

void accel_mischief(struct accel *a, uint64_t bits)
{
    a->bar[MISCHIEF] = bits;
}
