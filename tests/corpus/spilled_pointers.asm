; More pointers than registers: three of them live in INT SRAM and are advanced there.
S_ADDI_INT gp1, gp0, 4096
S_ST_INT gp1, gp0, 10
S_ADDI_INT gp1, gp0, 8192
S_ST_INT gp1, gp0, 11
S_ADDI_INT gp1, gp0, 0
S_ST_INT gp1, gp0, 12
C_LOOP_START gp2, 6
C_LOOP_START gp3, 5
S_LD_INT gp4, gp0, 10
S_LD_INT gp5, gp0, 11
V_ADD_VV gp5, gp4, gp5, 0
S_ADDI_INT gp4, gp4, 64
S_ST_INT gp4, gp0, 10
S_ADDI_INT gp5, gp5, 128
S_ST_INT gp5, gp0, 11
C_LOOP_END gp3
S_LD_INT gp6, gp0, 12
S_LD_FP f1, gp6, 20
V_MUL_VF gp5, gp5, f1, 0
S_ADDI_INT gp6, gp6, 1
S_ST_INT gp6, gp0, 12
C_LOOP_END gp2
S_LD_INT gp7, gp0, 10
V_EXP_V gp7, gp7, 0
