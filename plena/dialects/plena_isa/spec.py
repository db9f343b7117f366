"""The declaration of one instruction: everything that is known about it besides what it computes.

Assembly printer and parser, encoder, decoder, the emulator's tables, static check, lift, effects and dependence, cost
models and the reference page are derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from plena.dialects.plena_isa.memories import Memory, Mode
from plena.dialects.plena_isa.on_rtl import NOTHING, OnRtl

if TYPE_CHECKING:
    from plena.dialects.plena_isa.demands import Caution, Demand, Requirement
    from plena.dialects.plena_isa.sizes import Size
    from plena.dialects.plena_isa.touches import Touch, Transfer


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


class Cost(Enum):
    """Cost keys: what a timing profile has a formula for. The value names the key in the machine's opcode table."""

    ONE = "one"
    """Control, loads and stores of a scalar."""
    WRITE_OUT = "one, write-out"
    ROW_WRITE_OUT = "one, row write-out"
    TILE_PRODUCT = "sys_mlen"
    BROADCAST_PRODUCT = "sys_mlen, broadcast"
    BROADCAST_ROW_PRODUCT = "sys_one"
    ROW_PRODUCT = "mlen"
    V_ADD = "v_add"
    V_MUL = "v_mul"
    V_EXP = "v_exp"
    V_RECI = "v_reci"
    V_MAX = "v_max"
    V_RED_MAX = "v_max, reduction"
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


class Integer(Enum):
    """What an instruction does to the integer state, for whoever follows addresses and control flow without data."""

    ADD_IMMEDIATE = auto()
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    LOAD_UPPER = auto()
    LOAD = auto()
    STORE = auto()
    SET_BASE = auto()
    SET_STICKY = auto()
    LOOP_START = auto()
    LOOP_END = auto()
    BREAK = auto()


class Unit(Enum):
    """The unit of the machine that executes an instruction: the letter its mnemonic begins with."""

    MATRIX = "M"
    VECTOR = "V"
    SCALAR = "S"
    TRANSFER = "H"
    CONTROL = "C"


class Sense(Enum):
    """How the machine reads a flag."""

    NONZERO = "any value but 0"
    ONE = "1, nothing else"
    NUMBER = "a number"


@dataclass(frozen=True)
class Sticky:
    """A register whose content stays from instruction to instruction.

    Attributes:
        memory: its name among what instructions touch.
        reset: its content at reset (plena_isa.md section 1.3).
        flag: the flag slot that makes an instruction look at it; None: it always does.
    """

    memory: Memory
    reset: int
    flag: str | None = None


STICKY: dict[str, Sticky] = {
    "scale": Sticky(Memory.SCALE, 0),
    "stride": Sticky(Memory.STRIDE, 1, "rstride"),
    "v_mask": Sticky(Memory.V_MASK, 0, "mask"),
}
"""The sticky registers by the name of the operand that stands for them in the affine form."""


@dataclass(frozen=True)
class Slot:
    """One operand position of the assembly syntax.

    `upstream` is where the public assembler puts the value when that differs from the decoder (plena_isa.md
    section 6.4); `upstream_drops` marks one it throws away. `offsets` names the address slot an immediate is added to,
    `adds_to` the address slot that another address register is added to. `gp0_means` is the number that the register
    gp0 stands for in this slot, whatever it holds. A word is refused where a `refused` placeholder is not 0.
    """

    name: str
    kind: Kind
    field: Field
    mode: Mode = Mode.READ
    offsets: str | None = None
    optional: bool = False
    upstream: Field | None = None
    upstream_drops: bool = False
    sense: Sense = Sense.NONZERO
    adds_to: str | None = None
    gp0_means: int | None = None
    refused: bool = False

    def canonical(self, value: int) -> int:
        """The number that a flag stands for: 1 where it is set, the value itself where it is a number."""
        match self.sense:
            case Sense.NONZERO:
                return int(value != 0)
            case Sense.ONE:
                return int(value == 1)
            case Sense.NUMBER:
                return value

    @property
    def is_register(self) -> bool:
        return self.kind in (Kind.GP, Kind.F, Kind.A)

    @property
    def is_address(self) -> bool:
        """True for a gp register that is only read: an `index` value in the affine form."""
        return self.kind is Kind.GP and self.mode is Mode.READ


@dataclass(frozen=True)
class InstructionSpec:
    """Everything there is to know about one instruction.

    Attributes:
        cost: what timing profiles have a formula for.
        work: a number that the formula may take besides the settings.
        sticky: names in `STICKY` of the registers it may look at.
        free_if_f0: a destination of f0 makes it a zero-cycle no-op.
        rtl: what the public RTL does with it.
        touches: what it touches besides registers; None: not declared, so it may touch everything.
        demands: on addresses, in the order in which the machine makes them.
        requirements: of the word and the settings, in that order too.
        cautions: warnings about the word.
        transfer: the HBM side, if it is a transfer.
        integer: what it does to the integer state; None: nothing, or to a gp register what nobody follows.
        semantics: the name of the emulator kernel that says what it computes.
    """

    mnemonic: str
    opcode: int
    slots: tuple[Slot, ...]
    cost: Cost
    summary: str = ""
    sticky: tuple[str, ...] = ()
    executable: bool = True
    free_if_f0: bool = False
    rtl: OnRtl = NOTHING
    touches: tuple[Touch, ...] | None = field(default=None, compare=False)
    demands: tuple[Demand, ...] = field(default=(), compare=False)
    requirements: tuple[Requirement, ...] = field(default=(), compare=False)
    cautions: tuple[Caution, ...] = field(default=(), compare=False)
    transfer: Transfer | None = field(default=None, compare=False)
    integer: Integer | None = None
    semantics: str = ""
    work: Size | None = field(default=None, compare=False)
    by_name: dict[str, Slot] = field(default_factory=dict[str, Slot], compare=False, repr=False)

    def __post_init__(self) -> None:
        self.by_name.update((slot.name, slot) for slot in self.slots)

    def immediate_for(self, address: str) -> Slot | None:
        """The immediate slot that is added to an address slot, if the instruction has one usable in generated code."""
        return next((s for s in self.slots if s.offsets == address and s.upstream is None), None)

    def may_touch(self, *memories: Memory) -> bool:
        """Whether it may touch one of some memories."""
        return self.touches is None or any(touch.memory in memories for touch in self.touches)

    @cached_property
    def _written(self) -> frozenset[Memory]:
        return frozenset(touch.memory for touch in self.touches or () if Mode.WRITE in touch.mode)

    def may_write(self, memory: Memory) -> bool:
        """Whether it may write one memory."""
        return self.touches is None or memory in self._written

    @cached_property
    def unit(self) -> Unit | None:
        """The unit that executes it; None for a mnemonic of another kind."""
        return next((unit for unit in Unit if self.mnemonic.startswith(f"{unit.value}_")), None)

    @cached_property
    def clears(self) -> frozenset[Memory]:
        """The accumulators that it leaves at zero."""
        return frozenset(touch.memory for touch in self.touches or () if touch.clears)

    @cached_property
    def writes_gp(self) -> bool:
        """Whether its destination is a gp register."""
        return any(s.kind is Kind.GP and Mode.WRITE in s.mode and s.field is Field.RD for s in self.slots)

    @cached_property
    def refuses_rd(self) -> bool:
        """Whether a word with a nonzero rd field is refused when the program is loaded (plena_isa.md section 3.1)."""
        return any(slot.refused for slot in self.slots)

    @cached_property
    def flags(self) -> tuple[Slot, ...]:
        """The flag slots."""
        return tuple(s for s in self.slots if s.kind is Kind.FLAG)

    @cached_property
    def flag_bits(self) -> int:
        """The bits of a word that flags are in."""
        return sum((s.field.limit - 1) << s.field.lsb for s in self.flags)

    def fields_of(self, word: int) -> dict[str, int]:
        """The numbers in the slots of a word, by name."""
        return {slot.name: slot.field.extract(word) for slot in self.slots}


def zero(refused: bool = False) -> Slot:
    return Slot("zero", Kind.ZERO, Field.RD, refused=refused)


def gp(
    name: str,
    bits: Field,
    mode: Mode = Mode.READ,
    *,
    optional: bool = False,
    adds_to: str | None = None,
    gp0_means: int | None = None,
) -> Slot:
    return Slot(name, Kind.GP, bits, mode, optional=optional, adds_to=adds_to, gp0_means=gp0_means)


def f(name: str, bits: Field, mode: Mode = Mode.READ) -> Slot:
    return Slot(name, Kind.F, bits, mode)


def a(name: str, bits: Field, mode: Mode = Mode.READ) -> Slot:
    return Slot(name, Kind.A, bits, mode)


def immediate(
    bits: Field, offsets: str | None = None, upstream: Field | None = None, name: str = "imm"
) -> Slot:
    return Slot(name, Kind.IMMEDIATE, bits, offsets=offsets, upstream=upstream)


def flag(
    name: str,
    bits: Field,
    upstream: Field | None = None,
    upstream_drops: bool = False,
    sense: Sense = Sense.NONZERO,
) -> Slot:
    return Slot(name, Kind.FLAG, bits, upstream=upstream, upstream_drops=upstream_drops, sense=sense)
