/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/lib/sluice.h"

#include <string.h>

#include "guest/lib/cpu.h"

static bool use_vmmcall = true;

enum hv_status sluice_init(uint32_t *version)
{
    uint32_t r[4];

    cpuid(SLUICE_CPUID_BASE, 0, r);
    if (r[1] != SLUICE_CPUID_EBX || r[2] != SLUICE_CPUID_ECX || r[3] != SLUICE_CPUID_EDX)
        return HV_ENODEV;
    cpuid(SLUICE_CPUID_BASE + 1, 0, r);
    use_vmmcall = r[2] & 1;
    *version = r[0];
    return r[0] >> 16 == SLUICE_ABI_VERSION >> 16 ? HV_OK : HV_ENOTSUP;
}

enum hv_status sluice_call(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t *value)
{
    if (use_vmmcall)
        __asm__ volatile("vmmcall" : "+a"(number), "+d"(a2) : "D"(a0), "S"(a1) : "memory");
    else
        __asm__ volatile("vmcall" : "+a"(number), "+d"(a2) : "D"(a0), "S"(a1) : "memory");
    if (value)
        *value = a2;
    return (enum hv_status)(int64_t)number;
}

enum hv_status sluice_call_struct(uint64_t number, const void *args, uint64_t *value)
{
    return sluice_call(number, (uint64_t)args, 0, 0, value);
}

const char *sluice_status_name(enum hv_status status)
{
    static const char *const names[] = {
        "OK",     "ENOSYS", "E2BIG",     "ENOTSUP", "EINVAL", "E2SMALL", "EALIGN",    "EFAULT",
        "ERANGE", "ENODEV", "ENOENT",    "EEXIST",  "EBUSY",  "EORDER",  "EALREADY",  "EQUOTA",
        "ENOMEM", "ERING",  "ETIMEDOUT", "EIO",     "EAGAIN", "ENOSPC",  "EREQUIRED",
    };
    unsigned n = (unsigned)-(int)status;

    return n < sizeof(names) / sizeof(names[0]) ? names[n] : "?";
}

enum hv_status sluice_vm_info(struct hc_vm_info *out)
{
    return sluice_call(HC_VM_INFO, (uint64_t)out, sizeof(*out), 0, NULL);
}

enum hv_status sluice_stats(struct hc_stats *out)
{
    return sluice_call(HC_STATS, (uint64_t)out, sizeof(*out), 0, NULL);
}

void sluice_shutdown(uint64_t code)
{
    for (;;)
        (void)sluice_call(HC_SHUTDOWN, code, 0, 0, NULL);
}

enum hv_status sluice_device_info(uint32_t index, struct hc_device_info *out)
{
    return sluice_call(HC_DEVICE_INFO, index, (uint64_t)out, sizeof(*out), NULL);
}

enum hv_status sluice_replace(uint32_t device, uint32_t pasid, enum hc_domain domain, uint64_t root,
                              uint32_t levels, enum hc_attach_how *how)
{
    uint64_t value = HC_ATTACH_SAME;
    struct hc_attach args = {
        .size = sizeof(args),
        .device = device,
        .pasid = pasid,
        .domain = domain,
        .levels = levels,
        .root = root,
    };
    enum hv_status status = sluice_call_struct(HC_ATTACH, &args, &value);
    *how = (enum hc_attach_how)value;
    return status;
}

enum hv_status sluice_attach(uint32_t device, uint32_t pasid, enum hc_domain domain, uint64_t root,
                             uint32_t levels)
{
    enum hc_attach_how how;

    return sluice_replace(device, pasid, domain, root, levels, &how);
}

enum hv_status sluice_bind(uint32_t device, uint64_t root, uint32_t wanted_pasid, uint32_t flags,
                           uint32_t *bond, uint32_t *pasid)
{
    struct hc_sva_bind args = {
        .size = sizeof(args),
        .flags = flags,
        .device = device,
        .pasid = wanted_pasid,
        .levels = 4,
        .root = root,
    };
    uint64_t value = 0;
    enum hv_status status = sluice_call_struct(HC_SVA_BIND, &args, &value);

    if (status == HV_OK) {
        *bond = (uint32_t)value;
        *pasid = (uint32_t)(value >> 32);
    }
    return status;
}

enum hv_status sluice_unbind(uint32_t bond, uint64_t *references_left)
{
    return sluice_call(HC_SVA_UNBIND, bond, 0, 0, references_left);
}

enum hv_status sluice_iopf_enable(uint32_t device, uint32_t categories, uint64_t *outstanding)
{
    return sluice_call(HC_IOPF_ENABLE, device, categories, 0, outstanding);
}

enum hv_status sluice_iopf_disable(uint32_t device)
{
    return sluice_call(HC_IOPF_DISABLE, device, 0, 0, NULL);
}

enum hv_status sluice_device_reset(uint32_t device)
{
    enum hv_status status;

    do { /* it ends so many bonds a call */
        status = sluice_call(HC_DEVICE_RESET, device, 0, 0, NULL);
    } while (status == HV_EAGAIN);
    return status;
}

enum hv_status sluice_device_irq(uint32_t device, uint32_t index, uint32_t vcpu, uint32_t vector,
                                 uint32_t *address, uint32_t *data)
{
    struct hc_device_irq args = {
        .size = sizeof(args), .device = device, .index = index, .vcpu = vcpu, .vector = vector
    };
    uint64_t value = 0;
    enum hv_status status = sluice_call_struct(HC_DEVICE_IRQ, &args, &value);

    *address = (uint32_t)value;
    *data = (uint32_t)(value >> 32);
    return status;
}

enum hv_status sluice_device_irq_off(uint32_t device, uint32_t index)
{
    uint32_t none;

    return sluice_device_irq(device, index, 0, 0, &none, &none);
}

enum hv_status sluice_page_response(uint64_t cookie, enum hc_response_code code)
{
    struct hc_page_response args = { .size = sizeof(args), .code = code, .cookie = cookie };

    return sluice_call_struct(HC_PAGE_RESPONSE, &args, NULL);
}

enum hv_status sluice_invalidate_range(uint32_t pasid, uint64_t address, uint64_t bytes, bool leaf)
{
    struct hc_invalidate args = {
        .size = sizeof(args),
        .flags = leaf ? HC_INVALIDATE_LEAF : 0,
        .kind = HC_INVALIDATE_RANGE,
        .pasid = pasid,
        .address = address,
        .bytes = bytes,
    };
    return sluice_call_struct(HC_INVALIDATE, &args, NULL);
}

enum hv_status sluice_memory_on_demand(uint32_t flags, uint64_t gpa, uint64_t bytes)
{
    struct hc_memory_on_demand args = {
        .size = sizeof(args), .flags = flags, .gpa = gpa, .bytes = bytes
    };
    enum hv_status status;

    do {
        uint64_t done = 0;
        status = sluice_call_struct(HC_MEMORY_ON_DEMAND, &args, &done);
        args.gpa += done;
        args.bytes -= done;
    } while (status == HV_EAGAIN);
    return status;
}

enum hv_status sluice_invalidate_pasid(uint32_t pasid)
{
    struct hc_invalidate args = { .size = sizeof(args),
                                  .kind = HC_INVALIDATE_PASID,
                                  .pasid = pasid };
    return sluice_call_struct(HC_INVALIDATE, &args, NULL);
}
