/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/vmx/ept.h"

#include "arch/x86/asm.h"
#include "arch/x86/mtrr.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/platform.h"
#include "hv/vm.h"

#define WRITE_BACK 6u

enum { INV_SINGLE = 1, INV_ALL = 2 };

/* 30.3: a type, and 16 bytes in memory. */
static void invept(uint64_t type, uint64_t pointer)
{
    const uint64_t descriptor[2] = { pointer, 0 };
    bool failed;

    __asm__ volatile("invept %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
    hv_assert(!failed);
}

static void invvpid(uint64_t type, uint64_t vpid)
{
    const uint64_t descriptor[2] = { vpid, 0 };
    bool failed;

    __asm__ volatile("invvpid %1, %2" : "=@ccbe"(failed) : "m"(descriptor), "r"(type) : "memory");
    hv_assert(!failed);
}

uint64_t ept_pointer(const struct pt *pt)
{
    return virt_to_phys(pt->root).v | (pt->levels - 1u) << 3 | WRITE_BACK;
}

void ept_flush_all(void)
{
    invept(INV_ALL, 0);
    invvpid(INV_ALL, 0);
}

void ept_flush(const struct pt *pt)
{
    if (vmx_setup.invept_single)
        invept(INV_SINGLE, ept_pointer(pt));
    else
        invept(INV_ALL, 0);
    if (vmx_setup.invvpid_single)
        invvpid(INV_SINGLE, VMX_GUEST_VPID);
    else
        invvpid(INV_ALL, 0);
}

static enum hv_status make_uncached(struct vm *vm, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    struct pt_freed freed = { 0 };
    enum hv_status err = pt_unmap(&vm->npt, PTADDR(gpa), size, &freed);

    pt_release(&vm->npt, &freed); /* nothing has walked this table yet */
    if (err == HV_OK)
        err = pt_map(&vm->npt, PTADDR(gpa), PADDR(hpa), size, PT_R | PT_W | PT_X | PT_UC);
    return err;
}

enum hv_status ept_follow_mtrrs(struct vm *vm)
{
    enum hv_status err = HV_OK;

    for (unsigned i = 0; i < vm->nram; i++) {
        const struct vm_ram *ram = &vm->ram[i];
        for (uint64_t done = 0, size; done < ram->size && err == HV_OK; done += size) {
            enum mtrr_type type = mtrr_range(ram->hpa.v + done, ram->size - done, &size);
            if (type == MTRR_WRITE_BACK)
                continue;
            log_warn(vm->name, "%lx, %lx bytes, is not write-back by the MTRRs (type %u): uncached",
                     (unsigned long)(ram->hpa.v + done), (unsigned long)size, (unsigned)type);
            err = make_uncached(vm, ram->gpa.v + done, ram->hpa.v + done, size);
        }
    }
    return err;
}
