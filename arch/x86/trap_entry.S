/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One entry of at most 16 bytes for each vector, and what they have in common: a struct trap_frame on the stack.
 * No swapgs: host code is all that runs in this CPU mode, and GS is ours then (cpu.h).
 */
#include "arch/x86/layout.h"

    .text
    .global trap_entries
    .p2align 4
trap_entries:
    .set vector, 0
    .rept 256
    .p2align 4
    endbr64
    /* These push an error code of their own (SDM 3A 6.15, APM 2 8.2). */
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && \
        vector != 29 && vector != 30
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .p2align 4
trap_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov TRAP_FRAME_VECTOR(%rsp), %rdi
    cmp $32, %rdi
    jb 1f
    call irq_dispatch
    jmp 2f
1:  mov %rsp, %rdi
    call trap_dispatch
2:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq
