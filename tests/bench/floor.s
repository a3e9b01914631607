# The least that any boot CD has to do, as a boot image without emulation. No checks, no messages.
#
#   read the MBR; read the active partition's boot sector; jump
#   STATE:   read a sector on each of two partitions (LBA STATE1, STATE2), and write it back
#   STAGE2:  load so many KiB of the CD from behind this image, in one transfer
#
# xorriso's boot information table tells where on the CD the image is.
.code16
.globl _start
_start:
    jmp begin
    .org 8
table:
    .skip 4
file_lba:
    .skip 52
begin:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7C00, %sp
    cld
.if STAGE2
    push %dx
    mov file_lba, %eax
    inc %eax
    mov %eax, packet + 8
    movw $STAGE2 / 2, packet + 2
    movl $0x20000000, packet + 4
    mov $0x42, %ah
    mov $packet, %si
    int $0x13
    jc fail
    pop %dx
.endif
    movl $0, packet + 8         # the MBR, to where it would relocate itself
    mov $0x0600, %bx
    mov $0x42, %ah
    call sector
.if STATE
    movl $STATE1, packet + 8
    call state
    movl $STATE2, packet + 8
    call state
.endif
    mov $0x07BE, %si
1:  testb $0x80, (%si)
    jnz 2f
    add $16, %si
    cmp $0x07FE, %si
    jb 1b
    jmp fail
2:  push %si
    mov 8(%si), %eax
    mov %eax, packet + 8
    mov $code, %si              # what reads over us must stand elsewhere
    mov $0x0500, %di
    mov $code_end - code, %cx
    rep movsb
    pop %si
    ljmp $0, $0x0500

# Runs at 0500: the boot sector over us, and into it.
code:
    mov %si, %bp
    mov $packet - code + 0x0500, %si
    movl $0x7C00, 4(%si)
    movw $1, 2(%si)
    mov $0x42, %ah
    mov $0x80, %dl
    int $0x13
    jc .
    mov %bp, %si
    mov $0x80, %dl
    ljmp $0, $0x7C00
packet:
    .word 16, 1, 0, 0
    .quad 0
code_end:

.if STATE
state:
    mov $0x8000, %bx
    mov $0x42, %ah
    call sector
    mov $0x4300, %ax
.endif
# One sector, AH says which way, at 0:BX.
sector:
    mov %bx, packet + 4
    movw $0, packet + 6
    movw $1, packet + 2
    mov $packet, %si
    mov $0x80, %dl
    int $0x13
    jc fail
    ret
fail:
    hlt
    jmp fail
    .org 2048
