"""The `plena_isa` dialect: one op per machine instruction, in an affine form and a register form.

`INSTRUCTIONS` holds every declaration by mnemonic; `OP_OF_MNEMONIC` the op classes.
"""

from collections.abc import Iterator

from xdsl.ir import Dialect, Operation

from plena.dialects.plena_isa import control, matrix, scalar, transfer, vector
from plena.dialects.plena_isa.building import build
from plena.dialects.plena_isa.control import RegisterOp
from plena.dialects.plena_isa.instruction import (
    INSTRUCTIONS,
    OP_OF_MNEMONIC,
    OPCODES,
    Access,
    Instruction,
    instructions_in,
    withdraw,
)
from plena.dialects.plena_isa.registers import ARegister, FRegister, GPRegister, PlenaRegister, is_zero_cell
from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Integer, Kind, Memory, Mode, Slot


class _PlenaISA(Dialect):
    """The instructions that are declared now, with the registers."""

    @property
    def operations(self) -> Iterator[type[Operation]]:
        return iter((RegisterOp, *OP_OF_MNEMONIC.values()))


PlenaISA = _PlenaISA("plena_isa", [], [GPRegister, FRegister, ARegister])

__all__ = [
    "INSTRUCTIONS",
    "OPCODES",
    "OP_OF_MNEMONIC",
    "ARegister",
    "Access",
    "Cost",
    "FRegister",
    "Field",
    "GPRegister",
    "Instruction",
    "InstructionSpec",
    "Integer",
    "Kind",
    "Memory",
    "Mode",
    "PlenaISA",
    "PlenaRegister",
    "RegisterOp",
    "Slot",
    "build",
    "control",
    "instructions_in",
    "is_zero_cell",
    "matrix",
    "scalar",
    "transfer",
    "vector",
    "withdraw",
]
