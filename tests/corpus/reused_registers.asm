; One register is pointer, constant, counter and temporary in turn.
S_ADDI_INT gp1, gp0, 512
V_EXP_V gp1, gp1, 0
C_LOOP_START gp1, 3
S_ADDI_INT gp2, gp1, 61
S_SUB_INT gp2, gp2, gp1
S_ADDI_INT gp2, gp2, 3
V_ADD_VV gp2, gp2, gp2, 0
C_LOOP_START gp3, 2
S_MUL_INT gp4, gp2, gp3
V_MUL_VV gp4, gp4, gp2, 0
C_LOOP_END gp3
S_ADDI_INT gp3, gp0, 640
V_RECI_V gp3, gp3, 0
C_LOOP_END gp1
S_ADDI_INT gp1, gp1, 704
V_SUB_VV gp1, gp3, gp1, 0
