/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest/demo/demo.h"

#include "guest/lib/pci.h"
#include "guest/lib/sluice.h"

struct demo demo;
static unsigned wrong;

void expect(bool good, const char *what, uint64_t detail)
{
    if (good)
        return;
    wrong++;
    print("WRONG: %s (%lu)\n", what, detail);
}

static void hello(void)
{
    struct hc_vm_info info;
    enum hv_status status = sluice_vm_info(&info);

    if (status != HV_OK)
        fail("VM info: %s", sluice_status_name(status));
    print("guest %s on Sluice ABI %u.%u: %lu MiB, %u vCPUs, %u devices\n", info.name,
          info.version >> 16, info.version & 0xffff, info.memory >> 20, info.vcpus, info.devices);
    demo.on_demand = info.features & HC_FEATURE_ON_DEMAND;
    if (!(info.features & (HC_FEATURE_NESTED | HC_FEATURE_SHADOW)))
        fail("no first stages on this machine: nothing to show");
}

/* The first accelerator, as PCI function and as device of the ABI. */
static void find_device(void)
{
    int32_t rid = pci_find(ACCEL_PCI_ID, -1);
    enum hv_status status;

    if (rid < 0 || !accel_open(&demo.accel, (uint32_t)rid))
        fail("no accelerator on the PCI bus");
    for (uint32_t i = 0;; i++) {
        status = sluice_device_info(i, &demo.device);
        if (status != HV_OK)
            fail("the accelerator is no device of Sluice's: %s", sluice_status_name(status));
        if (demo.device.rid == (uint32_t)rid)
            break;
    }
    print("accelerator at 00:%02x.%x: %u PASID bits%s%s\n", rid >> 3, rid & 7,
          demo.device.pasid_bits, demo.device.flags & HC_DEVICE_ATS ? ", ATS" : "",
          demo.device.flags & HC_DEVICE_PRI ? ", page requests" : "");
    if (demo.device.flags & HC_DEVICE_SHADOW)
        print("its unit does not nest: Sluice translates by shadow tables\n");
}

static void bind_processes(void)
{
    uint64_t outstanding = 0;
    enum hv_status status = sluice_iopf_enable(
        demo.device.device, HC_IOPF_BIND | (demo.on_demand ? HC_IOPF_MAP : 0), &outstanding);

    if (status != HV_OK)
        fail("page requests cannot be enabled: %s", sluice_status_name(status));
    for (unsigned i = 0; i < PROCESSES; i++) {
        struct process *p = &demo.process[i];

        process_create(p, i);
        status = sluice_bind(demo.device.device, (uint64_t)p->space.root, HC_PASID_ANY, 0, &p->bond,
                             &p->pasid);
        if (status != HV_OK)
            fail("bind of process %u: %s", i, sluice_status_name(status));
    }
    print("two processes bound: PASIDs %u and %u; up to %lu page requests at once\n",
          demo.process[0].pasid, demo.process[1].pasid, outstanding);
}

static void report(void)
{
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        { "page_requests", demo.count.page_requests },
        { "answered", demo.count.answered },
        { "mismatches", demo.count.mismatches },
        { "blocked_after_unbind", demo.count.blocked_after_unbind },
        { "escapes_refused", demo.count.escapes_refused },
        { "escapes_succeeded", demo.count.escapes_succeeded },
        { "faults", demo.count.faults },
        { "interrupts", demo.count.interrupts },
        { "work_interrupts", demo.count.work_interrupts },
        { "interrupts_refused", demo.count.refused_interrupts },
        { "wrong", wrong },
    };
    struct hc_stats stats;

    if (sluice_stats(&stats) != HV_OK)
        fail("statistics");
    print("@summary bytes_by_dma %lu\n", accel_bytes(&demo.accel));
    print("@summary lost %lu\n", stats.page_requests_lost);
    print("@summary hypercalls %lu\n", stats.hypercalls);
    print("@summary map_faults %lu\n", stats.map_faults_served);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        print("@summary %s %lu\n", rows[i].key, rows[i].value);
}

int guest_main(void)
{
    hello();
    find_device();
    scene_blocked();
    events_init();
    bind_processes();
    scene_share();
    scene_interrupt();
    scene_remap();
    scene_identity();
    scene_escape();
    scene_classic();
    scene_require();
    scene_reserve();
    scene_replace();
    scene_demand();
    scene_unbind();
    expect(sluice_iopf_disable(demo.device.device) == HV_OK, "IOPF disable", 0);
    expect(demo.count.mismatches == 0 && demo.count.escapes_succeeded == 0 &&
               demo.count.expired == 0,
           "totals", demo.count.expired);
    expect(demo.count.work_interrupts == (demo.device.interrupts ? 2 * WORK_SLEEPS : 0),
           "interrupts that nobody asked for", demo.count.work_interrupts);
    report();
    print(wrong ? "FAILED: %u checks\n" : "all checks held\n", wrong);
    return wrong ? 1 : 0;
}
