"""`plena.optimize`: any program lifted, rolled, expanded as far as it pays, and emitted again."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import ModuleOp

from plena.api.program import Program
from plena.kernels.schedule import Objective
from plena.lifting.flat_program import FlatProgram
from plena.lifting.flat_program import Program as Source
from plena.lifting.preloaded import Declared, Preloaded
from plena.machine.target import Target
from plena.optimizing.optimizer import optimized
from plena.timing.registry import DEFAULT_TIMING


def optimize(
    program: Source | FlatProgram | ModuleOp,
    target: Target | None = None,
    *,
    max_instructions: int | None = None,
    objective: Objective = "cycles",
    timing: str = DEFAULT_TIMING,
    preloaded: Preloaded | Mapping[str, Declared] | str | None = None,
) -> Program:
    """A program with the same effect on every memory that minimises an objective; never worse than what it was given.

    Without a budget, cycles are not bought with any number of instructions: a long program becomes as short as it can
    without taking more cycles.

    Registers end up different. When registers do not suffice, spills go to words of INT SRAM and FP SRAM that the
    program does not touch.

    Args:
        program: assembly text, words, or a module of `plena_isa`, in register or affine form.
        target: the machine; a module's own, else the shipped settings, if not given.
        max_instructions: static instructions it may have at most.
        objective: "cycles" (under `max_instructions`) or "size".
        timing: the profile whose cycles count; with waits for HBM if transfers run beside other work in it, and then
            loads of matrix tiles also move ahead of what needs them (`schedule-transfers`).
        preloaded: what the host loads into INT SRAM, see `Preloaded.of`.

    Raises:
        AssemblyError: the text cannot be parsed.
        CompileError: contradictory options, or a budget that cannot be met: it says the smallest size.
        PlenaError: naming the line of whatever cannot be lifted exactly.
        VerificationError: the program would abort.
    """
    return Program.of(
        optimized(
            program,
            target,
            max_instructions=max_instructions,
            objective=objective,
            timing=timing,
            preloaded=preloaded,
        )
    )
