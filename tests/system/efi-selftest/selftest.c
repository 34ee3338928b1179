/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A UEFI application that the shim starts in place of the loader: it checks, from inside, that the
 * test machine is what docs/test-machine.md and docs/accelerator.md say. Each check is a line
 * "ok ..." or "FAIL ..." on the serial port; then PASS or FAIL, and QEMU ends.
 * It writes to the serial port itself, and keeps interrupts off: its last check leaves one pending.
 */
#include <efi.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    COM1 = 0x3f8,
    DEBUG_EXIT = 0xf4,
    EXIT_PASS = 0x10,
    EXIT_FAIL = 0x11,
    ACCEL_BDF = 4 << 3, /* 00:04.0 */
    VECTOR = 0x55,
};

static bool failed;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static void put(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20))
            ;
        out8(COM1, (uint8_t)*text);
    }
}

static void put_hex(uint64_t value)
{
    char text[19] = "0x";

    for (int i = 0; i < 16; i++)
        text[2 + i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    text[18] = 0;
    put(text);
}

static void value(const char *name, uint64_t v)
{
    put(name);
    put(" ");
    put_hex(v);
    put("\n");
}

static bool check(bool held, const char *what)
{
    put(held ? "ok " : "FAIL ");
    put(what);
    put("\n");
    failed |= !held;
    return held;
}

[[noreturn]] static void end(void)
{
    put(failed ? "FAIL\n" : "PASS\n");
    out8(DEBUG_EXIT, failed ? EXIT_FAIL : EXIT_PASS);
    for (;;)
        __asm__ volatile("hlt");
}

static uint64_t read64(uint64_t at)
{
    return *(volatile uint64_t *)at;
}

static uint32_t read32(uint64_t at)
{
    return *(volatile uint32_t *)at;
}

static void write64(uint64_t at, uint64_t v)
{
    *(volatile uint64_t *)at = v;
}

static uint16_t read16(uint64_t at)
{
    return *(volatile uint16_t *)at;
}

static void write16(uint64_t at, uint16_t v)
{
    *(volatile uint16_t *)at = v;
}

/* --- ACPI ------------------------------------------------------------------------------------ */

static bool same(const void *one, const void *two, unsigned len)
{
    const uint8_t *a = one, *b = two;

    while (len && *a == *b)
        a++, b++, len--;
    return len == 0;
}

static uint64_t unaligned64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static const uint8_t *acpi_find(EFI_SYSTEM_TABLE *table, const char *signature)
{
    static const EFI_GUID acpi20 = ACPI_20_TABLE_GUID;
    const uint8_t *rsdp = NULL;

    for (UINTN i = 0; i < table->NumberOfTableEntries; i++)
        if (same(&table->ConfigurationTable[i].VendorGuid, &acpi20, sizeof(acpi20)))
            rsdp = table->ConfigurationTable[i].VendorTable;
    if (!rsdp)
        return NULL;

    const uint8_t *xsdt = (const uint8_t *)unaligned64(rsdp + 24);
    uint32_t length = read32((uint64_t)xsdt + 4);

    for (uint32_t at = 36; at + 8 <= length; at += 8) {
        const uint8_t *entry = (const uint8_t *)unaligned64(xsdt + at);

        if (same(entry, signature, 4))
            return entry;
    }
    return NULL;
}

static uint64_t check_dmar(EFI_SYSTEM_TABLE *table)
{
    const uint8_t *dmar = acpi_find(table, "DMAR");
    uint8_t sum = 0;

    if (!check(dmar != NULL, "DMAR table found"))
        end();

    uint32_t length = read32((uint64_t)dmar + 4);

    for (uint32_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + dmar[i]);
    check(sum == 0, "DMAR checksum");
    value("dmar.width", dmar[36] + 1u);
    value("dmar.flags", dmar[37]);
    check(dmar[48] == 0 && dmar[52] == 1 && dmar[54] == 0, "DRHD of segment 0, INCLUDE_PCI_ALL");
    check((dmar[53] & 15) == 2, "DRHD of 4 pages");
    return unaligned64(dmar + 56);
}

/* --- the unit and the accelerator ------------------------------------------------------------ */

static void check_unit(uint64_t registers)
{
    value("unit.registers", registers);
    check(registers != 0 && registers % 0x4000 == 0, "register set is aligned");
    if (!registers)
        return;
    value("unit.ver", read32(registers));
    value("unit.cap", read64(registers + 8));
    value("unit.ecap", read64(registers + 16));
    check(read32(registers) != 0 && read32(registers) != UINT32_MAX, "VER readable");
    check((uint32_t)read64(registers + 8) == read32(registers + 8), "CAP by 4 and by 8 bytes");
    check(read32(registers + 0x1c) == 0, "GSTS is 0: nothing is on");
}

static void check_capabilities(uint64_t config)
{
    uint64_t ats = config + 0x100, pri = config + 0x110, pasid = config + 0x120;

    check(read32(config) == 0x51051b36, "accelerator at 00:04.0");
    check(read32(config + 8) >> 8 == 0x120000, "class 0x120000");
    check(read16(ats) == 0x000f && read16(ats + 4) == 0x20, "ATS capability");
    check(read16(pri) == 0x0013 && read32(pri + 8) == 64, "PRI capability");
    check(read16(pasid) == 0x001b && read16(pasid + 4) == 0x1400, "PASID capability");

    /* Writes reach the device, and FLR takes them back. */
    write16(pasid + 6, 1);
    write16(ats + 6, 0x8000);
    *(volatile uint32_t *)(pri + 12) = 16;
    write16(pri + 4, 1);
    check(read16(pasid + 6) == 1 && read16(ats + 6) == 0x8000 && read16(pri + 4) == 1 &&
              read32(pri + 12) == 16,
          "PASID, ATS, PRI enabled");
    write16(config + 0x48, read16(config + 0x48) | 0x8000);
    check(read16(pasid + 6) == 0 && read16(ats + 6) == 0 && read16(pri + 4) == 0, "FLR");
}

alignas(64) static uint8_t source[8192];
alignas(64) static uint8_t target[8192];
alignas(32) static volatile uint8_t record[32];

static void submit(uint64_t bar, const uint64_t words[8])
{
    record[0] = 0;
    for (unsigned i = 0; i < 8; i++)
        write64(bar + 0x1000 + 8 * i, words[i]);
}

static bool wait_record(void)
{
    for (unsigned i = 0; i < 100000000 && !record[0]; i++)
        __asm__ volatile("pause" : : : "memory");
    return record[0] == 1;
}

static void check_copy(uint64_t bar)
{
    const uint64_t words[8] = { UINT64_C(1) << 32,
                                (uint64_t)source + 3,
                                (uint64_t)target + 5,
                                5000,
                                0,
                                (uint64_t)record,
                                0x1234567890,
                                0 };

    for (unsigned i = 0; i < sizeof(source); i++)
        source[i] = (uint8_t)(i * 7 + (i >> 8));
    submit(bar, words);
    check(wait_record(), "copy: completion record, status 1");
    check(unaligned64((const uint8_t *)record + 8) == 5000, "copy: bytes");
    check(unaligned64((const uint8_t *)record + 24) == 0x1234567890, "copy: cookie");
    check(same(source + 3, target + 5, 5000), "copy: data");
    check(target[4] == 0 && target[5005] == 0, "copy: not a byte more");
}

/* Requested vectors of the local APIC, by x2APIC register or by memory. */
static bool vector_requested(void)
{
    uint32_t low, high;
    uint32_t reg = 0x20 + VECTOR / 32; /* IRR, in units of 16 bytes */

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x1b));
    if (low & 1u << 10)
        __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0x800 + reg));
    else
        low = read32((uint64_t)(low & 0xfffff000) + 16 * reg);
    return low >> VECTOR % 32 & 1;
}

static void check_interrupt(uint64_t bar)
{
    /* nop; interrupt when done; message 2 */
    const uint64_t words[8] = {
        UINT64_C(4) << 40 | UINT64_C(2) << 48, 0, 0, 0, 0, (uint64_t)record, 0, 0
    };
    bool arrived = false;

    write64(bar + 0x120, 0xfee00000); /* IMS[2]: to APIC 0 */
    write64(bar + 0x128, VECTOR);
    check(!vector_requested(), "interrupt: not yet");
    submit(bar, words);
    check(wait_record(), "interrupt: descriptor done");
    for (unsigned i = 0; i < 100000000 && !arrived; i++)
        arrived = vector_requested();
    check(arrived, "interrupt: reaches the local APIC");
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    (void)image;
    __asm__ volatile("cli");
    put("\nselftest\n");
    check_unit(check_dmar(table));

    const uint8_t *mcfg = acpi_find(table, "MCFG");

    if (!check(mcfg != NULL, "MCFG table found"))
        end();

    uint64_t config = unaligned64(mcfg + 44) + ((uint64_t)ACCEL_BDF << 12);

    check_capabilities(config);

    uint64_t bar = (read32(config + 0x10) & ~UINT32_C(15)) | (uint64_t)read32(config + 0x14) << 32;

    value("accel.bar", bar);
    write16(config + 4, 6);
    check(read64(bar) == UINT64_C(0x000151054c53), "accelerator ID");
    write64(bar + 8, 1);
    check_copy(bar);
    check_interrupt(bar);
    end();
}
