/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of devices whose groups have a deadline. iopf_drop() itself is for everyone: hv/iopf.h.
 */
#ifndef HV_IOPF_DROP_H
#define HV_IOPF_DROP_H

struct iopf;

/* iopf_tick() looks at @f from here on. Lock: the VM's. */
void iopf_drop_watch(struct iopf *f);
/* On return no CPU is at @f from there. Lock: the VM's, no event lock. */
void iopf_drop_unwatch(struct iopf *f);

#endif
