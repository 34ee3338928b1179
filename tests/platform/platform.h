/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine that hv/platform.h speaks of, on the host. Memory is an arena of made-up physical
 * addresses; device registers and configuration space go to handlers; time is a counter; interrupts
 * are calls; the log is kept. A test of the core starts like this:
 *
 *     return cmocka_run_group_tests(tests, platform_setup, platform_check);
 *
 * and each test may be wrapped in platform_test(f): fresh handlers, no page of the pool leaked.
 * SLUICE_LOG=1 in the environment shows the log on stderr.
 */
#ifndef TESTS_PLATFORM_PLATFORM_H
#define TESTS_PLATFORM_PLATFORM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/platform.h"
#include "hv/types.h"

/* --- Set-up ----------------------------------------------------------------------------------- */

#define PLATFORM_RAM_BASE  0x100000000ull /* of the arena */
#define PLATFORM_RAM_SIZE  (1024ull << 20)
#define PLATFORM_POOL_SIZE (256ull << 20) /* the first part of the arena: the pool of pages */

int platform_setup(void **state); /* cmocka group set-up: makes the machine once */
int platform_fresh(void **state); /* test set-up: no handlers, hooks or interrupts; budget off */
int platform_check(void **state); /* test tear-down: fails if pages of the pool leaked */
#define platform_test(f) cmocka_unit_test_setup_teardown(f, platform_fresh, platform_check)

/* --- Memory ----------------------------------------------------------------------------------- */

/* Zeroed memory outside the pool, 2 MiB aligned (RAM of a guest); until the next platform_fresh().
 */
paddr_t platform_ram(uint64_t size);
/* Host address of [hpa, hpa + size), NULL if not all of it is in the arena: for a model's bus. */
void *platform_memory(uint64_t hpa, uint64_t size);

/* Another CPU changes the page at @hpa between two instructions: right after the next one that
 * touches it, @change runs. Once. */
void platform_change_after_touch(uint64_t hpa, void (*change)(void));

struct platform_hooks {
    void *ctx;
    /* After each store64, store128 and word of store64_run; hpa 0 if not in the arena. */
    void (*store)(void *ctx, uint64_t hpa, unsigned size);
    void (*flush)(void *ctx, uint64_t hpa, uint64_t size); /* cache_flush */
    void (*relax)(void *ctx);                              /* cpu_relax: let a model work */
};
void platform_set_hooks(const struct platform_hooks *hooks); /* copied; NULL: none */

/* --- Devices ---------------------------------------------------------------------------------- */

/* Registers at [base, base + size). mmio_map of any page within gives a window on them. */
struct platform_mmio {
    uint64_t base, size;
    void *ctx;
    uint64_t (*read)(void *ctx, uint32_t offset, unsigned size);
    void (*write)(void *ctx, uint32_t offset, unsigned size, uint64_t value);
};
void platform_add_mmio(const struct platform_mmio *mmio);

/* A PCI function: own handlers, or (read NULL) plain bytes of which only `writable` bits change. */
struct platform_pci {
    rid_t rid;
    void *ctx;
    uint32_t (*read)(void *ctx, unsigned offset, unsigned size);
    void (*write)(void *ctx, unsigned offset, unsigned size, uint32_t value);
    uint8_t config[4096], writable[4096];
};
/* In place of one with its requester id, if there is. The structure stays the caller's and in use
 * until platform_fresh(). */
void platform_add_pci(struct platform_pci *function);
/* Fill in config/writable of a plain endpoint (type 0) with one memory BAR of @bar_size at @bar. */
void platform_pci_endpoint(struct platform_pci *f, rid_t rid, uint16_t vendor, uint16_t device,
                           uint64_t bar, uint64_t bar_size);
/* Store a little-endian value of 1, 2, 4 or 8 bytes into config (or writable). */
void platform_put(uint8_t *bytes, unsigned offset, unsigned size, uint64_t value);

/* Deliver a message to what irq_alloc gave it to. @return false: nobody's (the test decides). */
bool platform_interrupt(uint64_t address, uint32_t data);
/* The same for irq_alloc_on. CPU n has APIC id base + n; the base is 0x40 until set. */
bool platform_interrupt_on(uint32_t apic_id, uint8_t vector);
void platform_set_apic_base(uint32_t id);
unsigned platform_vectors_used(void);

/* --- Time, CPUs, log, panic ------------------------------------------------------------------- */

/* 1,000 ticks are 1 us. time_now() passes 0.1 us, cpu_relax() 1 us, and this: */
void platform_pass_us(uint64_t us);
void platform_set_cpus(unsigned count, unsigned current); /* current: the calling thread's */

bool platform_logged(const char *text); /* since platform_fresh() or the last clear */
void platform_clear_log(void);
const char *platform_log(void);

/* Does fn(arg) panic? Then *text (may be NULL) is the message. Locks it held are forgotten. */
bool platform_panics(void (*fn)(void *arg), void *arg, const char **text);

#endif
