/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DMAR table (VT-d 8.1, 8.3): one unit for the whole of PCI segment 0, with the I/O APIC in its
 * scope, as the rules ask for when interrupt remapping is offered; and, if asked, memory that
 * firmware goes on using through an accelerator (8.4).
 */
#include "tests/model/shim/shim.h"

enum {
    FLAG_INTR_REMAP = 1,
    FLAG_X2APIC_OPT_OUT = 2,
    DRHD_INCLUDE_PCI_ALL = 1,
    DRHD_SIZE = 2, /* registers are 2^2 pages */
    RMRR = 1,      /* type of the structure */
    SCOPE_ENDPOINT = 1,
    SCOPE_IOAPIC = 3,
    IOAPIC_ID = 0,     /* QEMU's, in its MADT */
    IOAPIC_BUS = 0xff, /* and where q35 says its messages come from */
    ACCEL = 4,         /* device number, on bus 0 */
    MIN_ADDRESS_WIDTH = 39,
    PAGE = 4096,
};

struct scope {
    uint8_t type, length, flags, reserved, enumeration_id, bus, device, function;
};

struct table {
    struct {
        char signature[4];
        uint32_t length;
        uint8_t revision, checksum;
        char oem_id[6], oem_table_id[8];
        uint32_t oem_revision, creator_id, creator_revision;
    } header;
    uint8_t width, flags, reserved[10];
    struct {
        uint16_t type, length;
        uint8_t flags, size;
        uint16_t segment;
        uint64_t registers;
        struct scope ioapic;
    } drhd;
    struct {
        uint16_t type, length, reserved, segment;
        uint64_t first, last;
        struct scope accel;
    } rmrr; /* at the end: left out if nobody asked */
};
_Static_assert(sizeof(struct table) == 48 + 16 + 8 + 24 + 8, "no padding");

struct acpi_table_protocol {
    EFI_STATUS(EFIAPI *install)(struct acpi_table_protocol *this, void *table, UINTN size,
                                UINTN *key);
    EFI_STATUS(EFIAPI *uninstall)(struct acpi_table_protocol *this, UINTN key);
};

static uint8_t address_width(void)
{
    uint32_t eax = 0x80000008, ebx, ecx = 0, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (uint8_t)eax > MIN_ADDRESS_WIDTH ? (uint8_t)eax : MIN_ADDRESS_WIDTH;
}

static EFI_STATUS reserve(void)
{
    EFI_PHYSICAL_ADDRESS at = FIRMWARE_MEMORY - PAGE;
    EFI_STATUS status = system_table->BootServices->AllocatePages(
        AllocateAddress, EfiReservedMemoryType, FIRMWARE_BYTES / PAGE + 2, &at);

    if (EFI_ERROR(status))
        return status;
    for (uint64_t word = FIRMWARE_MEMORY; word < FIRMWARE_MEMORY + FIRMWARE_BYTES; word += 8)
        *(volatile uint64_t *)word = word;
    return status;
}

EFI_STATUS dmar_install(uint64_t registers, const struct shim_options *options)
{
    static EFI_GUID guid = {
        0xffe06bdd, 0x6107, 0x46a6, { 0x7b, 0xb2, 0x5a, 0x9c, 0x7e, 0xc5, 0x27, 0x5c }
    };
    struct acpi_table_protocol *acpi;
    EFI_STATUS status;
    UINTN key;
    UINTN length = sizeof(struct table) - (options->rmrr ? 0 : sizeof(((struct table *)0)->rmrr));
    struct table t = {
        .header = { .signature = { 'D', 'M', 'A', 'R' },
                    .length = (uint32_t)length,
                    .revision = 1,
                    .oem_id = { 'S', 'L', 'U', 'I', 'C', 'E' },
                    .oem_table_id = { 'T', 'E', 'S', 'T', 'U', 'N', 'I', 'T' },
                    .oem_revision = 1,
                    .creator_id = 0x43494c53,
                    .creator_revision = 1 },
        .width = (uint8_t)(address_width() - 1),
        .flags = (uint8_t)((options->no_intr_remap ? 0 : FLAG_INTR_REMAP) |
                           (options->x2apic_opt_out ? FLAG_X2APIC_OPT_OUT : 0)),
        .drhd = { .length = sizeof(t.drhd),
                  .flags = DRHD_INCLUDE_PCI_ALL,
                  .size = DRHD_SIZE,
                  .registers = registers,
                  .ioapic = { .type = SCOPE_IOAPIC,
                              .length = sizeof(t.drhd.ioapic),
                              .enumeration_id = IOAPIC_ID,
                              .bus = IOAPIC_BUS } },
        .rmrr = { .type = RMRR,
                  .length = sizeof(t.rmrr),
                  .first = FIRMWARE_MEMORY,
                  .last = FIRMWARE_MEMORY + FIRMWARE_BYTES - 1,
                  .accel = { .type = SCOPE_ENDPOINT,
                             .length = sizeof(t.rmrr.accel),
                             .device = ACCEL } },
    };
    uint8_t sum = 0;

    for (UINTN i = 0; i < length; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)&t)[i]);
    t.header.checksum = (uint8_t)-sum;

    status = options->rmrr ? reserve() : EFI_SUCCESS;
    if (EFI_ERROR(status))
        return status;
    status = system_table->BootServices->LocateProtocol(&guid, NULL, (void **)&acpi);
    if (EFI_ERROR(status))
        return status;
    return acpi->install(acpi, &t, length, &key);
}
