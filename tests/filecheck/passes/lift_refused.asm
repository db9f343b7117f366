; RUN: not plena-opt %s -p lift 2>&1 | filecheck %s

; Numbers that the host loads have to be declared.
S_ADDI_INT gp1, gp0, 40
C_LOOP_START gp2, 4
S_LD_INT gp3, gp1, 2
S_LD_FP f1, gp3, 0
S_ADDI_INT gp1, gp1, 1
C_LOOP_END gp2

; CHECK: lift_refused.asm, line 6 (S_LD_INT gp3, gp1, 2): it reads INT SRAM words that nothing wrote before. Declare what the host loads: preloaded int:start-stop.
