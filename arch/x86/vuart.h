/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serial console of a VM: a 16550 without a receiver, at 0x3f8. What the guest sends goes to
 * the log by lines. There is no interrupt controller for its IRQ 4, so it raises no interrupt: a
 * driver must poll, as the early consoles of operating systems do. Lock: the VM's, inside.
 */
#ifndef ARCH_X86_VUART_H
#define ARCH_X86_VUART_H

#include <stdint.h>

#define VUART_PORT  0x3f8u
#define VUART_PORTS 8u

struct vm;

struct vuart {
    uint8_t ier, fcr, lcr, mcr, scratch, divisor[2];
    uint8_t length;
    char line[120];
};

/* @reg: 0 to 7. */
uint8_t vuart_read(struct vm *vm, unsigned reg);
void vuart_write(struct vm *vm, unsigned reg, uint8_t value);
/* Put out a line that has no end yet. */
void vuart_flush(struct vm *vm);

#endif
