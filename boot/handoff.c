/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/handoff.h"

#include "boot/firmware.h"
#include "boot/machine.h"

#define IMAGE_BASE  0xffffffff80000000ull
#define IMAGE_LIMIT (16 * LARGE)
#define STACK_SIZE  0x10000ull
#define GIB         0x40000000ull
#define GIBS        512u

/* ELF-64 (System V gABI), the fields that a static image needs. */
struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static bool segment_good(const struct elf_segment *s, uint64_t file_size)
{
    return s->filesz <= s->memsz && s->offset <= file_size && s->filesz <= file_size - s->offset &&
           s->vaddr >= IMAGE_BASE && s->memsz <= IMAGE_LIMIT &&
           s->vaddr - IMAGE_BASE <= IMAGE_LIMIT - s->memsz;
}

const char *handoff_load_image(struct boot_file file, struct handoff *out)
{
    const struct elf_header *h = (const struct elf_header *)file.base;
    uint64_t end = 0;

    if (file.size < sizeof(*h) || *(const uint32_t *)h->ident != 0x464c457f || h->ident[4] != 2 ||
        h->machine != 62 || h->phentsize != sizeof(struct elf_segment) || h->phoff > file.size ||
        h->phnum * sizeof(struct elf_segment) > file.size - h->phoff)
        return "is not a 64-bit x86 ELF image";
    const struct elf_segment *s = (const struct elf_segment *)(file.base + h->phoff);
    for (unsigned i = 0; i < h->phnum; i++) {
        if (s[i].type != 1 || !s[i].memsz)
            continue;
        if (!segment_good(&s[i], file.size))
            return "has a segment outside the hypervisor's address range";
        if (s[i].vaddr + s[i].memsz - IMAGE_BASE > end)
            end = s[i].vaddr + s[i].memsz - IMAGE_BASE;
    }
    if (h->entry < IMAGE_BASE || h->entry >= IMAGE_BASE + end)
        return "has its entry outside its segments";
    end = (end + LARGE - 1) & ~(LARGE - 1);
    uint64_t base = memory_take(end, LARGE);
    if (!base)
        return "does not fit into memory";
    for (unsigned i = 0; i < h->phnum; i++)
        if (s[i].type == 1)
            copy((void *)(base + s[i].vaddr - IMAGE_BASE), (const void *)(file.base + s[i].offset),
                 s[i].filesz);
    out->info->image = (struct boot_range){ base, end };
    out->entry = h->entry;
    return NULL;
}

/* Level 4, level 3 for physical memory, level 3 and 2 for the image; without 1 GiB pages also a
 * level 2 table for each GiB. */
static uint64_t table_pages(void)
{
    return 4 + (machine_has_1g() ? 0 : GIBS);
}

uint64_t handoff_memory(void)
{
    return table_pages() * PAGE + STACK_SIZE + ((sizeof(struct bootinfo) + PAGE - 1) & ~(PAGE - 1));
}

#define PT_TABLE 0x03ull /* present, writable */
#define PT_LARGE 0x83ull /* present, writable, page size */

void handoff_build_tables(struct handoff *h, uint64_t memory, uint64_t size)
{
    uint64_t *l4 = (uint64_t *)memory, *physical = l4 + 512, *high = l4 + 1024, *image = l4 + 1536;
    uint64_t *next = l4 + 2048;

    for (uint64_t g = 0; g < GIBS; g++) {
        if (machine_has_1g()) {
            physical[g] = g * GIB | PT_LARGE;
            continue;
        }
        for (uint64_t i = 0; i < 512; i++)
            next[i] = (g * GIB + i * LARGE) | PT_LARGE;
        physical[g] = (uint64_t)next | PT_TABLE;
        next += 512;
    }
    for (uint64_t i = 0; i < h->info->image.size / LARGE; i++)
        image[i] = (h->info->image.base + i * LARGE) | PT_LARGE;
    high[IMAGE_BASE >> 30 & 511] = (uint64_t)image | PT_TABLE;
    l4[0] = (uint64_t)physical | PT_TABLE;
    l4[BOOT_PHYS_OFFSET >> 39 & 511] = (uint64_t)physical | PT_TABLE;
    l4[IMAGE_BASE >> 39 & 511] = (uint64_t)high | PT_TABLE;
    h->cr3 = memory;
    h->stack = memory + table_pages() * PAGE + STACK_SIZE;
    h->info->loader = (struct boot_range){ memory, size };
}

void handoff_jump(const struct handoff *h)
{
    /* EFER.NXE, so that the hypervisor's own tables may use no-execute at once. */
    __asm__ volatile("cli\n\t"
                     "movl $0xc0000080, %%ecx\n\t"
                     "rdmsr\n\t"
                     "orl $0x800, %%eax\n\t"
                     "wrmsr\n\t"
                     "movq %0, %%cr3\n\t"
                     "movq %1, %%rsp\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "cld\n\t"
                     "jmp *%2"
                     :
                     : "r"(h->cr3), "r"(h->stack), "r"(h->entry), "D"(h->info)
                     : "rax", "rcx", "rdx", "memory");
    __builtin_unreachable();
}
