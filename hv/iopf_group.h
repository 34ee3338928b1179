/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of a device's open groups of page requests: as many slots as requests were promised to
 * it, so that an honest device always finds one. A slot is found by group index, then PASID; the
 * oldest group is first on a list for the deadline. A cookie is generation, device and slot: a
 * slot's generation rises with each group, so an old cookie never answers a new group.
 *
 * Lock, where nothing else is said: events.
 */
#ifndef HV_IOPF_GROUP_H
#define HV_IOPF_GROUP_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

#define IOPF_INDICES 512u /* 9 bits in a request */
#define IOPF_NO_SLOT 0xffffu

struct bond;
struct device;
struct vm;

struct iopf_group {
    struct bond *bond;
    struct iommu_page_request last; /* the last one that came; only its key until then */
    uint64_t generation;
    uint64_t started;  /* time_now() of the first request */
    uint16_t requests; /* delivered */
    uint16_t next;     /* same group index, or free list */
    uint16_t older, newer;
    bool live, complete; /* complete: has its last request, wants an answer */
    bool refused;        /* part of it could not be delivered: INVALID when complete */
    uint16_t pending;    /* its requests, where the device is to find their pages in a shadow */
};
static_assert(sizeof(struct iopf_group) <= 64);

/* A request that the guest has, on a unit that does not nest. */
struct iopf_pending {
    iova_t page;
    uint16_t next; /* of the group, or free */
    bool write;
};

struct iopf {
    struct device *device;
    struct iopf *next;         /* hv/iopf_drop.c: of its list */
    _Atomic uint32_t expiring; /* CPUs that answer what expired: it stays until they are done */
    uint16_t slots, free, oldest, newest;
    uint32_t requests;            /* delivered and not answered; at most slots */
    unsigned order;               /* pages of all this */
    struct iopf_pending *pending; /* one for each request; NULL: the unit nests */
    uint16_t free_pending;
    uint16_t head[IOPF_INDICES];
    struct iopf_group group[];
};

/* All that @d needs for @slots requests, charged to its VM, and back. HV_EQUOTA, HV_ENOMEM. Lock:
 * the VM's. */
enum hv_status iopf_group_make(struct device *d, uint32_t slots, struct iopf **out);
void iopf_group_free(struct iopf *f);
/* What cookies were given out up to; no group is open any more. Lock: the VM's. */
uint64_t iopf_group_generation(const struct iopf *f);

/* The open group that a request belongs to, NULL: none. */
struct iopf_group *iopf_group_find(struct iopf *f, const struct iommu_page_request *req);
/* NULL: more groups than were promised requests. */
struct iopf_group *iopf_group_open(struct iopf *f, const struct iommu_page_request *req,
                                   struct bond *bond);
void iopf_group_close(struct iopf *f, struct iopf_group *g);

/* A request of @g that the guest was given: to be put into the shadow with its answer, if the
 * device translates through one. At most as many as slots. */
void iopf_group_note(struct iopf *f, struct iopf_group *g, const struct iommu_page_request *req);
/* Take one of them out; false: there are no more. */
bool iopf_group_pending(struct iopf *f, struct iopf_group *g, struct iopf_pending *out);

uint64_t iopf_group_cookie(const struct iopf *f, const struct iopf_group *g);
/** What a cookie stands for.
 *  @return HV_EALREADY: it was given out, and its group was answered since; HV_ENOENT: it never
 *          was; HV_EORDER: more requests of the group are to come. */
enum hv_status iopf_group_by_cookie(struct vm *vm, uint64_t cookie, struct iopf **iopf,
                                    struct iopf_group **group);

#endif
