/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration space: the memory window of the MCFG table where it reaches (PCIe 6.0 7.2.2),
 * else ports 0xCF8 and 0xCFC (PCI 3.0 3.2.2.3.2), which only know the first 256 bytes.
 */
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "hv/lock.h"
#include "hv/platform.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };

static struct lock ports = LOCK(RANK_PCI); /* the two ports between address and data */
static struct {
    volatile char *base;
    uint8_t first, last;
} ecam;

enum hv_status pci_config_ecam(paddr_t base, uint8_t first, uint8_t last)
{
    if (first > last)
        return HV_EINVAL;
    if (base.v & ((1u << 20) - 1))
        return HV_EALIGN;
    volatile void *p =
        mmio_map(PADDR(base.v + ((uint64_t)first << 20)), (last - first + 1ull) << 20);
    if (!p)
        return HV_ENOMEM;
    ecam.first = first;
    ecam.last = last;
    ecam.base = p;
    return HV_OK;
}

/* NULL: outside the window. */
static volatile char *ecam_address(rid_t rid, unsigned offset)
{
    unsigned bus = rid >> 8;

    if (!ecam.base || bus < ecam.first || bus > ecam.last)
        return NULL;
    return ecam.base + (((uint64_t)rid - ecam.first * 256u) << 12) + offset;
}

static bool valid(unsigned offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && offset % size == 0 && offset < 4096;
}

static uint16_t select_port(rid_t rid, unsigned offset)
{
    outl(CONFIG_ADDRESS, 0x80000000u | (uint32_t)rid << 8 | (offset & 0xfc));
    return (uint16_t)(CONFIG_DATA + (offset & 3));
}

/* Through EAX in both directions: AMD wants that for this window (family 10h BKDG 2.11). */
static uint32_t ecam_read(const volatile char *p, unsigned size)
{
    uint32_t v = 0;

    if (size == 1)
        __asm__ volatile("movb %1, %b0" : "+a"(v) : "m"(*p) : "memory");
    else if (size == 2)
        __asm__ volatile("movw %1, %w0" : "+a"(v) : "m"(*(const volatile uint16_t *)p) : "memory");
    else
        __asm__ volatile("movl %1, %0" : "+a"(v) : "m"(*(const volatile uint32_t *)p) : "memory");
    return v;
}

static void ecam_write(volatile char *p, unsigned size, uint32_t v)
{
    if (size == 1)
        __asm__ volatile("movb %b1, %0" : "=m"(*p) : "a"(v) : "memory");
    else if (size == 2)
        __asm__ volatile("movw %w1, %0" : "=m"(*(volatile uint16_t *)p) : "a"(v) : "memory");
    else
        __asm__ volatile("movl %1, %0" : "=m"(*(volatile uint32_t *)p) : "a"(v) : "memory");
}

uint32_t pci_config_read(rid_t rid, unsigned offset, unsigned size)
{
    volatile char *p = ecam_address(rid, offset);
    uint32_t ones = size == 4 ? 0xffffffffu : (1u << size * 8) - 1;

    if (!valid(offset, size) || (!p && offset > 255))
        return ones;
    if (p)
        return ecam_read(p, size);
    lock_take(&ports);
    uint16_t port = select_port(rid, offset);
    uint32_t v = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
    lock_drop(&ports);
    return v;
}

void pci_config_write(rid_t rid, unsigned offset, unsigned size, uint32_t value)
{
    volatile char *p = ecam_address(rid, offset);

    if (!valid(offset, size) || (!p && offset > 255))
        return;
    if (p) {
        ecam_write(p, size, value);
        return;
    }
    lock_take(&ports);
    uint16_t port = select_port(rid, offset);
    if (size == 1)
        outb(port, (uint8_t)value);
    else if (size == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
    lock_drop(&ports);
}
