/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual machine: private memory, pinned vCPUs, PCI functions, a quota of table pages.
 * Everything it holds hangs off this structure and is released by vm_end() in the order bonds,
 * domains, spaces, PASIDs, devices, memory.
 */
#ifndef HV_VM_H
#define HV_VM_H

#include "hv/bootinfo.h"
#include "hv/direct.h"
#include "hv/lock.h"
#include "hv/pages.h"
#include "hv/pt.h"
#include "hv/types.h"
#include "sluice/hypercall.h"

struct vcpu;
struct device;
struct interrupt;
struct vpci;
struct vuart;
struct sva;   /* spaces, bonds, second stages: hv/sva.h */
struct rings; /* event and command ring: hv/rings.h */

#define VM_RAM_LOW_END 0xC0000000ull /* RAM below; then device space; the rest from 4 GiB */
#define VM_RAM_HIGH    0x100000000ull

struct vm_ram {
    gpaddr_t gpa;
    paddr_t hpa;
    uint64_t size;
};

enum vm_state { VM_NEW, VM_RUNNING, VM_ENDING, VM_ENDED };
enum vm_end { VM_END_SHUTDOWN, VM_END_TRIPLE_FAULT, VM_END_BAD_STATE, VM_END_ERROR };

struct vm {
    uint16_t id;
    char name[BOOT_NAME];
    struct lock lock; /* RANK_VM: everything below that the guest's calls change */
    _Atomic enum vm_state state;
    enum vm_end end;   /* valid when ENDING or ENDED */
    uint64_t end_code; /* HC_SHUTDOWN's argument */
    struct vm_ram ram[2];
    unsigned nram;
    unsigned ndirect;
    struct direct direct[DIRECT_MAX]; /* set up before the VM runs */
    uint64_t ram_bytes;
    uint64_t entry; /* of the kernel: where vCPU 0 starts */
    struct page_quota quota;
    struct pt npt; /* guest physical to host physical, for the CPU */
    struct vcpu *vcpu[BOOT_VM_CPUS];
    unsigned nvcpus;
    _Atomic unsigned vcpus_stopped;
    struct device *device[BOOT_VM_PCI]; /* handle = index; set up before the VM runs */
    unsigned ndevices;
    struct interrupt *_Atomic silenced; /* hv/interrupt.c; changed under lock */
    struct vpci *vpci;
    struct vuart *vuart;
    struct sva *sva;
    struct rings *rings;
    struct hc_stats stats; /* counters; under lock, but for exits and hypercalls (summed) */
};

extern struct vm *vms[BOOT_VMS_MAX];
extern unsigned nvms;

/* Build a VM from its boot description: tables, vCPUs, devices, image in memory. Nothing runs yet.
 * On error everything is released, and the log says what and which configuration line. */
enum hv_status vm_create(const struct boot_vm *config, struct vm **out);
void vm_run(struct vm *vm);
/* A vCPU asks to end its VM (shutdown, triple fault, ...): all vCPUs stop; idempotent; any CPU. */
void vm_end(struct vm *vm, enum vm_end how, uint64_t code);
/* Called by each vCPU's CPU when it has left the guest for good; the last one tears down and
 * reports. */
void vm_vcpu_stopped(struct vm *vm);

/* The last VM of all has ended: report, and stop the machine. hv/main.c. */
[[noreturn]] void vm_last_ended(void);

/* Host address of guest RAM [gpa, gpa + size), or NULL when not wholly inside one RAM range. The
 * only way from a guest address to memory. The content may change under the reader: copy it once.
 */
void *vm_ram(const struct vm *vm, gpaddr_t gpa, uint64_t size);

/* One hypercall, from arch/x86/exit.c (CPL already checked). Fills *value (RDX). */
struct hypercall_regs {
    uint64_t number, arg[5];
};
enum hv_status hypercall(struct vcpu *v, const struct hypercall_regs *regs, uint64_t *value);
/* What HC_NULL gives, with HV_OK: it takes nothing and changes nothing. */
static inline uint64_t hypercall_null(void)
{
    return SLUICE_ABI_VERSION;
}

#endif
