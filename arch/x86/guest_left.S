/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a world switch, for both backends: the guest's registers are saved, ours are on the stack.
 * Where the CPU needs it, the return stack is filled first: the guest left it full of addresses of its
 * choice, and our RET would go there for a while; and no register keeps a guest's value, so that nothing
 * mispredicted reaches memory through it. RAX is the backend's.
 */
#include "arch/x86/layout.h"

#define ENTRIES 32

    .text
    .globl guest_left
    .type guest_left, @function
guest_left:
    testl $SPECULATION_RETURNS_BIT, speculation
    jz 4f
    mov $ENTRIES, %ecx
1:  call 3f
2:  pause                       /* what is mispredicted waits here */
    lfence
    jmp 2b
3:  dec %ecx
    jnz 1b
    add $(8 * ENTRIES), %rsp
    lfence
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
4:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size guest_left, . - guest_left
