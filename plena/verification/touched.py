"""Which parts of the memories a program touches: all that is known of the memory map of foreign code."""

from __future__ import annotations

from dataclasses import dataclass

from plena.lifting.records import layout
from plena.lifting.tree import LiftedProgram
from plena.verification.accesses import Cells
from plena.verification.cells import Footprints
from plena.verification.footprints import Interval, merged

MEMORY_NAMES = {Cells.VECTOR: "vector", Cells.MATRIX: "matrix", Cells.FP: "fp", Cells.INT: "int"}

_BATCH = 4096
"""Intervals that are gathered before they are merged."""


@dataclass(frozen=True)
class Touched:
    """The addresses of a memory that a program reads or writes, as disjoint intervals in order.

    Units: vector and matrix elements (whole rows and tiles), fp and int words, hbm bytes. `unbounded`: some
    instruction also touches addresses that are not known before it runs.
    """

    intervals: tuple[Interval, ...] = ()
    unbounded: bool = False


def touched(program: LiftedProgram) -> dict[str, Touched]:
    """What every instruction touches over all iterations, by memory."""
    footprints = Footprints(program)
    found = {name: _Gathering() for name in (*MEMORY_NAMES.values(), "hbm")}
    for item in program.instructions():
        pc = item[0]
        for access in footprints.accesses_of(pc):
            unit = footprints.units[access.cells]
            pieces = footprints.pieces(access, item)
            found[MEMORY_NAMES[access.cells]].add(
                None if pieces is None else [(a * unit, b * unit) for a, b in pieces]
            )
        shape = layout(program.code.op[pc])
        if shape.unknown:
            found["hbm"].add(None)
        elif shape.transfer:
            for pieces in footprints.hbm_pieces(item):
                found["hbm"].add(pieces)
    return {name: gathering.result() for name, gathering in found.items()}


class _Gathering:
    def __init__(self) -> None:
        self._pieces: list[Interval] = []
        self._unbounded = False

    def add(self, pieces: list[Interval] | None) -> None:
        if pieces is None:
            self._unbounded = True
            return
        self._pieces += pieces
        if len(self._pieces) > _BATCH:
            self._pieces = merged(self._pieces)

    def result(self) -> Touched:
        return Touched(tuple(merged(self._pieces)), self._unbounded)
