/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernels: sound ones land where they say, every broken field is refused with a reason. */
#include <stdlib.h>
#include <string.h>

#include "hv/acpi.h"
#include "hv/pvh.h"
#include "hv/vm.h"
#include "tests/platform/platform.h"

#define MIB (1ull << 20)

/* A kernel in the making: header, program headers at 64, data from 0x200 on. */
static struct kernel {
    unsigned bits, nphdrs;
    uint64_t size, data;
    uint8_t *file;
} k;

static struct vm vm;
static struct boot_vm config;
static uint64_t entry;

static void put(uint64_t offset, unsigned size, uint64_t value)
{
    platform_put(k.file, (unsigned)offset, size, value);
}

static void begin(unsigned bits, uint64_t ram)
{
    static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', 0, 1, 1 };
    paddr_t file = platform_ram(2 * MIB);

    k = (struct kernel){ .bits = bits, .size = 0x3000, .data = 0x200 };
    k.file = platform_memory(file.v, 2 * MIB);
    memset(k.file, 0, 2 * MIB);
    memcpy(k.file, ident, sizeof(ident));
    k.file[4] = bits == 64 ? 2 : 1;
    put(16, 2, 2);
    put(18, 2, bits == 64 ? 62 : 3);
    if (bits == 64) {
        put(32, 8, 64);
        put(54, 2, 56);
    } else {
        put(28, 4, 64);
        put(42, 2, 32);
    }
    config = (struct boot_vm){
        .name = "vm",
        .line = 12,
        .cmdline = "one two",
        .kernel = { file.v, k.size },
    };
    vm = (struct vm){ .name = "vm", .nram = 1, .ram_bytes = ram };
    uint64_t low = ram < VM_RAM_LOW_END ? ram : VM_RAM_LOW_END;
    vm.ram[0] = (struct vm_ram){ GPADDR(0), platform_ram(low < 64 * MIB ? low : 64 * MIB), low };
    if (ram > low)
        vm.ram[vm.nram++] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), vm.ram[0].hpa, ram - low };
}

struct phdr {
    uint32_t type;
    uint64_t offset, paddr, filesz, memsz;
};

/* @return its place in the file. */
static uint64_t add_phdr(struct phdr p)
{
    uint64_t at = 64 + k.nphdrs * (k.bits == 64 ? 56 : 32);

    put(at, 4, p.type);
    if (k.bits == 64) {
        put(at + 8, 8, p.offset);
        put(at + 24, 8, p.paddr);
        put(at + 32, 8, p.filesz);
        put(at + 40, 8, p.memsz);
    } else {
        put(at + 4, 4, p.offset);
        put(at + 12, 4, p.paddr);
        put(at + 16, 4, p.filesz);
        put(at + 20, 4, p.memsz);
    }
    put(k.bits == 64 ? 56 : 44, 2, ++k.nphdrs);
    return at;
}

static uint64_t add_note(unsigned desc_size, uint64_t value)
{
    uint64_t at = 0x2000;

    put(at, 4, 4); /* another one first, with padding */
    put(at + 4, 4, 3);
    put(at + 8, 4, 6);
    memcpy(k.file + at + 12, "Xen", 4);
    put(at + 20, 4, 4);
    put(at + 24, 4, desc_size);
    put(at + 28, 4, 18);
    memcpy(k.file + at + 32, "Xen", 4);
    put(at + 36, desc_size, value);
    return add_phdr((struct phdr){ 4, at, 0, 36 + desc_size, 36 + desc_size });
}

/* A kernel that is sound: one segment at 1 MiB with a bss, entry in it. */
static void sound(unsigned bits, uint64_t ram)
{
    begin(bits, ram);
    memset(k.file + 0x1000, 0xc3, 0x800);
    add_phdr((struct phdr){ 1, 0x1000, MIB, 0x800, 0x1800 });
    add_note(bits == 64 ? 8 : 4, MIB + 0x10);
}

static const uint8_t *guest(uint64_t gpa)
{
    return vm_ram(&vm, GPADDR(gpa), 1);
}

static uint64_t get(uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, guest(gpa), size);
    return value;
}

static void sound_kernels_are_loaded(void **state)
{
    (void)state;
    for (unsigned bits = 32; bits <= 64; bits += 32) {
        sound(bits, 32 * MIB);
        memset(vm_ram(&vm, GPADDR(MIB), 0x2000), 0xee, 0x2000);
        assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
        assert_int_equal(entry, MIB + 0x10);
        assert_int_equal(get(MIB, 1), 0xc3);
        assert_int_equal(get(MIB + 0x7ff, 1), 0xc3);
        for (uint64_t o = 0x800; o < 0x1800; o++)
            assert_int_equal(*guest(MIB + o), 0);
        assert_int_equal(*guest(MIB + 0x1800), 0xee);
    }
}

static void start_info_describes_the_machine(void **state)
{
    (void)state;
    sound(64, VM_RAM_LOW_END + 512 * MIB);
    vm.direct[vm.ndirect++] = (struct direct){ 0xc8000000, 0xc80fffff };
    assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
    assert_int_equal(get(PVH_INFO, 4), 0x336ec578);
    assert_int_equal(get(PVH_INFO + 4, 4), 1);
    assert_int_equal(get(PVH_INFO + 12, 4), 0); /* modules */
    assert_string_equal((const char *)guest(get(PVH_INFO + 24, 8)), "one two");
    uint64_t map = get(PVH_INFO + 40, 8);
    static const struct {
        uint64_t base, size;
        uint32_t type;
    } want[] = {
        { 0, 0xa0000, 1 },
        { 0xa0000, 0x60000, 2 },
        { MIB, VM_RAM_LOW_END - MIB, 1 },
        { VM_RAM_HIGH, 512 * MIB, 1 },
        { 0xc8000000, MIB, 2 }, /* firmware's */
    };
    assert_int_equal(get(PVH_INFO + 48, 4), ARRAY_SIZE(want));
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(get(map + i * 24, 8), want[i].base);
        assert_int_equal(get(map + i * 24 + 8, 8), want[i].size);
        assert_int_equal(get(map + i * 24 + 16, 4), want[i].type);
    }
}

/* The other side's reader of ACPI tables, which checks sums and bounds, finds what a guest needs.
 */
static void acpi_tables_are_sound(void **state)
{
    static struct bootinfo boot;
    static struct acpi_madt madt;
    size_t length;
    (void)state;
    sound(64, 32 * MIB);
    vm.nvcpus = BOOT_VM_CPUS;
    assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
    boot.rsdp = get(PVH_INFO + 32, 8);
    boot.memory[0] = (struct boot_memory){ PVH_HOLE, PVH_HOLE_END - PVH_HOLE, BOOT_ACPI, 0 };
    boot.nmemory = 1;
    uintptr_t before = phys_offset;
    phys_offset += vm.ram[0].hpa.v; /* as the guest sees its memory */
    assert_int_equal(acpi_init(&boot), HV_OK);
    enum hv_status status = acpi_madt(&madt);
    const uint8_t *fadt = acpi_find("FACP", &length);
    uint64_t dsdt = 0;
    if (fadt)
        memcpy(&dsdt, fadt + 140, 8);
    phys_offset = before;
    assert_int_equal(status, HV_OK);
    assert_int_equal(madt.ncpus, BOOT_VM_CPUS);
    for (unsigned i = 0; i < madt.ncpus; i++)
        assert_int_equal(madt.apic_id[i], i);
    assert_int_equal(madt.nioapics, 0);
    assert_non_null(fadt);
    if (!fadt)
        return;
    assert_int_equal(length, 276);
    assert_true(fadt[114] & 0x10); /* hardware-reduced */
    /* Both ways to restart write 6 to port 0xcf9: the reset register, and the PC's reset vector. */
    static const uint8_t reset[] = { 1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 6 };
    assert_true(fadt[113] & 4);
    assert_memory_equal(fadt + 116, reset, sizeof(reset));
    assert_memory_equal(guest(0xffff0), "\xba\xf9\x0c\xb0\x06\xee\xf4", 7);
    const uint8_t *t = guest(dsdt);
    assert_memory_equal(t, "DSDT", 4);
    uint8_t sum = 0;
    for (uint64_t i = 0, n = get(dsdt + 4, 4); i < n; i++)
        sum = (uint8_t)(sum + t[i]);
    assert_int_equal(sum, 0);
    assert_true(vm_ram(&vm, GPADDR(dsdt), get(dsdt + 4, 4)) &&
                dsdt + get(dsdt + 4, 4) <= PVH_HOLE_END);
}

static void ramdisk_lies_at_the_end_of_low_memory(void **state)
{
    paddr_t disk = platform_ram(2 * MIB);
    (void)state;
    sound(64, 32 * MIB);
    memset(platform_memory(disk.v, 5000), 0xd1, 5000);
    config.ramdisk = (struct boot_file){ disk.v, 5000 };
    assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
    assert_int_equal(get(PVH_INFO + 12, 4), 1);
    uint64_t module = get(PVH_INFO + 16, 8), base = get(module, 8);
    assert_int_equal(get(module + 8, 8), 5000);
    assert_int_equal(base, 32 * MIB - 0x2000);
    assert_int_equal(*guest(base), 0xd1);
    assert_int_equal(*guest(base + 4999), 0xd1);
    assert_int_equal(*guest(base + 5000), 0);
}

static void expect_refused(enum hv_status want, const char *why)
{
    platform_clear_log();
    entry = 77;
    assert_int_equal(pvh_load(&vm, &config, &entry), want);
    assert_int_equal(entry, 77);
    assert_true(platform_logged("line 12"));
    if (!platform_logged(why))
        fail_msg("log says: %s instead of: %s", platform_log(), why);
}

static void files_that_are_no_kernel(void **state)
{
    (void)state;
    sound(64, 32 * MIB);
    config.kernel.size = 63;
    expect_refused(HV_EINVAL, "no ELF file");
    config.kernel.size = 0;
    expect_refused(HV_EINVAL, "no ELF file");
    config.kernel.size = k.size;
    static const struct {
        unsigned offset, size;
        uint64_t value;
        const char *why;
    } rows[] = {
        { 0, 1, 'E', "no ELF file" },
        { 4, 1, 0, "not for x86" },
        { 4, 1, 3, "not for x86" },
        { 5, 1, 2, "not for x86" },           /* big-endian */
        { 18, 2, 183, "not for x86" },        /* AArch64 */
        { 32, 8, 0x2fff, "program headers" }, /* beyond the file */
        { 32, 8, ~0ull, "program headers" },
        { 54, 2, 32, "program headers" },
        { 56, 2, 0, "program headers" },
        { 56, 2, 33, "program headers" },
        { 56, 2, 0xffff, "program headers" },
        { 56, 2, 1, "no PVH note" }, /* without the note's header */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        sound(64, 32 * MIB);
        put(rows[i].offset, rows[i].size, rows[i].value);
        expect_refused(HV_EINVAL, rows[i].why);
    }
}

static void segments_that_do_not_fit(void **state)
{
    static const struct {
        struct phdr p;
        enum hv_status status;
        const char *why;
    } rows[] = {
        { { 1, 0x2800, 2 * MIB, 0x801, 0x900 }, HV_EINVAL, "truncated" },
        { { 1, 0x3001, 2 * MIB, 0, 0x900 }, HV_EINVAL, "truncated" },
        { { 1, ~0ull - 8, 2 * MIB, 0x10, 0x10 }, HV_EINVAL, "truncated" },
        { { 1, 0x1000, 2 * MIB, ~0ull, ~0ull }, HV_EINVAL, "truncated" },
        { { 4, 0x2ff0, 0, 0x20, 0x20 }, HV_EINVAL, "truncated" },
        { { 1, 0x1000, 2 * MIB, 0x20, 0x10 }, HV_EINVAL, "larger in the file" },
        { { 1, 0x1000, 32 * MIB - 0x10, 0x11, 0x11 }, HV_EFAULT, "outside" },
        { { 1, 0x1000, 32 * MIB, 0x10, 0x10 }, HV_EFAULT, "outside" },
        { { 1, 0x1000, ~0ull - 0xf, 0x10, 0x10 }, HV_EFAULT, "outside" },
        { { 1, 0x1000, 2 * MIB, 0x10, ~0ull }, HV_EFAULT, "outside" },
        { { 1, 0x1000, MIB + 0x17ff, 0x10, 0x10 }, HV_EFAULT, "overlap" },
        { { 1, 0x1000, MIB - 0x10, 0x10, 0x11 }, HV_EFAULT, "overlap" },
        { { 1, 0x1000, 0x1ff0, 0x10, 0x11 }, HV_EFAULT, "overlap" },  /* start info */
        { { 1, 0x1000, 0xb0000, 0x10, 0x10 }, HV_EFAULT, "overlap" }, /* the hole */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        sound(64, 32 * MIB);
        add_phdr(rows[i].p);
        expect_refused(rows[i].status, rows[i].why);
    }
    sound(64, 32 * MIB); /* neighbours are no overlap, and empty ones are nothing */
    add_phdr((struct phdr){ 1, 0x1000, MIB + 0x1800, 0x10, 0x10 });
    add_phdr((struct phdr){ 1, 0x1000, 0x2000, 0x10, 0x10 });
    add_phdr((struct phdr){ 1, 0x1000, ~0ull, 0, 0 });
    assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
}

static void notes_that_are_broken(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned size;
        uint64_t value;
        const char *why;
    } rows[] = {
        { 0x2018, 4, 5, "wrong size" }, /* description of 5 bytes, inside the padding */
        { 0x2018, 4, 9, "leaves its segment" },
        { 0x2018, 4, 0xffffffff, "leaves its segment" },
        { 0x2014, 4, 0xffffffff, "leaves its segment" },
        { 0x2000, 4, 0xfffffffd, "leaves its segment" },
        { 0x201c, 4, 17, "no PVH note" },
        { 0x2020, 1, 'Y', "no PVH note" },
        { 0x2014, 4, 3, "no PVH note" },
        { 0x2024, 8, MIB - 1, "in no segment" },
        { 0x2024, 8, MIB + 0x1800, "in no segment" },
        { 0x2024, 8, PVH_INFO, "in no segment" },
        { 0x2024, 8, MIB + (1ull << 32), "in no segment" },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        sound(64, 32 * MIB);
        put(rows[i].offset, rows[i].size, rows[i].value);
        expect_refused(HV_EINVAL, rows[i].why);
    }
    begin(64, 32 * MIB); /* a note too short to be one */
    add_phdr((struct phdr){ 1, 0x1000, MIB, 0x800, 0x800 });
    add_phdr((struct phdr){ 4, 0x2000, 0, 11, 11 });
    expect_refused(HV_EINVAL, "no PVH note");
}

static void ramdisks_that_do_not_fit(void **state)
{
    paddr_t disk = platform_ram(40 * MIB);
    (void)state;
    sound(64, 32 * MIB);
    config.ramdisk = (struct boot_file){ disk.v, 33 * MIB };
    expect_refused(HV_EFAULT, "larger than");
    config.ramdisk.size = 31 * MIB; /* down to 1 MiB, where the kernel is */
    expect_refused(HV_EFAULT, "overlap");
    config.ramdisk.size = 31 * MIB - 0x1800;
    expect_refused(HV_EFAULT, "overlap"); /* it starts on a page */
    config.ramdisk.size = 31 * MIB - 0x2000;
    assert_int_equal(pvh_load(&vm, &config, &entry), HV_OK);
}

/* Whatever single byte of the headers changes: refused or loaded, never out of bounds (sanitizers).
 */
static void any_byte_may_be_wrong(void **state)
{
    const uint64_t size = 0x2000 + 44; /* ends with the note */
    unsigned loaded = 0;
    (void)state;
    sound(64, 8 * MIB);
    struct vm first = vm;
    uint8_t *exact = malloc(size); /* a read past its end is seen */
    assert_non_null(exact);
    memcpy(exact, k.file, size);
    k.file = exact;
    config.kernel = (struct boot_file){ virt_to_phys(exact).v, size };
    for (unsigned at = 0; at < 64 + 2 * 56 + 44; at++) {
        unsigned offset = at < 64 + 2 * 56 ? at : 0x2000 + at - (64 + 2 * 56);
        for (unsigned bit = 0; bit < 8; bit++) {
            k.file[offset] ^= (uint8_t)(1u << bit);
            vm = first;
            loaded += pvh_load(&vm, &config, &entry) == HV_OK;
            k.file[offset] ^= (uint8_t)(1u << bit);
        }
    }
    assert_true(loaded > 0);
    free(exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        platform_test(sound_kernels_are_loaded),
        platform_test(start_info_describes_the_machine),
        platform_test(acpi_tables_are_sound),
        platform_test(ramdisk_lies_at_the_end_of_low_memory),
        platform_test(files_that_are_no_kernel),
        platform_test(segments_that_do_not_fit),
        platform_test(notes_that_are_broken),
        platform_test(ramdisks_that_do_not_fit),
        platform_test(any_byte_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
