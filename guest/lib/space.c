/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/space.h"

#include "guest/lib/cpu.h"
#include "guest/lib/runtime.h"

#define PT_PRESENT 0x1ull
#define PT_WRITE   0x2ull
#define PT_USER    0x4ull
#define PT_USED    0x60ull /* accessed, dirty */
#define PT_FRAME   0x000ffffffffff000ull

extern uint64_t kernel_root[512];

struct space space_new(void)
{
    struct space s = { pages_new(1) };

    s.root[0] = kernel_root[0];
    return s;
}

struct space space_of_devices(void)
{
    return (struct space){ pages_new(1) };
}

/* The level-1 entry of @va; NULL if a table is missing and not to be made. */
static volatile uint64_t *entry(uint64_t *table, uint64_t va, bool make)
{
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        volatile uint64_t *e = &table[va >> shift & 511];

        if (!(*e & PT_PRESENT)) {
            if (!make)
                return NULL;
            *e = (uint64_t)pages_new(1) | PT_PRESENT | PT_WRITE | PT_USER;
        }
        table = (uint64_t *)(*e & PT_FRAME);
    }
    return &table[va >> 12 & 511];
}

void space_map(struct space *s, uint64_t va, uint64_t gpa, bool writable)
{
    if (va < SPACE_USER_BASE && s->root[0] == kernel_root[0])
        fail("space_map: %lx is the kernel's", va);
    *entry(s->root, va, true) = (gpa & PT_FRAME) | PT_PRESENT | PT_USER | (writable ? PT_WRITE : 0);
    invlpg(va);
}

void space_mark(struct space *s, uint64_t va)
{
    *entry(s->root, va, true) |= PT_USED;
}

uint64_t space_unmap(struct space *s, uint64_t va)
{
    volatile uint64_t *e = entry(s->root, va, false);
    uint64_t old = e ? *e : 0;

    if (!(old & PT_PRESENT))
        return 0;
    *e = 0;
    invlpg(va);
    return old & PT_FRAME;
}

uint64_t space_lookup(const struct space *s, uint64_t va)
{
    volatile uint64_t *e = entry(s->root, va, false);

    return e && (*e & PT_PRESENT) ? *e & PT_FRAME : 0;
}

void space_enter(const struct space *s)
{
    write_cr3((uint64_t)s->root);
}

void space_leave(void)
{
    write_cr3((uint64_t)kernel_root);
}
