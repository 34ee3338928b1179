/* SPDX-License-Identifier: BSD-2-Clause */
/* UEFI services in the few shapes the loader needs (UEFI 2.10, chapters 7, 12 and 13). */
#include "boot/firmware.h"

EFI_HANDLE firmware_image;
EFI_SYSTEM_TABLE *firmware_table;

/* The compiler calls these. */
void *memset(void *p, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void *memset(void *p, int value, size_t n)
{
    void *at = p;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(value) : "memory");
    return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void zero(uint64_t base, uint64_t size)
{
    void *at = (void *)base;
    uint64_t n = size / 8;

    __asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(0) : "memory");
}

void copy(void *to, const void *from, uint64_t size)
{
    memcpy(to, from, size);
}

/* ---- console -----------------------------------------------------------------------------------
 */

static void put(char c)
{
    CHAR16 text[3] = { (CHAR16)c, 0, 0 };

    if (c == '\n') {
        text[0] = '\r';
        text[1] = '\n';
    }
    firmware_table->ConOut->OutputString(firmware_table->ConOut, text);
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[20];
    unsigned n = 0;

    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put(digits[--n]);
}

void say(const char *format, ...)
{
    __builtin_va_list args;

    __builtin_va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        format++;
        if (*format == 's') {
            for (const char *s = __builtin_va_arg(args, const char *); *s; s++)
                put(*s);
        } else if (*format == 'u') {
            put_number(__builtin_va_arg(args, uint64_t), 10);
        } else if (*format == 'x') {
            put_number(__builtin_va_arg(args, uint64_t), 16);
        } else {
            put(*format);
        }
    }
    __builtin_va_end(args);
}

void wait_for_key(void)
{
    UINTN index;

    firmware_table->BootServices->WaitForEvent(1, &firmware_table->ConIn->WaitForKey, &index);
}

/* ---- files -------------------------------------------------------------------------------------
 */

static EFI_FILE_HANDLE open_volume(void)
{
    static EFI_GUID image_guid = LOADED_IMAGE_PROTOCOL;
    static EFI_GUID volume_guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    EFI_BOOT_SERVICES *bs = firmware_table->BootServices;
    EFI_LOADED_IMAGE *image;
    EFI_FILE_IO_INTERFACE *volume;
    EFI_FILE_HANDLE root;

    if (bs->HandleProtocol(firmware_image, &image_guid, (void **)&image) != EFI_SUCCESS ||
        bs->HandleProtocol(image->DeviceHandle, &volume_guid, (void **)&volume) != EFI_SUCCESS ||
        volume->OpenVolume(volume, &root) != EFI_SUCCESS)
        return NULL;
    return root;
}

/* Size by seeking to the end: no variable-length information structure is needed. */
static bool read_all(EFI_FILE_HANDLE file, struct boot_file *out, const char **why)
{
    UINT64 size;

    *why = "cannot be read";
    if (file->SetPosition(file, ~0ull) != EFI_SUCCESS ||
        file->GetPosition(file, &size) != EFI_SUCCESS || file->SetPosition(file, 0) != EFI_SUCCESS)
        return false;
    if (!size) {
        *why = "is empty";
        return false;
    }
    if (size > 1ull << 32 || !(out->base = memory_take((size + PAGE - 1) & ~(PAGE - 1), PAGE))) {
        *why = "does not fit into memory";
        return false;
    }
    for (out->size = 0; out->size < size;) {
        UINTN piece = size - out->size;

        if (file->Read(file, &piece, (void *)(out->base + out->size)) != EFI_SUCCESS || !piece)
            return false;
        out->size += piece;
    }
    return true;
}

bool file_read(const char *path, struct boot_file *out, const char **why)
{
    EFI_FILE_HANDLE root = open_volume(), file;
    CHAR16 wide[256];
    unsigned n = 0;
    bool ok = false;

    *why = "not found";
    if (!root) {
        *why = "the boot volume cannot be opened";
        return false;
    }
    while (path[n] && n + 1 < sizeof(wide) / sizeof(wide[0])) {
        wide[n] = (CHAR16)path[n];
        n++;
    }
    wide[n] = 0;
    if (root->Open(root, &file, wide, EFI_FILE_MODE_READ, 0) == EFI_SUCCESS) {
        ok = read_all(file, out, why);
        file->Close(file);
    }
    root->Close(root);
    return ok;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

uint64_t memory_take(uint64_t size, uint64_t align)
{
    EFI_BOOT_SERVICES *bs = firmware_table->BootServices;
    uint64_t slack = align > PAGE ? align - PAGE : 0, base, aligned;

    if (bs->AllocatePages(AllocateAnyPages, EfiLoaderData, (size + slack) / PAGE, &base) !=
        EFI_SUCCESS)
        return 0;
    aligned = (base + align - 1) & ~(align - 1);
    if (aligned > base)
        bs->FreePages(base, (aligned - base) / PAGE);
    if (aligned - base < slack)
        bs->FreePages(aligned + size, (slack - (aligned - base)) / PAGE);
    zero(aligned, size);
    return aligned;
}

bool memory_take_at(uint64_t base, uint64_t size)
{
    if (firmware_table->BootServices->AllocatePages(AllocateAddress, EfiLoaderData, size / PAGE,
                                                    &base) != EFI_SUCCESS)
        return false;
    zero(base, size);
    return true;
}

/* UEFI memory types in the four kinds that matter later (UEFI 2.10, table 7.6). */
static const uint8_t kind_of_type[] = {
    [EfiReservedMemoryType] = BOOT_RESERVED,
    [EfiLoaderCode] = BOOT_RAM,
    [EfiLoaderData] = BOOT_RAM,
    [EfiBootServicesCode] = BOOT_RAM,
    [EfiBootServicesData] = BOOT_RAM,
    [EfiRuntimeServicesCode] = BOOT_RESERVED,
    [EfiRuntimeServicesData] = BOOT_RESERVED,
    [EfiConventionalMemory] = BOOT_RAM,
    [EfiUnusableMemory] = BOOT_RESERVED,
    [EfiACPIReclaimMemory] = BOOT_ACPI,
    [EfiACPIMemoryNVS] = BOOT_ACPI,
    [EfiMemoryMappedIO] = BOOT_MMIO,
    [EfiMemoryMappedIOPortSpace] = BOOT_MMIO,
    [EfiPalCode] = BOOT_RESERVED,
};

/* Insert in ascending order, joining with a neighbour of the same kind. False: too many pieces. */
static bool add_range(struct bootinfo *info, uint64_t base, uint64_t size, uint32_t kind)
{
    struct boot_memory *m = info->memory;
    uint32_t i = info->nmemory;

    while (i && m[i - 1].base > base)
        i--;
    if (i && m[i - 1].kind == kind && m[i - 1].base + m[i - 1].size == base) {
        m[i - 1].size += size;
        return true;
    }
    if (i < info->nmemory && m[i].kind == kind && base + size == m[i].base) {
        m[i].base = base;
        m[i].size += size;
        return true;
    }
    if (info->nmemory == BOOT_MEMORY_MAX)
        return false;
    for (uint32_t j = info->nmemory++; j > i; j--)
        m[j] = m[j - 1];
    m[i] = (struct boot_memory){ .base = base, .size = size, .kind = kind };
    return true;
}

bool firmware_leave(struct bootinfo *info)
{
    /* Static: asking for memory would change the map that is being asked for. */
    static alignas(16) uint8_t map[64 * 1024];
    EFI_BOOT_SERVICES *bs = firmware_table->BootServices;
    UINTN size, key, step;
    UINT32 version;

    /* The map may change under the first attempt (a timer); then once more (UEFI 2.10, 7.4.6). */
    for (int attempt = 0;; attempt++) {
        size = sizeof(map);
        if (bs->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)map, &key, &step, &version) !=
            EFI_SUCCESS)
            return false;
        if (bs->ExitBootServices(firmware_image, key) == EFI_SUCCESS)
            break;
        if (attempt == 3)
            return false;
    }
    for (UINTN at = 0; at + step <= size; at += step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map + at);
        uint32_t kind = d->Type < sizeof(kind_of_type) ? kind_of_type[d->Type] : BOOT_RESERVED;

        /* What does not fit is left out: memory that is not in the map is not used. */
        (void)!add_range(info, d->PhysicalStart, d->NumberOfPages * PAGE,
                         kind ? kind : BOOT_RESERVED);
    }
    return true;
}
