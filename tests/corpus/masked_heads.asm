; One head after the other selected by V_MASK, the mask doubled in an expanded loop.
S_ADDI_INT gp1, gp0, 1
S_ADDI_INT gp5, gp0, 1024
C_LOOP_START gp2, 4
S_ADDI_INT gp3, gp0, 1
C_SET_V_MASK_REG gp3
V_ADD_VV gp5, gp5, gp0, 1
S_ADD_INT gp3, gp3, gp3
C_SET_V_MASK_REG gp3
V_MUL_VV gp5, gp5, gp0, 1
S_ADD_INT gp3, gp3, gp3
C_SET_V_MASK_REG gp3
V_SUB_VV gp5, gp5, gp0, 1
S_ADDI_INT gp5, gp5, 64
C_LOOP_END gp2
V_ADD_VV gp5, gp5, gp5, 0
V_EXP_V gp5, gp0, 1
