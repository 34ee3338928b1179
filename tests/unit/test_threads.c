/* SPDX-License-Identifier: BSD-2-Clause */
/* build: tests/unit/abi_vm.c tests/unit/fake_iommu.c */
/*
 * Real threads: one is the CPU that takes page requests, faults and failures of devices, and the
 * tick; the other is the CPU of a guest that binds, unbinds, answers, resets and ends. Everything
 * that is freed too early shows under the sanitizers.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/abi_vm.h"

enum { ROUNDS = 150, CALLS = 40 };

static struct iommu_ops ops;
static _Atomic bool over;
static _Atomic uint64_t told, answered;

/* The fake driver is for one thread; here what it would remember is counted. */
static void count_answer(struct iommu_device *dev, const struct iommu_page_request *last, bool)
{
    const struct device *d = dev->owner; /* it must still be there */

    if (d->io.rid != last->rid)
        abort();
    answered++;
}

static enum hv_status flush_nothing(void)
{
    return HV_OK;
}

static void poll_nothing(void)
{
}

static void invalidate_nothing(const struct iommu_inval *)
{
}

static uint32_t random_of(uint64_t *x, uint32_t n)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return (uint32_t)(*x >> 20) % n;
}

static void *take_what_devices_send(void *)
{
    static const rid_t rids[] = { DEV0, DEV1, DEVB, 0x0777 };
    uint64_t x = 0x1234567;

    platform_set_cpus(2, 1);
    while (!over) {
        for (unsigned i = 0; i < 20; i++) {
            struct iommu_page_request req = {
                .rid = rids[random_of(&x, 4)],
                .pasid_present = true,
                .pasid = 1 + random_of(&x, 4),
                .read = true,
                .last = random_of(&x, 2),
                .group = (uint16_t)random_of(&x, 8),
                .address = IOVA(random_of(&x, 64) * PAGE_SIZE),
            };
            struct iommu_fault fault = { .rid = req.rid, .class = IOMMU_FAULT_BLOCKED };
            device_events.page_request(NULL, &req);
            if (i % 7 == 0)
                device_events.fault(NULL, &fault);
            told++;
        }
        device_events.page_requests_done();
        iopf_tick();
        device_tick();
    }
    return NULL;
}

static void guest_works(struct vm *vm, uint64_t *x)
{
    struct hc_event e;
    uint64_t value;
    uint32_t bonds[8], n = 0;

    for (unsigned i = 0; i < CALLS; i++) {
        switch (random_of(x, 6)) {
        case 0:
            if (n < 8 && try_bind(vm, random_of(x, 2), ROOT(random_of(x, 4)), HC_PASID_ANY, 0,
                                  &value) == HV_OK)
                bonds[n++] = (uint32_t)value;
            break;
        case 1:
            if (n)
                (void)call(vm, HC_SVA_UNBIND, bonds[--n], 0, 0, NULL);
            break;
        case 2: (void)call(vm, HC_IOPF_ENABLE, random_of(x, 2), HC_IOPF_BIND, 0, NULL); break;
        case 3: (void)call(vm, HC_IOPF_DISABLE, random_of(x, 2), 0, 0, NULL); break;
        case 4:
            (void)attach(vm, random_of(x, 2), HC_PASID_NONE, HC_DOMAIN_IDENTITY, 0);
            (void)attach(vm, random_of(x, 2), 1 + random_of(x, 4), HC_DOMAIN_BLOCKED, 0);
            break;
        default:
            if (take_event(vm, &e) && e.type == HC_EVENT_PAGE_REQUEST) {
                struct hc_page_response in = { .cookie = e.cookie };
                (void)call_with(vm, HC_PAGE_RESPONSE, in);
            }
        }
    }
}

static struct vm *make_again(paddr_t low)
{
    struct vm *vm = abi_make_vm(2, "again", low, 2 << 20);

    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(device_add(vm, &(struct boot_pci){ i ? DEV1 : DEV0, 1 }), HV_OK);
    event_ring(vm, 64);
    return vm;
}

/* A VM comes and goes, its devices are in turn bound, unbound and lost; meanwhile they ask. */
static void what_devices_send_meets_no_ghost(void **state)
{
    pthread_t thread;
    uint64_t x = 0x9e3779b97f4a7c15ull;

    (void)state;
    ops = fake_iommu;
    ops.respond = count_answer;
    ops.flush = flush_nothing;
    ops.poll = poll_nothing;
    ops.invalidate = invalidate_nothing;
    iommu = &ops;
    fake.threads = true;
    iopf_set_deadline(1);
    device_end(vm_a); /* its devices are those of the one that comes and goes */
    paddr_t low = platform_ram(2 << 20);
    over = false;
    told = answered = 0;
    platform_set_cpus(2, 0);
    assert_int_equal(pthread_create(&thread, NULL, take_what_devices_send, NULL), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct vm *vm = make_again(low);
        guest_works(vm, &x);
        if (round % 3 == 0)
            device_lost(vm->device[random_of(&x, 2)]);
        guest_works(vm, &x);
        abi_free_vm(vm);
    }
    over = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(told > 0 && answered > 0);
    iommu = &fake_iommu;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        abi_test(what_devices_send_meets_no_ghost),
    };

    return cmocka_run_group_tests(tests, platform_setup, platform_check);
}
