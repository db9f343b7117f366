"""What instructions touch besides registers, and how."""

from __future__ import annotations

from enum import Enum, Flag, auto


class Mode(Flag):
    """How an instruction touches a register or a memory."""

    READ = auto()
    WRITE = auto()
    UPDATE = READ | WRITE


class Memory(Enum):
    """Everything an instruction can touch besides registers; the unit of addresses is given."""

    HBM = "bytes"
    MATRIX = "matrix SRAM elements"
    VECTOR = "vector SRAM elements"
    FP = "FP SRAM words"
    INT = "INT SRAM words"
    ACC_MM = "accumulator of M_MM / M_TMM"
    ACC_V = "accumulator of M_MV / M_TMV"
    ACC_BMM = "accumulator of M_BMM / M_BTMM"
    ACC_BMV = "accumulator of M_BTMV"
    SCALE = "sticky scale offset"
    STRIDE = "sticky row pitch"
    V_MASK = "sticky lane mask"

    @property
    def is_addressed(self) -> bool:
        return self in (Memory.HBM, Memory.MATRIX, Memory.VECTOR, Memory.FP, Memory.INT)
