; RUN: not plena-opt %s -p verify-program 2>&1 | filecheck %s

S_ADDI_INT gp1, gp0, 64
C_LOOP_START gp2, 3
V_EXP_V gp1, gp1, 0 ; 64, 96, 128
S_ADDI_INT gp1, gp1, 32
C_LOOP_END gp2
S_LD_FP f1, gp0, 1024

; CHECK:      verify-program: the program would abort:
; CHECK-NEXT:   line 5 (V_EXP_V gp1, gp1, 0): error: a: 96 is not a multiple of 64 [unaligned-vram]
; CHECK-NEXT:   line 5 (V_EXP_V gp1, gp1, 0): error: dst: 96 is not a multiple of 64 [unaligned-vram]
; CHECK-NEXT:   line 8 (S_LD_FP f1, gp0, 1024): error: base: 1024 is out of range, the last is 1023 [fp-sram-range]
