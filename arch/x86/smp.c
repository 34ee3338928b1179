/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting the other CPUs (SDM 3A 9.4.4): INIT to all, then SIPI and a bounded wait for one after
 * the other.
 */
#include <string.h>

#include "arch/x86/apic.h"
#include "arch/x86/arch.h"
#include "arch/x86/asm.h"
#include "arch/x86/cpu.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/paging.h"
#include "arch/x86/speculation.h"
#include "arch/x86/vcpu.h"
#include "hv/log.h"
#include "hv/pages.h"

#define LOW_END        0xa0000ull /* SIPI reaches 1 MiB, and video memory begins here */
#define INIT_WAIT_US   10000u
#define SIPI_WAIT_US   200u
#define ONLINE_WAIT_US 2000000u

#define TABLE_LINK  0x03ull /* present, write */
#define TABLE_LARGE 0x80ull

extern const uint8_t trampoline_start[], trampoline_long[], trampoline_long_end[];

/* For ap_entry in trampoline.S: one CPU comes up at a time. */
uint64_t ap_cr3, ap_stack;
struct cpu *ap_starting;

static _Atomic enum hv_status ap_status;

[[noreturn]] void ap_main(struct cpu *c);

void ap_main(struct cpu *c)
{
    cpu_init(c);
    uint32_t id = apic_init();
    if (id != c->apic_id)
        panic("smp: CPU %u has APIC id %u, not %u", c->index, (unsigned)id, (unsigned)c->apic_id);
    timer_cpu_init();
    machine_check_enable();
    speculation_enable();
    atomic_store(&ap_status, vcpu_ops->cpu_enable());
    atomic_store(&c->online, true);
    vcpu_cpu_loop();
}

static bool overlap(uint64_t a, uint64_t size, struct boot_range r)
{
    return a < r.base + r.size && r.base < a + size;
}

static bool taken(const struct bootinfo *boot, uint64_t a, uint64_t size)
{
    bool hit = overlap(a, size, boot->loader) || overlap(a, size, boot->image) ||
               overlap(a, size, boot->pool);

    for (unsigned i = 0; i < boot->nvms && !hit; i++) {
        const struct boot_vm *v = &boot->vm[i];
        const struct boot_range kernel = { v->kernel.base, v->kernel.size };
        const struct boot_range ramdisk = { v->ramdisk.base, v->ramdisk.size };
        hit = overlap(a, size, v->ram) || overlap(a, size, kernel) || overlap(a, size, ramdisk);
    }
    return hit;
}

/* Free pages for the trampoline and its tables. 0: none. */
static uint64_t find_low_pages(const struct bootinfo *boot)
{
    const uint64_t size = TRAMPOLINE_PAGES * PAGE_SIZE;

    for (unsigned i = 0; i < boot->nmemory; i++) {
        const struct boot_memory *m = &boot->memory[i];
        uint64_t end = m->base + m->size < LOW_END ? m->base + m->size : LOW_END;
        if (m->kind != BOOT_RAM)
            continue;
        for (uint64_t a = m->base ? m->base : PAGE_SIZE; a + size <= end; a += PAGE_SIZE) {
            if (!taken(boot, a, size))
                return a;
        }
    }
    return 0;
}

static void put32(uint8_t *p, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    memcpy(p, &v, sizeof(v));
}

/* The page, then tables: our own upper half, and the first 2 MiB at identity. */
static void make_trampoline(uint64_t base)
{
    static const uint64_t gdt[] = { 0, GDT_CODE, GDT_DATA };
    uint8_t *page = phys_to_virt(PADDR(base));
    uint64_t *table = phys_to_virt(PADDR(base + PAGE_SIZE));
    const uint64_t *own = phys_to_virt(paging_root());
    size_t code = (size_t)(trampoline_long_end - trampoline_start);

    hv_assert(code <= TRAMPOLINE_DATA);
    memset(page, 0, TRAMPOLINE_PAGES * PAGE_SIZE);
    memcpy(page, trampoline_start, code);
    memcpy(page + TRAMPOLINE_GDT, gdt, sizeof(gdt));
    put32(page + TRAMPOLINE_CR3, base + PAGE_SIZE);
    page[TRAMPOLINE_GDTR] = sizeof(gdt) - 1;
    put32(page + TRAMPOLINE_GDTR + 2, base + TRAMPOLINE_GDT);
    put32(page + TRAMPOLINE_JUMP, base + (uint64_t)(trampoline_long - trampoline_start));
    page[TRAMPOLINE_JUMP + 4] = SEL_CODE;

    memcpy(table + 256, own + 256, 256 * sizeof(*table));
    table[0] = (base + 2 * PAGE_SIZE) | TABLE_LINK;
    table[512] = (base + 3 * PAGE_SIZE) | TABLE_LINK;
    table[1024] = TABLE_LARGE | TABLE_LINK;
}

static enum hv_status make_cpu(unsigned index, uint32_t apic_id, struct cpu **out)
{
    void *page;

    static_assert(sizeof(struct cpu) <= PAGE_SIZE);
    enum hv_status s = pages_alloc(NULL, 0, &page);
    if (s != HV_OK)
        return s;
    struct cpu *c = page;
    c->index = index;
    c->apic_id = apic_id;
    c->stacks = paging_stacks(index);
    if (!c->stacks)
        return HV_ENOMEM;
    *out = c;
    return HV_OK;
}

static bool came_online(struct cpu *c, uint64_t us)
{
    for (uint64_t start = time_now(); time_now() - start < us * time_ticks_per_us();) {
        if (atomic_load(&c->online))
            return true;
        cpu_relax();
    }
    return atomic_load(&c->online);
}

static enum hv_status start_cpu(uint64_t trampoline, unsigned index, uint32_t apic_id)
{
    struct cpu *c;
    enum hv_status s = make_cpu(index, apic_id, &c);

    if (s != HV_OK) {
        log_error("smp", "CPU %u: no memory for its stacks", index);
        return s;
    }
    ap_cr3 = paging_root().v;
    ap_starting = c;
    ap_stack = (uint64_t)c->stacks + CPU_MAIN_TOP;
    cpu_register(c);

    apic_send_sipi(apic_id, (uint8_t)(trampoline >> PAGE_SHIFT));
    if (!came_online(c, SIPI_WAIT_US))
        apic_send_sipi(apic_id, (uint8_t)(trampoline >> PAGE_SHIFT));
    if (!came_online(c, ONLINE_WAIT_US)) {
        log_error("smp", "CPU %u (APIC id %u) did not start", index, (unsigned)apic_id);
        return HV_ETIMEDOUT;
    }
    s = atomic_load(&ap_status);
    if (s != HV_OK)
        log_error("smp", "CPU %u (APIC id %u): %s did not start (status %d)", index,
                  (unsigned)apic_id, vcpu_ops->name, (int)s);
    return s;
}

enum hv_status arch_start_cpus(const struct bootinfo *boot, const uint32_t *apic_id, unsigned n)
{
    unsigned index = 1;

    cpu_report();
    machine_check_enable();
    speculation_enable();
    enum hv_status s = vcpu_ops->cpu_enable();

    if (s != HV_OK) {
        log_error("smp", "CPU 0: %s did not start (status %d)", vcpu_ops->name, (int)s);
        return s;
    }
    if (n <= 1)
        return HV_OK;
    uint64_t trampoline = find_low_pages(boot);
    if (trampoline == 0) {
        log_error("smp", "no free memory below 640 KiB to start CPUs from");
        return HV_ENOMEM;
    }
    make_trampoline(trampoline);
    for (unsigned i = 0; i < n; i++) {
        if (apic_id[i] != cpus[0]->apic_id)
            apic_send_init(apic_id[i]);
    }
    timer_sleep_us(INIT_WAIT_US);
    for (unsigned i = 0; i < n && s == HV_OK; i++) {
        if (apic_id[i] != cpus[0]->apic_id)
            s = index < CPUS_MAX ? start_cpu(trampoline, index++, apic_id[i]) : HV_ERANGE;
    }
    if (s != HV_OK)
        return s;
    memset(phys_to_virt(PADDR(trampoline)), 0, TRAMPOLINE_PAGES * PAGE_SIZE);
    log_info("smp", "%u CPUs", cpu_count());
    return HV_OK;
}
