/* SPDX-License-Identifier: BSD-2-Clause */
/* From guest addresses to bytes, for all addresses and sizes. */
#include "tests/proofs/proof.h"

#include "hv/platform.h"

static void *memory_at(paddr_t at);
#define phys_to_virt memory_at

#include "hv/guest_memory.c"

/* Where a pointer alone counts, it is the address; else it leads into @bytes. */
#define RAM 80u
static bool real;
static uint8_t bytes[2][RAM];

static void *memory_at(paddr_t at)
{
    if (!real)
        return (void *)at.v;
    prove(at.v >> 32 <= 1 && (at.v & 0xffffffff) < RAM);
    return &bytes[at.v >> 32 & 1][at.v & 0xffffffff];
}

/* At most two ranges, apart, that neither wrap nor are empty. */
static void any_vm(struct vm *vm)
{
    vm->nram = any_between(0, 2);
    for (unsigned i = 0; i < 2; i++) {
        struct vm_ram *r = &vm->ram[i];
        assume(r->size && r->gpa.v + (r->size - 1) >= r->gpa.v);
        assume(r->hpa.v && r->hpa.v + (r->size - 1) >= r->hpa.v);
    }
    assume(vm->ram[0].gpa.v + (vm->ram[0].size - 1) < vm->ram[1].gpa.v);
}

/* proof: what_is_given_is_ram --unwind 3 */
/* broken: hv/guest_memory.c s/size <= ram->size - offset/offset + size <= ram->size/ */
/* broken: hv/guest_memory.c s/offset < ram->size/offset <= ram->size/ */
void what_is_given_is_ram(void)
{
    struct vm vm;
    uint64_t gpa = any_u64(), size = any_u64(), expected = 0;

    any_vm(&vm);
    for (unsigned i = 0; i < vm.nram; i++) {
        const struct vm_ram *r = &vm.ram[i];
        if (gpa >= r->gpa.v && gpa - r->gpa.v < r->size && size <= r->size - (gpa - r->gpa.v))
            expected = r->hpa.v + (gpa - r->gpa.v);
    }
    prove((uint64_t)vm_ram(&vm, GPADDR(gpa), size) == expected);
}

/* A structure at any address of a small VM, with anything in it. */
/* proof: a_structure_is_read_inside_ram --unwind 82 --nondet-static */
/* broken: hv/guest_memory.c s/return vm_ram(vm, gpa, size) ? take/return true ? take/ */
/* broken: hv/guest_memory.c s/size < known ? size : known/size/ */
void a_structure_is_read_inside_ram(void)
{
    struct vm vm;
    uint8_t out[40];
    uint64_t gpa = any_u64();
    uint32_t min = any_between(8, 40), size;

    real = true;
    vm.nram = 2;
    for (unsigned i = 0; i < 2; i++) {
        vm.ram[i] = (struct vm_ram){ GPADDR(any_u64()), PADDR((uint64_t)i << 32), any_u64() };
        assume(vm.ram[i].size && vm.ram[i].size <= RAM);
        assume(vm.ram[i].gpa.v + RAM > vm.ram[i].gpa.v);
    }
    enum hv_status status = guest_copy_struct(&vm, GPADDR(gpa), min, sizeof(out), out);
    prove(status == HV_OK || status == HV_EALIGN || status == HV_EFAULT || status == HV_E2BIG ||
          status == HV_E2SMALL);
    memcpy(&size, out, sizeof(size));
    if (status == HV_OK)
        prove(size >= min && size <= RAM && (gpa & 7) == 0);
}

/* proof: a_copy_is_checked_inside_it --unwind 50 */
/* broken: hv/guest_memory.c s/size > avail ? HV_E2BIG : // */
void a_copy_is_checked_inside_it(void)
{
    uint8_t in[48], out[40];
    uint32_t min = any_between(8, 40), size;

    if (guest_check_struct(in, sizeof(in), min, sizeof(out), out) != HV_OK)
        return;
    memcpy(&size, out, sizeof(size));
    prove(size >= min && size <= sizeof(in));
}
