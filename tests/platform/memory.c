/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: physical memory, its pool, and the stores that hardware could see. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "hv/pages.h"
#include "tests/platform/machine.h"

uintptr_t phys_offset;

static uint8_t *arena;
static uint64_t ram_next; /* offset of what platform_ram() gives next */
static struct platform_hooks hooks;

void memory_setup(void)
{
    const uint64_t align = PAGE_SIZE << PAGES_ORDER_MAX;
    void *p = mmap(NULL, PLATFORM_RAM_SIZE + align, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        perror("arena");
        exit(2);
    }
    arena = (uint8_t *)(((uintptr_t)p + align - 1) & ~(align - 1));
    phys_offset = (uintptr_t)arena - PLATFORM_RAM_BASE;
    pages_add(PADDR(PLATFORM_RAM_BASE), PLATFORM_POOL_SIZE);
}

void memory_fresh(void)
{
    uint64_t used = ram_next;

    if (used > PLATFORM_POOL_SIZE)
        madvise(arena + PLATFORM_POOL_SIZE, used - PLATFORM_POOL_SIZE, MADV_DONTNEED);
    ram_next = PLATFORM_POOL_SIZE;
    hooks = (struct platform_hooks){ 0 };
}

paddr_t platform_ram(uint64_t size)
{
    paddr_t p = PADDR(PLATFORM_RAM_BASE + ram_next);

    ram_next += (size + (2u << 20) - 1) & ~((2ull << 20) - 1);
    if (ram_next > PLATFORM_RAM_SIZE)
        panic("platform_ram: the arena is too small");
    return p;
}

void *platform_memory(uint64_t hpa, uint64_t size)
{
    if (hpa < PLATFORM_RAM_BASE || size > PLATFORM_RAM_SIZE ||
        hpa - PLATFORM_RAM_BASE > PLATFORM_RAM_SIZE - size)
        return NULL;
    return arena + (hpa - PLATFORM_RAM_BASE);
}

/* --- Changes between two instructions: the page faults, one instruction is stepped over ------- */

#define STEP 0x100 /* EFLAGS.TF */

static void *touched;
static void (*change_it)(void);

static void on_touch(int, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    if ((uintptr_t)info->si_addr - (uintptr_t)touched >= PAGE_SIZE)
        abort();
    mprotect(touched, PAGE_SIZE, PROT_READ | PROT_WRITE);
    uc->uc_mcontext.gregs[REG_EFL] |= STEP;
}

static void on_step(int, siginfo_t *, void *context)
{
    ucontext_t *uc = context;

    uc->uc_mcontext.gregs[REG_EFL] &= ~STEP;
    signal(SIGSEGV, SIG_DFL);
    change_it();
}

void platform_change_after_touch(uint64_t hpa, void (*change)(void))
{
    struct sigaction touch = { .sa_sigaction = on_touch, .sa_flags = SA_SIGINFO };
    struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

    touched = platform_memory(hpa & ~PAGE_MASK, PAGE_SIZE);
    change_it = change;
    if (!touched || sigaction(SIGSEGV, &touch, NULL) || sigaction(SIGTRAP, &step, NULL) ||
        mprotect(touched, PAGE_SIZE, PROT_NONE))
        panic("platform_change_after_touch");
}

void platform_set_hooks(const struct platform_hooks *h)
{
    hooks = h ? *h : (struct platform_hooks){ 0 };
}

static uint64_t hpa_of(const void *p)
{
    uint64_t offset = (uintptr_t)p - (uintptr_t)arena;

    return offset < PLATFORM_RAM_SIZE ? PLATFORM_RAM_BASE + offset : 0;
}

static void note_store(const void *p, unsigned size)
{
    if (hooks.store)
        hooks.store(hooks.ctx, hpa_of(p), size);
}

void store64(uint64_t *p, uint64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_RELEASE);
    note_store(p, 8);
}

void store128(uint64_t p[2], uint64_t lo, uint64_t hi)
{
    if ((uintptr_t)p & 15)
        panic("store128: %p is not aligned", (void *)p);
    p[0] = lo;
    p[1] = hi;
    note_store(p, 16);
}

void store64_run(uint64_t *p, unsigned n, uint64_t value, uint64_t step)
{
    for (; n--; value += step)
        store64(p++, value);
}

void cache_flush(const void *p, size_t size)
{
    if (hooks.flush)
        hooks.flush(hooks.ctx, hpa_of(p), size);
}

void machine_relax(void)
{
    if (hooks.relax)
        hooks.relax(hooks.ctx);
}
