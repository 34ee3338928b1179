/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PVH entry (32-bit, paging off, EBX = start info) and the way of further vCPUs from SIPI: both go to
 * long mode on tables that map the low 4 GiB one to one with 2 MiB pages.
 */
#define CR0_PE 0x1
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900

    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .text.start, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    movl %ebx, start_info_address
    /* Four page directories of 2 MiB pages. */
    movl $low_directories, %edi
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    movl $low_pdpt, %edi
    movl $low_directories + 3, %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    loop 2b
    movl $low_pdpt + 3, %eax
    movl %eax, kernel_root
    movl $boot_stack_end, %esp
    movl $main_long, %ebp
    jmp to_long

/* EBP: where to go in 64-bit mode. Keeps ESP. */
to_long:
    lgdt gdt_pointer
    movl %cr4, %eax
    orl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $kernel_root, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME_NXE, %eax
    wrmsr
    movl %cr0, %eax
    orl $(CR0_PG | CR0_PE), %eax
    movl %eax, %cr0
    ljmp $8, $1f
    .code64
1:  movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl %ebp, %eax
    xorl %ebp, %ebp
    jmp *%rax

main_long:
    call runtime_start
    ud2

/*
 * Copied below 1 MiB, to the page that SIPI names. Real mode, CS = page >> 4. The page's last 16 bytes
 * hold nothing; the stack comes from secondary_stack.
 */
    .code16
    .globl secondary_begin, secondary_end
secondary_begin:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl secondary_gdt - secondary_begin
    movl %cr0, %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $24, $secondary_32
    .align 8
secondary_gdt:
    .word gdt_end - gdt - 1
    .long gdt
secondary_end:
    .code32
secondary_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl secondary_stack, %esp
    movl $secondary_long, %ebp
    jmp to_long
    .code64
secondary_long:
    call smp_secondary
    ud2

/* ---- interrupts: 256 stubs of 16 bytes, which push the vector and go to one place */
    .globl interrupt_stubs
    .align 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .align 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr

interrupt_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    movq %rsp, %rbp
    andq $-16, %rsp
    call interrupt_dispatch
    movq %rbp, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .section .rodata, "a", @progbits
    .align 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 8: 64-bit code */
    .quad 0x00cf93000000ffff        /* 16: data */
    .quad 0x00cf9b000000ffff        /* 24: 32-bit code */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .section .bss, "aw", @nobits
    .align 4096
    .globl kernel_root, start_info_address, secondary_stack
kernel_root: .skip 4096
low_pdpt: .skip 4096
low_directories: .skip 4 * 4096
    .skip 64 * 1024
boot_stack_end:
start_info_address: .skip 8
secondary_stack: .skip 8
