"""`plena.compile`: from a PyTorch module to a program, level by level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from plena.compiler.lowered import constant_words, machine_reference, memory_map_of, placements_of
from plena.compiler.search import Candidate, search
from plena.dialects.tile.placements import from_attribute
from plena.driver import run_pipeline
from plena.errors import CompileError, VerificationError
from plena.gc_pause import without_collection
from plena.host.ports import Port
from plena.host.staged_data import StagedData
from plena.kernels.schedule import AttentionChoice, MatmulChoice, Objective, Schedule
from plena.machine.number_formats import Staging
from plena.machine.target import Target
from plena.passes.convert_plena_to_tile import USEFUL_MACS
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.program.program import Program
from plena.timing.registry import DEFAULT_TIMING, timings

if TYPE_CHECKING:
    from plena.frontend import ImportedProgram


def compile(
    module: Any,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    max_instructions: int | None = None,
    objective: Objective = "cycles",
    timing: str = DEFAULT_TIMING,
    matmul: MatmulChoice = "auto",
    attention: AttentionChoice = "auto",
    staging: Staging = "public",
) -> Program:
    """Compiles a PyTorch module for a target.

    Args:
        module: torch.nn.Module or torch.export.ExportedProgram.
        example_inputs: the positional arguments of a call, as for torch.export.export: they fix shapes and dtypes of
            tensors, also in lists and dictionaries, and the values of everything else. An ExportedProgram has its own.
        kwargs: its keyword arguments.
        target: the machine, shipped settings by default.
        max_instructions: static instructions that the program may have at most.
        objective: what to minimise, "cycles" (under `max_instructions`) or "size".
        timing: the profile whose cycles count, one of `plena.timings()`; the cycles of all are reported.
        matmul: the M_MM schedule, the broadcast schedule, or the better one for each product.
        attention: "rows" (softmax over whole rows), "online" (flash), or rows whenever they fit.
        staging: how parameters and inputs are rounded on their way into HBM: "public" as by the public staging tools,
            "nearest" to the nearest code, which is closer to PyTorch (docs/number_formats.md). Code and cycles are
            the same.

    Raises:
        PlenaError: an operator without a kernel, a dynamic shape, a memory that is too small, a budget that cannot be
            met: what, where in the model, and what to do.
    """
    from plena.frontend import import_module
    from plena.host.call_inputs import example_call

    if isinstance(kwargs, Target):
        raise CompileError(
            "the third argument is the module's keyword arguments, not the target",
            hint="Write plena.compile(module, args, target=...).",
        )
    check_options(
        {
            "target": target,
            "max_instructions": max_instructions,
            "objective": objective,
            "timing": timing,
            "matmul": matmul,
            "attention": attention,
            "staging": staging,
        }
    )
    target = target or Target()
    target.validate()
    schedule = Schedule(objective, timing, matmul, attention, staging=staging)
    args, keywords = example_call(module, example_inputs, kwargs)
    with without_collection():
        imported = import_module(module, args, keywords)
        kernels = imported.module
        target.attach(kernels)
        run_pipeline(kernels, TENSOR_PIPELINE)
        chosen = search(kernels, schedule, max_instructions)
        program = program_of(chosen, imported, module, args, keywords)
    program.rationale = replace(
        chosen.rationale,
        model=type(module).__name__,
        options={
            "objective": objective,
            "timing": timing,
            "matmul": matmul,
            "attention": attention,
            "staging": staging,
            **({} if max_instructions is None else {"max_instructions": str(max_instructions)}),
        },
    )
    return program


_CHOICES: dict[str, Callable[[], tuple[str, ...]]] = {
    "objective": lambda: ("cycles", "size"),
    "timing": timings,
    "matmul": lambda: ("auto", "mm", "broadcast"),
    "attention": lambda: ("auto", "online", "rows"),
    "staging": lambda: ("public", "nearest"),
}
_OPTIONS = ("target", "max_instructions", *_CHOICES)


def check_options(options: Mapping[str, Any]) -> None:
    """Whether `compile` has these options with these values.

    Raises:
        CompileError: which one it has not, and which there are.
    """
    for name, value in options.items():
        if name not in _OPTIONS:
            hint = f"The options are {', '.join(_OPTIONS)}."
            raise CompileError(f"there is no option {name!r}", "options", hint)
        choices = _CHOICES[name]() if name in _CHOICES else ()
        if choices and not (isinstance(value, str) and value in choices):
            raise CompileError(
                f"{name} must be one of {', '.join(choices)}, not {_shown(value)}",
                "options",
                f"Leave it out for {choices[0]!r}, or see docs/index.md for what each does.",
            )
    target, budget = options.get("target"), options.get("max_instructions")
    if target is not None and not isinstance(target, Target):
        raise CompileError(
            f"target must be a plena.Target, not {type(target).__name__}",
            "options",
            "Target.from_toml(path) reads a settings file.",
        )
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
        raise CompileError(
            f"max_instructions must be a whole number, not {_shown(budget)}", "options", _BUDGET
        )
    if budget is not None and budget < 1:
        raise CompileError(f"max_instructions must be positive, got {budget}", "options", _BUDGET)


_BUDGET = "Give the static instructions that the program may have at most, or leave it out."


def _shown(value: object) -> str:
    """A value in one short line."""
    text = repr(value)
    return text if len(text) < 60 and "\n" not in text else f"a {type(value).__name__}"


def program_of(
    chosen: Candidate,
    imported: ImportedProgram,
    module: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> Program:
    """The chosen lowering with its tensors and references; `args` and `kwargs` are the example call."""
    from plena.checking.reference import ModuleReferences, thresholds_for
    from plena.host.call_inputs import CallSignature

    signature = CallSignature.of(args, kwargs or {}, module)
    expressions = {k: v for k, v in chosen.data.items() if not isinstance(v, np.ndarray)}
    constants = {k: v for k, v in chosen.data.items() if isinstance(v, np.ndarray)}
    program = Program.from_module(
        chosen.registers,
        inputs=tuple(Port(s.name, s.shape, str(s.dtype).removeprefix("torch.")) for s in imported.inputs),
        outputs=tuple(Port(s.name, s.shape, str(s.dtype).removeprefix("torch.")) for s in imported.outputs),
        fixed_results=imported.fixed_results,
        placements=tuple(placements_of(chosen.tiles)),
        constants=constant_words(chosen.tiles),
        memory_map=tuple(memory_map_of(chosen.tiles)),
        useful_macs=from_attribute(chosen.tiles.attributes[USEFUL_MACS]),
        timing=chosen.schedule.timing,
        decisions=chosen.decisions,
        data=StagedData(expressions, imported.tensors, constants),
        example_inputs=signature.tensors(args, kwargs or {}),
        signature=signature,
    )
    program.thresholds = thresholds_for(imported.module)
    _verify(program)
    program.machine_reference = machine_reference(program, chosen.tiles)
    program.source = ModuleReferences(program, imported, module, signature)
    program.quantized_reference = program.source.quantized
    program.float_reference = program.source.float32
    return program


def _verify(program: Program) -> None:
    """The static check of every emitted program: errors are bugs of the compiler, warnings go to its decisions.

    Raises:
        VerificationError: the program would abort.
    """
    from plena.verification import Severity, verify

    findings = verify(program.words, program.target, program.preloaded_spans())
    errors = [f for f in findings if f.severity is Severity.ERROR]
    if errors:
        listed = "; ".join(str(f) for f in errors[:3])
        raise VerificationError(
            f"the compiled program would abort: {listed}", hint="Please report this as a bug."
        )
    program.decisions = (*program.decisions, *(str(f) for f in findings))
