/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot order. All of it runs on the boot CPU; guests start when everything has succeeded, and a
 * boot that fails starts none.
 */
#include <string.h>

#include "arch/x86/arch.h"
#include "arch/x86/vcpu.h"
#include "hv/acpi.h"
#include "hv/claims.h"
#include "hv/device.h"
#include "hv/interrupt.h"
#include "hv/iopf.h"
#include "hv/log.h"
#include "hv/pages.h"
#include "hv/pci.h"
#include "hv/report.h"
#include "hv/vm.h"

#define TICK_US 5000u /* how late a deadline of page requests, or of a silence, may be noticed */

static bool reboot_when_done;

static void need(const char *what, enum hv_status status)
{
    if (status == HV_OK)
        return;
    log_error("boot", "%s: failed (status %d); no guest is started", what, status);
    machine_stop(reboot_when_done);
}

static void check_bootinfo(const struct bootinfo *boot)
{
    if (boot->magic != BOOT_MAGIC || boot->version != BOOT_VERSION ||
        boot->size != sizeof(struct bootinfo) || boot->nvms > BOOT_VMS_MAX ||
        boot->nmemory > BOOT_MEMORY_MAX || boot->ncpus > BOOT_CPUS_MAX)
        panic("loader and hypervisor are of different versions");
    reboot_when_done = boot->reboot_when_done != 0;
}

#define INTERRUPT_RANGE      0xfee00000ull
#define INTERRUPT_RANGE_SIZE 0x100000ull

/* Nothing of this can be a function's. mmio_map adds what Sluice maps. */
static void claim_memory(const struct bootinfo *boot)
{
    for (unsigned i = 0; i < boot->nmemory; i++) {
        const struct boot_memory *m = &boot->memory[i];
        if (!m->size || m->kind == BOOT_MMIO)
            continue;
        (m->kind == BOOT_RESERVED ? claims_add_firmware : claims_add)(PADDR(m->base), m->size);
    }
    claims_add(PADDR(INTERRUPT_RANGE), INTERRUPT_RANGE_SIZE);
}

static void count_function(void *ctx, rid_t rid)
{
    unsigned *n = ctx;

    ++*n;
    log_debug("pci", "%02x:%02x.%x %04x:%04x", rid >> 8, (rid >> 3) & 31, rid & 7,
              (unsigned)pci_config_read(rid, PCI_VENDOR, 2),
              (unsigned)pci_config_read(rid, PCI_DEVICE, 2));
}

static void find_pci(void)
{
    struct acpi_ecam ecam;
    unsigned n = 0;

    if (acpi_ecam(&ecam) == HV_OK)
        need("PCI configuration space", pci_config_ecam(ecam.base, ecam.first, ecam.last));
    else
        log_warn("pci", "no MCFG: only the first 256 bytes of configuration space can be reached");
    pci_find_roots();
    pci_each(count_function, &n);
    log_info("pci", "%u functions", n);
}

static void start_cpus(const struct bootinfo *boot)
{
    static struct acpi_madt madt;

    if (acpi_madt(&madt) != HV_OK) {
        log_warn("acpi", "no MADT: the CPUs are those the loader found, and there is no IO APIC");
        memcpy(madt.apic_id, boot->apic_id, sizeof(madt.apic_id));
        madt.ncpus = boot->ncpus;
    }
    arch_irq_init(madt.ioapic, madt.nioapics);
    arch_time_init(acpi_pm_timer_port());
    need("vCPUs", vcpu_choose());
    need("CPUs", arch_start_cpus(boot, madt.apic_id, madt.ncpus));
    log_info("boot", "%u CPUs, %lu ticks/us, guests with %s", cpu_count(),
             (unsigned long)time_ticks_per_us(), vcpu_ops->name);
}

/* VT-d 8.1 */
#define DMAR_FLAGS          37u
#define DMAR_X2APIC_OPT_OUT 2u

/* From here on no device reaches memory that is not its guest's. */
static void start_iommu(const struct bootinfo *boot)
{
    size_t length = 0;
    const void *dmar = acpi_find("DMAR", &length);
    enum hv_status status = HV_ENODEV;

    if (dmar) {
        const uint8_t *flags = (const uint8_t *)dmar + DMAR_FLAGS;
        if (length > DMAR_FLAGS && (*flags & DMAR_X2APIC_OPT_OUT))
            log_warn("iommu",
                     "firmware asks for no x2APIC, without which Sluice cannot do: its own "
                     "interrupts (SMI) may suffer");
        status = iommu_vtd.probe(dmar, length, &device_events);
    } else {
        log_warn("iommu", "no DMAR table");
    }
    if (status == HV_OK) {
        need("IOMMU", iommu_vtd.start());
        iommu = &iommu_vtd;
    } else if (boot->iommu == BOOT_IOMMU_REQUIRED) {
        need("IOMMU (iommu = required)", status);
    } else {
        log_warn("iommu", "none that can be used: no function can be given to a guest");
    }
}

static void tick(void)
{
    iopf_tick();
    device_tick();
    for (unsigned i = 0; i < nvms; i++)
        interrupt_tick(vms[i]);
}

static void create_vms(const struct bootinfo *boot)
{
    unsigned devices = 0;

    iopf_set_deadline(boot->page_request_deadline_ms);
    for (unsigned i = 0; i < boot->nvms; i++) {
        struct vm *vm;
        need(boot->vm[i].name, vm_create(&boot->vm[i], &vm));
        log_info("vm", "%s: %lu MiB, %u vCPUs, %u functions", vm->name,
                 (unsigned long)(vm->ram_bytes >> 20), vm->nvcpus, vm->ndevices);
        devices += vm->ndevices;
    }
    if (devices)
        platform_periodic(tick, TICK_US);
}

void hv_main(const struct bootinfo *boot)
{
    uint64_t entered = time_now();

    arch_early_init(boot);
    check_bootinfo(boot);
    log_info("boot", "Sluice: image at %#lx, pool of %lu MiB at %#lx",
             (unsigned long)boot->image.base, (unsigned long)(boot->pool.size >> 20),
             (unsigned long)boot->pool.base);
    pages_add(PADDR(boot->pool.base), boot->pool.size);
    arch_paging_init(boot);
    claim_memory(boot);
    enum hv_status acpi = acpi_init(boot);
    if (acpi == HV_ENODEV)
        log_warn("acpi", "the firmware publishes no tables");
    else
        need("ACPI", acpi);
    find_pci();
    start_cpus(boot);
    start_iommu(boot);
    create_vms(boot);
    log_info("boot", "%lu of %lu KiB in use; guests start", (unsigned long)pages_used() * 4,
             (unsigned long)pages_total() * 4);
    report_boot(entered);
    for (unsigned i = 0; i < nvms; i++)
        vm_run(vms[i]);
    vcpu_cpu_loop();
}

void vm_last_ended(void)
{
    report_machine();
    machine_stop(reboot_when_done);
}
