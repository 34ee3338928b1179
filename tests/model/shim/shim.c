/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test machine's firmware shim: a UEFI application that does what the firmware of a machine
 * with this remapping unit would have done (it enables the unit's function and describes it in a
 * DMAR table), and then starts the loader, which sees an ordinary machine.
 */
#include "tests/model/shim/shim.h"

#include <stdarg.h>

EFI_SYSTEM_TABLE *system_table;

static void put(char c)
{
    CHAR16 text[3] = { (CHAR16)c, 0, 0 };

    if (c == '\n') {
        text[0] = '\r';
        text[1] = '\n';
    }
    system_table->ConOut->OutputString(system_table->ConOut, text);
}

static void put_hex(uint64_t value)
{
    int shift = 60;

    while (shift > 0 && !(value >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(*s);
            break;
        case 'x': put_hex(va_arg(args, uint64_t)); break;
        case 'r': put_hex(va_arg(args, EFI_STATUS) & ~EFI_ERROR_MASK); break;
        default: put(*format); break;
        }
    }
    va_end(args);
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    struct shim_options options = { 0 };
    uint64_t registers;
    EFI_STATUS status;
    uint16_t rid;

    system_table = table;
    status = table->BootServices->HandleProtocol(image, &loaded_image_guid, (void **)&loaded);
    if (EFI_ERROR(status)) {
        say("shim: no loaded image protocol (%r)\n", status);
        return status;
    }
    options_read(loaded->DeviceHandle, &options);
    registers = unit_find(&rid);
    if (!registers)
        say("shim: no remapping unit, no DMAR table\n");
    else if (options.no_dmar)
        say("shim: unit %x registers 0x%x, told to install no DMAR table\n", (uint64_t)rid,
            registers);
    else {
        status = dmar_install(registers, &options);
        if (EFI_ERROR(status)) {
            say("shim: the DMAR table could not be installed (%r)\n", status);
            return status;
        }
        say("shim: unit %x registers 0x%x, DMAR installed%s%s%s\n", (uint64_t)rid, registers,
            options.no_intr_remap ? " without interrupt remapping" : "",
            options.x2apic_opt_out ? " with x2APIC opt-out" : "",
            options.rmrr ? " with an RMRR" : "");
    }
    if (registers && options.left_running)
        say("shim: translation left on, a device left at work: %s\n",
            leave_running(registers) ? "yes" : "no");
    if (registers && options.protected)
        say("shim: protected memory ranges left on: %s\n",
            leave_protected(registers) ? "yes" : "no");
    status = loader_start(image, loaded->DeviceHandle);
    say("shim: the loader came back (%r)\n", status);
    return status;
}
