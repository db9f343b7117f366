"""Any program lifted, rolled, expanded as far as it pays, and emitted again; `plena.api.optimize` wraps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from plena.assembly import decode, encode
from plena.driver import context, run_pipeline
from plena.errors import CompileError, VerificationError
from plena.gc_pause import without_collection
from plena.lifting.flat_program import FlatProgram
from plena.lifting.flat_program import Program as Source
from plena.lifting.preloaded import Declared, Preloaded
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.goal import Goal
from plena.machine.choices import Objective
from plena.machine.target import Target
from plena.optimizing.optimization_task import LARGE, ROLLING, Task
from plena.passes.emission import Counted, counted
from plena.passes.interleave_iterations import InterleaveIterations
from plena.passes.options import check_values
from plena.passes.schedule_transfers import GROWTH_OF_TRANSFERS, ScheduleTransfers
from plena.passes.select_loops import SelectLoops, candidates
from plena.program.data import ProgramData
from plena.timing.registry import DEFAULT_TIMING, profile_named
from plena.verification import verify_code
from plena.verification.findings import Finding

TRIES = 4
"""Programs that are lowered at most to find one that is no slower than the given one."""


Named: TypeAlias = tuple[str, Counted]
"""One way to emit the program, and what it is called."""


def optimized(
    program: Source | FlatProgram | ModuleOp,
    target: Target | None = None,
    *,
    max_instructions: int | None = None,
    objective: Objective = "cycles",
    timing: str = DEFAULT_TIMING,
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
) -> ProgramData:
    """What `plena.optimize` gives; arguments and errors as there."""
    check_values({"objective": objective, "timing": timing, "max_instructions": max_instructions}, "optimize")
    declared = Preloaded.of(preloaded)
    task = Task.of(program, target, declared)
    with without_collection():
        found = list(_candidates(task, objective, timing, max_instructions))
    taken = _best(found, task, objective, max_instructions)
    # Words as they were given keep the bits that the machine ignores.
    words = task.code.words if taken.module is None and task.code is not None else encode(taken.instructions)
    _verify(words, task)
    return ProgramData(
        words=words,
        target=task.target,
        module=taken.module,
        timing=timing,
        decisions=_decisions(found, taken, timing),
    )


def _candidates(
    task: Task, objective: Objective, timing: str, max_instructions: int | None
) -> Iterator[Named]:
    """The program as it was, its loops as they were, rolled, and with every loop expanded as far as it pays."""
    task.reserve_spills()
    size = sum(1 for _ in task.lifted.instructions())
    given: Counted | None = None
    if task.code is not None:
        given = Counted.of(decode(task.code.words), task.target, timing)
        yield "as given", given
    if size <= LARGE:
        yield from _emitted(task, timing, "loops as given", task.affine.clone())
    run_pipeline(task.affine, ROLLING)
    yield from _emitted(task, timing, "rolled", task.affine.clone())
    choose = SelectLoops(objective, max_instructions, timing)
    chosen = list(
        _emitted(task, timing, "chosen", task.affine.clone(), lambda module: choose.apply(context(), module))
    )
    yield from chosen
    if profile_named(timing).overlaps and objective == "cycles" and chosen:
        most = int(GROWTH_OF_TRANSFERS * chosen[0][1].static)
        most = min(most, max_instructions or most)
        yield from _loading_ahead(task, objective, timing, most)
        yield from _side_by_side(task, objective, timing, most)
    if given is not None and objective == "cycles" and max_instructions is None:
        limit = given.cycles
        if all(c.cycles > limit for _, c in chosen):
            yield from _no_slower(task, timing, limit)


def _loading_ahead(task: Task, objective: Objective, timing: str, most: int) -> Iterator[Named]:
    """With loads ahead of what needs them, in at most so many instructions.

    Every memory holds the same afterwards, so tiles that were free stay so.
    """
    ahead = task.affine.clone()
    ScheduleTransfers(timing, spare_tiles=False).apply(context(), ahead)
    choose = SelectLoops(objective, most, timing)
    for found in (
        *_emitted(task, timing, "loads ahead", ahead.clone()),
        *_emitted(task, timing, "loads ahead, chosen", ahead, lambda module: choose.apply(context(), module)),
    ):
        if found[1].static <= most:
            yield found


def _side_by_side(task: Task, objective: Objective, timing: str, most: int) -> Iterator[Named]:
    """With iterations of vector work side by side, in at most so many instructions.

    Every memory holds the same afterwards, so rows that were free stay so.
    """
    if profile_named(timing).work is None:
        return
    interleave = InterleaveIterations(timing, spare_rows=False, room=most)
    choose = SelectLoops(objective, most, timing)

    def chosen_first(module: ModuleOp) -> None:
        choose.apply(context(), module)
        interleave.apply(context(), module)

    rolled = task.affine.clone()
    interleave.apply(context(), rolled)
    for found in (
        *_emitted(task, timing, "side by side", rolled),
        *_emitted(task, timing, "chosen, side by side", task.affine.clone(), chosen_first),
    ):
        if found[1].static <= most:
            yield found


def _no_slower(task: Task, timing: str, limit: int) -> Iterator[Named]:
    """As small as pays among those that take no more cycles than a long program did; predictions are a little off."""
    points = candidates(task.affine, timing=timing)
    goal = limit
    for _ in range(TRIES):
        fast = [p for p in points if p.cycles <= goal]
        if not fast:
            return
        point = Goal().best(fast)
        found = list(
            _emitted(
                task,
                timing,
                "no slower",
                task.affine.clone(),
                lambda module, point=point: apply_choices(module, point.choices),
            )
        )
        yield from found
        slowest = max((c.cycles for _, c in found), default=limit + 1)
        if slowest <= limit:
            return
        goal = min(goal - (slowest - limit), point.cycles - 1)


def _emitted(
    task: Task,
    timing: str,
    name: str,
    module: ModuleOp,
    transform: Callable[[ModuleOp], None] | None = None,
) -> Iterator[Named]:
    """A module in affine form as a candidate; none, and a problem, when a pass gives up."""
    try:
        if transform is not None:
            transform(module)
        lowered = counted(module, timing)
    except CompileError as problem:
        task.problems.append(problem)
        return
    yield name, lowered


def _best(found: list[Named], task: Task, objective: Objective, max_instructions: int | None) -> Counted:
    running = [c for _, c in found if c.runs(task.target)]
    # A budget that everything keeps: no instruction is saved that costs cycles, so nothing gets slower.
    room = max((c.static for _, c in found), default=0) if max_instructions is None else max_instructions
    goal = Goal(objective, room)
    fitting = [c for c in running if goal.fits(c.static)]
    if fitting:
        return goal.best(fitting)
    if not running:
        raise (
            task.problems[0]
            if task.problems
            else CompileError(
                "every way to write the program has a loop iteration that is too long for the watchdog",
                "optimize",
            )
        )
    smallest = min(c.static for c in running)
    raise CompileError(
        f"no program of at most {max_instructions} instructions was found",
        "optimize",
        f"The smallest has {smallest}.",
    )


def _verify(words: NDArray[np.uint32], task: Task) -> None:
    """Whether the result runs; if not, the error names the line of the given program."""
    errors = _errors(FlatProgram(words), task)
    if errors:
        if task.code is not None:
            errors = _errors(task.code, task) or errors
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise VerificationError(f"the program would abort: {errors[0]}{more}", "optimize")


def _errors(code: FlatProgram, task: Task) -> list[Finding]:
    return [f for f in verify_code(code, task.target, task.preloaded) if f.is_error]


def _decisions(found: list[Named], taken: Counted, timing: str) -> tuple[str, ...]:
    return tuple(
        f"{name}: {c.static} instructions, {c.cycles} {timing} cycles" + (", taken" if c is taken else "")
        for name, c in found
    )
