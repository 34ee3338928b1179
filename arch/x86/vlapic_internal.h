/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between vlapic.c, vlapic_icr.c and vlapic_timer.c. The handlers have the shape of the register
 * table in vlapic.c: @n counts registers within a row.
 */
#ifndef ARCH_X86_VLAPIC_INTERNAL_H
#define ARCH_X86_VLAPIC_INTERNAL_H

#include "arch/x86/vlapic.h"

#define LVT_MASKED          0x10000u
#define LVT_TIMER_MODE      0x60000u
#define LVT_TIMER_ONCE      0x00000u
#define LVT_TIMER_PERIODIC  0x20000u
#define LVT_TIMER_DEADLINE  0x40000u
#define SVR_ENABLED         0x100u
#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u

/* Cluster 31:16, one bit in it 15:0. SDM 3A 11.12.10.2 */
static inline uint32_t vlapic_logical_id(uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

void vlapic_error(struct vlapic *l, uint32_t bit);
/* A local source fires. */
void vlapic_local(struct vlapic *l, enum vlapic_lvt which);

void vlapic_icr_write(struct vlapic *l, unsigned n, uint64_t value);

void vlapic_timer_fired(struct timer *t);
void vlapic_timer_mode(struct vlapic *l, uint32_t lvt); /* LVT_TIMER is about to become @lvt */
uint64_t vlapic_timer_initial(struct vlapic *l, unsigned n);
void vlapic_timer_start(struct vlapic *l, unsigned n, uint64_t count);
uint64_t vlapic_timer_count(struct vlapic *l, unsigned n);
uint64_t vlapic_timer_divide(struct vlapic *l, unsigned n);
void vlapic_timer_set_divide(struct vlapic *l, unsigned n, uint64_t value);
uint64_t vlapic_timer_deadline(struct vlapic *l);
void vlapic_timer_set_deadline(struct vlapic *l, uint64_t tsc);

#endif
