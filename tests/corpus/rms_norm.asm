; RMSNorm of 32 rows of 256, in place, the sum of squares in a scratch row.
S_ADDI_INT gp3, gp0, 65536       ; scratch row
S_ADDI_INT gp2, gp0, 0
S_LD_FP f4, gp0, 3               ; eps
S_LD_FP f5, gp0, 4               ; 1 / hidden
C_LOOP_START gp14, 32
S_ADD_FP f2, f0, f0
S_ADDI_INT gp1, gp2, 0
C_LOOP_START gp13, 4
V_MUL_VV gp3, gp1, gp1, 0
V_RED_SUM f2, gp3
S_ADDI_INT gp1, gp1, 2048
C_LOOP_END gp13
S_MUL_FP f2, f2, f5
S_ADD_FP f2, f2, f4
S_SQRT_FP f2, f2
S_RECI_FP f2, f2
S_ADDI_INT gp1, gp2, 0
C_LOOP_START gp13, 4
V_MUL_VF gp1, gp1, f2, 0
S_ADDI_INT gp1, gp1, 2048
C_LOOP_END gp13
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp14
