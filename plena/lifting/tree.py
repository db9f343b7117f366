"""A lifted program as plain data: what IR, streams and the static check are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from plena.dialects.loop import Linear
from plena.lifting.flat_program import FlatProgram
from plena.machine.target import Target

Number = int | Linear[int]
"""Over numbered indices, always in [0, 2^32); a linear expression has at least one term."""


def number_of(expression: Linear[int]) -> Number:
    """An expression as a number: without terms it is its constant."""
    return expression if expression.terms else expression.constant


def expression_of(number: Number) -> Linear[int]:
    """Inverse of `number_of`."""
    return Linear(number) if isinstance(number, int) else number


def range_of(number: Number, bounds: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Smallest and largest value of a number, each index lying in its inclusive bounds."""
    return (number, number) if isinstance(number, int) else number.range(bounds)


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

    code: FlatProgram
    target: Target
    body: list[LiftedItem]
    bounds: list[tuple[int, int]]
    steps: dict[int, int] = field(default_factory=dict[int, int])

    def range(self, number: Number) -> tuple[int, int]:
        """Smallest and largest value of a number."""
        return range_of(number, self.bounds)

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
