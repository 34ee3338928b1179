/* SPDX-License-Identifier: BSD-2-Clause */
/* Further vCPUs: INIT, SIPI, long mode, then a function of the guest's. */
#ifndef GUEST_LIB_SMP_H
#define GUEST_LIB_SMP_H

#include <stdbool.h>
#include <stdint.h>

/* Start vCPU @id; it runs @fn(id) with interrupts off, interrupts_init() done. False: it did not
 * come within a second. */
bool smp_start(uint32_t id, void (*fn)(uint32_t id));

#endif
