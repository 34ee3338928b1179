/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/machine.h"

#include "boot/firmware.h"

static void cpuid(uint32_t leaf, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(0));
}

static bool extended_feature(unsigned edx_bit)
{
    uint32_t r[4];

    cpuid(0x80000000, r);
    if (r[0] < 0x80000001)
        return false;
    cpuid(0x80000001, r);
    return r[3] >> edx_bit & 1;
}

bool machine_has_1g(void)
{
    return extended_feature(26);
}

bool machine_has_nx(void)
{
    return extended_feature(20);
}

bool machine_has_pci(uint16_t rid)
{
    uint32_t value;

    __asm__ volatile("outl %0, %w1" : : "a"(0x80000000u | (uint32_t)rid << 8), "Nd"(0xcf8));
    __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"(0xcfc));
    return (value & 0xffff) != 0xffff && value != 0;
}

static bool same_guid(const EFI_GUID *a, const EFI_GUID *b)
{
    uint64_t x[2], y[2];

    static_assert(sizeof(EFI_GUID) == sizeof(x));
    copy(x, a, sizeof(x));
    copy(y, b, sizeof(y));
    return x[0] == y[0] && x[1] == y[1];
}

uint64_t machine_rsdp(void)
{
    static const EFI_GUID kinds[] = { ACPI_20_TABLE_GUID, ACPI_TABLE_GUID };

    for (unsigned k = 0; k < 2; k++)
        for (UINTN i = 0; i < firmware_table->NumberOfTableEntries; i++)
            if (same_guid(&firmware_table->ConfigurationTable[i].VendorGuid, &kinds[k]))
                return (uint64_t)firmware_table->ConfigurationTable[i].VendorTable;
    return 0;
}

/* Unaligned little-endian read. */
static uint64_t get(uint64_t at, unsigned bytes)
{
    uint64_t value = 0;

    copy(&value, (const void *)at, bytes);
    return value;
}

#define ACPI_HEADER 36u
#define MADT_APIC   0x43495041u

/* The MADT by way of XSDT (revision 2 and later) or RSDT. */
static uint64_t find_madt(uint64_t rsdp)
{
    bool extended = get(rsdp + 15, 1) >= 2;
    unsigned width = extended ? 8 : 4;
    uint64_t root = extended ? get(rsdp + 24, 8) : get(rsdp + 16, 4);
    uint64_t length = root ? get(root + 4, 4) : 0;

    for (uint64_t at = ACPI_HEADER; at + width <= length; at += width) {
        uint64_t table = get(root + at, width);

        if (table && get(table, 4) == MADT_APIC)
            return table;
    }
    return 0;
}

uint32_t machine_cpus(uint64_t rsdp)
{
    uint64_t madt = rsdp ? find_madt(rsdp) : 0;
    uint32_t count = 0;

    if (!madt)
        return 0;
    for (uint64_t at = ACPI_HEADER + 8, end = get(madt + 4, 4); at + 2 <= end;) {
        uint64_t type = get(madt + at, 1), length = get(madt + at + 1, 1);

        if (length < 2)
            break;
        if (type == 0) /* local APIC: flags at 4 */
            count += get(madt + at + 4, 4) & 1;
        else if (type == 9) /* local x2APIC: flags at 8 */
            count += get(madt + at + 8, 4) & 1;
        at += length;
    }
    return count ? count : 1;
}
