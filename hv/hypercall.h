/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of the guest ABI inside Sluice: one table says for each number how its arguments come
 * in and what is checked before the handler runs. hypercall() itself is declared in hv/vm.h.
 */
#ifndef HV_HYPERCALL_H
#define HV_HYPERCALL_H

#include "hv/types.h"
#include "sluice/hypercall.h"

struct vm;

/* @in: the structure, checked and whole in this version's size; or the registers, uint64_t[5].
 * @value: what RDX shall be; 0 on entry. Lock: the VM's is held if the table says so. */
typedef enum hv_status hc_handler(struct vm *vm, const void *in, uint64_t *value);

hc_handler device_hc_info; /* hv/device.c */
hc_handler reset_hc;       /* hv/reset.c */
hc_handler attach_hc;      /* hv/attach.c */
hc_handler sva_hc_bind, sva_hc_unbind;
hc_handler iopf_hc_enable, iopf_hc_disable, iopf_hc_response;
hc_handler invalidate_hc, invalidate_hc_array;
hc_handler interrupt_hc; /* hv/interrupt.c */
hc_handler demand_hc_memory;
hc_handler rings_hc_event, rings_hc_command, rings_hc_doorbell;
hc_handler ioas_hc_create, ioas_hc_destroy, ioas_hc_require_iova, ioas_hc_ranges;
hc_handler ioas_map_hc, ioas_map_hc_unmap, ioas_map_hc_copy;
hc_handler stats_hc_vm_info, stats_hc_stats;

/* hc_feature bits of a VM: also in CPUID. */
uint64_t stats_features(const struct vm *vm);

#define HC_STRUCT_MAX 64u /* bytes of the largest structure that a call takes */

enum hc_property {
    HC_LOCKED = 1,  /* the VM's lock is held */
    HC_RING = 2,    /* allowed in the command ring */
    HC_BATCHED = 4, /* complete only after hypercall_flush() */
    HC_IOMMU = 8,   /* HV_ENOTSUP on a machine without */
};

/* known 0: arguments in registers. Else a structure: bytes of this version, and of its first. */
struct hc_entry {
    hc_handler *handler; /* NULL: no such call */
    uint16_t known, first;
    uint8_t properties; /* hc_property */
};
extern const struct hc_entry hypercall_table[HC_NUMBERS];

/* One call. If the VM's quota is used up, it is tried again without its shadow tables. Lock: the
 * VM's. */
enum hv_status hypercall_run(struct vm *vm, const struct hc_entry *entry, const void *in,
                             uint64_t *value);
/* Complete what batched calls ordered on this CPU. As iommu->flush(). Lock: the VM's. */
enum hv_status hypercall_flush(struct vm *vm);
#endif
