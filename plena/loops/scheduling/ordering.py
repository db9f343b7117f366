"""A straight body in the order in which its instructions wait least, as far as effects allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import InstructionSpec, Memory
from plena.loops.dependence import conflicting
from plena.loops.effects import EffectTable, touches_in_order
from plena.machine.target import Target
from plena.timing.work import Clock, Work

WorkOf = Callable[[InstructionSpec, Target], Work]

Names = tuple[object, ...]
"""Cells and rows by name: rows at equal addresses have equal names."""

_WATCHED = (Memory.VECTOR,)
"""Memories whose reads wait for results that are under way."""


class Body:
    """The instructions of a straight loop body, with what each takes and touches."""

    def __init__(self, instructions: Sequence[Instruction], target: Target, work_of: WorkOf) -> None:
        self.instructions, self.target = list(instructions), target
        self.works = [work_of(op.SPEC, target) for op in self.instructions]
        self.touched, self.written = self._names()

    def _names(self) -> tuple[list[Names], list[Names]]:
        touched: list[Names] = []
        written: list[Names] = []
        for op in self.instructions:
            every: list[object] = []
            results: list[object] = []
            for effect in touches_in_order(op, self.target):
                is_cell = not isinstance(effect.resource, Memory)
                if not is_cell and effect.resource not in _WATCHED:
                    continue
                name: object = effect.resource if is_cell else (effect.resource, effect.base)
                every.append(name)
                if effect.writes:
                    results.append(name)
            touched.append(tuple(every))
            written.append(tuple(results))
        return touched, written

    def cycles(self, order: Sequence[int], index: SSAValue | None, times: int = 2) -> int:
        """About what an iteration takes in an order, once the one before it is under way.

        Args:
            index: of the loop: rows whose address hangs on it are others in every iteration.
        """
        clock, ends = Clock(), [0]
        for time in range(times):
            for n in order:
                touched = tuple(_of_time(name, index, time) for name in self.touched[n])
                written = tuple(_of_time(name, index, time) for name in self.written[n])
                clock.takes(self.works[n], touched, written)
            ends.append(clock.now)
        return ends[-1] - ends[-2]

    def best_order(self) -> list[int]:
        """An order in which every two instructions that may conflict stand as they stood."""
        before = self._before()
        after: list[list[int]] = [[] for _ in before]
        for n, earlier in enumerate(before):
            for e in earlier:
                after[e].append(n)
        heights = [0] * len(before)
        for n in reversed(range(len(before))):
            heights[n] = self.works[n].ready + max((heights[a] for a in after[n]), default=0)
        waiting = [len(earlier) for earlier in before]
        free = [n for n, count in enumerate(waiting) if not count]
        clock, order = Clock(), list[int]()
        while free:
            n = min(free, key=lambda m: (clock.accepts(self.works[m], self.touched[m]), -heights[m], m))
            clock.takes(self.works[n], self.touched[n], self.written[n])
            order.append(n)
            free.remove(n)
            for a in after[n]:
                waiting[a] -= 1
                if not waiting[a]:
                    free.append(a)
        return order

    def _before(self) -> list[list[int]]:
        """For every instruction those before it that must stay before it."""
        table = EffectTable(self.target)
        effects = [table.of(op) for op in self.instructions]
        return [
            [m for m in range(n) if conflicting(effects[m], effects[n])]
            for n in range(len(self.instructions))
        ]


def _of_time(name: object, index: SSAValue | None, time: int) -> object:
    """A name in one of several iterations."""
    if not isinstance(name, tuple) or index is None:
        return name
    base: object = name[1]  # pyright: ignore[reportUnknownVariableType]
    return (name, time) if isinstance(base, Linear) and base.coefficient(index) else name


def addresses_first(block: Block, order: Sequence[Instruction]) -> None:
    """Puts the instructions of a straight block in an order, behind its address arithmetic."""
    last = block.last_op
    assert last is not None
    for op in order:
        block.detach_op(op)
        block.insert_op_before(op, last)


def is_plain(op: Instruction) -> bool:
    """Whether it gives no number to later addresses, and sets no state."""
    return not op.results and all(
        isinstance(value.type, IndexType) or slot.is_register for slot, value in op.named_operands()
    )


__all__ = ["Body", "WorkOf", "addresses_first", "is_plain"]
