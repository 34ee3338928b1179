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
/* Take it if all of it is free. HV_EEXIST: it is not; HV_ERANGE: it wraps; HV_ENOMEM: the table is
 * full. */
enum hv_status claims_take(paddr_t base, uint64_t size);
/* Give back what claims_take gave. */
void claims_drop(paddr_t base, uint64_t size);

#endif
