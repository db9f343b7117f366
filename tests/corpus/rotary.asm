; x cos + rot(x) sin for 8 heads of 16 rows; the tables restart for every head.
S_ADDI_INT gp1, gp0, 0           ; x
S_ADDI_INT gp2, gp0, 16384       ; rot(x)
S_ADDI_INT gp8, gp0, 65536       ; scratch
C_LOOP_START gp3, 8
S_ADDI_INT gp4, gp0, 32768       ; cos
S_ADDI_INT gp5, gp0, 33792       ; sin
C_LOOP_START gp6, 16
V_MUL_VV gp8, gp2, gp5, 0
V_MUL_VV gp1, gp1, gp4, 0
V_ADD_VV gp1, gp1, gp8, 0
S_ADDI_INT gp1, gp1, 64
S_ADDI_INT gp2, gp2, 64
S_ADDI_INT gp4, gp4, 64
S_ADDI_INT gp5, gp5, 64
C_LOOP_END gp6
C_LOOP_END gp3
