; Grouped queries on one K tile by M_BTMM, heads moved to their lanes by V_SHFT_V.
S_ADDI_INT gp1, gp0, 4096
C_SET_SCALE_REG gp1
H_PREFETCH_M gp0, gp0, a0, 0, 1
S_ADDI_INT gp2, gp0, 0           ; head slot of the tile
S_ADDI_INT gp3, gp0, 16384       ; scores
C_LOOP_START gp4, 4
M_BTMM 0, gp2, gp0
M_BMM_WO gp3, 0
S_ADDI_INT gp2, gp2, 16
S_LUI_INT gp5, 4
S_ADD_INT gp3, gp3, gp5
C_LOOP_END gp4
S_ADDI_INT gp6, gp0, 16384
S_ADDI_INT gp7, gp0, 131072
S_ADDI_INT gp8, gp0, 0           ; lanes
C_LOOP_START gp4, 4
C_LOOP_START gp9, 8
V_SHFT_V gp6, gp6, gp8
V_ADD_VV gp7, gp7, gp6, 0
S_ADDI_INT gp6, gp6, 64
S_ADDI_INT gp7, gp7, 64
C_LOOP_END gp9
S_ADDI_INT gp8, gp8, 16
S_ADDI_INT gp7, gp0, 131072
C_LOOP_END gp4
