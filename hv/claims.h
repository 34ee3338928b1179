/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical addresses that are taken: memory, registers that Sluice itself uses, BARs that guests
 * have. What a function says of its BARs is believed only where nothing else is.
 */
#ifndef HV_CLAIMS_H
#define HV_CLAIMS_H

#include "hv/types.h"

/* [base, base + size) is taken, whatever else is. Panics if the table is full. Boot. */
void claims_add(paddr_t base, uint64_t size);
/* The same, for memory that firmware keeps for itself. Boot. */
void claims_add_firmware(paddr_t base, uint64_t size);
/* Take a part of that. HV_EINVAL: it is not, or not as a whole; HV_EEXIST: taken, or something else
 * lies there, too; HV_ERANGE, HV_ENOMEM as below. */
enum hv_status claims_take_firmware(paddr_t base, uint64_t size);
/* Take it if all of it is free. HV_EEXIST: it is not; HV_ERANGE: it wraps; HV_ENOMEM: the table is
 * full. */
enum hv_status claims_take(paddr_t base, uint64_t size);
/* Give back what one of the last two gave. */
void claims_drop(paddr_t base, uint64_t size);

#endif
