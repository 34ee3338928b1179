/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel loader. Input: a byte (bits 3:0: MiB of RAM - 1, bit 4: a second range of RAM, bit 5:
 * a ramdisk), then the ELF file. All bytes but the files and the VM's RAM are poisoned.
 */
#include <sanitizer/asan_interface.h>

#include "hv/pvh.h"
#include "hv/vm.h"
#include "tests/fuzz/fuzz.h"
#include "tests/platform/platform.h"

#define MIB      (1ull << 20)
#define AROUND   0x1000ull
#define FILE_MAX 0x10000ull

/* Memory with poison on both sides; what is at its front is @size bytes. */
static paddr_t fenced(uint64_t size)
{
    paddr_t p = PADDR(platform_ram(size + 2 * AROUND).v + AROUND);

    ASAN_POISON_MEMORY_REGION(platform_memory(p.v - AROUND, 1), AROUND);
    ASAN_POISON_MEMORY_REGION((uint8_t *)platform_memory(p.v, 1) + size, AROUND);
    return p;
}

static void open_fence(paddr_t p, uint64_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(platform_memory(p.v - AROUND, 1), size + 2 * AROUND);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static struct vm vm;
    static struct boot_vm config;
    struct feed in = { data, size };
    uint8_t flags = feed_8(&in);
    uint64_t low = (1 + (flags & 15)) * MIB, entry = ~0ull;
    uint64_t length = in.left < FILE_MAX ? in.left : FILE_MAX;

    paddr_t file = fenced(length), disk = fenced(PAGE_SIZE + 1);
    vm = (struct vm){ .name = "vm", .nram = 1, .ram_bytes = low };
    vm.ram[0] = (struct vm_ram){ GPADDR(0), fenced(low), low };
    if (flags & 16)
        vm.ram[vm.nram++] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), fenced(MIB), MIB };
    config = (struct boot_vm){
        .name = "vm",
        .line = 3,
        .cmdline = "words",
        .kernel = { file.v, length },
        .ramdisk = { disk.v, flags & 32 ? PAGE_SIZE + 1 : 0 },
    };
    memcpy(platform_memory(file.v, 1), in.at, length);
    enum hv_status status = pvh_load(&vm, &config, &entry);

    must(status == HV_OK || status == HV_EINVAL || status == HV_EFAULT);
    must(length == 0 || memcmp(platform_memory(file.v, 1), in.at, length) == 0);
    if (status == HV_OK) {
        const uint32_t *info = vm_ram(&vm, GPADDR(PVH_INFO), PAGE_SIZE);
        must(info[0] == 0x336ec578 && entry <= UINT32_MAX && vm_ram(&vm, GPADDR(entry), 1));
        must(entry < PVH_INFO || entry >= PVH_INFO + PAGE_SIZE);
        must(entry < PVH_HOLE || entry >= PVH_HOLE_END);
        const char *words = vm_ram(&vm, GPADDR(*(const uint64_t *)&info[6]), 6);
        must(words && strcmp(words, "words") == 0);
        must(info[3] == (flags & 32 ? 1 : 0));
    } else {
        must(entry == ~0ull && platform_logged("line 3: kernel refused"));
    }
    open_fence(file, length);
    open_fence(disk, PAGE_SIZE + 1);
    open_fence(vm.ram[0].hpa, low);
    if (flags & 16)
        open_fence(vm.ram[1].hpa, MIB);
}
