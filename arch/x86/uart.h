/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console: a 16550 (PC16550D data sheet), write only, polled, 115200 baud 8N1.
 */
#ifndef ARCH_X86_UART_H
#define ARCH_X86_UART_H

#include <stdint.h>

/* @port: IO port of its first register; 0, or no 16550 there: console_write() drops everything. */
void uart_init(uint16_t port);

#endif
