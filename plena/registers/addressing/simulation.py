"""One pass over a block with a given register file: the code for every node, by Belady's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from plena.registers.addressing.belady.future import lower_reads
from plena.registers.addressing.belady.passes import simulate
from plena.registers.addressing.belady.tables import (
    HELD,
    I64,
    INSTRUCTION_OR_LOOP,
    LOOP_MEMORY,
    MNEMONICS,
    VALUE,
    BlockTable,
    Flags,
    OutOfRegistersError,
    Records,
    Times,
)
from plena.registers.addressing.plan import BlockPlan, LoopPlan
from plena.registers.addressing.program import Block, Loop, Use
from plena.registers.addressing.reads import Reads
from plena.registers.addressing.values import CONSTANT, ClassTable, Value


@dataclass(frozen=True)
class Head:
    """The state at the beginning of every iteration: what the registers and memory slots hold, and what they must
    hold at the end of the iteration so that this is true of the next one."""

    registers: tuple[Value, ...] = ()
    memory: tuple[Value, ...] = ()
    next_registers: tuple[Value, ...] = ()
    next_memory: tuple[Value, ...] = ()


class Simulation:
    """Plans one block; `children` are the plans of its loops in order."""

    def __init__(self, block: Block, children: Sequence[LoopPlan], classes: ClassTable) -> None:
        self.block = block
        self.children = tuple(children)
        if block.reads is None:
            rows = _TableWriter(block, self.children, classes)
            self._local, self._table, times = rows.local, rows.table(), rows.reads()
        else:
            self._local, self._table, times = _in_columns(block.reads)
        self._first, self._time, self._constant, self._exact = times
        self._lower = lower_reads(self._first, self._constant)

    def run(self, capacity: int, head: Head) -> BlockPlan | None:
        """The cheapest plan in `capacity` registers, None if the block does not fit.

        With loops inside two are tried: a loop walks a pointer that is read again behind it, or a copy.
        """
        begin = self._values(head.registers + head.memory)
        closing = self._values(head.next_registers + head.next_memory)
        times = Times(
            self._first,
            self._time,
            self._constant,
            self._exact,
            self._lower,
            closing,
            len(head.registers),
            self.block.length,
        )
        best: BlockPlan | None = None
        for copies in range(2 if self.children else 1):
            try:
                log = simulate(times, self._table, begin, capacity, copies)
            except OutOfRegistersError:
                continue
            plan = BlockPlan(self.block, self.children, head.registers, head.memory, log)
            if best is None or plan.cost < best.cost:
                best = plan
        return best

    def _values(self, values: Sequence[Value]) -> Records:
        return np.array([(self._local[cls], constant) for cls, constant in values], HELD)


class _Node(NamedTuple):
    """A row of INSTRUCTION_OR_LOOP."""

    is_loop: bool
    first: int
    last: int
    cls: int = -1
    constant: int = 0
    mnemonic: int = -1
    first_memory: int = 0
    last_memory: int = 0
    width: int = 0
    tracks: int = 0


class _TableWriter:
    """Writes a block as a table, its classes numbered in their order from 0 = plain number."""

    def __init__(self, block: Block, children: Sequence[LoopPlan], classes: ClassTable) -> None:
        self.nodes: list[_Node] = []
        self.values: list[tuple[int, int, bool, bool, int]] = []
        self.memory: list[tuple[int, int, int]] = []
        self.times: list[tuple[int, int, int, bool]] = []
        self.loops = len(children)
        plans = iter(children)
        for time, node in enumerate(block.nodes):
            if isinstance(node, Use):
                self._use(node, time)
            else:
                self._loop(next(plans), time, classes)
        known = {cls for cls, *_ in self.times} | {node.cls for node in self.nodes if node.cls >= 0} | {0}
        self.local = {cls: place for place, cls in enumerate(sorted(known))}

    def _use(self, node: Use, time: int) -> None:
        first = len(self.values)
        for read in node.reads:
            cls, constant = read.value
            self.values.append((cls, constant, read.has_immediate, False, 0))
            self.times.append((cls, time, constant, not read.has_immediate))
        cls, constant = node.defines or (-1, 0)
        mnemonic = -1 if node.arithmetic is None else MNEMONICS.index(node.arithmetic)
        self.nodes.append(_Node(False, first, len(self.values), cls, constant, mnemonic))

    def _loop(self, plan: LoopPlan, time: int, classes: ClassTable) -> None:
        first, slot = len(self.values), len(self.memory)
        for entry in plan.entries(classes):
            cls, constant = entry.value
            self.values.append((cls, constant, False, entry.is_consumed, entry.after[1]))
            self.times.append((cls, time, constant, True))
        for place, (cls, constant) in plan.memory_entries(classes):
            self.memory.append((cls, constant, place))
            self.times.append((cls, time, constant, True))
        tracks = sum(1 << track for track in plan.body.tracks)
        memory = {"first_memory": slot, "last_memory": len(self.memory)}
        self.nodes.append(_Node(True, first, len(self.values), **memory, width=plan.width, tracks=tracks))

    def table(self) -> BlockTable:
        local = self.local
        nodes = [node._replace(cls=local[node.cls]) if node.cls >= 0 else node for node in self.nodes]
        return BlockTable(
            np.array(nodes, INSTRUCTION_OR_LOOP),
            np.array([(local[cls], *rest) for cls, *rest in self.values], VALUE),
            np.array([(local[cls], *rest) for cls, *rest in self.memory], LOOP_MEMORY),
            self.loops,
        )

    def reads(self) -> _Bounded:
        """What is read when."""
        table = np.array([(self.local[cls], *rest) for cls, *rest in self.times], np.int64)
        return _bounded(table.reshape(len(self.times), 4), len(self.local))


_Bounded: TypeAlias = tuple[I64, I64, I64, Flags]
"""Bounds of each class, then times, constants and whether exact, by class and time."""


def _bounded(table: I64, classes: int) -> _Bounded:
    """Reads as rows of class, time, constant and whether exact, in program order, with bounds."""
    table = table[np.argsort(table[:, 0], kind="stable")]
    first = np.searchsorted(table[:, 0], np.arange(classes + 1)).astype(np.int64)
    return first, table[:, 1].copy(), table[:, 2].copy(), table[:, 3] != 0


def _in_columns(reads: Reads) -> tuple[dict[int, int], BlockTable, _Bounded]:
    """The numbers of the classes, the table and the times of reads in columns."""
    known = sorted({*reads.cls.tolist(), CONSTANT})
    numbers = np.zeros(known[-1] + 1, np.int64)
    numbers[known] = np.arange(len(known))
    table = BlockTable(reads.nodes(), reads.values(numbers), np.zeros(0, LOOP_MEMORY), 0)
    times = reads.times
    times[:, 0] = numbers[times[:, 0]]
    return {cls: place for place, cls in enumerate(known)}, table, _bounded(times, len(known))


def next_value(value: Value, loop: Loop, classes: ClassTable) -> Value:
    """What a register must be set to at the end of an iteration to hold `value` in the next one."""
    return value[0], value[1] + classes.coefficient(value[0], loop.index)
