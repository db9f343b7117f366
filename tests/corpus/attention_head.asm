; One head of 64 queries on 64 keys: scores by M_TMM, softmax by rows, values by M_MM.
S_ADDI_INT gp1, gp0, 8192        ; SCALE of a 64 x 64 tensor pair image
C_SET_SCALE_REG gp1
S_ADDI_INT gp2, gp0, 0
H_PREFETCH_M gp2, gp0, a0, 0, 1  ; K
S_ADDI_INT gp3, gp0, 4096
H_PREFETCH_M gp3, gp3, a0, 0, 1  ; V
S_LD_FP f2, gp0, 1               ; softmax scale
S_ADDI_INT gp4, gp0, 0           ; query rows
S_ADDI_INT gp5, gp0, 8192        ; score rows
C_LOOP_START gp10, 16
S_ADDI_INT gp2, gp0, 0
S_ADDI_INT gp6, gp5, 0
C_LOOP_START gp11, 16
M_TMM 0, gp4, gp2
M_MM_WO gp6, gp0, 0
S_ADDI_INT gp2, gp2, 256
S_ADDI_INT gp6, gp6, 4
C_LOOP_END gp11
S_ADDI_INT gp4, gp4, 256
S_ADDI_INT gp5, gp5, 256
C_LOOP_END gp10
S_ADDI_INT gp5, gp0, 8192
C_LOOP_START gp10, 64
S_LD_FP f1, gp0, 2               ; -inf stand-in
V_MUL_VF gp5, gp5, f2, 0
V_RED_MAX f1, gp5, 0
V_SUB_VF gp5, gp5, f1, 0, 0
V_EXP_V gp5, gp5, 0
S_ADD_FP f3, f0, f0
V_RED_SUM f3, gp5
S_RECI_FP f3, f3
V_MUL_VF gp5, gp5, f3, 0
S_ADDI_INT gp5, gp5, 64
C_LOOP_END gp10
S_ADDI_INT gp7, gp0, 16384       ; output
C_LOOP_START gp10, 16
S_ADDI_INT gp8, gp0, 8192
C_LOOP_START gp11, 16
M_MM 0, gp3, gp8
M_MM_WO gp7, gp0, 0
S_ADDI_INT gp8, gp8, 256
S_ADDI_INT gp7, gp7, 256
C_LOOP_END gp11
S_ADDI_INT gp3, gp3, 256
S_LUI_INT gp9, 1048575
S_ADDI_INT gp9, gp9, 4
S_ADD_INT gp7, gp7, gp9          ; 4096 rows back, four lanes on
C_LOOP_END gp10
