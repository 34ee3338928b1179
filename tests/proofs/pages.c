/* SPDX-License-Identifier: BSD-2-Clause */
/* The buddy allocator on a few pages, wherever they lie. */
#include "tests/proofs/proof.h"

#include <string.h>

#include "hv/platform.h"

static void *memory_at(paddr_t at);
static paddr_t place_of(const void *p);
#define phys_to_virt memory_at
#define virt_to_phys place_of
#define memset       fill

/* Only tags are filled byte by byte; pages given out have no bytes here. */
static void *fill(void *to, int value, size_t size);

#include "hv/pages.c"

#undef memset

#define PAGES 9u /* with the one that holds the tags */

/* Of each page, what the allocator uses: its first bytes. */
static struct block head[PAGES];
static uint8_t tags[PAGES];
static uint64_t base; /* page frame */

static void *memory_at(paddr_t at)
{
    uint64_t n = (at.v >> PAGE_SHIFT) - base;

    prove(n < PAGES && (at.v & PAGE_MASK) == 0);
    return n == 0 ? (void *)tags : &head[n];
}

static paddr_t place_of(const void *p)
{
    return PADDR((base + (uint64_t)((const struct block *)p - head)) << PAGE_SHIFT);
}

static void *fill(void *to, int value, size_t size)
{
    for (size_t i = 0; to == tags && i < PAGES; i++)
        tags[i] = i < size ? (uint8_t)value : tags[i];
    return to;
}

/* Any place: only where the pages lie within the largest block counts. */
static unsigned any_pool(void)
{
    unsigned pages = any_between(2, PAGES);

    base = any_u64() & 0xfffffff;
    pages_add(PADDR(base << PAGE_SHIFT), (uint64_t)pages << PAGE_SHIFT);
    return pages;
}

/* Every page but the tags' lies in exactly one free block, and blocks are aligned. */
/* proof: free_blocks_cover_the_range slow --unwind 12 */
/* broken: hv/pages.c s/frame + (2ull << order) <= end/frame + (1ull << order) <= end/ */
/* broken: hv/pages.c s/(frame & (1ull << order)) == 0 &&// */
void free_blocks_cover_the_range(void)
{
    unsigned pages = any_pool(), page = any_between(1, PAGES - 1), covered = 0;

    assume(page < pages);
    for (unsigned i = 1; i < pages; i++) {
        unsigned order = tags[i - 1];
        if (order == TAG_INSIDE)
            continue;
        prove(order <= 3 && (base + i) % (1u << order) == 0 && i + (1u << order) <= pages);
        covered += page >= i && page < i + (1u << order);
    }
    prove(covered == 1);
    prove(pages_total() == pages && pages_used() == 1);
}

/* Two blocks: inside, aligned, apart; and given back, all is as it was. */
/* proof: blocks_are_apart_and_join_again slow --unwind 12 */
/* broken: hv/pages.c s/frame ^ (1ull << order)/frame + (1ull << order)/ */
/* broken: hv/pages.c s/|| r->tag\[buddy - r->first\] != order// */
void blocks_are_apart_and_join_again(void)
{
    unsigned pages = any_pool(), one = any_between(0, 2), two = any_between(0, 2);
    uint8_t before[PAGES];
    void *a, *b;

    memcpy(before, tags, sizeof(tags));
    if (pages_alloc(NULL, one, &a) != HV_OK)
        return;
    unsigned from = (unsigned)((struct block *)a - head);
    prove(from >= 1 && from + (1u << one) <= pages && (base + from) % (1u << one) == 0);
    if (pages_alloc(NULL, two, &b) == HV_OK) {
        unsigned other = (unsigned)((struct block *)b - head);
        prove(other >= 1 && other + (1u << two) <= pages && (base + other) % (1u << two) == 0);
        prove(other + (1u << two) <= from || from + (1u << one) <= other);
        pages_free(NULL, two, b);
    }
    pages_free(NULL, one, a);
    unsigned any = any_between(0, PAGES - 1);
    prove(pages_used() == 1 && tags[any] == before[any]);
}

/* --- What hv/pages.c calls -------------------------------------------------------------------- */

uintptr_t phys_offset;

void lock_take(struct lock *lock)
{
    (void)lock;
}

void lock_drop(struct lock *lock)
{
    (void)lock;
}

void panic(const char *format, ...)
{
    (void)format;
    prove(false);
    assume(false);
}
