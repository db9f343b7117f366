; Constants by LUI and ADDI, differences and products, and a register that is its own zero.
S_LUI_INT gp1, 16
S_ADDI_INT gp1, gp1, 64          ; 65600
S_LUI_INT gp2, 1048560
S_ADD_INT gp3, gp1, gp2          ; 64
S_SUB_INT gp4, gp1, gp3          ; 65536
S_MUL_INT gp5, gp3, gp3          ; 4096
S_SUB_INT gp6, gp6, gp6
S_ADDI_INT gp7, gp0, 262143
S_ADDI_INT gp7, gp7, 1           ; 262144, one too large for an immediate
S_SUB_INT gp8, gp7, gp4
V_ADD_VV gp3, gp4, gp5, 0
V_MUL_VV gp6, gp8, gp1, 0
S_SUB_INT gp9, gp0, gp3
C_LOOP_START gp10, 100
V_ADD_VV gp8, gp8, gp6, 0
S_ADD_INT gp8, gp8, gp9
C_LOOP_END gp10
