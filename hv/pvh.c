/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF (System V ABI, chapters 4 and 5) and PVH start info. */
#include "hv/pvh.h"

#include <string.h>

#include "hv/log.h"
#include "hv/platform.h"
#include "hv/vacpi.h"
#include "hv/vm.h"

#define PHDRS_MAX  32u
#define RANGES_MAX (PHDRS_MAX + 3)

enum { PT_LOAD = 1, PT_NOTE = 4 };
enum { MACHINE_386 = 3, MACHINE_X86_64 = 62 };
enum { NOTE_PHYS32_ENTRY = 18 };

struct field {
    uint8_t offset, size;
};

/* Where the fields are, by class of the file. */
struct elf_class {
    uint8_t header_size, phdr_size;
    struct field phoff, phentsize, phnum;                      /* in the file header */
    struct field p_type, p_offset, p_paddr, p_filesz, p_memsz; /* in a program header */
};

static const struct elf_class elf_classes[] = {
    [1] = { 52,
            32,
            { 28, 4 },
            { 42, 2 },
            { 44, 2 },
            { 0, 4 },
            { 4, 4 },
            { 12, 4 },
            { 16, 4 },
            { 20, 4 } },
    [2] = { 64,
            56,
            { 32, 8 },
            { 54, 2 },
            { 56, 2 },
            { 0, 4 },
            { 8, 8 },
            { 24, 8 },
            { 32, 8 },
            { 40, 8 } },
};

struct segment {
    uint64_t type, offset, paddr, filesz, memsz;
};

struct range {
    uint64_t base, end;
};

/* One kernel on its way into one VM. */
struct loading {
    const struct vm *vm;
    const uint8_t *file;
    uint64_t size;
    const char *why; /* of a refusal */
    uint64_t entry;  /* from the note */
    bool has_entry;
    unsigned nranges;
    struct range range[RANGES_MAX]; /* guest memory in use */
};

struct start_info {
    uint32_t magic, version, flags, nmodules;
    uint64_t modules, cmdline, rsdp, memmap;
    uint32_t nmemmap, reserved;
};

struct start_module {
    uint64_t base, size, cmdline, reserved;
};

struct start_memory {
    uint64_t base, size;
    uint32_t type, reserved;
};

#define START_MAGIC  0x336ec578u
#define MEMORY_MAX   (5u + DIRECT_MAX)
#define RESET_VECTOR 0xffff0ull
enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2 };

/* What lies in the page at PVH_INFO. */
struct info_page {
    struct start_info info;
    struct start_module module;
    struct start_memory memory[MEMORY_MAX];
    char cmdline[BOOT_CMDLINE];
};

static_assert(sizeof(struct info_page) <= PAGE_SIZE);

static enum hv_status refuse(struct loading *l, enum hv_status status, const char *why)
{
    l->why = why;
    return status;
}

static uint64_t get(const uint8_t *p, struct field f)
{
    uint64_t value = 0;

    memcpy(&value, p + f.offset, f.size);
    return value;
}

static bool in_file(const struct loading *l, uint64_t offset, uint64_t size)
{
    return offset <= l->size && size <= l->size - offset;
}

/* Reserve [base, base + size) of the guest's RAM. */
static enum hv_status claim(struct loading *l, uint64_t base, uint64_t size)
{
    if (!vm_ram(l->vm, GPADDR(base), size))
        return refuse(l, HV_EFAULT, "a segment or the ramdisk lies outside the VM's memory");
    for (unsigned i = 0; i < l->nranges; i++) {
        if (base < l->range[i].end && l->range[i].base < base + size)
            return refuse(l, HV_EFAULT, "segments, ramdisk and boot information overlap");
    }
    l->range[l->nranges++] = (struct range){ base, base + size };
    return HV_OK;
}

static enum hv_status load_segment(struct loading *l, const struct segment *s)
{
    if (s->filesz > s->memsz)
        return refuse(l, HV_EINVAL, "a segment is larger in the file than in memory");
    if (s->memsz == 0)
        return HV_OK;
    enum hv_status status = claim(l, s->paddr, s->memsz);
    if (status != HV_OK)
        return status;
    uint8_t *to = vm_ram(l->vm, GPADDR(s->paddr), s->memsz);
    memcpy(to, l->file + s->offset, s->filesz);
    memset(to + s->filesz, 0, s->memsz - s->filesz);
    return HV_OK;
}

static uint64_t round4(uint64_t n)
{
    return (n + 3) & ~3ull;
}

/* Notes are: name size, description size, type, then both padded to 4 bytes. */
static enum hv_status read_notes(struct loading *l, const struct segment *s)
{
    const uint8_t *notes = l->file + s->offset;

    for (uint64_t at = 0; s->filesz - at >= 12;) {
        uint32_t head[3];
        memcpy(head, notes + at, sizeof(head));
        uint64_t desc = at + 12 + round4(head[0]), end = desc + round4(head[1]);
        if (desc > s->filesz || head[1] > s->filesz - desc)
            return refuse(l, HV_EINVAL, "a note leaves its segment");
        if (head[0] == 4 && memcmp(notes + at + 12, "Xen", 4) == 0 &&
            head[2] == NOTE_PHYS32_ENTRY) {
            if (head[1] != 4 && head[1] != 8)
                return refuse(l, HV_EINVAL, "the PVH note has a wrong size");
            l->entry = get(notes + desc, (struct field){ 0, (uint8_t)head[1] });
            l->has_entry = true;
        }
        if (end >= s->filesz)
            break;
        at = end;
    }
    return HV_OK;
}

static enum hv_status load_segments(struct loading *l, const struct elf_class *c)
{
    uint64_t phoff = get(l->file, c->phoff), n = get(l->file, c->phnum);

    if (n == 0 || n > PHDRS_MAX || get(l->file, c->phentsize) != c->phdr_size ||
        !in_file(l, phoff, n * c->phdr_size))
        return refuse(l, HV_EINVAL, "its program headers are broken");
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p = l->file + phoff + i * c->phdr_size;
        struct segment s = {
            get(p, c->p_type),   get(p, c->p_offset), get(p, c->p_paddr),
            get(p, c->p_filesz), get(p, c->p_memsz),
        };
        enum hv_status status = HV_OK;
        if ((s.type == PT_LOAD || s.type == PT_NOTE) && !in_file(l, s.offset, s.filesz))
            return refuse(l, HV_EINVAL, "it is truncated");
        if (s.type == PT_LOAD)
            status = load_segment(l, &s);
        else if (s.type == PT_NOTE)
            status = read_notes(l, &s);
        if (status != HV_OK)
            return status;
    }
    return HV_OK;
}

static enum hv_status load_kernel(struct loading *l)
{
    uint16_t machine;

    if (l->size < 64 || memcmp(l->file, "\177ELF", 4) != 0)
        return refuse(l, HV_EINVAL, "it is no ELF file");
    memcpy(&machine, l->file + 18, sizeof(machine));
    if ((l->file[4] != 1 && l->file[4] != 2) || l->file[5] != 1 ||
        (machine != MACHINE_386 && machine != MACHINE_X86_64))
        return refuse(l, HV_EINVAL, "it is not for x86");
    enum hv_status status = load_segments(l, &elf_classes[l->file[4]]);
    if (status != HV_OK)
        return status;
    if (!l->has_entry)
        return refuse(l, HV_EINVAL, "it has no PVH note (XEN_ELFNOTE_PHYS32_ENTRY)");
    /* The first ranges are ours: an entry there is in no segment. */
    for (unsigned i = 2; i < l->nranges; i++) {
        if (l->entry >= l->range[i].base && l->entry < l->range[i].end)
            return l->entry >> 32 ? refuse(l, HV_EINVAL, "its PVH entry is above 4 GiB") : HV_OK;
    }
    return refuse(l, HV_EINVAL, "its PVH entry is in no segment");
}

static enum hv_status load_ramdisk(struct loading *l, struct boot_file disk, struct info_page *page)
{
    uint64_t low_end = l->vm->ram[0].gpa.v + l->vm->ram[0].size;

    if (disk.size == 0)
        return HV_OK;
    if (disk.size > low_end)
        return refuse(l, HV_EFAULT, "the ramdisk is larger than the VM's memory");
    uint64_t base = (low_end - disk.size) & ~PAGE_MASK;
    enum hv_status status = claim(l, base, disk.size);
    if (status != HV_OK)
        return status;
    memcpy(vm_ram(l->vm, GPADDR(base), disk.size), phys_to_virt(PADDR(disk.base)), disk.size);
    page->module = (struct start_module){ .base = base, .size = disk.size };
    page->info.nmodules = 1;
    page->info.modules = PVH_INFO + offsetof(struct info_page, module);
    return HV_OK;
}

static void add_memory(struct info_page *page, uint64_t base, uint64_t end, uint32_t type)
{
    if (base < end)
        page->memory[page->info.nmemmap++] =
            (struct start_memory){ .base = base, .size = end - base, .type = type };
}

static void describe_memory(const struct vm *vm, struct info_page *page)
{
    for (unsigned i = 0; i < vm->nram; i++) {
        uint64_t base = vm->ram[i].gpa.v, end = base + vm->ram[i].size;
        if (base == 0) {
            add_memory(page, 0, PVH_HOLE, MEMORY_RAM);
            add_memory(page, PVH_HOLE, PVH_HOLE_END, MEMORY_RESERVED);
            base = PVH_HOLE_END;
        }
        add_memory(page, base, end, MEMORY_RAM);
    }
    for (unsigned i = 0; i < vm->ndirect; i++)
        add_memory(page, vm->direct[i].first, vm->direct[i].last + 1, MEMORY_RESERVED);
}

/* A guest that restarts by a jump to the PC's reset vector, as Linux does when all else is absent,
 * finds there: mov $0xcf9, %dx; mov $6, %al; out %al, (%dx); hlt; jmp to hlt. */
static void put_reset_vector(const struct vm *vm)
{
    static const uint8_t code[] = { 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd };

    memcpy(vm_ram(vm, GPADDR(RESET_VECTOR), sizeof(code)), code, sizeof(code));
}

static enum hv_status load(struct loading *l, const struct boot_vm *config)
{
    enum hv_status status = claim(l, PVH_INFO, PAGE_SIZE);

    if (status == HV_OK)
        status = claim(l, PVH_HOLE, PVH_HOLE_END - PVH_HOLE);
    if (status == HV_OK)
        status = load_kernel(l);
    if (status != HV_OK)
        return status;

    struct info_page page = {
        .info = {
            .magic = START_MAGIC,
            .version = 1,
            .cmdline = PVH_INFO + offsetof(struct info_page, cmdline),
            .rsdp = VACPI_TABLES,
            .memmap = PVH_INFO + offsetof(struct info_page, memory),
        },
    };
    memcpy(page.cmdline, config->cmdline, BOOT_CMDLINE - 1);
    describe_memory(l->vm, &page);
    vacpi_build(l->vm);
    put_reset_vector(l->vm);
    status = load_ramdisk(l, config->ramdisk, &page);
    if (status == HV_OK)
        memcpy(vm_ram(l->vm, GPADDR(PVH_INFO), sizeof(page)), &page, sizeof(page));
    return status;
}

enum hv_status pvh_load(const struct vm *vm, const struct boot_vm *config, uint64_t *entry)
{
    struct loading l = {
        .vm = vm,
        .file = phys_to_virt(PADDR(config->kernel.base)),
        .size = config->kernel.size,
    };
    enum hv_status status = load(&l, config);

    if (status != HV_OK)
        log_error("pvh", "vm %s, line %u: kernel refused: %s", vm->name, config->line, l.why);
    else
        *entry = l.entry;
    return status;
}
