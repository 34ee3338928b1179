/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/mp_services.h"

#include "boot/firmware.h"

#define STATUS_ENABLED 2u

struct mp_processor {
    uint64_t id; /* of the local APIC */
    uint32_t status, package, core, thread;
    uint32_t extended[6];
};

/* The first two of its functions. */
struct mp_services {
    EFI_STATUS(EFIAPI *number)(struct mp_services *self, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *info)(struct mp_services *self, UINTN number, struct mp_processor *out);
};

uint32_t mp_services_cpus(uint32_t *apic_id, uint32_t max)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, { 0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08 }
    };
    struct mp_services *services;
    UINTN all, enabled;
    uint32_t n = 0;

    if (firmware_table->BootServices->LocateProtocol(&guid, NULL, (void **)&services) !=
            EFI_SUCCESS ||
        services->number(services, &all, &enabled) != EFI_SUCCESS)
        return 0;
    for (UINTN i = 0; i < all && n < max; i++) {
        struct mp_processor p;

        if (services->info(services, i, &p) == EFI_SUCCESS && (p.status & STATUS_ENABLED))
            apic_id[n++] = (uint32_t)p.id;
    }
    return n;
}
