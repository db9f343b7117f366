; Decode: one row against 16 column groups of two tiles, and the scores of a row by M_BTMV.
S_ADDI_INT gp1, gp0, 64          ; row of x, second half
S_ADDI_INT gp4, gp0, 8192
S_ADDI_INT gp2, gp0, 0
S_ADDI_INT gp3, gp0, 4096
C_LOOP_START gp5, 16
M_MV 0, gp2, gp0
M_MV 0, gp3, gp1
M_MV_WO gp4, 0
S_ADDI_INT gp2, gp2, 4
S_ADDI_INT gp3, gp3, 4
S_ADDI_INT gp4, gp4, 4
C_LOOP_END gp5
S_ADDI_INT gp6, gp0, 0
S_ADDI_INT gp7, gp0, 12288
S_ADDI_INT gp8, gp0, 4096
C_LOOP_START gp5, 4
M_BTMV gp6, gp8, gp0
M_BMV_WO gp7, 0
S_ADDI_INT gp6, gp6, 16
S_ADDI_INT gp7, gp7, 256
C_LOOP_END gp5
