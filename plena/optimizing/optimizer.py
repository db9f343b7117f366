"""Any program lifted, rolled, expanded as far as it pays, and emitted again; `plena.api.optimize` wraps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from plena.assembly import decode, encode
from plena.assembly.stream import stream_from_module
from plena.driver import context, run_pipeline
from plena.errors import CompileError, VerificationError
from plena.gc_pause import without_collection
from plena.kernels.schedule import Objective
from plena.lifting.code import Code
from plena.lifting.code import Program as Source
from plena.lifting.preloaded import Declared, Preloaded
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.search import best
from plena.machine.target import Target
from plena.optimizing.optimization_task import LARGE, ROLLING, Task
from plena.passes.pipelines import REGISTER_PIPELINE
from plena.passes.select_loops import OBJECTIVES, SelectLoops, candidates
from plena.program.data import ProgramData
from plena.statistics.statistics import Statistics, statistics_of
from plena.timing.registry import DEFAULT_TIMING, profile_named
from plena.verification import verify_code
from plena.verification.findings import Finding

EMISSION: tuple[str, ...] = ("set-state", *REGISTER_PIPELINE)
"""Affine form to allocated registers."""


TRIES = 4
"""Programs that are lowered at most to find one that is no slower than the given one."""


@dataclass(frozen=True)
class Candidate:
    """One way to emit the program."""

    name: str
    words: NDArray[np.uint32]
    statistics: Statistics
    module: ModuleOp | None = None

    def runs(self, target: Target) -> bool:
        """Whether no iteration of a loop is longer than the watchdog allows (plena_isa.md section 4.4)."""
        return all(
            loop.dynamic // loop.trip_count <= target.max_loop_instructions for loop in self.statistics.loops
        )


def optimized(
    program: Source | Code | ModuleOp,
    target: Target | None = None,
    *,
    max_instructions: int | None = None,
    objective: Objective = "cycles",
    timing: str = DEFAULT_TIMING,
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
) -> ProgramData:
    """What `plena.optimize` gives; arguments and errors as there."""
    _check_options(objective, timing, max_instructions)
    declared = Preloaded.of(preloaded)
    task = Task.of(program, target, declared)
    with without_collection():
        found = list(_candidates(task, objective, timing, max_instructions))
    taken = _best(found, task, objective, timing, max_instructions)
    _verify(taken, task)
    return ProgramData(
        words=taken.words,
        target=task.target,
        module=taken.module,
        timing=timing,
        decisions=_decisions(found, taken, timing),
    )


def _check_options(objective: str, timing: str, max_instructions: Any) -> None:
    if objective not in OBJECTIVES:
        raise CompileError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}", "optimize")
    profile_named(timing, "optimize")
    if max_instructions is not None and (
        isinstance(max_instructions, bool) or not isinstance(max_instructions, int)
    ):
        raise CompileError(f"max_instructions must be a whole number, not {max_instructions!r}", "optimize")
    if max_instructions is not None and max_instructions < 1:
        raise CompileError(f"max_instructions must be positive, got {max_instructions}", "optimize")


def _candidates(
    task: Task, objective: Objective, timing: str, max_instructions: int | None
) -> Iterator[Candidate]:
    """The program as it was, its loops as they were, rolled, and with every loop expanded as far as it pays."""
    task.reserve_spills()
    size = sum(1 for _ in task.lifted.instructions())
    given: Candidate | None = None
    if task.code is not None:
        statistics = statistics_of(decode(task.code.words), task.target, profiles=[profile_named(timing)])
        given = Candidate("as given", task.code.words, statistics, None)
        yield given
    if size <= LARGE:
        yield from _emitted(task, timing, "loops as given", task.affine.clone())
    run_pipeline(task.affine, ROLLING)
    yield from _emitted(task, timing, "rolled", task.affine.clone())
    choose = SelectLoops(objective, max_instructions, timing)
    chosen = list(
        _emitted(task, timing, "chosen", task.affine.clone(), lambda module: choose.apply(context(), module))
    )
    yield from chosen
    if given is not None and objective == "cycles" and max_instructions is None:
        limit = given.statistics.cycles[timing]
        if all(c.statistics.cycles[timing] > limit for c in chosen):
            yield from _no_slower(task, timing, limit)


def _no_slower(task: Task, timing: str, limit: int) -> Iterator[Candidate]:
    """As small as pays among those that take no more cycles than a long program did; predictions are a little off."""
    points = candidates(task.affine, timing=timing)
    goal = limit
    for _ in range(TRIES):
        fast = [p for p in points if p.cycles <= goal]
        if not fast:
            return
        point = best(fast, "cycles")
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
        slowest = max((c.statistics.cycles[timing] for c in found), default=limit + 1)
        if slowest <= limit:
            return
        goal = min(goal - (slowest - limit), point.cycles - 1)


def _emitted(
    task: Task,
    timing: str,
    name: str,
    module: ModuleOp,
    transform: Callable[[ModuleOp], None] | None = None,
) -> Iterator[Candidate]:
    """A module in affine form as a candidate; none, and a problem, when a pass gives up."""
    try:
        if transform is not None:
            transform(module)
        run_pipeline(module, EMISSION)
        stream = stream_from_module(module)
    except CompileError as problem:
        task.problems.append(problem)
        return
    statistics = statistics_of(stream.instructions, task.target, profiles=[profile_named(timing)])
    yield Candidate(name, encode(stream.instructions), statistics, module)


def _best(
    found: list[Candidate], task: Task, objective: Objective, timing: str, max_instructions: int | None
) -> Candidate:
    running = [c for c in found if c.runs(task.target)]
    fitting = [c for c in running if max_instructions is None or c.statistics.static <= max_instructions]
    if fitting:

        def cost(candidate: Candidate) -> tuple[int, int]:
            static, cycles = candidate.statistics.static, candidate.statistics.cycles[timing]
            return (static, cycles) if objective == "size" else (cycles, static)

        return min(fitting, key=cost)
    if not running:
        raise (
            task.problems[0]
            if task.problems
            else CompileError(
                "every way to write the program has a loop iteration that is too long for the watchdog",
                "optimize",
            )
        )
    smallest = min(c.statistics.static for c in running)
    raise CompileError(
        f"no program of at most {max_instructions} instructions was found",
        "optimize",
        f"The smallest has {smallest}.",
    )


def _verify(taken: Candidate, task: Task) -> None:
    """Whether the result runs; if not, the error names the line of the given program."""
    errors = _errors(Code(taken.words), task)
    if errors:
        if task.code is not None:
            errors = _errors(task.code, task) or errors
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise VerificationError(f"the program would abort: {errors[0]}{more}", "optimize")


def _errors(code: Code, task: Task) -> list[Finding]:
    return [f for f in verify_code(code, task.target, task.preloaded) if f.is_error]


def _decisions(found: list[Candidate], taken: Candidate, timing: str) -> tuple[str, ...]:
    return tuple(
        f"{c.name}: {c.statistics.static} instructions, {c.statistics.cycles[timing]} {timing} cycles"
        + (", taken" if c is taken else "")
        for c in found
    )
