/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers of the PC16550D data sheet, section 8. The transmitter is always ready.
 */
#include "arch/x86/vuart.h"

#include "hv/log.h"
#include "hv/vm.h"

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCRATCH };

#define LCR_DLAB   0x80u
#define MCR_LOOP   0x10u
#define LSR_EMPTY  0x60u /* holding and shift register */
#define MSR_LINES  0xb0u /* CTS, DSR, DCD */
#define IIR_NONE   0x01u
#define IIR_FIFO   0xc0u
#define FCR_ENABLE 0x01u

static void put_line(struct vm *vm, struct vuart *u)
{
    if (u->length)
        log_guest(vm->name, u->line, u->length);
    u->length = 0;
}

/* No escape sequence of a guest reaches the terminal. */
static char printable(char c)
{
    if (c == '\t')
        return ' ';
    return c >= ' ' && c <= '~' ? c : '.';
}

static void transmit(struct vm *vm, struct vuart *u, char c)
{
    if (c == '\r')
        return;
    if (c != '\n')
        u->line[u->length++] = printable(c);
    if (c == '\n' || u->length == sizeof(u->line))
        put_line(vm, u);
}

/* In loop-back the outputs of MCR come back as the lines of MSR: DTR, RTS, OUT1, OUT2. */
static uint8_t modem_status(const struct vuart *u)
{
    unsigned m = u->mcr;

    if (!(m & MCR_LOOP))
        return MSR_LINES;
    return (uint8_t)((m & 1) << 5 | (m & 2) << 3 | (m & 4) << 4 | (m & 8) << 4);
}

uint8_t vuart_read(struct vm *vm, unsigned reg)
{
    struct vuart *u = vm->vuart;
    uint8_t value = 0;

    lock_take(&vm->lock);
    switch (reg) {
    case DATA: value = u->lcr & LCR_DLAB ? u->divisor[0] : 0; break;
    case IER: value = u->lcr & LCR_DLAB ? u->divisor[1] : u->ier; break;
    case IIR_FCR: value = IIR_NONE | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0); break;
    case LCR: value = u->lcr; break;
    case MCR: value = u->mcr; break;
    case LSR: value = LSR_EMPTY; break;
    case MSR: value = modem_status(u); break;
    case SCRATCH: value = u->scratch; break;
    }
    lock_drop(&vm->lock);
    return value;
}

void vuart_write(struct vm *vm, unsigned reg, uint8_t value)
{
    struct vuart *u = vm->vuart;

    lock_take(&vm->lock);
    switch (reg) {
    case DATA:
        if (u->lcr & LCR_DLAB)
            u->divisor[0] = value;
        else if (!(u->mcr & MCR_LOOP))
            transmit(vm, u, (char)value);
        break;
    case IER:
        if (u->lcr & LCR_DLAB)
            u->divisor[1] = value;
        else
            u->ier = value & 0xf;
        break;
    case IIR_FCR: u->fcr = value; break;
    case LCR: u->lcr = value; break;
    case MCR: u->mcr = value & 0x1f; break;
    case SCRATCH: u->scratch = value; break;
    }
    lock_drop(&vm->lock);
}

void vuart_flush(struct vm *vm)
{
    lock_take(&vm->lock);
    put_line(vm, vm->vuart);
    lock_drop(&vm->lock);
}
