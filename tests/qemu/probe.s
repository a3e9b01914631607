# A boot sector's code that says on COM1 what it was handed: the registers, the table entry at DS:SI, and
# its own hidden sectors and drive number. Stands behind a FAT12 or FAT16 parameter block.
.code16
.globl _start
_start:
    pushf
    pusha
    push %cs
    push %ds
    push %es
    push %ss
    mov %sp, %bp
    mov $'P', %al
    call put
    mov $13, %cx                # ss es ds cs di si bp sp bx dx cx ax flags
1:  mov (%bp), %ax
    call word
    add $2, %bp
    loop 1b
    mov -16(%bp), %si           # the pushed SI: 8 words below where BP stands now
    mov $8, %cx
2:  lodsw
    call word
    loop 2b
    mov 0x7C1C, %ax             # hidden sectors
    call word
    mov 0x7C1E, %ax
    call word
    movzbw 0x7C24, %ax          # drive number
    call word
    mov $'.', %al
    call put
3:  hlt
    jmp 3b

# Shows AX as four digits, a space before.
word:
    push %cx
    push %ax
    mov $' ', %al
    call put
    pop %dx
    mov $4, %cx
4:  rol $4, %dx
    mov %dl, %al
    and $15, %al
    cmp $10, %al
    sbb $0x69, %al
    das
    call put
    loop 4b
    pop %cx
    ret

put:
    push %dx
    push %ax
    mov $0x3FD, %dx
5:  in %dx, %al
    test $0x20, %al
    jz 5b
    pop %ax
    mov $0x3F8, %dx
    out %al, %dx
    pop %dx
    ret
