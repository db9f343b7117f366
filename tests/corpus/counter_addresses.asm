; Addresses computed from loop counters, which count down.
S_ADDI_INT gp9, gp0, 64
S_ADDI_INT gp10, gp0, 512
C_LOOP_START gp1, 8
S_MUL_INT gp3, gp1, gp10         ; 4096 - 512 i
C_LOOP_START gp2, 8
S_MUL_INT gp4, gp9, gp2
S_ADD_INT gp5, gp3, gp4
V_ADD_VV gp5, gp5, gp5, 0
S_LD_FP f1, gp2, 4
S_ADD_FP f2, f2, f1
C_LOOP_END gp2
S_ST_FP f2, gp1, 100
S_ADD_INT gp6, gp2, gp1          ; the inner counter reads 0 here
S_ST_INT gp6, gp6, 30
C_LOOP_END gp1
V_ADD_VV gp0, gp5, gp3, 0
