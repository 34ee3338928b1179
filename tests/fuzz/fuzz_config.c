/* SPDX-License-Identifier: BSD-2-Clause */
/* build: boot/config.c */
/* sluice.cfg. Input: the file. */
#include "boot/config.h"
#include "tests/fuzz/fuzz.h"

#define TWO_MIB 0x200000ull

static struct config *parse(const uint8_t *data, size_t size, size_t more, bool *good,
                            struct config_error *error)
{
    char *text = malloc(size + more ? size + more : 1); /* no byte more than the parser may read */
    struct config *c = calloc(1, sizeof(*c));

    memset(text, '\n', size + more ? size + more : 1);
    if (size)
        memcpy(text, data, size);
    *error = (struct config_error){ 0 };
    *good = config_parse(text, size + more, c, error);
    free(text);
    return c;
}

static void check_error(const struct config_error *e, const uint8_t *data, size_t size)
{
    uint32_t lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    must(e->line <= lines);
    must(memchr(e->text, 0, sizeof(e->text)) && e->text[0]);
    for (const char *c = e->text; *c; c++)
        must(*c >= 0x20 && *c < 0x7f);
}

static void check_vm(const struct config *c, const struct config_vm *vm)
{
    must(memchr(vm->name, 0, sizeof(vm->name)) && vm->name[0]);
    must(memchr(vm->kernel.text, 0, CONFIG_PATH) && vm->kernel.text[0]);
    must(memchr(vm->ramdisk.text, 0, CONFIG_PATH) && memchr(vm->cmdline, 0, BOOT_CMDLINE));
    must(vm->memory && vm->memory % TWO_MIB == 0 && vm->memory <= 1ull << 52);
    must(!vm->placed || (vm->memory_base % TWO_MIB == 0 && vm->memory_base <= 1ull << 52));
    must(vm->cpus >= 1 && vm->cpus <= BOOT_VM_CPUS && vm->npci <= BOOT_VM_PCI);
    must(vm->table_quota >= 64);
    for (const struct config_vm *o = c->vm; o <= vm; o++) {
        if (o != vm) {
            must(strcmp(o->name, vm->name) != 0);
            must(!o->placed || !vm->placed || o->memory_base + o->memory <= vm->memory_base ||
                 vm->memory_base + vm->memory <= o->memory_base);
        }
        for (uint32_t i = 0; i < vm->cpus; i++)
            for (uint32_t k = 0; k < (o == vm ? i : o->cpus); k++)
                must(o->cpu[k] != vm->cpu[i]);
        for (uint32_t i = 0; i < vm->npci; i++)
            for (uint32_t k = 0; k < (o == vm ? i : o->npci); k++)
                must(o->pci[k].rid != vm->pci[i].rid);
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct config_error error, other;
    bool good, also;
    struct config *c = parse(data, size, 0, &good, &error);
    struct config *more = parse(data, size, 2, &also, &other);

    must(good == also); /* empty lines at the end say nothing */
    if (good) {
        must(memcmp(c, more, sizeof(*c)) == 0);
        must(c->nvms >= 1 && c->nvms <= BOOT_VMS_MAX && c->log_level <= 3);
        must(c->memory && c->memory % TWO_MIB == 0 && c->console_port <= 0xfff8);
        must(c->deadline_ms >= 1 && c->deadline_ms <= 60000 && c->reboot_when_done <= 1);
        for (uint32_t i = 0; i < c->nvms; i++)
            check_vm(c, &c->vm[i]);
    } else {
        check_error(&error, data, size);
    }
    free(c);
    free(more);
}
