"""Counts of a flat program: instructions, cycles under both timing profiles, per opcode, loop, module and step.

`static` = instruction lines. `dynamic` = each line times the trip counts around it (plena_isa.md section 4; a
C_LOOP_START counts outside its loop, a C_LOOP_END once an iteration). `cycles` = the same sum weighted by a timing
profile; DMA waits are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plena.assembly import INVALID, AsmInstruction, Columns, columns
from plena.assembly.loop_tree import StaticLoop, static_loops
from plena.assembly.stream import Provenance
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES, Memory, Mode
from plena.dialects.plena_isa.sizes import Fields
from plena.dialects.plena_isa.spec import InstructionSpec, Kind
from plena.errors import PlenaError
from plena.machine.cost_model import PROFILES
from plena.machine.dma_model import stream_picoseconds
from plena.machine.target import Target

PICOSECONDS = 1000
"""In one cycle."""

MOST_CYCLES = 1 << 62
"""Cycles of a program from which it is refused: int64 counts them."""

MOST_EXECUTIONS = 1 << 40
"""Dynamic instructions up to which 64-bit sums of picoseconds do not overflow."""


@dataclass(slots=True)
class Count:
    """What a part of a program adds up to; `utilization` by profile where useful work is known."""

    static: int = 0
    dynamic: int = 0
    cycles: dict[str, int] = field(default_factory=dict[str, int])
    dma_cycles: int = 0
    utilization: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class LoopCount(Count):
    """A loop: `first_line` is its C_LOOP_START, `last_line` its C_LOOP_END (1-based instruction lines).

    `static`, `dynamic` and `cycles` are of the body with the C_LOOP_END, over the whole run of the program.
    """

    first_line: int = 0
    last_line: int = 0
    trip_count: int = 0
    depth: int = 0


@dataclass(slots=True)
class Statistics(Count):
    """Counts of a whole program.

    Attributes:
        opcodes: mnemonic -> (static, dynamic), in opcode order.
        loops: in program order, outer before inner.
        loop_starts: C_LOOP_START lines.
        matrix_share: profile -> share of the cycles spent in matrix products.
        modules, steps: counts by module path of the model and by kernel step; empty without provenance.
        utilization: profile -> useful multiply-accumulates / (BLEN * MLEN * cycles); empty if they are not known.
    """

    opcodes: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    loops: list[LoopCount] = field(default_factory=list[LoopCount])
    loop_starts: int = 0
    matrix_share: dict[str, float] = field(default_factory=dict[str, float])
    modules: dict[str, Count] = field(default_factory=dict[str, Count])
    steps: dict[str, Count] = field(default_factory=dict[str, Count])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a manifest or a JSON file."""
        from dataclasses import asdict

        return asdict(self)

    def __str__(self) -> str:
        from plena.assembly.statistics_table import render_text

        return render_text(self)


def statistics_of(
    instructions: Sequence[AsmInstruction],
    target: Target,
    provenance: Sequence[Provenance] | None = None,
    useful_macs: int | Mapping[str, int] | None = None,
) -> Statistics:
    """Counts a flat program.

    Args:
        provenance: where each instruction comes from, for the counts by module and by step.
        useful_macs: multiply-accumulates of the mathematical operations, in total or by module path.

    Raises:
        PlenaError: loops that are not nested, a loop of 0 trips, more than 2^40 dynamic instructions.
    """
    loops = static_loops(instructions)
    weights = Weights.of(instructions, loops, target)
    table = weights.table
    total = _count(weights, np.zeros(len(instructions), np.int64), 1)[0]
    statistics = Statistics(total.static, total.dynamic, total.cycles, total.dma_cycles)
    statistics.opcodes = _opcodes(weights)
    statistics.loops = _loop_counts(weights, loops)
    statistics.loop_starts = len(loops)
    products = np.isin(table.opcodes, [INSTRUCTIONS[m].opcode for m in matrix_products()])
    for profile, cycles in total.cycles.items():
        inside = int(weights.cycles[profile][products].sum())
        statistics.matrix_share[profile] = inside / cycles if cycles else 0.0
    if provenance is not None:
        statistics.modules = _grouped(weights, [origin.module for origin in provenance])
        statistics.steps = _grouped(weights, [origin.step for origin in provenance])
    _utilize(statistics, useful_macs, target)
    return statistics


def matrix_products() -> frozenset[str]:
    """The instructions that multiply in the matrix unit: they read matrix SRAM."""
    return frozenset(
        spec.mnemonic
        for spec in INSTRUCTIONS.values()
        if any(t.memory is Memory.MATRIX and Mode.READ in t.mode for t in spec.touches or ())
    )


@dataclass(slots=True)
class Weights:
    """Per instruction: executions, cycles over all of them by profile, DMA picoseconds over all of them.

    `of` raises a PlenaError when the loops run more than 2^40 instructions.
    """

    table: Columns
    executions: NDArray[np.int64]
    cycles: dict[str, NDArray[np.int64]]
    dma: NDArray[np.int64]

    @staticmethod
    def of(instructions: Sequence[AsmInstruction], loops: list[StaticLoop], target: Target) -> Weights:
        table = columns(instructions)
        executions = np.ones(len(instructions), np.int64)
        magnitude = np.ones(len(instructions))
        for loop in loops:
            executions[loop.start + 1 : loop.end + 1] *= loop.trips
            magnitude[loop.start + 1 : loop.end + 1] *= loop.trips
        if magnitude.sum() > MOST_EXECUTIONS:
            raise PlenaError(f"the loops run {magnitude.sum():.1e} instructions, too many to count")
        costs = {profile: _cost(table, profile, target) for profile in PROFILES}
        if any((magnitude * cost).sum() > MOST_CYCLES for cost in costs.values()):
            raise PlenaError("the loops take more cycles than can be counted")
        cycles = {profile: executions * cost for profile, cost in costs.items()}
        return Weights(table, executions, cycles, executions * stream_picoseconds(instructions, target))


def _cost(table: Columns, profile: str, target: Target) -> NDArray[np.int64]:
    """Cycles of one execution of every instruction."""
    cost_of = PROFILES[profile]
    cost = np.zeros(64, np.int64)
    for opcode, spec in OPCODES.items():
        cost[opcode] = cost_of(spec, target)
    cycles = cost[table.opcodes]
    for opcode, spec in OPCODES.items():
        if spec.free_if_f0:
            cycles[(table.opcodes == opcode) & (table.values[:, 0] == 0)] = cost_of(spec, target, rd=0)
        elif spec.work is not None:
            _add_work(cycles, table, spec, lambda fields, s=spec: cost_of(s, target, fields=fields))
    return cycles


def _add_work(
    cycles: NDArray[np.int64], table: Columns, spec: InstructionSpec, cost_of: Callable[[Fields], int]
) -> None:
    """Fills in the cycles of an instruction whose cost hangs on its flags."""
    at = np.flatnonzero(table.opcodes == spec.opcode)
    places = [position for position, slot in enumerate(spec.slots) if slot.kind is Kind.FLAG]
    values = table.values[at][:, places]
    for flags in np.unique(values, axis=0).tolist():
        chosen = at[(values == flags).all(axis=1)]
        cycles[chosen] = cost_of({spec.slots[p].name: value for p, value in zip(places, flags, strict=True)})


def _count(weights: Weights, groups: NDArray[np.int64], size: int) -> list[Count]:
    """The counts of each group of instructions."""
    counts = [Count() for _ in range(size)]
    static = np.bincount(groups, minlength=size)
    dynamic = _sum(weights.executions, groups, size)
    dma = _sum(weights.dma, groups, size)
    cycles = {profile: _sum(values, groups, size) for profile, values in weights.cycles.items()}
    for group, count in enumerate(counts):
        count.static, count.dynamic = int(static[group]), int(dynamic[group])
        count.cycles = {profile: int(values[group]) for profile, values in cycles.items()}
        count.dma_cycles = -(-int(dma[group]) // PICOSECONDS)
    return counts


def _sum(values: NDArray[np.int64], groups: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    np.add.at(total, groups, values)
    return total


def _grouped(weights: Weights, names: Sequence[str]) -> dict[str, Count]:
    positions: dict[str, int] = {}
    groups = np.array([positions.setdefault(name, len(positions)) for name in names], np.int64)
    return dict(zip(positions, _count(weights, groups, len(positions)), strict=True))


def _opcodes(weights: Weights) -> dict[str, tuple[int, int]]:
    groups = weights.table.opcodes.astype(np.int64)
    counts = _count(weights, groups, 64)
    names = {opcode: spec.mnemonic for opcode, spec in OPCODES.items()}
    return {
        names.get(opcode, INVALID.mnemonic): (count.static, count.dynamic)
        for opcode, count in enumerate(counts)
        if count.static
    }


def _loop_counts(weights: Weights, loops: list[StaticLoop]) -> list[LoopCount]:
    def up_to(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(values)])

    executions, dma = up_to(weights.executions), up_to(weights.dma)
    cycles = {profile: up_to(values) for profile, values in weights.cycles.items()}
    counts: list[LoopCount] = []
    for loop in loops:
        first, last = loop.start + 1, loop.end + 1
        counts.append(
            LoopCount(
                static=last - first,
                dynamic=int(executions[last] - executions[first]),
                cycles={profile: int(values[last] - values[first]) for profile, values in cycles.items()},
                dma_cycles=-(-int(dma[last] - dma[first]) // PICOSECONDS),
                first_line=loop.start + 1,
                last_line=loop.end + 1,
                trip_count=loop.trips,
                depth=loop.depth,
            )
        )
    return counts


def _utilize(statistics: Statistics, useful_macs: int | Mapping[str, int] | None, target: Target) -> None:
    if useful_macs is None:
        return
    by_module = {} if isinstance(useful_macs, int) else useful_macs
    total = useful_macs if isinstance(useful_macs, int) else sum(useful_macs.values())
    for count, macs in (
        (statistics, total),
        *((statistics.modules[m], n) for m, n in by_module.items() if m in statistics.modules),
    ):
        for profile, cycles in count.cycles.items():
            count.utilization[profile] = macs / (target.blen * target.mlen * cycles) if cycles else 0.0
