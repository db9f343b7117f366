"""What an instruction touches besides registers, as its declaration says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plena.dialects.plena_isa.memories import Memory, Mode
from plena.dialects.plena_isa.sizes import ONE, VLEN, Size

if TYPE_CHECKING:
    from plena.machine.number_formats import NumberFormat
    from plena.machine.target import Target


@dataclass(frozen=True)
class Touch:
    """A rectangle of one memory: `rows` rows of `width` cells, `pitch` apart, from the address in a slot on.

    Attributes:
        address: the slot; None for state without addresses (accumulators, sticky registers).
        stride: the address slot that holds the pitch in vector rows, instead of `pitch`.
        when: the flag slot without which it is not touched.
        clears: it is an accumulator and left at zero.
        below: INT SRAM words written are below this; None: they may be anything.
    """

    memory: Memory
    mode: Mode
    address: str | None = None
    rows: Size = ONE
    width: Size = ONE
    pitch: Size | None = None
    stride: str | None = None
    when: str | None = None
    clears: bool = False
    below: Size | None = None

    def __str__(self) -> str:
        verb = {Mode.READ: "reads", Mode.WRITE: "writes", Mode.UPDATE: "updates"}[self.mode]
        if self.address is None:
            what = f"{verb} {self.memory.name}" + (", left at 0" if self.clears else "")
        else:
            cells = [s.text for s in (self.rows, self.width) if s is not ONE]
            what = f"{verb} {self.memory.name}[{self.address} : {' x '.join(cells) or '1'}]"
            what += f", {self.stride} rows apart" if self.stride else ""
            what += f", each below {self.below.text}" if self.below else ""
        return f"{what} if {self.when}" if self.when else what


@dataclass(frozen=True)
class Transfer:
    """The HBM side of a transfer of rows of VLEN elements (plena_isa.md section 5).

    Attributes:
        formats: keys of `Target.precision` that the precision flag chooses from: 0, any other value.
        rows: how many rows it moves.
        is_load: from HBM.
    """

    formats: tuple[str, str]
    rows: Size
    is_load: bool

    def format_key(self, precision: int) -> str:
        """The key of the HBM type that the precision flag selects."""
        return self.formats[precision != 0]

    def number_format(self, target: Target, precision: int) -> NumberFormat:
        """The HBM type that the precision flag selects."""
        return target.precision[self.format_key(precision)]


def reads_rows(address: str, rows: Size = ONE) -> Touch:
    """Whole vector rows, one behind the other."""
    return Touch(Memory.VECTOR, Mode.READ, address, rows, VLEN, VLEN)


def writes_rows(address: str, rows: Size = ONE) -> Touch:
    """Whole vector rows, one behind the other."""
    return Touch(Memory.VECTOR, Mode.WRITE, address, rows, VLEN, VLEN)


def reads_block(address: str, width: Size) -> Touch:
    """Part of the matrix tile at an address."""
    return Touch(Memory.MATRIX, Mode.READ, address, width=width)


def reads_words(memory: Memory, address: str, words: Size = ONE) -> Touch:
    """Words of a scalar memory."""
    return Touch(memory, Mode.READ, address, width=words)


def writes_words(memory: Memory, address: str, words: Size = ONE, below: Size | None = None) -> Touch:
    """Words of a scalar memory."""
    return Touch(memory, Mode.WRITE, address, width=words, below=below)


def accumulates(accumulator: Memory) -> Touch:
    """Adds to an accumulator."""
    return Touch(accumulator, Mode.UPDATE)


def clears(accumulator: Memory) -> Touch:
    """Reads an accumulator out and leaves it at zero."""
    return Touch(accumulator, Mode.UPDATE, clears=True)


def state(memory: Memory, when: str | None = None) -> Touch:
    """Looks at a sticky register, if a flag says so."""
    return Touch(memory, Mode.READ, when=when)


def sets(memory: Memory) -> Touch:
    """Sets a sticky register."""
    return Touch(memory, Mode.WRITE)
