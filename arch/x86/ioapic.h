/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interrupt controllers that Sluice does not use. All it takes is messages (MSI), so all it
 * asks of these is silence.
 */
#ifndef ARCH_X86_IOAPIC_H
#define ARCH_X86_IOAPIC_H

#include "hv/types.h"

/* Mask both 8259s. */
void pic_mask(void);
/* Mask every input of the IO APIC at @base. */
void ioapic_mask(paddr_t base);

#endif
