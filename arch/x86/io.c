/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/io.h"

#include "arch/x86/vcpu.h"
#include "arch/x86/vuart.h"
#include "hv/vm.h"
#include "hv/vpci.h"

#define CF9_RESET      0x04u /* PC chipsets' reset control register */
#define KEYBOARD_RESET 0xfeu

static uint32_t uart_read(struct vm *vm, uint16_t port, unsigned)
{
    return vuart_read(vm, port - VUART_PORT);
}

static void uart_write(struct vm *vm, uint16_t port, unsigned, uint32_t value)
{
    vuart_write(vm, port - VUART_PORT, (uint8_t)value);
}

/* The two old ways to reset a PC end the VM; there is no restart. */
static uint32_t read_zero(struct vm *, uint16_t, unsigned)
{
    return 0;
}

static void reset_write(struct vm *vm, uint16_t port, unsigned, uint32_t value)
{
    if (port == 0xcf9 ? value & CF9_RESET : value == KEYBOARD_RESET)
        vm_end(vm, VM_END_SHUTDOWN, 0);
}

/* An access belongs to the first row that has all of its ports and its size. */
static const struct io_row {
    uint16_t first, last;
    uint8_t sizes; /* 1 | 2 | 4 */
    uint32_t (*read)(struct vm *vm, uint16_t port, unsigned size);
    void (*write)(struct vm *vm, uint16_t port, unsigned size, uint32_t value);
} ports[] = {
    { VUART_PORT, VUART_PORT + VUART_PORTS - 1, 1, uart_read, uart_write },
    { 0xcf9, 0xcf9, 1, read_zero, reset_write },
    { 0xcf8, 0xcff, 1 | 2 | 4, vpci_io_read, vpci_io_write },
    { 0x64, 0x64, 1, read_zero, reset_write },
};

static const struct io_row *row_of(uint16_t port, unsigned size)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        if (port >= ports[i].first && port + size - 1u <= ports[i].last && (ports[i].sizes & size))
            return &ports[i];
    }
    return NULL;
}

uint32_t io_read(struct vcpu *v, uint16_t port, unsigned size)
{
    const struct io_row *r = row_of(port, size);

    return r ? r->read(v->vm, port, size) : UINT32_MAX;
}

void io_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    const struct io_row *r = row_of(port, size);

    if (r)
        r->write(v->vm, port, size, value);
}
