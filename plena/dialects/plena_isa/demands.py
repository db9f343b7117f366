"""What the machine demands of operands, fields and settings, as the declarations say it.

Codes are abort classes (plena_isa.md section 3.8). A demand is about the address in a slot and is checked when the
instruction runs; a requirement is about the word or the machine alone: an instruction that does not meet it aborts
whatever the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from plena.dialects.plena_isa.memories import Memory
from plena.dialects.plena_isa.sizes import MLEN, ONE, TILE, VLEN, Fields, Size, of_target
from plena.dialects.plena_isa.touches import Touch

if TYPE_CHECKING:
    from plena.machine.target import Target


class DemandKind(IntEnum):
    """The forms a demand takes; x is the number it is about."""

    ALIGNED = 0
    """x is a multiple of `modulus`."""
    BELOW = 1
    """x < `limit`."""
    RESIDUE_BELOW = 2
    """x % `modulus` < `limit`."""
    STRIDED_ROWS = 3
    """`rows` rows, the next number times `modulus` apart from the row of x on, lie below `limit`."""
    STORE = 4
    """The HBM rows of a store, element bytes and scale bytes, lie inside HBM."""


RANGES = (DemandKind.BELOW, DemandKind.STRIDED_ROWS)


@dataclass(frozen=True)
class Demand:
    """One demand on the address in a slot; it is void where `rows` is 0."""

    kind: DemandKind
    code: str
    slot: str
    modulus: Size = ONE
    limit: Size = ONE
    rows: Size = ONE

    def __str__(self) -> str:
        what = {
            DemandKind.ALIGNED: f"is a multiple of {self.modulus.text}",
            DemandKind.BELOW: self.limit.text,
            DemandKind.RESIDUE_BELOW: f"modulo {self.modulus.text} is below {self.limit.text}",
            DemandKind.STRIDED_ROWS: f"and {self.rows.text} rows from it on lie in vector SRAM",
            DemandKind.STORE: "and the rows from it on lie in HBM",
        }[self.kind]
        return f"{self.slot} {what}"


def aligned(slot: str, modulus: Size, code: str) -> Demand:
    """The address is a multiple of something."""
    return Demand(DemandKind.ALIGNED, code, slot, modulus)


def in_row_of_tile(slot: str) -> Demand:
    """The offset of the address in its tile is in the first row."""
    return Demand(DemandKind.RESIDUE_BELOW, "mram-offset", slot, TILE, MLEN)


def whole_tiles(slot: str, tiles: Size) -> tuple[Demand, Demand]:
    """Whole matrix tiles from the address on exist."""
    limit = Size(
        f"and {tiles.text} tiles from it on lie in matrix SRAM",
        lambda t, f: (t.matrix_tiles - tiles(t, f)) * t.tile + 1,
    )
    return (
        aligned(slot, TILE, "mram-unaligned"),
        Demand(DemandKind.BELOW, "mram-range", slot, limit=limit),
    )


def rows_in_range(slot: str, rows: Size) -> Demand:
    """Whole vector rows from the address on exist."""
    text = "lies" if rows is ONE else f"and {rows.text} rows from it on lie"
    limit = Size(f"{text} in vector SRAM", lambda t, f: (t.vector_sram_size - rows(t, f)) * t.vlen + 1)
    return Demand(DemandKind.BELOW, "vram-range", slot, limit=limit, rows=rows)


_VECTOR_END = of_target("lies in vector SRAM", lambda t: t.vector_sram_size * t.vlen)
_MATRIX_END = of_target("lies in matrix SRAM", lambda t: t.matrix_tiles * t.tile)


def _words_in_range(touch: Touch) -> Demand:
    assert touch.address is not None
    name, size, code = {
        Memory.FP: ("FP SRAM", lambda t: t.fp_sram_size, "fp-sram-range"),
        Memory.INT: ("INT SRAM", lambda t: t.int_sram_size, "int-sram-range"),
    }[touch.memory]
    text = f"lies in {name}"
    if touch.width is not ONE:
        text = f"and {touch.width.text} words from it on lie in {name}"
    limit = Size(text, lambda t, f: size(t) - touch.width(t, f) + 1)
    return Demand(DemandKind.BELOW, code, touch.address, limit=limit)


def usual_demands(touch: Touch) -> Iterator[Demand]:
    """What the machine demands of an address because of what is touched there."""
    slot = touch.address
    if slot is None:
        return
    match touch.memory:
        case Memory.VECTOR if touch.stride is not None:
            yield Demand(
                DemandKind.STRIDED_ROWS, "vram-range", slot, MLEN, limit=_VECTOR_END, rows=touch.rows
            )
        case Memory.VECTOR if touch.width is VLEN:
            yield Demand(DemandKind.ALIGNED, "unaligned-vram", slot, VLEN, rows=touch.rows)
            yield rows_in_range(slot, touch.rows)
        case Memory.VECTOR:
            yield Demand(DemandKind.BELOW, "vram-range", slot, limit=_VECTOR_END)
        case Memory.MATRIX:
            yield Demand(DemandKind.BELOW, "mram-range", slot, limit=_MATRIX_END)
        case Memory.FP | Memory.INT:
            yield _words_in_range(touch)
        case _:
            return


def all_demands(own: tuple[Demand, ...], touches: tuple[Touch, ...]) -> tuple[Demand, ...]:
    """Own demands, then the usual ones; an own demand replaces the usual one of its kind about the same slot.

    The machine looks at HBM last.
    """
    replaced = {(d.slot, d.kind in RANGES) for d in own if d.kind is not DemandKind.RESIDUE_BELOW}
    usual = [d for touch in touches for d in usual_demands(touch)]
    kept = [d for d in usual if (d.slot, d.kind in RANGES) not in replaced]
    return tuple(sorted((*own, *kept), key=lambda d: d.kind is DemandKind.STORE))


Facts: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Requirement:
    """What a word or the settings must be; `problem` is None if they are, else the numbers for the abort message."""

    code: str
    text: str
    problem: Callable[[Target, Fields], Facts | None]


def requires(code: str, text: str, holds: Callable[[Target, Fields], bool], *slots: str) -> Requirement:
    """A requirement; the message names the numbers in some slots."""
    return Requirement(
        code, text, lambda target, fields: None if holds(target, fields) else tuple(fields[s] for s in slots)
    )


@dataclass(frozen=True)
class Caution:
    """A warning about fields: legal, but hardly as meant (plena_isa.md sections 3, 5, 6.4 and 7).

    Attributes:
        code: our name of it.
        operand: the slot it is about, None when it is about the instruction.
        applies: whether it is given for the numbers in the slots.
    """

    code: str
    message: str
    operand: str | None = None
    applies: Callable[[Fields], bool] = lambda _: True
