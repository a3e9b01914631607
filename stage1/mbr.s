# The disk's own boot code, for the day on which the CD is not in the drive: loads the active
# partition's boot sector as every BIOS's MBR does. 440 bytes; the disk signature and the partition
# table follow and are not touched.
#
# Failures: "Knownstate MBR: " and
#   no single active partition    the table has none, several, or a status byte that is neither 00 nor 80
#   read error                    the partition's first sector can't be read
#   no boot sector                it was read, and does not end with 55 AA
# then INT 18h: the next device in the BIOS's boot order.

.set MBR_BASE,  {mbr_copy}
.set MBR_TABLE, MBR_BASE + 0x1BE
.set MBR_LOAD,  {boot_sector}

.section .mbr, "awx"
.code16

mbr_entry:
    # Loaded at 7C00 and linked for 0600: position-independent until the jump. A BIOS may enter with
    # CS = 07C0h, so only the far jump makes labels true.
    cli
    cld
    xor %ax, %ax
    mov %ax, %ss
    mov $MBR_LOAD, %sp
    mov %ax, %ds
    mov %ax, %es
    mov %sp, %si
    mov $MBR_BASE, %di
    mov $256, %cx
    rep movsw
    ljmp $0, $mbr_moved
mbr_moved:
    sti
    test $0x80, %dl                     # PhoenixBIOS 4.0 gives 0 for the first hard disk
    jnz 1f
    mov $0x80, %dl
1:  mov %dl, mbr_drive

    # Exactly one active entry. Two would make the choice a matter of luck.
    mov $MBR_TABLE, %si
    xor %bp, %bp
    mov $4, %cx
2:  mov (%si), %al
    test %al, %al
    jz 3f
    cmp $0x80, %al
    jne mbr_bad_table
    test %bp, %bp
    jnz mbr_bad_table
    mov %si, %bp
3:  add $16, %si
    loop 2b
    test %bp, %bp
    jz mbr_bad_table

    # Are there the extensions that read by sector number? Some BIOSes look at DS for 0040h here.
    mov $0x41, %ah
    mov $0x55AA, %bx
    push $0x40
    pop %ds
    stc
    int $0x13
    sti
    cld
    push %ss
    pop %ds
    push %ss
    pop %es
    mov $5, %di                         # tries
    jc mbr_by_geometry
    cmp $0xAA55, %bx
    jne mbr_by_geometry
    test $1, %cl
    jz mbr_by_geometry

mbr_by_number:
    # The disk address packet, on the stack and new for each try: the BIOS writes into it.
    push %bp
    push %di
    pushl $0
    pushl 8(%bp)
    push $0
    push $MBR_LOAD
    push $1
    push $16
    mov %sp, %si
    mov $0x4200, %ax
    call mbr_int13
    mov %sp, %si
    mov 2(%si), %cx                     # sectors done
    lea 16(%si), %sp                    # neither touches CF
    pop %di
    pop %bp
    jc 1f
    dec %cx
    jz mbr_check
1:  dec %di
    jz mbr_unreadable
    xor %ax, %ax
    call mbr_int13
    jmp mbr_by_number

mbr_by_geometry:
    # Only on a machine older than 1998 or so; good for the first 8 GiB.
    mov 2(%bp), %cx
    mov 1(%bp), %dh
    mov $MBR_LOAD, %bx
    mov $0x0201, %ax
    call mbr_int13
    jnc mbr_check
    dec %di
    jz mbr_unreadable
    xor %ax, %ax
    call mbr_int13
    jmp mbr_by_geometry

mbr_check:
    cmpw $0xAA55, MBR_LOAD + 510
    jne mbr_no_sector
    # What boot sectors expect: DL the drive, DS:SI and BP at the table entry, stack below.
    mov %bp, %si
    mov mbr_drive, %dl
    xor %ax, %ax
    ljmp $0, $MBR_LOAD

# INT 13h on our drive; keeps BP, DI, DS and ES, which not every BIOS does.
mbr_int13:
    push %bp
    push %di
    mov mbr_drive, %dl
    stc
    int $0x13
    sti
    cld
    push %ss
    pop %ds
    push %ss
    pop %es
    pop %di
    pop %bp
    ret

mbr_bad_table:
    mov $mbr_text_table, %si
    jmp mbr_fail
mbr_unreadable:
    mov $mbr_text_read, %si
    jmp mbr_fail
mbr_no_sector:
    mov $mbr_text_sector, %si
mbr_fail:
    push %si
    mov $mbr_text, %si
    call mbr_print
    pop %si
    call mbr_print
    int $0x18
1:  hlt                                 # INT 18h may return, where there is nothing left to boot
    jmp 1b

mbr_print:
    lodsb
    test %al, %al
    jz 1f
    push %si
    mov $0x0E, %ah
    mov $7, %bx
    int $0x10
    pop %si
    jmp mbr_print
1:  ret

mbr_drive:
    .byte 0
mbr_text:
    .asciz "Knownstate MBR: "
mbr_text_table:
    .asciz "no single active partition\r\n"
mbr_text_read:
    .asciz "read error\r\n"
mbr_text_sector:
    .asciz "no boot sector\r\n"

.code32
