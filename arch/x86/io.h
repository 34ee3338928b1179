/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The IO ports of a guest. What is not in the table reads as all ones and ignores writes, as a bus
 * without a device there does.
 */
#ifndef ARCH_X86_IO_H
#define ARCH_X86_IO_H

#include <stdint.h>

struct vcpu;

/* @size: 1, 2 or 4 bytes. */
uint32_t io_read(struct vcpu *v, uint16_t port, unsigned size);
void io_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);

#endif
