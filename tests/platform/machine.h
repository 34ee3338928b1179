/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of tests/platform: each brings one part of the machine up. */
#ifndef TESTS_PLATFORM_MACHINE_H
#define TESTS_PLATFORM_MACHINE_H

#include "hv/log.h"
#include "tests/platform/platform.h"

void memory_setup(void);
void memory_fresh(void);
void devices_fresh(void);
void cpus_fresh(void);
void log_fresh(void);
void locks_fresh(void);
void locks_none(void);    /* panics if this thread holds one */
void machine_relax(void); /* the relax hook */

#endif
