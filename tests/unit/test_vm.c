/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of VMs on a fake IOMMU and fake vCPUs: every way in which creation can fail leaves
 * nothing behind, the end takes everything apart in order, and the last one ends the machine.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/device.h"
#include "hv/pvh.h"
#include "hv/vm.h"
#include "tests/platform/platform.h"
#include "tests/unit/fake_iommu.h"

#define MIB (1ull << 20)

enum { RID_A = 0x20, RID_B = 0x28, RID_NO_UNIT = 0x30 };

static struct platform_pci function[3];
static struct boot_vm config;
static struct boot_file kernel;

/* --- Fake vCPUs ------------------------------------------------------------------------------- */

static struct vcpu *begun[BOOT_VMS_MAX];
static struct vcpu_start begun_with;
static unsigned nbegun, nvcpus, nstopped;

static unsigned only_2m(void)
{
    return 1;
}

static const struct vcpu_ops ops = {
    .second_stage = &pt_format_npt,
    .second_stage_levels = 4,
    .second_stage_large = only_2m,
};
const struct vcpu_ops *vcpu_ops = &ops;

enum hv_status vcpu_create(struct vm *vm, unsigned index, unsigned cpu, struct vcpu **out)
{
    void *page;
    enum hv_status status = pages_alloc(&vm->quota, 0, &page);

    if (status != HV_OK)
        return status;
    *out = page;
    **out = (struct vcpu){ .vm = vm, .index = index, .cpu = cpu, .exits = 1000 + index };
    nvcpus++;
    return HV_OK;
}

void vcpu_destroy(struct vcpu *v)
{
    assert_int_equal(v->vm->ndevices, 0); /* DMA ends before vCPUs and memory go */
    assert_non_null(v->vm->npt.root);
    nvcpus--;
    pages_free(&v->vm->quota, 0, v);
}

void vcpu_begin(struct vcpu *v, const struct vcpu_start *start)
{
    begun[nbegun++] = v;
    begun_with = *start;
}

void vcpu_stop(struct vcpu *v)
{
    (void)v;
    nstopped++;
}

void vcpu_interrupt(struct vcpu *v, uint8_t vector)
{
    (void)v, (void)vector;
}

static jmp_buf machine_end;
static unsigned machine_ends;

void vm_last_ended(void)
{
    machine_ends++;
    longjmp(machine_end, 1);
}

/* --- Set-up ----------------------------------------------------------------------------------- */

/* The smallest kernel: one segment at 1 MiB, and the note. */
static void make_kernel(void)
{
    static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0,
                                     0,    0,   0,   0,   0, 0, 2, 0, 62 };
    static const uint8_t note[] = { 4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0 };
    paddr_t at = platform_ram(2 * MIB);
    uint8_t *f = platform_memory(at.v, 2 * MIB);

    memcpy(f, ident, sizeof(ident));
    platform_put(f, 32, 8, 64);
    platform_put(f, 54, 2, 56);
    platform_put(f, 56, 2, 2);
    platform_put(f, 64, 4, 1);
    platform_put(f, 64 + 8, 8, 0x200);
    platform_put(f, 64 + 24, 8, MIB);
    platform_put(f, 64 + 32, 8, 0x40);
    platform_put(f, 64 + 40, 8, 0x40);
    platform_put(f, 120, 4, 4);
    platform_put(f, 120 + 8, 8, 0x300);
    platform_put(f, 120 + 32, 8, 20);
    memcpy(f + 0x300, note, sizeof(note));
    platform_put(f, 0x310, 4, MIB + 4);
    kernel = (struct boot_file){ at.v, 0x400 };
}

static int begin(void **state)
{
    static const rid_t rids[] = { RID_A, RID_B, RID_NO_UNIT };
    int result = platform_fresh(state);

    nvms = nbegun = nvcpus = nstopped = machine_ends = 0;
    platform_set_cpus(4, 0);
    fake_reset();
    iommu = &fake_iommu;
    for (unsigned i = 0; i < ARRAY_SIZE(rids); i++) {
        platform_pci_endpoint(&function[i], rids[i], 1, 2, 0xfe000000 + i * 0x10000, 0x1000);
        platform_add_pci(&function[i]);
        if (i < 2)
            fake.function[i] = (struct fake_function){ rids[i], 0, 20, true, true, 32 };
    }
    make_kernel();
    config = (struct boot_vm){
        .name = "alpha",
        .line = 40,
        .cpus = 2,
        .cpu = { 1, 0 },
        .ram = { platform_ram(8 * MIB).v, 8 * MIB },
        .kernel = kernel,
        .table_quota = 512,
        .npci = 2,
        .pci = { { RID_A, 45 }, { RID_B, 46 } },
    };
    return result;
}

static int end(void **state)
{
    for (unsigned i = 0; i < nvms; i++) {
        assert_int_equal(vms[i]->quota.used, 0);
        pages_free(NULL, 0, vms[i]);
    }
    nvms = 0;
    assert_int_equal(nvcpus, 0);
    assert_int_equal(fake.stage2_live, 0);
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        assert_null(fake.device[i]);
    return platform_check(state);
}

/* All vCPUs of @vm report that they have left. @return whether the machine ended with it. */
static bool leave(struct vm *vm)
{
    unsigned n = vm->nvcpus;

    if (setjmp(machine_end))
        return true;
    for (volatile unsigned i = 0; i < n; i++)
        vm_vcpu_stopped(vm);
    return false;
}

static void expect_refused(enum hv_status want, const char *text)
{
    struct vm *vm = NULL;
    uint64_t used = pages_used();

    platform_clear_log();
    assert_int_equal(vm_create(&config, &vm), want);
    assert_null(vm);
    assert_int_equal(pages_used(), used);
    assert_int_equal(nvcpus, 0);
    assert_null(fake.device[0]);
    if (!platform_logged(text))
        fail_msg("log says: %s instead of: %s", platform_log(), text);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void lives_and_ends(void **state)
{
    struct vm *vm;
    struct pt_leaf leaf;
    (void)state;
    assert_int_equal(vm_create(&config, &vm), HV_OK);
    assert_ptr_equal(vms[0], vm);
    assert_int_equal(vm->nvcpus, 2);
    assert_int_equal(vm->ndevices, 2);
    assert_int_equal(nbegun, 0); /* nothing runs yet */
    for (uint64_t gpa = 0; gpa < 8 * MIB; gpa += 2 * MIB) {
        assert_true(pt_lookup(&vm->npt, PTADDR(gpa), &leaf));
        assert_int_equal(leaf.out.v, config.ram.base + gpa);
        assert_int_equal(leaf.size, 2 * MIB);
        assert_int_equal(leaf.perm & (PT_R | PT_W | PT_X | PT_UC), PT_R | PT_W | PT_X);
    }
    assert_false(pt_lookup(&vm->npt, PTADDR(8 * MIB), &leaf));

    vm_run(vm);
    assert_int_equal(nbegun, 1);
    assert_ptr_equal(begun[0], vm->vcpu[0]);
    assert_int_equal(begun_with.rip, MIB + 4);
    assert_int_equal(begun_with.rbx, PVH_INFO);
    assert_false(begun_with.real_mode);

    vm_end(vm, VM_END_SHUTDOWN, 3);
    vm_end(vm, VM_END_TRIPLE_FAULT, 9); /* too late */
    assert_int_equal(nstopped, 2);
    assert_int_equal(vm->end, VM_END_SHUTDOWN);
    assert_int_equal(vm->end_code, 3);
    assert_int_equal(vm->state, VM_ENDING);
    assert_int_equal(vm->ndevices, 2); /* until the last vCPU is out */
    assert_true(leave(vm));
    assert_int_equal(vm->state, VM_ENDED);
    assert_true(platform_logged("alpha: ended: shutdown code 3; exits 2001;"));
    assert_true(platform_logged("@hv alpha exits 2001\n"));
    assert_true(platform_logged("@hv alpha pages_leaked 0\n"));
}

static void memory_above_3g_moves_to_4g(void **state)
{
    struct vm *vm;
    struct pt_leaf leaf;
    (void)state;
    config.ram.size =
        VM_RAM_LOW_END + 6 * MIB; /* only its beginning exists; nothing else is touched */
    assert_int_equal(vm_create(&config, &vm), HV_OK);
    assert_int_equal(vm->nram, 2);
    assert_true(pt_lookup(&vm->npt, PTADDR(VM_RAM_LOW_END - 1), &leaf));
    assert_int_equal(leaf.out.v, config.ram.base + VM_RAM_LOW_END - 1);
    assert_true(pt_lookup(&vm->npt, PTADDR(VM_RAM_HIGH), &leaf));
    assert_int_equal(leaf.out.v, config.ram.base + VM_RAM_LOW_END);
    assert_true(pt_lookup(&vm->npt, PTADDR(VM_RAM_HIGH + 6 * MIB - 1), &leaf));
    assert_false(pt_lookup(&vm->npt, PTADDR(VM_RAM_HIGH + 6 * MIB), &leaf));
    assert_false(pt_lookup(&vm->npt, PTADDR(VM_RAM_HIGH - 1), &leaf));
    assert_null(vm_ram(vm, GPADDR(VM_RAM_LOW_END - 8), 16)); /* not across the gap */
    assert_non_null(vm_ram(vm, GPADDR(VM_RAM_LOW_END - 8), 8));
    vm_run(vm);
    vm_end(vm, VM_END_ERROR, 0);
    assert_true(leave(vm));
}

static void every_lack_of_memory_is_survived(void **state)
{
    struct vm *vm = NULL;
    enum hv_status status = HV_ENOMEM;
    int64_t budget = 0;
    uint64_t used = pages_used();
    (void)state;
    for (; status != HV_OK; budget++) {
        pages_fail_after(budget);
        status = vm_create(&config, &vm);
        pages_fail_after(-1);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_ENOMEM);
        assert_int_equal(pages_used(), used);
        assert_int_equal(nvcpus, 0);
        assert_int_equal(nvms, 0);
        assert_null(fake.device[0]);
        assert_true(budget < 200);
    }
    assert_true(budget > 10);
    vm_run(vm);
    vm_end(vm, VM_END_SHUTDOWN, 0);
    assert_true(leave(vm));
}

static void wrong_configurations_are_refused(void **state)
{
    struct vm *vm;
    (void)state;
    config.cpu[1] = 4;
    expect_refused(HV_EINVAL, "line 40: CPU 4 is absent");
    config.cpu[1] = 1;
    expect_refused(HV_EINVAL, "line 40: CPU 1 is in use");
    config.cpu[1] = 0;
    config.pci[1] = (struct boot_pci){ RID_NO_UNIT, 47 };
    expect_refused(HV_ENOTSUP, "line 47: no IOMMU unit");
    config.pci[1] = (struct boot_pci){ 0x99, 48 };
    expect_refused(HV_ENODEV, "line 48");
    config.pci[1] = (struct boot_pci){ RID_A, 49 };
    expect_refused(HV_EEXIST, "line 49");
    config.pci[1] = (struct boot_pci){ RID_B, 46 };
    config.table_quota = 6;
    expect_refused(HV_EQUOTA, "table-quota is too small");
    config.table_quota = 512;
    config.kernel.size = 0x300;
    expect_refused(HV_EINVAL, "line 40: kernel refused");
    config.kernel.size = kernel.size;
    fake.fail_device_add = HV_EIO;
    expect_refused(HV_EIO, "devices");
    fake.fail_device_add = HV_OK;

    /* All of it was given back: now it works. Another VM cannot have what this one has. */
    assert_int_equal(vm_create(&config, &vm), HV_OK);
    struct boot_vm second = config;
    struct vm *none = NULL;
    assert_int_equal(vm_create(&second, &none), HV_EINVAL);
    assert_true(platform_logged("CPU 1 is in use"));
    second.cpus = 1;
    second.cpu[0] = 2;
    assert_int_equal(vm_create(&second, &none), HV_EEXIST);
    assert_null(none);
    vm_run(vm);
    vm_end(vm, VM_END_SHUTDOWN, 0);
    assert_true(leave(vm));
}

/* As many as there may be; they end in any order, and only the last one ends the machine. */
static void vms_are_many_and_end_alone(void **state)
{
    const unsigned seed = 5;
    static struct vm *left[BOOT_VMS_MAX];
    struct vm *vm;
    (void)state;
    srand(seed);
    print_message("seed %u\n", seed);
    platform_set_cpus(CPUS_MAX, 0);
    config.npci = 0;
    config.cpus = 1;
    for (unsigned i = 0; i < BOOT_VMS_MAX; i++) {
        config.cpu[0] = i;
        config.ram = (struct boot_range){ platform_ram(2 * MIB).v, 2 * MIB };
        assert_int_equal(vm_create(&config, &left[i]), HV_OK);
        assert_int_equal(left[i]->id, i);
    }
    assert_int_equal(vm_create(&config, &vm), HV_ERANGE);
    for (unsigned i = 0; i < BOOT_VMS_MAX; i++)
        vm_run(left[i]);
    assert_int_equal(nbegun, BOOT_VMS_MAX);
    for (unsigned n = BOOT_VMS_MAX; n; n--) {
        unsigned i = (unsigned)rand() % n;
        vm = left[i];
        left[i] = left[n - 1];
        vm_end(vm, VM_END_TRIPLE_FAULT, 0);
        assert_int_equal(leave(vm), n == 1);
        assert_int_equal(nvcpus, n - 1);
    }
    assert_int_equal(machine_ends, 1);
}

/* The first one may be over before the second one has begun. */
static void one_that_ends_at_once_is_not_the_last(void **state)
{
    struct vm *first, *second;
    (void)state;
    config.npci = 0;
    config.cpus = 1;
    assert_int_equal(vm_create(&config, &first), HV_OK);
    config.cpu[0] = 2;
    assert_int_equal(vm_create(&config, &second), HV_OK);
    vm_run(first);
    vm_end(first, VM_END_TRIPLE_FAULT, 0);
    assert_false(leave(first));
    vm_run(second);
    vm_end(second, VM_END_SHUTDOWN, 0);
    assert_true(leave(second));
}

#define vm_test(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        vm_test(lives_and_ends),
        vm_test(memory_above_3g_moves_to_4g),
        vm_test(every_lack_of_memory_is_survived),
        vm_test(wrong_configurations_are_refused),
        vm_test(vms_are_many_and_end_alone),
        vm_test(one_that_ends_at_once_is_not_the_last),
    };
    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
