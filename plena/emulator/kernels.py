"""The kernel of every executable instruction, by number.

A declaration names its kernel as its semantics (the mnemonic, unless it says otherwise): `decoding` translates opcodes
to these numbers through the declarations, and `run_loop` branches on them.
"""

from __future__ import annotations

from enum import IntEnum, auto


class Kernel(IntEnum):
    """Semantics, after three kernels that no instruction names."""

    FREE = 0
    """A scalar operation or reduction into f0: counted, costs nothing, does nothing."""
    ABORT = auto()
    """An instruction that decoding already knows to abort when reached."""
    EXTENSION = auto()
    """An instruction whose kernel is in `extensions`."""
    M_MM = auto()
    M_TMM = auto()
    M_BMM = auto()
    M_BTMM = auto()
    M_BMM_WO = auto()
    M_MM_WO = auto()
    M_MV = auto()
    M_TMV = auto()
    M_BMV = auto()
    M_BTMV = auto()
    M_MV_WO = auto()
    M_BMV_WO = auto()
    V_ADD_VV = auto()
    V_ADD_VF = auto()
    V_SUB_VV = auto()
    V_SUB_VF = auto()
    V_MUL_VV = auto()
    V_MUL_VF = auto()
    V_EXP_V = auto()
    V_RECI_V = auto()
    V_RED_SUM = auto()
    V_RED_MAX = auto()
    S_ADD_FP = auto()
    S_SUB_FP = auto()
    S_MAX_FP = auto()
    S_MUL_FP = auto()
    S_EXP_FP = auto()
    S_RECI_FP = auto()
    S_SQRT_FP = auto()
    S_LD_FP = auto()
    S_ST_FP = auto()
    S_MAP_V_FP = auto()
    S_ADD_INT = auto()
    S_ADDI_INT = auto()
    S_SUB_INT = auto()
    S_MUL_INT = auto()
    S_LUI_INT = auto()
    S_LD_INT = auto()
    S_ST_INT = auto()
    H_PREFETCH_M = auto()
    H_PREFETCH_V = auto()
    H_STORE_V = auto()
    C_SET_ADDR_REG = auto()
    C_SET_SCALE_REG = auto()
    C_SET_STRIDE_REG = auto()
    C_SET_V_MASK_REG = auto()
    C_LOOP_START = auto()
    C_LOOP_END = auto()
    C_BREAK = auto()
    V_SHFT_V = auto()
    V_MAX_VF = auto()
    V_MIN_VF = auto()
    V_TOPK = auto()
