; Stride and scale set at the end of an iteration for the next one, restored by nobody.
S_ADDI_INT gp1, gp0, 128
S_ADDI_INT gp2, gp0, 4096
S_ADDI_INT gp3, gp0, 0
C_SET_STRIDE_REG gp1
C_LOOP_START gp4, 4
H_PREFETCH_V gp3, gp3, a0, 1, 0
C_SET_SCALE_REG gp2
S_ADDI_INT gp3, gp3, 256
S_ADDI_INT gp1, gp1, 64
C_SET_STRIDE_REG gp1
C_LOOP_END gp4
H_PREFETCH_V gp3, gp3, a0, 1, 1
