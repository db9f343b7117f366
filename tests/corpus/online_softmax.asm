; Flash form: running maximum, correction and sum of every row in FP SRAM.
S_ADDI_INT gp1, gp0, 10
S_LD_FP f1, gp0, 2
C_LOOP_START gp2, 16
S_ST_FP f1, gp1, 0
S_ST_FP f0, gp1, 32
S_ADDI_INT gp1, gp1, 1
C_LOOP_END gp2
S_ADDI_INT gp3, gp0, 4096        ; scores of the block
C_LOOP_START gp2, 3
S_ADDI_INT gp1, gp0, 10
C_LOOP_START gp4, 16
S_LD_FP f1, gp1, 0
S_ADD_FP f2, f1, f0
V_RED_MAX f1, gp3, 0
S_SUB_FP f2, f2, f1
S_EXP_FP f2, f2
S_ST_FP f1, gp1, 0
S_ST_FP f2, gp1, 16
V_SUB_VF gp3, gp3, f1, 0, 0
V_EXP_V gp3, gp3, 0
S_LD_FP f3, gp1, 32
S_MUL_FP f3, f3, f2
V_RED_SUM f3, gp3
S_ST_FP f3, gp1, 32
S_ADDI_INT gp1, gp1, 1
S_ADDI_INT gp3, gp3, 64
C_LOOP_END gp4
S_ADDI_INT gp5, gp0, 16384
S_ADDI_INT gp1, gp0, 26
C_LOOP_START gp4, 16
S_LD_FP f2, gp1, 0
V_MUL_VF gp5, gp5, f2, 0
S_ADDI_INT gp5, gp5, 64
S_ADDI_INT gp1, gp1, 1
C_LOOP_END gp4
C_LOOP_END gp2
