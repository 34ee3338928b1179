/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that firmware goes on using through a function (RMRR, VT-d 3.16). Such a function is
 * refused, or, if the configuration says rmrr=map, that memory is mapped at its own address in
 * every second stage of the VM, and kept out of the addresses of every IOAS: so it is there under
 * IDENTITY and PAGING, on every device of the VM, which could reach it through the one anyway.
 * BLOCKED is BLOCKED: nothing is there until the guest attaches something. CPUs of the VM do not
 * see it. What is mapped is what the memory map calls reserved, and belongs to one VM.
 */
#ifndef HV_DIRECT_H
#define HV_DIRECT_H

#include "hv/pt.h"
#include "hv/types.h"

struct device;
struct vm;

#define DIRECT_MAX 8u /* of one VM */

struct direct {
    uint64_t first, last; /* whole pages; guest-physical and physical are the same */
};

/** Take what firmware uses through @device, or refuse the device: the log says what to do. @map:
 * the configuration allows it. Boot, nothing is attached.
 *  @return HV_EBUSY: not allowed; HV_EINVAL: firmware did not keep that memory for itself, or half
 * of it is another function's; HV_EEXIST: another VM has it, or the VM has RAM or a BAR at this
 * address; HV_ERANGE: too many, or out of reach; HV_EQUOTA, HV_ENOMEM. Nothing is held then. */
enum hv_status direct_take(const struct device *device, bool map);
/* Map what the VM has so far into a table of its own. HV_ERANGE: it does not reach so far;
 * HV_EQUOTA, HV_ENOMEM. */
enum hv_status direct_map(const struct vm *vm, struct pt *table);
/* The VM ends, its tables are gone. */
void direct_end(struct vm *vm);

#endif
