/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buddy allocator. Each range given to the pool starts with one tag byte per page; free blocks hang
 * on a list per order through links in their own first bytes. A block and its buddy differ in one
 * address bit, so blocks are naturally aligned, and they join again when both are free.
 */
#include "hv/pages.h"

#include <string.h>

#include "hv/lock.h"
#include "hv/log.h"
#include "hv/platform.h"

#define RANGES_MAX 16u

/* Tag of a block's first page: its order, with TAG_TAKEN while it is given out. Others: TAG_INSIDE.
 */
enum { TAG_TAKEN = 0x80, TAG_INSIDE = 0xff };

struct block {
    struct block *next, **link; /* link: the pointer that points here */
};

struct range {
    uint64_t first, pages; /* page frame numbers; the tags' own pages are not part of it */
    uint8_t *tag;
};

/* RANK_PAGES: guards everything below, and every quota. */
static struct lock pool_lock = LOCK(RANK_PAGES);
static struct range ranges[RANGES_MAX];
static unsigned nranges;
static struct block *free_list[PAGES_ORDER_MAX + 1];
static uint64_t total, used;
static int64_t budget = -1;

static struct block *block_of(uint64_t frame)
{
    return phys_to_virt(PADDR(frame << PAGE_SHIFT));
}

static uint64_t frame_of(const void *page)
{
    return virt_to_phys(page).v >> PAGE_SHIFT;
}

static struct range *range_of(uint64_t frame)
{
    for (unsigned i = 0; i < nranges; i++) {
        if (frame - ranges[i].first < ranges[i].pages)
            return &ranges[i];
    }
    return NULL;
}

static void push(struct range *r, uint64_t frame, unsigned order)
{
    struct block *b = block_of(frame), **head = &free_list[order];

    r->tag[frame - r->first] = (uint8_t)order;
    *b = (struct block){ .next = *head, .link = head };
    if (b->next)
        b->next->link = &b->next;
    *head = b;
}

static void unlink_block(struct range *r, uint64_t frame)
{
    struct block *b = block_of(frame);

    r->tag[frame - r->first] = TAG_INSIDE;
    *b->link = b->next;
    if (b->next)
        b->next->link = b->link;
}

/* Put a block back, joined with its buddy as often as that is free as a whole. */
static void join(struct range *r, uint64_t frame, unsigned order)
{
    for (; order < PAGES_ORDER_MAX; order++) {
        uint64_t buddy = frame ^ (1ull << order);

        if (buddy - r->first >= r->pages || r->tag[buddy - r->first] != order)
            break;
        unlink_block(r, buddy);
        r->tag[frame - r->first] = TAG_INSIDE;
        frame &= ~(1ull << order);
    }
    push(r, frame, order);
}

void pages_add(paddr_t base, uint64_t size)
{
    hv_assert(((base.v | size) & PAGE_MASK) == 0);
    uint64_t pages = size >> PAGE_SHIFT;
    uint64_t tags = (pages + PAGE_SIZE - 1) >> PAGE_SHIFT;

    if (pages <= tags)
        return;
    lock_take(&pool_lock);
    hv_assert(nranges < RANGES_MAX);
    struct range *r = &ranges[nranges++];
    *r = (struct range){
        .first = (base.v >> PAGE_SHIFT) + tags,
        .pages = pages - tags,
        .tag = phys_to_virt(base),
    };
    memset(r->tag, TAG_INSIDE, r->pages);
    for (uint64_t frame = r->first, end = r->first + r->pages; frame < end;) {
        unsigned order = 0;
        while (order < PAGES_ORDER_MAX && (frame & (1ull << order)) == 0 &&
               frame + (2ull << order) <= end)
            order++;
        push(r, frame, order);
        frame += 1ull << order;
    }
    total += pages;
    used += tags;
    lock_drop(&pool_lock);
}

static enum hv_status take(struct page_quota *quota, unsigned order, void **out)
{
    uint64_t pages = 1ull << order;
    unsigned found = order;

    if (quota && quota->used + pages > quota->limit)
        return HV_EQUOTA;
    while (found <= PAGES_ORDER_MAX && !free_list[found])
        found++;
    if (found > PAGES_ORDER_MAX || budget == 0)
        return HV_ENOMEM;
    if (budget > 0)
        budget--;

    uint64_t frame = frame_of(free_list[found]);
    struct range *r = range_of(frame);
    unlink_block(r, frame);
    while (found-- > order)
        push(r, frame + (1ull << found), found);
    r->tag[frame - r->first] = (uint8_t)(TAG_TAKEN | order);
    used += pages;
    if (quota)
        quota->used += pages;
    *out = block_of(frame);
    return HV_OK;
}

enum hv_status pages_alloc(struct page_quota *quota, unsigned order, void **out)
{
    hv_assert(order <= PAGES_ORDER_MAX);
    lock_take(&pool_lock);
    enum hv_status status = take(quota, order, out);
    lock_drop(&pool_lock);
    if (status == HV_OK)
        memset(*out, 0, PAGE_SIZE << order);
    return status;
}

void pages_free(struct page_quota *quota, unsigned order, void *pages)
{
    if (!pages)
        return;
    uint64_t frame = frame_of(pages);

    lock_take(&pool_lock);
    struct range *r = range_of(frame);
    hv_assert(r && ((uintptr_t)pages & PAGE_MASK) == 0);
    hv_assert(r->tag[frame - r->first] == (TAG_TAKEN | order)); /* not twice, not another order */
    hv_assert(!quota || quota->used >= 1ull << order);
    join(r, frame, order);
    used -= 1ull << order;
    if (quota)
        quota->used -= 1ull << order;
    lock_drop(&pool_lock);
}

uint64_t pages_total(void)
{
    return total;
}

uint64_t pages_used(void)
{
    return used;
}

void pages_fail_after(int64_t n)
{
    budget = n;
}
