; Router logits to V_TOPK; the base of the chosen expert from its id, tokens in a loop.
S_ADDI_INT gp1, gp0, 0           ; logits of the token
S_ADDI_INT gp2, gp0, 200         ; ids
S_ADDI_INT gp3, gp0, 300         ; weights
S_ADDI_INT gp4, gp0, 1152        ; bytes of an expert
S_ADDI_INT gp5, gp0, 1024
C_SET_SCALE_REG gp5
S_ADDI_INT gp6, gp0, 8192        ; rows of the token
C_LOOP_START gp7, 3
V_TOPK gp3, gp1, gp2, 0
C_LOOP_START gp8, 4
S_LD_INT gp9, gp2, 0
S_MUL_INT gp9, gp9, gp4
S_ADDI_INT gp9, gp9, 4096
C_SET_ADDR_REG a1, gp0, gp9
H_PREFETCH_V gp6, gp0, a1, 0, 0
S_LD_FP f1, gp3, 0
V_MUL_VF gp6, gp6, f1, 0
S_ADDI_INT gp2, gp2, 1
S_ADDI_INT gp3, gp3, 1
S_ADDI_INT gp6, gp6, 256
C_LOOP_END gp8
S_ADDI_INT gp1, gp1, 64
C_LOOP_END gp7
