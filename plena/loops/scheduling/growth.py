"""How many instructions a schedule may add."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.ir import Operation

from plena.dialects.loop import ForOp
from plena.dialects.plena_isa.instruction import Instruction


class Allowance:
    """Static instructions that may still be added, about: those of addresses are not counted."""

    def __init__(self, most: int | None) -> None:
        self.left = most

    def would_take(self, instructions: int) -> bool:
        """Whether so many are left."""
        return self.left is None or instructions <= self.left

    def take(self, instructions: int) -> bool:
        """Whether so many are left; then they are gone."""
        if not self.would_take(instructions):
            return False
        if self.left is not None:
            self.left -= instructions
        return True


def size(operations: Iterable[Operation]) -> int:
    """Static instructions, addresses apart."""
    total = 0
    for op in operations:
        if isinstance(op, ForOp):
            total += 2 + size(op.operations)
        elif isinstance(op, Instruction):
            total += 1
    return total


def added_by_spreading(streams: int, host: ForOp) -> int:
    """Instructions that loads in a host add: two loops and a copy of the body for every stream."""
    return streams * (4 + size(host.operations))
