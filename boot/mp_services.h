/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPUs that the firmware found, by its MP services (PI 1.8 volume 2, 13.4): for machines whose
 * firmware publishes no MADT.
 */
#ifndef BOOT_MP_SERVICES_H
#define BOOT_MP_SERVICES_H

#include <stdint.h>

/* APIC ids of the enabled CPUs into @apic_id, at most @max. @return how many; 0: it does not tell.
 */
uint32_t mp_services_cpus(uint32_t *apic_id, uint32_t max);

#endif
