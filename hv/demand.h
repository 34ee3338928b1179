/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory on demand: RAM of the VM, or mappings of an IOAS, of which the units know nothing until a
 * device asks for it by a page request. Then Sluice puts it into the table of that device's unit
 * and answers itself (category MAP). The content is the VM's all the time, and so is the CPUs'
 * access: nothing is gained by taking from them what nobody else may use.
 *
 * Sluice puts in 2 MiB where the unit, the mapping and the hole allow it, else the page that was
 * asked for: a request costs more than its table entry, and what is around it in a large leaf costs
 * nothing. Never more, so that little is reached that nobody asked for.
 *
 * What page requests fill, and whatever tells with what, is guarded by sva.fill_lock: taken by
 * those that arrive, which never have the VM's lock, and by calls in addition to it.
 */
#ifndef HV_DEMAND_H
#define HV_DEMAND_H

#include "drivers/iommu/iommu.h"
#include "hv/types.h"

#define DEMAND_LARGE (2ull << 20)

struct device;
struct domain;
struct space;
struct vm;

/* May @d translate through what is on demand? HV_ENOTSUP: it has no page requests; HV_EORDER:
 * category MAP is not on. Lock: the VM's. */
enum hv_status demand_check(const struct device *d);
/* The same of the VM's RAM: HV_OK as well if all of it is there on the device's unit. */
enum hv_status demand_check_ram(const struct device *d);
/* Does anything that @d is attached to rely on category MAP? Lock: the VM's. */
bool demand_in_use(const struct device *d);

/** Serve a page request of @d from what @space and @domain (which may be copies) translate through.
 *  Lock: fill_lock, since before they were looked up.
 *  @return HV_OK: the device finds it now; HV_ENOENT: it is the guest's; HV_EFAULT: it lies where
 *          the device must not reach; HV_ERANGE: no address that the unit can translate; HV_EQUOTA,
 *          HV_ENOMEM: there is no room for it in the tables. */
enum hv_status demand_serve(const struct device *d, const struct space *space,
                            const struct domain *domain, const struct iommu_page_request *req);

/** The page of RAM at @gpa in the second stage of a unit, put in if it is absent and @ask. @bytes:
 *  around it, aligned, all of it is there. Lock: fill_lock.
 *  @return HV_ENOENT: absent; HV_EQUOTA, HV_ENOMEM. */
enum hv_status demand_ram(struct vm *vm, const struct iommu_caps *caps, gpaddr_t gpa, bool ask,
                          uint64_t *bytes);

/* Wait for requests that found what is no longer attached. Lock: not fill_lock. */
void demand_settle(struct vm *vm);

#endif
