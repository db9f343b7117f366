; Softmax over rows of four column blocks; the maximum and the sum run over the blocks.
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp9, gp0, 1024        ; pitch of column blocks: 16 rows
S_LUI_INT gp8, 1048575           ; -4096
C_LOOP_START gp2, 16
S_LD_FP f1, gp0, 2
C_LOOP_START gp3, 4
V_RED_MAX f1, gp1, 0
S_ADD_INT gp1, gp1, gp9
C_LOOP_END gp3
S_ADD_INT gp1, gp1, gp8
S_ADD_FP f2, f0, f0
C_LOOP_START gp3, 4
V_SUB_VF gp1, gp1, f1, 0, 0
V_EXP_V gp1, gp1, 0
V_RED_SUM f2, gp1
S_ADD_INT gp1, gp1, gp9
C_LOOP_END gp3
S_RECI_FP f2, f2
S_ADD_INT gp1, gp1, gp8
C_LOOP_START gp3, 4
V_MUL_VF gp1, gp1, f2, 0
S_ADD_INT gp1, gp1, gp9
C_LOOP_END gp3
S_ADD_INT gp1, gp1, gp8
S_ADDI_INT gp1, gp1, 64
C_LOOP_END gp2
