; Rows of an embedding gathered by byte offsets from a table in INT SRAM (words 400 to 407, preloaded).
S_LUI_INT gp1, 8
C_SET_SCALE_REG gp1
S_ADDI_INT gp2, gp0, 400
S_ADDI_INT gp3, gp0, 0
C_LOOP_START gp4, 8
S_LD_INT gp5, gp2, 0
C_LOOP_START gp6, 2
H_PREFETCH_V gp3, gp5, a0, 0, 0
S_ADDI_INT gp5, gp5, 64
S_ADDI_INT gp3, gp3, 2048
C_LOOP_END gp6
S_LUI_INT gp7, 1048575
S_ADDI_INT gp7, gp7, 64
S_ADD_INT gp3, gp3, gp7          ; back two column blocks, one row on
S_ADDI_INT gp2, gp2, 1
C_LOOP_END gp4
