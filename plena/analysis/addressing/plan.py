"""What planning produces: code for every node of a block, and how a loop's registers enter and leave it."""

from __future__ import annotations

from dataclasses import dataclass

from plena.analysis.addressing.program import Loop
from plena.analysis.addressing.registers import Action
from plena.analysis.addressing.values import ClassTable, Value


@dataclass(frozen=True, slots=True)
class Binding:
    """An address slot reads a register, its immediate (if it has one) is `offset`."""

    slot: str
    track: int
    offset: int


@dataclass(frozen=True, slots=True)
class UseCode:
    """Actions before an instruction, the registers of its slots, and the register of its result."""

    actions: tuple[Action, ...]
    bindings: tuple[Binding, ...]
    result: int | None = None


@dataclass(frozen=True, slots=True)
class LoopCode:
    """Actions before a loop, its plan, and which register each of the plan's tracks is.

    `evicted`: values still needed behind the loop that had to leave their registers for it.
    """

    actions: tuple[Action, ...]
    plan: LoopPlan
    tracks: dict[int, int]
    counter: int
    evicted: int


Code = UseCode | LoopCode


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """Code for the nodes of a block and the actions at its end.

    `head`: what track i holds when the block begins, at its own index values. `tracks`: those it touches.
    `frame`: slots of INT SRAM that this block uses itself; `depth`: with its inner loops. `cost`: address
    instructions of one execution.
    """

    code: tuple[Code, ...]
    tail: tuple[Action, ...]
    head: tuple[Value, ...]
    memory_head: tuple[tuple[int, Value], ...]
    tracks: frozenset[int]
    frame: int
    depth: int
    cost: int
    has_pressure: bool
    wanted: dict[int, int]


@dataclass(frozen=True, eq=False)
class LoopPlan:
    """A loop with its body planned. `width`: registers it needs, its counter included."""

    loop: Loop
    body: BlockPlan
    width: int

    @property
    def cost(self) -> int:
        """Address instructions of all iterations."""
        return self.loop.trips * self.body.cost

    def entries(self, classes: ClassTable) -> list[Entry]:
        """What the registers must hold when the loop begins and will hold when it ends."""
        index, trips = self.loop.index, self.loop.trips
        return [
            Entry(track, classes.at(v, index, 0), classes.at(v, index, trips))
            for track, v in enumerate(self.body.head)
        ]

    def memory_entries(self, classes: ClassTable) -> list[tuple[int, Value]]:
        """What slots of the body's frame must hold when the loop begins."""
        return [(slot, classes.at(v, self.loop.index, 0)) for slot, v in self.body.memory_head]


@dataclass(frozen=True, slots=True)
class Entry:
    """A register that a loop begins with: its track in the loop's plan, its value before and after the loop."""

    track: int
    value: Value
    after: Value

    @property
    def is_consumed(self) -> bool:
        return self.value != self.after


def static_cost(plan: BlockPlan) -> int:
    """Address instructions in the program text, inner loops included."""
    total = len(plan.tail)
    for code in plan.code:
        total += len(code.actions)
        if isinstance(code, LoopCode):
            total += static_cost(code.plan.body)
    return total
