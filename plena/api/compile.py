"""`plena.compile`: from a PyTorch module to a program, level by level."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from plena.api.choosing_formats import choose_formats
from plena.api.common_data import require_same_data
from plena.api.imported_call import ImportedCall
from plena.api.program import Program
from plena.api.rotate import compile_best_rotated, compile_rotated
from plena.buffers.common_image import CommonImage
from plena.compiler.cache import Cache
from plena.compiler.candidate import Candidate
from plena.compiler.emitted import emitted
from plena.compiler.known_search import known_search
from plena.compiler.tuning.database import TuningDatabase
from plena.compiler.tuning.reuse import Reuse, reused
from plena.driver import run_pipeline, verified_passes
from plena.errors import CompileError, VerificationError, did_you_mean
from plena.gc_pause import without_collection
from plena.host.calibration import Calibration
from plena.kernels.schedule import Schedule
from plena.machine.choices import AttentionChoice, Machine, MatmulChoice, Objective, Rotation, Staging
from plena.machine.formats import FormatsLike
from plena.machine.rtl_build import rtl_build
from plena.machine.target import Target
from plena.passes.options import OPTIONS, check_values
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.timing.registry import DEFAULT_TIMING

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
    machine: Machine = "emulator",
    formats: FormatsLike | None = None,
    traffic: float | None = None,
    samples: Sequence[Any] | None = None,
    rotation: Rotation = "none",
    calibration: Calibration | None = None,
    allow_unsupported: bool = False,
    verify_passes: bool | None = None,
    cache: str | Path | None = None,
    tuning: str | Path | None = None,
    beside: Sequence[Program] = (),
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
        matmul: the M_MM, the broadcast or the vector schedule, or the fastest for each product
            (docs/matmul_schedules.md).
        attention: "rows" (softmax over whole rows), "online" (flash), or rows whenever they fit.
        staging: how parameters and inputs are rounded on their way into HBM: "public" as by the public staging tools,
            "nearest" to the nearest code, which is closer to PyTorch (docs/number_formats.md), "calibrated" with the
            weights of `calibration`. Code and cycles are the same.
        machine: what runs the program: "emulator", or "rtl" for one that breaks no rule of the public RTL and ends in
            C_BREAK, with what cannot be made so refused (docs/rtl.md).
        formats: of weights, keys and values, and activations in HBM: "shipped", "e3m4", "mixed", "bf16" or a
            `plena.Formats` (docs/formats.md); None takes those that the target has, "auto" those that lose least for
            `samples` while transfers move at most `traffic` times the bytes that they move with the shipped ones.
        traffic: of "auto", 1.0 by default.
        samples: for "auto": a list of inputs, tensors or tuples of positional arguments.
        rotation: "values" turns the values of attentions by Hadamard matrices, "residual" what layers hand on, "all"
            both, in the weights around them (`plena.rotate`), "online" values, and at run time what else linear layers
            read of activations, products and attentions; "auto" takes what loses least on `samples`, or else the
            example inputs.
        calibration: of ``plena.calibrate`` for this module and these formats.
        allow_unsupported: whether products may be made by instructions that have cycles under `timing`, but that the
            machine it was measured on does not execute right (docs/timing.md).
        verify_passes: whether to verify modules between passes; None means if the environment variable
            PLENA_VERIFY_PASSES is set.
        cache: a folder that remembers what the search chose: the same question again takes no search
            (docs/explore.md). The program is the same.
        tuning: a tuning database of `plena.tune`: the best schedule that it has for these kernels, this machine and
            this profile is taken if it is better than what the search finds (docs/tuning.md).
        beside: programs whose HBM image this one joins: weights and states that they have too lie where they have
            them, so that a machine holds them once and runs one program after the other (docs/state.md).

    Raises:
        PlenaError: an operator without a kernel, a dynamic shape, a memory that is too small, a budget that cannot be
            met: what, where in the model, and what to do.
    """
    if isinstance(kwargs, Target):
        raise CompileError(
            "the third argument is the module's keyword arguments, not the target",
            hint="Write plena.compile(module, args, target=...).",
        )
    given: dict[str, Any] = {
        "target": target,
        "max_instructions": max_instructions,
        "objective": objective,
        "timing": timing,
        "matmul": matmul,
        "attention": attention,
        "staging": staging,
        "machine": machine,
        "formats": formats,
        "traffic": traffic,
        "samples": samples,
        "rotation": rotation,
        "calibration": calibration,
        "allow_unsupported": allow_unsupported,
        "verify_passes": verify_passes,
        "cache": cache,
        "tuning": tuning,
        "beside": beside,
    }
    check_options(given)
    if rotation != "none":
        given |= {"rotation": "none", "samples": samples if formats == "auto" else None}

        def compiled(other: Any) -> Program:
            return compile(other, example_inputs, kwargs, **given)

        if rotation == "auto":
            return compile_best_rotated(compiled, module, example_inputs, kwargs, samples, target)
        return compile_rotated(compiled, module, example_inputs, kwargs, rotation, target)
    target = target or Target()
    if formats == "auto":
        for name in ("target", "formats", "traffic", "samples"):
            del given[name]
        choice = choose_formats(
            lambda changed: compile(module, example_inputs, kwargs, target=changed, **given),
            target,
            samples or (),
            1.0 if traffic is None else traffic,
        )
        choice.program.decisions += tuple(str(choice).splitlines())
        return choice.program
    if formats is not None:
        target = target.with_formats(formats)
    target.validate()
    if machine == "rtl":
        target = rtl_build().fitted(target)
    schedule = Schedule(
        objective,
        timing,
        matmul,
        attention,
        staging=staging,
        machine=machine,
        allow_unsupported=allow_unsupported,
    )
    with without_collection(), verified_passes(verify_passes):
        call = ImportedCall.of(module, example_inputs, kwargs)
        known = None if cache is None else Cache(cache)
        tuned = None if tuning is None else TuningDatabase(tuning)
        image = image_of(beside, target)
        program = compile_call(call, target, schedule, max_instructions, calibration, known, tuned, image)
        require_same_data(program, beside)
    if formats is not None and program.rationale is not None:
        chosen = {**program.rationale.options, "formats": str(formats)}
        program.rationale = replace(program.rationale, options=chosen)
    return program


def compile_call(
    call: ImportedCall,
    target: Target,
    schedule: Schedule,
    max_instructions: int | None = None,
    calibration: Calibration | None = None,
    known: Cache | None = None,
    tuning: TuningDatabase | None = None,
    image: CommonImage | None = None,
) -> Program:
    """Compiles an imported module, which stays as it is, for a valid machine.

    Args:
        known: keeps what searches chose.
        tuning: has better schedules.
        image: of other programs, which this one joins.

    Raises:
        PlenaError: as of `compile`.
    """
    imported = call.fresh()
    kernels = imported.module
    target.attach(kernels)
    run_pipeline(kernels, TENSOR_PIPELINE)
    if image is not None:
        image.attach(kernels)
    source = "" if known is None else call.text_digest + ("" if image is None else image.digest)
    chosen = known_search(kernels, schedule, max_instructions, known, source)
    program = None
    if tuning is not None:
        reuse = reused(kernels, schedule, max_instructions, chosen, tuning)
        try:
            if reuse.candidate is not None:
                program = emitted_call(reuse.candidate, imported, call, calibration)
        except VerificationError as error:
            reuse = Reuse(None, f"tuning: the schedule of {tuning.path} is ignored: {error.what}")
        chosen = reuse.candidate or replace(chosen, decisions=(*chosen.decisions, reuse.note))
    program = program or emitted_call(chosen, imported, call, calibration)
    program.rationale = replace(
        chosen.rationale,
        model=type(call.module).__name__,
        options={
            **{name: getattr(schedule, name) for name in OPTIONS if name != "max_instructions"},
            **({"allow_unsupported": "true"} if schedule.allow_unsupported else {}),
            **({} if max_instructions is None else {"max_instructions": str(max_instructions)}),
        },
    )
    return program


def image_of(programs: Sequence[Program], target: Target) -> CommonImage | None:
    """The HBM image of programs for a machine, None if there are none.

    Raises:
        CompileError: they are for another machine, or an image of theirs cannot be joined.
    """
    found: CommonImage | None = None
    for program in programs:
        if program.target != target:
            raise CompileError(
                "a program that is compiled beside others has their target", "options", "Give the same one."
            )
        image = CommonImage.of(program.placements, program.memory_map, target)
        if image is None:
            raise CompileError(
                "a program whose weights lie in several segments of HBM shares them with no other",
                "options",
                "Leave `beside` out.",
            )
        found = image if found is None else found.joined(image)
    return found


def emitted_call(
    chosen: Candidate, imported: ImportedProgram, call: ImportedCall, calibration: Calibration | None = None
) -> Program:
    """The chosen lowering of an imported call as a program.

    Raises:
        VerificationError: it would abort.
    """
    return program_of(chosen, imported, call.module, call.args, call.kwargs, calibration)


_OWN = (
    "target",
    "formats",
    "traffic",
    "samples",
    "rotation",
    "calibration",
    "allow_unsupported",
    "verify_passes",
    "cache",
    "tuning",
    "beside",
)
"""Options of `compile` alone, which no table describes."""


def _meant(name: str, arguments: Collection[str]) -> str:
    """What there is, and what comes close to a name that there is not."""
    options = (*_OWN, *OPTIONS)
    found = did_you_mean(name, (*arguments, *options))
    if arguments:
        found += f"The arguments are {', '.join(arguments)}; beside them options of plena.compile: "
    else:
        found += "The options are "
    return f"{found}{', '.join(options)}."


def check_options(options: Mapping[str, Any], arguments: Collection[str] = ()) -> None:
    """Whether `compile` has these options with these values.

    Args:
        arguments: those of the function that was given the options, for the message.

    Raises:
        CompileError: which one it has not, and which there are.
    """
    for name in options:
        if name not in (*_OWN, *OPTIONS):
            raise CompileError(f"there is no option {name!r}", "options", _meant(name, arguments))
    target = options.get("target")
    if target is not None and not isinstance(target, Target):
        raise CompileError(
            f"target must be a plena.Target, not {type(target).__name__}",
            "options",
            "Target.from_toml(path) reads a settings file.",
        )
    check_values({name: value for name, value in options.items() if name not in _OWN}, "options")
    rotation = options.get("rotation", "none")
    if rotation not in get_args(Rotation):
        raise CompileError(
            f"rotation must be one of {', '.join(get_args(Rotation))}, not {rotation!r}", "options"
        )
    if rotation != "none" and options.get("calibration") is not None:
        raise CompileError(
            "a calibration has the weights of its module, rotation would change them",
            "options",
            "Compile and calibrate plena.rotate(module, inputs).module.",
        )
    judged = options.get("samples") is not None and rotation != "auto"
    if options.get("formats") != "auto" and (options.get("traffic") is not None or judged):
        raise CompileError(
            'traffic and samples are for formats="auto", samples for rotation="auto" too',
            "options",
            'Leave them out, or write formats="auto".',
        )
    if options.get("formats") == "auto" and options.get("calibration") is not None:
        raise CompileError(
            'a calibration has its formats, formats="auto" would choose others',
            "options",
            "Choose formats first; then calibrate for program.target.formats.",
        )
    _check_calibration(options.get("calibration"), options.get("staging"))
    if not isinstance(allow := options.get("allow_unsupported", False), bool):
        raise CompileError(f"allow_unsupported must be True or False, not {allow!r}", "options")
    for name, what in (("cache", "a folder"), ("tuning", "a file")):
        if not isinstance(path := options.get(name), str | Path | None):
            raise CompileError(f"{name} must be {what}, not {path!r}", "options")
    beside: object = options.get("beside", ())
    if not isinstance(beside, list | tuple) or not all(isinstance(p, Program) for p in beside):
        raise CompileError("beside must be a list of programs", "options", "Write beside=[program].")
    if not isinstance(verify := options.get("verify_passes"), bool | None):
        raise CompileError(
            f"verify_passes must be True, False or None, not {verify!r}",
            "options",
            "None takes what the environment variable PLENA_VERIFY_PASSES says.",
        )


def require_no_rotation(options: dict[str, Any], where: str) -> None:
    """Takes `rotation` out of the options of what compiles a module many times.

    Raises:
        CompileError: it is asked for.
    """
    if options.pop("rotation", "none") != "none":
        raise CompileError(
            "a module is rotated beforehand",
            where,
            "Let the factory give plena.rotate(module, inputs).module.",
        )


def _check_calibration(calibration: object, staging: object) -> None:
    """Whether there is a calibration where one is needed, and only there.

    Raises:
        CompileError: there is not.
    """
    if calibration is not None and not isinstance(calibration, Calibration):
        raise CompileError(
            f"calibration must be what plena.calibrate gives, not {type(calibration).__name__}",
            "options",
            "plena.Calibration.load(path) reads one.",
        )
    if (staging == "calibrated") != (calibration is not None):
        missing = calibration is None
        raise CompileError(
            'staging="calibrated" needs a calibration'
            if missing
            else f"a calibration is of no use with {staging=}",
            "options",
            "Give calibration=plena.calibrate(module, samples)."
            if missing
            else 'Write staging="calibrated".',
        )


def program_of(
    chosen: Candidate,
    imported: ImportedProgram,
    module: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> Program:
    """The chosen lowering with its tensors and references; `args` and `kwargs` are the example call."""
    from plena.checking.reference import ModuleReferences

    program = Program.of(emitted(chosen, imported, module, args, kwargs, calibration))
    assert program.signature is not None
    source = ModuleReferences(program, imported, module, program.signature)
    program.source = source
    program.quantized_reference, program.float_reference = source.quantized, source.float32
    return program
