; The K loop expanded, weights pinned in registers, output lanes in the immediate.
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp2, gp0, 4096
S_ADDI_INT gp3, gp0, 8192
S_ADDI_INT gp9, gp0, 32768
S_ADDI_INT gp5, gp0, 0
S_ADDI_INT gp6, gp0, 4096
S_ADDI_INT gp7, gp0, 8192
C_LOOP_START gp4, 16
M_MM 0, gp1, gp5
M_MM 0, gp2, gp6
M_MM 0, gp3, gp7
M_MM_WO gp9, gp0, 0
S_ADDI_INT gp8, gp1, 256
M_MM 0, gp8, gp5
S_ADDI_INT gp8, gp2, 256
M_MM 0, gp8, gp6
S_ADDI_INT gp8, gp3, 256
M_MM 0, gp8, gp7
M_MM_WO gp9, gp0, 4
S_ADDI_INT gp5, gp5, 256
S_ADDI_INT gp6, gp6, 256
S_ADDI_INT gp7, gp7, 256
S_ADDI_INT gp9, gp9, 256
C_LOOP_END gp4
