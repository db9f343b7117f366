"""The search over schedules: every candidate is lowered to registers and counted, the best is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

from plena.backend.statistics import Statistics, statistics_of
from plena.backend.stream import stream_from_module
from plena.backend.view import Array
from plena.dialects.plena import AttentionOp
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.kernels.schedule import Schedule
from plena.passes.convert_plena_to_tile import convert
from plena.passes.pipelines import AFFINE_PIPELINE, REGISTER_PIPELINE
from plena.target import Target


@dataclass(frozen=True)
class Candidate:
    """One lowering: its schedule, the module at the tile level and in registers, and what it costs."""

    schedule: Schedule
    tiles: ModuleOp
    registers: ModuleOp
    data: Mapping[str, Attribute | Array]
    statistics: Statistics
    decisions: tuple[str, ...] = ()

    @property
    def longest_iteration(self) -> int:
        """Dynamic instructions of one iteration of the longest loop, its C_LOOP_END included."""
        outermost = (loop for loop in self.statistics.loops if loop.depth == 0)
        return max((loop.dynamic // loop.trip_count for loop in outermost), default=0)

    @property
    def cost(self) -> tuple[int, int]:
        """What the objective minimises, then the other figure."""
        cycles, static = self.statistics.cycles[self.schedule.timing], self.statistics.static
        return (static, cycles) if self.schedule.objective == "size" else (cycles, static)


def search(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> Candidate:
    """The best lowering of a module of plena kernels.

    Raises:
        CompileError: no candidate fits the memories, the watchdog and the budget.
    """
    target = Target.from_module(kernels)
    best: Candidate | None = None
    smallest: Candidate | None = None
    problem: CompileError | None = None
    longest = 0
    for option in schedules(kernels, schedule):
        try:
            candidate = lower(kernels, option)
        except CompileError as error:
            problem = problem or error
            continue
        longest = min(longest or candidate.longest_iteration, candidate.longest_iteration)
        if candidate.longest_iteration > target.max_loop_instructions:
            continue
        if smallest is None or candidate.statistics.static < smallest.statistics.static:
            smallest = candidate
        if max_instructions is not None and candidate.statistics.static > max_instructions:
            continue
        if best is None or candidate.cost < best.cost:
            best = candidate
    if best is not None:
        return best
    if smallest is not None:
        raise CompileError(
            f"no program of at most {max_instructions} instructions was found",
            hint=f"The smallest has {smallest.statistics.static}.",
        )
    if problem is not None:
        raise problem
    raise CompileError(
        f"an iteration of a loop runs {longest:,} instructions, the watchdog allows {target.max_loop_instructions:,}",
        hint="Compile fewer rows at a time.",
    )


def schedules(kernels: ModuleOp, schedule: Schedule) -> Iterator[Schedule]:
    """The schedules worth lowering: where there is attention, loop orders and sizes of the query block."""
    yield schedule
    lengths = [op.query_length for op in kernels.walk() if isinstance(op, AttentionOp)]
    if not lengths:
        return
    blen = Target.from_module(kernels).blen
    block = blen
    while block < 2 * max(lengths):
        yield replace(schedule, order="queries", query_block=block)
        block *= 4


def lower(kernels: ModuleOp, schedule: Schedule) -> Candidate:
    """A copy of the module lowered to allocated registers under one schedule."""
    tiles = kernels.clone()
    data = convert(tiles, schedule)
    run_pipeline(tiles, ("allocate-buffers",))
    registers = tiles.clone()
    run_pipeline(registers, (*AFFINE_PIPELINE, *REGISTER_PIPELINE))
    stream = stream_from_module(registers)
    statistics = statistics_of(stream.instructions, Target.from_module(tiles))
    return Candidate(schedule, tiles, registers, data, statistics)
