"""The declaration of one instruction: mnemonic, opcode, operand slots, cost class.

Assembly printer and parser, encoder, decoder, emulator dispatch, verifier and the reference page are derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, Flag, auto


class Field(Enum):
    """A bit field of the 32-bit word as (lowest bit, width); plena_isa.md section 3.1."""

    RD = (6, 4)
    RS1 = (10, 4)
    RS2 = (14, 4)
    RS3 = (18, 4)
    FUNCT1 = (22, 4)
    IMM18 = (14, 18)
    IMM22 = (10, 22)

    @property
    def lsb(self) -> int:
        return self.value[0]

    @property
    def width(self) -> int:
        return self.value[1]

    @property
    def limit(self) -> int:
        """One past the largest value the field holds."""
        return 1 << self.width

    def extract(self, word: int) -> int:
        return word >> self.lsb & self.limit - 1


class Kind(Enum):
    """What an operand slot names."""

    GP = "gp"
    F = "f"
    A = "a"
    IMMEDIATE = "immediate"
    FLAG = "flag"
    ZERO = "zero"
    """The literal placeholder 0 of the assembly syntax."""


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


class Cost(Enum):
    """Cost classes, named as in the machine's opcode table; formulas live in backend/cost_model.py."""

    ONE = "one"
    SYSTOLIC_MLEN = "sys_mlen"
    SYSTOLIC_ONE = "sys_one"
    MLEN = "mlen"
    V_ADD = "v_add"
    V_MUL = "v_mul"
    V_EXP = "v_exp"
    V_RECI = "v_reci"
    V_MAX = "v_max"
    V_SUM = "v_sum"
    TOPK = "topk"
    TWO_VLEN = "two_vlen"
    S_FP = "s_fp"
    S_EXP = "s_exp"
    S_RECI = "s_reci"
    S_SQRT = "s_sqrt"
    S_INT = "s_int"
    HBM = "hbm"
    NEVER = "n/a"


@dataclass(frozen=True)
class Slot:
    """One operand position of the assembly syntax.

    `upstream` is where the public assembler puts the value when that differs from the decoder (plena_isa.md
    section 6.4); `upstream_drops` marks one it throws away. `offsets` names the address slot an immediate is added to.
    """

    name: str
    kind: Kind
    field: Field
    mode: Mode = Mode.READ
    offsets: str | None = None
    optional: bool = False
    upstream: Field | None = None
    upstream_drops: bool = False

    @property
    def is_register(self) -> bool:
        return self.kind in (Kind.GP, Kind.F, Kind.A)

    @property
    def is_address(self) -> bool:
        """True for a gp register that is only read: an `index` value in the affine form."""
        return self.kind is Kind.GP and self.mode is Mode.READ


@dataclass(frozen=True)
class InstructionSpec:
    """Everything there is to know about one instruction except its effects on memories."""

    mnemonic: str
    opcode: int
    slots: tuple[Slot, ...]
    cost: Cost
    summary: str = ""
    sticky: tuple[str, ...] = ()
    executable: bool = True
    free_if_f0: bool = False
    """True when a destination of f0 makes it a zero-cycle no-op."""
    by_name: dict[str, Slot] = field(default_factory=dict[str, Slot], compare=False, repr=False)

    def __post_init__(self) -> None:
        self.by_name.update((slot.name, slot) for slot in self.slots)

    def immediate_for(self, address: str) -> Slot | None:
        """The immediate slot that is added to an address slot, if the instruction has one usable in generated code."""
        return next((s for s in self.slots if s.offsets == address and s.upstream is None), None)


def zero() -> Slot:
    return Slot("zero", Kind.ZERO, Field.RD)


def gp(name: str, bits: Field, mode: Mode = Mode.READ, *, optional: bool = False) -> Slot:
    return Slot(name, Kind.GP, bits, mode, optional=optional)


def f(name: str, bits: Field, mode: Mode = Mode.READ) -> Slot:
    return Slot(name, Kind.F, bits, mode)


def a(name: str, bits: Field, mode: Mode = Mode.READ) -> Slot:
    return Slot(name, Kind.A, bits, mode)


def immediate(
    bits: Field, offsets: str | None = None, upstream: Field | None = None, name: str = "imm"
) -> Slot:
    return Slot(name, Kind.IMMEDIATE, bits, offsets=offsets, upstream=upstream)


def flag(name: str, bits: Field, upstream: Field | None = None, upstream_drops: bool = False) -> Slot:
    return Slot(name, Kind.FLAG, bits, upstream=upstream, upstream_drops=upstream_drops)
