; A [32, 192] activation from HBM to column blocks and back, groups of four rows.
S_ADDI_INT gp1, gp0, 192
C_SET_STRIDE_REG gp1
S_ADDI_INT gp2, gp0, 6144
C_SET_SCALE_REG gp2
S_ADDI_INT gp3, gp0, 0           ; vector address
S_ADDI_INT gp4, gp0, 0           ; column of the tensor
C_LOOP_START gp5, 3
S_ADDI_INT gp6, gp4, 0
C_LOOP_START gp7, 8
H_PREFETCH_V gp3, gp6, a0, 1, 0
S_ADDI_INT gp6, gp6, 768
S_ADDI_INT gp3, gp3, 256
C_LOOP_END gp7
S_ADDI_INT gp4, gp4, 64
C_LOOP_END gp5
S_ADDI_INT gp8, gp0, 65536
C_SET_ADDR_REG a1, gp0, gp8
S_ADDI_INT gp3, gp0, 0
S_ADDI_INT gp4, gp0, 0
C_LOOP_START gp5, 3
S_ADDI_INT gp6, gp4, 0
C_LOOP_START gp7, 8
V_ADD_VV gp3, gp3, gp3, 0
H_STORE_V gp3, gp6, a1, 1, 0
S_ADDI_INT gp6, gp6, 768
S_ADDI_INT gp3, gp3, 256
C_LOOP_END gp7
S_ADDI_INT gp4, gp4, 64
C_LOOP_END gp5
