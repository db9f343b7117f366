"""Which values a loop keeps in registers from one iteration to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.plan import BlockPlan, LoopPlan
from plena.registers.addressing.program import Block, Loop, Use
from plena.registers.addressing.reads import Met
from plena.registers.addressing.values import CONSTANT, ClassTable, Value

Simulate = Callable[[Sequence[Value], Sequence[Value]], BlockPlan | None]
"""Plans a block with these values kept in registers and in memory; None when it does not fit."""

_PATIENCE = 3
"""Consecutive attempts without gain after which a search stops."""


@dataclass(frozen=True)
class Candidates:
    """Values that may live in registers across iterations.

    `needed`: one per class that is read, the lowest. `optional`: others, by decreasing worth. `reads`: reads per
    class and iteration.
    """

    needed: list[Value]
    optional: list[Value]
    reads: dict[int, int]


def candidates_of(loop: Loop, children: Sequence[LoopPlan], classes: ClassTable) -> Candidates:
    """The candidates of a loop whose inner loops are planned.

    Optional are pointers beyond the reach of an immediate from the lowest, then values that stay the same in the loop
    or become another value that is read, those first that wait shortest between their last and their first read.
    """
    met = _met(loop.body, children, classes)
    first, last = met.first, met.last
    exposed = loop.body.exposed
    anchors = {cls: _anchors(sorted(met.constants.get(cls, ()))) for cls in exposed}
    needed = [(cls, c) for cls, lowest in anchors.items() for c in lowest[:1]]
    distant = [(cls, c) for cls, lowest in anchors.items() for c in lowest[1:]]
    chosen = {*needed, *distant, (CONSTANT, 0)}
    pinned: list[Value] = []
    for value in first:
        cls, constant = value
        step = classes.coefficient(cls, loop.index)
        is_known = cls == CONSTANT or cls in exposed
        if value not in chosen and is_known and (not step or (cls, constant + step) in first):
            pinned.append(value)
    pinned.sort(key=lambda v: first[v] + loop.body.length - last[v])
    return Candidates(needed, distant + pinned, met.count)


def _met(block: Block, children: Sequence[LoopPlan], classes: ClassTable) -> Met:
    """The values that a block reads whose loops are planned."""
    return Met.of(_read(block, children, classes)) if block.reads is None else Met.in_columns(block.reads)


def _read(
    block: Block, children: Sequence[LoopPlan], classes: ClassTable
) -> Iterator[tuple[int, Value, bool]]:
    """(time, value, whether a register must hold it as it is) of each read."""
    plans = iter(children)
    for time, node in enumerate(block.nodes):
        if isinstance(node, Use):
            for r in node.reads:
                yield time, r.value, not r.has_immediate
        else:
            plan = next(plans)
            for e in plan.entries(classes):
                yield time, e.value, not e.is_consumed
            for _, value in plan.memory_entries(classes):
                yield time, value, False


def _anchors(constants: Sequence[int]) -> list[int]:
    """The lowest constants from which one ADDI reaches the others."""
    anchors: list[int] = []
    for constant in constants:
        if not anchors or constant - anchors[-1] >= IMMEDIATE_LIMIT:
            anchors.append(constant)
    return anchors


def worth(plan: BlockPlan, loop: Loop | None) -> float:
    """Address instructions of one iteration, with the share of what it takes to enter the loop."""
    entry = len(plan.head) + 2 * len(plan.memory_head)
    return plan.cost + (entry / loop.trips if loop is not None else 0)


@dataclass(frozen=True)
class _Kept:
    needed: tuple[Value, ...] = ()
    optional: tuple[Value, ...] = ()
    memory: tuple[Value, ...] = ()


class HeadSearch:
    """Finds a good set of values to keep by simulating candidates, at most `attempts` of them."""

    def __init__(self, simulate: Simulate, loop: Loop, registers: int, attempts: int) -> None:
        self.simulate = simulate
        self.loop = loop
        self.registers = registers
        self.attempts = attempts
        self.best: BlockPlan | None = None
        self.kept = _Kept()
        self._tried: set[_Kept] = set()

    def run(self, candidates: Candidates) -> BlockPlan | None:
        """The best plan found, None when nothing fits."""
        order = sorted(candidates.needed, key=lambda v: -candidates.reads.get(v[0], 0))
        optional = tuple(candidates.optional)
        for in_memory in range(max(0, len(order) - self.registers), len(order) + 1):
            split = len(order) - in_memory
            gained = self._sweep(tuple(order[:split]), optional, tuple(order[split:]))
            if self.best is not None and (not gained or not self.best.has_pressure or self.attempts <= 0):
                break
        self._pin_numbers()
        self._improve(optional)
        return self.best

    def _sweep(
        self, needed: tuple[Value, ...], optional: tuple[Value, ...], memory: tuple[Value, ...]
    ) -> bool:
        """Keeps as many optional values as fit, then fewer, until that stops helping."""
        failures, gained = 0, False
        most = min(len(optional), self.registers - len(needed))
        stride = max(1, most // max(1, self.attempts))
        for kept in range(most, -1, -stride):
            if self._try(_Kept(needed, optional[:kept], memory)):
                failures, gained = 0, True
            elif self.best is not None:
                failures += 1
            if failures >= _PATIENCE or (self.best is not None and self.attempts <= 0):
                break
        return gained

    def _pin_numbers(self) -> None:
        """Keeps numbers that pointers step down by in registers."""
        gained = True
        while gained and self.best is not None and self.best.wanted and self.attempts > 0:
            wanted = self.best.wanted
            pinned = (CONSTANT, max(wanted, key=lambda c: wanted[c]))
            needed, optional, memory = self.kept.needed, self.kept.optional, self.kept.memory
            if pinned in optional:
                break
            gained = self._try(_Kept(needed, (*optional, pinned), memory))
            if not gained and optional:
                gained = self._try(_Kept(needed, (*optional[:-1], pinned), memory))

    def _improve(self, optional: tuple[Value, ...]) -> None:
        """Adds, drops and exchanges single optional values while that helps."""
        gained = True
        while gained and self.best is not None and self.best.has_pressure and self.attempts > 0:
            kept = self.kept
            changes = _changes(kept.optional, optional)
            gained = any(self._try(_Kept(kept.needed, change, kept.memory)) for change in changes)

    def _try(self, kept: _Kept) -> bool:
        if len(kept.needed) + len(kept.optional) > self.registers or kept in self._tried:
            return False
        if self.best is not None and self.attempts <= 0:
            return False
        self.attempts -= 1
        self._tried.add(kept)
        plan = self.simulate(kept.needed + kept.optional, kept.memory)
        if plan is None or (self.best is not None and worth(plan, self.loop) >= worth(self.best, self.loop)):
            return False
        self.best, self.kept = plan, kept
        return True


def _changes(kept: tuple[Value, ...], optional: tuple[Value, ...]) -> list[tuple[Value, ...]]:
    """Sets of values that differ from `kept` in one or two."""
    others = [v for v in optional if v not in kept]
    added = [(*kept, v) for v in others]
    dropped = [tuple(v for v in kept if v != gone) for gone in kept]
    exchanged = [(*rest, v) for rest in dropped for v in others]
    return added + dropped + exchanged
