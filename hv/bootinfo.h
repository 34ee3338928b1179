/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the UEFI loader hands to the hypervisor: one structure, in memory that stays ours. All
 * addresses are physical. The loader has read and checked the whole configuration, loaded every
 * file and reserved all memory before it leaves boot services: after that nothing can be missing.
 *
 * Entry: 64-bit mode, interrupts off, paging on tables of the loader that map the hypervisor image
 * at its linked address, and the first 512 GiB of physical memory both at identity and at
 * BOOT_PHYS_OFFSET (writable, 1 GiB or 2 MiB pages). RDI = physical address of struct bootinfo, RSP
 * = 64 KiB of loader stack. SysV ABI, EFER.NXE set. The loader's tables and stack lie in `loader`
 * memory, free for use once the hypervisor has left them.
 */
#ifndef HV_BOOTINFO_H
#define HV_BOOTINFO_H

#include <stdint.h>

#define BOOT_MAGIC       0x544f4f4245434c53ull /* "SLCEBOOT" */
#define BOOT_VERSION     3u
#define BOOT_PHYS_OFFSET 0xffff800000000000ull

#define BOOT_VMS_MAX    256u
#define BOOT_VM_CPUS    16u
#define BOOT_VM_PCI     32u
#define BOOT_NAME       32u
#define BOOT_CMDLINE    256u
#define BOOT_MEMORY_MAX 256u
#define BOOT_CPUS_MAX   256u

struct boot_range {
    uint64_t base, size;
}; /* bytes, page aligned; size 0: absent */

struct boot_file {
    uint64_t base, size;
}; /* file contents; size 0: absent */

enum boot_pci_flag {
    BOOT_PCI_MAP_FIRMWARE = 1 << 0,  /* rmrr=map: see hv/direct.h */
    BOOT_PCI_ATS_ON = 1 << 1,        /* ats=on: also if firmware does not say that it may be */
    BOOT_PCI_ATS_OFF = 1 << 2,       /* ats=off */
    BOOT_PCI_ANY_INTERRUPT = 1 << 3, /* interrupts=any: the unit need not remap them */
};

struct boot_pci {
    uint16_t rid;
    uint16_t line;  /* of the configuration file, for messages */
    uint16_t flags; /* boot_pci_flag */
};

struct boot_vm {
    char name[BOOT_NAME];
    uint32_t line;              /* of its section */
    uint32_t cpus;              /* how many entries of cpu[] */
    uint32_t cpu[BOOT_VM_CPUS]; /* host CPU of each vCPU, 0 = boot CPU */
    struct boot_range ram;      /* host memory of the VM, 2 MiB aligned, zeroed */
    struct boot_file kernel, ramdisk;
    char cmdline[BOOT_CMDLINE];
    uint32_t table_quota; /* pages */
    uint32_t npci;
    struct boot_pci pci[BOOT_VM_PCI];
};

/* UEFI memory map, merged by kind, ascending. For the direct map and for checks. */
enum boot_memory_kind { BOOT_RAM = 1, BOOT_ACPI = 2, BOOT_RESERVED = 3, BOOT_MMIO = 4 };
struct boot_memory {
    uint64_t base, size;
    uint32_t kind, reserved;
};

enum boot_iommu { BOOT_IOMMU_REQUIRED = 0, BOOT_IOMMU_OPTIONAL = 1 };

struct bootinfo {
    uint64_t magic;
    uint32_t version, size;   /* sizeof(struct bootinfo) */
    struct boot_range image;  /* hypervisor image as loaded, all segments, 2 MiB aligned */
    struct boot_range pool;   /* hypervisor's own memory, 2 MiB aligned */
    struct boot_range loader; /* loader's tables, stack and this structure */
    uint64_t rsdp;            /* ACPI root pointer; 0: none */
    uint64_t tsc_hz;          /* 0: not known */
    uint32_t log_level;       /* enum log_level */
    uint32_t iommu;           /* enum boot_iommu */
    uint32_t page_request_deadline_ms;
    uint32_t reboot_when_done; /* 1: reset the machine when the last VM has ended; 0: halt */
    uint16_t console_port;     /* IO port of the 16550, 0: none */
    uint16_t reserved0[3];
    uint32_t reserved1;
    uint32_t ncpus; /* as the firmware counts them; for when there is no MADT. 0: not told */
    uint32_t apic_id[BOOT_CPUS_MAX];
    uint32_t nmemory, nvms;
    struct boot_memory memory[BOOT_MEMORY_MAX];
    struct boot_vm vm[BOOT_VMS_MAX];
};

#endif
