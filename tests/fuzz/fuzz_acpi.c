/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk from the root pointer to the tables. Input: a byte (bit 0: XSDT), then tables: kind,
 * flags (1: wrong checksum, 2: two bytes follow that are its length, 4: its pointer is the next 8
 * bytes), size, body. Bytes that firmware's memory does not have are poisoned.
 */
#include <sanitizer/asan_interface.h>

#include "hv/acpi.h"
#include "tests/fuzz/fuzz.h"
#include "tests/platform/platform.h"

#define AREA   0x8000u
#define AROUND 0x4000u
#define HEADER 36u
#define TABLES 12u

static const char signatures[8][5] = { "APIC", "MCFG", "FACP", "DMAR",
                                       "SSDT", "RSDT", "    ", "ABCD" };

static void fix(uint8_t *p, size_t size, unsigned field)
{
    uint8_t sum = 0;

    p[field] = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + p[i]);
    p[field] = (uint8_t)-sum;
}

/* @return the number of pointers. */
static unsigned put_tables(struct feed *in, uint8_t *area, uint64_t base, uint64_t pointer[TABLES])
{
    size_t at = 0x400;
    unsigned n = 0;

    while (in->left && n < TABLES) {
        const char *signature = signatures[feed_8(in) & 7];
        uint8_t flags = feed_8(in), size = feed_8(in);
        if (at + HEADER + size > AREA)
            break;
        uint8_t *t = area + at;
        uint32_t length = flags & 2 ? feed_16(in) : HEADER + size;
        pointer[n++] = flags & 4 ? feed_take(in, 8) : base + at;
        memcpy(t, signature, 4);
        for (unsigned i = 0; i < size; i++)
            t[HEADER + i] = feed_8(in);
        platform_put(t, 4, 4, length);
        fix(t, at + length <= AREA ? length : HEADER, 9);
        t[9] = (uint8_t)(t[9] + (flags & 1));
        at += HEADER + size;
    }
    return n;
}

static void put_root(uint8_t *area, uint64_t base, bool wide, const uint64_t *pointer, unsigned n)
{
    uint8_t *root = area + 0x100;

    memcpy(root, wide ? "XSDT" : "RSDT", 4);
    for (unsigned i = 0; i < n; i++)
        platform_put(root, HEADER + i * (wide ? 8 : 4), wide ? 8 : 4, pointer[i]);
    platform_put(root, 4, 4, HEADER + n * (wide ? 8 : 4));
    fix(root, HEADER + n * (wide ? 8 : 4), 9);
    memcpy(area, "RSD PTR ", 8);
    area[15] = wide ? 2 : 0;
    platform_put(area, 16, 4, wide ? 0 : base + 0x100);
    fix(area, 20, 8);
    if (wide) {
        platform_put(area, 20, 4, 36);
        platform_put(area, 24, 8, base + 0x100);
        fix(area, 36, 32);
    }
}

static void look(const uint8_t *area)
{
    struct acpi_madt madt;
    struct acpi_ecam ecam;

    for (unsigned i = 0; i < 8; i++) {
        size_t length = 0;
        const uint8_t *t = acpi_find(signatures[i], &length);
        uint8_t sum = 0;
        if (!t)
            continue;
        must(t >= area && length >= HEADER && (size_t)(t - area) + length <= AREA);
        must(memcmp(t, signatures[i], 4) == 0);
        for (size_t k = 0; k < length; k++)
            sum = (uint8_t)(sum + t[k]);
        must(sum == 0);
    }
    enum hv_status status = acpi_madt(&madt);
    must(status == HV_OK || status == HV_ENODEV || status == HV_EINVAL || status == HV_ERANGE);
    must(madt.ncpus <= CPUS_MAX && madt.nioapics <= ACPI_IOAPICS_MAX);
    for (unsigned i = 0; i < madt.ncpus; i++) {
        for (unsigned j = 0; j < i; j++)
            must(madt.apic_id[i] != madt.apic_id[j]);
    }
    must(status != HV_OK || madt.ncpus > 0);
    status = acpi_ecam(&ecam);
    must(status == HV_OK || status == HV_ENODEV || status == HV_EINVAL);
    if (status == HV_OK)
        must((ecam.base.v & PAGE_MASK) == 0 && ecam.first <= ecam.last);
    (void)acpi_pm_timer_port();
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static struct bootinfo boot;
    struct feed in = { data, size };
    bool wide = feed_8(&in) & 1;
    uint64_t ram = platform_ram(AREA + 2 * AROUND).v + AROUND;
    uint8_t *area = platform_memory(ram, AREA);
    uint64_t pointer[TABLES], base = ram;

    if (!wide) { /* short pointers: the arena is seen 4 GiB lower meanwhile */
        phys_offset += 1ull << 32;
        base -= 1ull << 32;
    }
    /* Two ranges that touch, of kinds that may be read. */
    boot = (struct bootinfo){ .rsdp = base, .nmemory = 3 };
    boot.memory[0] = (struct boot_memory){ 0, base, BOOT_MMIO, 0 };
    boot.memory[1] = (struct boot_memory){ base, AREA / 4, BOOT_ACPI, 0 };
    boot.memory[2] = (struct boot_memory){ base + AREA / 4, AREA * 3 / 4, BOOT_RAM, 0 };
    put_root(area, base, wide, pointer, put_tables(&in, area, base, pointer));
    ASAN_POISON_MEMORY_REGION(area - AROUND, AROUND);
    ASAN_POISON_MEMORY_REGION(area + AREA, AROUND);
    must(acpi_init(&boot) == HV_OK);
    look(area);
    ASAN_UNPOISON_MEMORY_REGION(area - AROUND, AREA + 2 * AROUND);
    if (!wide)
        phys_offset -= 1ull << 32;
}
