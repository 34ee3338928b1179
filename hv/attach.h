/* SPDX-License-Identifier: BSD-2-Clause */
/* Attach (hv/attach.c), as far as other calls share its checks. */
#ifndef HV_ATTACH_H
#define HV_ATTACH_H

#include "hv/types.h"

struct device;

/* May @root be walked as a first stage of @levels levels by the device's unit? HV_EINVAL levels
 * neither 4 nor 5; HV_ENOTSUP the unit cannot; HV_EALIGN; HV_EFAULT not in the VM's RAM. */
enum hv_status attach_check_root(const struct device *device, uint64_t root, uint32_t levels);

#endif
