/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How another CPU gets from SIPI to the hypervisor. The first part is copied to a page below 1 MiB and
 * runs there in real mode, CS = that page. It goes straight to long mode (APM 2 14.6: PE and PG set
 * together with EFER.LME set), on tables that map the first 2 MiB at identity beside our own upper
 * half; the far jump leaves that page, and the first thing at its other end is our real tables.
 */
#include "arch/x86/layout.h"

    .section .rodata
    .global trampoline_start, trampoline_end
    .code16
trampoline_start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    lgdtl TRAMPOLINE_GDTR
    movl TRAMPOLINE_CR3, %eax
    movl %eax, %cr3
    movl $0x20, %eax        /* CR4.PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx  /* EFER: LME, NXE */
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax  /* caches on */
    orl $0x80010001, %eax   /* PG, WP, PE */
    movl %eax, %cr0
    ljmpl *TRAMPOLINE_JUMP
trampoline_end:

    /* The far pointer is 32 bits wide, so it leads to a stub in the same page first. */
    .code64
    .global trampoline_long, trampoline_long_end
trampoline_long:
    movabs $ap_entry, %rax
    jmp *%rax
trampoline_long_end:

    .text
    .type ap_entry, @function       /* segments are still real mode's; cpu_init() loads them */
ap_entry:
    mov ap_cr3, %rax
    mov %rax, %cr3
    mov ap_starting, %rdi   /* struct cpu */
    mov ap_stack, %rsp
    xor %ebp, %ebp
    call ap_main
    ud2
    .size ap_entry, . - ap_entry
