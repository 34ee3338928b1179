/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/ioapic.h"

#include "arch/x86/asm.h"
#include "hv/log.h"
#include "hv/platform.h"

enum { PIC1_MASK = 0x21, PIC2_MASK = 0xa1 };

/* 82093AA data sheet, chapter 3 */
enum { IOREGSEL = 0x00, IOWIN = 0x10, IOAPICVER = 1, IOREDTBL = 0x10 };
#define REDIRECT_MASKED (1u << 16)

void pic_mask(void)
{
    outb(PIC1_MASK, 0xff);
    outb(PIC2_MASK, 0xff);
}

static uint32_t reg_read(volatile void *regs, uint32_t reg)
{
    mmio_write32(regs, IOREGSEL, reg);
    return mmio_read32(regs, IOWIN);
}

static void reg_write(volatile void *regs, uint32_t reg, uint32_t value)
{
    mmio_write32(regs, IOREGSEL, reg);
    mmio_write32(regs, IOWIN, value);
}

void ioapic_mask(paddr_t base)
{
    uint32_t in_page = base.v & PAGE_MASK;
    volatile void *page = mmio_map(PADDR(base.v - in_page), PAGE_SIZE);

    if (!page || in_page > PAGE_SIZE - IOWIN - 4) {
        log_warn("ioapic", "0x%lx cannot be mapped: its inputs stay as firmware left them", base.v);
        return;
    }
    volatile void *regs = (volatile char *)page + in_page;
    unsigned last = reg_read(regs, IOAPICVER) >> 16 & 0xff;
    for (unsigned i = 0; i <= last && last < 240; i++)
        reg_write(regs, IOREDTBL + 2 * i, REDIRECT_MASKED);
}
