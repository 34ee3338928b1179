/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC in x2APIC mode (SDM 3A 11.12). Whatever is sent here goes out after all earlier
 * stores.
 */
#ifndef ARCH_X86_APIC_H
#define ARCH_X86_APIC_H

#include <stdbool.h>
#include <stdint.h>

bool apic_present(void);
/* apic_init() was here: the calling CPU can send. */
bool apic_ready(void);
/* On each CPU: x2APIC mode, all local sources masked but NMI. @return its APIC id. */
uint32_t apic_init(void);
void apic_eoi(void);
/* Reads and clears the error status. */
uint32_t apic_errors(void);

void apic_send(uint32_t apic_id, uint8_t vector);
void apic_send_init(uint32_t apic_id);
void apic_send_sipi(uint32_t apic_id, uint8_t page);
void apic_send_nmi(uint32_t apic_id);
void apic_send_nmi_others(void);
void apic_send_init_others(void);

/* The timer, interrupting with VECTOR_TIMER. */
void apic_timer_mode(bool tsc_deadline);
void apic_timer_start(uint32_t count); /* one-shot mode; 0 stops */
uint32_t apic_timer_left(void);

#endif
