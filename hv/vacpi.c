/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI 6.5: 5.2.5 (RSDP), 5.2.8 (XSDT), 5.2.9 (FADT), 5.2.12 (MADT), 20 (AML), 6.4 (resources). */
#include "hv/vacpi.h"

#include <string.h>

#include "hv/log.h"
#include "hv/vm.h"

#define HEADER 36u

/* Offsets in the page. */
enum { AT_RSDP = 0x000, AT_XSDT = 0x040, AT_FADT = 0x100, AT_DSDT = 0x280, AT_MADT = 0x400 };

#define FADT_SIZE      276u
#define FADT_REDUCED   (1u << 20 | 1u << 4 | 1u << 5) /* no ACPI hardware, no buttons */
#define FADT_RESET     (1u << 10)                     /* the reset register exists */
#define FADT_NO_LEGACY (1u << 2 | 1u << 5)            /* boot flags: no VGA, no CMOS clock */
#define LOCAL_APIC     0xfee00000u
#define RESET_PORT     0xcf9u /* as PC chipsets have it; ends the VM */
#define RESET_VALUE    6u

/*
 * Scope (\_SB) { Device (PCI0) {
 *     Name (_HID, EisaId ("PNP0A03"))
 *     Name (_CRS, ResourceTemplate () {
 *         WordBusNumber (0 to 0)  IO (0xCF8, 8 ports)  DWordMemory (0xC0000000 to 0xFEBFFFFF) }) }
 * }
 */
static const uint8_t dsdt_code[] = {
    0x10, 0x46, 0x05, '\\', '_',  'S',  'B',  '_',  0x5b, 0x82, 0x4d, 0x04, 'P',  'C',  'I',
    '0',  0x08, '_',  'H',  'I',  'D',  0x0c, 0x41, 0xd0, 0x0a, 0x03, 0x08, '_',  'C',  'R',
    'S',  0x11, 0x37, 0x0a, 0x34, 0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x47, 0x01, 0xf8, 0x0c, 0xf8, 0x0c, 0x01, 0x08, 0x87,
    0x17, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xff, 0xff,
    0xbf, 0xfe, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x3e, 0x79, 0x00,
};

static void put(uint8_t *p, uint64_t value, unsigned size)
{
    memcpy(p, &value, size);
}

static void set_sum(uint8_t *p, size_t size, unsigned field)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + p[i]);
    p[field] = (uint8_t)-sum;
}

/* The body is there already. */
static void finish(uint8_t *t, const char *signature, uint8_t revision, size_t size)
{
    memcpy(t, signature, 4);
    put(t + 4, size, 4);
    t[8] = revision;
    memcpy(t + 10, "SLUICESLUICEVM", 14); /* OEM, table id */
    put(t + 24, 1, 4);
    memcpy(t + 28, "SLUI", 4);
    put(t + 32, 1, 4);
    set_sum(t, size, 9);
}

static void build_rsdp(uint8_t *t)
{
    memcpy(t, "RSD PTR ", 8);
    memcpy(t + 9, "SLUICE", 6);
    t[15] = 2;
    put(t + 20, 36, 4);
    put(t + 24, VACPI_TABLES + AT_XSDT, 8);
    set_sum(t, 20, 8);
    set_sum(t, 36, 32);
}

static void build_xsdt(uint8_t *t)
{
    put(t + HEADER, VACPI_TABLES + AT_FADT, 8);
    put(t + HEADER + 8, VACPI_TABLES + AT_MADT, 8);
    finish(t, "XSDT", 1, HEADER + 16);
}

static void build_fadt(uint8_t *t)
{
    put(t + 40, VACPI_TABLES + AT_DSDT, 4);
    put(t + 109, FADT_NO_LEGACY, 2);
    put(t + 112, FADT_REDUCED | FADT_RESET, 4);
    put(t + 116, 1 | 8 << 8 | 1 << 24, 4); /* reset register: IO, 8 bits, by byte */
    put(t + 120, RESET_PORT, 8);
    t[128] = RESET_VALUE;
    t[131] = 5; /* minor version */
    put(t + 140, VACPI_TABLES + AT_DSDT, 8);
    memcpy(t + 268, "SLUICE", 6);
    finish(t, "FACP", 6, FADT_SIZE);
}

static void build_dsdt(uint8_t *t)
{
    memcpy(t + HEADER, dsdt_code, sizeof(dsdt_code));
    finish(t, "DSDT", 2, HEADER + sizeof(dsdt_code));
}

/* APIC ids are indices, below 255, so the short entry does. */
static void build_madt(uint8_t *t, unsigned ncpus)
{
    put(t + HEADER, LOCAL_APIC, 4);
    for (unsigned i = 0; i < ncpus; i++) {
        uint8_t *e = t + HEADER + 8 + i * 8;
        e[0] = 0;
        e[1] = 8;
        e[2] = e[3] = (uint8_t)i;
        put(e + 4, 1, 4); /* enabled */
    }
    finish(t, "APIC", 6, HEADER + 8 + ncpus * 8);
}

static_assert(AT_RSDP + 36 <= AT_XSDT && AT_XSDT + HEADER + 16 <= AT_FADT);
static_assert(AT_FADT + FADT_SIZE <= AT_DSDT && AT_DSDT + HEADER + sizeof(dsdt_code) <= AT_MADT);
static_assert(AT_MADT + HEADER + 8 + BOOT_VM_CPUS * 8 <= PAGE_SIZE);

void vacpi_build(const struct vm *vm)
{
    uint8_t *page = vm_ram(vm, GPADDR(VACPI_TABLES), PAGE_SIZE);

    hv_assert(page);
    memset(page, 0, PAGE_SIZE);
    build_rsdp(page + AT_RSDP);
    build_xsdt(page + AT_XSDT);
    build_fadt(page + AT_FADT);
    build_dsdt(page + AT_DSDT);
    build_madt(page + AT_MADT, vm->nvcpus);
}
