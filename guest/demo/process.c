/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/demo/demo.h"

void process_create(struct process *p, unsigned index)
{
    p->space = space_new();
    /* The same addresses in every process and guest: only the PASID tells them apart. */
    p->base = SPACE_USER_BASE + 0x1000000;
    p->frames = pages_new(REGION_PAGES);
    process_fill(p, SOURCE, RECORDS, index);
}

uint64_t process_address(const struct process *p, unsigned page)
{
    return p->base + page * PAGE;
}

uint8_t *process_frame(const struct process *p, unsigned page)
{
    return p->frames + page * PAGE;
}

bool process_fault(struct process *p, uint64_t va)
{
    if (va < p->base || va >= p->base + REGION_PAGES * PAGE)
        return false;
    if (!space_lookup(&p->space, va)) /* a page may be asked for twice */
        space_map(&p->space, va, (uint64_t)p->frames + (va - p->base), true);
    return true;
}

void process_fill(struct process *p, unsigned page, unsigned pages, uint64_t seed)
{
    uint64_t *word = (uint64_t *)process_frame(p, page);
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull ^ option("seed", 1) << 32 ^ page;

    for (uint64_t i = 0; i < pages * PAGE / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word[i] = x;
    }
}
