; K tiles of four output blocks streamed through matrix memory, one stride register setting for all.
S_LUI_INT gp1, 12
C_SET_SCALE_REG gp1              ; 3 * 64 * 256
S_ADDI_INT gp2, gp0, 256
C_SET_STRIDE_REG gp2
S_ADDI_INT gp9, gp0, 16384       ; 64 rows of the weight further
S_ADDI_INT gp3, gp0, 0           ; column of the weight
S_ADDI_INT gp7, gp0, 65536
C_LOOP_START gp4, 4
S_ADDI_INT gp5, gp3, 0
S_ADDI_INT gp6, gp0, 0
C_LOOP_START gp8, 3
H_PREFETCH_M gp6, gp5, a1, 1, 0
S_ADD_INT gp5, gp5, gp9
S_ADDI_INT gp6, gp6, 4096
C_LOOP_END gp8
S_ADDI_INT gp5, gp0, 0
C_LOOP_START gp8, 4
M_MM 0, gp0, gp5
M_MM_WO gp7, gp0, 0
S_ADDI_INT gp5, gp5, 256
S_ADDI_INT gp7, gp7, 256
C_LOOP_END gp8
S_ADDI_INT gp3, gp3, 64
C_LOOP_END gp4
