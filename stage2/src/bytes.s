# What the compiler calls to copy, fill and compare, with the processor's string instructions: those of
# compiler_builtins, made for size, take five instructions a byte. Arguments on the stack; the direction
# flag is clear, and left so.

.section .text.memmove, "ax"
.globl memmove
memmove:
    mov 4(%esp), %eax
    sub 8(%esp), %eax
    cmp 12(%esp), %eax
    jae memcpy                          # the target does not begin inside the source
    push %esi
    push %edi
    mov 20(%esp), %ecx
    mov 12(%esp), %edi
    mov 16(%esp), %esi
    lea -1(%edi,%ecx), %edi
    lea -1(%esi,%ecx), %esi
    std
    rep movsb
    cld
    pop %edi
    pop %esi
    mov 4(%esp), %eax
    ret

.globl memcpy
memcpy:
    push %esi
    push %edi
    mov 12(%esp), %edi
    mov 16(%esp), %esi
    mov 20(%esp), %ecx
    mov %edi, %eax
    mov %ecx, %edx
    shr $2, %ecx
    rep movsl
    mov %edx, %ecx
    and $3, %ecx
    rep movsb
    pop %edi
    pop %esi
    ret

.section .text.memset, "ax"
.globl memset
memset:
    push %edi
    mov 8(%esp), %edi
    movzbl 12(%esp), %eax
    imul $0x01010101, %eax, %eax
    mov 16(%esp), %ecx
    mov %ecx, %edx
    shr $2, %ecx
    rep stosl
    mov %edx, %ecx
    and $3, %ecx
    rep stosb
    pop %edi
    mov 4(%esp), %eax
    ret

.section .text.memcmp, "ax"
.globl memcmp
memcmp:
    push %esi
    push %edi
    mov 12(%esp), %esi
    mov 16(%esp), %edi
    mov 20(%esp), %ecx
    mov %ecx, %edx
    and $3, %edx
    shr $2, %ecx
    xor %eax, %eax                      # sets the zero flag: where there is nothing to compare, all is equal
    repe cmpsl
    je 1f
    sub $4, %esi                        # these four again, byte by byte
    sub $4, %edi
    mov $4, %edx
1:  mov %edx, %ecx
    cmp %eax, %eax
    repe cmpsb
    je 2f
    movzbl -1(%esi), %eax
    movzbl -1(%edi), %ecx
    sub %ecx, %eax
2:  pop %edi
    pop %esi
    ret
.text
