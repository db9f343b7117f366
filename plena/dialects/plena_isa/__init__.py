"""The `plena_isa` dialect: one op per machine instruction, in an affine form and a register form.

`INSTRUCTIONS` holds every declaration by mnemonic; `OP_OF_MNEMONIC` the op classes.
"""

from xdsl.ir import Dialect

from plena.dialects.plena_isa import control, matrix, scalar, transfer, vector
from plena.dialects.plena_isa.control import RegisterOp
from plena.dialects.plena_isa.instruction import (
    INSTRUCTIONS,
    OP_OF_MNEMONIC,
    Access,
    Instruction,
    build,
    instructions_in,
)
from plena.dialects.plena_isa.registers import ARegister, FRegister, GPRegister, PlenaRegister
from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Kind, Memory, Mode, Slot

OPCODES: dict[int, InstructionSpec] = {spec.opcode: spec for spec in INSTRUCTIONS.values()}
"""Declarations by opcode."""

PlenaISA = Dialect("plena_isa", [RegisterOp, *OP_OF_MNEMONIC.values()], [GPRegister, FRegister, ARegister])

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
    "matrix",
    "scalar",
    "transfer",
    "vector",
]
