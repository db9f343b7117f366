; LayerNorm of 8 rows of 128: mean and variance in f registers, spread by vector and scalar instructions.
S_ADDI_INT gp1, gp0, 0
S_ADDI_INT gp2, gp0, 512
S_ADDI_INT gp4, gp0, 32768
S_LD_FP f5, gp0, 4
S_LD_FP f6, gp0, 3
C_LOOP_START gp3, 8
S_ADD_FP f2, f0, f0
S_ADD_FP f3, f0, f0
V_RED_SUM f2, gp1
V_RED_SUM f2, gp2
V_MUL_VV gp4, gp1, gp1, 0
V_RED_SUM f3, gp4
V_MUL_VV gp4, gp2, gp2, 0
V_RED_SUM f3, gp4
S_MUL_FP f2, f2, f5
S_MUL_FP f3, f3, f5
S_MUL_FP f4, f2, f2
S_SUB_FP f3, f3, f4
S_ADD_FP f3, f3, f6
S_SQRT_FP f3, f3
S_RECI_FP f3, f3
V_SUB_VF gp1, gp1, f2, 0, 0
V_SUB_VF gp2, gp2, f2, 0, 0
V_MUL_VF gp1, gp1, f3, 0
V_MUL_VF gp2, gp2, f3, 0
S_ADDI_INT gp1, gp1, 64
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp3
