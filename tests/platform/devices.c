/* SPDX-License-Identifier: BSD-2-Clause */
/* Registers, configuration space, interrupt messages: tables of handlers. */
#include <string.h>
#include <sys/mman.h>

#include "tests/platform/machine.h"

#define MMIO_MAX   32u
#define PCI_MAX    256u
#define IRQ_MAX    64u
#define IRQ_VECTOR 0x30u

static struct platform_mmio mmio[MMIO_MAX];
static unsigned nmmio;

/* What mmio_map gave: addresses that fault when used directly. */
static struct window {
    uintptr_t at;
    uint64_t base, size;
} windows[MMIO_MAX];
static unsigned nwindows;

static struct platform_pci *pci[PCI_MAX];
static unsigned npci;

static struct irq {
    void (*handler)(void *ctx);
    void *ctx;
} irqs[IRQ_MAX];
static unsigned nirqs;

#define DEVICE_VECTOR 0x30u /* of irq_alloc_on: as many as on hardware */
#define DEVICE_LAST   0xcfu

static struct irq cpu_irqs[CPUS_MAX][256];
static uint32_t apic_base;

void devices_fresh(void)
{
    memset(cpu_irqs, 0, sizeof(cpu_irqs));
    apic_base = 0x40;
    for (unsigned i = 0; i < nwindows; i++)
        munmap((void *)windows[i].at, windows[i].size);
    nmmio = nwindows = npci = nirqs = 0;
}

void platform_add_mmio(const struct platform_mmio *m)
{
    if (nmmio == MMIO_MAX)
        panic("platform_add_mmio: too many");
    mmio[nmmio++] = *m;
}

volatile void *mmio_map(paddr_t pa, size_t size)
{
    if ((pa.v | size) & PAGE_MASK)
        panic("mmio_map: %#llx + %#zx is not aligned", (unsigned long long)pa.v, size);
    if (nwindows == MMIO_MAX)
        return NULL;
    void *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    windows[nwindows++] = (struct window){ (uintptr_t)at, pa.v, size };
    return at;
}

/* Device and offset behind a window address. Absent devices read as ones, as on a bus. */
static const struct platform_mmio *resolve(const volatile void *base, uint32_t offset,
                                           unsigned size, uint32_t *reg)
{
    uintptr_t at = (uintptr_t)base + offset;

    if (at % size)
        panic("mmio access of %u bytes at offset %#x", size, offset);
    for (unsigned w = 0; w < nwindows; w++) {
        if (at - windows[w].at >= windows[w].size)
            continue;
        uint64_t pa = windows[w].base + (at - windows[w].at);
        for (unsigned i = 0; i < nmmio; i++) {
            if (pa - mmio[i].base < mmio[i].size) {
                *reg = (uint32_t)(pa - mmio[i].base);
                return &mmio[i];
            }
        }
        return NULL;
    }
    panic("mmio access outside what was mapped: offset %#x", offset);
}

static uint64_t mmio_read(const volatile void *base, uint32_t offset, unsigned size)
{
    uint32_t reg;
    const struct platform_mmio *m = resolve(base, offset, size, &reg);

    return m ? m->read(m->ctx, reg, size) : ~0ull;
}

static void mmio_write(volatile void *base, uint32_t offset, unsigned size, uint64_t value)
{
    uint32_t reg;
    const struct platform_mmio *m = resolve(base, offset, size, &reg);

    if (m)
        m->write(m->ctx, reg, size, value);
}

uint32_t mmio_read32(const volatile void *base, uint32_t offset)
{
    return (uint32_t)mmio_read(base, offset, 4);
}

uint64_t mmio_read64(const volatile void *base, uint32_t offset)
{
    return mmio_read(base, offset, 8);
}

void mmio_write32(volatile void *base, uint32_t offset, uint32_t value)
{
    mmio_write(base, offset, 4, value);
}

void mmio_write64(volatile void *base, uint32_t offset, uint64_t value)
{
    mmio_write(base, offset, 8, value);
}

void platform_add_pci(struct platform_pci *function)
{
    for (unsigned i = 0; i < npci; i++) {
        if (pci[i]->rid == function->rid) {
            pci[i] = function;
            return;
        }
    }
    if (npci == PCI_MAX)
        panic("platform_add_pci: too many");
    pci[npci++] = function;
}

void platform_put(uint8_t *bytes, unsigned offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

void platform_pci_endpoint(struct platform_pci *f, rid_t rid, uint16_t vendor, uint16_t device,
                           uint64_t bar, uint64_t bar_size)
{
    *f = (struct platform_pci){ .rid = rid };
    platform_put(f->config, 0x00, 2, vendor);
    platform_put(f->config, 0x02, 2, device);
    platform_put(f->config, 0x0a, 2, 0x0880); /* class: system peripheral */
    platform_put(f->writable, 0x04, 2, 0x0407);
    platform_put(f->writable, 0x0c, 1, 0xff);
    platform_put(f->writable, 0x3c, 1, 0xff);
    if (bar_size) {
        platform_put(f->config, 0x10, 8, bar | 4); /* 64-bit memory */
        platform_put(f->writable, 0x10, 8, ~(bar_size - 1));
    }
}

static struct platform_pci *function_at(rid_t rid, unsigned offset, unsigned size)
{
    if ((size != 1 && size != 2 && size != 4) || offset % size || offset + size > 4096)
        panic("configuration access of %u bytes at %#x", size, offset);
    for (unsigned i = 0; i < npci; i++) {
        if (pci[i]->rid == rid)
            return pci[i];
    }
    return NULL;
}

uint32_t pci_config_read(rid_t rid, unsigned offset, unsigned size)
{
    struct platform_pci *f = function_at(rid, offset, size);
    uint32_t value = 0;

    if (!f)
        return size == 4 ? ~0u : (1u << (8 * size)) - 1;
    if (f->read)
        return f->read(f->ctx, offset, size);
    memcpy(&value, f->config + offset, size);
    return value;
}

void pci_config_write(rid_t rid, unsigned offset, unsigned size, uint32_t value)
{
    struct platform_pci *f = function_at(rid, offset, size);

    if (!f)
        return;
    if (f->write) {
        f->write(f->ctx, offset, size, value);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = f->writable[offset + i];
        f->config[offset + i] &= (uint8_t)~mask;
        f->config[offset + i] |= (uint8_t)(value >> (8 * i)) & mask;
    }
}

enum hv_status irq_alloc(void (*handler)(void *ctx), void *ctx, struct irq_message *out)
{
    if (nirqs == IRQ_MAX)
        return HV_ENOMEM;
    *out = (struct irq_message){ .address = 0xfee00000, .data = IRQ_VECTOR + nirqs };
    irqs[nirqs++] = (struct irq){ handler, ctx };
    return HV_OK;
}

bool platform_interrupt(uint64_t address, uint32_t data)
{
    uint32_t n = data - IRQ_VECTOR;

    if (address != 0xfee00000 || n >= nirqs)
        return false;
    irqs[n].handler(irqs[n].ctx);
    return true;
}

void platform_set_apic_base(uint32_t id)
{
    apic_base = id;
}

enum hv_status irq_alloc_on(unsigned cpu, void (*handler)(void *ctx), void *ctx,
                            struct irq_target *out)
{
    for (unsigned v = DEVICE_VECTOR; v <= DEVICE_LAST; v++) {
        if (cpu_irqs[cpu][v].handler)
            continue;
        cpu_irqs[cpu][v] = (struct irq){ handler, ctx };
        *out = (struct irq_target){ apic_base + cpu, (uint8_t)v };
        return HV_OK;
    }
    return HV_EBUSY;
}

void irq_free_on(unsigned cpu, uint8_t vector)
{
    if (!cpu_irqs[cpu][vector].handler)
        panic("irq_free_on: vector %#x of CPU %u is free", vector, cpu);
    cpu_irqs[cpu][vector] = (struct irq){ 0 };
}

unsigned platform_vectors_used(void)
{
    unsigned n = 0;

    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        for (unsigned v = 0; v < 256; v++)
            n += cpu_irqs[cpu][v].handler != NULL;
    }
    return n;
}

bool platform_interrupt_on(uint32_t apic_id, uint8_t vector)
{
    uint32_t cpu = apic_id - apic_base;

    if (cpu >= CPUS_MAX || !cpu_irqs[cpu][vector].handler)
        return false;
    cpu_irqs[cpu][vector].handler(cpu_irqs[cpu][vector].ctx);
    return true;
}
