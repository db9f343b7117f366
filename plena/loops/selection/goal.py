"""What a choice between programs minimises: the one objective of loop choice, search and optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from plena.machine.choices import Objective

GROWTH = 0.15
"""Without a budget a program may grow by 1 / GROWTH per cent for each per cent of cycles that it saves.

With 0.25, 15 of the 36 kernels and operators in tests/budgets that are compiled for cycles without a budget would take
more cycles (attention 4 heads on 1 of 64x16: 7,109 in 65 instructions instead of 6,909 in 78). Instructions are what a
budget is for; this exponent only keeps programs from growing for next to nothing.
"""


GROWTH_OF_UPDATES = 0.03
"""The same for profiles whose products are short, so that address updates are a good part of all cycles.

CLM-60M layer, sequence 64, pipelined: 677,269 cycles in 515 instructions with the other one, 656,762 in 1,000.
"""


class Costed(Protocol):
    """What has a size in instructions and takes cycles."""

    @property
    def static(self) -> int: ...

    @property
    def cycles(self) -> int: ...


T = TypeVar("T", bound=Costed)


@dataclass(frozen=True)
class Goal:
    """What is minimised.

    `objective` "size": static instructions. "cycles": cycles, whatever they cost in instructions under a `budget` of
    them; without one `cycles * static ** growth`, so that growth must pay.
    """

    objective: Objective = "cycles"
    budget: int | None = None
    growth: float = GROWTH

    def fits(self, static: int) -> bool:
        """Whether a program of so many instructions keeps the budget."""
        return self.budget is None or static <= self.budget

    def cost(self, static: int, cycles: int) -> tuple[float, int]:
        """What to compare: the objective, then the other figure."""
        if self.objective == "size":
            return static, cycles
        return (cycles if self.budget is not None else cycles * static**self.growth), static

    def best(self, points: Sequence[T]) -> T:
        """The best of at least one; those that exceed the budget are not left out."""
        return min(points, key=lambda point: self.cost(point.static, point.cycles))
