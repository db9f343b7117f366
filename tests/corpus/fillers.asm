; Spacers that a hardware generation needs: no-ops of every kind around a loop, and a delay loop.
S_ADDI_INT gp0, gp0, 0
S_ADD_FP f0, f0, f0
C_LOOP_START gp1, 16
S_ADDI_INT gp0, gp0, 0
C_LOOP_END gp1
S_ADDI_INT gp2, gp0, 640
C_LOOP_START gp1, 10
S_ADDI_INT gp0, gp0, 0
V_RECI_V gp2, gp2, 0
S_MUL_FP f0, f1, f2
S_ADDI_INT gp0, gp0, 0
V_MUL_VV gp2, gp2, gp2, 0
V_RED_SUM f0, gp2
S_MUL_INT gp3, gp2, gp2
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp1
S_ADDI_INT gp0, gp0, 0
