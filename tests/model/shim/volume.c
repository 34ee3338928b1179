/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files: the shim's options, and the loader that it starts. The loader is \EFI\sluice\loader.efi of
 * the shim's own volume; if there is none, \EFI\BOOT\BOOTX64.EFI of another volume, so that a disk
 * with the shim alone starts an unchanged image on another disk.
 */
#include "tests/model/shim/shim.h"

static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;

enum { PATH_MAX_BYTES = 1024, OPTIONS_MAX = 4096 };

static EFI_STATUS open_file(EFI_HANDLE volume, CHAR16 *path, EFI_FILE **file)
{
    EFI_FILE_IO_INTERFACE *fs;
    EFI_FILE *root;
    EFI_STATUS status =
        system_table->BootServices->HandleProtocol(volume, &file_system_guid, (void **)&fs);

    if (EFI_ERROR(status))
        return status;
    status = fs->OpenVolume(fs, &root);
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, file, path, EFI_FILE_MODE_READ, 0);
    root->Close(root);
    return status;
}

static bool is_word(const char *text, UINTN len, const char *word)
{
    UINTN i = 0;

    while (i < len && word[i] && text[i] == word[i])
        i++;
    return i == len && !word[i];
}

void options_read(EFI_HANDLE volume, struct shim_options *options)
{
    static char text[OPTIONS_MAX];
    UINTN size = sizeof(text);
    EFI_FILE *file;

    if (EFI_ERROR(open_file(volume, L"\\EFI\\sluice\\shim.cfg", &file)))
        return;
    if (EFI_ERROR(file->Read(file, &size, text)))
        size = 0;
    file->Close(file);

    for (UINTN start = 0, end; start < size; start = end + 1) {
        for (end = start; end < size && text[end] > ' '; end++)
            ;
        if (end == start)
            continue;
        if (is_word(text + start, end - start, "no-dmar"))
            options->no_dmar = true;
        else if (is_word(text + start, end - start, "no-intr-remap"))
            options->no_intr_remap = true;
        else if (is_word(text + start, end - start, "x2apic-opt-out"))
            options->x2apic_opt_out = true;
        else if (is_word(text + start, end - start, "left-running"))
            options->left_running = true;
        else if (is_word(text + start, end - start, "protected"))
            options->protected = true;
        else if (is_word(text + start, end - start, "rmrr"))
            options->rmrr = true;
        else
            say("shim: shim.cfg has a word that means nothing here\n");
    }
}

static void copy(uint8_t *to, const void *from, UINTN size)
{
    const uint8_t *bytes = from;

    while (size--)
        *to++ = *bytes++;
}

static UINTN node_length(const EFI_DEVICE_PATH *node)
{
    return node->Length[0] | (UINTN)node->Length[1] << 8;
}

/* The device path of `path` on a volume: the volume's path, a file node, the end. */
static bool file_path(EFI_HANDLE volume, const CHAR16 *path, uint8_t *out)
{
    static const uint8_t end[4] = { END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, 4, 0 };
    EFI_DEVICE_PATH *node;
    UINTN used = 0, text = sizeof(CHAR16);

    if (EFI_ERROR(
            system_table->BootServices->HandleProtocol(volume, &device_path_guid, (void **)&node)))
        return false;
    for (const CHAR16 *c = path; *c; c++)
        text += sizeof(CHAR16);
    while (node->Type != END_DEVICE_PATH_TYPE) {
        UINTN len = node_length(node);

        if (len < sizeof(*node) || used + len + 4 + text + sizeof(end) > PATH_MAX_BYTES)
            return false;
        copy(out + used, node, len);
        used += len;
        node = (EFI_DEVICE_PATH *)((uint8_t *)node + len);
    }

    const uint8_t header[4] = { MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP, (uint8_t)(4 + text),
                                (uint8_t)((4 + text) >> 8) };

    copy(out + used, header, sizeof(header));
    copy(out + used + 4, path, text);
    copy(out + used + 4 + text, end, sizeof(end));
    return true;
}

static EFI_STATUS start(EFI_HANDLE image, EFI_HANDLE volume, CHAR16 *path, const char *what)
{
    alignas(8) static uint8_t buffer[PATH_MAX_BYTES];
    EFI_HANDLE loader;
    EFI_FILE *file;
    EFI_STATUS status = open_file(volume, path, &file);

    if (EFI_ERROR(status))
        return EFI_NOT_FOUND;
    file->Close(file);
    if (!file_path(volume, path, buffer))
        return EFI_NOT_FOUND;
    say("shim: starting %s\n", what);
    status = system_table->BootServices->LoadImage(FALSE, image, (EFI_DEVICE_PATH *)buffer, NULL, 0,
                                                   &loader);
    if (EFI_ERROR(status)) {
        say("shim: it cannot be loaded (%r)\n", status);
        return status;
    }
    return system_table->BootServices->StartImage(loader, NULL, NULL);
}

static EFI_STATUS start_from_another_volume(EFI_HANDLE image, EFI_HANDLE own)
{
    EFI_BOOT_SERVICES *bs = system_table->BootServices;
    EFI_STATUS status = EFI_NOT_FOUND;
    EFI_HANDLE *handles;
    UINTN count;

    if (EFI_ERROR(bs->LocateHandleBuffer(ByProtocol, &file_system_guid, NULL, &count, &handles)))
        return EFI_NOT_FOUND;
    for (UINTN i = 0; i < count && status == EFI_NOT_FOUND; i++)
        if (handles[i] != own)
            status = start(image, handles[i], L"\\EFI\\BOOT\\BOOTX64.EFI", "the image's loader");
    bs->FreePool(handles);
    return status;
}

/* Drivers for every device: the firmware may have connected only what it booted from. */
static void connect_all(void)
{
    EFI_BOOT_SERVICES *bs = system_table->BootServices;
    EFI_HANDLE *handles;
    UINTN count;

    if (EFI_ERROR(bs->LocateHandleBuffer(AllHandles, NULL, NULL, &count, &handles)))
        return;
    for (UINTN i = 0; i < count; i++)
        bs->ConnectController(handles[i], NULL, NULL, TRUE);
    bs->FreePool(handles);
}

EFI_STATUS loader_start(EFI_HANDLE image, EFI_HANDLE volume)
{
    EFI_STATUS status = start(image, volume, L"\\EFI\\sluice\\loader.efi", "loader.efi");

    if (status == EFI_NOT_FOUND)
        status = start_from_another_volume(image, volume);
    if (status == EFI_NOT_FOUND) {
        connect_all();
        status = start_from_another_volume(image, volume);
    }
    if (status == EFI_NOT_FOUND)
        say("shim: no loader on any volume\n");
    return status;
}
