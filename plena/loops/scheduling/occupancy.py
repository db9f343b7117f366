"""Which f registers a loop may use for more values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import ForOp
from plena.dialects.plena_isa import FRegister
from plena.dialects.plena_isa.instruction import Instruction
from plena.loops.effects import Resource, resource_of_cell
from plena.loops.scheduling.privates import is_f_cell
from plena.machine.constants import F_REGISTERS


class Occupancy:
    """Where a module touches f registers, read once: what is put in later is private to a loop."""

    def __init__(self, module: ModuleOp) -> None:
        self._places: dict[Resource, list[int]] = {}
        self._loops: dict[ForOp, tuple[int, int]] = {}
        self._read(module.body.block.ops, 0)

    def _read(self, operations: Iterable[Operation], place: int) -> int:
        for op in operations:
            if isinstance(op, ForOp):
                first, place = place, self._read(op.operations, place)
                self._loops[op] = (first, place)
            elif isinstance(op, Instruction):
                for value, _ in op.cells():
                    if is_f_cell(cell := resource_of_cell(value)):
                        self._places.setdefault(cell, []).append(place)
                place += 1
        return place

    def free(self, loop: ForOp, private: Sequence[Resource]) -> list[FRegister]:
        """Machine registers that nothing touches, or as many new ones as are left beside those that hold something
        over a loop, about: what it touches itself, and what is touched before and behind it."""
        every = list(map(FRegister.from_index, range(1, F_REGISTERS)))
        if any(not isinstance(cell, SSAValue) for cell in self._places):
            return [register for register in every if register not in self._places]
        first, last = self._loops[loop]
        held = set(private)
        for cell, places in self._places.items():
            if places[0] < last and places[-1] >= first:
                held.add(cell)
        return [FRegister.unallocated()] * max(0, len(every) - len(held))
