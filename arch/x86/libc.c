/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What newlib's printf would take from an allocator, which there is none: it asks for memory only
 * when it prints to a growing string, and nobody here does.
 */
#include <reent.h>
#include <stddef.h>

void *_malloc_r(struct _reent *r, size_t size);
void *_realloc_r(struct _reent *r, void *p, size_t size);
void _free_r(struct _reent *r, void *p);

void *_malloc_r(struct _reent *r, size_t size)
{
    (void)r, (void)size;
    return NULL;
}

void *_realloc_r(struct _reent *r, void *p, size_t size)
{
    (void)r, (void)p, (void)size;
    return NULL;
}

void _free_r(struct _reent *r, void *p)
{
    (void)r, (void)p;
}
