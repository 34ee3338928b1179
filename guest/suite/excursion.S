/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * void excursion(void): from 64-bit mode to 32-bit code without paging, with PAE paging, with two-level
 * paging, and back. Leaves the guest in each, and notes in excursion_seen[] what it saw. Interrupts are
 * off. Wherever there is paging, low memory is mapped one to one.
 */
#define CR0_PG      0x80000000
#define CR0_CD      0x40000000
#define CR4_PSE     0x10
#define CR4_PAE     0x20
#define CR4_MCE     0x40
#define CR4_PGE     0x80
#define MSR_EFER    0xc0000080
#define EFER_LME    0x100
#define CODE32      24
#define DATA        16
#define GIB         0x40000000
#define RESERVED    2           /* bit of a PAE directory pointer; SDM 3A table 5-8 */

    .macro note from, index
    movl \from, excursion_seen + 4 * \index
    .endm

    .text
    .globl excursion, excursion_call
excursion:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, stack64
    sidt idt64
    pushq $CODE32
    pushq $1f
    lretq

    .code32
1:  movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    lidt idt32
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl $MSR_EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr

    /* No paging. */
    call leave_guest
    note %eax, 0
    note %edx, 1
    note %ebx, 2

    /* PAE. Its four pointers are registers: loaded with CR3, and by some writes of CR4. */
    movl $pae_pointers, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    call leave_guest
    note %eax, 3
    note %edx, 4
    note %ebx, 5
    movl pae_pointers, %ecx
    movl %ecx, pae_pointers + 24        /* 3 GiB: the first again */
    movl %cr3, %eax
    movl %eax, %cr3
    call leave_guest
    movl $(3 * GIB), %esi
    movl excursion_magic(%esi), %eax
    note %eax, 6
    movl %ecx, pae_pointers + 16
    movl %cr4, %eax
    xorl $CR4_PGE, %eax
    movl %eax, %cr4
    movl $(2 * GIB), %esi
    movl excursion_magic(%esi), %ebx
    note %ebx, 7
    movl %ecx, pae_pointers + 8
    xorl $(CR4_MCE | CR4_PGE), %eax     /* the one is not the guest's to change */
    movl %eax, %cr4
    movl excursion_magic + GIB, %ebx
    note %ebx, 8
    xorl $CR4_MCE, %eax
    movl %eax, %cr4
    cmpl $0, excursion_intel
    je 3f
    orl $RESERVED, pae_pointers + 24
    movl %cr3, %eax
    movl %eax, %cr3                     /* #GP */
3:  andl $~RESERVED, pae_pointers + 24

    /* Two levels. */
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl %cr4, %eax
    xorl $(CR4_PAE | CR4_PSE), %eax
    movl %eax, %cr4
    movl $two_levels, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    call leave_guest
    note %eax, 10
    note %edx, 11
    note %ebx, 12
    movl excursion_magic + GIB, %ebx
    note %ebx, 13

    /* And back. */
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl %cr4, %eax
    xorl $(CR4_PAE | CR4_PSE), %eax
    movl %eax, %cr4
    movl $kernel_root, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    ljmp $8, $4f

/* EAX, EDX: of a null call. EBX: Sluice's name. Keeps ECX. */
leave_guest:
    pushl %ecx
    movl $0x40000000, %eax
    cpuid
    pushl %ebx
    xorl %eax, %eax
excursion_call:
    vmmcall
    popl %ebx
    popl %ecx
    ret

refused:
    incl excursion_seen + 4 * 9
    addl $4, %esp                       /* error code */
    addl $3, (%esp)                     /* MOV to CR3 */
    iretl

    .code64
4:  movq stack64, %rsp
    lidt idt64
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .data
    .globl excursion_seen, excursion_magic, excursion_intel, excursion_tables
excursion_seen:  .skip 4 * 16
excursion_magic: .long 0x5ca1ab1e
excursion_intel: .long 0
stack64:         .quad 0
idt64:           .skip 10
idt32:           .word 14 * 8 - 1
                 .long gates
    .align 8
gates:           .skip 14 * 8
    .globl excursion_gp_gate, excursion_refused
    .set excursion_gp_gate, gates + 13 * 8
    .set excursion_refused, refused

    .align 32
excursion_tables:
pae_pointers:    .skip 32
    .section .bss, "aw", @nobits
    .align 4096
    .globl excursion_two_levels
excursion_two_levels:
two_levels:      .skip 4096
