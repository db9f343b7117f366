"""The loop tree of a module as numbers: cycles of instructions, addresses as linear expressions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp
from xdsl.ir import Block, Operation

from plena.dialects.loop import ForOp
from plena.dialects.loop.linear import Expression
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.sizes import NO_FIELDS
from plena.dialects.provenance import LENGTH_ATTRIBUTE
from plena.loops.effects import is_free
from plena.loops.selection.code import Code, Terms, joined
from plena.machine.target import Target
from plena.timing.dma_model import PICOSECONDS, transfer_picoseconds
from plena.timing.profile import Profile

COUNTED = 512
"""As so many tiles very long operands count."""

DIVISOR = 64
"""Numbers of tiles that it divides have one schedule."""

GROUPED = 16
"""Tiles that are added up at a time."""

UNBOUNDED = 1 << 20
"""Instructions of a loop over a very long operand, expanded: more than anybody takes."""


class Address(Expression[Hashable]):
    """An address operand over hashable keys of loops; `has_immediate`: the instruction adds a number to it."""

    __slots__ = ("has_immediate",)

    def __init__(self, constant: int, terms: Terms, has_immediate: bool) -> None:
        super().__init__(constant, terms)
        self.has_immediate = has_immediate

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Address) and self.has_immediate == other.has_immediate and super().__eq__(other)
        )

    __hash__ = Expression[Hashable].__hash__


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its cycles and its address operands."""

    cycles: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Straight:
    """Straight code: its first instructions, how many there are, and the cycles of all without address updates."""

    code: Code
    length: int
    cycles: int

    @staticmethod
    def of(steps: Sequence[Step]) -> Straight:
        return Straight(code_of(steps), len(steps), sum(step.cycles for step in steps))


def code_of(steps: Sequence[Step]) -> Code:
    """Instructions in columns."""
    numbers: dict[frozenset[tuple[Hashable, int]], int] = {}
    parts: list[Terms] = []
    rows: list[tuple[int, int, int, bool]] = []
    for place, step in enumerate(steps):
        for address in step.addresses:
            number = numbers.setdefault(address.variable_part, len(parts))
            if number == len(parts):
                parts.append(address.terms)
            rows.append((place, number, address.constant, address.has_immediate))
    table = np.array(rows, np.int64).reshape(len(rows), 4)
    place, part, constant, flag = (np.ascontiguousarray(column) for column in table.T)
    return Code(len(steps), place, part, constant, flag != 0, tuple(parts))


@dataclass(frozen=True, eq=False)
class Stretch:
    """Instructions without loops between them."""

    steps: tuple[Step, ...]

    @cached_property
    def straight(self) -> Straight:
        """The same in columns."""
        return Straight.of(self.steps)


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop: `number` is its pre-order position, `index` the key that its addresses use, `op` where it comes from.

    One over a very long operand is counted as one over COUNTED tiles, whatever their number: `unit` then is what
    divides its trips in any case, 0 in other loops. It stays a loop.
    """

    number: int
    trips: int
    index: Hashable
    parts: tuple[Part, ...]
    op: ForOp | None = None
    unit: int = 0

    @property
    def loops(self) -> list[Loop]:
        """The loops directly inside."""
        return [part for part in self.parts if isinstance(part, Loop)]

    @property
    def true_trips(self) -> int:
        """As many as it runs."""
        return self.trips if self.op is None else self.op.trips

    @property
    def factors(self) -> list[int]:
        """Unroll factors that are considered."""
        return factors(self.trips) if not self.unit else [n for n in factors(self.unit) if self.unit % n == 0]

    @property
    def inner(self) -> Loop | None:
        """The loop that is the whole body, None if there is more or less than that."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Loop) else None

    def walk(self) -> Iterator[Loop]:
        """This loop and all inside it, in pre-order."""
        yield self
        for loop in self.loops:
            yield from loop.walk()

    def expanded_length(self) -> int:
        """Instructions of one iteration with all loops inside expanded."""
        return sum(
            len(p.steps) if isinstance(p, Stretch) else UNBOUNDED if p.unit else p.trips * p.expanded_length()
            for p in self.parts
        )


Part: TypeAlias = Stretch | Loop


def flat(parts: Sequence[Part], most: int) -> Code:
    """The first `most` instructions of a sequence with all loops expanded."""
    codes: list[Code] = []
    left = most
    for part in parts:
        if left <= 0:
            break
        if isinstance(part, Stretch):
            code = part.straight.code.first(left)
        else:
            code = flat(part.parts, left).copies(part.index, part.trips, left)
        codes.append(code)
        left -= code.length
    return joined(codes)


def flat_cycles(parts: Sequence[Part]) -> int:
    """Cycles of one execution with all loops expanded, those of address instructions apart."""
    total = 0
    for part in parts:
        if isinstance(part, Stretch):
            total += part.straight.cycles
        else:
            total += part.trips * flat_cycles(part.parts)
    return total


def tree_of(
    module: ModuleOp, target: Target, profile: Profile, *, any_length: bool = False
) -> tuple[Part, ...]:
    """The loop tree of a module in the affine form, cycles by one timing profile.

    Args:
        any_length: count loops over very long operands as `Loop` says.
    """
    return _LoopTreeReader(target, profile, any_length).parts(module.body.block)


def length_of(loop: ForOp) -> tuple[int, int] | None:
    """What a loop over a very long operand counts as, and what divides its trips; None for other loops.

    Those are the loops over its tiles, and over groups of GROUPED tiles but for the first.
    """
    tiles = loop.attributes.get(LENGTH_ATTRIBUTE)
    if not isinstance(tiles, IntegerAttr) or tiles.value.data % DIVISOR:
        return None
    if loop.trips == tiles.value.data:
        return COUNTED, DIVISOR
    if loop.trips == tiles.value.data // GROUPED - 1:
        return COUNTED // GROUPED - 1, 1
    return None


def has_any_length(module: ModuleOp) -> bool:
    """Whether a module in the affine form has a loop over a very long operand."""
    return any(isinstance(op, ForOp) and length_of(op) is not None for op in module.walk())


def factors(trips: int) -> list[int]:
    """Unroll factors that are considered: all divisors, and small powers of two where there are few."""
    divisors = [n for n in range(1, trips + 1) if trips % n == 0]
    if len(divisors) < 4:
        divisors = sorted({*divisors, *(n for n in (2, 4, 8) if 2 * n <= trips)})
    return divisors


class _LoopTreeReader:
    def __init__(self, target: Target, profile: Profile, any_length: bool) -> None:
        self.target = target
        self.profile = profile
        self.any_length = any_length
        self.loops = 0

    def parts(self, block: Block) -> tuple[Part, ...]:
        parts: list[Part] = []
        steps: list[Step] = []
        for op in block.ops:
            if isinstance(op, Instruction):
                steps.append(self._step(op))
            elif isinstance(op, ForOp):
                if steps:
                    parts.append(Stretch(tuple(steps)))
                    steps = []
                number, self.loops = self.loops, self.loops + 1
                counted = length_of(op) if self.any_length else None
                trips, unit = counted or (op.trips, 0)
                parts.append(Loop(number, trips, op.index, self.parts(op.body.block), op, unit))
        if steps:
            parts.append(Stretch(tuple(steps)))
        return tuple(parts)

    def _step(self, op: Instruction) -> Step:
        addresses: list[Address] = []
        for slot, value in op.named_operands():
            if isinstance(value.type, IndexType) and slot.name not in op.SPEC.sticky:
                expression = op.address(slot.name)
                has_immediate = op.SPEC.immediate_for(slot.name) is not None
                addresses.append(Address(expression.constant, expression.terms, has_immediate))
        cycles = instruction_cycles(op, self.target, self.profile)
        if self.profile.overlaps:
            cycles += transfer_cycles(op, self.target)
        return Step(cycles, tuple(addresses))


def transfer_cycles(op: Instruction, target: Target) -> int:
    """About what a transfer takes, by the target's model of HBM; 0 for other instructions."""
    if op.SPEC.transfer is None:
        return 0
    flags = (op.number("precision"), op.number("rstride"))
    return transfer_picoseconds(op.SPEC.mnemonic, *flags, None, target) // PICOSECONDS


def instruction_cycles(op: Operation, target: Target, profile: Profile) -> int:
    """Cycles of one execution of an instruction under a timing profile."""
    assert isinstance(op, Instruction)
    fields = NO_FIELDS if op.SPEC.work is None else {s.name: op.number(s.name) for s in op.SPEC.flags}
    return profile.cycles(op.SPEC, target, rd=0 if is_free(op) else 1, fields=fields)
