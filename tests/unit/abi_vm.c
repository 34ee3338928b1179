/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/abi_vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/vcpu.h"
#include "hv/sva.h"

struct vm *vm_a, *vm_b;
struct abi_calls abi_calls;

/* --- What the core calls of other parts ------------------------------------------------------- */

void vcpu_interrupt(struct vcpu *v, uint8_t vector)
{
    abi_calls.interrupts++;
    abi_calls.vcpu = v->index;
    abi_calls.vector = vector;
    abi_calls.vm = v->vm;
}

void vm_end(struct vm *vm, enum vm_end how, uint64_t code)
{
    vm->end = how;
    abi_calls.ends++;
    abi_calls.end_code = code;
}

/* --- VMs -------------------------------------------------------------------------------------- */

struct vm *abi_make_vm(uint16_t id, const char *name, paddr_t low, uint64_t size)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    vm->id = id;
    snprintf(vm->name, sizeof(vm->name), "%s", name);
    vm->lock = (struct lock)LOCK(RANK_VM);
    vm->ram[0] = (struct vm_ram){ GPADDR(0), low, size };
    vm->ram[1] = (struct vm_ram){ GPADDR(VM_RAM_HIGH), platform_ram(2 << 20), 2 << 20 };
    vm->nram = 2;
    vm->ram_bytes = size + (2 << 20);
    vm->quota.limit = 100000;
    vm->nvcpus = 2;
    for (unsigned i = 0; i < vm->nvcpus; i++) {
        vm->vcpu[i] = calloc(1, sizeof(struct vcpu));
        vm->vcpu[i]->vm = vm;
        vm->vcpu[i]->index = i;
    }
    assert_int_equal(rings_create(vm), HV_OK);
    assert_int_equal(sva_create(vm), HV_OK);
    return vm;
}

void abi_free_vm(struct vm *vm)
{
    device_end(vm);
    assert_int_equal(vm->quota.used, 0);
    for (unsigned i = 0; i < vm->nvcpus; i++)
        free(vm->vcpu[i]);
    free(vm);
}

int abi_setup(void **state)
{
    int result = platform_fresh(state);

    fake_reset();
    iommu = &fake_iommu;
    abi_calls = (struct abi_calls){ 0 };
    iopf_set_deadline(1000);
    fake.function[0] = (struct fake_function){ DEV0, 0, 20, true, true, 64 };
    fake.function[1] = (struct fake_function){ DEV1, 0, 20, true, true, 64 };
    fake.function[2] = (struct fake_function){ DEV2, 1, 8, true, false, 0 };
    fake.function[3] = (struct fake_function){ DEVB, 0, 20, true, true, 64 };
    vm_a = abi_make_vm(0, "a", platform_ram(RAM_SIZE), RAM_SIZE);
    vm_b = abi_make_vm(1, "b", platform_ram(RAM_SIZE), RAM_SIZE);
    assert_int_equal(device_add(vm_a, &(struct boot_pci){ DEV0, 10, 0 }), HV_OK);
    assert_int_equal(device_add(vm_a, &(struct boot_pci){ DEV1, 11, 0 }), HV_OK);
    assert_int_equal(device_add(vm_a, &(struct boot_pci){ DEV2, 12, 0 }), HV_OK);
    assert_int_equal(device_add(vm_b, &(struct boot_pci){ DEVB, 20, 0 }), HV_OK);
    return result;
}

int abi_check(void **state)
{
    fake.drain = NULL;
    abi_free_vm(vm_a);
    abi_free_vm(vm_b);
    assert_int_equal(fake.stage2_live, 0);
    assert_int_equal(fake.unflushed, 0);
    for (unsigned i = 0; i < FAKE_DEVICES; i++)
        assert_null(fake.device[i]);
    return platform_check(state);
}

/* --- Calls ------------------------------------------------------------------------------------ */

void *ram(struct vm *vm, uint64_t gpa)
{
    void *p = vm_ram(vm, GPADDR(gpa), 1);

    assert_non_null(p);
    return p;
}

enum hv_status call(struct vm *vm, uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t *value)
{
    struct hypercall_regs regs = { number, { a0, a1, a2 } };
    uint64_t ignored;

    return hypercall(vm->vcpu[0], &regs, value ? value : &ignored);
}

enum hv_status call_struct(struct vm *vm, uint64_t number, const void *in, size_t size,
                           uint64_t *value)
{
    uint32_t given;

    memcpy(ram(vm, SCRATCH), in, size);
    memcpy(&given, in, sizeof(given));
    if (!given) { /* the usual case: the caller leaves the size to us */
        given = (uint32_t)size;
        memcpy(ram(vm, SCRATCH), &given, sizeof(given));
    }
    return call(vm, number, SCRATCH, 0, 0, value);
}

void event_ring(struct vm *vm, uint32_t entries)
{
    struct hc_ring_setup in = { .base = RING_BASE, .entries = entries, .vector = 0x40, .vcpu = 1 };

    assert_int_equal(call_with(vm, HC_EVENT_RING, in), HV_OK);
}

void command_ring(struct vm *vm, uint32_t entries)
{
    struct hc_ring_setup in = { .base = COMMANDS, .entries = entries };

    assert_int_equal(call_with(vm, HC_COMMAND_RING, in), HV_OK);
}

uint64_t iopf_on(struct vm *vm, uint32_t device)
{
    uint64_t outstanding;

    assert_int_equal(call(vm, HC_IOPF_ENABLE, device, HC_IOPF_BIND, 0, &outstanding), HV_OK);
    return outstanding;
}

enum hv_status try_bind(struct vm *vm, uint32_t device, uint64_t root, uint32_t pasid,
                        uint32_t flags, uint64_t *value)
{
    struct hc_sva_bind in = {
        .flags = flags,
        .device = device,
        .pasid = pasid,
        .levels = 4,
        .root = root,
    };

    return call_struct(vm, HC_SVA_BIND, &in, sizeof(in), value);
}

uint32_t bind(struct vm *vm, uint32_t device, uint64_t root, uint32_t *pasid)
{
    const struct device *d = vm->device[device];
    uint64_t value;

    if (d->io.pri && !d->iopf) {
        if (!vm->rings->event.header)
            event_ring(vm, 256);
        iopf_on(vm, device);
    }
    assert_int_equal(try_bind(vm, device, root, HC_PASID_ANY, 0, &value), HV_OK);
    if (pasid)
        *pasid = (uint32_t)(value >> 32);
    return (uint32_t)value;
}

enum hv_status attach(struct vm *vm, uint32_t device, uint32_t pasid, enum hc_domain domain,
                      uint64_t root)
{
    struct hc_attach in = {
        .device = device,
        .pasid = pasid,
        .domain = domain,
        .levels = domain == HC_DOMAIN_NESTED ? 4 : 0,
        .root = root,
    };

    return call_with(vm, HC_ATTACH, in);
}

uint32_t events_waiting(struct vm *vm)
{
    const struct hc_ring *ring = ram(vm, RING_BASE);

    return ring->producer - ring->consumer;
}

bool take_event(struct vm *vm, struct hc_event *out)
{
    struct hc_ring *ring = ram(vm, RING_BASE);
    const struct hc_event *slot = ram(vm, RING_BASE + HC_RING_ENTRIES);

    if (ring->producer == ring->consumer)
        return false;
    *out = slot[ring->consumer & (vm->rings->event.entries - 1)];
    ring->consumer++;
    return true;
}

/* --- State in one number ---------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    for (unsigned i = 0; i < 8; i++)
        hash = (hash ^ (word >> (8 * i) & 0xff)) * 0x100000001b3ull;
    return hash;
}

static uint64_t mix_ring(uint64_t hash, const struct ring *ring)
{
    hash = mix(hash, (uintptr_t)ring->header);
    hash = mix(hash, (uint64_t)ring->producer << 32 | ring->consumer);
    return mix(hash, (uint64_t)ring->entries << 32 | ring->stopped);
}

static uint64_t mix_space(uint64_t hash, const struct space *space)
{
    hash = mix(hash, space->root.v | space->levels);
    hash = mix(hash, (uint64_t)space->pasid << 32 | (uint64_t)space->kind << 8 | space->sva);
    for (const struct bond *b = space->bonds; b; b = b->next) {
        hash = mix(hash, (uint64_t)b->refs << 32 | b->handle);
        hash = mix(hash, (uintptr_t)b->device);
        hash = mix(hash, b->groups << 3 | b->attached << 2 | b->faults << 1 | b->iopf);
    }
    return hash;
}

static uint64_t mix_vm(uint64_t hash, const struct vm *vm)
{
    struct hc_stats stats = vm->stats;

    stats.exits = stats.hypercalls = 0;
    for (unsigned i = 0; i < sizeof(stats) / 8; i++)
        hash = mix(hash, ((const uint64_t *)&stats)[i]);
    hash = mix(hash, vm->quota.used);
    hash = mix(hash, vm->sva->objects.objects);
    hash = mix_ring(mix_ring(hash, &vm->rings->event), &vm->rings->command);
    hash = mix(hash, (uint64_t)vm->rings->promised << 32 | vm->rings->open);
    for (uint32_t id = 0; (id = idmap_next(&vm->sva->pasids, id)) < IDMAP_SIZE; id++)
        hash = mix_space(mix(hash, id), idmap_get(&vm->sva->pasids, id));
    hash = mix(hash, (uintptr_t)atomic_load(&vm->silenced));
    for (unsigned i = 0; i < vm->ndevices; i++) {
        const struct device *d = vm->device[i];
        if (d->rid_bond)
            hash = mix_space(mix(hash, i), d->rid_bond->space);
        hash = mix(hash, (uint64_t)d->iopf << 32 | d->bonds << 16 | d->iopf_bonds);
        hash = mix(hash, d->ram_domains);
    }
    for (unsigned i = 0; i < IOMMU_UNITS_MAX; i++)
        hash = mix(hash, vm->sva->second[i] ? vm->sva->second[i]->absent : 0);
    return hash;
}

uint64_t digest(void)
{
    return mix(platform_vectors_used(), 0) ^
           fake_digest(mix_vm(mix_vm(0xcbf29ce484222325ull, vm_a), vm_b));
}
