/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of the guest ABI inside Sluice: one table says for each number how its arguments come in and
 * what is checked before the handler runs. hypercall() itself is declared in hv/vm.h.
 */
#ifndef HV_HYPERCALL_H
#define HV_HYPERCALL_H

#include "hv/types.h"
#include "sluice/hypercall.h"

struct vm;

/* @in: the structure, checked and whole in this version's size; or the registers, uint64_t[5].
 * @value: what RDX shall be; 0 on entry. Lock: the VM's is held if the table says so. */
typedef enum hv_status hc_handler(struct vm *vm, const void *in, uint64_t *value);

hc_handler device_hc_info;         /* hv/device.c */
hc_handler attach_hc;              /* hv/attach.c */
hc_handler sva_hc_bind, sva_hc_unbind;
hc_handler iopf_hc_enable, iopf_hc_disable, iopf_hc_response;
hc_handler invalidate_hc, invalidate_hc_array;
hc_handler rings_hc_event, rings_hc_command, rings_hc_doorbell;
hc_handler stats_hc_vm_info, stats_hc_stats;

/* hc_feature bits of a VM: also in CPUID. */
uint64_t stats_features(const struct vm *vm);

/* Run one command of the command ring: @args is a copy already, *value is 0. Lock: the VM's. */
enum hv_status hypercall_command(struct vm *vm, uint32_t call, const uint64_t args[6],
                                 uint64_t *value);
/* A call that may be in the command ring and is complete only after iommu->flush(). */
bool hypercall_is_batched(uint32_t call);

#endif
