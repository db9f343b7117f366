"""What planning produces: code for every node of a block, and how a loop's registers enter and leave it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from plena.registers.addressing.belady.tables import MNEMONICS, ZERO, Log
from plena.registers.addressing.program import Block, Loop, Use
from plena.registers.addressing.values import ClassTable, Value


class Action(NamedTuple):
    """One scalar instruction on tracks (registers of a plan). `imm` of a load or store is a slot of INT SRAM:
    in the plan's own frame, or in the frame of the loop that follows when `b` is 1."""

    mnemonic: str
    dst: int
    a: int = ZERO
    b: int = ZERO
    imm: int = 0


@dataclass(frozen=True, slots=True)
class Binding:
    """An address slot reads a register, its immediate (if it has one) is `offset`."""

    slot: str
    track: int
    offset: int


@dataclass(frozen=True, slots=True)
class UseActions:
    """Actions before an instruction, the registers of its slots, and the register of its result."""

    actions: tuple[Action, ...]
    bindings: tuple[Binding, ...]
    result: int | None = None


@dataclass(frozen=True, slots=True)
class LoopActions:
    """Actions before a loop, its plan, and which register each of the plan's tracks is."""

    actions: tuple[Action, ...]
    plan: LoopPlan
    tracks: dict[int, int]
    counter: int


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """A block with what one pass over it did; `children` are the plans of its loops.

    `head`, `memory_head`: what track or memory slot i holds when the block begins, at its own index values.
    """

    block: Block
    children: tuple[LoopPlan, ...]
    head: tuple[Value, ...]
    memory_head: tuple[Value, ...]
    log: Log

    @cached_property
    def cost(self) -> int:
        """Address instructions of one execution."""
        return len(self.log.actions) + sum(plan.cost for plan in self.children)

    @cached_property
    def static(self) -> int:
        """Address instructions in the program text, inner loops included."""
        return len(self.log.actions) + sum(plan.body.static for plan in self.children)

    @cached_property
    def tracks(self) -> frozenset[int]:
        """The tracks that the block touches."""
        return frozenset(self.log.touched.nonzero()[0].tolist())

    @property
    def frame(self) -> int:
        """Slots of INT SRAM that the block uses itself."""
        return self.log.slots

    @cached_property
    def depth(self) -> int:
        """Slots of INT SRAM with those of the inner loops."""
        return self.frame + max((plan.body.depth for plan in self.children), default=0)

    @property
    def has_pressure(self) -> bool:
        """Whether a value that is needed again had to leave its register."""
        return self.log.pressure

    @property
    def wanted(self) -> dict[int, int]:
        """Numbers that were built to step a pointer, and how often."""
        return Counter(self.log.wanted.tolist())

    def evicted(self, loop: int) -> int:
        """Values still needed behind one of the loops that had to leave their registers for it."""
        return int(self.log.evicted[loop])

    @cached_property
    def code(self) -> tuple[UseActions | LoopActions, ...]:
        """Code for every node, in order."""
        log, actions = self.log, self._actions
        ends: list[int] = log.ends.tolist()
        bindings: list[tuple[int, int]] = log.bindings.tolist()
        code: list[UseActions | LoopActions] = []
        begin = value = loop = 0
        for place, node in enumerate(self.block.nodes):
            before = actions[begin : ends[place]]
            begin = ends[place]
            if isinstance(node, Use):
                bound = bindings[value : value + len(node.reads)]
                slots = tuple(Binding(r.slot, *b) for r, b in zip(node.reads, bound, strict=True))
                result = None if node.defines is None else int(log.results[place])
                code.append(UseActions(before, slots, result))
                value += len(node.reads)
            else:
                plan = self.children[loop]
                tracks: list[int] = log.tracks[loop].tolist()
                inner = {track: outer for track, outer in enumerate(tracks[:-1]) if outer >= 0}
                code.append(LoopActions(before, plan, inner, tracks[-1]))
                value += len(plan.body.head)
                loop += 1
        return tuple(code)

    @property
    def tail(self) -> tuple[Action, ...]:
        """The actions at the end of the block."""
        ends = self.log.ends
        return self._actions[int(ends[-1]) if len(ends) else 0 :]

    @cached_property
    def _actions(self) -> tuple[Action, ...]:
        rows: list[tuple[int, int, int, int, int]] = self.log.actions.tolist()
        return tuple(Action(MNEMONICS[mnemonic], *rest) for mnemonic, *rest in rows)


@dataclass(eq=False)
class LoopPlan:
    """A loop with its body planned. `width`: registers it needs, its counter included."""

    loop: Loop
    body: BlockPlan
    width: int
    _entries: list[Entry] | None = field(default=None, init=False, repr=False)

    @property
    def cost(self) -> int:
        """Address instructions of all iterations."""
        return self.loop.trips * self.body.cost

    def entries(self, classes: ClassTable) -> list[Entry]:
        """What the registers must hold when the loop begins and will hold when it ends; classes are of one table."""
        if self._entries is None:
            index, trips = self.loop.index, self.loop.trips
            self._entries = [
                Entry(track, classes.at(v, index, 0), classes.at(v, index, trips))
                for track, v in enumerate(self.body.head)
            ]
        return self._entries

    def memory_entries(self, classes: ClassTable) -> list[tuple[int, Value]]:
        """What slots of the body's frame must hold when the loop begins."""
        return [(slot, classes.at(v, self.loop.index, 0)) for slot, v in enumerate(self.body.memory_head)]


@dataclass(frozen=True, slots=True)
class Entry:
    """A register that a loop begins with: its track in the loop's plan, its value before and after the loop."""

    track: int
    value: Value
    after: Value

    @property
    def is_consumed(self) -> bool:
        return self.value != self.after
