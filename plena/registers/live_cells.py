"""Which register cells are live where, in structured loops: sets are bit masks over numbered cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import ForOp
from plena.dialects.plena_isa import Instruction, Mode, PlenaRegister


@dataclass
class CellTable:
    """Numbers for the cells of a program; declarations of one machine register share a number."""

    cells: list[SSAValue] = field(default_factory=list[SSAValue])
    _numbers: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    _registers: dict[PlenaRegister, int] = field(default_factory=dict[PlenaRegister, int])
    _modes: dict[str, tuple[tuple[bool, bool], ...]] = field(
        default_factory=dict[str, tuple[tuple[bool, bool], ...]]
    )

    def number(self, cell: SSAValue) -> int:
        """The number of a cell, a new one at its first appearance."""
        known = self._numbers.get(cell)
        if known is None:
            known = self._numbers[cell] = self._new(cell)
        return known

    def _new(self, cell: SSAValue) -> int:
        register = cell.type
        assert isinstance(register, PlenaRegister)
        known = self._registers.get(register) if register.is_allocated else None
        if known is None:
            known = len(self.cells)
            self.cells.append(cell)
            if register.is_allocated:
                self._registers[register] = known
        return known

    def touched(self, op: Instruction) -> tuple[int, int]:
        """(cells it reads, cells it writes); the instruction is in the register form."""
        modes = self._modes.get(op.SPEC.mnemonic)
        if modes is None:
            slots = [s for s in op.SPEC.slots if s.is_register]
            modes = tuple((Mode.READ in s.mode, Mode.WRITE in s.mode) for s in slots)
            self._modes[op.SPEC.mnemonic] = modes
        reads = writes = 0
        for cell, (is_read, is_written) in zip(op.operands, modes, strict=True):
            bit = 1 << self.number(cell)
            if is_read:
                reads |= bit
            if is_written:
                writes |= bit
        return reads, writes


@dataclass(frozen=True)
class _Summary:
    """What a loop body does to live sets: reads before any write, and certain writes."""

    reads: int
    writes: int


@dataclass
class Interference:
    """Which cells may not share a register: bit masks of neighbours by cell number, and use counts.

    `weight` estimates dynamic reads and writes: ten per level of nesting.
    """

    table: CellTable = field(default_factory=CellTable)
    neighbours: dict[int, int] = field(default_factory=dict[int, int])
    weight: dict[int, float] = field(default_factory=dict[int, float])
    counters: set[int] = field(default_factory=set[int])


_LOOP_WEIGHT = 10.0


def interference_of(block: Block) -> Interference:
    """Builds the interference graph of the outermost block of a program.

    A cell read before it is written is live from the beginning (registers start at zero); in a loop it is live around
    the loop. A loop counter is live over its loop.
    """
    analysis = _Analysis()
    analysis.summarize(block)
    entry = analysis.walk(block, 0, 1.0)
    analysis.connect_all(entry)
    return analysis.graph


class _Analysis:
    def __init__(self) -> None:
        self.graph = Interference()
        self.summaries: dict[ForOp, _Summary] = {}
        self.touched: dict[Operation, tuple[int, int]] = {}

    def summarize(self, block: Block) -> _Summary:
        """Reads before writes and certain writes of a block; remembers those of its loops."""
        reads = writes = 0
        for op in block.ops:
            if isinstance(op, ForOp):
                inner = self.summarize(op.body.block)
                counter = self._counter(op)
                inner = _Summary(inner.reads & ~counter, inner.writes | counter)
                self.summaries[op] = inner
            elif isinstance(op, Instruction):
                touched = self.touched[op] = self.graph.table.touched(op)
                inner = _Summary(*touched)
            else:
                continue
            reads |= inner.reads & ~writes
            writes |= inner.writes
        return _Summary(reads, writes)

    def walk(self, block: Block, live: int, weight: float) -> int:
        """Goes through a block backwards; returns what is live at its beginning."""
        for op in reversed(block.ops):
            if isinstance(op, ForOp):
                live = self._loop(op, live, weight)
            elif isinstance(op, Instruction):
                reads, writes = self.touched[op]
                self._count(reads, weight)
                self._count(writes, weight)
                self._define(writes, live)
                live = (live & ~writes) | reads
        return live

    def _loop(self, loop: ForOp, live: int, weight: float) -> int:
        counter = self._counter(loop)
        around = live | self.summaries[loop].reads
        at_entry = self.walk(loop.body.block, around | counter, weight * _LOOP_WEIGHT)
        if loop.counter is not None:
            self.graph.counters.add(self.graph.table.number(loop.counter))
            self._count(counter, weight * _LOOP_WEIGHT)
            self._define(counter, at_entry | around)
        return (at_entry | (live & ~self.summaries[loop].writes)) & ~counter

    def _counter(self, loop: ForOp) -> int:
        return 0 if loop.counter is None else 1 << self.graph.table.number(loop.counter)

    def _count(self, cells: int, weight: float) -> None:
        for number in bits(cells):
            self.graph.weight[number] = self.graph.weight.get(number, 0.0) + weight

    def _define(self, writes: int, live: int) -> None:
        for number in bits(writes):
            others = (live | writes) & ~(1 << number)
            known = self.graph.neighbours.get(number, 0)
            if others & ~known:
                self.graph.neighbours[number] = known | others
                for other in bits(others & ~known):
                    self.graph.neighbours[other] = self.graph.neighbours.get(other, 0) | 1 << number

    def connect_all(self, cells: int) -> None:
        """Makes cells that are live together at the start neighbours."""
        for number in bits(cells):
            self._define(1 << number, cells)


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
