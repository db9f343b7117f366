; A pointer that no loop resets: it runs on across the outer iterations.
S_ADDI_INT gp1, gp0, 128
S_ADDI_INT gp2, gp0, 65536
C_LOOP_START gp3, 3
C_LOOP_START gp4, 4
C_LOOP_START gp5, 2
V_ADD_VV gp2, gp1, gp2, 0
S_ADDI_INT gp1, gp1, 64
C_LOOP_END gp5
S_ADDI_INT gp1, gp1, 128
C_LOOP_END gp4
V_EXP_V gp2, gp1, 0
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp3
V_RED_MAX f1, gp1, 0
S_ST_FP f1, gp0, 900
