/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared virtual addressing: one space per (VM, first-stage root), with one PASID for its life; one
 * bond per (device, space), with references. See hv/bond.h for the objects.
 */
#ifndef HV_SVA_H
#define HV_SVA_H

#include "hv/types.h"

struct device;
struct vm;

enum hv_status sva_create(struct vm *vm);
/* Block and free all bonds, domains, spaces, PASIDs, second stages. No vCPU runs any more. */
void sva_end(struct vm *vm);
void sva_destroy(struct vm *vm);
/* Block and free bonds of @d, its RID's too, with the spaces that have no other. HV_EAGAIN: there
 * are more; the next call goes on where this one stopped. Lock: the VM's. */
enum hv_status sva_end_device(struct device *d);

#endif
