/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ABI calls as C functions: what a guest author copies. Each returns the hv_status of the call;
 * results come through the last parameters. Structures are filled with their size here.
 */
#ifndef GUEST_LIB_SLUICE_H
#define GUEST_LIB_SLUICE_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/hypercall.h"
#include "sluice/status.h"

/* Find Sluice in CPUID and choose the call instruction. HV_ENODEV: not running on Sluice. */
enum hv_status sluice_init(uint32_t *version);
/* Any call, raw. @value may be NULL. */
enum hv_status sluice_call(uint64_t number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t *value);
/* A call whose argument is a structure at @args (identity mapped). */
enum hv_status sluice_call_struct(uint64_t number, const void *args, uint64_t *value);
const char *sluice_status_name(enum hv_status status);

enum hv_status sluice_vm_info(struct hc_vm_info *out);
enum hv_status sluice_stats(struct hc_stats *out);
[[noreturn]] void sluice_shutdown(uint64_t code);

enum hv_status sluice_device_info(uint32_t index, struct hc_device_info *out);
/* The RID (pasid = HC_PASID_NONE) or a PASID of a device. */
enum hv_status sluice_attach(uint32_t device, uint32_t pasid, enum hc_domain domain, uint64_t root,
                             uint32_t levels);
/* The same; how what was there became what is. */
enum hv_status sluice_replace(uint32_t device, uint32_t pasid, enum hc_domain domain, uint64_t root,
                              uint32_t levels, enum hc_attach_how *how);
enum hv_status sluice_bind(uint32_t device, uint64_t root, uint32_t wanted_pasid, uint32_t flags,
                           uint32_t *bond, uint32_t *pasid);
enum hv_status sluice_unbind(uint32_t bond, uint64_t *references_left);
enum hv_status sluice_iopf_enable(uint32_t device, uint32_t categories, uint64_t *outstanding);
enum hv_status sluice_iopf_disable(uint32_t device);
/* HC_MEMORY_PRESENT or 0; goes on until all of it is done. */
enum hv_status sluice_memory_on_demand(uint32_t flags, uint64_t gpa, uint64_t bytes);
enum hv_status sluice_device_reset(uint32_t device); /* goes on until it is done */
/* Interrupt @index of a device raises @vector of @vcpu; the message is for the device's own store.
 */
enum hv_status sluice_device_irq(uint32_t device, uint32_t index, uint32_t vcpu, uint32_t vector,
                                 uint32_t *address, uint32_t *data);
enum hv_status sluice_device_irq_off(uint32_t device, uint32_t index);
enum hv_status sluice_page_response(uint64_t cookie, enum hc_response_code code);
enum hv_status sluice_invalidate_range(uint32_t pasid, uint64_t address, uint64_t bytes, bool leaf);
enum hv_status sluice_invalidate_pasid(uint32_t pasid);

#endif
