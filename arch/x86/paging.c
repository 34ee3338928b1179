/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/paging.h"

#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/image.h"
#include "hv/claims.h"
#include "hv/log.h"
#include "hv/pt.h"

#define VA_MASK     0x0000ffffffffffffull /* pt counts from 0 */
#define LARGE_PAGE  0x200000ull
#define STACKS_STEP 0x10000ull
static_assert(sizeof(struct cpu_stacks) + PAGE_SIZE <= STACKS_STEP);

uintptr_t phys_offset = BOOT_PHYS_OFFSET;

[[gnu::aligned(PAGE_SIZE)]] struct cpu_stacks boot_stacks;

static struct pt tables;
static uint64_t mmio_next = PAGING_MMIO;

static enum hv_status map(uint64_t va, uint64_t pa, uint64_t size, unsigned perm)
{
    return pt_map(&tables, PTADDR(va & VA_MASK), PADDR(pa), size, perm);
}

/* At boot, without which nothing runs. */
static void map_or_panic(const char *what, uint64_t va, uint64_t pa, uint64_t size, unsigned perm)
{
    if (size == 0)
        return;
    enum hv_status s = map(va, pa, size, perm);
    if (s != HV_OK)
        panic("paging: %s at 0x%lx (physical 0x%lx, 0x%lx bytes): status %d", what, va, pa, size,
              (int)s);
}

static bool mapped(uint64_t va)
{
    struct pt_leaf leaf;

    return pt_lookup(&tables, PTADDR(va & VA_MASK & ~PAGE_MASK), &leaf);
}

static void map_image(const char *what, const struct bootinfo *boot, const uint8_t *start,
                      const uint8_t *end, unsigned perm)
{
    map_or_panic(what, (uint64_t)start, boot->image.base + (uint64_t)(start - __image_start),
                 (uint64_t)(end - start), perm);
}

/* Data and bss, with holes for the guard pages of the boot CPU's stacks. */
static void map_image_data(const struct bootinfo *boot)
{
    const uint8_t *from = __data_start;
    const uint8_t *const guards[] = { boot_stacks.guard, boot_stacks.trap[0].guard,
                                      boot_stacks.trap[1].guard, boot_stacks.trap[2].guard };
    static_assert(ARRAY_SIZE(guards) == 1 + CPU_STACK_TRAPS);

    for (unsigned i = 0; i < ARRAY_SIZE(guards); i++) {
        map_image("data", boot, from, guards[i], PT_R | PT_W);
        from = guards[i] + CPU_STACK_GUARD;
    }
    map_image("data", boot, from, __image_end, PT_R | PT_W);
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* [base, end), where the image's code and constants [ro, ro_end) stay read only. */
static void map_ram(uint64_t base, uint64_t end, uint64_t ro, uint64_t ro_end)
{
    uint64_t a = clamp(ro, base, end), b = clamp(ro_end, base, end);

    map_or_panic("RAM", phys_offset + base, base, a - base, PT_R | PT_W);
    map_or_panic("RAM", phys_offset + a, a, b - a, PT_R);
    map_or_panic("RAM", phys_offset + b, b, end - b, PT_R | PT_W);
}

void arch_paging_init(const struct bootinfo *boot)
{
    bool pages_1g = cpuid(0x80000001, 0).edx >> 26 & 1;
    uint64_t ro_end = boot->image.base + (uint64_t)(__rodata_end - __image_start);

    if (read_cr4() & CR4_LA57)
        panic("paging: entered with five levels");
    enum hv_status s = pt_create(&tables, &pt_format_x86, NULL, 4, pages_1g ? 3 : 1, false);
    if (s != HV_OK)
        panic("paging: no memory for tables (status %d)", (int)s);

    map_image("code", boot, __text_start, __text_end, PT_R | PT_X);
    map_image("constants", boot, __rodata_start, __rodata_end, PT_R);
    map_image_data(boot);
    for (unsigned i = 0; i < boot->nmemory; i++) {
        const struct boot_memory *m = &boot->memory[i];
        if (m->kind == BOOT_RAM || m->kind == BOOT_ACPI)
            map_ram(m->base, m->base + m->size, boot->image.base, ro_end);
    }
    /* Some firmware keeps the root pointer in its own area. */
    if (boot->rsdp != 0 && !mapped(phys_offset + boot->rsdp))
        map_or_panic("RSDP", phys_offset + (boot->rsdp & ~PAGE_MASK), boot->rsdp & ~PAGE_MASK,
                     PAGE_SIZE, PT_R);
    write_cr3(paging_root().v);
}

paddr_t paging_root(void)
{
    return virt_to_phys(tables.root);
}

static enum hv_status map_new_pages(const void *va, size_t size)
{
    for (size_t done = 0; done < size; done += PAGE_SIZE) {
        void *page;
        enum hv_status s = pages_alloc(NULL, 0, &page);
        if (s == HV_OK)
            s = map((uint64_t)va + done, virt_to_phys(page).v, PAGE_SIZE, PT_R | PT_W);
        if (s != HV_OK)
            return s; /* boot stops: nothing is given back */
    }
    return HV_OK;
}

struct cpu_stacks *paging_stacks(unsigned index)
{
    struct cpu_stacks *s = (struct cpu_stacks *)(PAGING_STACKS + index * STACKS_STEP);

    if (map_new_pages(s->main, sizeof(s->main)) != HV_OK)
        return NULL;
    for (unsigned i = 0; i < CPU_STACK_TRAPS; i++) {
        if (map_new_pages(s->trap[i].stack, sizeof(s->trap[i].stack)) != HV_OK)
            return NULL;
    }
    return s;
}

volatile void *mmio_map(paddr_t pa, size_t size)
{
    /* As far into a large page as the registers are, so that large regions get large leaves. The
     * page after each is left out. */
    uint64_t va = ((mmio_next + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1)) + (pa.v & (LARGE_PAGE - 1));

    if (size == 0 || pa.v + size < pa.v || va + size > PAGING_MMIO + PAGING_MMIO_SIZE)
        return NULL;
    /* A table of the firmware that calls RAM a device would give it two memory types. */
    if (mapped(phys_offset + pa.v) || mapped(phys_offset + pa.v + size - 1)) {
        log_error("paging", "0x%lx is RAM, not device registers", pa.v);
        return NULL;
    }
    if (map(va, pa.v, size, PT_R | PT_W | PT_UC) != HV_OK)
        return NULL;
    claims_add(pa, size);
    mmio_next = va + size + PAGE_SIZE;
    return (volatile void *)va;
}
