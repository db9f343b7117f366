; Scalars to rows through windows of FP SRAM; the window moves with the row.
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp2, gp0, 100
S_LD_FP f1, gp0, 1
C_LOOP_START gp3, 4
C_LOOP_START gp4, 64
S_ST_FP f1, gp2, 0
S_ADDI_INT gp2, gp2, 1
C_LOOP_END gp4
S_LUI_INT gp5, 1048575
S_ADDI_INT gp5, gp5, 4032
S_ADD_INT gp2, gp2, gp5
S_MAP_V_FP gp1, gp2, 0
S_ADDI_INT gp6, gp1, 256
S_MAP_V_FP gp6, gp2, 3
S_MUL_FP f1, f1, f1
S_ADDI_INT gp2, gp2, 9
S_ADDI_INT gp1, gp1, 64
C_LOOP_END gp3
