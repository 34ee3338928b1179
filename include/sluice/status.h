/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Status codes: what every hypercall returns in RAX, and what Sluice uses inside. Values are
 * frozen.
 */
#ifndef SLUICE_STATUS_H
#define SLUICE_STATUS_H

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202000L
#define HV_NODISCARD [[nodiscard]]
#else
#define HV_NODISCARD
#endif

enum HV_NODISCARD hv_status {
    HV_OK = 0,
    HV_ENOSYS = -1,     /* call number unknown */
    HV_E2BIG = -2,      /* structure has non-zero bytes past what this version knows */
    HV_ENOTSUP = -3,    /* understood; this hardware or VM cannot */
    HV_EINVAL = -4,     /* understood; a field or a reserved bit is wrong */
    HV_E2SMALL = -5,    /* structure shorter than its first version */
    HV_EALIGN = -6,     /* address or size not aligned as required */
    HV_EFAULT = -7,     /* address range not inside the VM's memory */
    HV_ERANGE = -8,     /* number out of range (PASID, index, depth) */
    HV_ENODEV = -9,     /* no such device in this VM */
    HV_ENOENT = -10,    /* no such object: bond, space, group */
    HV_EEXIST = -11,    /* already there: PASID in use, ring set, range mapped */
    HV_EBUSY = -12,     /* in use: IOPF disabled while bound, ring replaced while in use */
    HV_EORDER = -13,    /* a step is missing: ring before IOPF, IOPF before bind */
    HV_EALREADY = -14,  /* group was answered before */
    HV_EQUOTA = -15,    /* the VM's own quota is used up */
    HV_ENOMEM = -16,    /* Sluice has no memory left */
    HV_ERING = -17,     /* ring indices are broken; the ring is stopped until it is set again */
    HV_ETIMEDOUT = -18, /* hardware did not answer in time; the device is BLOCKED */
    HV_EIO = -19,       /* hardware reported an error; the device is BLOCKED */
    HV_EAGAIN = -20,    /* done in part, as one call is bounded: call again for the rest */
    HV_ENOSPC = -21,    /* no free range of IO addresses is large enough */
    HV_EREQUIRED = -22, /* a range that was required to stay usable would not */
};

#endif
