"""Where a sticky register must be set so that every instruction finds the value it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Block, Operation

from plena.dialects.loop import ForOp, Linear
from plena.dialects.loop.nests import is_defined_in


@dataclass(frozen=True)
class Demand:
    """What one operation asks of a sticky register; `is_own` when it sets the value itself."""

    value: Linear
    is_own: bool = False


DemandOf = Callable[[Operation], Demand | None]

Setting = tuple[Operation, Linear]
"""Set the register to the value before the operation."""


def place_settings(block: Block, reset: Linear, demand_of: DemandOf) -> list[Setting]:
    """Plans the settings of one sticky register over a program, in program order; `reset` is its value at the start.

    A loop whose body asks for one value that does not change in it gets it before the loop; one that begins and
    ends with the same value gets that before the loop, and inside only what lies between.
    """
    placing = _Placing(demand_of)
    placing.block(block, reset)
    return placing.settings


@dataclass(frozen=True)
class _Summary:
    """What a stretch of code asks of the register: its first and last value, whether there is only one."""

    first: Demand
    last: Linear
    is_uniform: bool


class _Placing:
    def __init__(self, demand_of: DemandOf) -> None:
        self.demand_of = demand_of
        self.settings: list[Setting] = []
        self._summaries: dict[Operation, _Summary | None] = {}

    def block(self, block: Block, state: Linear | None) -> Linear | None:
        """Places settings in a block entered with `state` (None: unknown); returns the state at its end."""
        for op in block.ops:
            if isinstance(op, ForOp):
                state = self._loop(op, state)
                continue
            demand = self.demand_of(op)
            if demand is not None:
                if demand.value != state and not demand.is_own:
                    self.settings.append((op, demand.value))
                state = demand.value
        return state

    def _loop(self, loop: ForOp, state: Linear | None) -> Linear | None:
        summary = self._summary(loop)
        if summary is None:
            return state
        steady = _outside(summary.last, loop)
        pays = summary.is_uniform or summary.first.value == steady
        if steady is not None and state != steady and pays and not summary.first.is_own:
            self.settings.append((loop, steady))
            state = steady
        self.block(loop.body.block, steady if state == steady else None)
        return _outside(summary.last.substitute(loop.index, loop.trips - 1), loop)

    def _summary(self, loop: ForOp) -> _Summary | None:
        if loop not in self._summaries:
            self._summaries[loop] = self._summarize(loop)
        return self._summaries[loop]

    def _summarize(self, loop: ForOp) -> _Summary | None:
        parts: list[_Summary] = []
        for op in loop.body.block.ops:
            if isinstance(op, ForOp):
                inner = self._summary(op)
                if inner is not None:
                    first = Demand(inner.first.value.substitute(op.index, 0), inner.first.is_own)
                    last = inner.last.substitute(op.index, op.trips - 1)
                    parts.append(_Summary(first, last, inner.is_uniform and first == inner.first))
            elif (demand := self.demand_of(op)) is not None:
                parts.append(_Summary(demand, demand.value, True))
        if not parts:
            return None
        first = parts[0].first
        uniform = all(p.is_uniform and p.first.value == first.value == p.last for p in parts)
        return _Summary(first, parts[-1].last, uniform)


def _outside(value: Linear, loop: ForOp) -> Linear | None:
    """The value if everything in it is known outside the loop, else None."""
    return None if any(is_defined_in(v, loop.body.block) for v, _ in value.terms) else value
