/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the loader enters (hv/bootinfo.h): RDI = physical address of struct bootinfo, on the loader's
 * tables and stack. We take our own stack and go to C. Nothing is cleared: the loader zeroed the bss.
 */
#include "arch/x86/layout.h"

    .text
    .global _start
    .type _start, @function
_start:
    cli
    cld
    mov $boot_stacks + CPU_MAIN_TOP, %rsp
    xor %ebp, %ebp                      /* end of backtraces */
    movabs $0xffff800000000000, %rax    /* BOOT_PHYS_OFFSET */
    add %rax, %rdi
    call hv_main
    ud2
    .size _start, . - _start
