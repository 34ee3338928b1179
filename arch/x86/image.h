/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor image in memory: symbols of linker.ld, all at page boundaries.
 */
#ifndef ARCH_X86_IMAGE_H
#define ARCH_X86_IMAGE_H

#include <stdint.h>

extern const uint8_t __image_start[], __text_start[], __text_end[], __rodata_start[],
    __rodata_end[], __data_start[], __image_end[];

#endif
