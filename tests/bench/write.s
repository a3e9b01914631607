# Copies runs from the CD, where they stand uncompressed, to two partitions of the first
# disk: what a restore without any packing has to do. Reads 64 KiB at once and writes 64 KiB at once, and
# as much as fits into conventional memory from one move of the heads to the next.
#
#   P1, P2   the partitions' first sectors
#   BACK     1: reads everything back, without looking at it
#   CONTENT  the CD sector where they begin
#   table    12 bytes a run: CD sector from there on, sector in the partition, sectors; ends with 0 sectors
.set ENTRY, 12
.set BATCH, 7 * 128             # sectors, 1000:0000 to 8000:0000
.include "frame.s"

main:
run:
    mov %fs:8(%si), %ebp        # sectors left
    test %ebp, %ebp
    jz done
    mov %fs:(%si), %eax
    add $CONTENT, %eax
    mov %eax, source
    mov %fs:4(%si), %eax
    mov %eax, target
batch:
    mov %ebp, %ecx
    cmp $BATCH, %ecx
    jbe 1f
    mov $BATCH, %ecx
1:  mov source, %eax
    mov cd, %dl
    mov $0x4202, %bx            # 4 sectors a block
    call move
    mov $0x80, %dl
    mov $0x4300, %bx
    call both
.if BACK
    mov $0x4200, %bx
    call both
.endif
    add %ecx, target
    sub %ecx, %ebp
    shr $2, %ecx
    add %ecx, source
    test %ebp, %ebp
    jnz batch
    add $ENTRY, %si
    jmp run

# The batch on either partition.
both:
    mov target, %eax
    add $P1, %eax
    call move
    mov target, %eax
    add $P2, %eax
    # fall through

# Moves ECX sectors between 1000:0000 and block EAX of drive DL; BH the service, BL the binary logarithm
# of sectors a block.
move:
    push %ecx
    mov %eax, packet + 8
    movl $0x10000000, packet + 4
1:  mov $128, %eax
    cmp %ecx, %eax
    jbe 2f
    mov %ecx, %eax
2:  sub %eax, %ecx
    push %ecx
    mov %bl, %cl
    test %cl, %cl
    jz 3f
    add $3, %eax                # a run's last block may be begun only
3:  shr %cl, %eax
    pop %ecx
    mov %ax, packet + 2
    push %eax
    push %bx
    push %dx
    mov %bh, %ah
    mov $0, %al
    call disk
    pop %dx
    pop %bx
    pop %eax
    add %eax, packet + 8
    addw $0x1000, packet + 6
    test %ecx, %ecx
    jnz 1b
    pop %ecx
    ret

    .align 4
source:
    .long 0
target:
    .long 0
    .org 2048
