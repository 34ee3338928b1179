/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world switch: unsigned vmx_enter(uint64_t reg[16], bool launched). Interrupts are off. RSP, RIP,
 * RFLAGS, control registers, segments, GDTR, IDTR, DR7, PAT and EFER are swapped by hardware (SDM 3C
 * 27.3, 28.5); the other registers here. CR2, DR0 to DR3, DR6, vector registers and the MSRs that pass
 * stay the guest's: the host does not use them.
 */
#define R(n)     (8 * (n))
#define HOST_RSP 0x6c14

    .text
    .globl vmx_enter, vmx_exit
    .type vmx_enter, @function
vmx_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    mov $HOST_RSP, %eax
    vmwrite %rsp, %rax
    test %sil, %sil             /* no flag changes until the jump */
    mov R(0)(%rdi), %rax
    mov R(1)(%rdi), %rcx
    mov R(2)(%rdi), %rdx
    mov R(3)(%rdi), %rbx
    mov R(5)(%rdi), %rbp
    mov R(6)(%rdi), %rsi
    mov R(8)(%rdi), %r8
    mov R(9)(%rdi), %r9
    mov R(10)(%rdi), %r10
    mov R(11)(%rdi), %r11
    mov R(12)(%rdi), %r12
    mov R(13)(%rdi), %r13
    mov R(14)(%rdi), %r14
    mov R(15)(%rdi), %r15
    mov R(7)(%rdi), %rdi
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  /* Not entered: CF or ZF says how (SDM 3C 30.2). The registers in memory are as they were. */
    mov $1, %eax
    jc 3f
    mov $2, %eax
3:  add $8, %rsp
    jmp 4f

    .p2align 4
vmx_exit:
    xchg %rdi, (%rsp)           /* reg */
    mov %rax, R(0)(%rdi)
    mov %rcx, R(1)(%rdi)
    mov %rdx, R(2)(%rdi)
    mov %rbx, R(3)(%rdi)
    mov %rbp, R(5)(%rdi)
    mov %rsi, R(6)(%rdi)
    pop R(7)(%rdi)
    mov %r8, R(8)(%rdi)
    mov %r9, R(9)(%rdi)
    mov %r10, R(10)(%rdi)
    mov %r11, R(11)(%rdi)
    mov %r12, R(12)(%rdi)
    mov %r13, R(13)(%rdi)
    mov %r14, R(14)(%rdi)
    mov %r15, R(15)(%rdi)
    xor %eax, %eax
4:  jmp guest_left
    .size vmx_enter, . - vmx_enter
