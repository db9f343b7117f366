"""The ways to expand a loop, and what each costs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from plena.loops.selection.address_costs import MEASURED, AddressCost, Nest
from plena.loops.selection.code import Code
from plena.loops.selection.tree import UNBOUNDED, Loop, Straight, flat, flat_cycles

Kind: TypeAlias = Literal["keep", "unroll", "expand", "jam"]

LONGEST_BODY = 1024
"""Instructions of a straight loop body up to which it is considered."""

MOST_COMBINATIONS = 16
"""Ways to jam a nest that are costed exactly, after a rough selection."""


@dataclass(frozen=True)
class Choice:
    """What happens to a loop.

    `factor` iterations per trip; for `jam`, of the outer loop, and `inner_factor` of the inner one, after the two
    loops changed places if `interchange`. `flat`: all loops inside are expanded (the inner loop of a jammed nest
    stays); otherwise `children` says what happens to the loops directly inside, in order.
    """

    loop: Loop
    kind: Kind = "keep"
    factor: int = 1
    inner_factor: int = 1
    interchange: bool = False
    flat: bool = False
    children: tuple[Choice, ...] = ()

    def __str__(self) -> str:
        inside = ", loops inside expanded" if self.flat and self.loop.loops and self.kind != "jam" else ""
        match self.kind:
            case "keep":
                return "kept" + inside
            case "expand":
                return "expanded" + inside
            case "unroll":
                return f"unrolled by {self.factor}{inside}"
            case "jam":
                swapped = ["interchanged"] if self.interchange else []
                outer = [f"unrolled by {self.factor} and jammed"] if self.factor > 1 else []
                inner = [f"inner loop unrolled by {self.inner_factor}"] if self.inner_factor > 1 else []
                return ", ".join(swapped + outer + inner) or "kept, loops inside the inner loop expanded"


@dataclass(frozen=True)
class Option:
    """A choice and what it costs: instructions in the text, cycles and instructions of one execution."""

    static: int
    cycles: int
    dynamic: int
    choice: Choice


@dataclass(frozen=True)
class Machine:
    """What the costs depend on besides the program.

    `addresses` counts address instructions, `rough` does so quickly. `limit`: instructions that one iteration of a
    loop may run (watchdog, plena_isa.md section 4.4). `update`, `start`, `end`: cycles of an address instruction, a
    C_LOOP_START and a C_LOOP_END.
    """

    addresses: AddressCost
    rough: AddressCost
    limit: int
    update: int = 1
    start: int = 1
    end: int = 1
    registers: int = 15


@dataclass(frozen=True)
class Context:
    """Where a loop stands: how many loops are open around it, index and trip count of the innermost, and the index
    of the one around that.

    `alone`: it is the only loop there. Otherwise its pointers do not stay in registers until the next iteration.
    """

    depth: int = 0
    around: Hashable = None
    trips: int = 1
    beyond: Hashable = None
    alone: bool = False

    def inside(self, loop: Loop) -> Context:
        return Context(self.depth + 1, loop.index, loop.trips, self.around, len(loop.loops) == 1)


def straight_cost(machine: Machine, code: Straight, context: Context) -> tuple[int, int, int] | None:
    """Static instructions, cycles and dynamic instructions of straight code, per iteration of the loop around it."""
    loops = ((context.around, context.trips),) if context.depth else ()
    registers = machine.registers - max(0, context.depth - 1)
    found = machine.addresses.nest(Nest(loops, code, registers, context.beyond))
    if found is None:
        return None
    dynamic = -(-(found.dynamic + found.entry) // context.trips)
    static = code.length + found.static + found.entry
    return static, code.cycles + dynamic * machine.update, code.length + dynamic


def expanded(machine: Machine, loop: Loop, context: Context) -> Option | None:
    """A loop and all loops inside it as straight code."""
    length = loop.trips * loop.expanded_length()
    if length > LONGEST_BODY or loop.unit:
        return None
    code = Straight(flat([loop], MEASURED), length, flat_cycles([loop]))
    cost = straight_cost(machine, code, context)
    return None if cost is None else Option(*cost, Choice(loop, "expand", loop.trips, flat=True))


def unrolled(machine: Machine, loop: Loop, factor: int, context: Context) -> Option | None:
    """A loop with a straight body of `factor` iterations; iterations left over follow as straight code."""
    length = loop.expanded_length()
    if not 1 <= factor < loop.trips or factor * length > LONGEST_BODY:
        return None
    copies = flat(loop.parts, MEASURED).copies(loop.index, factor, MEASURED, factor=factor)
    code = Straight(copies, factor * length, factor * flat_cycles(loop.parts))
    trips, rest = divmod(loop.trips, factor)
    found = _nest_option(machine, [(loop.index, trips)], code, context)
    if found is None:
        return None
    static, cycles, dynamic = found
    if rest:
        tail = _share(found, trips, rest, factor)
        static, cycles, dynamic = static + tail[0], cycles + tail[1], dynamic + tail[2]
    kind: Kind = "keep" if factor == 1 else "unroll"
    return Option(static, cycles, dynamic, Choice(loop, kind, factor, flat=True))


def _share(cost: tuple[int, int, int], trips: int, rest: int, factor: int) -> tuple[int, int, int]:
    """The cost of `rest` iterations as straight code, from that of `trips` trips of `factor` iterations."""
    static, cycles, dynamic = cost
    copies_made = trips * factor
    return static * rest // factor, cycles * rest // copies_made, dynamic * rest // copies_made


def _nest_option(
    machine: Machine,
    loops: list[tuple[Hashable, int]],
    code: Straight,
    context: Context,
    addresses: AddressCost | None = None,
) -> tuple[int, int, int] | None:
    """Static instructions, cycles, dynamic instructions of one execution of a nest; loops of one trip are none."""
    kept = tuple((index, trips) for index, trips in loops if trips > 1)
    around = context.around if context.alone else None
    nest = Nest(kept, code, machine.registers - context.depth, around)
    found = (addresses or machine.addresses).nest(nest)
    if found is None:
        return None
    static = code.length + found.static + found.entry
    cycles, dynamic = code.cycles, code.length
    iterations = prod(trips for _, trips in kept)
    for _, trips in reversed(kept):
        if dynamic + -(-found.dynamic // iterations) + 1 > machine.limit:
            return None
        iterations //= trips
        static += 2
        cycles = machine.start + trips * (cycles + machine.end)
        dynamic = 1 + trips * (dynamic + 1)
    updates = found.dynamic + found.entry
    return static, cycles + updates * machine.update, dynamic + updates


def jammed(
    machine: Machine, outer: Loop, context: Context, *, permutable: bool, jammable: Sequence[int]
) -> list[Option]:
    """The ways to unroll and jam a perfect nest of two loops whose inner body becomes straight code."""
    inner = outer.inner
    if inner is None or inner.expanded_length() >= UNBOUNDED:
        return []
    body, cycles = flat(inner.parts, LONGEST_BODY), flat_cycles(inner.parts)
    rough: list[tuple[int, int, _Jam, Straight]] = []
    for swap in (False, True) if permutable else (False,):
        first, second = (inner, outer) if swap else (outer, inner)
        for factor in first.factors:
            if first.trips % factor or (not permutable and factor not in jammable):
                continue
            for inner_factor in second.factors:
                if second.trips % inner_factor or factor * inner_factor * body.length > LONGEST_BODY:
                    continue
                jam = _Jam(first, second, factor, inner_factor, swap)
                copies = factor * inner_factor
                code = Straight(jam.copies(body), copies * body.length, copies * cycles)
                found = _nest_option(machine, jam.loops, code, context, machine.rough)
                if found is not None:
                    rough.append((found[0], found[1], jam, code))
    options: list[Option] = []
    for _, _, jam, code in _promising(rough):
        found = _nest_option(machine, jam.loops, code, context)
        if found is not None:
            choice = Choice(outer, "jam", jam.factor, jam.inner_factor, jam.swap, flat=True)
            options.append(Option(*found, choice))
    return options


@dataclass(frozen=True)
class _Jam:
    first: Loop
    second: Loop
    factor: int
    inner_factor: int
    swap: bool

    @property
    def loops(self) -> list[tuple[Hashable, int]]:
        return [
            (self.first.index, self.first.trips // self.factor),
            (self.second.index, self.second.trips // self.inner_factor),
        ]

    def copies(self, body: Code) -> Code:
        """The innermost body: the jammed iterations of the outer loop, once per unrolled iteration of the inner."""
        outer_step = self.factor if self.first.trips > self.factor else 0
        inner_step = self.inner_factor if self.second.trips > self.inner_factor else 0
        together = body.copies(self.first.index, self.factor, LONGEST_BODY, factor=outer_step)
        return together.copies(self.second.index, self.inner_factor, LONGEST_BODY, factor=inner_step)


def _promising(rough: list[tuple[int, int, _Jam, Straight]]) -> list[tuple[int, int, _Jam, Straight]]:
    """Combinations worth an exact look: best of their size by the rough cost, then the next best."""
    if len(rough) <= MOST_COMBINATIONS:
        return rough
    remaining = sorted(rough, key=lambda r: (r[0], r[1]))
    chosen: list[tuple[int, int, _Jam, Straight]] = []
    while remaining and len(chosen) < MOST_COMBINATIONS:
        best = 1 << 62
        later: list[tuple[int, int, _Jam, Straight]] = []
        for entry in remaining:
            if entry[1] < best and len(chosen) < MOST_COMBINATIONS:
                best = entry[1]
                chosen.append(entry)
            else:
                later.append(entry)
        remaining = later
    return chosen


def straight_options(
    machine: Machine, loop: Loop, context: Context, *, permutable: bool, jammable: Sequence[int]
) -> list[Option]:
    """All options in which the innermost body is straight code."""
    found: list[Option | None] = [unrolled(machine, loop, factor, context) for factor in loop.factors]
    found.append(expanded(machine, loop, context))
    options = [option for option in found if option is not None]
    return options + jammed(machine, loop, context, permutable=permutable, jammable=jammable)
