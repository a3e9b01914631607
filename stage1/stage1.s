# stage1: what the BIOS loads from the CD. Finds stage2 on the boot medium, loads it, checks it, jumps.
#
# 2048 bytes, one CD sector, because some BIOSes load no more whatever the boot catalog asks for. Some
# load only 512 bytes, so the reader and the error path stand in the first 512, and stage1 reads its
# own rest when it is not there.
#
# Nothing that the BIOS says about the boot drive is believed. A drive is the boot medium when it has
# an ISO 9660 volume and our id (16 random bytes, one for each ISO made) stands in its loader file.
#
# When it fails it shows "Knownstate: stage1 X" and, but for T, "BIOS status SS, drive DD" (the last
# call's), waits 5 seconds and boots the next device:
#
#   T   stage1's own rest could not be read
#   M   no boot medium found: no drive carries this ISO's id
#   R   stage2 could not be read
#   C   stage2 was read, and its checksum is wrong
#
# Memory: linker/memory.rs. Header offsets: linker/header.rs. All addresses have segment 0.

.set S1_STACK,  {real_stack_top}
.set S1_BUFFER, {stage1_buffer}         # one sector, while looking around
.set S1_ORIGIN, {boot_sector}
.set S1_TAIL,   S1_ORIGIN + 512         # what a BIOS may have left out
.set S1_STAGE2_SEGMENT, {stage2} / 16

.set S1_PACKET, {bios_scratch}          # INT 13h AX=4B01: specification packet

# What stage2 is told: BootInfo in stage2/src/boot_info.rs.
.set INFO_DRIVE,     {boot_info} + 0    # the boot medium's drive number
.set INFO_SHIFT,     {boot_info} + 1    # 0: the drive counts in 2048-byte blocks, 2: in 512-byte ones
.set INFO_FOUND,     {boot_info} + 2    # how loader.bin was found: T table, C catalog, D directory
.set INFO_STATUS,    {boot_info} + 3    # the last call's INT 13h status
.set INFO_LBA,       {boot_info} + 4    # loader.bin's first 2048-byte sector
.set INFO_DL,        {boot_info} + 8   # DL as the BIOS gave it
.set INFO_TRIES,     {boot_info} + 9   # how often a read is tried

.set INFO_LOADS,     {boot_info} + 10  # how often stage2 is loaded anew after a wrong checksum

.set BDA_COM1,  0x400
.set BDA_TICKS, 0x46C

.section .stage1, "awx"
.code16

s1_entry:
    .byte 0xEB, s1_begin - s1_entry - 2 # short jump over the header; position-independent
    .skip {header_table} - 2
s1_table:
    .skip {header_id} - {header_table}
s1_id:
    .skip {header_id_bytes}
s1_stage2_bytes:
    .long 0
s1_stage2_sum:
    .long 0
s1_tail_sum:
    .long 0
s1_begin:
    # Nothing is known of the registers: some BIOSes enter at 07C0:0000 instead of 0000:7C00, some with
    # their stack above us where we are about to load, some with the direction flag set.
    cli
    cld
    ljmp $0, $s1_canonical
s1_canonical:
    xor %ax, %ax
    mov %ax, %ss
    mov $S1_STACK, %sp
    mov %ax, %ds
    mov %ax, %es
    push %ax                            # flags as after a reset: no trap flag or nested task
    popf
    mov %dl, INFO_DL
    mov %al, %dh
    mov %dx, INFO_DRIVE                 # and INFO_SHIFT: 0
    movb $3, INFO_TRIES
    sti
    call s1_tail_is_whole
    je s1_search

# Only the first 512 bytes came. There is no room here to look for the file: the table that mastering
# wrote into the header must tell where it is.
s1_read_tail:
    cmpl $16, s1_table                  # no table, or a stale one
    jne s1_no_tail
1:  mov s1_table + 4, %eax
    call s1_read_one
    jc 2f
    call s1_is_ours
    jne 2f
    mov $S1_BUFFER + 512, %si
    mov $S1_TAIL, %di
    mov $1536 / 2, %cx
    rep movsw
    call s1_tail_is_whole
    je s1_search
2:  xorb $2, INFO_SHIFT                 # 2048-byte blocks, then 512-byte ones,
    jnz 1b
    testb $0x80, INFO_DRIVE             # then both with bit 7 set: some controllers leave it out
    jnz s1_no_tail
    orb $0x80, INFO_DRIVE
    jmp 1b
s1_no_tail:
    mov $'T', %al

# Shows the letter in AL, waits so that somebody can read it, lets the BIOS boot the next device.
s1_fail:
    mov %al, s1_letter
    mov $s1_text, %si
    call s1_print
s1_leave:
    mov $91, %dx                        # 5 seconds
    call s1_wait
    int $0x18                           # the next device in the boot order; some BIOSes return
    ljmp $0xFFFF, $0                    # then a reset

# Shows the text at SI.
s1_print:
    lodsb
    test %al, %al
    jz s1_return
    call s1_put
    jmp s1_print

# The serial port's base into DX.
s1_com1:
    mov BDA_COM1, %dx
    test %dx, %dx
    jnz 1f
    mov $0x3F8, %dx
s1_return:
1:  ret

# Shows AL on the screen and the serial port. Preserves everything: INT 10h destroys BP on some BIOSes.
s1_put:
    pusha
    push %ax
    mov $0x0E, %ah
    mov $7, %bx
    int $0x10
    cld
    push %ss
    pop %ds
    pop %bx
    call s1_com1
    add $5, %dx
    xor %cx, %cx                        # 65536 reads at most: a dead port may never be ready
1:  in %dx, %al
    test $0x20, %al
    loopz 1b
    sub $5, %dx
    mov %bl, %al
    out %al, %dx
    popa
    ret

# Waits DX timer ticks of 55 ms. Bounded by a count of port reads, about a microsecond each, because
# the timer interrupt may be masked. Midnight only makes it shorter.
s1_wait:
    pushal
    mov BDA_TICKS, %bx
    movzwl %dx, %ecx
    shl $17, %ecx
1:  in $0x61, %al
    mov BDA_TICKS, %ax
    sub %bx, %ax
    cmp %dx, %ax
    jae 2f
    .byte 0x67                          # count with ECX, one byte shorter than the usual way
    loop 1b
2:  popal
    ret

# Reads one 2048-byte sector, EAX, into S1_BUFFER.
s1_read_one:
    mov $1, %cx
    mov $S1_BUFFER / 16, %bx
    # fall through

# Reads CX 2048-byte sectors from EAX on to BX:0000. CF set when it can't be done. Preserves registers.
s1_read:
    pushal
    movzbw INFO_TRIES, %bp
1:  push %cx
    pushl %eax
    # The disk address packet (EDD-3 section 8.2.1), on the stack and fresh at each try: BIOSes write
    # the count of sectors done into it, 0 after an error, and take a count of 0 as success. With the
    # old packet the second try would "succeed" and read nothing.
    mov %cx, %dx
    mov INFO_SHIFT, %cl
    shl %cl, %eax
    shl %cl, %dx
    pushl $0
    pushl %eax
    push %bx
    push $0
    push %dx
    push $16
    mov %sp, %si
    mov $0x4200, %ax
    call s1_int13
    mov 2(%si), %di                     # sectors done
    lea 16(%si), %sp                    # keeps CF, as do the pops
    popl %eax
    pop %cx
    jc 2f
    cmp %dx, %di                        # success with fewer sectors is none
    je 3f
2:  cmpb $1, INFO_STATUS                # no such drive, or too many sectors: asking again won't help
    je 4f
    dec %bp
    jz 4f
    push %ax
    xor %ax, %ax                        # reset, but only what looks like a hard disk:
    cmp %al, INFO_SHIFT                 # a CD that spins up needs time instead
    je 5f
    call s1_int13
5:  pop %ax
    mov $9, %dx
    call s1_wait
    jmp 1b
4:  stc
3:  popal                               # at 3, CF is clear from the comparison
    ret

# INT 13h with AX and SI as given, DL the drive, all else 0: high halves too, which some BIOSes use.
# Preserves registers, which some BIOSes don't; CF as the BIOS left it, set when it did not touch it.
s1_int13:
    pushal
    movzwl %ax, %eax
    movzwl %si, %esi
    movzbl INFO_DRIVE, %edx
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edi, %edi
    xor %ebp, %ebp
    stc
    int $0x13
    sti                                 # iPXE returns with interrupts off,
    cld                                 # others with the direction flag set,
    push %ss                            # others with changed segments; none of these touch CF
    pop %ds
    push %ss
    pop %es
    mov %ah, INFO_STATUS
    popal
    ret

# ZF set when the sector in S1_BUFFER begins like us: same id, same stage2.
s1_is_ours:
    mov $s1_id, %si
    mov $S1_BUFFER + {header_id}, %di
    mov $({header_id_bytes} + 8) / 2, %cx
    repe cmpsw
    ret

# ZF set when bytes 512 to 2047 are there.
s1_tail_is_whole:
    mov $S1_TAIL, %si
    mov $1536 / 4, %cx
    xor %ebx, %ebx
1:  lodsl
    add %eax, %ebx
    loop 1b
    cmp %ebx, s1_tail_sum
    ret

s1_text:
    .ascii "Knownstate: stage1 "
s1_letter:
    .asciz "X"

    # An error here ("invalid .org offset") means that the above no longer fits into 512 bytes.
    .org 512

# ---- from here on only when bytes 512 to 2047 are known to be there ----

# As s1_fail, and more talkative.
s1_explain:
    mov %al, s1_letter
    mov INFO_STATUS, %al
    mov $s1_status_text, %di
    call s1_hex
    mov INFO_DRIVE, %al
    mov $s1_drive_text, %di
    call s1_hex
    # A BIOS may leave the port unprogrammed (5 data bits, any speed). Absent ports swallow this.
    call s1_com1
    add $3, %dx
    mov $0x80, %al                      # divisor latch
    out %al, %dx
    sub $3, %dx
    mov $1, %al                         # 115200 baud
    out %al, %dx
    inc %dx
    xor %ax, %ax
    out %al, %dx
    add $2, %dx
    mov $3, %al                         # 8N1
    out %al, %dx
    mov $s1_text, %si
    call s1_print
    mov $s1_detail, %si
    call s1_print
    jmp s1_leave

# Writes AL as two hexadecimal digits to DI.
s1_hex:
    mov %al, %ah
    shr $4, %al
    call 1f
    mov %ah, %al
    and $15, %al
1:  cmp $10, %al                        # 0 to 9 become 30h to 39h, 10 to 15 41h to 46h
    sbb $0x69, %al
    das
    stosb
    ret

s1_detail:
    .ascii ", BIOS status "
s1_status_text:
    .ascii "SS, drive "
s1_drive_text:
    .asciz "DD\r\n"

# Looks for the boot medium, the likeliest drive first. No other drive is touched when the BIOS told
# the truth: asking for a drive that is not there hangs some BIOSes.
s1_search:
    xor %ax, %ax
    mov %ax, %fs
    mov %ax, %gs
    movb $3, INFO_LOADS
    movb $6, INFO_TRIES                 # a CD may still be spinning up
    mov INFO_DL, %al
    call s1_try_drive
    mov INFO_DL, %al
    or $0x80, %al
    call s1_try_new_drive
    # The El Torito status call, for its drive number. The packet is cleared first: some BIOSes report
    # success without writing it.
    mov $S1_PACKET, %di
    xor %ax, %ax
    mov $16, %cx
    rep stosw
    movb $0x13, S1_PACKET
    mov INFO_DL, %al
    mov %al, INFO_DRIVE
    mov $0x4B01, %ax
    mov $S1_PACKET, %si
    call s1_int13
    jc 1f
    mov S1_PACKET + 2, %al
    call s1_try_new_drive
1:  movb $1, INFO_TRIES
    mov $s1_ranges, %si
2:  lodsw
    test %ax, %ax
    jz 4f
3:  pusha
    call s1_try_drive
    popa
    inc %al
    cmp %ah, %al                        # AH is one past the last, 0 for 100h
    jne 3b
    jmp 2b
4:  mov $'M', %al
    jmp s1_explain

# First and one past the last drive number, least usual last. FFh is said to hang.
s1_ranges:
    .byte 0x80, 0x90, 0xE0, 0xF0, 0x9F, 0xA0, 0xFE, 0x00
    .word 0

# Tries drive AL unless it is the one just tried.
s1_try_new_drive:
    cmp INFO_DRIVE, %al
    je s1_return

# Tries drive AL; goes on to s1_load, and does not return, when it is the boot medium.
s1_try_drive:
    mov %al, INFO_DRIVE
    movb $0, INFO_SHIFT
1:  call s1_read_descriptor
    jc 2f
    call s1_by_table
    call s1_by_catalog
    call s1_by_directory
2:  xorb $2, INFO_SHIFT
    jnz 1b
    ret

# Reads the primary volume descriptor (ECMA-119 section 8.4). CF set when there is none.
s1_read_descriptor:
    mov $16, %eax
    call s1_read_one
    jc 1f
    cmpl $0x30444301, S1_BUFFER         # 01 "CD001"
    jne 2f
    cmpw $0x3130, S1_BUFFER + 4
    je 1f                               # equal: CF is clear
2:  stc
1:  ret

# By the table in our own header. Remastering tools may have left it out, or stale.
s1_by_table:
    cmpl $16, s1_table
    jne s1_return
    mov s1_table + 4, %eax
    mov $'T', %dl
    # fall through

# Whether our file begins at sector EAX; then loads it and does not return.
s1_check:
    mov %dl, INFO_FOUND
    mov %eax, INFO_LBA
    call s1_read_one
    jc s1_return
    call s1_is_ours
    jne s1_return
    jmp s1_load

# By the boot record volume descriptor and the catalog's default entry (El Torito 1.0, figures 2, 3, 7).
s1_by_catalog:
    mov $17, %eax
    call s1_read_one
    jc s1_return
    cmpl $0x30444300, S1_BUFFER         # 00 "CD001"
    jne s1_return
    cmpl $0x54204C45, S1_BUFFER + 7     # "EL TORITO SPECIFICATION"
    jne s1_return
    mov S1_BUFFER + 0x47, %eax
    call s1_read_one
    jc s1_return
    cmpb $0x88, S1_BUFFER + 0x20        # bootable
    jne s1_return
    mov S1_BUFFER + 0x28, %eax
    mov $'C', %dl
    jmp s1_check

# By name in the root directory (ECMA-119 sections 8.4.18 and 9.1), its first 16 sectors.
s1_by_directory:
    call s1_read_descriptor
    jc s1_return
    mov S1_BUFFER + 156 + 2, %eax
    mov S1_BUFFER + 156 + 10, %edx
    shr $11, %edx
    cmp $16, %edx
    jb 1f
    mov $16, %dx
1:  dec %dx
    js s1_return
    call s1_read_one
    jc s1_return
    mov $S1_BUFFER, %di
2:  movzbw (%di), %bx                   # the record's length; 0 ends the sector
    cmp $33, %bx
    jb 4f
    mov 32(%di), %cl                    # the name's length: LOADER.BIN or LOADER.BIN;1
    cmp $10, %cl
    je 3f
    cmp $12, %cl
    jne 5f
3:  call s1_is_loader
    jne 5f
    mov 2(%di), %eax
    mov $'D', %dl
    jmp s1_check                        # overwrites the buffer; the name is unique anyway
5:  add %bx, %di
    cmp $S1_BUFFER + 2048 - 45, %di     # a record with our name no longer fits
    jbe 2b
4:  incl %eax
    jmp 1b

# ZF set when the directory record at DI has the loader's name, in upper or lower case.
s1_is_loader:
    push %di
    add $33, %di
    mov $s1_name, %si
    mov $10, %cx
6:  mov (%di), %ah
    inc %di
    and $0xDF, %ah                      # upper case; "." becomes 0Eh on both sides
    push %ax
    lodsb
    and $0xDF, %al
    cmp %ah, %al
    pop %ax
    loope 6b
    pop %di
    ret
s1_name:
    .ascii "LOADER.BIN"

# Loads stage2, which follows stage1 in the file, in pieces of at most 64 KiB. Sizes are powers of two
# and only shrink, so that no piece crosses 64 KiB, which DMA on an ISA bus can't.
s1_load:
    mov $S1_STACK, %sp
    movb $2, INFO_TRIES                 # the drive has been read from: it no longer spins up
    mov INFO_LBA, %eax
    incl %eax
    mov $S1_STAGE2_SEGMENT, %bx
    movl s1_stage2_bytes, %ebp
    shr $11, %ebp                       # sectors left
    mov ${load_bytes} / 2048, %di     # sectors at once
1:  mov %di, %cx
    cmp %bp, %cx
    jbe 2f
    mov %bp, %cx
2:  call s1_read
    jnc 3f
    shr $1, %di                         # some BIOSes can only do less
    jnz 1b
    inc %di                             # not even one sector: try that harder, then give up
    cmpb $6, INFO_TRIES
    movb $6, INFO_TRIES
    jne 1b
    mov $'R', %al
    jmp s1_explain
3:  movzwl %cx, %ecx
    add %ecx, %eax
    sub %cx, %bp
    shl $7, %cx                         # 2048 bytes are 128 paragraphs
    add %cx, %bx
    test %bp, %bp
    jnz 1b

# A BIOS that reports success is not believed either.
s1_verify:
    mov $S1_STAGE2_SEGMENT, %bx
    movl s1_stage2_bytes, %ebp
    shr $11, %ebp
    xor %edx, %edx
1:  mov %bx, %ds
    xor %si, %si
    mov $2048 / 16, %cx
2:  add (%si), %edx                     # not one by one: every start waits for this
    add 4(%si), %edx
    add 8(%si), %edx
    add 12(%si), %edx
    add $16, %si
    loop 2b
    add $128, %bx
    dec %bp
    jnz 1b
    xor %ax, %ax
    mov %ax, %ds
    cmp %edx, s1_stage2_sum
    je 3f
    decb INFO_LOADS
    jnz s1_load
    mov $'C', %al
    jmp s1_explain
3:  ljmp $S1_STAGE2_SEGMENT, $0

.code32
