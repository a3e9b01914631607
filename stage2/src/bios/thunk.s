# The first bytes of stage2, and the only switch between protected and real mode.
#
# Runs with CS = STAGE2 / 16 in real mode, so every real-mode address here is an offset from s2_image.
# Interrupts are off in protected mode, always: the BIOS's timer interrupt is vector 8, which is the
# double fault there, and remapping the controller would break every BIOS call.

.set S2_IMAGE_SEGMENT, {stage2} / 16
.set S2_CR0_PE, {cr0_pe}
.set S2_CR0_PG, {cr0_pg}

.section .stage2.real, "awx"
.code16

s2_image:
.globl stage2_entry
stage2_entry:
    cli
    cld
    xor %ax, %ax
    mov %ax, %ss
    mov ${real_stack_top}, %esp
    mov %cs, %ax
    mov %ax, %ds
    lgdtl s2_gdtr - s2_image
    mov %cr0, %eax
    or $S2_CR0_PE, %eax                 # only this bit: Bochs boots with the caches off, and so it stays
    mov %eax, %cr0
    ljmpl $8, $s2_begin
.code32
s2_begin:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov ${stack_top}, %esp
    mov $stage2_bss, %edi
    mov $stage2_bss_end, %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl
    xor %ebp, %ebp
    call {main}
    # main does not return
1:  hlt
    jmp 1b

# Switches to real mode and goes on at \label, with DS = CS, SS:ESP the real-mode stack. EBX, ESI, EDI
# and EBP must have been saved. Pages and protection end in one write, as they begin in one: emulators forget
# all that they know of memory at each such write.
.macro s2_to_real label
    lidtl s2_real_idtr
    ljmp $0x18, $(s2_down\@ - s2_image)
.code16
s2_down\@:
    # The limits in the segment registers outlive the switch. They must be 64 KiB: with larger ones
    # ("unreal mode") some BIOSes hang and others reset them at a moment of their own.
    mov $0x20, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov %cr0, %eax
    and $~(S2_CR0_PE | S2_CR0_PG), %eax
    mov %eax, %cr0
    ljmp $S2_IMAGE_SEGMENT, $(\label - s2_image)
.endm

# Regs *s2_bios_call(void): the interrupt that waits on the real-mode stack (struct Frame), and where the
# registers stand on that stack afterwards. Nothing is written on pages that hold code: there processors,
# and emulators a hundred times more so, look at each write for what it does to the code.
.globl s2_bios_call
s2_bios_call:
    push %ebx
    push %esi
    push %edi
    push %ebp
    mov %esp, s2_saved_esp
    s2_to_real s2_call
s2_call:
    xor %ax, %ax
    mov %ax, %ss
    mov ${frame}, %esp                  # the high half too: some BIOSes use ESP
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popal
    popfl
    iret                                # to the handler, as INT would
.globl s2_returned
s2_returned:
    # Nothing survives for certain but SS:SP. The flags first, then interrupts on (iPXE returns with
    # them off, and ticks must not be lost), and the direction flag clear (some return with it set).
    pushfl
    sti
    cld
    pushal
    push %ds
    push %es
    push %fs
    push %gs
    movzwl %sp, %esi
    mov %cs, %ax
    mov %ax, %ds
    cli                                 # again: some BIOS calls return with interrupts on
    lgdtl s2_gdtr - s2_image            # some replace the descriptor table, and the pages' directory
    mov ${pages}, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $(S2_CR0_PE | S2_CR0_PG), %eax
    mov %eax, %cr0
    ljmpl $8, $s2_back
.code32
s2_back:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov s2_saved_esp, %esp
    lidtl s2_idtr
    mov %esi, %eax
    pop %ebp
    pop %edi
    pop %esi
    pop %ebx
    ret

# void s2_pages(void): paging on, for the first time, with the tables that stage2/src/pages.rs has laid. Every
# page that there is stands at its own address.
.globl s2_pages
s2_pages:
    mov ${pages}, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $S2_CR0_PG, %eax
    mov %eax, %cr0
    jmp 1f                              # nothing fetched before (80386 manual, section 10.4.4)
1:  ret

# void s2_hand_off(u32 drive, u32 table_entry): jumps to the boot sector at 0000:7C00.
.globl s2_hand_off
s2_hand_off:
    mov 4(%esp), %eax
    mov %eax, s2_hand_off_drive
    mov 8(%esp), %eax
    mov %eax, s2_hand_off_entry
    s2_to_real s2_leave
s2_leave:
    # What boot sectors of every family read: DL the drive, DS:SI, ES:SI and BP the partition's entry in
    # the MBR's copy (Windows 7 uses BP, syslinux and FreeBSD SI); the rest zero.
    mov %cs, %ax
    mov %ax, %ds
    xor %eax, %eax
    mov %eax, %cr3                      # as it was
    mov s2_hand_off_drive - s2_image, %edx
    mov s2_hand_off_entry - s2_image, %esi
    mov %esi, %ebp
    mov %edx, %ebx
    xor %eax, %eax
    xor %ecx, %ecx
    xor %edi, %edi
    mov %ax, %ss
    mov ${boot_sector}, %esp
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    pushl $2
    popfl
    cld
    xor %ax, %ax
    sti
    ljmp $0, ${boot_sector}
.code32

# Exceptions: all vectors print and restart, but the non-maskable interrupt, which chipsets send for their own
# purposes and which is nothing to us, and the page fault where a page only has to be found. They change to a
# stack of their own, since the one that they find may be full. Then a page fault can't even be pushed, and the
# processor tells of that, a double fault, by a task that has a stack of its own (80386 manual, section 9.8.8).
.macro s2_vector number
s2_vector_\number:
    push $\number
    jmp s2_exception
.endm
.irp number, 0,1,3,4,5,6,7,9,10,11,12,13,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    s2_vector \number
.endr
s2_vector_2:
    iretl
s2_vector_14:
    pushal
    cld
    mov %cr2, %eax
    push %eax
    call {page_in}
    pop %ecx
    test %al, %al
    popal
    jz 1f
    add $4, %esp                        # the error code
    iretl
1:  push $14
s2_exception:
    cld
    mov %esp, %eax
    mov ${last_stack_top}, %esp
    push %eax                           # where the vector, and what the processor pushed, stand
    call {exception}
s2_vector_8:                            # here the task begins
    clts                                # the change of tasks set this flag, and NT
    pushl $2
    popfl
    call {double_fault}

.balign 4
.globl s2_vectors
s2_vectors:
.irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .long s2_vector_\number
.endr

s2_gdt:
    .quad 0
    .quad {code32}
    .quad {data32}
    .quad {code16}
    .quad {data16}
    .quad {task}
    .quad {last_task}
s2_gdt_end:

.balign 4
    .word 0
s2_gdtr:
    .word s2_gdt_end - s2_gdt - 1
    .long s2_gdt
    .word 0
.globl s2_idtr
s2_idtr:
    .word 32 * 8 - 1
    .long {idt}
    .word 0
s2_real_idtr:
    .word 0x3FF
    .long 0
.globl s2_no_idtr
s2_no_idtr:
    .word 0
    .long 0

.balign 4
s2_hand_off_drive:
    .long 0
s2_hand_off_entry:
    .long 0

.section .bss
.balign 4
s2_saved_esp:
    .skip 4
