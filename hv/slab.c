/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first object's place in each page is the page's own head; free objects are linked by their
 * first word. Pages with a free object are on one list; full ones on none.
 */
#include "hv/slab.h"

struct slab_page {
    struct slab_page *next, **link; /* of slab->partial; link NULL: not on it */
    void *free;
    uint32_t used;
};
static_assert(sizeof(struct slab_page) <= SLAB_OBJECT);

static void list_add(struct slab *slab, struct slab_page *page)
{
    page->next = slab->partial;
    page->link = &slab->partial;
    if (page->next)
        page->next->link = &page->next;
    slab->partial = page;
}

static void list_remove(struct slab_page *page)
{
    *page->link = page->next;
    if (page->next)
        page->next->link = page->link;
    page->link = NULL;
}

/* A page more. */
SELDOM static enum hv_status grow(struct slab *slab)
{
    void *memory;
    enum hv_status status = pages_alloc(slab->quota, 0, &memory);

    if (status != HV_OK)
        return status;
    struct slab_page *page = memory;
    for (size_t at = PAGE_SIZE - SLAB_OBJECT; at >= SLAB_OBJECT; at -= SLAB_OBJECT) {
        void **object = (void **)((uint8_t *)memory + at);
        *object = page->free;
        page->free = object;
    }
    list_add(slab, page);
    return HV_OK;
}

enum hv_status slab_alloc(struct slab *slab, void **out)
{
    enum hv_status status = slab->partial ? HV_OK : grow(slab);

    if (status != HV_OK)
        return status;
    struct slab_page *page = slab->partial;
    void **object = page->free;
    page->free = *object;
    page->used++;
    slab->objects++;
    if (!page->free)
        list_remove(page);
    __builtin_memset(object, 0, SLAB_OBJECT); /* as a builtin it is eight stores */
    *out = object;
    return HV_OK;
}

void slab_free(struct slab *slab, void *object)
{
    if (!object)
        return;
    struct slab_page *page = (struct slab_page *)((uintptr_t)object & ~(uintptr_t)PAGE_MASK);

    if (!page->free)
        list_add(slab, page);
    *(void **)object = page->free;
    page->free = object;
    slab->objects--;
    if (--page->used == 0) {
        list_remove(page);
        pages_free(slab->quota, 0, page);
    }
}
