/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest ABI: call numbers and structures. docs/abi.md tells how to use them.
 *
 * VMMCALL (AMD) or VMCALL (Intel): RAX number; RDI, RSI, RDX, R10, R8 arguments. Back: RAX status
 * (hv_status, sign-extended), RDX value. All other registers are preserved. Only CPL 0 may call.
 *
 * A call marked "struct" takes RDI = guest-physical address of the structure, 8-byte aligned, whole
 * inside the VM's RAM. The first field is its size in bytes; it is copied in once. Longer than
 * known: the tail must be zero (HV_E2BIG). Addresses are guest physical, sizes bytes, pages 4 KiB.
 */
#ifndef SLUICE_HYPERCALL_H
#define SLUICE_HYPERCALL_H

#include <stdint.h>

#define SLUICE_ABI_VERSION 0x00010000u /* major 31:16, minor 15:0 */

/* CPUID: leaf 0x40000000 answers EAX = highest leaf, EBX/ECX/EDX = "SluiceHyperv"; leaf 0x40000001:
 * EAX = ABI version, EBX = feature bits, ECX = 1: use VMMCALL, 0: use VMCALL, EDX = TSC kHz. */
#define SLUICE_CPUID_BASE 0x40000000u
#define SLUICE_CPUID_EBX  0x69756c53u /* "Slui" */
#define SLUICE_CPUID_ECX  0x79486563u /* "ceHy" */
#define SLUICE_CPUID_EDX  0x76726570u /* "perv" */

enum hc_feature { /* bits of hc_vm_info.features and CPUID 0x40000001 EBX */
                  HC_FEATURE_IOMMU = 1u << 0, /* devices sit behind a unit; attach works */
                  HC_FEATURE_NESTED = 1u << 1,
                  HC_FEATURE_IOPF = 1u << 2,
                  HC_FEATURE_PAGING = 1u << 3,
                  /* Interrupts of devices arrive: HC_DEVICE_IRQ, MSI. */
                  HC_FEATURE_INTERRUPTS = 1u << 4,
                  HC_FEATURE_SHADOW = 1u << 5, /* bind works, by shadow tables */
                  /* A device has page requests: HC_IOPF_MAP, HC_IOAS_ON_DEMAND and
                     HC_MEMORY_ON_DEMAND work with it. */
                  HC_FEATURE_ON_DEMAND = 1u << 6,
};

enum hc_number {
    HC_NULL = 0,     /* RDX = SLUICE_ABI_VERSION */
    HC_VM_INFO = 1,  /* RDI = address, RSI = size of a hc_vm_info to fill; RDX = bytes written */
    HC_SHUTDOWN = 2, /* RDI = code, 0 = success; ends this VM, does not return */
    HC_STATS = 3,    /* RDI = address, RSI = size of a hc_stats to fill; RDX = bytes written */
    HC_DEVICE_INFO =
        8,            /* RDI = index, RSI = address, RDX = size of a hc_device_info; RDX = bytes */
    HC_ATTACH = 9,    /* struct hc_attach; RDX = hc_attach_how */
    HC_SVA_BIND = 10, /* struct hc_sva_bind; RDX = bond 31:0, PASID 63:32 */
    HC_SVA_UNBIND = 11, /* RDI = bond; RDX = references left */
    HC_IOPF_ENABLE =
        12, /* RDI = device, RSI = categories; RDX = outstanding page requests allowed */
    HC_IOPF_DISABLE = 13,     /* RDI = device */
    HC_PAGE_RESPONSE = 14,    /* struct hc_page_response */
    HC_INVALIDATE = 15,       /* struct hc_invalidate */
    HC_INVALIDATE_ARRAY = 16, /* struct hc_invalidate_array; RDX = entries done, also on error */
    HC_DEVICE_IRQ = 17,       /* struct hc_device_irq; RDX = message address 31:0, data 63:32 */
    HC_DEVICE_RESET = 18,     /* RDI = device */
    HC_MEMORY_ON_DEMAND = 19, /* struct hc_memory_on_demand; RDX = bytes done */
    HC_EVENT_RING = 20,       /* struct hc_ring_setup; base 0 removes the ring */
    HC_COMMAND_RING = 21,     /* struct hc_ring_setup; base 0 removes the ring */
    HC_DOORBELL = 22,     /* run the command ring until empty or 256 done; RDX = commands done */
    HC_IOAS_CREATE = 32,  /* struct hc_ioas_create; RDX = IOAS */
    HC_IOAS_DESTROY = 33, /* RDI = IOAS */
    HC_IOAS_MAP = 34,     /* struct hc_ioas_map; RDX = IO address; with FIXED: bytes done */
    HC_IOAS_UNMAP = 35,   /* struct hc_ioas_unmap; RDX = bytes done */
    HC_IOAS_COPY = 36,    /* struct hc_ioas_copy; RDX as for MAP, with FIXED also on error */
    HC_IOAS_REQUIRE_IOVA = 37, /* struct hc_ioas_ranges, the list is read */
    HC_IOAS_RANGES = 38, /* the same, written; RDX = how many there are 31:0, alignment 63:32 */
    HC_NUMBERS = 64,
};

#define HC_PASID_NONE 0xffffffffu /* the requester id itself, without PASID */
#define HC_PASID_ANY  0xfffffffeu /* Sluice picks one */

struct hc_vm_info {
    uint32_t size; /* out */
    uint32_t version;
    uint64_t features;
    uint64_t memory; /* bytes of RAM */
    uint32_t vm, vcpus, devices, reserved;
    uint64_t table_quota, table_used; /* pages */
    char name[32];
};

enum hc_device_flag {
    HC_DEVICE_ATS = 1u << 0,
    HC_DEVICE_PRI = 1u << 1,
    HC_DEVICE_PASID = 1u << 2,
    HC_DEVICE_NESTED = 1u << 3, /* its unit walks nested: NESTED and bind work */
    HC_DEVICE_NEEDS_IOPF =
        1u << 4, /* has PRI: bind wants IOPF enabled first, see HC_BIND_NO_IOPF */
    HC_DEVICE_FS_5LEVEL = 1u << 5,
    HC_DEVICE_FS_1G = 1u << 6,
    HC_DEVICE_SHADOW =
        1u << 7, /* NESTED and bind work by shadow tables: see HC_INVALIDATE_MAPPED */
    HC_DEVICE_RESETS = 1u << 8,    /* HC_DEVICE_RESET works */
    HC_DEVICE_FIRMWARE = 1u << 11, /* firmware uses memory through it, which has a place of its own
                                      in IDENTITY and PAGING: reserved in the memory map */
};

enum hc_iopf_category {
    HC_IOPF_BIND = 1u << 0, /* first stages: the guest serves */
    HC_IOPF_MAP = 1u << 1,  /* what is on demand: Sluice serves */
};

enum hc_device_state {
    HC_DEVICE_OK = 0,
    HC_DEVICE_FAILED = 1, /* blocked after an error of hardware, until a reset if at all */
    HC_DEVICE_GONE = 2,   /* it is no longer there: blocked for good */
};

struct hc_device_info {
    uint32_t size;   /* out */
    uint32_t device; /* handle for all other calls */
    uint32_t rid;    /* as the VM sees it: bus 15:8, device 7:3, function 2:0 */
    uint32_t flags;  /* hc_device_flag */
    uint32_t unit;   /* devices with the same number share one IOMMU unit */
    uint32_t pasid_bits;
    uint32_t page_requests;    /* outstanding requests it gets with IOPF */
    uint32_t state;            /* hc_device_state */
    uint32_t iopf;             /* categories enabled now */
    uint32_t first_stage_bits; /* usable width of first-stage addresses */
    uint32_t interrupts;       /* HC_DEVICE_IRQ takes indices below; 0: not supported */
    uint32_t group; /* not 0: hardware cannot tell it from others with this number: an attach of one
                       is one of all */
    uint64_t reserved[2];
};

enum hc_domain {
    HC_DOMAIN_BLOCKED = 0,
    HC_DOMAIN_IDENTITY = 1, /* DMA addresses are guest physical */
    HC_DOMAIN_PAGING = 2,   /* an IOAS */
    HC_DOMAIN_NESTED = 3,   /* first-stage root of the guest over the VM's memory */
};

struct hc_attach {
    uint32_t size, flags;   /* flags 0 */
    uint32_t device, pasid; /* HC_PASID_NONE: the RID */
    uint32_t domain;        /* hc_domain; replaces what was there */
    uint32_t levels;        /* NESTED: 4 or 5; else 0 */
    uint64_t root;          /* NESTED: first-stage root, page aligned; PAGING: IOAS; else 0 */
};

enum hc_attach_how {                        /* what a DMA meanwhile met: */
                     HC_ATTACH_SAME = 0,    /* nothing had to change */
                     HC_ATTACH_HITLESS = 1, /* what was or what is, and nothing else */
                     /* what was, BLOCKED for a moment, what is */
                     HC_ATTACH_BLOCKED_WINDOW = 2,
};

/*
 * IOAS: an IO address space that is filled by map and unmap. Addresses and sizes are multiples of 4
 * KiB. One call does at most HC_IOAS_STEP bytes and 256 mappings; HV_EAGAIN tells that there is
 * more to do.
 */
#define HC_IOAS_STEP         0x40000000ull
#define HC_IOAS_REQUIRED_MAX 32u

struct hc_ioas_create {
    uint32_t size, flags; /* flags 0 */
    uint64_t first, last; /* aperture, inclusive; 0, 0: as deep as the tables */
    uint32_t levels;      /* wanted depth without an aperture: 3, 4 or 5; 0: 4 */
    uint32_t reserved;
};

enum hc_ioas_map_flag { /* also of hc_ioas_copy: FIXED alone */
                        HC_IOAS_READ = 1u << 0,
                        HC_IOAS_WRITE = 1u << 1,
                        HC_IOAS_UNCACHED = 1u << 2,  /* cache policy; else write-back */
                        HC_IOAS_FIXED = 1u << 3,     /* iova is meant; else it is a hint */
                        HC_IOAS_RESERVE = 1u << 4,   /* hold the range, map nothing */
                        HC_IOAS_ON_DEMAND = 1u << 5, /* in the tables when a device asks for it */
};

struct hc_ioas_map {
    uint32_t size, flags; /* hc_ioas_map_flag */
    uint32_t ioas, reserved;
    uint64_t iova;
    uint64_t gpa; /* in RAM, with all bytes; RESERVE: 0 */
    uint64_t bytes;
};

enum hc_ioas_unmap_flag {
    HC_IOAS_EXACT = 1u << 0,     /* refuse to split a mapping */
    HC_IOAS_ALL = 1u << 1,       /* whatever there is; iova and bytes are 0 */
    HC_IOAS_UNRESERVE = 1u << 2, /* reservations, instead of mappings */
};

struct hc_ioas_unmap {
    uint32_t size, flags; /* hc_ioas_unmap_flag */
    uint32_t ioas, reserved;
    uint64_t iova, bytes;
};

struct hc_ioas_copy {
    uint32_t size, flags;      /* HC_IOAS_FIXED or 0 */
    uint32_t to, from;         /* IOASes; may be the same */
    uint64_t to_iova;          /* as hc_ioas_map.iova */
    uint64_t from_iova, bytes; /* mapped or reserved throughout */
};

struct hc_iova_range {
    uint64_t first, last; /* inclusive */
};

struct hc_ioas_ranges {
    uint32_t size, flags; /* flags 0 */
    uint32_t ioas;
    uint32_t count;  /* entries at ranges; REQUIRE_IOVA: 1 to HC_IOAS_REQUIRED_MAX */
    uint64_t ranges; /* address of hc_iova_range[count], 8-byte aligned */
};

/* RAM that devices have only once they ask for it, or (PRESENT) have again. */
enum hc_memory_flag { HC_MEMORY_PRESENT = 1u << 0 };
#define HC_MEMORY_STEP 0x4000000ull /* bytes of one call */

struct hc_memory_on_demand {
    uint32_t size, flags; /* hc_memory_flag */
    uint64_t gpa, bytes;  /* multiples of 4 KiB, in one range of RAM */
};

enum hc_bind_flag { HC_BIND_NO_IOPF = 1u << 0 /* the device handles its own faults */ };

struct hc_sva_bind {
    uint32_t size, flags; /* hc_bind_flag */
    uint32_t device;
    uint32_t pasid; /* wanted for a new space, or HC_PASID_ANY; for a known root: its own, or ANY */
    uint32_t levels, reserved;
    uint64_t root;
};

/* Interrupt @index of a device: which vector its message raises. */
struct hc_device_irq {
    uint32_t size, flags; /* flags 0 */
    uint32_t device, index;
    uint32_t vcpu, vector; /* vector 32 to 255, or 0 with vcpu 0: off */
};

enum hc_response_code { HC_RESPONSE_SUCCESS = 0, HC_RESPONSE_INVALID = 1 };

struct hc_page_response {
    uint32_t size;
    uint32_t code;   /* hc_response_code */
    uint64_t cookie; /* of the event with HC_PRQ_LAST; consumed */
};

enum hc_invalidate_kind {
    HC_INVALIDATE_RANGE = 0,  /* [address, address + bytes) of one PASID */
    HC_INVALIDATE_PASID = 1,  /* all of one PASID */
    HC_INVALIDATE_DOMAIN = 2, /* all PASIDs of the VM on the device's unit */
    /* As RANGE, but nothing was taken away: what was absent is present. For HC_DEVICE_SHADOW. */
    HC_INVALIDATE_MAPPED = 3,
};
enum hc_invalidate_flag { HC_INVALIDATE_LEAF = 1u << 0 /* only leaf entries changed */ };

struct hc_invalidate {
    uint32_t size, flags;
    uint32_t kind;   /* hc_invalidate_kind */
    uint32_t pasid;  /* RANGE, PASID: the PASID, or HC_PASID_NONE for a NESTED RID; else 0 */
    uint32_t device; /* for HC_PASID_NONE and DOMAIN; else 0: all devices bonded to the PASID */
    uint32_t reserved;
    uint64_t address, bytes; /* RANGE, MAPPED: multiples of 4 KiB; else 0 */
};

#define HC_INVALIDATE_MIN 40u         /* bytes of its first version */
#define HC_MAPPED_MAX     0x200000ull /* bytes of one MAPPED */

struct hc_invalidate_array {
    uint32_t size, flags; /* flags 0 */
    uint64_t entries;     /* address of hc_invalidate[count]; page aligned */
    uint32_t count;       /* 1 to 256 */
    uint32_t entry_size;  /* sizeof(struct hc_invalidate) of the caller */
};

/*
 * Rings. base: page aligned. One header, then the entries at base + HC_RING_ENTRIES. Indices are
 * free running; index & (entries - 1) is the slot. producer - consumer never exceeds entries.
 */
#define HC_RING_ENTRIES 4096u

struct hc_ring {
    uint32_t producer; /* written by the producer only */
    uint32_t pad0[15];
    uint32_t consumer; /* written by the consumer only */
    uint32_t pad1[15];
    uint32_t lost; /* event ring: events dropped for want of room (never page requests) */
    uint32_t pad2[15];
};

struct hc_ring_setup {
    uint32_t size, flags; /* flags 0 */
    uint64_t base;
    uint32_t entries; /* power of two, 16 to 4096 */
    uint32_t vector;  /* event ring: 32 to 255, raised when the ring was empty; command ring: 0 */
    uint32_t vcpu;    /* event ring: which one is interrupted; command ring: 0 */
    uint32_t reserved;
};

/* Command ring slot, 64 bytes. The guest fills call and args, Sluice value, then status. */
struct hc_command {
    uint32_t call;    /* PAGE_RESPONSE, INVALIDATE, ATTACH, SVA_BIND, SVA_UNBIND, IOAS_x */
    int32_t status;   /* HC_COMMAND_PENDING by the guest; then hv_status */
    uint64_t value;   /* what RDX would be */
    uint64_t args[6]; /* the call's structure, or its register arguments */
};
#define HC_COMMAND_PENDING 1

enum hc_event_type {
    HC_EVENT_PAGE_REQUEST = 1,
    HC_EVENT_FAULT = 2,           /* a DMA of the device was refused */
    HC_EVENT_DEVICE_FAILED = 3,   /* the device is BLOCKED after an error of hardware */
    HC_EVENT_GROUP_EXPIRED = 4,   /* not answered in time: answered INVALID by Sluice */
    HC_EVENT_INTERRUPT_FLOOD = 5, /* raised too often, and silenced for a moment */
    HC_EVENT_DEVICE_GONE = 6,     /* the device is no longer there, and BLOCKED for good */
};

enum hc_event_flag {
    HC_PRQ_READ = 1u << 0,
    HC_PRQ_WRITE = 1u << 1,
    HC_PRQ_PRIVILEGED = 1u << 2,
    HC_PRQ_LAST = 1u << 3,   /* last of its group: answer it */
    HC_PRQ_PASID = 1u << 4,  /* the request carried a PASID */
    HC_FAULT_LAST = 1u << 5, /* fault: too many of this device in a second; no more are told */
};

/* Event ring slot, 64 bytes. */
struct hc_event {
    uint32_t type; /* hc_event_type */
    uint32_t device;
    uint32_t pasid;    /* HC_PASID_NONE without */
    uint32_t flags;    /* hc_event_flag */
    uint64_t address;  /* page base; refused interrupt: the message's, if known */
    uint64_t cookie;   /* page request: of its group */
    uint32_t group;    /* page request: group index; interrupt flood: its index */
    uint32_t category; /* page request: hc_iopf_category; MAP: served, the group wants an answer */
    uint32_t reason;   /* fault: HC_FAULT_x; device failed: hv_status */
    uint32_t detail;   /* fault: the unit's own code, for logs */
    uint64_t reserved[2];
};

enum hc_fault_reason {
    HC_FAULT_OTHER = 0,
    HC_FAULT_BLOCKED = 1,      /* nothing attached */
    HC_FAULT_FIRST_STAGE = 2,  /* absent or forbidden in the guest's own table */
    HC_FAULT_SECOND_STAGE = 3, /* outside the VM's memory, or forbidden there */
    HC_FAULT_ADDRESS = 4,      /* not canonical or too wide */
    HC_FAULT_INTERRUPT = 5,    /* a write to the interrupt range that was refused */
};

struct hc_stats {
    uint32_t size, reserved; /* out */
    uint64_t exits, hypercalls, commands;
    uint64_t page_requests, page_responses; /* delivered to the guest; answered by it */
    uint64_t responses_by_sluice;           /* INVALID: ring broken, expired, unknown */
    uint64_t page_requests_lost;
    uint64_t faults, events_lost;
    uint64_t invalidations, binds, unbinds;
    uint64_t map_faults_served; /* page requests for which Sluice put in what was on demand */
};
#define HC_STATS_MIN 104u /* bytes of its first version */

#endif
