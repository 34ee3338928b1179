/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world switch: void svm_enter(uint64_t reg[16], uint64_t vmcb, uint64_t host_vmcb), physical
 * addresses. Interrupts are off. VMRUN itself swaps RAX, RSP, RIP, RFLAGS, control registers, CS, SS,
 * DS, ES, GDTR, IDTR (APM 2 15.5); VMLOAD and VMSAVE swap FS, GS, TR, LDTR, SYSENTER and SYSCALL MSRs.
 *
 * GIF is off while the guest's GS and TR are loaded in the host, so no NMI can come there. IF is on in
 * the host state of VMRUN: that lets physical interrupts end the guest; they stay pending until
 * irq_window(), as IF is off again before STGI.
 */
#define R(n) (8 * (n))

    .text
    .globl svm_enter
    .type svm_enter, @function
svm_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdx
    push %rdi
    mov %rsi, %rax
    clgi
    vmload %rax
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
    sti
    vmrun %rax
    vmsave %rax
    pop %rax
    mov %rcx, R(1)(%rax)
    mov %rdx, R(2)(%rax)
    mov %rbx, R(3)(%rax)
    mov %rbp, R(5)(%rax)
    mov %rsi, R(6)(%rax)
    mov %rdi, R(7)(%rax)
    mov %r8, R(8)(%rax)
    mov %r9, R(9)(%rax)
    mov %r10, R(10)(%rax)
    mov %r11, R(11)(%rax)
    mov %r12, R(12)(%rax)
    mov %r13, R(13)(%rax)
    mov %r14, R(14)(%rax)
    mov %r15, R(15)(%rax)
    pop %rax
    vmload %rax
    cli
    stgi
    jmp guest_left
    .size svm_enter, . - svm_enter
