/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memcpy, memmove, memset without vector registers. Up to 32 bytes: all loads, then all stores, two of
 * each size that overlap in the middle. More: the last 8 bytes so, the rest by string instructions.
 * In place of newlib's, which goes byte by byte below 16 and bypasses the cache above 256.
 */
    .text

    .global memcpy, memmove, memset
    .type memcpy, @function
    .type memmove, @function
    .type memset, @function

    .p2align 4
memmove:
    mov %rdi, %rax
    sub %rsi, %rax          /* ahead of the source by less than the size: from the end */
    cmp %rdx, %rax
    jae memcpy
    cmp $32, %rdx
    jbe memcpy              /* loads everything first */
    mov %rdi, %rax
    mov %rdx, %rcx
    lea -1(%rdi, %rdx), %rdi
    lea -1(%rsi, %rdx), %rsi
    std
    rep movsb
    cld
    ret
    .size memmove, . - memmove

    .p2align 4
memcpy:
    mov %rdi, %rax
    cmp $16, %rdx
    jb 1f
    cmp $32, %rdx
    ja 4f
    mov (%rsi), %rcx
    mov 8(%rsi), %r8
    mov -16(%rsi, %rdx), %r9
    mov -8(%rsi, %rdx), %r10
    mov %rcx, (%rdi)
    mov %r8, 8(%rdi)
    mov %r9, -16(%rdi, %rdx)
    mov %r10, -8(%rdi, %rdx)
    ret
1:  cmp $8, %edx
    jb 2f
    mov (%rsi), %rcx
    mov -8(%rsi, %rdx), %r8
    mov %rcx, (%rdi)
    mov %r8, -8(%rdi, %rdx)
    ret
2:  cmp $4, %edx
    jb 3f
    mov (%rsi), %ecx
    mov -4(%rsi, %rdx), %r8d
    mov %ecx, (%rdi)
    mov %r8d, -4(%rdi, %rdx)
    ret
3:  test %edx, %edx
    jz 5f
    mov %rdx, %rcx          /* one to three: first, middle, last */
    shr $1, %rcx
    movzbl (%rsi), %r8d
    movzbl (%rsi, %rcx), %r9d
    movzbl -1(%rsi, %rdx), %r10d
    mov %r8b, (%rdi)
    mov %r9b, (%rdi, %rcx)
    mov %r10b, -1(%rdi, %rdx)
    ret
4:  mov -8(%rsi, %rdx), %r8 /* before the copy may overwrite it (memmove) */
    lea -8(%rdi, %rdx), %r9
    lea -1(%rdx), %rcx
    shr $3, %rcx
    rep movsq
    mov %r8, (%r9)
5:  ret
    .size memcpy, . - memcpy

    .p2align 4
memset:
    mov %rdi, %r8
    movzbl %sil, %eax
    movabs $0x0101010101010101, %rcx
    imul %rcx, %rax
    cmp $8, %rdx
    jb 1f
    mov %rax, -8(%rdi, %rdx)
    lea -1(%rdx), %rcx
    shr $3, %rcx
    rep stosq
    mov %r8, %rax
    ret
1:  cmp $4, %edx
    jb 2f
    mov %eax, (%rdi)
    mov %eax, -4(%rdi, %rdx)
    mov %r8, %rax
    ret
2:  test %edx, %edx
    jz 3f
    mov %rdx, %rcx
    shr $1, %rcx
    mov %al, (%rdi)
    mov %al, (%rdi, %rcx)
    mov %al, -1(%rdi, %rdx)
3:  mov %r8, %rax
    ret
    .size memset, . - memset
