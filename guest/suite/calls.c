/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of bad call, on the real path: its own status, and nothing else happens. */
#include <string.h>

#include "guest/lib/cpu.h"
#include "guest/lib/rings.h"
#include "guest/lib/sluice.h"
#include "guest/suite/suite.h"

/* The end of the VM's RAM, of which the memory map gives a part to firmware tables. */
static uint64_t ram_end(void)
{
    struct hc_vm_info info = { 0 };

    CHECK_EQUAL(sluice_vm_info(&info), HV_OK);
    return info.memory;
}

static void numbers(void)
{
    uint64_t value = 0;

    CHECK_EQUAL(sluice_call(HC_NULL, 0, 0, 0, &value), HV_OK);
    CHECK_EQUAL(value, SLUICE_ABI_VERSION);
    CHECK_EQUAL(sluice_call(HC_NUMBERS - 1, 0, 0, 0, NULL), HV_ENOSYS);
    CHECK_EQUAL(sluice_call(HC_NUMBERS, 0, 0, 0, NULL), HV_ENOSYS);
    CHECK_EQUAL(sluice_call(~0ull, 0, 0, 0, NULL), HV_ENOSYS);
    CHECK_EQUAL(sluice_call(1ull << 32, 0, 0, 0, NULL), HV_ENOSYS);      /* not cut to 32 bits */
    CHECK_EQUAL(sluice_call(HC_IOAS_CREATE, 0, 0, 0, NULL), HV_E2SMALL); /* size 0 there */
}

/* Without an IOMMU its calls have one answer; "iommu=none": it must be so. */
static bool without_iommu;

static enum hv_status with_iommu(enum hv_status status)
{
    return without_iommu ? HV_ENOTSUP : status;
}

static void address_spaces(void)
{
    struct hc_ioas_create c = { .size = sizeof(c) };
    uint64_t ioas = 0;

    without_iommu = sluice_call_struct(HC_IOAS_CREATE, &c, &ioas) == HV_ENOTSUP;
    CHECK(without_iommu || !option_text("iommu"));
    CHECK_EQUAL(sluice_call(HC_IOAS_DESTROY, ioas, 0, 0, NULL), with_iommu(HV_OK));
    CHECK_EQUAL(sluice_call(HC_IOAS_DESTROY, 4711, 0, 0, NULL), with_iommu(HV_ENOENT));
}

static void structures(void)
{
    static uint64_t area[1024] __attribute__((aligned(4096)));
    struct hc_page_response *r = (struct hc_page_response *)area;

    *r = (struct hc_page_response){ .size = sizeof(*r) - 1 };
    CHECK_EQUAL(sluice_call_struct(HC_PAGE_RESPONSE, r, NULL), HV_E2SMALL);
    r->size = sizeof(*r) + 8;
    area[2] = 1;
    CHECK_EQUAL(sluice_call_struct(HC_PAGE_RESPONSE, r, NULL), HV_E2BIG);
    area[2] = 0; /* a longer structure of zeros is a newer caller: understood */
    CHECK(sluice_call_struct(HC_PAGE_RESPONSE, r, NULL) != HV_E2BIG);
    r->size = sizeof(*r);
    CHECK_EQUAL(sluice_call_struct(HC_PAGE_RESPONSE, (char *)area + 4, NULL), HV_EALIGN);
    CHECK_EQUAL(sluice_call(HC_PAGE_RESPONSE, ram_end(), 0, 0, NULL), HV_EFAULT);
    /* The size is inside, the rest is not. */
    volatile uint64_t *last = (volatile uint64_t *)(ram_end() - 8);
    uint64_t kept = *last;
    *last = sizeof(*r);
    CHECK_EQUAL(sluice_call(HC_PAGE_RESPONSE, (uint64_t)last, 0, 0, NULL), HV_EFAULT);
    *last = kept;
    CHECK_EQUAL(sluice_call(HC_PAGE_RESPONSE, ~7ull, 0, 0, NULL), HV_EFAULT);
    CHECK_EQUAL(sluice_call(HC_VM_INFO, 0xfee00000, sizeof(struct hc_vm_info), 0, NULL), HV_EFAULT);
    CHECK_EQUAL(sluice_page_response(0x123456789, HC_RESPONSE_SUCCESS), with_iommu(HV_ENOENT));
}

static void foreign_devices(void)
{
    uint32_t bond, pasid;

    CHECK_EQUAL(sluice_attach(77, HC_PASID_NONE, HC_DOMAIN_BLOCKED, 0, 0), with_iommu(HV_ENODEV));
    CHECK_EQUAL(sluice_bind(77, 0x1000, HC_PASID_ANY, 0, &bond, &pasid), with_iommu(HV_ENODEV));
    CHECK_EQUAL(sluice_iopf_enable(77, HC_IOPF_BIND, NULL), with_iommu(HV_ENODEV));
    CHECK_EQUAL(sluice_unbind(77, NULL), with_iommu(HV_ENOENT));
}

static void rings(void)
{
    struct hc_ring_setup s = { .size = sizeof(s), .entries = 64, .vector = 0x40 };
    struct event_ring ring;

    s.base = ram_end() - 4096; /* header inside, entries past the end */
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_EFAULT);
    s.base = 0x201008;
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_EALIGN);
    s.base = (uint64_t)pages_new(4);
    s.entries = 48;
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_EINVAL);
    s.entries = 8192;
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_ERANGE);
    s.entries = 64;
    s.vcpu = 99;
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_ERANGE);
    s.vcpu = 0;
    s.vector = 31;
    CHECK_EQUAL(sluice_call_struct(HC_EVENT_RING, &s, NULL), HV_ERANGE);
    CHECK_EQUAL(event_ring_open(&ring, 64, 0x40, 0), HV_OK);
    CHECK_EQUAL(sluice_call(HC_DOORBELL, 0, 0, 0, NULL), HV_EORDER); /* no command ring yet */
}

static void command_ring(void)
{
    struct command_ring ring;
    struct hc_invalidate bad = { .size = sizeof(bad), .kind = 99 };
    uint32_t done, failed;
    uint64_t count = 0;

    CHECK_EQUAL(command_ring_open(&ring, 16), HV_OK);
    for (unsigned i = 0; i < 16; i++)
        CHECK(command_ring_put(&ring, HC_INVALIDATE, &bad, sizeof(bad)));
    CHECK(!command_ring_put(&ring, HC_INVALIDATE, &bad, sizeof(bad))); /* full */
    CHECK_EQUAL(command_ring_run(&ring, &done, &failed), HV_OK);
    CHECK_EQUAL(done, 16);
    CHECK_EQUAL(failed, 16);
    CHECK_EQUAL(ring.slot[3].status, with_iommu(HV_EINVAL));
    /* Indices that run backwards: the ring stops and says so, until it is set again. */
    ring.header->producer = ring.header->consumer - 1;
    CHECK_EQUAL(sluice_call(HC_DOORBELL, 0, 0, 0, &count), HV_ERING);
    ring.header->producer = ring.header->consumer;
    CHECK_EQUAL(sluice_call(HC_DOORBELL, 0, 0, 0, &count), HV_ERING);
    CHECK_EQUAL(command_ring_open(&ring, 16), HV_OK);
    CHECK_EQUAL(sluice_call(HC_DOORBELL, 0, 0, 0, &count), HV_OK);
}

const struct check call_checks[] = {
    { "call_address_spaces", address_spaces },
    { "call_numbers", numbers },
    { "call_structures", structures },
    { "call_foreign_devices", foreign_devices },
    { "call_rings", rings },
    { "call_command_ring", command_ring },
    { NULL, NULL },
};
