"""`plena.optimize`: any program lifted, rolled, expanded as far as it pays, and emitted again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from plena.backend.assembly import decode, encode
from plena.backend.statistics import Statistics, statistics_of
from plena.backend.stream import stream_from_module
from plena.driver import context, run_pipeline
from plena.errors import CompileError, VerificationError
from plena.kernels.schedule import Objective, Timing
from plena.lift.code import Code
from plena.lift.code import Program as Source
from plena.lift.preloaded import Declared, Preloaded
from plena.optimization_task import LARGE, ROLLING, Task
from plena.passes.pipelines import REGISTER_PIPELINE
from plena.passes.select_loops import OBJECTIVES, TIMINGS, SelectLoops
from plena.program import Program
from plena.target import Target
from plena.transforms.collection import without_collection
from plena.verify import verify_code

EMISSION: tuple[str, ...] = ("set-state", *REGISTER_PIPELINE)
"""Affine form to allocated registers."""


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


def optimize(
    program: Source | ModuleOp,
    target: Target | None = None,
    *,
    max_instructions: int | None = None,
    objective: Objective = "cycles",
    timing: Timing = "transactional",
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
) -> Program:
    """A program with the same effect on every memory that minimises an objective; never worse than what it was given.

    Registers end up different. When registers do not suffice, spills go to words of INT SRAM and FP SRAM that the
    program does not touch.

    Args:
        program: assembly text, words, or a module of `plena_isa`, in register or affine form.
        target: the machine; a module's own, else the shipped settings, if not given.
        max_instructions: static instructions it may have at most.
        objective: "cycles" (under `max_instructions`) or "size".
        timing: the profile whose cycles count.
        preloaded: what the host loads into INT SRAM, see `Preloaded.of`.

    Raises:
        AssemblyError: the text cannot be parsed.
        CompileError: contradictory options, or a budget that cannot be met: it says the smallest size.
        PlenaError: naming the line of whatever cannot be lifted exactly.
        VerificationError: the program would abort.
    """
    _check_options(objective, timing, max_instructions)
    declared = Preloaded.of(preloaded)
    task = Task.of(program, target, declared)
    with without_collection():
        found = list(_candidates(task, objective, timing, max_instructions))
    best = _best(found, task, objective, timing, max_instructions)
    _verify(best, task)
    return Program(
        words=best.words,
        target=task.target,
        module=best.module,
        timing=timing,
        decisions=_decisions(found, best, timing),
    )


def _check_options(objective: str, timing: str, max_instructions: int | None) -> None:
    for name, value, allowed in (("objective", objective, OBJECTIVES), ("timing", timing, TIMINGS)):
        if value not in allowed:
            raise CompileError(f"{name} must be one of {', '.join(allowed)}, not {value!r}", "optimize")
    if max_instructions is not None and max_instructions < 1:
        raise CompileError(f"max_instructions must be positive, got {max_instructions}", "optimize")


def _candidates(
    task: Task, objective: Objective, timing: Timing, max_instructions: int | None
) -> Iterator[Candidate]:
    """The program as it was, its loops as they were, rolled, and with every loop expanded as far as it pays."""
    task.reserve_spills()
    size = sum(1 for _ in task.lifted.instructions())
    if task.code is not None:
        statistics = statistics_of(decode(task.code.words), task.target)
        yield Candidate("as given", task.code.words, statistics, None)
    if size <= LARGE:
        yield from _emitted(task, "loops as given", task.affine.clone())
    run_pipeline(task.affine, ROLLING)
    yield from _emitted(task, "rolled", task.affine.clone())
    choose = SelectLoops(objective, max_instructions, timing)
    yield from _emitted(task, "chosen", task.affine, lambda module: choose.apply(context(), module))


def _emitted(
    task: Task, name: str, module: ModuleOp, transform: Callable[[ModuleOp], None] | None = None
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
    statistics = statistics_of(stream.instructions, task.target)
    yield Candidate(name, encode(stream.instructions), statistics, module)


def _best(
    found: list[Candidate], task: Task, objective: Objective, timing: Timing, max_instructions: int | None
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


def _verify(best: Candidate, task: Task) -> None:
    errors = [f for f in verify_code(Code(best.words), task.target, task.preloaded) if f.is_error]
    if errors:
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise VerificationError(f"the program would abort: {errors[0]}{more}", "optimize")


def _decisions(found: list[Candidate], best: Candidate, timing: Timing) -> tuple[str, ...]:
    return tuple(
        f"{c.name}: {c.statistics.static} instructions, {c.statistics.cycles[timing]} {timing} cycles"
        + (", taken" if c is best else "")
        for c in found
    )
