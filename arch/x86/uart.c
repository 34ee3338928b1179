/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/uart.h"

#include "arch/x86/asm.h"
#include "hv/platform.h"

enum { THR = 0, DLL = 0, DLM = 1, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCR = 7 };
enum { LCR_8N1 = 0x03, LCR_DLAB = 0x80, FCR_ON_CLEAR = 0x07, MCR_DTR_RTS = 0x03, LSR_THRE = 0x20 };

/* One character takes 87 us at 115200 baud and a port read about 1 us: this waits for a hundred. */
#define WAIT_READS 10000u

static uint16_t base;

void uart_init(uint16_t port)
{
    if (port == 0)
        return;
    outb(port + SCR, 0x5a);
    if (inb(port + SCR) != 0x5a)
        return;
    outb(port + IER, 0);
    outb(port + LCR, LCR_DLAB);
    outb(port + DLL, 1);
    outb(port + DLM, 0);
    outb(port + LCR, LCR_8N1);
    outb(port + FCR, FCR_ON_CLEAR);
    outb(port + MCR, MCR_DTR_RTS);
    base = port;
}

/* A UART that stops sending loses characters, and is waited for once; it does not stop us. */
static void put(char c)
{
    static bool stuck;
    unsigned reads = stuck ? 1 : WAIT_READS;

    while (!(inb(base + LSR) & LSR_THRE) && --reads != 0)
        cpu_relax();
    stuck = reads == 0;
    outb(base + THR, (uint8_t)c);
}

void console_write(const char *text, size_t length)
{
    if (base == 0)
        return;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}
