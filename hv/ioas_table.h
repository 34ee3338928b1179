/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables behind an IOAS: one for each format that the units of its devices need, shared by the
 * units that agree on it, all kept in step. Lock: the VM's.
 */
#ifndef HV_IOAS_TABLE_H
#define HV_IOAS_TABLE_H

#include "drivers/iommu/iommu.h"
#include "hv/iova.h"

struct ioas;

struct ioas_table {
    struct pt pt;
    struct ioas_table *next;
    uint64_t built; /* mappings that begin below are in it; UINT64_MAX: all */
    uint32_t units;
    bool walked; /* a unit that does not answer may still walk it: never freed */
};
static_assert(sizeof(struct ioas_table) <= SLAB_OBJECT);

/* An IOAS as one unit knows it. */
struct ioas_unit {
    struct iommu_stage2 hw;
    struct ioas_table *table;
    struct ioas_unit *next;
    uint32_t users; /* (device, PASID)s */
    bool kept;      /* stays without users */
    bool caching_mode;
};
static_assert(sizeof(struct ioas_unit) <= SLAB_OBJECT);

/* The highest address that @ioas can have on a unit; 0: the unit cannot walk such a table. */
uint64_t ioas_table_limit(const struct ioas *ioas, const struct iommu_caps *caps);

/** Find or make what @unit needs; users is the caller's to count.
 *  @return HV_EAGAIN a new table is large: call again to go on; HV_ENOTSUP; HV_EQUOTA, HV_ENOMEM:
 * as before. */
enum hv_status ioas_table_get(struct ioas *ioas, struct iommu_unit *unit, struct ioas_unit **out);
/* Give it up, and its table if no other unit has it. No users. */
void ioas_table_drop(struct ioas *ioas, struct ioas_unit *unit);
/* Give up all of them. */
void ioas_table_drop_all(struct ioas *ioas);

/* Map @range to the guest-physical @gpa on, in RAM, in every table; on demand: in none. HV_EQUOTA,
 * HV_ENOMEM: in none. */
enum hv_status ioas_table_map(struct ioas *ioas, struct iova_range range, uint64_t gpa,
                              uint32_t kind);
/** Put what is mapped on demand where @req asks into the table of @unit: as demand_serve(). Lock:
 *  fill_lock alone. */
enum hv_status ioas_table_fill(struct ioas *ioas, struct ioas_unit *unit,
                               const struct iommu_page_request *req);
/* Unmap @range from every table; nothing of it is cached anywhere on return. HV_EQUOTA, HV_ENOMEM:
 * @done is false, as before. HV_ETIMEDOUT, HV_EIO: done, and told by the unit. */
enum hv_status ioas_table_unmap(struct ioas *ioas, struct iova_range range, bool *done);

#endif
