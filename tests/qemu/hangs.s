# A system that hangs: what the BIOS loads is all there is of it, and it lets nothing happen any more.
.code16
.globl _start
_start:
    cli
1:  hlt
    jmp 1b
