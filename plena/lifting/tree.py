"""A lifted program as plain data: what IR, streams and the static check are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from plena.lifting.code import Code
from plena.machine.target import Target


@dataclass(frozen=True, slots=True)
class Affine:
    """`constant + sum(coefficient * index)` over the integers, always in [0, 2^32); at least one term."""

    constant: int
    terms: tuple[tuple[int, int], ...]


Number = int | Affine
LiftedInstruction = tuple[int, *tuple[Number, ...]]
"""(pc, number, ...): layout as the records of the symbolic run, see `plena.lifting.records.layout`."""


@dataclass(eq=False, slots=True)
class LiftedLoop:
    """A loop: its body runs `trips` times with the index 0, 1, ...

    Attributes:
        index: the number of its index.
        pc: the C_LOOP_START it comes from.
    """

    trips: int
    index: int
    pc: int
    body: list[LiftedItem] = field(default_factory=list["LiftedItem"])


LiftedItem = LiftedInstruction | LiftedLoop


@dataclass(eq=False)
class LiftedProgram:
    """A program in affine form.

    Attributes:
        code: the flat program; instructions refer to it by position.
        body: instructions and loops in order.
        bounds: inclusive bounds of every index and every number loaded at run time, by its number.
        steps: of numbers loaded at run time that are not all between their bounds: the distance between possible ones.
    """

    code: Code
    target: Target
    body: list[LiftedItem]
    bounds: list[tuple[int, int]]
    steps: dict[int, int] = field(default_factory=dict[int, int])

    def range(self, number: Number) -> tuple[int, int]:
        """Smallest and largest value of a number."""
        if isinstance(number, int):
            return number, number
        low = high = number.constant
        for index, coefficient in number.terms:
            first, last = self.bounds[index]
            ends = (first * coefficient, last * coefficient)
            low, high = low + min(ends), high + max(ends)
        return low, high

    def instructions(self) -> Iterator[LiftedInstruction]:
        """Every instruction in order."""
        stack = [iter(self.body)]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
            elif isinstance(item, LiftedLoop):
                stack.append(iter(item.body))
            else:
                yield item
