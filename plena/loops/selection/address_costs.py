"""What addresses cost in a loop nest after strength reduction: a rule of thumb, and the real planner."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from plena.loops.selection.code import Code, Terms
from plena.loops.selection.tree import Straight
from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT
from plena.registers.addressing.planner import Planner
from plena.registers.addressing.program import Loop as PlannedLoop
from plena.registers.addressing.program import block_of, make_block
from plena.registers.addressing.reads import Reads
from plena.registers.addressing.values import CONSTANT, ClassTable, Value

MEASURED = 160
"""Instructions of a body whose addresses are planned for an estimate."""


@dataclass(frozen=True, slots=True)
class Nest:
    """A perfect nest around straight code: loops outermost first as (index, trips), then at least its first `MEASURED`
    instructions.

    `registers` may be used in it, its loop counters among them. `around` is the index of the loop that the nest is
    executed in while its pointers stay in registers; None: it is entered with none of them.
    """

    loops: tuple[tuple[Hashable, int], ...]
    code: Straight
    registers: int
    around: Hashable = None


@dataclass(frozen=True, slots=True)
class AddressInstructions:
    """Address instructions of a nest: in its text, over one execution, and to enter it once more."""

    static: int
    dynamic: int
    entry: int


class AddressCost(Protocol):
    """Estimates the address instructions of a nest; None when it cannot be lowered (too few registers)."""

    def nest(self, nest: Nest) -> AddressInstructions | None: ...


Pointer = tuple[Terms, int]


@dataclass(frozen=True)
class CountedUpdates:
    """The rule of thumb: one update per iteration for every pointer that varies with the innermost loop.

    Invariant pointers are pinned for nothing while registers last, and cost one update per iteration beyond. Reads
    with an immediate share a pointer within its reach. Outside the innermost loop a pointer costs one update per
    iteration of each loop at whose end it is not where the next iteration begins.
    """

    def nest(self, nest: Nest) -> AddressInstructions | None:
        if nest.registers <= len(nest.loops):
            return None
        pointers = _pointers(nest.code.code)
        if not nest.loops:
            return AddressInstructions(len(pointers), len(pointers), 0)
        index, trips = nest.loops[-1]
        varying = [p for p in pointers if _coefficient(p, index)]
        walked = {terms for terms, _ in varying}
        pinned = [p for p in pointers if not _coefficient(p, index)]
        room = max(0, nest.registers - len(nest.loops) - len(walked))
        updates = len(varying) + max(0, len(pinned) - room)
        static, dynamic = updates, updates * trips
        carried: list[tuple[Pointer, int]] = [
            ((terms, 0), _coefficient((terms, 0), index) * trips) for terms in walked
        ]
        carried += [(p, 0) for p in pinned[:room]]
        for outer, outer_trips in reversed(nest.loops[:-1]):
            moved, carried = _moves(carried, outer, outer_trips)
            static += moved
            dynamic = dynamic * outer_trips + moved * outer_trips
        entry = len(carried) if nest.around is None else _moves(carried, nest.around, 1)[0]
        return AddressInstructions(static, dynamic, entry)


def _pointers(code: Code) -> list[Pointer]:
    """The distinct register values that the instructions need, plain zero and small immediates left out."""
    exact: dict[int, set[int]] = {}
    offset: dict[int, set[int]] = {}
    columns = np.unique(np.stack([code.part, code.constant, code.has_immediate]), axis=1)
    for part, constant, has_immediate in columns.T.tolist():
        if has_immediate:
            offset.setdefault(part, set()).add(constant)
        elif code.parts[part] or constant:
            exact.setdefault(part, set()).add(constant)
    pointers = dict.fromkeys((part, constant) for part, constants in exact.items() for constant in constants)
    for part, constants in offset.items():
        bases = sorted(exact.get(part, set()) | (set() if code.parts[part] else {0}))
        for constant in sorted(constants):
            if not any(0 <= constant - base < IMMEDIATE_LIMIT for base in bases):
                bases.append(constant)
                pointers[part, constant] = None
    return [(code.parts[part], constant) for part, constant in pointers]


def _coefficient(pointer: Pointer, index: Hashable) -> int:
    return next((c for key, c in pointer[0] if key == index), 0)


def _moves(
    carried: list[tuple[Pointer, int]], index: Hashable, trips: int
) -> tuple[int, list[tuple[Pointer, int]]]:
    """Updates per iteration of a loop around: pointers that end elsewhere than where the next iteration begins."""
    moved = sum(_coefficient(pointer, index) != drift for pointer, drift in carried)
    return moved, [(p, _coefficient(p, index) * trips) for p, _ in carried]


@dataclass(frozen=True)
class PlannedUpdates:
    """The address planner itself, on the nest alone; equal nests up to a shift are planned once.

    The first instructions of a body are planned; the rest of a longer one is taken to cost as much on average.
    """

    def nest(self, nest: Nest) -> AddressInstructions | None:
        length = nest.code.length
        found = _planned(_canonical(nest))
        if found is None or length <= MEASURED:
            return found
        return AddressInstructions(
            found.static * length // MEASURED, found.dynamic * length // MEASURED, found.entry
        )


@dataclass(frozen=True, slots=True)
class _Shape:
    """A nest with its indices numbered and its constants counted from the first of each variable part.

    Bytes are the columns of a `Code`, `parts` its variable parts in the order of their first reads.
    """

    trips: tuple[int, ...]
    length: int
    place: bytes
    part: bytes
    constant: bytes
    has_immediate: bytes
    parts: tuple[frozenset[tuple[int, int]], ...]
    registers: int
    around: bool


def _canonical(nest: Nest) -> _Shape:
    keys: dict[Hashable, int] = {index: place for place, (index, _) in enumerate(nest.loops)}
    if nest.around is not None:
        keys[nest.around] = _AROUND
    code = nest.code.code.first(MEASURED)
    met, where = np.unique(code.part, return_index=True)
    order = np.argsort(where)
    numbers = np.zeros(len(code.parts), np.int64)
    numbers[met[order]] = np.arange(len(met))
    bases = np.zeros(len(code.parts), np.int64)
    parts: list[frozenset[tuple[int, int]]] = []
    for part, row in zip(met[order].tolist(), where[order].tolist(), strict=True):
        terms = code.parts[part]
        parts.append(frozenset((keys.setdefault(k, len(keys) + _AROUND + 1), c) for k, c in terms))
        bases[part] = code.constant[row] if terms else 0
    return _Shape(
        tuple(t for _, t in nest.loops),
        code.length,
        code.place.tobytes(),
        numbers[code.part].tobytes(),
        (code.constant - bases[code.part]).tobytes(),
        code.has_immediate.tobytes(),
        tuple(parts),
        nest.registers,
        nest.around is not None,
    )


_ESTIMATE = 100
"""Nodes to simulate for one estimate: ten times as many found the same programs in several times the time."""

_AROUND = 1000
_SHIFT = 1 << 20
"""Added to shifted constants so that addresses stay positive."""


@lru_cache(maxsize=1 << 16)
def _planned(shape: _Shape) -> AddressInstructions | None:
    classes = ClassTable()
    block = block_of(_reads(shape, classes))
    loop: PlannedLoop | None = None
    trips = shape.trips or (1,)
    for level in range(len(trips) - 1, -1, -1):
        body = block if loop is None else make_block([loop], classes)
        loop = PlannedLoop(level, trips[level], body)
    assert loop is not None
    plan = Planner(classes, _ESTIMATE).loop(loop, shape.registers if shape.trips else shape.registers + 1)
    if plan is None:
        return None
    entries = [(e.value, e.after) for e in plan.entries(classes)]
    entry = sum(not shape.around or _next(classes, value) != after for value, after in entries)
    return AddressInstructions(plan.body.static, plan.cost, entry)


def _reads(shape: _Shape, classes: ClassTable) -> Reads:
    """What a nest's instructions read, as the planner has it."""
    numbers = np.array([classes.of(terms) for terms in shape.parts], np.int64)
    cls = numbers[np.frombuffer(shape.part, np.int64)]
    constant = np.frombuffer(shape.constant, np.int64)
    plain = np.where(constant == INT_LIMIT, constant, constant % INT_LIMIT)
    return Reads(
        shape.length,
        np.frombuffer(shape.place, np.int64),
        cls,
        np.where(cls == CONSTANT, plain, constant + _SHIFT),
        np.frombuffer(shape.has_immediate, bool),
    )


def _next(classes: ClassTable, value: Value) -> Value:
    """What an entry value is one iteration of the surrounding loop later."""
    return value[0], value[1] + classes.coefficient(value[0], _AROUND)
