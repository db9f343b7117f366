"""Which cells an instruction reads and writes, in coarse units: vector rows, matrix tiles, words.

Partial writes of a row count as writes of the row. HBM is handled apart (`plena.verification.cells`). An instruction
that does not declare what it touches may write every cell, and what it reads is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from plena.dialects.derived import derived_of_targets
from plena.dialects.plena_isa import Memory, Mode
from plena.dialects.plena_isa.instruction import touches_with
from plena.dialects.plena_isa.touches import Touch
from plena.lifting.records import layout
from plena.machine.target import Target


class Cells(IntEnum):
    """The memories that are tracked cell by cell."""

    VECTOR = 0
    MATRIX = 1
    FP = 2
    INT = 3


NAMES = {
    Cells.VECTOR: ("vector row", "unwritten-vector"),
    Cells.MATRIX: ("matrix tile", "unwritten-matrix"),
    Cells.FP: ("FP SRAM word", "unwritten-fp"),
    Cells.INT: ("INT SRAM word", "unwritten-int"),
}
"""What a cell is called, and the code of the warning about reading one that nothing wrote."""

_CELLS_OF = {
    Memory.VECTOR: Cells.VECTOR,
    Memory.MATRIX: Cells.MATRIX,
    Memory.FP: Cells.FP,
    Memory.INT: Cells.INT,
}

ANYWHERE = -1
"""In place of the position of an address: any cell."""


@dataclass(frozen=True, slots=True)
class CellAccess:
    """`count` cells from `number // unit` on; `stride` is the number that spaces them, -1 for adjacent ones.

    `number` is a position in the record of the instruction, or `ANYWHERE`.
    """

    cells: Cells
    is_write: bool
    number: int
    count: int = 1
    stride: int = -1


@dataclass(frozen=True)
class Memories:
    """Sizes in cells and the addresses that one cell spans."""

    sizes: tuple[int, ...]
    units: tuple[int, ...]

    @staticmethod
    def of(target: Target) -> Memories:
        return Memories(
            (target.vector_sram_size, target.matrix_tiles, target.fp_sram_size, target.int_sram_size),
            (target.vlen, target.tile, 1, 1),
        )


@derived_of_targets(1024)
def cell_accesses(target: Target, op: int, flags: int) -> tuple[CellAccess, ...]:
    """The accesses of an opcode with certain flag bits (`InstructionSpec.flag_bits`), reads before writes."""
    shape = layout(op)
    spec, fields = shape.spec, shape.spec.fields_of(flags)
    if spec.touches is None:
        return tuple(CellAccess(cells, True, ANYWHERE) for cells in Cells)
    units = Memories.of(target).units
    found: list[CellAccess] = []
    for touch in touches_with(spec, fields):
        if touch.memory not in _CELLS_OF or touch.address is None:
            continue
        cells = _CELLS_OF[touch.memory]
        rows, width = touch.rows(target, fields), touch.width(target, fields)
        count = (
            rows * -(-width // units[cells]) if cells is not Cells.MATRIX else max(1, width // units[cells])
        )
        for mode in touch.mode & Mode.READ, touch.mode & Mode.WRITE:
            if mode:
                found.append(
                    CellAccess(
                        cells,
                        mode is Mode.WRITE,
                        shape.addresses.index(touch.address),
                        count,
                        _position(touch, shape.addresses),
                    )
                )
    return tuple(sorted(found, key=lambda access: access.is_write))


def _position(touch: Touch, addresses: tuple[str, ...]) -> int:
    return -1 if touch.stride is None else addresses.index(touch.stride)
