/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two VMs with devices on the fake IOMMU, and the guest's side of the calls. VM a has three
 * devices: 0 and 1 with everything on unit 0, 2 with 8 bits of PASID and no PRI on unit 1. VM b has
 * one, on unit 0. A test is wrapped in abi_test(): at its end both VMs go, and no page, no second
 * stage and no device may be left.
 */
#ifndef TESTS_UNIT_ABI_VM_H
#define TESTS_UNIT_ABI_VM_H

#include "hv/bond.h"
#include "hv/device.h"
#include "hv/iopf.h"
#include "hv/rings.h"
#include "hv/vm.h"
#include "tests/platform/platform.h"
#include "tests/unit/fake_iommu.h"

#define RAM_SIZE  (64ull << 20)
#define SCRATCH   0x10000ull  /* where the helpers put structures */
#define RING_BASE 0x100000ull /* event ring */
#define COMMANDS  0x200000ull /* command ring */
#define ROOT(n)   (0x1000000ull + (n) * 0x1000ull)
#define OUTSIDE   0x80000000ull /* no RAM there */

enum { DEV0 = 0x0108, DEV1 = 0x0110, DEV2 = 0x0210, DEVB = 0x0118 }; /* requester ids */

extern struct vm *vm_a, *vm_b;
/* What vcpu_interrupt and vm_end were asked for. */
extern struct abi_calls {
    unsigned interrupts, vector, vcpu;
    const struct vm *vm; /* of that vCPU */
    unsigned ends;
    uint64_t end_code;
} abi_calls;

/* A VM without devices, RAM at [0, size) and 2 MiB at 4 GiB; its end, with all that it holds. */
struct vm *abi_make_vm(uint16_t id, const char *name, paddr_t low, uint64_t size);
void abi_free_vm(struct vm *vm);

int abi_setup(void **state);
int abi_check(void **state);
#define abi_test(f) cmocka_unit_test_setup_teardown(f, abi_setup, abi_check)

void *ram(struct vm *vm, uint64_t gpa);
enum hv_status call(struct vm *vm, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t *value);
/* With a structure of @size bytes, copied to SCRATCH. */
enum hv_status call_struct(struct vm *vm, uint64_t number, const void *in, size_t size,
                           uint64_t *value);
#define call_with(vm, number, ...)                                                                 \
    call_struct(vm, number, &(__VA_ARGS__), sizeof(__VA_ARGS__), NULL)

/* The calls that succeed in most tests; each asserts HV_OK. */
void event_ring(struct vm *vm, uint32_t entries);
void command_ring(struct vm *vm, uint32_t entries);
uint64_t iopf_on(struct vm *vm, uint32_t device);
uint32_t bind(struct vm *vm, uint32_t device, uint64_t root,
              uint32_t *pasid); /* IOPF on if needed */
enum hv_status try_bind(struct vm *vm, uint32_t device, uint64_t root, uint32_t pasid,
                        uint32_t flags, uint64_t *value);
enum hv_status attach(struct vm *vm, uint32_t device, uint32_t pasid, enum hc_domain domain,
                      uint64_t root);

/* The next event of the ring at RING_BASE, taken out. False: none. */
bool take_event(struct vm *vm, struct hc_event *out);
uint32_t events_waiting(struct vm *vm);

/* Everything that calls can change, in one number: "changes nothing" means it is the same after. */
uint64_t digest(void);
/* Do @call, expect @status, and nothing changed. */
#define assert_refused(call, status)                                                               \
    do {                                                                                           \
        uint64_t before_ = digest();                                                               \
        assert_int_equal(call, status);                                                            \
        assert_true(before_ == digest());                                                          \
    } while (0)

#endif
