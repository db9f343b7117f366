"""The search over schedules: every candidate is lowered to registers and counted, the best is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from xdsl.dialects.builtin import ModuleOp

from plena.buffers.segments import BeyondReach
from plena.compiler.beside_work import beside_other_work, most_beside
from plena.compiler.candidate import Candidate, Lowering, TooLongIteration
from plena.compiler.loop_choice import surplus_of, with_choices, with_loops_expanded
from plena.compiler.loop_origins import source_loops
from plena.compiler.lowered import choices_of
from plena.compiler.other_schedules import (
    in_pairs,
    in_parts,
    in_sections,
    less_shortened,
    of_both_units,
    with_more_expanded,
    with_shared_bases,
    without_row_groups,
)
from plena.dialects.plena import AttentionOp, RepeatOp
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.kernels.schedule import Schedule
from plena.loops.selection.goal import GROWTH_OF_UPDATES, Goal
from plena.machine.target import Target
from plena.passes.split_layers import SplitLayers
from plena.program.rationale import Attempt, Rationale, SizePoint, best_by_size
from plena.timing.registry import profile_named

PROMISING = 2
"""How many schedules have their loops expanded: the best ones without; one if it is tried with loads ahead as well."""

LEAST_GAIN = 0.01
"""How much faster a program must be for its addresses to take some lines more without a budget."""

LARGEST_BLOCK = 256
"""Query rows at a time beyond which attention gains nothing."""


def search(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> Candidate:
    """The best lowering of a module of plena kernels, equal layers as a loop if that runs.

    The layer loop only stays when one layer fits the watchdog: an iteration may run so many instructions.

    Raises:
        CompileError: no candidate fits the memories, the watchdog and the budget.
    """
    target = Target.from_module(kernels)
    goal = Goal(schedule.objective, max_instructions)
    found: list[Candidate] = []
    problems: list[CompileError] = []
    for variant in _variants(kernels, problems):
        found.extend(_candidates(variant, schedule, max_instructions, problems))
        found.extend(in_sections(variant, found, max_instructions))
        found.extend(in_pairs(variant, found, max_instructions))
        found.extend(without_row_groups(variant, found, max_instructions))
        found.extend(of_both_units(variant, found, max_instructions))
        if any(c.program.runs(target) for c in found):
            break
    else:
        found.extend(in_parts(kernels, found, problems))
    running = [c for c in found if c.program.runs(target)]
    fitting = [c for c in running if goal.fits(c.static)]
    if not fitting and max_instructions is not None and schedule.objective == "cycles":
        small = _smallest(kernels, schedule, bool(running))
        running.extend(small)
        fitting = [c for c in small if goal.fits(c.static)]
    if fitting:
        best = goal.best(fitting)
        if max_instructions is None:
            grown = with_more_expanded(best, target)
            running.extend(grown)
            best = Goal(schedule.objective, growth=GROWTH_OF_UPDATES).best([best, *grown])
        if profile_named(schedule.timing).overlaps:
            scheduled = beside_other_work(
                best, [*found, *running], target, most_beside(best, max_instructions), goal
            )
            running.extend(scheduled)
            best = goal.best([best, *scheduled])
        shared = with_shared_bases(best, target)
        running.extend(shared)
        enough = best.cycles if max_instructions else (1 - LEAST_GAIN) * best.cycles
        best = goal.best([best, *(c for c in shared if goal.fits(c.static) and c.cycles <= enough)])
        stuck = [c for c in found if not c.program.runs(target)]
        return replace(best, rationale=_rationale(best, [*running, *stuck]))
    if running:
        smallest = min(c.static for c in running)
        raise CompileError(
            f"no program of at most {max_instructions} instructions was found",
            "options",
            f"The smallest has {smallest}.",
        )
    if problems:
        raise problems[0]
    longest = min(c.program.longest_iteration for c in found)
    raise CompileError(
        f"an iteration of a loop runs {longest:,} instructions, the watchdog allows {target.max_loop_instructions:,}",
        "target",
        "Compile fewer rows at a time.",
    )


def _smallest(kernels: ModuleOp, schedule: Schedule, one_runs: bool) -> list[Candidate]:
    """The program with fewest instructions; where none in a budget runs there may be none at all.

    Raises:
        CompileError: none runs though `one_runs`.
    """
    try:
        return [search(kernels, replace(schedule, objective="size"), None)]
    except CompileError:
        if one_runs:
            raise
        return []


def _variants(kernels: ModuleOp, problems: Sequence[CompileError]) -> Iterator[ModuleOp]:
    """The module with equal layers as a loop, if there are any, and as it is.

    Between them more and shorter loops, as long as `problems` says that the weights of one lie beyond what a base
    address reaches, and that more of them help.
    """
    rolled = kernels.clone()
    run_pipeline(rolled, ("roll-layers",), verified=True)
    layers = max((op.iterations for op in rolled.walk() if isinstance(op, RepeatOp)), default=0)
    parts, pieces = 1, 0
    while layers:
        seen = len(problems)
        yield rolled
        needed = max((p.pieces for p in problems[seen:] if isinstance(p, BeyondReach)), default=0)
        if not needed or parts == layers or 0 < pieces <= needed:
            break
        parts, pieces = min(parts * needed, layers), needed
        rolled = kernels.clone()
        run_pipeline(rolled, ("roll-layers", SplitLayers(parts)), verified=True)
    yield kernels


def _rationale(best: Candidate, tried: Sequence[Candidate]) -> Rationale:
    """What a report says about the choice of the best candidate."""
    assert best.lowering is not None
    target = Target.from_module(best.tiles)
    attempts = (
        Attempt(
            _described(c.schedule) + (", loops expanded" if c.point is not None else ""),
            c.static,
            c.cycles,
            c.program.runs(target),
            c is best,
        )
        for c in tried
    )
    points = next((c.points for c in tried if c.lowering is best.lowering and c.points), ())
    return Rationale(
        attempts=tuple(attempts),
        curve=best_by_size([SizePoint(p.static, p.cycles) for p in points]),
        loops=source_loops(best.lowering.affine, None if best.point is None else best.point.choices),
    )


def _described(schedule: Schedule) -> str:
    """What the search chose in a schedule."""
    plain = Schedule()
    chosen = [
        f.name for f in fields(Schedule) if f.name not in ("objective", "timing", "matmul", "attention")
    ]
    words = [
        f"{name.replace('_', ' ')} {getattr(schedule, name)}"
        for name in chosen
        if getattr(schedule, name) != getattr(plain, name)
    ]
    return ", ".join(words) or "first schedule"


def _candidates(
    kernels: ModuleOp, schedule: Schedule, max_instructions: int | None, problems: list[CompileError]
) -> list[Candidate]:
    """Every schedule with loops as they are, and the most promising ones with loops as select-loops chooses."""
    target = Target.from_module(kernels)
    goal = Goal(schedule.objective, max_instructions)
    lowerings: list[Lowering] = []
    seen: list[ModuleOp] = []
    for option in schedules(kernels, schedule):
        if lowerings and not _worth_trying(option, lowerings, target):
            continue
        try:
            lowering = Lowering.of(kernels, option, seen, shorten=True, give_up=max_instructions is None)
        except TooLongIteration:
            break
        except CompileError as error:
            problems.append(error)
            continue
        if lowering is not None:
            lowerings.append(lowering)

    def promise(lowering: Lowering) -> tuple[bool, float, int]:
        plain = lowering.plain
        return not plain.program.runs(target), *goal.cost(plain.static, plain.cycles)

    if len(lowerings) > 1:
        lowerings.sort(key=promise)
    found: list[Candidate] = []
    promising = 1 if profile_named(schedule.timing).overlaps else PROMISING
    for lowering in lowerings[:promising]:
        tried = with_choices(lowering, max_instructions)
        found.extend(tried)
        running = [c for c in tried if c.point is not None and c.program.runs(target)]
        longer = less_shortened(lowering, running, kernels) if running else None
        if longer is not None:
            shortest = min(running, key=lambda c: c.static)
            room = max_instructions or shortest.static
            found.extend(
                c for c in with_loops_expanded(longer, room, surplus_of(shortest)) if c.static <= room
            )
    found.extend(lowering.plain for lowering in lowerings[promising:])
    return found


def schedules(kernels: ModuleOp, schedule: Schedule) -> Iterator[Schedule]:
    """The schedules that can be lowered: loop orders of attention and sizes of its query block."""
    yield schedule
    lengths = [op.query_length for op in kernels.walk() if isinstance(op, AttentionOp)]
    blen = Target.from_module(kernels).blen
    block = blen
    while lengths and block < 2 * max(lengths) and block <= LARGEST_BLOCK:
        yield replace(schedule, order="queries", query_block=block)
        block *= 4


def _worth_trying(option: Schedule, lowerings: Sequence[Lowering], target: Target) -> bool:
    """Whether another schedule can matter: kernels heed it, and the search is for cycles or nothing runs yet."""
    if not choices_of(lowerings[-1].tiles).is_free("order"):
        return False
    return option.objective == "cycles" or not any(each.plain.program.runs(target) for each in lowerings)
