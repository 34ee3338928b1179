/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects of 64 bytes out of pages, charged to a quota: spaces, domains, bonds. A page is given
 * back as soon as its last object is. Lock: the owner's.
 */
#ifndef HV_SLAB_H
#define HV_SLAB_H

#include "hv/pages.h"
#include "hv/types.h"

#define SLAB_OBJECT 64u

struct slab_page;

struct slab {
    struct page_quota *quota;
    struct slab_page *partial; /* pages with a free object */
    uint32_t objects;          /* handed out */
};

/* A zeroed object, or HV_EQUOTA, HV_ENOMEM. */
enum hv_status slab_alloc(struct slab *slab, void **out);
/* NULL is allowed. */
void slab_free(struct slab *slab, void *object);

#endif
