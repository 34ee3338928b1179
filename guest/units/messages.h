/* SPDX-License-Identifier: BSD-2-Clause */
/* Counting interrupts: those that were asked for, and strays. */
#ifndef GUEST_UNITS_MESSAGES_H
#define GUEST_UNITS_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Count on all vectors from now on. */
void messages_count(void);
/* Let interrupts in for @us. */
void messages_listen(uint64_t us);
/* That came as asked for, on vCPU 0; and others, on any. */
uint32_t messages_seen(void);
uint32_t messages_strays(void);
/* dev's interrupt goes to @vcpu from now on. */
bool messages_aim(uint32_t vcpu);

#endif
