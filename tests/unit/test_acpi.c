/* SPDX-License-Identifier: BSD-2-Clause */
/* Firmware tables, sound and broken: nothing outside the memory map is read, nothing unsound
 * believed. */
#include <string.h>

#include "hv/acpi.h"
#include "tests/platform/platform.h"

#define FIRMWARE_SIZE 0x10000u

/* One region of ACPI memory, and a small allocator in it. */
static struct fixture {
    struct bootinfo boot;
    uint64_t base, next;
    uint64_t table[16];
    unsigned ntables;
} f;

static uint8_t *at(uint64_t pa)
{
    return platform_memory(pa, 1);
}

static void fix_checksum(uint8_t *p, size_t size, unsigned field)
{
    uint8_t sum = 0;

    p[field] = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + p[i]);
    p[field] = (uint8_t)-sum;
}

static uint64_t table(const char *signature, const void *body, size_t size)
{
    uint64_t pa = f.next;
    uint8_t *p = at(pa);

    memcpy(p, signature, 4);
    platform_put(p, 4, 4, 36 + size);
    memcpy(p + 36, body, size);
    fix_checksum(p, 36 + size, 9);
    f.next += (36 + size + 15) & ~15ull;
    f.table[f.ntables++] = pa;
    return pa;
}

static const char rsdp_signature[8] = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' };

/* Root table over all tables so far, and the root pointer. */
static void finish(bool xsdt)
{
    uint8_t body[16 * 8];
    unsigned width = xsdt ? 8 : 4, n = f.ntables;

    for (unsigned i = 0; i < n; i++)
        platform_put(body, i * width, width, f.table[i]);
    uint64_t root = table(xsdt ? "XSDT" : "RSDT", body, n * width);
    uint8_t *r = at(f.next);
    f.boot.rsdp = f.next;
    memcpy(r, rsdp_signature, sizeof(rsdp_signature));
    r[15] = xsdt ? 2 : 0;
    platform_put(r, 16, 4, xsdt ? 0 : root);
    fix_checksum(r, 20, 8);
    if (xsdt) {
        platform_put(r, 20, 4, 36);
        platform_put(r, 24, 8, root);
        fix_checksum(r, 36, 32);
    }
}

static void begin(void)
{
    memset(&f, 0, sizeof(f));
    f.base = f.next = platform_ram(FIRMWARE_SIZE).v;
    f.boot.memory[0] = (struct boot_memory){ 0, f.base, BOOT_MMIO, 0 };
    f.boot.memory[1] = (struct boot_memory){ f.base, FIRMWARE_SIZE / 2, BOOT_ACPI, 0 };
    f.boot.memory[2] =
        (struct boot_memory){ f.base + FIRMWARE_SIZE / 2, FIRMWARE_SIZE / 2, BOOT_RAM, 0 };
    f.boot.nmemory = 3;
}

static void tables_are_found(void **state)
{
    size_t length = 0;
    (void)state;
    begin();
    table("AAAA", "x", 1);
    uint64_t b = table("BBBB", "hello", 5);
    table("BBBB", "other", 5);
    finish(true);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    assert_ptr_equal(acpi_find("BBBB", &length), at(b)); /* the first of two */
    assert_int_equal(length, 41);
    assert_null(acpi_find("CCCC", &length));
}

/* An RSDT holds 32-bit pointers: the arena is seen 4 GiB lower meanwhile. */
static void old_root_has_short_pointers(void **state)
{
    const uint64_t lower = PLATFORM_RAM_BASE;
    size_t length = 0;
    (void)state;
    begin();
    table("AAAA", "x", 1);
    table("BBBB", "hello", 5);
    f.table[0] -= lower;
    f.table[1] -= lower;
    finish(false);
    platform_put(at(f.boot.rsdp), 16, 4, f.table[2] - lower);
    fix_checksum(at(f.boot.rsdp), 20, 8);
    f.boot.rsdp -= lower;
    for (unsigned i = 1; i < f.boot.nmemory; i++)
        f.boot.memory[i].base -= lower;
    phys_offset += lower;
    enum hv_status status = acpi_init(&f.boot);
    const uint8_t *t = acpi_find("BBBB", &length);
    phys_offset -= lower;
    assert_int_equal(status, HV_OK);
    assert_ptr_equal(t, at(f.table[1] + lower));
    assert_int_equal(length, 41);
}

static void broken_roots_are_refused(void **state)
{
    (void)state;
    begin();
    assert_int_equal(acpi_init(&f.boot), HV_ENODEV); /* rsdp 0 */
    table("AAAA", "x", 1);
    finish(true);
    uint64_t rsdp = f.boot.rsdp, root = f.table[1];
    assert_int_equal(acpi_init(&f.boot), HV_OK);

    static const struct {
        unsigned byte;
        const char *what;
    } flips[] = {
        { 0, "signature" },
        { 8, "checksum" },
        { 32, "extended checksum" },
        { 24, "pointer" },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(flips); i++) {
        at(rsdp)[flips[i].byte] ^= 1;
        assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
        assert_null(acpi_find("AAAA", &(size_t){ 0 }));
        at(rsdp)[flips[i].byte] ^= 1;
    }
    f.boot.rsdp = f.base - 0x1000; /* where there is no memory */
    assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
    f.boot.rsdp = f.base + FIRMWARE_SIZE - 19;
    assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
    f.boot.rsdp = ~0ull - 8;
    assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
    f.boot.rsdp = rsdp;

    /* The root table: too short a length, one past memory, a bad sum, another signature. */
    static const uint64_t lengths[] = { 0, 35, FIRMWARE_SIZE + 1, 0xffffffff };
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        platform_put(at(root), 4, 4, lengths[i]);
        assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
    }
    platform_put(at(root), 4, 4, 44);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    at(root)[40] ^= 4;
    assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
    at(root)[40] ^= 4;
    at(root)[0] = 'R';
    fix_checksum(at(root), 44, 9);
    assert_int_equal(acpi_init(&f.boot), HV_EINVAL);
}

static void broken_tables_are_left_out(void **state)
{
    size_t length;
    (void)state;
    begin();
    uint64_t bad = table("AAAA", "first", 5);
    uint64_t good = table("AAAA", "second", 6);
    f.table[f.ntables++] = 0x1234; /* a pointer to nowhere */
    f.table[f.ntables++] = ~0ull;
    finish(true);
    at(bad)[40] ^= 1;
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    assert_ptr_equal(acpi_find("AAAA", &length), at(good));
    assert_true(platform_logged("AAAA"));
    at(good)[4] = 7; /* shorter than its header */
    assert_null(acpi_find("AAAA", &length));
}

/* --- MADT ------------------------------------------------------------------------------------- */

struct madt {
    uint8_t bytes[8 + 600 * 16];
    size_t size;
};

static void entry(struct madt *m, const void *bytes, size_t size)
{
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static enum hv_status read_madt(const struct madt *m, struct acpi_madt *out)
{
    begin();
    table("APIC", m->bytes, m->size);
    finish(true);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    return acpi_madt(out);
}

static void madt_lists_enabled_cpus(void **state)
{
    static struct acpi_madt out;
    struct madt m = { .size = 8 };
    (void)state;
    entry(&m, (uint8_t[]){ 0, 8, 0, 5, 1, 0, 0, 0 }, 8); /* APIC id 5 */
    entry(&m, (uint8_t[]){ 0, 8, 1, 6, 0, 0, 0, 0 }, 8); /* disabled */
    entry(&m, (uint8_t[]){ 4, 6, 0, 0, 0, 0 }, 6);       /* NMI: passed over */
    entry(&m, (uint8_t[]){ 9, 16, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 }, 16); /* id 0x200 */
    entry(&m, (uint8_t[]){ 9, 16, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 }, 16); /* id 5 again */
    entry(&m, (uint8_t[]){ 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 }, 12);
    assert_int_equal(read_madt(&m, &out), HV_OK);
    assert_int_equal(out.ncpus, 2);
    assert_int_equal(out.apic_id[0], 5);
    assert_int_equal(out.apic_id[1], 0x200);
    assert_int_equal(out.nioapics, 1);
    assert_int_equal(out.ioapic[0], 0xfec00000);
}

static void madt_entries_stay_inside(void **state)
{
    static struct acpi_madt out;
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } bad[] = {
        { { 0, 0 }, 2 }, /* length 0 would never end */
        { { 0, 1 }, 2 },
        { { 0, 8, 0, 5, 1, 0, 0 }, 7 }, /* past the end */
        { { 0, 7, 0, 5, 1, 0, 0 }, 7 }, /* too short for its type */
        { { 9, 8, 0, 5, 1, 0, 0, 0 }, 8 },
        { { 1, 8, 0, 5, 1, 0, 0, 0 }, 8 },
        { { 0x80 }, 1 }, /* type without length */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct madt m = { .size = 8 };
        entry(&m, (uint8_t[]){ 0, 8, 0, 1, 1, 0, 0, 0 }, 8);
        entry(&m, bad[i].bytes, bad[i].size);
        assert_int_equal(read_madt(&m, &out), HV_EINVAL);
    }
    struct madt none = { .size = 8 }, many = { .size = 8 };
    assert_int_equal(read_madt(&none, &out), HV_EINVAL);
    for (unsigned i = 0; i < CPUS_MAX + 1; i++) {
        if (i == CPUS_MAX)
            assert_int_equal(read_madt(&many, &out), HV_OK);
        entry(
            &many,
            (uint8_t[]){ 9, 16, 0, 0, (uint8_t)i, (uint8_t)(i >> 8), 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 },
            16);
    }
    assert_int_equal(read_madt(&many, &out), HV_ERANGE);
    begin();
    finish(true);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    assert_int_equal(acpi_madt(&out), HV_ENODEV);
}

static void ecam_is_that_of_segment_0(void **state)
{
    struct acpi_ecam ecam;
    uint8_t body[8 + 32] = { 0 };
    (void)state;
    platform_put(body, 8, 8, 0xd0000000);
    platform_put(body, 16, 2, 1); /* segment 1 */
    platform_put(body, 24, 8, 0xe0000000);
    body[8 + 16 + 11] = 0x3f;
    begin();
    table("MCFG", body, sizeof(body));
    finish(true);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    assert_int_equal(acpi_ecam(&ecam), HV_OK);
    assert_int_equal(ecam.base.v, 0xe0000000);
    assert_int_equal(ecam.first, 0);
    assert_int_equal(ecam.last, 0x3f);
    begin();
    table("MCFG", body, 8 + 15); /* half an entry */
    finish(true);
    assert_int_equal(acpi_init(&f.boot), HV_OK);
    assert_int_equal(acpi_ecam(&ecam), HV_ENODEV);
}

static void pm_timer_needs_a_long_enough_fadt(void **state)
{
    uint8_t body[100] = { 0 };
    (void)state;
    platform_put(body, 76 - 36, 4, 0x608);
    for (unsigned size = 40; size < 48; size++) {
        begin();
        table("FACP", body, size);
        finish(true);
        assert_int_equal(acpi_init(&f.boot), HV_OK);
        assert_int_equal(acpi_pm_timer_port(), size < 44 ? 0 : 0x608);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(tables_are_found),          platform_test(old_root_has_short_pointers),
        platform_test(broken_roots_are_refused),  platform_test(broken_tables_are_left_out),
        platform_test(madt_lists_enabled_cpus),   platform_test(madt_entries_stay_inside),
        platform_test(ecam_is_that_of_segment_0), platform_test(pm_timer_needs_a_long_enough_fadt),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
