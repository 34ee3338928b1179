/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/interrupts.h"
#include "guest/lib/sluice.h"

#define UART 0x3f8

/* PVH start info and memory map (Xen's public/arch-x86/hvm/start_info.h, version 1). */
struct start_info {
    uint32_t magic, version, flags, nmodules;
    uint64_t modules, cmdline, rsdp, memmap;
    uint32_t nmemmap, reserved;
};

struct start_range {
    uint64_t base, size;
    uint32_t type, reserved;
};

#define START_MAGIC 0x336ec578u

extern uint64_t start_info_address;
extern char image_end[];
static char command_line[256];
static uint64_t free_at, free_end, ram_bytes, tsc_per_us;

void runtime_start(void);

/* newlib's formatting can ask for memory (asprintf); nothing here does. */
void *sbrk(ptrdiff_t n);

void *sbrk(ptrdiff_t n)
{
    (void)n;
    return (void *)-1;
}

static void put(char c)
{
    for (int i = 0; i < 100000 && !(inb(UART + 5) & 0x20); i++)
        pause_once();
    outb(UART, (uint8_t)c);
}

static void vprint(const char *format, va_list args)
{
    char text[256];

    vsnprintf(text, sizeof(text), format, args);
    for (const char *c = text; *c; c++)
        put(*c);
}

void print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprint(format, args);
    va_end(args);
}

void fail(const char *format, ...)
{
    va_list args;

    interrupts_off();
    print("FAILED: ");
    va_start(args, format);
    vprint(format, args);
    va_end(args);
    print("\n");
    sluice_shutdown(99);
}

const char *option_text(const char *name)
{
    size_t length = strlen(name);

    for (const char *at = command_line; (at = strstr(at, name)); at += length)
        if ((at == command_line || at[-1] == ' ') &&
            (at[length] == '=' || at[length] == ' ' || !at[length]))
            return at + length + (at[length] == '=');
    return NULL;
}

uint64_t option(const char *name, uint64_t otherwise)
{
    const char *text = option_text(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

void *pages_new(uint64_t n)
{
    uint64_t at = free_at;

    if (n > (free_end - free_at) / PAGE)
        fail("out of memory");
    free_at += n * PAGE;
    return memset((void *)at, 0, n * PAGE);
}

uint64_t memory_bytes(void)
{
    return ram_bytes;
}

uint64_t ticks_per_us(void)
{
    return tsc_per_us;
}

/* Free memory: from the image's end to the end of its RAM range, below 4 GiB. What lies there of
 * the start info is copied before anything is taken; modules are left alone. */
static void find_memory(const struct start_info *info)
{
    const struct start_range *map = (const struct start_range *)info->memmap;
    const uint64_t *module = (const uint64_t *)info->modules;

    for (uint32_t i = 0; i < info->nmemmap; i++) {
        if (map[i].type != 1)
            continue;
        ram_bytes += map[i].size;
        if (map[i].base <= (uint64_t)image_end && (uint64_t)image_end < map[i].base + map[i].size) {
            free_at = (uint64_t)image_end;
            free_end = map[i].base + map[i].size;
        }
    }
    for (uint32_t i = 0; i < info->nmodules; i++, module += 4)
        if (module[0] >= free_at && module[0] < free_end)
            free_end = module[0] & ~(PAGE - 1);
    if (info->cmdline)
        strncpy(command_line, (const char *)info->cmdline, sizeof(command_line) - 1);
}

void runtime_start(void)
{
    const struct start_info *info = (const struct start_info *)start_info_address;
    uint32_t version, r[4];

    interrupts_init();
    if (info->magic != START_MAGIC)
        fail("no PVH start info");
    find_memory(info);
    if (sluice_init(&version) != HV_OK)
        fail("this is not Sluice, or not its ABI 1");
    cpuid(SLUICE_CPUID_BASE + 1, 0, r);
    tsc_per_us = r[3] / 1000 ? r[3] / 1000 : 1;
    sluice_shutdown((uint64_t)guest_main());
}
