# A system that lives: says so on COM1, and rests.
.code16
.globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw $text, %si
1:  lodsb
    testb %al, %al
    jz 3f
    movb %al, %ah
    movw $0x3FD, %dx
2:  inb %dx, %al
    testb $0x20, %al
    jz 2b
    movw $0x3F8, %dx
    movb %ah, %al
    outb %al, %dx
    jmp 1b
3:  hlt
    jmp 3b
text:
    .asciz "the spare lives\r\n"
