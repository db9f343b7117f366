"""Iterations of loops of vector work side by side: what one waits for, others hide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.plena_isa import FRegister, RegisterOp
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Memory, Unit
from plena.loops.cloning import Scope, replace
from plena.loops.effects import EffectTable
from plena.loops.expansion import expand, section
from plena.loops.scheduling.growth import Allowance, size
from plena.loops.scheduling.occupancy import Occupancy
from plena.loops.scheduling.ordering import Body, WorkOf, addresses_first, is_plain
from plena.loops.scheduling.privates import private_cells, private_rows, spread_cells, spread_rows
from plena.loops.scheduling.tiles import Room, untouched_part
from plena.machine.target import Target
from plena.timing.work import Clock

FACTORS = (8, 6, 5, 4, 3, 2)
"""How many iterations may stand side by side."""

LONGEST = 96
"""Instructions of a body, iterations side by side: orders are compared pair by pair."""

SHORTEST = 6
"""Instructions of a body that may have several iterations in it."""

WORTHWHILE = 0.05
"""The share of a loop's cycles that has to be gained."""


@dataclass(frozen=True)
class Interleaver:
    """Puts iterations side by side in one module.

    Args:
        spare_rows: whether rows of vector SRAM that the program leaves alone may be used.
    """

    module: ModuleOp
    target: Target
    work_of: WorkOf
    allowance: Allowance
    spare_rows: bool = True
    made: list[RegisterOp] = field(default_factory=list[RegisterOp], repr=False)

    @cached_property
    def occupancy(self) -> Occupancy:
        """Of the module as it was given."""
        return Occupancy(self.module)

    def run(self) -> None:
        """The loops that gain most for what they add, as far as the allowance reaches."""
        spare = self._spare()
        loops = list(self._loops(self.module.body.block.ops, 1))
        found = [gain for loop, times in loops for gain in self._gains(loop, times)]
        done: set[ForOp] = set()
        while chosen := _best_of(found, self.allowance):
            for gain in sorted(chosen, key=lambda g: -g.cycles):
                if self._apply(gain, spare):
                    done.add(gain.loop)
                    self.allowance.take(gain.added)
            # What was chosen in vain is left out, and what that leaves room for is looked for.
            found = [g for g in found if g.loop not in done and g not in chosen]
        for loop, _ in loops:
            # Loops that were expanded have several iterations in their body.
            straight = not any(isinstance(op, ForOp) for op in loop.operations)
            if loop not in done and straight and _expanded_size(loop) >= SHORTEST:
                self._apply(_Gain(loop, 1, 0, 0), spare)
        for op in self.made:
            if not op.cell.uses:
                op.detach()
                op.erase()

    def _loops(self, operations: Iterable[Operation], times: int) -> Iterator[tuple[ForOp, int]]:
        """The outermost loops whose body, loops in it expanded, is short and nothing but vector and scalar work, and
        how often they run."""
        for op in operations:
            if not isinstance(op, ForOp):
                continue
            if _is_work(op) and op.trips > 1 and _expanded_size(op) <= LONGEST:
                yield op, times
            else:
                yield from self._loops(op.operations, times * op.trips)

    def _gains(self, loop: ForOp, times: int) -> list[_Gain]:
        """What a loop would gain by each factor, where it is worth while; measured on a copy."""
        straight = _copied(loop)
        length = _expanded_size(loop)
        plain = Body(_instructions(straight), self.target, self.work_of)
        before = plain.cycles(range(length), straight.index) * loop.trips
        found: list[_Gain] = []
        cells = private_cells(straight, EffectTable(self.target))
        most = 1 + len(self.occupancy.free(loop, cells)) // len(cells) if cells else max(FACTORS)
        for factor in FACTORS:
            if loop.trips < 2 * factor or length * factor > LONGEST or factor > most:
                continue
            # Every instruction of all iterations, then the next one: what the order comes near to.
            after = _rounds(plain, length, factor, straight.index) * (loop.trips // factor)
            after += before // loop.trips * (loop.trips % factor)
            added = length * (factor + loop.trips % factor) - size(loop.operations)
            if before - after > WORTHWHILE * before:
                found.append(_Gain(loop, factor, (before - after) * times, added))
        straight.erase(safe_erase=False)
        return found

    def _apply(self, gain: _Gain, spare: Room) -> bool:
        """Puts the iterations side by side; False, and nothing has changed, if that takes as long."""
        loop, factor = gain.loop, gain.factor
        scope = Scope()
        trips, rest = divmod(loop.trips, factor)
        main = section(_expanded(loop), scope, 0, trips, factor)
        assert main is not None
        section(loop, scope, trips * factor, rest)
        block = loop.parent_block()
        assert block is not None
        block.insert_ops_before(scope.operations, loop)
        before = Body(_instructions(main), self.target, self.work_of)
        old = before.cycles(range(len(before.instructions)), main.index)
        self._separate(loop, main, factor, spare)
        body = Body(_instructions(main), self.target, self.work_of)
        order = body.best_order()
        if old - body.cycles(order, main.index) <= WORTHWHILE * old:
            for op in scope.operations:
                block.detach_op(op)
                op.erase(safe_erase=False)
            return False
        addresses_first(main.body.block, [body.instructions[n] for n in order])
        replace(loop, ())
        return True

    def _separate(self, loop: ForOp, main: ForOp, factor: int, spare: Room) -> None:
        """Gives iterations side by side cells and rows of their own."""
        table = EffectTable(self.target)
        instructions = _instructions(main)
        cells, rows = private_cells(main, table), private_rows(main, table)
        registers = self.occupancy.free(loop, cells)
        most = factor - 1 if factor > 1 else FACTORS[0] - 1
        count = min(len(registers) // max(len(cells), 1), most)
        for number, cell in enumerate(cells):
            own = registers[number * count : (number + 1) * count]
            spread_cells(instructions, cell, [self._cell(register) for register in own])
        vlen = self.target.vlen
        free = spare.size // vlen
        for number, row in enumerate(rows):
            beside = min(most, max(0, free // len(rows)))
            first = spare.start + number * beside * vlen
            spread_rows(instructions, row, [first + n * vlen for n in range(beside)])

    def _cell(self, register: FRegister) -> SSAValue:
        op = RegisterOp(register)
        block = self.module.body.block
        assert block.first_op is not None
        block.insert_op_before(op, block.first_op)
        self.made.append(op)
        return op.cell

    def _spare(self) -> Room:
        if not self.spare_rows:
            return Room(0, 0)
        vlen = self.target.vlen
        size_of_memory = self.target.vector_sram_size * vlen
        return untouched_part(self.module, EffectTable(self.target), Memory.VECTOR, size_of_memory, vlen)


@dataclass(frozen=True)
class _Gain:
    """What `factor` iterations of a loop side by side gain over a run, about, and the instructions that they add."""

    loop: ForOp
    factor: int
    cycles: int
    added: int


def _best_of(gains: Sequence[_Gain], allowance: Allowance) -> list[_Gain]:
    """At most one for every loop: always the next that adds least for what it gains over the one before it."""
    chosen: dict[ForOp, _Gain] = {}
    added = 0

    def more(gain: _Gain) -> tuple[int, int]:
        """What it gains, and adds, beyond what is chosen for its loop."""
        known = chosen.get(gain.loop)
        return (
            (gain.cycles, gain.added)
            if known is None
            else (gain.cycles - known.cycles, gain.added - known.added)
        )

    while True:
        better = [g for g in gains if more(g)[0] > 0 and allowance.would_take(added + more(g)[1])]
        if not better:
            return list(chosen.values())
        best = max(better, key=lambda g: more(g)[0] / max(1, more(g)[1]))
        added += more(best)[1]
        chosen[best.loop] = best


def _rounds(body: Body, length: int, factor: int, index: SSAValue) -> int:
    """Cycles of so many iterations, an instruction of all of them at a time, cells and rows their own."""
    clock, ends = Clock(), [0]
    for time in range(2):
        for n in range(length):
            for copy in range(factor):
                at = (time, copy)
                touched = tuple((name, at) for name in body.touched[n])
                written = tuple((name, at) for name in body.written[n])
                clock.takes(body.works[n], touched, written)
        ends.append(clock.now)
    return ends[-1] - ends[-2]


def _is_work(loop: ForOp) -> bool:
    return all(_is_part(op) for op in loop.operations)


def _is_part(op: Operation) -> bool:
    if isinstance(op, ForOp):
        return _is_work(op)
    if isinstance(op, Instruction):
        is_masked = "mask" in op.SPEC.by_name and op.number("mask")
        beside = op.SPEC.unit in (Unit.VECTOR, Unit.SCALAR) and op.SPEC.touches is not None
        return beside and not is_masked and is_plain(op)
    return isinstance(op, AffineOp)


def _expanded_size(op: ForOp) -> int:
    """Instructions of an iteration with the loops in it expanded."""
    return sum(
        inner.trips * _expanded_size(inner) if isinstance(inner, ForOp) else isinstance(inner, Instruction)
        for inner in op.operations
    )


def _instructions(loop: ForOp) -> list[Instruction]:
    return [op for op in loop.operations if isinstance(op, Instruction)]


def _copied(loop: ForOp) -> ForOp:
    """A copy of a loop in no block, the loops in it expanded."""
    scope = Scope()
    copy = section(loop, scope, 0, loop.trips)
    assert copy is not None
    return _expanded(copy)


def _expanded(loop: ForOp) -> ForOp:
    """The loop with those in it expanded, in place."""
    for inner in [op for op in loop.operations if isinstance(op, ForOp)]:
        _expanded(inner)
        expand(inner)
    return loop
