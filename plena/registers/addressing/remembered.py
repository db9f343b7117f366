"""Plans of programs for programs of the same structure, whatever modules they come from."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from plena.registers.addressing.belady.tables import Log
from plena.registers.addressing.plan import BlockPlan, LoopPlan
from plena.registers.addressing.program import Block, Loop, Node, Program
from plena.registers.addressing.values import Value

MOST_PLACES = 1 << 8
"""Programs whose plans are remembered, the last ones: a search asks for a few, some of them again."""

_Class: TypeAlias = tuple[tuple[int, int], ...]
"""A class as (number of its variable, coefficient)."""


@dataclass(frozen=True)
class _Remembered:
    """A block's plan without the block, values with their variables numbered; `width` is that of its loop."""

    head: tuple[tuple[_Class, int], ...]
    memory_head: tuple[tuple[_Class, int], ...]
    log: Log
    children: tuple[_Remembered, ...]
    width: int


class Place:
    """Where the plan of a program in some registers is kept for every program of its structure.

    The structure is all that planning looks at: trip counts, what is read and defined in which order, each class by
    its coefficients, each constant as it is. Indices and symbols are numbered as they are met.
    """

    def __init__(self, program: Program, registers: int) -> None:
        self._program = program
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, _Class] = {}
        self._kept = _place_of(self._block(program.block), registers)

    def plan(self) -> BlockPlan | None:
        """The plan for this program, None if no plan of such a program was kept."""
        return self._restored(self._kept[0], self._program.block, list(self._numbers)) if self._kept else None

    def keep(self, plan: BlockPlan) -> None:
        """Keeps the plan that was found for this program."""
        self._kept.append(self._remembered(plan, 0))

    def _block(self, block: Block) -> Hashable:
        nodes = tuple(self._node(node) for node in block.nodes)
        return nodes, tuple(self._value(value) for value in block.exposed.items())

    def _node(self, node: Node) -> Hashable:
        if isinstance(node, Loop):
            self._numbers.setdefault(node.index, len(self._numbers))
            return node.trips, self._block(node.body)
        reads = tuple((*self._value(read.value), read.has_immediate) for read in node.reads)
        return reads, node.defines and self._value(node.defines), node.arithmetic

    def _value(self, value: Value) -> tuple[_Class, int]:
        cls, constant = value
        known = self._known.get(cls)
        if known is None:
            numbers = self._numbers
            terms = self._program.classes.terms(cls)
            known = tuple(sorted((numbers.setdefault(variable, len(numbers)), c) for variable, c in terms))
            self._known[cls] = known
        return known, constant

    def _remembered(self, plan: BlockPlan, width: int) -> _Remembered:
        return _Remembered(
            tuple(self._value(value) for value in plan.head),
            tuple(self._value(value) for value in plan.memory_head),
            plan.log,
            tuple(self._remembered(child.body, child.width) for child in plan.children),
            width,
        )

    def _restored(self, kept: _Remembered, block: Block, variables: Sequence[Hashable]) -> BlockPlan:
        def values(numbered: tuple[tuple[_Class, int], ...]) -> tuple[Value, ...]:
            return tuple(
                (self._program.classes.of((variables[number], c) for number, c in terms), constant)
                for terms, constant in numbered
            )

        children = tuple(
            LoopPlan(loop, self._restored(child, loop.body, variables), child.width)
            for child, loop in zip(kept.children, block.loops(), strict=True)
        )
        return BlockPlan(block, children, values(kept.head), values(kept.memory_head), kept.log)


@lru_cache(maxsize=MOST_PLACES)
def _place_of(structure: Hashable, registers: int) -> list[_Remembered]:
    """Where a plan is kept: empty at first."""
    return []
