/* SPDX-License-Identifier: BSD-2-Clause */
/* sluice.cfg: what is read from a good one, and the line and reason for each bad one. */
/* build: boot/config.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/config.h"

#define HEAD "[hypervisor]\n"                                    /* 1 line */
#define VM   "[alpha]\nmemory = 64M\ncpus = 0\nkernel = k.elf\n" /* 4 lines */

static struct config *parse(const char *text, bool expected, struct config_error *error)
{
    struct config *c = calloc(1, sizeof(*c));
    /* An exact copy, so that the sanitizer sees a read past the end. */
    size_t length = strlen(text);
    char *copy = malloc(length ? length : 1);

    memcpy(copy, text, length);
    memset(error, 0, sizeof(*error));
    if (config_parse(copy, length, c, error) != expected)
        fail_msg("line %u: %s", error->line, error->text);
    free(copy);
    return c;
}

static void test_full(void **state)
{
    struct config_error e;
    struct config *c = parse(
        "# comment\n"
        "; another\r\n"
        "\n"
        "  [hypervisor]  \n"
        "image = hv.elf\n"
        "memory=48M\n"
        "log = debug\n"
        "console = 0x2f8\n"
        "iommu = optional\n"
        "when-done = reboot\n"
        "page-request-deadline = 250\n"
        "[alpha]\n"
        "memory = 1G @ 0x40000000\n"
        "cpus = 3, 5-7\n"
        "kernel = sub/vmlinuz\n"
        "ramdisk = \\initrd\n"
        "cmdline = a=b [c] # d\n"
        "pci = 00:04.0, 0000:81:1f.7  rmrr=map,00:05.0 rmrr=refuse ats=auto interrupts=remapped,"
        "00:06.0 ats=off,00:07.0 interrupts=any ats=on rmrr=map\n"
        "table-quota = 8M\n"
        "[beta_2]\r\n"
        "memory = 2M\r\n"
        "cpus = 0\r\n"
        "kernel = k", /* no newline at the end */
        true, &e);
    const struct config_vm *a = &c->vm[0], *b = &c->vm[1];

    (void)state;
    assert_string_equal(c->image.text, "hv.elf");
    assert_int_equal(c->memory, 48 << 20);
    assert_int_equal(c->log_level, 3);
    assert_int_equal(c->console_port, 0x2f8);
    assert_int_equal(c->iommu, BOOT_IOMMU_OPTIONAL);
    assert_int_equal(c->reboot_when_done, 1);
    assert_int_equal(c->deadline_ms, 250);
    assert_int_equal(c->nvms, 2);
    assert_string_equal(a->name, "alpha");
    assert_int_equal(a->line, 12);
    assert_true(a->placed);
    assert_int_equal(a->memory, 1 << 30);
    assert_int_equal(a->memory_base, 0x40000000);
    assert_int_equal(a->cpus, 4);
    assert_int_equal(a->cpu[0], 3);
    assert_int_equal(a->cpu[3], 7);
    assert_string_equal(a->kernel.text, "sub\\vmlinuz");
    assert_string_equal(a->ramdisk.text, "\\initrd");
    assert_string_equal(a->cmdline, "a=b [c] # d");
    assert_int_equal(a->npci, 5);
    assert_int_equal(a->pci[0].flags, 0);
    assert_int_equal(a->pci[1].flags, BOOT_PCI_MAP_FIRMWARE);
    assert_int_equal(a->pci[2].flags, 0);
    assert_int_equal(a->pci[3].flags, BOOT_PCI_ATS_OFF);
    assert_int_equal(a->pci[4].flags,
                     BOOT_PCI_ATS_ON | BOOT_PCI_ANY_INTERRUPT | BOOT_PCI_MAP_FIRMWARE);
    assert_int_equal(a->pci[0].rid, 0x20);
    assert_int_equal(a->pci[1].rid, 0x81ff);
    assert_int_equal(a->pci[1].line, 18);
    assert_int_equal(a->table_quota, 2048);
    assert_string_equal(b->name, "beta_2");
    assert_false(b->placed);
    assert_int_equal(b->memory, 2 << 20);
    assert_int_equal(b->cpus, 1);
    assert_string_equal(b->kernel.text, "k");
    assert_int_equal(b->kernel.line, 23);
    free(c);
}

static void test_defaults(void **state)
{
    struct config_error e;
    struct config *c = parse(HEAD VM, true, &e);

    (void)state;
    assert_int_equal(c->memory, 32 << 20);
    assert_int_equal(c->log_level, 2);
    assert_int_equal(c->console_port, 0x3f8);
    assert_int_equal(c->iommu, BOOT_IOMMU_REQUIRED);
    assert_int_equal(c->reboot_when_done, 0);
    assert_string_equal(c->image.text, "");
    assert_int_equal(c->vm[0].npci, 0);
    assert_int_equal(c->vm[0].table_quota, 1024);
    free(c);
}

static const struct bad {
    const char *text;
    uint32_t line;
    const char *reason;
} bad[] = {
    { "", 0, "no VM" },
    { HEAD, 1, "no VM" },
    { VM, 1, "must start with [hypervisor]" },
    { "memory = 1M\n" HEAD, 1, "before the first section" },
    { HEAD "memroy = 64M\n" VM, 2, "unknown key memroy; known here: image, memory, log" },
    { HEAD VM "ram = 1\n", 6, "unknown key ram; known here: memory, cpus, kernel" },
    { HEAD "hello\n" VM, 2, "neither [section] nor key = value" },
    { HEAD "[alpha\n", 2, "no ]" },
    { HEAD "[]\n", 2, "needs a name" },
    { HEAD "[Alpha]\n", 2, "a-z" },
    { HEAD "[a/b]\n", 2, "a-z" },
    { HEAD "[abcdefghijklmnopqrstuvwxyzabcdef]\n", 2, "too long" },
    { HEAD VM "[alpha]\n", 6, "there already" },
    { HEAD VM HEAD, 6, "comes once and first" },
    { HEAD HEAD VM, 2, "comes once and first" },
    { HEAD "log = info\nlog = info\n" VM, 3, "given twice: log" },
    { HEAD "log =\n" VM, 2, "no value for log" },
    { HEAD "log = loud\n" VM, 2, "not loud" },
    { HEAD "iommu = maybe\n" VM, 2, "not maybe" },
    { HEAD "when-done = sleep\n" VM, 2, "not sleep" },
    { HEAD "console = com1\n" VM, 2, "not com1" },
    { HEAD "console = 0x10000\n" VM, 2, "not 0x10000" },
    { HEAD "page-request-deadline = 0\n" VM, 2, "1 to 60000" },
    { HEAD "page-request-deadline = 60001\n" VM, 2, "1 to 60000" },
    { HEAD "memory = 3M\n" VM, 2, "multiple of 2M" },
    { HEAD "memory = 0\n" VM, 2, "multiple of 2M" },
    { HEAD "[a]\ncpus = 0\nkernel = k\n", 2, "section of a lacks memory" },
    { HEAD "[a]\nmemory = 2M\nkernel = k\n[b]\n", 2, "section of a lacks cpus" },
    { HEAD "[a]\nmemory = 2M\ncpus = 0\n", 2, "section of a lacks kernel" },
    { HEAD "[a]\nmemory = 64X\n", 3, "not a size" },
    { HEAD "[a]\nmemory = -64M\n", 3, "not a size" },
    { HEAD "[a]\nmemory = 99999999999999999999\n", 3, "not a size" },
    { HEAD "[a]\nmemory = 5000000G\n", 3, "not a size" },
    { HEAD "[a]\nmemory = 1M\n", 3, "multiple of 2M" },
    { HEAD "[a]\nmemory = 64M @ 0x1000\n", 3, "multiple of 2M" },
    { HEAD "[a]\nmemory = 64M @\n", 3, "a place in memory" },
    { HEAD "[a]\nmemory = 64M @ here\n", 3, "a place in memory" },
    { HEAD "[a]\nmemory = 64M @ 0x8000000\ncpus = 0\nkernel = k\n[b]\nmemory = 4M @ 0xbe00000\n", 7,
      "memory overlaps that of a" },
    { HEAD "[a]\nmemory = 4M @ 0xbe00000\ncpus = 0\nkernel = k\n[b]\nmemory = 64M @ 0x8000000\n", 7,
      "memory overlaps that of a" },
    { HEAD VM "[b]\ncpus = 1,0\n", 7, "named twice: 0" },
    { HEAD "[a]\ncpus = 2-4,3\n", 3, "named twice: 3" },
    { HEAD "[a]\ncpus = 4-2\n", 3, "cpus is a list" },
    { HEAD "[a]\ncpus = 1,,2\n", 3, "cpus is a list" },
    { HEAD "[a]\ncpus = one\n", 3, "cpus is a list" },
    { HEAD "[a]\ncpus = 256\n", 3, "cpus is a list" },
    { HEAD "[a]\ncpus = 0-16\n", 3, "more than 16" },
    { HEAD "[a]\npci = 4\n", 3, "not a PCI function" },
    { HEAD "[a]\npci = 00:04\n", 3, "not a PCI function" },
    { HEAD "[a]\npci = 00:20.0\n", 3, "not a PCI function" },
    { HEAD "[a]\npci = 00:04.8\n", 3, "not a PCI function" },
    { HEAD "[a]\npci = 0001:00:04.0\n", 3, "not a PCI function" },
    { HEAD "[a]\npci = 00:04.0 00:05.0\n", 3, "not an option of a PCI function such as" },
    { HEAD "[a]\npci = 00:04.0 rmrr=yes\n", 3, "such as rmrr=map: rmrr=yes" },
    { HEAD "[a]\npci = 00:04.0 ats=map\n", 3, "such as rmrr=map: ats=map" },
    { HEAD "[a]\npci = 00:04.0 interrupts=off\n", 3, "such as rmrr=map: interrupts=off" },
    { HEAD "[a]\npci = 00:04.0 ats=on ats=off\n", 3, "given twice: ats=off" },
    { HEAD "[a]\npci = 00:04.0 rmrr\n", 3, "such as rmrr=map: rmrr" },
    { HEAD "[a]\npci = 00:04.0 rmrr=map rmrr=map\n", 3, "given twice: rmrr=map" },
    { HEAD "[a]\npci = 00:04.0, 00:04.0\n", 3, "named twice: 00:04.0" },
    { HEAD VM "pci = 00:04.0\n[b]\npci = 0000:00:04.0\n", 8, "named twice: 0000:00:04.0" },
    { HEAD "[a]\ntable-quota = 4K\n", 3, "at least 256K" },
    { HEAD "[a]\ntable-quota = 300001\n", 3, "multiple of 4K" },
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct config_error e;

        free(parse(bad[i].text, false, &e));
        if (e.line != bad[i].line || !strstr(e.text, bad[i].reason))
            fail_msg("case %zu: got %u: %s; wanted %u: %s", i, e.line, e.text, bad[i].line,
                     bad[i].reason);
    }
}

/* Long values are refused, not cut. */
static void test_too_long(void **state)
{
    static const struct {
        const char *key;
        size_t length; /* first length that does not fit */
    } keys[] = { { "kernel", CONFIG_PATH },
                 { "ramdisk", CONFIG_PATH },
                 { "cmdline", BOOT_CMDLINE } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t over = 0; over < 2; over++) {
            char text[1024];
            struct config_error e;
            int n = snprintf(text, sizeof(text),
                             HEAD "[a]\nmemory = 2M\ncpus = 0\n%s%s = ", i ? "kernel = k\n" : "",
                             keys[i].key);

            memset(text + n, 'x', keys[i].length - 1 + over);
            strcpy(text + n + keys[i].length - 1 + over, "\n");
            free(parse(text, !over, &e));
            if (over)
                assert_non_null(strstr(e.text, "too long"));
        }
    }
}

/* A NUL would end the value for whoever reads it later. */
static void test_nul(void **state)
{
    static const char text[] = HEAD "[a]\nmemory = 2M\ncpus = 0\nkernel = k\0.elf\n";
    struct config *c = calloc(1, sizeof(*c));
    struct config_error e = { 0 };

    (void)state;
    assert_false(config_parse(text, sizeof(text) - 1, c, &e));
    assert_int_equal(e.line, 5);
    assert_non_null(strstr(e.text, "control character"));
    free(c);
}

/* A byte that does not print must not reach the console from an error message. */
static void test_message_is_clean(void **state)
{
    struct config_error e;

    (void)state;
    free(parse(HEAD "\x1b[2J\xff = 1\n", false, &e));
    for (const char *c = e.text; *c; c++)
        assert_in_range((unsigned char)*c, 0x20, 0x7e);
    assert_int_equal(e.line, 2);
}

static void test_limits(void **state)
{
    size_t room = 1 << 20, n;
    char *text = malloc(room);
    struct config_error e;

    (void)state;
    for (unsigned vms = BOOT_VMS_MAX; vms <= BOOT_VMS_MAX + 1; vms++) {
        n = (size_t)snprintf(text, room, HEAD);
        for (unsigned i = 0; i < vms; i++)
            n += (size_t)snprintf(text + n, room - n, "[vm%u]\nmemory = 2M\nkernel = k\n%s%u\n", i,
                                  i < 256 ? "cpus = " : "pci = 00:00.", i < 256 ? i : 0);
        struct config *c = parse(text, vms == BOOT_VMS_MAX, &e);
        if (vms == BOOT_VMS_MAX)
            assert_int_equal(c->nvms, BOOT_VMS_MAX);
        else
            assert_non_null(strstr(e.text, "more than 256 VMs"));
        free(c);
    }
    n = (size_t)snprintf(text, room, HEAD "[a]\npci = ");
    for (unsigned i = 0; i < BOOT_VM_PCI + 1; i++)
        n += (size_t)snprintf(text + n, room - n, "%s01:%02x.%u", i ? "," : "", i / 8, i % 8);
    free(parse(text, false, &e));
    assert_non_null(strstr(e.text, "more than 32 PCI functions: 01:04.0"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),   cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_message_is_clean),
        cmocka_unit_test(test_nul),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
