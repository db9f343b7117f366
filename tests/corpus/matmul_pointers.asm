; Y[64, 128] = X[64, 192] W: every loop rolled, pointers reset by adding 2^32 - distance.
S_LUI_INT gp10, 1048575          ; -12288 + 4096 ... distances as wrap-around constants
S_ADDI_INT gp11, gp10, 0         ; -4096
S_LUI_INT gp12, 1048573          ; -12288: three K tiles of matrix memory
S_ADDI_INT gp13, gp0, 4096       ; one tile, one column block of 64 rows
S_ADDI_INT gp4, gp0, 0           ; weights
S_ADDI_INT gp6, gp0, 65536       ; output
C_LOOP_START gp1, 2              ; output column blocks
C_LOOP_START gp2, 16             ; columns of four in a block
S_ADDI_INT gp5, gp0, 0           ; activations
C_LOOP_START gp3, 16             ; row blocks
C_LOOP_START gp7, 3              ; K tiles
M_MM 0, gp4, gp5
S_ADD_INT gp4, gp4, gp13
S_ADD_INT gp5, gp5, gp13
C_LOOP_END gp7
M_MM_WO gp6, gp0, 0
S_ADDI_INT gp6, gp6, 256
S_ADD_INT gp4, gp4, gp12
S_ADD_INT gp5, gp5, gp12
S_ADDI_INT gp5, gp5, 256
C_LOOP_END gp3
S_ADD_INT gp6, gp6, gp11
S_ADDI_INT gp6, gp6, 4
S_ADDI_INT gp4, gp4, 256
C_LOOP_END gp2
S_ADDI_INT gp6, gp6, 4032        ; the next column block of the output
S_ADDI_INT gp4, gp4, 8192        ; the next three tiles: 3 * 4096 - 16 * 256
C_LOOP_END gp1
