"""Counts of a flat program: instructions, cycles by timing profile, per opcode, loop, module and step.

`static` = instruction lines. `dynamic` = each line times the trip counts around it (plena_isa.md section 4; a
C_LOOP_START counts outside its loop, a C_LOOP_END once an iteration). `cycles` = the same sum weighted by a timing
profile; DMA waits are apart, unless a profile says that it includes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plena.assembly import INVALID, AsmInstruction, Columns, columns
from plena.assembly.loop_tree import StaticLoop, static_loops
from plena.assembly.stream import Provenance
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES, Memory, Mode
from plena.machine.target import Target
from plena.statistics.by_profile import ByProfile, Figures
from plena.statistics.counts import Count, LoopCount, ProgramCount
from plena.statistics.traffic import Moved, Traffic, by_class, payloads
from plena.timing.dma_model import PICOSECONDS, stream_picoseconds
from plena.timing.profile import Profile, TableProfile
from plena.timing.registry import profiles as registered
from plena.timing.run import Run
from plena.timing.with_memory import Latencies


@dataclass(slots=True)
class Statistics(ProgramCount):
    """Counts of a whole program, printed as tables."""

    def __str__(self) -> str:
        from plena.statistics.table import render_text

        return render_text(self)


def statistics_of(
    instructions: Sequence[AsmInstruction],
    target: Target,
    provenance: Sequence[Provenance] | None = None,
    useful_macs: int | Mapping[str, int] | None = None,
    profiles: Sequence[Profile] | None = None,
    transfers: Callable[[], Mapping[int, Moved]] | None = None,
) -> Statistics:
    """Counts a flat program.

    Args:
        provenance: where each instruction comes from, for the counts by module and by step.
        useful_macs: multiply-accumulates of the mathematical operations, in total or by module path.
        profiles: whose cycles to count, by default those of all registered profiles. Simulations take time.
        transfers: makes what each transfer moves (`payloads`), for a program whose tensors are known.

    Raises:
        PlenaError: loops that are not nested, a loop of 0 trips, more than 2^40 dynamic instructions.
    """
    loops = static_loops(instructions)
    weights = Weights.of(instructions, loops, target, profiles)
    table, names = weights.table, weights.profiles
    total = _count(weights, np.zeros(len(instructions), np.int64), 1)[0]
    statistics = Statistics(total.static, total.dynamic, total.cycles, total.dma_cycles)
    statistics.opcodes = _opcodes(weights)
    statistics.loops = _loop_counts(weights, loops)
    statistics.loop_starts = len(loops)
    products = np.isin(table.opcodes, [INSTRUCTIONS[m].opcode for m in matrix_products()])

    def in_products(profile: str) -> float | None:
        lines = weights.cycles.get(profile)
        return None if lines is None else float(lines[products].sum() / max(lines.sum(), 1))

    statistics.matrix_share = Figures(names, in_products)
    statistics.unavailable = weights.unavailable
    statistics.latency = Latencies(lambda: weights.run)
    statistics.unsupported = weights.unsupported
    named = payloads(instructions, target)
    statistics.hbm_bytes = {n: size for n, size in by_class(named, weights.executions).items() if size}
    moved = transfers or (lambda: named)
    statistics.hbm_traffic = Traffic(lambda: by_class(moved(), weights.executions))
    if provenance is not None:
        statistics.modules = _grouped(weights, [origin.module for origin in provenance])
        statistics.steps = _grouped(weights, [origin.step for origin in provenance])
    _utilize(statistics, names, useful_macs, target)
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

    `profiles` are the names of those that are counted, `tables` of those among them that do not simulate.

    `of` raises a PlenaError when the loops run more than 2^40 instructions.
    """

    table: Columns
    executions: NDArray[np.int64]
    cycles: Figures[NDArray[np.int64]]
    dma: NDArray[np.int64]
    run: Run
    profiles: tuple[str, ...]
    tables: tuple[str, ...]
    unavailable: Figures[str]
    unsupported: Figures[float]

    @staticmethod
    def of(
        instructions: Sequence[AsmInstruction],
        loops: list[StaticLoop],
        target: Target,
        profiles: Sequence[Profile] | None = None,
    ) -> Weights:
        table = columns(instructions)
        run = Run.of(table, loops, target)
        named = {p.name: p for p in (registered() if profiles is None else profiles)}
        # Tables at once: they take no time, and the cycles may be more than can be counted.
        tables = tuple(name for name, profile in named.items() if isinstance(profile, TableProfile))
        cycles = Figures(tuple(named), lambda name: named[name].line_cycles(run), tables)

        def why(name: str) -> str | None:
            return why_none(named[name], run) if name not in cycles else None

        def wrong(name: str) -> float | None:
            marked = np.isin(run.opcodes, [INSTRUCTIONS[m].opcode for m in named[name].unsupported(target)])
            if not marked.any() or name not in cycles:
                return None
            counted = cycles[name]
            return float(counted[marked].sum() / max(counted.sum(), 1))

        dma = run.executions * stream_picoseconds(instructions, target)
        names = tuple(named)
        return Weights(
            table, run.executions, cycles, dma, run, names, tables, Figures(names, why), Figures(names, wrong)
        )


def why_none(profile: Profile, run: Run) -> str:
    """Why a profile has no cycles for a program."""
    missing = profile.missing_in(run)
    if missing:
        return f"no cycles are known for {', '.join(missing)}"
    return run.unsimulated() or "an address hangs on data"


def _count(weights: Weights, groups: NDArray[np.int64], size: int) -> list[Count]:
    """The counts of each group of instructions."""
    counts = [Count() for _ in range(size)]
    static = np.bincount(groups, minlength=size)
    dynamic = _sum(weights.executions, groups, size)
    dma = _sum(weights.dma, groups, size)
    cycles = Figures(weights.profiles, lambda name: _sum_or_none(weights.cycles.get(name), groups, size))
    for group, count in enumerate(counts):
        count.static, count.dynamic = int(static[group]), int(dynamic[group])
        count.cycles = ByProfile(weights.profiles, _one_of(cycles, group), weights.tables)
        count.dma_cycles = -(-int(dma[group]) // PICOSECONDS)
    return counts


def _sum(values: NDArray[np.int64], groups: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    np.add.at(total, groups, values)
    return total


def _sum_or_none(
    values: NDArray[np.int64] | None, groups: NDArray[np.int64], size: int
) -> NDArray[np.int64] | None:
    return None if values is None else _sum(values, groups, size)


def _one_of(groups: Figures[NDArray[np.int64]], group: int) -> Callable[[str], int | None]:
    """The cycles of one of several groups by profile."""

    def cycles(name: str) -> int | None:
        values = groups.get(name)
        return None if values is None else int(values[group])

    return cycles


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
    cycles = Figures(
        weights.profiles, lambda name: None if (own := weights.cycles.get(name)) is None else up_to(own)
    )

    def inside(first: int, last: int) -> ByProfile:
        def of(name: str) -> int | None:
            values = cycles.get(name)
            return None if values is None else int(values[last] - values[first])

        return ByProfile(weights.profiles, of, weights.tables)

    counts: list[LoopCount] = []
    for loop in loops:
        first, last = loop.start + 1, loop.end + 1
        counts.append(
            LoopCount(
                static=last - first,
                dynamic=int(executions[last] - executions[first]),
                cycles=inside(first, last),
                dma_cycles=-(-int(dma[last] - dma[first]) // PICOSECONDS),
                first_line=loop.start + 1,
                last_line=loop.end + 1,
                trip_count=loop.trips,
                depth=loop.depth,
            )
        )
    return counts


def _utilize(
    statistics: Statistics,
    names: Sequence[str],
    useful_macs: int | Mapping[str, int] | None,
    target: Target,
) -> None:
    if useful_macs is None:
        return
    by_module = {} if isinstance(useful_macs, int) else useful_macs
    total = useful_macs if isinstance(useful_macs, int) else sum(useful_macs.values())
    for count, macs in (
        (statistics, total),
        *((statistics.modules[m], n) for m, n in by_module.items() if m in statistics.modules),
    ):
        count.utilization = Figures(names, _used(statistics.unsupported, count.cycles, macs, target))


def _used(
    unsupported: Mapping[str, float], cycles: Mapping[str, int], macs: int, target: Target
) -> Callable[[str], float | None]:
    """The share of what the array could multiply that is useful, by profile."""

    def used(profile: str) -> float | None:
        taken = cycles[profile]
        if taken is None or profile in unsupported:  # pyright: ignore[reportUnnecessaryComparison]
            return None
        share = macs / (target.blen * target.mlen * taken) if taken else 0.0
        return share if share <= 1 else None

    return used
