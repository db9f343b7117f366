"""The search over schedules: every candidate is lowered to registers and counted, the best is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

from plena.backend.statistics import Statistics, statistics_of
from plena.backend.stream import stream_from_module
from plena.backend.view import Array
from plena.dialects.plena import AttentionOp, RepeatOp
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
    tunable: bool = False

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
    """The best lowering of a module of plena kernels, equal layers as a loop if that runs.

    The layer loop only stays when one layer fits the watchdog: an iteration may run so many instructions.

    Raises:
        CompileError: no candidate fits the memories, the watchdog and the budget.
    """
    target = Target.from_module(kernels)
    rolled = kernels.clone()
    run_pipeline(rolled, ("roll-layers",))
    has_layers = any(isinstance(op, RepeatOp) for op in rolled.walk())
    candidates: list[Candidate] = []
    problems: list[CompileError] = []
    for variant in (rolled, kernels) if has_layers else (kernels,):
        for option in schedules(variant, schedule):
            if candidates and not _worth_trying(option, candidates, target):
                continue
            try:
                candidates.append(lower(variant, option))
            except CompileError as error:
                problems.append(error)
        if any(c.longest_iteration <= target.max_loop_instructions for c in candidates):
            break
    running = [c for c in candidates if c.longest_iteration <= target.max_loop_instructions]
    fitting = [c for c in running if max_instructions is None or c.statistics.static <= max_instructions]
    if fitting:
        return min(fitting, key=lambda c: c.cost)
    if running:
        smallest = min(c.statistics.static for c in running)
        raise CompileError(
            f"no program of at most {max_instructions} instructions was found",
            hint=f"The smallest has {smallest}.",
        )
    if problems:
        raise problems[0]
    longest = min(c.longest_iteration for c in candidates)
    raise CompileError(
        f"an iteration of a loop runs {longest:,} instructions, the watchdog allows {target.max_loop_instructions:,}",
        hint="Compile fewer rows at a time.",
    )


def schedules(kernels: ModuleOp, schedule: Schedule) -> Iterator[Schedule]:
    """The schedules that can be lowered: loop orders of attention and sizes of its query block."""
    yield schedule
    lengths = [op.query_length for op in kernels.walk() if isinstance(op, AttentionOp)]
    blen = Target.from_module(kernels).blen
    block = blen
    while lengths and block < 2 * max(lengths):
        yield replace(schedule, order="queries", query_block=block)
        block *= 4


def _worth_trying(option: Schedule, candidates: list[Candidate], target: Target) -> bool:
    """Whether another schedule can matter: kernels heed it, and the first does not run or the search is for cycles."""
    runs = any(c.longest_iteration <= target.max_loop_instructions for c in candidates)
    if not candidates[-1].tunable:
        return option.order == "heads" and not runs
    return not runs or option.objective == "cycles"


def lower(kernels: ModuleOp, schedule: Schedule) -> Candidate:
    """A copy of the module lowered to allocated registers under one schedule."""
    tiles = kernels.clone()
    conversion = convert(tiles, schedule)
    run_pipeline(tiles, ("allocate-buffers",))
    registers = tiles.clone()
    run_pipeline(registers, (*AFFINE_PIPELINE, *REGISTER_PIPELINE))
    stream = stream_from_module(registers)
    statistics = statistics_of(stream.instructions, Target.from_module(tiles))
    return Candidate(
        schedule, tiles, registers, conversion.data, statistics, conversion.decisions, conversion.tunable
    )
