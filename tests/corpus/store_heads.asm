; Key rows quantised to HBM, another base register value per head, one scale plane.
S_ADDI_INT gp1, gp0, 32768
C_SET_SCALE_REG gp1
S_ADDI_INT gp2, gp0, 0
S_ADDI_INT gp3, gp0, 0
C_LOOP_START gp4, 4
C_SET_ADDR_REG a2, gp0, gp2
S_ADDI_INT gp5, gp0, 0
C_LOOP_START gp6, 4
H_STORE_V gp3, gp5, a2, 0, 1
S_ADDI_INT gp5, gp5, 256
S_ADDI_INT gp3, gp3, 256
C_LOOP_END gp6
S_ADDI_INT gp2, gp2, 4096
C_LOOP_END gp4
C_SET_ADDR_REG a2, gp0, gp0
H_PREFETCH_V gp3, gp0, a2, 0, 1
