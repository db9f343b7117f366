"""One pass over a block with a given register file: the code for every node, by Belady's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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

    def __init__(self, block: Block, children: Sequence[LoopPlan], rows: RowsOfNodes) -> None:
        self.block = block
        self.children = tuple(children)
        if block.reads is None:
            self._local, self._table, times = _joined(rows.of(block, children), len(self.children))
        else:
            self._local, self._table, times = _in_columns(block.reads)
        self._times = times
        self._lower = lower_reads(times.first, times.constant)

    def run(self, capacity: int, head: Head) -> BlockPlan | None:
        """The cheapest plan in `capacity` registers, None if the block does not fit.

        With loops inside two are tried: a loop walks a pointer that is read again behind it, or a copy.
        """
        begin = self._values(head.registers + head.memory)
        closing = self._values(head.next_registers + head.next_memory)
        reads = self._times
        times = Times(
            reads.first,
            reads.time,
            reads.constant,
            self._lower,
            reads.exact_first,
            reads.exact_constant,
            reads.exact_time,
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


class _Rows(NamedTuple):
    """What a node adds to the table of its block, classes with the numbers of the program.

    Attributes:
        node: is_loop, class, constant, mnemonic, width and tracks of its row of INSTRUCTION_OR_LOOP.
        values: `[v, 5]`, columns of VALUE; memory: `[m, 3]`, those of LOOP_MEMORY.
        reads: `[v + m, 3]` class, constant, whether exact.
    """

    node: tuple[int, int, int, int, int, int]
    values: I64
    memory: I64
    reads: I64


class RowsOfNodes:
    """The rows of instructions and of planned loops, which many tables of a planner share."""

    def __init__(self, classes: ClassTable) -> None:
        self._classes = classes
        self._uses: dict[Block, tuple[_Rows | None, ...]] = {}
        self._loops: dict[LoopPlan, _Rows] = {}

    def of(self, block: Block, children: Sequence[LoopPlan]) -> list[_Rows]:
        """Of the nodes of a block whose loops have these plans, in order."""
        uses = self._uses.get(block)
        if uses is None:
            uses = self._uses[block] = tuple(
                _rows_of_use(node) if isinstance(node, Use) else None for node in block.nodes
            )
        plans = iter(children)
        return [self._of_loop(next(plans)) if rows is None else rows for rows in uses]

    def _of_loop(self, plan: LoopPlan) -> _Rows:
        rows = self._loops.get(plan)
        if rows is None:
            rows = self._loops[plan] = _rows_of_loop(plan, self._classes)
        return rows


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> I64:
    return np.array(rows, np.int64).reshape(len(rows), width)


def _rows_of_use(node: Use) -> _Rows:
    values = [(*read.value, read.has_immediate, 0, 0) for read in node.reads]
    reads = [(*read.value, not read.has_immediate) for read in node.reads]
    cls, constant = node.defines or (-1, 0)
    mnemonic = -1 if node.arithmetic is None else MNEMONICS.index(node.arithmetic)
    row = (0, cls, constant, mnemonic, 0, 0)
    return _Rows(row, _columns(values, 5), _columns([], 3), _columns(reads, 3))


def _rows_of_loop(plan: LoopPlan, classes: ClassTable) -> _Rows:
    entries, kept = plan.entries(classes), plan.memory_entries(classes)
    values = [(*entry.value, 0, entry.is_consumed, entry.after[1]) for entry in entries]
    memory = [(*value, slot) for slot, value in kept]
    reads = [(*value, 1) for value in (*(entry.value for entry in entries), *(value for _, value in kept))]
    row = (1, -1, 0, -1, plan.width, sum(1 << track for track in plan.body.tracks))
    return _Rows(row, _columns(values, 5), _columns(memory, 3), _columns(reads, 3))


def _bounds(lengths: Sequence[int]) -> tuple[I64, I64]:
    """Where parts of these lengths begin and end, one behind the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - np.array(lengths, np.int64), ends


_NODE_COLUMNS = ("is_loop", "cls", "constant", "mnemonic", "width", "tracks")


def _joined(rows: Sequence[_Rows], loops: int) -> tuple[dict[int, int], BlockTable, _Bounded]:
    """The numbers of the classes in their order, from 0 = plain number on, the table of a block and its reads."""
    nodes = _columns([row.node for row in rows], 6)
    values, memory, reads = (
        np.concatenate([_columns([], width), *parts])
        for width, parts in (
            (5, [row.values for row in rows]),
            (3, [row.memory for row in rows]),
            (3, [row.reads for row in rows]),
        )
    )
    known = np.unique(np.concatenate([[CONSTANT], nodes[:, 1], reads[:, 0]]))
    known = known[known >= 0]
    for table in (values, memory, reads):
        table[:, 0] = np.searchsorted(known, table[:, 0])
    nodes[:, 1] = np.where(nodes[:, 1] < 0, -1, np.searchsorted(known, nodes[:, 1]))
    table = np.zeros(len(rows), INSTRUCTION_OR_LOOP)
    for name, column in zip(_NODE_COLUMNS, nodes.T, strict=True):
        table[name] = column
    table["first"], table["last"] = _bounds([len(row.values) for row in rows])
    table["first_memory"], table["last_memory"] = _bounds([len(row.memory) for row in rows])
    times = np.repeat(np.arange(len(rows)), [len(row.reads) for row in rows])
    timed = np.stack([reads[:, 0], times, reads[:, 1], reads[:, 2]], axis=1)
    block = BlockTable(
        table,
        np.ascontiguousarray(values).view(VALUE).reshape(-1),
        np.ascontiguousarray(memory).view(LOOP_MEMORY).reshape(-1),
        loops,
    )
    return {cls: place for place, cls in enumerate(known.tolist())}, block, _bounded(timed, len(known))


class _Bounded(NamedTuple):
    """Reads by class, as `Times` has them."""

    first: I64
    time: I64
    constant: I64
    exact_first: I64
    exact_constant: I64
    exact_time: I64


def _bounded(table: I64, classes: int) -> _Bounded:
    """Reads as rows of class, time, constant and whether exact, in program order, with bounds."""
    bounds = np.arange(classes + 1)
    table = table[np.argsort(table[:, 0], kind="stable")]
    exact = table[table[:, 3] != 0]
    exact = exact[np.lexsort((exact[:, 2], exact[:, 0]))]
    return _Bounded(
        np.searchsorted(table[:, 0], bounds).astype(np.int64),
        table[:, 1].copy(),
        table[:, 2].copy(),
        np.searchsorted(exact[:, 0], bounds).astype(np.int64),
        exact[:, 2].copy(),
        exact[:, 1].copy(),
    )


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
