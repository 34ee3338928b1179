/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UEFI loader: reads \sluice\sluice.cfg, checks it against the machine, loads every file,
 * reserves all memory, and only then leaves the firmware. Whatever is wrong is said with file and
 * line, and nothing is started.
 */
#include "boot/config.h"
#include "boot/firmware.h"
#include "boot/handoff.h"
#include "boot/machine.h"
#include "boot/mp_services.h"

#define HOME        "\\sluice\\"
#define CONFIG_FILE "\\sluice\\sluice.cfg"
#define CONFIG_MAX  0x10000u

/* "\path" is from the root of the volume, all else from \sluice. */
static bool read_named(const struct config_path *path, struct boot_file *out,
                       struct config_error *error)
{
    char full[CONFIG_PATH + sizeof(HOME)];
    const char *why, *home = path->text[0] == '\\' ? "" : HOME;
    unsigned n = 0;

    while (*home)
        full[n++] = *home++;
    for (const char *c = path->text; *c;)
        full[n++] = *c++;
    full[n] = 0;
    say("loading %s\n", full);
    if (file_read(full, out, &why))
        return true;
    say("%s: %s\n", full, why);
    return config_fail(error, path->line, "this file cannot be loaded: ", path->text);
}

/* The hypervisor, too, asks the MADT first and the firmware next. */
static uint32_t count_cpus(const struct bootinfo *info)
{
    uint32_t cpus = machine_cpus(info->rsdp);

    return cpus ? cpus : info->ncpus ? info->ncpus : 1;
}

static bool check_machine(const struct config *c, const struct bootinfo *info,
                          struct config_error *error)
{
    uint32_t cpus = count_cpus(info);

    for (const struct config_vm *vm = c->vm; vm < c->vm + c->nvms; vm++) {
        for (uint32_t i = 0; i < vm->cpus; i++) {
            if (vm->cpu[i] >= cpus) {
                say("CPU %u is asked for; this machine has 0 to %u\n", (uint64_t)vm->cpu[i],
                    (uint64_t)cpus - 1);
                return config_fail(error, vm->cpus_line, "no such CPU, for ", vm->name);
            }
        }
        for (uint32_t i = 0; i < vm->npci; i++) {
            uint16_t rid = vm->pci[i].rid;

            if (!machine_has_pci(rid)) {
                say("no PCI function answers at %x:%x.%u\n", (uint64_t)rid >> 8,
                    (uint64_t)rid >> 3 & 31, (uint64_t)rid & 7);
                return config_fail(error, vm->pci[i].line, "no such PCI function, for ", vm->name);
            }
        }
    }
    return true;
}

static bool take_memory(const struct config_vm *vm, struct boot_vm *out, struct config_error *error)
{
    out->ram.size = vm->memory;
    out->ram.base = vm->memory_base;
    if (vm->placed ? !memory_take_at(vm->memory_base, vm->memory)
                   : !(out->ram.base = memory_take(vm->memory, LARGE)))
        return config_fail(error, vm->memory_line,
                           vm->placed ? "this place is not free RAM, for "
                                      : "this machine has no free piece of RAM this large, for ",
                           vm->name);
    return true;
}

static bool prepare_vm(const struct config_vm *vm, struct boot_vm *out, struct config_error *error)
{
    copy(out->name, vm->name, sizeof(out->name));
    copy(out->cmdline, vm->cmdline, sizeof(out->cmdline));
    copy(out->cpu, vm->cpu, sizeof(out->cpu));
    copy(out->pci, vm->pci, sizeof(out->pci));
    out->line = vm->line;
    out->cpus = vm->cpus;
    out->npci = vm->npci;
    out->table_quota = vm->table_quota;
    return take_memory(vm, out, error) && read_named(&vm->kernel, &out->kernel, error) &&
           (!vm->ramdisk.text[0] || read_named(&vm->ramdisk, &out->ramdisk, error));
}

static bool load_hypervisor(const struct config *c, struct handoff *h, struct config_error *error)
{
    struct config_path image = c->image;
    struct boot_file file;
    const char *wrong;

    if (!image.text[0])
        image = (struct config_path){ "sluice.elf", c->line };
    if (!read_named(&image, &file, error))
        return false;
    wrong = handoff_load_image(file, h);
    if (wrong) {
        say("%s: %s\n", image.text, wrong);
        return config_fail(error, image.line, "not usable as hypervisor: ", image.text);
    }
    h->info->pool = (struct boot_range){ memory_take(c->memory, LARGE), c->memory };
    if (!h->info->pool.base)
        return config_fail(error, c->memory_line,
                           "no free piece of RAM this large for [hypervisor]", NULL);
    return true;
}

/* Everything up to the last moment at which firmware still runs. */
static bool prepare(const struct config *c, struct handoff *h, struct config_error *error)
{
    uint64_t size = (handoff_memory() + LARGE - 1) & ~(LARGE - 1),
             memory = memory_take(size, LARGE);

    if (!memory)
        return config_fail(error, 0, "no memory for the loader's tables", NULL);
    /* struct bootinfo lies at the end of the loader's memory. */
    h->info =
        (struct bootinfo *)(memory + size - ((sizeof(struct bootinfo) + PAGE - 1) & ~(PAGE - 1)));
    h->info->magic = BOOT_MAGIC;
    h->info->version = BOOT_VERSION;
    h->info->size = sizeof(struct bootinfo);
    h->info->rsdp = machine_rsdp();
    h->info->ncpus = mp_services_cpus(h->info->apic_id, BOOT_CPUS_MAX);
    h->info->log_level = c->log_level;
    h->info->iommu = c->iommu;
    h->info->page_request_deadline_ms = c->deadline_ms;
    h->info->reboot_when_done = c->reboot_when_done;
    h->info->console_port = (uint16_t)c->console_port;
    h->info->nvms = c->nvms;
    if (!machine_has_nx())
        return config_fail(error, 0, "this CPU has no execute-disable (NX)", NULL);
    if (!check_machine(c, h->info, error) || !load_hypervisor(c, h, error))
        return false;
    for (uint32_t i = 0; i < c->nvms; i++)
        if (!prepare_vm(&c->vm[i], &h->info->vm[i], error))
            return false;
    handoff_build_tables(h, memory, size);
    return true;
}

/* NULL: @error says why. */
static const struct config *read_config(struct config_error *error)
{
    uint64_t size = (sizeof(struct config) + PAGE - 1) & ~(PAGE - 1);
    struct boot_file file;
    struct config *config;
    const char *why;

    if (!file_read(CONFIG_FILE, &file, &why)) {
        config_fail(error, 0, why, NULL);
        return NULL;
    }
    if (file.size > CONFIG_MAX) {
        config_fail(error, 0, "is larger than 64 KiB", NULL);
        return NULL;
    }
    config = (struct config *)memory_take(size, PAGE);
    if (!config) {
        config_fail(error, 0, "no memory to read it", NULL);
        return NULL;
    }
    return config_parse((const char *)file.base, file.size, config, error) ? config : NULL;
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table);

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    static struct config_error error;
    static struct handoff handoff;
    const struct config *config;

    firmware_image = image;
    firmware_table = table;
    table->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    say("\nSluice loader\n");
    config = read_config(&error);
    if (!config || !prepare(config, &handoff, &error)) {
        if (error.line)
            say("%s:%u: %s\n", CONFIG_FILE, (uint64_t)error.line, error.text);
        else
            say("%s: %s\n", CONFIG_FILE, error.text);
        say("Nothing was started. Mend it and start again; any key returns to the firmware.\n");
        wait_for_key();
        return EFI_INVALID_PARAMETER;
    }
    say("starting the hypervisor with %u VMs\n", (uint64_t)config->nvms);
    if (!firmware_leave(handoff.info)) {
        say("the firmware does not let go (ExitBootServices); any key returns to it\n");
        wait_for_key();
        return EFI_ABORTED;
    }
    handoff_jump(&handoff);
}
