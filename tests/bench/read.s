# Reads runs of the first disk, in order, into one 64 KiB buffer: what any check of them has to do.
#
#   MOST     sectors a call
#   table    8 bytes a run: LBA, sectors; ends with 0 sectors
.set ENTRY, 8
.include "frame.s"

main:
    movl $0x10000000, packet + 4
run:
    mov %fs:4(%si), %ebp
    test %ebp, %ebp
    jz done
    mov %fs:(%si), %eax
    mov %eax, packet + 8
1:  mov $MOST, %eax
    cmp %ebp, %eax
    jbe 2f
    mov %ebp, %eax
2:  mov %ax, packet + 2
    push %eax
    mov $0x42, %ah
    mov $0x80, %dl
    call disk
    pop %eax
    add %eax, packet + 8
    sub %eax, %ebp
    jnz 1b
    add $ENTRY, %si
    jmp run
    .org 2048
