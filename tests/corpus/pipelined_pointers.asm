; A software pipeline: the address of the next round is made early and handed on in two steps.
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp2, gp0, 640
S_ADDI_INT gp3, gp0, 4096
C_LOOP_START gp4, 7
V_ADD_VV gp3, gp1, gp2, 0
S_ADDI_INT gp1, gp2, 0           ; what was next is current
S_ADDI_INT gp2, gp3, 64
S_ADDI_INT gp3, gp3, 128
C_LOOP_END gp4
V_MUL_VV gp3, gp1, gp2, 0
