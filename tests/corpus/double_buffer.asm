; The buffer of the first iteration differs: pointers set at the end of the body, one iteration to peel.
S_ADDI_INT gp1, gp0, 2048
C_SET_SCALE_REG gp1
S_ADDI_INT gp2, gp0, 16384       ; the first block is elsewhere
S_ADDI_INT gp3, gp0, 0
C_LOOP_START gp4, 5
H_PREFETCH_V gp3, gp3, a0, 0, 0
V_ADD_VV gp3, gp3, gp2, 0
S_ADDI_INT gp2, gp0, 32768
S_ADDI_INT gp3, gp3, 256
C_LOOP_END gp4
