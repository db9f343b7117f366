; SiLU(up) * gate on 24 rows of 2 column blocks, in place, scratch row by row.
S_LD_FP f1, gp0, 5               ; 1.0
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp2, gp0, 8192
S_ADDI_INT gp3, gp0, 65536
C_LOOP_START gp4, 2
C_LOOP_START gp5, 24
V_SUB_VF gp3, gp1, f0, 0, 1
V_EXP_V gp3, gp3, 0
V_ADD_VF gp3, gp3, f1, 0
V_RECI_V gp3, gp3, 0
V_MUL_VV gp1, gp1, gp3, 0
V_MUL_VV gp1, gp1, gp2, 0
S_ADDI_INT gp1, gp1, 64
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp5
C_LOOP_END gp4
