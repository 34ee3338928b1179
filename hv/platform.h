/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the core and the IOMMU driver need of the machine. arch/x86 implements it on hardware,
 * tests/platform on the host. Nothing here knows a VM.
 */
#ifndef HV_PLATFORM_H
#define HV_PLATFORM_H

#include "hv/types.h"

#define CPUS_MAX 256u

/* All RAM is mapped at one offset (on hardware: a direct map, not executable). */
extern uintptr_t phys_offset;

static inline void *phys_to_virt(paddr_t p)
{
    return (void *)(phys_offset + p.v);
}

/* Only for addresses that phys_to_virt gave. */
static inline paddr_t virt_to_phys(const void *v)
{
    return PADDR((uintptr_t)v - phys_offset);
}

/* Map device registers, uncached. @pa, @size: multiples of 4 KiB. NULL: no address space or tables
 * left. Boot only; never unmapped. */
volatile void *mmio_map(paddr_t pa, size_t size);
uint32_t mmio_read32(const volatile void *base, uint32_t offset);
uint64_t mmio_read64(const volatile void *base, uint32_t offset);
void mmio_write32(volatile void *base, uint32_t offset, uint32_t value);
void mmio_write64(volatile void *base, uint32_t offset, uint64_t value);

/* Stores that hardware may observe. The 16-byte one is a single access (SDM 3A 9.1.1); @p aligned.
 */
void store64(uint64_t *p, uint64_t value);
void store128(uint64_t p[2], uint64_t lo, uint64_t hi);
/* @n words from @p on: value, value + step, ... ascending, one store each (page-table runs). */
void store64_run(uint64_t *p, unsigned n, uint64_t value, uint64_t step);
/* Write back the lines of [p, p + size) and wait until they are visible to non-snooping hardware.
 */
SELDOM void cache_flush(const void *p, size_t size);

/* Monotonic time in ticks, and ticks per microsecond (at least 1, constant after boot). */
uint64_t time_now(void);
uint64_t time_ticks_per_us(void);
/* One turn of a waiting loop. */
void cpu_relax(void);
/* Wait that long, taking interrupts meanwhile: with no lock held. */
void cpu_wait_us(uint32_t us);
unsigned cpu_index(void); /* 0 to cpu_count() - 1; 0 is the boot CPU */
unsigned cpu_count(void);

/* PCI configuration space. @offset: 0 to 4095, aligned to @size 1, 2 or 4. Absent: all ones. */
uint32_t pci_config_read(rid_t rid, unsigned offset, unsigned size);
void pci_config_write(rid_t rid, unsigned offset, unsigned size, uint32_t value);

/* A message-signalled interrupt for Sluice itself, delivered to the boot CPU. @handler runs with
 * interrupts off and no lock held. HV_ENOMEM: no vector left. Boot only. */
struct irq_message {
    uint32_t address, upper_address, data;
};
enum hv_status irq_alloc(void (*handler)(void *ctx), void *ctx, struct irq_message *out);

/* A vector of CPU @cpu, for an interrupt of a guest's device: there @handler runs, with interrupts
 * off and no lock held; it may be short of interrupts (two are one) and see one too many. Any time.
 * HV_EBUSY: that CPU has none left; HV_ENOMEM. */
struct irq_target {
    uint32_t apic_id;
    uint8_t vector;
};
enum hv_status irq_alloc_on(unsigned cpu, void (*handler)(void *ctx), void *ctx,
                            struct irq_target *out);
/* Its source is silenced already. On return the handler runs nowhere. Not from a handler. */
void irq_free_on(unsigned cpu, uint8_t vector);

/* Call @fn every @period_us on the boot CPU, with no lock held. Called on the boot CPU; one user.
 */
void platform_periodic(void (*fn)(void), uint32_t period_us);

/* Bytes to the console, as they are. The log's; everyone else uses hv/log.h. */
void console_write(const char *text, size_t length);

#endif
